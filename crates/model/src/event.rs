//! Raw events, and events as their mapping reads them.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Entity, EventId, Position, Timestamp, limits};

/// What a sensor wrote, as it was accepted: one line, or one JSON object.
///
/// This is what the log keeps. Everything else about an event is derived from it by its mapping.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
pub struct RawEvent {
    /// Where it came from: `http`, `syslog`, or a file's path. Shared by all events of one source.
    #[schema(value_type = String)]
    pub origin: Arc<str>,
    /// The line, without its end. At most [`limits::RAW_EVENT_BYTES_MAX`] bytes.
    pub line: String,
}

/// Why a raw event was refused, in words for the person who sent it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error, utoipa::ToSchema)]
#[error("{reason}")]
pub struct Refusal {
    /// What is wrong, where, and what was meant.
    #[schema(value_type = String)]
    pub reason: Cow<'static, str>,
}

impl Refusal {
    /// A refusal for this reason.
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { reason: reason.into() }
    }
}

/// A raw event read by its mapping.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Event {
    /// The sender's id, or one derived from the log position.
    pub event_id: EventId,
    /// Where it stands in the log.
    pub position: Position,
    /// When it happened, by the sensor's clock.
    pub timestamp: Timestamp,
    /// When it was accepted, by ours.
    pub received: Timestamp,
    /// Where it came from; see [`RawEvent::origin`].
    #[schema(value_type = String)]
    pub origin: Arc<str>,
    /// The name of the mapping that read it, such as `windows` or `sshd`.
    #[schema(value_type = String)]
    pub mapping: Arc<str>,
    /// The Sigma log sources it belongs to. Sysmon's registry events belong to several.
    #[schema(value_type = Vec<LogSource>)]
    pub log_sources: Arc<[LogSource]>,
    /// Who or what it is about, if it says.
    #[serde(flatten)]
    pub entity: Option<Entity>,
    /// What it says: the sensor's own fields under their own names, and the common ones that the
    /// mapping derived under ECS names (`source.ip`, `user.name`, `event.action`, …).
    pub fields: Fields,
}

/// A Sigma log source: which of the three parts are known.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogSource {
    /// A kind of event that several products write, such as `process_creation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Who makes what wrote it, such as `windows`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// The log or daemon within the product, such as `sysmon`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[schema(no_recursion)]
pub enum Value {
    /// Present, and null.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// Several values, in the order that the sensor gave them.
    List(Vec<Value>),
}

impl Value {
    /// The text of a text value.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::List(_) => None,
        }
    }

    /// The value as a person would write it, lists with commas; empty for null.
    #[must_use]
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Value::Null => Cow::Borrowed(""),
            Value::Bool(b) => Cow::Borrowed(if *b { "true" } else { "false" }),
            Value::Int(n) => Cow::Owned(n.to_string()),
            Value::Float(x) => Cow::Owned(x.to_string()),
            Value::Text(text) => Cow::Borrowed(text),
            Value::List(values) => Cow::Owned(values.iter().map(Value::to_text).collect::<Vec<_>>().join(",")),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

/// The fields of an event, by name. Names are unique and case-sensitive; at most
/// [`limits::EVENT_FIELDS_MAX`].
///
/// Invariant: sorted by name, so that looking one up is a binary search.
#[derive(Clone, Debug, Default, PartialEq, utoipa::ToSchema)]
#[schema(value_type = std::collections::BTreeMap<String, Value>)]
pub struct Fields(Vec<(Box<str>, Value)>);

impl Fields {
    /// The fields of a list. Of several with one name the first stands; those beyond the limit are
    /// left out, last names first, and their number is returned beside.
    #[must_use]
    pub fn new(mut fields: Vec<(Box<str>, Value)>) -> (Fields, usize) {
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        fields.dedup_by(|later, first| later.0 == first.0);
        let left_out = fields.len().saturating_sub(limits::EVENT_FIELDS_MAX);
        fields.truncate(limits::EVENT_FIELDS_MAX);
        (Fields(fields), left_out)
    }

    /// The value of a field, or `None` if the event has no such field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.binary_search_by(|(n, _)| (**n).cmp(name)).ok().map(|i| &self.0[i].1)
    }

    /// The text of a field; `None` if it is absent or no text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_text)
    }

    /// Every field, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Fields {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&str, &str)]) -> Fields {
        Fields::new(list.iter().map(|(n, v)| ((*n).into(), Value::from(*v))).collect()).0
    }

    #[test]
    fn fields_are_found_by_name_and_the_first_of_a_name_stands() {
        let f = fields(&[("b", "2"), ("a", "1"), ("b", "3")]);
        assert_eq!((f.len(), f.is_empty()), (2, false));
        assert_eq!(f.text("b"), Some("2"));
        assert_eq!(f.get("B"), None);
        assert_eq!(serde_json::to_string(&f).unwrap(), r#"{"a":"1","b":"2"}"#);
    }

    #[test]
    fn fields_beyond_the_limit_are_counted() {
        let many = (0..limits::EVENT_FIELDS_MAX + 3).map(|i| (i.to_string().into(), Value::Null)).collect();
        let (f, left_out) = Fields::new(many);
        assert_eq!((f.len(), left_out), (limits::EVENT_FIELDS_MAX, 3));
    }

    #[test]
    fn values_have_a_text() {
        let list = Value::List(vec![
            Value::Null,
            Value::Bool(true),
            Value::Bool(false),
            Value::Int(-3),
            Value::Float(0.5),
            String::from("x").into(),
        ]);
        assert_eq!(list.to_text(), ",true,false,-3,0.5,x");
        assert_eq!(list.as_text(), None);
        assert_eq!(Refusal::new("no").to_string(), "no");
    }
}
