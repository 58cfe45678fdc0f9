//! Events from JSON, and the shared data.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use vertice_sigma::{Event, Matcher, Rule, RuleIndex, RuleSet, Source, Value};

/// A flat JSON object as an event.
pub(crate) struct JsonEvent(pub(crate) serde_json::Map<String, Json>);

impl JsonEvent {
    pub(crate) fn new(json: Json) -> JsonEvent {
        match json {
            Json::Object(map) => JsonEvent(map),
            other => panic!("an object is meant, not {other}"),
        }
    }
}

impl Event for JsonEvent {
    fn field<'a>(&'a self, name: &str, visit: &mut dyn FnMut(Value<'a>)) {
        if let Some(json) = self.0.get(name) {
            show(json, visit);
        }
    }

    fn each<'a>(&'a self, visit: &mut dyn FnMut(&str, Value<'a>)) {
        self.0.iter().for_each(|(name, json)| show(json, &mut |value| visit(name, value)));
    }
}

/// The rules that match, by both ways of finding them, which must agree; the faster one also when it knows the values.
/// The verdicts must agree with them too.
pub(crate) fn matches<'s>(
    rules: &RuleSet,
    event: &dyn Event,
    sources: impl IntoIterator<Item = Source<'s>>,
) -> Vec<RuleIndex> {
    let sources: Vec<Source<'s>> = sources.into_iter().collect();
    let mut plain = rules.matches(event, sources.iter().copied());
    plain.sort_unstable();
    let mut matcher = Matcher::new(rules);
    for _ in 0..2 {
        assert_eq!(matcher.matches(event, sources.iter().copied()), plain);
    }
    let told = |index: RuleIndex| rules.verdict(index, event).is_some_and(|verdict| verdict.holds);
    let concerned = |rule: &Rule| {
        let source = &rule.log_source;
        source.concerns(Source::default()) || sources.iter().any(|given| source.concerns(*given))
    };
    // Why a rule matches is told of every rule that does, and why not of all others.
    for (index, rule) in rules.iter() {
        assert_eq!(told(index) && concerned(rule), plain.contains(&index), "{}", rule.title);
    }
    plain
}

fn show<'a>(json: &'a Json, visit: &mut dyn FnMut(Value<'a>)) {
    match json {
        Json::Null => visit(Value::Null),
        Json::Bool(b) => visit(Value::Bool(*b)),
        Json::Number(n) => visit(n.as_i64().map_or_else(|| Value::Float(n.as_f64().unwrap_or(f64::NAN)), Value::Int)),
        Json::String(text) => visit(Value::Text(text)),
        Json::Array(items) => items.iter().for_each(|item| show(item, visit)),
        Json::Object(members) => members.values().for_each(|member| show(member, visit)),
    }
}

/// A folder of the shared data, or `None` where it is absent.
pub(crate) fn shared(folder: &str) -> Option<PathBuf> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")).join(folder);
    path.is_dir().then_some(path)
}

/// All files below a folder whose name ends so, in order of path.
pub(crate) fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder is readable") {
            let path = entry.expect("the entry is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(end) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The rule files below some folders, with their text.
pub(crate) fn rule_files(folders: &[PathBuf]) -> Vec<(String, String)> {
    let paths = folders.iter().flat_map(|folder| files(folder, ".yml"));
    paths.map(|path| (path.display().to_string(), std::fs::read_to_string(&path).expect("the rule is text"))).collect()
}
