//! The mapping language: what a mapping file may say. The types are what the file says, checked as it is
//! read, so an error names the line.
//!
//! A mapping says what shape it reads and how a line of its own is recognised, where the time is, which
//! fields name the entity, and then steps that derive fields and log sources. See `content/mappings`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::field::{ByField, Field, FieldList, Folded, Prefix};
use super::pairs::Pairs;
use super::time::Format;
use super::words::{Condition, Glob, Pattern, Word};

/// A mapping file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spec {
    /// What it reads, in a sentence.
    #[expect(dead_code, reason = "for the reader of the file; required so that each file has one")]
    pub(super) description: String,
    /// Mappings are tried from the lowest to the highest; 100 unless said.
    #[serde(default = "usual_order")]
    pub(super) order: u32,
    /// The shape of its lines.
    pub(super) reads: Shape,
    /// JSON: an object is recognised if any of these holds.
    #[serde(default)]
    pub(super) recognise: Vec<Recognise>,
    /// Text: the programs whose messages it reads behind a syslog header; `*` is any.
    #[serde(default)]
    pub(super) programs: Vec<Glob>,
    /// Text: whether it also reads lines without a syslog header.
    #[serde(default)]
    pub(super) plain: bool,
    /// Text: whether a message of its programs that no pattern fits is still its own.
    #[serde(default)]
    pub(super) others: bool,
    /// JSON: prefixes stripped off names; see [`super::draft::Draft::hoist`].
    #[serde(default)]
    pub(super) hoist: Vec<Prefix>,
    /// JSON: lists of names and the lists of their values, which become fields.
    #[serde(default)]
    pub(super) zip: ByField<Field>,
    /// Fields that must be there, and what each must be.
    #[serde(default)]
    pub(super) require: ByField<Kind>,
    /// Fields that may be missing, and what each must be if it is there.
    #[serde(default)]
    pub(super) allow: ByField<Kind>,
    /// The field with the sender's own id.
    pub(super) event_id: Option<Field>,
    /// Where the time is: the first of these fields that is there.
    #[serde(default)]
    pub(super) time: Vec<Time>,
    /// Text: of these steps with a `regex` the first that fits is taken.
    #[serde(default)]
    pub(super) patterns: Vec<Step>,
    /// What is done with the fields then, in order.
    #[serde(default)]
    pub(super) steps: Vec<Step>,
    /// A line within the line: everything else is only its header.
    pub(super) reread: Option<Reread>,
    /// The fields that may name the entity, best first.
    #[serde(default)]
    pub(super) entity: Vec<Field>,
}

fn usual_order() -> u32 {
    100
}

/// The shape of a mapping's lines.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Shape {
    /// One JSON object.
    Json,
    /// Anything else, with or without a syslog header.
    Text,
}

/// How a JSON object is recognised: all of this must hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recognise {
    /// Fields that must be there.
    #[serde(default)]
    pub(super) has: Vec<Field>,
    /// Fields that must have one of these values.
    #[serde(default, rename = "where")]
    pub(super) holds: Condition,
}

/// What a required or allowed field must be.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Text that is not empty.
    Text,
    /// An IPv4 or IPv6 address.
    Ip,
    /// A whole number.
    Integer,
    /// An object.
    Object,
}

/// A field with a time, and how it may be written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Time {
    /// The field.
    pub(super) field: Field,
    /// The ways to write it, likeliest first.
    pub(super) formats: Vec<Format>,
}

/// Where the line within a line is, and what is known of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reread {
    /// The field with the line.
    pub(super) line: Field,
    /// The field with the host.
    pub(super) host: Option<Field>,
    /// The fields with the program, the first that is there. Without one the line is read as it stands.
    #[serde(default)]
    pub(super) program: Vec<Field>,
    /// The field with the process id.
    pub(super) pid: Option<Field>,
}

/// One step: on a condition, what to derive. Its parts are done in the order in which they stand here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    /// All of these must hold.
    #[serde(default)]
    pub(super) when: Condition,
    /// None of these may hold.
    #[serde(default)]
    pub(super) unless: Condition,
    /// Of a pattern: what the message must look like. Its named groups become fields.
    pub(super) regex: Option<Pattern>,
    /// `key=value` pairs that become fields.
    pub(super) pairs: Option<Pairs>,
    /// Parts of fields that become fields.
    #[serde(default)]
    pub(super) extract: Vec<Extract>,
    /// Constants, by the field that gets them.
    #[serde(default)]
    pub(super) set: ByField<String>,
    /// Copies, by the field that gets them.
    #[serde(default)]
    pub(super) fields: ByField<Source>,
    /// The fields that may name the entity of such an event, best first, instead of the mapping's.
    #[serde(default)]
    pub(super) entity: Vec<Field>,
    /// What it belongs to.
    pub(super) log_source: Option<LogSourceSpec>,
    /// One step by the value of a field.
    pub(super) switch: Option<Switch>,
    /// Further steps under the same condition.
    #[serde(default)]
    pub(super) steps: Vec<Step>,
}

/// Parts of a field that become fields, by the named groups of a pattern.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Extract {
    /// The field.
    pub(super) from: Field,
    /// The pattern; nothing happens if it does not fit.
    pub(super) regex: Pattern,
}

/// The parts of the log source that an event belongs to; they add up over the steps.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogSourceSpec {
    /// Who makes what wrote it.
    pub(super) product: Option<Source>,
    /// The log or daemon.
    pub(super) service: Option<Source>,
    /// The kind of event.
    pub(super) category: Option<Source>,
}

/// One step by the value of a field, compared without regard to case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Switch {
    /// The field.
    pub(super) on: Field,
    /// The steps; a key may be several values with commas between.
    #[serde(deserialize_with = "cases")]
    pub(super) cases: Folded<Arc<Step>>,
}

fn cases<'de, D: Deserializer<'de>>(d: D) -> Result<Folded<Arc<Step>>, D::Error> {
    let written = BTreeMap::<Word, Step>::deserialize(d)?;
    let mut cases = BTreeMap::new();
    for (Word(keys), step) in written {
        let step = Arc::new(step);
        for key in keys.split(',').map(|key| key.trim().to_ascii_lowercase()) {
            if cases.insert(key.clone(), Arc::clone(&step)).is_some() {
                return Err(D::Error::custom(format!("case {key:?} stands twice")));
            }
        }
    }
    Ok(Folded::new(cases))
}

/// Where a value comes from: a field, the first of several fields, or a map that says more.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    /// Whether it was written as a text or a list of texts. As a part of a log source that is a literal.
    pub(super) short: bool,
    /// The rest.
    pub(super) long: LongSource,
}

/// A source that is written as a map.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LongSource {
    /// Fields; the first that is there and says something.
    #[serde(default)]
    pub(super) from: FieldList,
    /// Fields `NAME0`, `NAME1`, … until one is missing, joined with spaces.
    pub(super) join: Option<String>,
    /// What a value becomes, compared without regard to case; one that is not listed becomes `else`, or nothing.
    #[serde(default, deserialize_with = "map")]
    pub(super) map: Option<Folded<String>>,
    /// What a value that is not listed, or a missing field, becomes.
    #[serde(rename = "else")]
    pub(super) otherwise: Option<String>,
    /// What is done to the text.
    #[serde(rename = "as")]
    pub(super) shape: Option<As>,
}

fn map<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Folded<String>>, D::Error> {
    let written = BTreeMap::<Word, String>::deserialize(d)?;
    Ok(Some(Folded::new(written.into_iter().map(|(word, to)| (word.0, to)))))
}

/// What is done to a text.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum As {
    /// `DOMAIN\name` is `name`.
    Account,
    /// `/usr/bin/x` and `C:\x` are `x`.
    FileName,
    /// A whole number.
    Integer,
    /// In small letters.
    Lower,
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Source, D::Error> {
        d.deserialize_any(SourceVisitor)
    }
}

struct SourceVisitor;

impl<'de> Visitor<'de> for SourceVisitor {
    type Value = Source;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name, a list of names, or a map with `from` or `join`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Source, E> {
        let from = FieldList(vec![Field::from(text.to_owned())]);
        Ok(Source { short: true, long: LongSource { from, ..LongSource::default() } })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Source, A::Error> {
        let from = FieldList::deserialize(SeqAccessDeserializer::new(seq))?;
        Ok(Source { short: true, long: LongSource { from, ..LongSource::default() } })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Source, A::Error> {
        Ok(Source { short: false, long: LongSource::deserialize(MapAccessDeserializer::new(map))? })
    }
}
