//! Labelled commands and how well they are mapped; the benchmark uses this too.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use vertice_intel::{Mapper, parent};
use vertice_model::Technique;
use vertice_testkit::files_below;

/// A command and the techniques that it is filed under.
pub struct Labelled {
    pub command: String,
    pub labels: Vec<Technique>,
    /// 0: seen while the rules were written; 1: not.
    pub half: u32,
}

pub fn mapper() -> Mapper {
    Mapper::parse(include_str!("../../../../content/intel/commands.txt")).unwrap_or_else(|e| panic!("{e}"))
}

/// The steps with a technique and a command; of several forms of one step the first.
pub fn commands(folder: &Path) -> Vec<Labelled> {
    let mut all: Vec<Labelled> = Vec::new();
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("the folder is there").flatten().map(|e| e.path()).collect();
    files.sort();
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "yaml")) {
        let text = std::fs::read_to_string(file).expect("the plan can be read");
        let steps: Vec<Value> = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        for step in &steps {
            let label = step.pointer("/technique/attack_id").and_then(Value::as_str).and_then(|t| t.parse().ok());
            let name = step.get("name").and_then(Value::as_str).unwrap_or_default();
            let (Some(label), Some(command)) = (label, command(step)) else { continue };
            all.push(Labelled { command, labels: vec![label], half: half(name) });
        }
    }
    all
}

fn command(step: &Value) -> Option<String> {
    let platforms = step.get("platforms")?.as_object()?;
    let forms = platforms.values().filter_map(Value::as_object).flat_map(|p| p.values());
    forms.filter_map(|f| f.get("command")?.as_str()).map(str::to_owned).next()
}

/// The command lines of the events that come with Sigma's rules for new processes, filed under the techniques of the
/// rule. In turn seen and not seen; those of techniques that our ATT&CK does not have are left out.
pub fn events(regression: &Path, rules: &Path) -> Vec<Labelled> {
    let attack = include_str!("../../../../content/intel/attack.txt");
    let known = |t: &Technique| attack.contains(&format!("technique\t{}\t", parent(t)));
    let mut all = Vec::new();
    for file in files_below(regression, ".json") {
        let folder = file.parent().expect("a file has a folder");
        let rule = folder.strip_prefix(regression).expect("it was found there").with_extension("yml");
        if !folder.components().any(|c| c.as_os_str() == "process_creation") {
            continue;
        }
        let Ok(rule) = std::fs::read_to_string(rules.join(rule)) else { continue };
        let tags = rule.lines().filter_map(|l| l.trim().strip_prefix("- attack."));
        let labels: Vec<Technique> = tags.filter_map(|t| t.to_uppercase().parse().ok()).collect();
        let text = std::fs::read_to_string(&file).expect("the event can be read");
        for event in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
            let event = event.unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            let command = event.pointer("/Event/EventData/CommandLine").and_then(Value::as_str);
            if let (Some(command), false) = (command, labels.is_empty()) {
                let half = all.len() as u32 % 2;
                all.push(Labelled { command: command.to_owned(), labels: labels.clone(), half });
            }
        }
    }
    all.retain(|l| l.labels.iter().any(known));
    all
}

/// FNV-1a of the name; its 17th bit.
fn half(name: &str) -> u32 {
    let digest = name.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    (digest >> 16) & 1
}

/// Counts over labelled commands.
#[derive(Debug, Default)]
pub struct Score {
    pub commands: u32,
    pub mapped: u32,
    pub label_parent: u32,
    pub label_exact: u32,
    pub first_parent: u32,
    pub given: u32,
    pub given_right: u32,
}

impl Score {
    pub fn of<'a>(mapper: &Mapper, commands: impl Iterator<Item = &'a Labelled>) -> Score {
        let mut score = Score::default();
        for command in commands {
            let found = mapper.map(&command.command).techniques;
            let labels: BTreeSet<Technique> = command.labels.iter().map(parent).collect();
            let right = |t: &Technique| labels.contains(&parent(t));
            score.commands += 1;
            score.mapped += u32::from(!found.is_empty());
            score.label_parent += u32::from(found.iter().any(|m| right(&m.technique)));
            score.label_exact += u32::from(found.iter().any(|m| command.labels.contains(&m.technique)));
            score.first_parent += u32::from(found.first().is_some_and(|m| right(&m.technique)));
            let parents: BTreeSet<_> = found.iter().map(|m| parent(&m.technique)).collect();
            score.given += parents.len() as u32;
            score.given_right += parents.intersection(&labels).count() as u32;
        }
        score
    }
}
