//! YAML as a tree that remembers its lines, so that every refusal can name one.

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Location, Spanned};

use super::words::quoted;
use crate::limits;

/// A value, and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// Its line, from 1.
    pub(super) line: u64,
    /// What it is.
    pub(super) value: Value,
}

/// What a value is, after YAML 1.2's core schema.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a map, where it stands, and its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) line: u64,
    pub(super) key: String,
    pub(super) node: Node,
}

/// A text that is no YAML: the line, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Unreadable {
    pub(super) line: u64,
    pub(super) reason: String,
}

/// Reads one document.
pub(super) fn read(text: &str) -> Result<Node, Unreadable> {
    if text.len() > limits::PLAYBOOK_BYTES_MAX {
        let reason = format!("has {} bytes; at most {} are read", text.len(), limits::PLAYBOOK_BYTES_MAX);
        return Err(Unreadable { line: 0, reason });
    }
    let mut budget = serde_saphyr::Budget::default();
    budget.max_events = limits::PLAYBOOK_YAML_EVENTS_MAX;
    budget.max_depth = limits::PLAYBOOK_YAML_DEPTH_MAX;
    budget.flow_nesting_limit = limits::PLAYBOOK_YAML_DEPTH_MAX;
    // An alias makes what stands on one line mean something on another, which no reviewer should have to follow.
    budget.max_aliases = 0;
    let mut options = serde_saphyr::Options::default();
    options.budget = Some(budget);
    options.with_snippet = false;
    options.strict_booleans = true;
    match serde_saphyr::from_str_with_options::<Spanned<Value>>(text, options) {
        Ok(root) => Ok(node(root)),
        Err(error) => {
            let line = error.location().map_or(0, line_of);
            Err(Unreadable { line, reason: format!("is no YAML that is read here: {}", without_place(&error)) })
        }
    }
}

/// The message without the line that it repeats; in our own words where the reader's are about its options.
fn without_place(error: &serde_saphyr::Error) -> String {
    match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { key, .. } => {
            format!("the key {} stands twice", quoted(key.as_deref().unwrap_or_default()))
        }
        serde_saphyr::Error::MultipleDocuments { .. } => "one file is one playbook".to_owned(),
        serde_saphyr::Error::Budget { breach: BudgetBreach::Aliases { .. }, .. } => {
            "write the value out, in place of an alias".to_owned()
        }
        other => {
            let text = other.to_string();
            let first = text.lines().next().unwrap_or_default();
            let end = first.find(" at line ").unwrap_or(first.len());
            first[..end].chars().take(limits::REASON_CHARS_MAX).collect()
        }
    }
}

fn line_of(location: Location) -> u64 {
    location.line()
}

fn node(spanned: Spanned<Value>) -> Node {
    Node { line: line_of(spanned.referenced), value: spanned.value }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value).map(Value::Int).map_err(|_| E::custom(format!("the number {value} is too large")))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Value>>()? {
            list.push(node(item));
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let value = node(entries.next_value::<Spanned<Value>>()?);
            map.push(Entry { line: line_of(key.referenced), key: key.value, node: value });
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_line() {
        let root = read("a:\n  b: 1\n  c: [x, 1.5, true, ~, yes, '1']\nd: |\n  text\ne: {f: g}\n").unwrap();
        let Value::Map(top) = root.value else { panic!("a map") };
        let keys: Vec<_> = top.iter().map(|e| (e.line, e.key.as_str(), e.node.line)).collect();
        assert_eq!(keys, [(1, "a", 2), (4, "d", 5), (6, "e", 6)]);
        let Value::Map(inner) = &top[0].node.value else { panic!("a map") };
        let Value::List(list) = &inner[1].node.value else { panic!("a list") };
        let text = |text: &str| Value::Text(text.to_owned());
        let wanted = [text("x"), Value::Float(1.5), Value::Bool(true), Value::Null, text("yes"), text("1")];
        assert_eq!(list.iter().map(|n| n.value.clone()).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn numbers_beyond_all_measure_are_no_whole_numbers() {
        let value = |text: &str| read(text).map(|node| node.value);
        assert_eq!(value("9223372036854775807"), Ok(Value::Int(i64::MAX)));
        assert!(!matches!(value("9223372036854775808"), Ok(Value::Int(_))));
        assert!(value(".inf").is_err());
    }
}
