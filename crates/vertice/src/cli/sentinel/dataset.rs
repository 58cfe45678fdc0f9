//! Labelled alerts: what an evaluation is measured on.
//!
//! A file has one JSON object a line; a blank line is nothing. A directory is walked for names that end with `.ndjson`
//! or `.jsonl`.
//!
//! | member | is |
//! |---|---|
//! | `id` | a name, of which there is one; at most 128 characters |
//! | `label` | `malicious` or `benign` |
//! | `events` | what the sensors wrote, in order: lines, or JSON objects as they are; 1 to 1,024 |
//! | `techniques` | ATT&CK techniques that are seen in it; left out: it says nothing of mapping |
//! | `at` | when it came in (RFC 3339), for lines without a year; left out: noon of 2 March 2026, or an hour after its last event if that is later |
//! | `note` | anything, which is not read |

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Map, Value};
use vertice_model::{Technique, Timestamp};

use super::super::Failure;
use crate::limits;

/// A labelled alert.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Its name.
    pub id: String,
    /// What it is.
    pub is_malicious: bool,
    /// The techniques that are seen in it; `None` if nobody said.
    pub techniques: Option<BTreeSet<Technique>>,
    /// When it came in, if the dataset says so.
    pub at: Option<Timestamp>,
    /// What the sensors wrote.
    pub lines: Vec<String>,
}

/// Reads datasets: files and directories.
///
/// # Errors
/// What is wrong, with its file, line and field.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Alert>> {
    let mut alerts = Vec::new();
    let mut places: BTreeMap<String, String> = BTreeMap::new();
    let mut left = limits::DATASET_BYTES_MAX;
    for path in paths.iter().map(|path| files(path)).collect::<Result<Vec<_>>>()?.concat() {
        let text = text(&path, left)?;
        left -= text.len() as u64;
        for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let place = format!("{}:{}", path.display(), n + 1);
            let alert = alert(line).map_err(|(field, why)| wrong(&place, field, &why))?;
            if let Some(before) = places.insert(alert.id.clone(), place.clone()) {
                return Err(wrong(&place, "id", &format!("{:?} is that of {before} too", alert.id)));
            }
            alerts.push(alert);
        }
    }
    if alerts.is_empty() {
        return Err(Failure::Content("there is no alert in the dataset".to_owned()).into());
    }
    Ok(alerts)
}

fn wrong(place: &str, field: &str, why: &str) -> anyhow::Error {
    let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
    Failure::Content(format!("{place}: {field}{why}")).into()
}

/// The files of a path, by name.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let missing = |error: std::io::Error| Failure::NotFound(format!("{}: {error}", path.display()));
    if !path.metadata().map_err(missing)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let (mut found, mut folders) = (Vec::new(), vec![path.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().map_err(missing)? {
            let entry = entry.map_err(missing)?;
            // A link to a folder is not followed: it may lead back.
            if entry.file_type().map_err(missing)?.is_dir() {
                folders.push(entry.path());
            } else if entry.path().extension().is_some_and(|e| e == "ndjson" || e == "jsonl") {
                found.push(entry.path());
            }
        }
        if found.len() + folders.len() > limits::DATASET_FILES_MAX {
            let many = format!("{}: more than {} files", path.display(), limits::DATASET_FILES_MAX);
            return Err(Failure::Content(many).into());
        }
    }
    found.sort();
    Ok(found)
}

fn text(path: &Path, left: u64) -> Result<String> {
    let failed = |error: std::io::Error| Failure::Content(format!("{}: {error}", path.display()));
    let mut text = String::new();
    std::fs::File::open(path).map_err(failed)?.take(left + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > left {
        let mib = limits::DATASET_BYTES_MAX / 1024 / 1024;
        return Err(Failure::Content(format!("{}: the dataset has more than {mib} MiB", path.display())).into());
    }
    Ok(text)
}

/// What is wrong with which field.
type Wrong = (&'static str, String);

fn alert(line: &str) -> Result<Alert, Wrong> {
    let value: Value = serde_json::from_str(line).map_err(|e| ("", format!("it is no JSON: {e}")))?;
    let Value::Object(mut members) = value else { return Err(("", "it is no JSON object".to_owned())) };
    let alert = Alert {
        id: id(members.remove("id"))?,
        is_malicious: match members.remove("label").as_ref().and_then(Value::as_str) {
            Some("malicious") => true,
            Some("benign") => false,
            Some(_) | None => return Err(("label", "it is `malicious` or `benign`".to_owned())),
        },
        techniques: members.remove("techniques").map(techniques).transpose()?,
        at: members.remove("at").map(at).transpose()?,
        lines: events(members.remove("events"))?,
    };
    members.remove("note");
    known(&members)?;
    Ok(alert)
}

fn known(members: &Map<String, Value>) -> Result<(), Wrong> {
    match members.keys().next() {
        None => Ok(()),
        Some(name) => Err(("", format!("{name:?} is no member of an alert"))),
    }
}

fn id(value: Option<Value>) -> Result<String, Wrong> {
    match value {
        Some(Value::String(id)) if !id.is_empty() && id.chars().count() <= 128 => Ok(id),
        Some(_) | None => Err(("id", "it is a text of 1 to 128 characters".to_owned())),
    }
}

fn techniques(value: Value) -> Result<BTreeSet<Technique>, Wrong> {
    let Value::Array(items) = value else {
        return Err(("techniques", "it is a list of ids such as \"T1110\"".to_owned()));
    };
    let read = |item: &Value| {
        let text = item.as_str().ok_or(("techniques", format!("{item} is no text")))?;
        text.parse().map_err(|error| ("techniques", format!("{error}")))
    };
    items.iter().map(read).collect()
}

fn at(value: Value) -> Result<Timestamp, Wrong> {
    let time = value.as_str().and_then(|text| text.parse().ok());
    time.ok_or(("at", "it is a time such as \"2026-03-02T12:00:00Z\"".to_owned()))
}

fn events(value: Option<Value>) -> Result<Vec<String>, Wrong> {
    let Some(Value::Array(items)) = value else {
        return Err(("events", "it is a list of what the sensors wrote".to_owned()));
    };
    if items.is_empty() || items.len() > limits::REPLAY_BATCH_EVENTS {
        return Err(("events", format!("there are 1 to {}", limits::REPLAY_BATCH_EVENTS)));
    }
    let read = |(n, item): (usize, Value)| match item {
        Value::String(line) => Ok(line),
        Value::Object(_) => Ok(item.to_string()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            Err(("events", format!("number {} is neither a line nor an object", n + 1)))
        }
    };
    items.into_iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn refused(line: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.ndjson");
        std::fs::File::create(&path).unwrap().write_all(format!("\n{line}\n").as_bytes()).unwrap();
        let error = read(&[dir.path().to_owned()]).expect_err(line).to_string();
        error.replace(&format!("{}/", dir.path().display()), "")
    }

    #[test]
    fn what_is_wrong_is_told_with_file_line_and_field() {
        let good = r#"{"id":"a","label":"benign","events":["x"]}"#;
        for (line, told) in [
            ("{", "a.ndjson:2: it is no JSON: "),
            ("[]", "a.ndjson:2: it is no JSON object"),
            (r#"{"label":"benign","events":["x"]}"#, "a.ndjson:2: id: it is a text"),
            (r#"{"id":"a","label":"bad","events":["x"]}"#, "a.ndjson:2: label: it is `malicious` or `benign`"),
            (r#"{"id":"a","label":"benign"}"#, "a.ndjson:2: events: it is a list"),
            (r#"{"id":"a","label":"benign","events":[]}"#, "a.ndjson:2: events: there are 1 to 1024"),
            (r#"{"id":"a","label":"benign","events":["x",7]}"#, "a.ndjson:2: events: number 2 is neither"),
            (
                r#"{"id":"a","label":"benign","events":["x"],"techniques":["T1"]}"#,
                "a.ndjson:2: techniques: \"T1\" is no",
            ),
            (r#"{"id":"a","label":"benign","events":["x"],"at":"noon"}"#, "a.ndjson:2: at: it is a time"),
            (r#"{"id":"a","label":"benign","events":["x"],"lable":1}"#, "a.ndjson:2: \"lable\" is no member"),
            (&format!("{good}\n{good}"), "a.ndjson:3: id: \"a\" is that of a.ndjson:2 too"),
            ("", "there is no alert"),
        ] {
            let refused = refused(line);
            assert!(refused.contains(told), "{line} is refused as {refused}");
        }
        assert!(read(&["/nowhere".into()]).unwrap_err().to_string().starts_with("/nowhere: "));
    }

    #[test]
    fn what_is_right_is_read() {
        let alert = alert(
            r#"{"id":"a","label":"malicious","events":["x",{"b":1}],"techniques":["T1110"],"at":"2026-03-02T12:00:00Z","note":{}}"#,
        )
        .unwrap();
        assert!(alert.is_malicious && alert.techniques.is_some_and(|t| t.len() == 1));
        assert_eq!((alert.lines, alert.at.is_some()), (vec!["x".to_owned(), "{\"b\":1}".to_owned()], true));
    }
}
