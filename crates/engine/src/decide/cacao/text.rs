//! A playbook's values as the YAML that a person would write.

use serde_json::{Map, Value};

use super::json;
use crate::decide::yaml;

/// Keys in the order in which people read them; others come after.
const ORDER: [&str; 20] = [
    "name",
    "version",
    "description",
    "trigger",
    "condition",
    "severity_threshold",
    "confidence_threshold",
    "context_requirements",
    "actions",
    "rollback",
    "id",
    "type",
    "hotl_required",
    "hotl_prompt",
    "on_timeout",
    "approval_timeout",
    "irreversible",
    "depends_on",
    "parameters",
    "success_criteria",
];

/// A playbook as YAML. `told` has a remark for each action that needs one, by its place.
pub(super) fn playbook(values: &Map<String, Value>, told: &[String]) -> String {
    let mut text = String::new();
    for (key, value) in ordered(values) {
        match value {
            Value::Array(items) if key == "actions" && !items.is_empty() => {
                text.push_str("actions:\n");
                for (i, item) in items.iter().enumerate() {
                    if let Some(remark) = told.get(i) {
                        remark.lines().for_each(|line| text.push_str(&format!("  # {line}\n")));
                    }
                    action(item, &mut text);
                }
            }
            Value::Object(below) if !below.is_empty() => {
                text.push_str(&format!("{}:\n", scalar(key)));
                ordered(below).for_each(|(key, value)| text.push_str(&format!("  {}: {}\n", scalar(key), flow(value))));
            }
            other => text.push_str(&format!("{}: {}\n", scalar(key), flow(other))),
        }
    }
    text
}

/// A CACAO document to be kept in a playbook's file, after [`playbook`].
pub(super) fn kept(digest: &str, document: &Value, pretty: bool) -> String {
    let mut text = format!("cacao:\n  unchanged: {}\n  document: |\n", scalar(digest));
    json::text(document, pretty).lines().for_each(|line| text.push_str(&format!("    {line}\n")));
    text
}

/// What a file says, as JSON; `None` where its YAML says what JSON can not.
pub(super) fn values(node: &yaml::Node) -> Value {
    match &node.value {
        yaml::Value::Null => Value::Null,
        yaml::Value::Bool(value) => Value::Bool(*value),
        yaml::Value::Int(value) => Value::from(*value),
        yaml::Value::Float(value) => Value::from(*value),
        yaml::Value::Text(text) => Value::from(text.as_str()),
        yaml::Value::List(items) => Value::Array(items.iter().map(values).collect()),
        yaml::Value::Map(entries) => {
            Value::Object(entries.iter().map(|entry| (entry.key.clone(), values(&entry.node))).collect())
        }
    }
}

fn ordered(values: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    let mut entries: Vec<_> = values.iter().collect();
    entries.sort_by_key(|(key, _)| ORDER.iter().position(|known| known == key).unwrap_or(ORDER.len()));
    entries.into_iter()
}

fn action(item: &Value, text: &mut String) {
    match item {
        Value::Object(entries) if !entries.is_empty() => {
            for (i, (key, value)) in ordered(entries).enumerate() {
                let start = if i == 0 { "  - " } else { "    " };
                text.push_str(&format!("{start}{}: {}\n", scalar(key), flow(value)));
            }
        }
        other => text.push_str(&format!("  - {}\n", flow(other))),
    }
}

/// A value on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::Null => "~".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => scalar(text),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) if entries.is_empty() => "{}".to_owned(),
        Value::Object(entries) => {
            let entries: Vec<_> =
                ordered(entries).map(|(key, value)| format!("{}: {}", scalar(key), flow(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

/// A text, in quotes unless it can only be taken for what it is. A JSON string is a YAML string.
fn scalar(text: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '.' | '/' | '-');
    let odd = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(word)
        && !text.ends_with(' ')
        && !odd.contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_owned() } else { json::text(&Value::from(text), false) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whatever_is_written_is_read_as_the_same() {
        let values_of = |text: &str| values(&yaml::read(text).unwrap_or_else(|e| panic!("{e:?}\n{text}")));
        let odd = json!({
            "name": "no", "version": "1.0", "description": "a: b # c\n\n d\u{85}\u{2028}\u{feff}\u{7f}\u{1f600} ",
            "trigger": {"condition": "a and (b)", "confidence_threshold": 0.75, "x": {}},
            "context_requirements": [], "rollback": {"enabled": true, "conditions": ["a", "B c", "- d", "~", "1e3", ""]},
            "actions": [
                {"id": "a", "parameters": {"n": 1, "t": "${x}", "l": ["{", "}", "[", "]", ",", ": ", " #"]}, "hotl_required": false},
                {}, 7, "x", null, [[1.5]],
            ],
            "a: b": null, "": "y",
        });
        let text = playbook(odd.as_object().unwrap(), &["one\ntwo".to_owned()]);
        assert_eq!(values_of(&text), odd, "{text}");
        assert!(
            text.starts_with("name: \"no\"\nversion: \"1.0\"\n") && text.contains("  # one\n  # two\n  - id: a\n"),
            "{text}"
        );
        for pretty in [true, false] {
            let text = kept("ab", &odd, pretty);
            let read = values_of(&text);
            assert_eq!(read["cacao"]["unchanged"], "ab");
            assert_eq!(json::read(read["cacao"]["document"].as_str().unwrap()).unwrap(), odd);
        }
    }
}
