//! Real input that nobody here wrote.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use vertice_stream::{Item, find};

use crate::support::{read, shared};

#[test]
fn evtx_and_json_of_one_recording_say_the_same() {
    let Some(folder) = shared("sigma-regression") else { return };
    let found = find(&[folder]);
    let (mut pairs, mut records) = (0, 0);
    for path in found.files.iter().filter(|p| p.extension().is_some_and(|e| e == "evtx")) {
        let json = path.with_extension("json");
        if !json.exists() {
            println!("left out: {} has no JSON beside it", path.display());
            continue;
        }
        let (from_evtx, from_json) = (events(path), events(&json));
        assert_eq!(from_evtx.len(), from_json.len(), "{}", path.display());
        for (a, b) in from_evtx.iter().zip(&from_json) {
            let (a, b): (Value, Value) = (serde_json::from_str(a).unwrap(), serde_json::from_str(b).unwrap());
            let mut different = Vec::new();
            differences("", &common(a), &common(b), &mut different);
            assert!(different.is_empty(), "{}: {different:#?}", path.display());
        }
        pairs += 1;
        records += from_evtx.len();
    }
    println!("{pairs} pairs, {records} records");
    assert!(pairs >= 90 && records >= pairs);
}

#[test]
fn recordings_in_archives_are_read_and_captures_named() {
    let Some(folder) = shared("security-datasets") else { return };
    let long = std::env::var_os("VERTICE_LONG").is_some();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for path in find(&[folder]).files {
        if !long && std::fs::metadata(&path).unwrap().len() > 210_000 {
            *counts.entry("left out").or_default() += 1;
            continue;
        }
        for item in read(&path) {
            let kind = match item {
                Item::Event(event, _) => {
                    assert!(event.line.starts_with('{'), "{}: {:.80}", event.origin, event.line);
                    if path.extension().is_some_and(|e| e == "zip") { "zip" } else { "tar" }
                }
                Item::Refused { file, number, reason } => panic!("{file} {number}: {reason}"),
                Item::LeftOut(left) if left.reason.contains("packet capture") => "captures",
                Item::LeftOut(left) => {
                    assert_eq!(left.reason, "hidden", "{}", left.file);
                    "hidden"
                }
            };
            *counts.entry(kind).or_default() += 1;
        }
    }
    println!("{counts:?}; VERTICE_LONG=1 reads the large ones too");
    if long {
        // 55,503 recorded on hosts, and 2,611 in the folder of others.
        assert_eq!(counts["zip"], 55_503 + 2_611);
    }
    assert!(counts["zip"] > 5_000);
    assert_eq!(counts["captures"], 7);
}

#[test]
fn every_line_of_real_logs_arrives() {
    let Some(folder) = shared("crowdsec-hub-tests") else { return };
    let (mut files, mut lines) = (0, 0);
    for path in find(&[folder]).files {
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        let expected = text.lines().filter(|l| !l.trim().is_empty()).count();
        let found = events(&path);
        assert_eq!(found.len(), expected, "{}", path.display());
        files += 1;
        lines += expected;
    }
    println!("{files} files, {lines} lines");
    assert!(files > 40);
}

fn differences(at: &str, a: &Value, b: &Value, into: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            for name in a.keys().chain(b.keys().filter(|name| !a.contains_key(*name))) {
                differences(
                    &format!("{at}/{name}"),
                    a.get(name).unwrap_or(&Value::Null),
                    b.get(name).unwrap_or(&Value::Null),
                    into,
                );
            }
        }
        _ if a != b => into.push(format!("{at}: {a} against {b}")),
        _ => {}
    }
}

/// A record without what the version of the reader decides: braces and case of GUIDs, the seventh digit of a
/// time, which older readers cut off, and blanks at the end of a text.
fn common(record: Value) -> Value {
    match record {
        Value::String(text) => {
            let text = text.trim_end();
            let bare = text.trim_start_matches('{').trim_end_matches('}');
            let guid = bare.len() == 36 && bare.bytes().filter(|&b| b == b'-').count() == 4;
            let time = text.len() >= 27 && text.ends_with('Z') && text.as_bytes()[10] == b'T';
            Value::String(if guid {
                bare.to_uppercase()
            } else if time {
                text[..26].to_owned()
            } else {
                text.to_owned()
            })
        }
        Value::Array(values) => values.into_iter().map(common).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, common(value))).collect(),
        other => other,
    }
}

fn events(path: &Path) -> Vec<String> {
    read(path)
        .into_iter()
        .map(|item| match item {
            Item::Event(event, _) => event.line,
            Item::Refused { .. } | Item::LeftOut(_) => panic!("{}: {item:?}", path.display()),
        })
        .collect()
}
