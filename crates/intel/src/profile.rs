//! Whom an attacker resembles, with which tools, how skilled, and after what: counts, never certainty.
//!
//! # What it gets wrong
//!
//! Resemblance is no attribution: what ATT&CK knows is what was published, and common techniques are shared by
//! everybody. So nothing here names an actor without how many techniques are shared of how many, and the skill is a rule
//! of thumb whose counts are given with it.

use std::collections::BTreeSet;

use serde::Serialize;
use vertice_model::{Tactic, Technique};

use crate::facts::{Actor, ActorKind, parent};
use crate::intent::Intent;
use crate::limits;
use crate::mapper::words;

/// A known actor or piece of software that shares techniques.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Resemblance {
    /// The ATT&CK id, such as `G0016`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The seen techniques that it is known to use.
    pub shared: Vec<Technique>,
    /// Of how many seen techniques.
    pub seen: u32,
    /// How many it is known to use in all.
    pub known: u32,
}

/// What such attackers were after.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// Data is taken: the tactic exfiltration.
    TheftOfData,
    /// Data is encrypted for a ransom.
    Extortion,
    /// Data or systems are destroyed.
    Destruction,
    /// Money is stolen.
    TheftOfMoney,
    /// The machines work for the attacker.
    Hijacking,
}

/// An objective, and in how many similar actors it was seen.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ObjectiveSeen {
    /// Which.
    pub objective: Objective,
    /// Whether a technique of it was seen already in this threat.
    pub observed: bool,
    /// How many of the similar groups and campaigns.
    pub groups: u32,
    /// How many those are.
    pub of: u32,
}

/// How skilled, as a rule of thumb.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Skill {
    /// Fewer than three known techniques were seen.
    Unknown,
    /// All techniques are common, and there are few.
    Low,
    /// Neither.
    Moderate,
    /// Two rare techniques, or five tactics with three techniques against defences.
    High,
}

/// A profile with its counts.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Profile {
    /// Groups and campaigns that share most, at most [`limits::PROFILE_NAMES_MAX`].
    pub resembles: Vec<Resemblance>,
    /// Software whose name stands in the commands, at most [`limits::PROFILE_NAMES_MAX`].
    pub tools_seen: Vec<Resemblance>,
    /// Objectives, the most frequent first.
    pub objectives: Vec<ObjectiveSeen>,
    /// The rule of thumb.
    pub skill: Skill,
    /// The counts behind it and each of the above, as sentences.
    pub reasons: Vec<String>,
}

const OBJECTIVES: [(Objective, &[&str]); 5] = [
    (Objective::TheftOfData, &["T1020", "T1030", "T1041", "T1048", "T1052", "T1537", "T1567"]),
    (Objective::Extortion, &["T1486"]),
    (Objective::Destruction, &["T1485", "T1561"]),
    (Objective::TheftOfMoney, &["T1657"]),
    (Objective::Hijacking, &["T1496"]),
];

impl Intent {
    /// The profile of whoever used these techniques, with the texts of their commands for the names of tools.
    #[must_use]
    pub fn profile(&self, seen: &[Technique], commands: &[&str]) -> Profile {
        let places: BTreeSet<usize> = seen.iter().filter_map(|t| self.facts.place(t)).collect();
        let places: Vec<usize> = places.into_iter().collect();
        let groups = self.counts.groups.iter().map(|&g| &self.facts.actors[g]);
        let mut resembles: Vec<Resemblance> =
            groups.map(|a| self.resemblance(a, &places)).filter(|r| r.shared.len() > 1).collect();
        // Of equally many shared the one that does less else is nearer.
        resembles.sort_by_key(|r| (std::cmp::Reverse(r.shared.len()), r.known, r.id.clone()));
        resembles.truncate(limits::PROFILE_NAMES_MAX);
        let objectives = self.objectives(&places);
        let (skill, why) = self.skill(&places);
        let mut reasons = vec![why];
        reasons.extend(resembles.iter().map(|r| {
            format!("{} ({}) is known to use {} of the {} techniques seen", r.name, r.id, r.shared.len(), r.seen)
        }));
        reasons.extend(objectives.iter().map(ObjectiveSeen::text));
        let tools_seen = self.tools(&places, commands);
        reasons.extend(tools_seen.iter().map(|t| format!("the name {} ({}) stands in a command", t.name, t.id)));
        Profile { resembles, tools_seen, objectives, skill, reasons }
    }

    fn resemblance(&self, actor: &Actor, places: &[usize]) -> Resemblance {
        let shared = places.iter().filter(|p| actor.techniques.binary_search(p).is_ok());
        Resemblance {
            id: actor.id.clone(),
            name: actor.name.clone(),
            shared: shared.map(|&p| self.facts.techniques[p].clone()).collect(),
            seen: places.len() as u32,
            known: actor.techniques.len() as u32,
        }
    }

    /// Software by its name in a command; short names are words of their own.
    fn tools(&self, places: &[usize], commands: &[&str]) -> Vec<Resemblance> {
        let words: BTreeSet<String> = commands.iter().flat_map(|c| words(c)).collect();
        let software = |a: &&Actor| matches!(a.kind, ActorKind::Tool | ActorKind::Malware);
        let named = |a: &&Actor| a.name.len() > 3 && words.contains(&a.name.to_lowercase());
        let found = self.facts.actors.iter().filter(software).filter(named);
        found.take(limits::PROFILE_NAMES_MAX).map(|a| self.resemblance(a, places)).collect()
    }

    /// What groups and campaigns did that share at least half of the seen techniques, and two.
    fn objectives(&self, places: &[usize]) -> Vec<ObjectiveSeen> {
        let enough = places.len().div_ceil(2).max(2);
        let shares = |a: &&Actor| places.iter().filter(|p| a.techniques.binary_search(p).is_ok()).count() >= enough;
        let groups = self.counts.groups.iter().map(|&g| &self.facts.actors[g]);
        let similar: Vec<&Actor> = groups.filter(shares).collect();
        let mut all: Vec<ObjectiveSeen> = OBJECTIVES
            .iter()
            .map(|(objective, ids)| {
                let wanted: Vec<usize> =
                    ids.iter().filter_map(|id| self.facts.place(&id.parse::<Technique>().ok()?)).collect();
                let does = |a: &&&Actor| wanted.iter().any(|w| a.techniques.binary_search(w).is_ok());
                ObjectiveSeen {
                    objective: *objective,
                    observed: wanted.iter().any(|w| places.contains(w)),
                    groups: similar.iter().filter(does).count() as u32,
                    of: similar.len() as u32,
                }
            })
            .filter(|o| o.groups > 0 || o.observed)
            .collect();
        all.sort_by_key(|o| (std::cmp::Reverse((o.observed, o.groups)), o.objective));
        all
    }

    fn skill(&self, places: &[usize]) -> (Skill, String) {
        let of = self.counts.groups.len() as u32;
        let rare = places.iter().filter(|&&p| self.counts.used[p] * 20 < of).count();
        let common = places.iter().filter(|&&p| self.counts.used[p] * 5 >= of).count();
        let evading = places.iter().filter(|&&p| self.facts.tactics[p].contains(&Tactic::DefenseEvasion)).count();
        let tactics: BTreeSet<Tactic> = places.iter().flat_map(|&p| self.facts.tactics[p].iter().copied()).collect();
        let n = places.len();
        let skill = match () {
            () if n < 3 => Skill::Unknown,
            () if rare >= 2 || (evading >= 3 && tactics.len() >= 5) => Skill::High,
            () if common == n && n <= 4 => Skill::Low,
            () => Skill::Moderate,
        };
        let why = format!(
            "of the {n} techniques seen {rare} are rare (used by fewer than 1 in 20 of {of} groups and campaigns), \
             {common} are common (1 in 5 or more), {evading} serve to evade defences"
        );
        (skill, why)
    }

    /// How widespread a technique is, with its count.
    #[must_use]
    pub fn spread_text(&self, technique: &Technique) -> String {
        let (used, of) = self.used_by(technique);
        format!("{} is seen in {used} of {of} groups and campaigns", parent(technique))
    }
}

impl ObjectiveSeen {
    /// A sentence with its counts.
    #[must_use]
    pub fn text(&self) -> String {
        let what = match self.objective {
            Objective::TheftOfData => "theft of data",
            Objective::Extortion => "encryption for a ransom",
            Objective::Destruction => "destruction",
            Objective::TheftOfMoney => "theft of money",
            Objective::Hijacking => "hijacking of machines",
        };
        let observed = if self.observed { "; a technique of it was seen here" } else { "" };
        format!("{what} was seen in {} of {} similar groups and campaigns{observed}", self.groups, self.of)
    }
}
