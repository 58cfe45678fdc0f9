//! The shipped rules: the cases beside them, the house rules of detection content, and real logs whose attacks
//! somebody else named.
//!
//! Everything runs through the whole engine: raw lines in, detections out.

mod cases;
mod demo;
mod hub;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use vertice_engine::cases::Played;
use vertice_engine::{Content, ContentFile};
use vertice_model::{Severity, Tactic, Technique, Timestamp};

const CONTENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../content");

/// The classes that the four playbooks wait for.
const CLASSES: [&str; 4] =
    ["brute_force_detected", "data_exfiltration_detected", "lateral_movement_detected", "malware_detected"];

/// Plays lines to a fresh engine with the shipped content, one log position each.
fn play<'l>(now: Timestamp, lines: impl IntoIterator<Item = &'l str>) -> Played {
    vertice_engine::cases::play(shipped(), now, lines)
}

/// The rules and mappings of this repository, compiled once.
fn shipped() -> &'static Arc<Content> {
    static SHIPPED: OnceLock<Arc<Content>> = OnceLock::new();
    SHIPPED.get_or_init(|| {
        let mut files = Vec::new();
        for kind in ["mappings", "rules"] {
            files.extend(
                below(&Path::new(CONTENT).join(kind))
                    .into_iter()
                    .filter(|p| !is_case(p))
                    .map(|path| ContentFile { path: name_of(&path), text: read(&path) }),
            );
        }
        let content = Content::compile(files);
        let refused: Vec<String> = content.refused.iter().map(ToString::to_string).collect();
        assert!(refused.is_empty(), "{}", refused.join("\n"));
        Arc::new(content)
    })
}

/// Every YAML file below a folder, by path.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "yml") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn is_case(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.ends_with("cases"))
}

/// A content file as the engine names it: `rules/web/log4shell.yml`.
fn name_of(path: &Path) -> String {
    path.strip_prefix(CONTENT).unwrap().to_string_lossy().into_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Which file each rule is from, by the rule's id.
fn files_of_rules() -> BTreeMap<String, String> {
    shipped().rules.set().iter().map(|(_, rule)| (rule.key().to_owned(), rule.path.clone())).collect()
}

#[test]
fn every_rule_says_what_the_house_asks_of_it() {
    let content = shipped();
    let (mut wrong, mut ids, mut titles) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for (index, rule) in content.rules.set().iter() {
        let mut must = |holds: bool, what: &str| {
            if !holds {
                wrong.push(format!("{}:{}: {}: {what}", rule.path, rule.line, rule.title));
            }
        };
        let id = rule.id.clone().unwrap_or_default();
        let parts: Vec<usize> = id.split('-').map(str::len).collect();
        must(parts == [8, 4, 4, 4, 12] && id.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()), "its id is no UUID");
        must(ids.insert(id), "its id is another's too");
        must(titles.insert(rule.title.clone()), "its title is another's too");
        must(rule.title.len() <= 100, "its title is longer than a line");
        must(rule.description.len() >= 40, "its description says too little");
        must(
            !rule.author.is_empty() && rule.date.is_some() && rule.status.is_some(),
            "author, date or status is missing",
        );
        must(rule.level.is_some(), "its level is missing");
        must(rule.silent || !rule.falsepositives.is_empty(), "it does not say what it gets wrong");
        let (tactics, techniques): (Vec<&str>, Vec<&str>) = rule
            .tags
            .iter()
            .map(|tag| tag.strip_prefix("attack.").unwrap_or(tag))
            .partition(|t| Tactic::from_slug(t).is_some());
        must(!tactics.is_empty(), "it names no tactic");
        must(techniques.iter().any(|t| t.parse::<Technique>().is_ok()), "it names no technique");
        let known = |tag: &&str| tag.parse::<Technique>().is_ok() || tag.starts_with("cve.");
        must(techniques.iter().all(known), "one of its tags is neither tactic, technique nor vulnerability");
        let attributes = content.rules.attributes(index);
        must(attributes.class.as_deref().is_none_or(|c| CLASSES.contains(&c)), "no playbook waits for its class");
        must(!rule.silent || attributes.severity == Severity::Info, "it only serves a correlation and has a level");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_rules_raise_every_class_in_many_areas() {
    let content = shipped();
    let (mut classes, mut areas) = (BTreeSet::new(), BTreeMap::<String, u32>::new());
    for (index, rule) in content.rules.set().iter().filter(|(_, rule)| !rule.silent) {
        classes.extend(content.rules.attributes(index).class.clone());
        *areas.entry(rule.path.split('/').nth(1).unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(classes.iter().map(String::as_str).collect::<Vec<_>>(), CLASSES);
    println!("rules by area: {areas:?}");
    assert!(areas.len() >= 9 && areas.values().sum::<u32>() >= 45, "{areas:?}");
}
