//! The facts that intent is learned from: who used which techniques, and in which order incidents went.
//!
//! Three small text files, one fact a line, so that a difference can be read: `attack.txt` (techniques with their
//! tactics, groups, campaigns and software with their techniques), `flows.txt` (recorded incidents as steps) and
//! `progression.txt` (what tends to follow what). The first two are written by `cargo xtask learn intent`; the third by
//! hand. All are of parent techniques, for sub-techniques are too rare to count.

use std::collections::{BTreeMap, BTreeSet};

use vertice_model::{Tactic, Technique};

use crate::limits;

/// A line of a facts file that can not be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{file} line {line}: {reason}")]
pub struct FactError {
    /// Which file.
    pub file: &'static str,
    /// Which line of it, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong, and what is wanted.
    pub reason: String,
}

/// What kind of actor used techniques.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ActorKind {
    /// An ATT&CK group, `G…`.
    Group,
    /// An ATT&CK campaign, `C…`.
    Campaign,
    /// ATT&CK software, `S…`: malware that its makers keep.
    Malware,
    /// ATT&CK software, `S…`: a tool that anybody can have.
    Tool,
}

/// A group, campaign or piece of software, and the techniques it is known to have used.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Which kind.
    pub kind: ActorKind,
    /// The ATT&CK id, such as `G0016`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Indices into [`Facts::techniques`], ascending.
    pub(crate) techniques: Vec<usize>,
}

/// One step of a recorded incident: what came before along the path, oldest first, and what came next.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub before: Vec<usize>,
    pub next: usize,
}

/// A recorded incident.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    /// Flows of one incident share a fold, and are left out together.
    pub fold: String,
    /// Indices of the actors that may know of this incident.
    pub leaks: Vec<usize>,
    pub steps: Vec<Step>,
    /// The pairs that followed each other directly.
    pub edges: Vec<(usize, usize)>,
    pub techniques: BTreeSet<usize>,
}

/// Everything that intent is learned from.
#[derive(Clone, Debug)]
pub struct Facts {
    pub(crate) techniques: Vec<Technique>,
    pub(crate) index: BTreeMap<Technique, usize>,
    pub(crate) tactics: Vec<Vec<Tactic>>,
    pub(crate) actors: Vec<Actor>,
    pub(crate) flows: Vec<Flow>,
    /// For each technique what tends to follow, likeliest first.
    pub(crate) progression: Vec<Vec<usize>>,
}

impl Facts {
    /// Reads the three files.
    ///
    /// # Errors
    ///
    /// Names the file, the line and what is wrong with it; nothing is skipped.
    pub fn parse(attack: &str, flows: &str, progression: &str) -> Result<Facts, FactError> {
        let mut facts = Facts {
            techniques: Vec::new(),
            index: BTreeMap::new(),
            tactics: Vec::new(),
            actors: Vec::new(),
            flows: Vec::new(),
            progression: Vec::new(),
        };
        each_line("attack.txt", attack, |line| facts.attack_line(line))?;
        each_line("flows.txt", flows, |line| facts.flow_line(line))?;
        facts.progression = vec![Vec::new(); facts.techniques.len()];
        each_line("progression.txt", progression, |line| {
            let (from, to) = line.split_once(':').ok_or("wanted `T1566: T1204 T1059`")?;
            let from = facts.find(from.trim())?;
            facts.progression[from] = to.split_whitespace().map(|t| facts.find(t)).collect::<Result<_, _>>()?;
            Ok(())
        })?;
        Ok(facts)
    }

    /// How many recorded incidents there are.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    /// The groups, campaigns and software.
    #[must_use]
    pub fn actors(&self) -> &[Actor] {
        &self.actors
    }

    /// Where a technique stands in the list of parents; `None` for one that ATT&CK no longer has.
    pub(crate) fn place(&self, technique: &Technique) -> Option<usize> {
        self.index.get(&parent(technique)).copied()
    }

    fn find(&self, id: &str) -> Result<usize, String> {
        let technique: Technique = id.parse().map_err(|e| format!("{e}"))?;
        self.index.get(&technique).copied().ok_or_else(|| format!("{id} is not among the techniques"))
    }

    fn attack_line(&mut self, line: &str) -> Result<(), String> {
        let fields: Vec<&str> = line.split('\t').collect();
        let kind = match (fields[0], fields.len()) {
            ("technique", 3) => {
                let technique: Technique = fields[1].parse().map_err(|e| format!("{e}"))?;
                let tactics = fields[2].split_whitespace();
                let tactics: Option<Vec<Tactic>> = tactics.map(Tactic::from_slug).collect();
                bounded(self.techniques.len(), limits::TECHNIQUES_MAX, "techniques")?;
                if self.index.insert(technique.clone(), self.techniques.len()).is_some() {
                    return Err(format!("{technique} stands here twice"));
                }
                self.techniques.push(technique);
                self.tactics.push(tactics.ok_or("a tactic is unknown")?);
                return Ok(());
            }
            ("group", 4) => ActorKind::Group,
            ("campaign", 4) => ActorKind::Campaign,
            ("malware", 4) => ActorKind::Malware,
            ("tool", 4) => ActorKind::Tool,
            _ => return Err("wanted `technique`, `group`, `campaign`, `malware` or `tool` and its fields".into()),
        };
        bounded(self.actors.len(), limits::ACTORS_MAX, "actors")?;
        let techniques = fields[3].split_whitespace().map(|t| self.find(t)).collect::<Result<_, _>>()?;
        self.actors.push(Actor { kind, id: fields[1].into(), name: fields[2].into(), techniques });
        Ok(())
    }

    fn flow_line(&mut self, line: &str) -> Result<(), String> {
        let fields: Vec<&str> = line.split('\t').collect();
        if let ["flow", _, fold, leaks] = fields[..] {
            bounded(self.flows.len(), limits::FLOWS_MAX, "flows")?;
            let known = |id: &str| self.actors.iter().position(|a| a.id == id).ok_or(format!("{id} is no actor"));
            let leaks = leaks.split_whitespace().map(known).collect::<Result<_, _>>()?;
            let fold = fold.to_owned();
            let (steps, edges, techniques) = (Vec::new(), Vec::new(), BTreeSet::new());
            self.flows.push(Flow { fold, leaks, steps, edges, techniques });
            return Ok(());
        }
        let places = |text: &str| text.split_whitespace().map(|t| self.find(t)).collect::<Result<Vec<_>, _>>();
        let (what, named) = (fields[0], places(fields.get(1).copied().unwrap_or_default())?);
        let flow = self.flows.last_mut().ok_or("wanted a `flow` first")?;
        match (what, &named[..]) {
            ("has", all) => flow.techniques.extend(all),
            ("edge", &[from, to]) => flow.edges.push((from, to)),
            ("step", [before @ .., next]) if !before.is_empty() && flow.steps.len() < limits::STEPS_MAX => {
                flow.steps.push(Step { before: before.to_vec(), next: *next });
            }
            _ => return Err("wanted `has`, `edge` of two or `step` of two or more techniques".into()),
        }
        Ok(())
    }
}

/// The parent of a sub-technique, itself of a parent.
#[must_use]
pub fn parent(technique: &Technique) -> Technique {
    let id = technique.as_str();
    id.get(..5).and_then(|id| id.parse().ok()).unwrap_or_else(|| technique.clone())
}

fn bounded(have: usize, max: usize, what: &str) -> Result<(), String> {
    if have < max { Ok(()) } else { Err(format!("more than {max} {what}")) }
}

pub(crate) fn each_line(
    file: &'static str,
    text: &str,
    mut read: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), FactError> {
    for (at, line) in text.lines().enumerate() {
        if !line.is_empty() && !line.starts_with('#') {
            read(line).map_err(|reason| FactError { file, line: at + 1, reason })?;
        }
    }
    Ok(())
}
