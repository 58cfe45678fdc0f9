//! JSON as a value of which nothing was lost in reading: no key twice, no number with more digits than are kept.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::decide::words::quoted;
use crate::limits;

/// A text that is not read as JSON: where, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Unreadable {
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) reason: String,
}

/// Reads a document.
pub(super) fn read(text: &str) -> Result<Value, Unreadable> {
    let max = limits::CACAO_BYTES_MAX;
    if text.len() > max {
        let reason = format!("has {} bytes; at most {max} are read", text.len());
        return Err(Unreadable { line: 0, column: 0, reason });
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = Tree { depth: 0 }.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    let value = read.map_err(|error| Unreadable {
        line: error.line() as u64,
        column: error.column() as u64,
        reason: format!("is no JSON that is read here: {}", without_place(&error)),
    })?;
    match blurred(text) {
        None => Ok(value),
        Some((at, number)) => {
            let (line, column) = place(text, at);
            let reason = format!("the number {} has more digits than are kept; write it as a text", quoted(number));
            Err(Unreadable { line, column, reason })
        }
    }
}

/// A value with the keys of its objects in the order of the alphabet. Whether they come so by themselves depends on
/// what else is built into the program.
pub(in crate::decide) fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            Value::Object(members.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// A value, sorted, as a text of several lines in which no character but ASCII's line break moves anything: what could be
/// taken for one, or can not be seen, is escaped.
pub(super) fn text(value: &Value, pretty: bool) -> String {
    let value = sorted(value);
    let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
    let text = text.expect("a JSON value always serializes");
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' || !hidden(c) {
            shown.push(c);
        } else {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| shown.push_str(&format!("\\u{unit:04x}")));
        }
    }
    shown
}

/// Control characters, line breaks of Unicode, invisible ones and those that turn the direction of writing.
fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{ffff}' | '\u{e0000}'..='\u{e007f}')
}

fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    let short = text[..end].chars().take(limits::REASON_CHARS_MAX);
    short.map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The first number that a double does not keep, and where it begins.
fn blurred(text: &str) -> Option<(usize, &str)> {
    let bytes = text.as_bytes();
    let (mut at, mut within) = (0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => within = !within,
            b'\\' if within => at += 1,
            b'-' | b'0'..=b'9' if !within => {
                let rest = &text[at..];
                let end = rest.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'));
                let number = &rest[..end.unwrap_or(rest.len())];
                if !kept(number) {
                    return Some((at, number));
                }
                at += number.len();
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Whether a number is the same after it was read. A double keeps 15 digits, whichever they are.
fn kept(number: &str) -> bool {
    if number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok() {
        return true;
    }
    let digits: String =
        number.split(['e', 'E']).next().unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_matches('0');
    let value = number.parse::<f64>().unwrap_or(f64::NAN);
    digits.len() <= 15 && value.is_finite() && (value.is_normal() || digits.is_empty())
}

fn place(text: &str, at: usize) -> (u64, u64) {
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    (line as u64, column as u64)
}

#[derive(Clone, Copy)]
struct Tree {
    depth: usize,
}

impl Tree {
    fn below<E: Error>(self) -> Result<Tree, E> {
        let max = limits::CACAO_DEPTH_MAX;
        if self.depth == max {
            return Err(E::custom(format!("it is nested deeper than {max}")));
        }
        Ok(Tree { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Tree {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number beyond all measure"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(below)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut map = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("the key {} stands twice", quoted(&key))));
            }
            let value = members.next_value_seed(below)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(text: &str) -> (u64, String) {
        let error = read(text).unwrap_err();
        (error.line, error.reason)
    }

    #[test]
    fn what_would_be_lost_is_refused_with_its_place() {
        assert_eq!(
            read(r#"{"a": [1, -2, 1.5, 1e3, "x", null, true, 18446744073709551615]}"#).unwrap()["a"][3],
            json!(1000.0)
        );
        assert_eq!(
            refused("{\"a\": 1,\n \"a\": 2}"),
            (2, "is no JSON that is read here: the key `a` stands twice".to_owned())
        );
        assert!(
            refused("{\"a\":\n 0.12345678901234567}").1.starts_with("the number `0.12345678901234567` has more digits")
        );
        assert_eq!(refused("{\"a\":\n\n 123456789012345678901}").0, 3);
        assert!(refused("[1e999]").1.contains("no JSON"), "{:?}", read("[1e999]"));
        assert!(refused("[1e-400]").1.contains("more digits"));
        assert_eq!(read(r#"["0.12345678901234567 \" 123456789012345678901"]"#).unwrap().as_array().unwrap().len(), 1);
        assert!(refused(&"[".repeat(limits::CACAO_DEPTH_MAX + 1)).1.contains("nested deeper"));
        assert!(refused(&" ".repeat(limits::CACAO_BYTES_MAX + 1)).1.contains("at most"));
        assert!(refused("{} {}").1.contains("trailing"));
    }

    #[test]
    fn a_text_has_one_order() {
        let one = text(&json!({"b": [{"d": 1, "c": 2}], "a": {}}), false);
        assert_eq!(one, r#"{"a":{},"b":[{"c":2,"d":1}]}"#);
    }

    #[test]
    fn what_can_not_be_seen_is_escaped_and_means_the_same() {
        let value = json!({"a": "\u{85}\u{2028}\u{feff}\u{7f}\u{e0041}ü\n\t", "b\u{202e}": [1.0, 1]});
        for pretty in [true, false] {
            let text = text(&value, pretty);
            assert!(!text.chars().any(|c| c != '\n' && hidden(c)), "{text:?}");
            assert_eq!(read(&text).unwrap(), value);
        }
    }
}
