//! Facts from ATT&CK's and the Attack Flow corpus' own files: the pure half of `cargo xtask learn intent`.
//!
//! # What a step is
//!
//! A flow is a graph of actions; operators, conditions, tools and assets between two actions are passed through. For
//! each action with a technique that has actions before it, and whose parent technique none of those has, there is one
//! step: given the techniques of the actions before it, furthest first and each once, predict this one.
//!
//! # What leaks
//!
//! ATT&CK knows some of the same incidents: the SolarWinds campaign C0024 is the SolarWinds flow. So each flow lists
//! every group, campaign and malware whose name or alias stands anywhere in the flow's text, those that are known to
//! be behind it under another name ([`ALSO_KNOWN`]), and the campaigns that are attributed to such a group. They are
//! left out with the flow. Flows of one incident, or of one malware, share a fold and are left out together.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use vertice_model::Technique;

/// ATT&CK objects behind an incident that its flow does not name.
const ALSO_KNOWN: [(&str, &[&str]); 13] = [
    ("Cobalt Kitty Campaign", &["APT32"]),
    ("Conti CISA Alert", &["Wizard Spider"]),
    ("Conti PWC", &["Wizard Spider"]),
    ("Ivanti Vulnerabilities", &["Cutting Edge"]),
    ("Mac Malware Steals Crypto", &["CookieMiner"]),
    ("NotPetya", &["Sandworm Team"]),
    ("REvil", &["GOLD SOUTHFIELD"]),
    ("SWIFT Heist", &["Lazarus Group", "APT38"]),
    ("SolarWinds", &["APT29", "SolarWinds Compromise", "SUNBURST", "TEARDROP", "SUNSPOT", "Raindrop"]),
    ("ToolShell Vulnerability in Sharepoint", &["SharePoint ToolShell Exploitation"]),
    ("Turla - Carbon Emulation Plan", &["Turla", "Carbon"]),
    ("Uber Breach", &["LAPSUS$"]),
    ("WhisperGate", &["Ember Bear"]),
];

/// Flows that tell of one incident or one malware, by how their names begin.
const FOLDS: [&str; 2] = ["CISA AA22-138B", "Conti"];

/// Techniques of older versions of ATT&CK and what they are now.
const RENAMED: [(&str, &str); 3] = [("T1063", "T1518"), ("T1076", "T1021"), ("T1183", "T1546")];

/// Why a source can not be learned from.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{source_name} is not as expected: {reason}")]
pub struct LearnError {
    source_name: String,
    reason: String,
}

/// The two files of facts, as text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Learned {
    /// `attack.txt`.
    pub attack: String,
    /// `flows.txt`.
    pub flows: String,
}

struct Named {
    id: String,
    names: Vec<String>,
    kind: &'static str,
    techniques: BTreeSet<String>,
}

/// Reads `enterprise.json` and the flows (name without ending, text) and gives the facts.
///
/// # Errors
///
/// Names the source that is not JSON of the expected shape.
pub fn learn(enterprise: &str, flows: &[(String, String)]) -> Result<Learned, LearnError> {
    let source = json("enterprise.json", enterprise)?;
    let graphs = flows.iter().map(|(name, text)| Graph::read(name, text)).collect::<Result<Vec<_>, _>>()?;
    let mut tactics: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for technique in list(&source, "techniques") {
        let parent = parent_of(text(technique, "id"));
        tactics.entry(parent).or_default().extend(list(technique, "tactics").iter().filter_map(Value::as_str));
    }
    for technique in graphs.iter().flat_map(|g| g.actions.iter()) {
        // Of other matrices: nobody can predict them, and they count as missed.
        tactics.entry(technique.1.clone()).or_default();
    }
    let mut attack = NOTICE.to_owned();
    for (id, tactics) in &tactics {
        let tactics: Vec<&str> = tactics.iter().copied().collect();
        attack += &format!("technique\t{id}\t{}\n", tactics.join(" "));
    }
    let actors = actors(&source);
    for actor in &actors {
        let techniques: Vec<&str> = actor.techniques.iter().map(String::as_str).collect();
        attack += &format!("{}\t{}\t{}\t{}\n", actor.kind, actor.id, actor.names[0], techniques.join(" "));
    }
    let mut told = FLOW_NOTICE.to_owned();
    for graph in graphs.iter().filter(|g| !g.actions.is_empty()) {
        graph.write(&leaks(graph, &actors, &source), &mut told);
    }
    Ok(Learned { attack, flows: told })
}

const NOTICE: &str =
    "# Written by `cargo xtask learn intent` from MITRE ATT&CK; terms of use in NOTICE.md beside this file.\n";
const FLOW_NOTICE: &str = "# Written by `cargo xtask learn intent` from the Attack Flow corpus (Apache-2.0); see NOTICE.md beside this file.\n";

fn actors(source: &Value) -> Vec<Named> {
    let mut all = Vec::new();
    for (key, kind) in [("groups", "group"), ("campaigns", "campaign"), ("malware", "malware"), ("tools", "tool")] {
        for one in list(source, key) {
            let techniques: BTreeSet<String> =
                list(one, "techniques").iter().filter_map(Value::as_str).map(parent_of).collect();
            let aliases = list(one, "aliases").iter().filter_map(Value::as_str);
            let names: Vec<String> = [text(one, "name")].into_iter().chain(aliases).map(plain).collect();
            // One technique tells nothing of what goes together.
            if techniques.len() > 1 {
                all.push(Named { id: text(one, "id").to_owned(), names, kind, techniques });
            }
        }
    }
    all
}

/// The ids of the actors that may know of this incident.
fn leaks(graph: &Graph, actors: &[Named], source: &Value) -> BTreeSet<String> {
    let known = ALSO_KNOWN.iter().find(|(flow, _)| *flow == graph.name).map_or(&[][..], |(_, names)| names);
    let told = |a: &Named| {
        a.names.iter().any(|name| {
            known.contains(&name.as_str()) || (a.kind != "tool" && name.len() > 3 && contains_word(&graph.words, name))
        })
    };
    let mut ids: BTreeSet<String> = actors.iter().filter(|a| told(a)).map(|a| a.id.clone()).collect();
    for pair in list(source, "campaign_attributed_to_group") {
        if let [Some(campaign), Some(group)] = [0, 1].map(|i| pair.get(i).and_then(Value::as_str))
            && ids.contains(group)
            && actors.iter().any(|a| a.id == campaign)
        {
            ids.insert(campaign.to_owned());
        }
    }
    ids
}

fn contains_word(words: &str, name: &str) -> bool {
    let name = name.to_lowercase();
    let edge = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphanumeric());
    words
        .match_indices(&name)
        .any(|(at, _)| edge(words[..at].chars().next_back()) && edge(words[at + name.len()..].chars().next()))
}

/// A flow as a graph of its actions.
struct Graph {
    name: String,
    /// All of its text in lower case, to look for names in.
    words: String,
    /// Each action's instance and parent technique, as the file orders them.
    actions: Vec<(String, String)>,
    /// For each action those directly before it, as indices.
    before: Vec<Vec<usize>>,
}

impl Graph {
    fn read(name: &str, text_of: &str) -> Result<Graph, LearnError> {
        let source = json(name, text_of)?;
        let objects = list(&source, "objects");
        let mut actions = Vec::new();
        let (mut owners, mut latches): (BTreeMap<&str, &str>, BTreeMap<&str, &Value>) = Default::default();
        let mut words = String::new();
        for object in objects {
            latches.insert(text(object, "instance"), object);
            words += &object.get("properties").map(ToString::to_string).unwrap_or_default().to_lowercase();
            if let Some(technique) = technique_of(object) {
                actions.push((text(object, "instance").to_owned(), technique));
            }
        }
        for object in objects {
            let anchors = object.get("anchors").and_then(Value::as_object).into_iter().flat_map(|a| a.values());
            for anchor in anchors.filter_map(Value::as_str).filter_map(|a| latches.get(a)) {
                let held = list(anchor, "latches").iter().filter_map(Value::as_str);
                owners.extend(held.map(|latch| (latch, text(object, "instance"))));
            }
        }
        let mut after: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for line in objects.iter().filter(|o| text(o, "id") == "dynamic_line") {
            if let (Some(from), Some(to)) = (owners.get(text(line, "source")), owners.get(text(line, "target"))) {
                after.entry(from).or_default().push(to);
            }
        }
        let place: BTreeMap<&str, usize> = actions.iter().enumerate().map(|(i, a)| (a.0.as_str(), i)).collect();
        let mut before = vec![Vec::new(); actions.len()];
        for (from, (instance, _)) in actions.iter().enumerate() {
            let (mut seen, mut todo) = (BTreeSet::from([instance.as_str()]), vec![instance.as_str()]);
            while let Some(at) = todo.pop() {
                for next in after.get(at).into_iter().flatten().filter(|n| seen.insert(n)) {
                    match place.get(next) {
                        Some(&to) => before[to].push(from),
                        None => todo.push(next),
                    }
                }
            }
        }
        Ok(Graph { name: name.to_owned(), words, actions, before })
    }

    /// Those before an action, furthest first; of equally far ones in the order of the file.
    fn path(&self, to: usize) -> Vec<usize> {
        let (mut far, mut front, mut step): (BTreeMap<usize, usize>, _, _) = (BTreeMap::new(), vec![to], 0);
        while !front.is_empty() {
            step += 1;
            let nearer = std::mem::take(&mut front);
            for before in nearer.iter().flat_map(|&at| &self.before[at]) {
                if *before != to && !far.contains_key(before) {
                    far.insert(*before, step);
                    front.push(*before);
                }
            }
        }
        let mut path: Vec<usize> = far.keys().copied().collect();
        path.sort_by_key(|at| (std::cmp::Reverse(far[at]), *at));
        path
    }

    fn write(&self, leaks: &BTreeSet<String>, out: &mut String) {
        let fold = FOLDS.iter().find(|f| self.name.starts_with(*f)).map_or(self.name.as_str(), |f| f);
        let leaks: Vec<&str> = leaks.iter().map(String::as_str).collect();
        *out += &format!("flow\t{}\t{fold}\t{}\n", self.name, leaks.join(" "));
        let has: BTreeSet<&str> = self.actions.iter().map(|a| a.1.as_str()).collect();
        *out += &format!("has\t{}\n", has.into_iter().collect::<Vec<_>>().join(" "));
        let technique = |at: usize| self.actions[at].1.as_str();
        let mut edges = BTreeSet::new();
        for (to, before) in self.before.iter().enumerate() {
            edges.extend(before.iter().map(|&from| (technique(from), technique(to))).filter(|(a, b)| a != b));
        }
        for (from, to) in edges {
            *out += &format!("edge\t{from} {to}\n");
        }
        for to in 0..self.actions.len() {
            // Each technique once, where it was last.
            let mut before: Vec<&str> = Vec::new();
            for at in self.path(to).into_iter().rev() {
                if !before.contains(&technique(at)) {
                    before.insert(0, technique(at));
                }
            }
            if !before.is_empty() && !before.contains(&technique(to)) {
                *out += &format!("step\t{} {}\n", before.join(" "), technique(to));
            }
        }
    }
}

/// The parent technique of an action.
fn technique_of(object: &Value) -> Option<String> {
    if text(object, "id") != "action" {
        return None;
    }
    let property = |of: &Value, name: &str| {
        let pair = of.as_array()?.iter().find(|p| p.get(0).and_then(Value::as_str) == Some(name))?;
        pair.get(1).cloned()
    };
    let properties = object.get("properties")?;
    let ttp = property(properties, "ttp").and_then(|t| property(&t, "technique"));
    let id = ttp.filter(Value::is_string).or_else(|| property(properties, "technique_id"))?;
    let id = id.as_str()?.trim().parse::<Technique>().ok()?;
    let id = parent_of(id.as_str());
    Some(RENAMED.iter().find(|(old, _)| *old == id).map_or(id, |(_, now)| (*now).to_owned()))
}

fn parent_of(id: &str) -> String {
    id.split('.').next().unwrap_or_default().to_owned()
}

/// A name on one line without tabs, for the files are split at both.
fn plain(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn json(name: &str, text: &str) -> Result<Value, LearnError> {
    let refused = |reason: String| LearnError { source_name: name.to_owned(), reason };
    serde_json::from_str(text).map_err(|e| refused(e.to_string()))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
