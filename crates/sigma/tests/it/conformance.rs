//! Public rules compile, and public cases fire their rules.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value as Json};
use vertice_sigma::{Compilation, RuleIndex, RuleSet, Source};

use crate::support::{JsonEvent, files, matches, rule_files, shared};

/// All public rules, compiled once for all tests; `None` where they are absent.
static RULES: LazyLock<Option<RuleSet>> = LazyLock::new(|| {
    let root = shared("sigma")?;
    let folders = ["rules", "rules-emerging-threats", "rules-threat-hunting"].map(|folder| root.join(folder));
    let files = rule_files(&folders);
    // Two rules ask the user who the legitimate hosts are.
    let placeholders = BTreeMap::from([("known_cdcs".to_owned(), vec!["dc01".to_owned()])]);
    let (rules, refused) = RuleSet::compile_with(
        files.iter().map(|(path, text)| (path.as_str(), text.as_str())),
        &Compilation { placeholders, ..Compilation::default() },
    );
    let shown: Vec<String> = refused.iter().map(ToString::to_string).collect();
    assert!(refused.is_empty(), "{} refused:\n{}", refused.len(), shown.join("\n"));
    assert_eq!(rules.len(), files.len());
    Some(rules)
});

#[test]
fn every_public_rule_compiles() {
    match &*RULES {
        Some(rules) => {
            println!("{} public rules compile, none is refused", rules.len());
            assert!(rules.len() >= 3_700, "{} rules", rules.len());
        }
        None => println!("the shared rules are absent: some 3,750 cases left out"),
    }
}

#[test]
fn every_public_case_fires_its_rule() {
    let (Some(rules), Some(cases)) = (&*RULES, shared("sigma-regression")) else {
        println!("the shared cases are absent: some 94 cases left out");
        return;
    };
    let by_id: BTreeMap<&str, RuleIndex> =
        rules.iter().filter_map(|(index, rule)| Some((rule.id.as_deref()?, index))).collect();
    let (mut fired, mut missed) = (0, Vec::new());
    for path in files(&cases, ".json") {
        let id = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("the case is text");
        let events: Vec<Json> =
            serde_json::Deserializer::from_str(&text).into_iter().map(|json| json.expect("the case is JSON")).collect();
        let rule = by_id[id.as_str()];
        let hit = events.into_iter().any(|json| {
            let event = windows(&json);
            let sources = sources(&event);
            matches(rules, &event, sources).contains(&rule) && !rules.explain(rule, &event).is_empty()
        });
        if hit { fired += 1 } else { missed.push(path.display().to_string()) }
    }
    println!("{fired} public cases fire their rule");
    assert!(missed.is_empty(), "{} missed:\n{}", missed.len(), missed.join("\n"));
    assert!(fired >= 90, "{fired}");
}

/// A nested Windows event with its fields under plain names.
fn windows(json: &Json) -> JsonEvent {
    let mut fields = Map::new();
    let event = &json["Event"];
    flatten(&event["System"], &mut fields);
    flatten(&event["EventData"], &mut fields);
    flatten(&event["UserData"], &mut fields);
    fields.insert("Provider_Name".to_owned(), event["System"]["Provider"]["#attributes"]["Name"].clone());
    JsonEvent(fields)
}

fn flatten(json: &Json, into: &mut Map<String, Json>) {
    for (name, value) in json.as_object().into_iter().flatten() {
        match value {
            Json::Object(members) if members.contains_key("#text") => {
                into.insert(name.clone(), members["#text"].clone());
            }
            Json::Object(_) if name != "#attributes" => flatten(value, into),
            Json::Object(_) => {}
            value => {
                into.insert(name.clone(), value.clone());
            }
        }
    }
}

/// The log sources of a Windows event, as far as these cases need them.
fn sources(event: &JsonEvent) -> Vec<Source<'static>> {
    let channel = event.0["Channel"].as_str().unwrap_or_default();
    let id = event.0["EventID"].as_i64().unwrap_or_default();
    let service = match channel {
        "Microsoft-Windows-Sysmon/Operational" => "sysmon",
        "Microsoft-Windows-WMI-Activity/Operational" => "wmi",
        "Security" => "security",
        _ => "",
    };
    let categories: &[&str] = match (service, id) {
        ("sysmon", 1) | ("security", 4688) => &["process_creation"],
        ("sysmon", 3) => &["network_connection"],
        ("sysmon", 7) => &["image_load"],
        ("sysmon", 8) => &["create_remote_thread"],
        ("sysmon", 10) => &["process_access"],
        ("sysmon", 11) => &["file_event"],
        ("sysmon", 12) => &["registry_add", "registry_delete", "registry_event"],
        ("sysmon", 13) => &["registry_set", "registry_event"],
        ("sysmon", 14) => &["registry_rename", "registry_event"],
        ("sysmon", 15) => &["create_stream_hash"],
        ("sysmon", 17 | 18) => &["pipe_created"],
        ("sysmon", 22) => &["dns_query"],
        ("sysmon", 23 | 26) => &["file_delete"],
        _ => &[],
    };
    let source = |category| Source { category, product: Some("windows"), service: Some(service) };
    std::iter::once(None).chain(categories.iter().copied().map(Some)).map(source).collect()
}
