//! JSON objects become flat fields: nested names are joined with dots, arrays become lists.
//!
//! One pass, without a tree between. The conventions:
//! - `{"a":{"b":1}}` is `a.b`. A list of objects is one list per member: `{"a":[{"b":1},{"b":2}]}` is `a.b: [1, 2]`.
//! - XML written as JSON: `#text` is the element itself, and `#attributes` and names with an `@` join with
//!   `_`, so `{"Provider":{"#attributes":{"Name":"x"}}}` and `{"Provider":{"@Name":"x"}}` are `Provider_Name`.
//! - Of a name that stands twice the first stands.
//! - A NUL within a string, which no sensor means and some stores can not keep, becomes U+FFFD.
//! - Whole numbers beyond 63 bits become text, so that no digit is lost.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use vertice_model::limits::JSON_DEPTH_MAX;
use vertice_model::{Refusal, Value};

use crate::limits::{FIELD_NAME_BYTES_MAX, FIELDS_READ_MAX};

/// A field and its value.
pub(super) type Field = (Box<str>, Value);

/// The fields of a JSON object, sorted by name, each name once, and how many were left out.
///
/// # Errors
/// When the line is no JSON object, or nested too deep.
pub(super) fn flatten(line: &str) -> Result<(Vec<Field>, usize), Refusal> {
    let mut walk = Walk { fields: Vec::with_capacity(64), left_out: 0, path: String::with_capacity(64) };
    let mut json = serde_json::Deserializer::from_str(line);
    let read = Node { walk: &mut walk, depth: 0, joint: '.' }.deserialize(&mut json).and_then(|_| json.end());
    if let Err(error) = read {
        // Only the depth is refused by us; everything else is refused by the syntax.
        let refused = if error.is_data() { "refused" } else { "not JSON though it starts with `{`" };
        return Err(Refusal::new(format!("{refused}: {error}")));
    }
    let Walk { mut fields, left_out, .. } = walk;
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    fields.dedup_by(|later, first| later.0 == first.0);
    Ok((fields, left_out))
}

struct Walk {
    fields: Vec<Field>,
    left_out: usize,
    path: String,
}

impl Walk {
    fn push(&mut self, value: Value) {
        if self.fields.len() < FIELDS_READ_MAX && self.path.len() <= FIELD_NAME_BYTES_MAX {
            self.fields.push((self.path.as_str().into(), value));
        } else {
            self.left_out += 1;
        }
    }

    /// The objects of a list gave fields from `mark` on, each name several times: one list per name.
    fn gather(&mut self, mark: usize) {
        let mut members = self.fields.split_off(mark);
        members.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, value) in members {
            let fresh = self.fields[mark..].last().is_none_or(|(last, _)| *last != name);
            if fresh {
                self.fields.push((name, Value::List(Vec::new())));
            }
            if let Some((_, Value::List(list))) = self.fields.last_mut() {
                append(list, value);
            }
        }
    }
}

fn append(list: &mut Vec<Value>, value: Value) {
    match value {
        Value::List(more) => list.extend(more),
        one @ (Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_)) => list.push(one),
    }
}

/// One JSON value at the walk's path. An object gives its members to the walk and returns nothing.
struct Node<'a> {
    walk: &'a mut Walk,
    depth: usize,
    joint: char,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Option<Value>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Option<Value>, D::Error> {
        if self.depth == 0 { deserializer.deserialize_map(self) } else { deserializer.deserialize_any(self) }
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_unit<E>(self) -> Result<Option<Value>, E> {
        Ok(Some(Value::Null))
    }

    fn visit_bool<E>(self, b: bool) -> Result<Option<Value>, E> {
        Ok(Some(Value::Bool(b)))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Option<Value>, E> {
        Ok(Some(Value::Int(n)))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Option<Value>, E> {
        Ok(Some(i64::try_from(n).map_or_else(|_| Value::Text(n.to_string()), Value::Int)))
    }

    fn visit_f64<E>(self, x: f64) -> Result<Option<Value>, E> {
        Ok(Some(Value::Float(x)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Option<Value>, E> {
        Ok(Some(Value::Text(if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text.to_owned() })))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Value>, A::Error> {
        let Node { walk, depth, joint } = self;
        if depth >= JSON_DEPTH_MAX {
            return Err(A::Error::custom(format_args!("nested deeper than {JSON_DEPTH_MAX} levels")));
        }
        let base = walk.path.len();
        while let Some(joint) = map.next_key_seed(Key { path: &mut walk.path, joint })? {
            if let Some(value) = map.next_value_seed(Node { walk: &mut *walk, depth: depth + 1, joint })? {
                walk.push(value);
            }
            walk.path.truncate(base);
        }
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<Value>, A::Error> {
        let Node { walk, depth, joint } = self;
        if depth >= JSON_DEPTH_MAX {
            return Err(A::Error::custom(format_args!("nested deeper than {JSON_DEPTH_MAX} levels")));
        }
        let mark = walk.fields.len();
        let mut list = Vec::new();
        let mut length = 0usize;
        while let Some(value) = seq.next_element_seed(Node { walk: &mut *walk, depth: depth + 1, joint })? {
            length += 1;
            if let Some(value) = value {
                append(&mut list, value);
            }
        }
        walk.gather(mark);
        Ok((length == 0 || !list.is_empty()).then_some(Value::List(list)))
    }
}

/// Appends a member's name to the path, and says how the names below it are joined to it.
struct Key<'a> {
    path: &'a mut String,
    joint: char,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = char;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<char, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = char;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<char, E> {
        let (name, joint) = match name {
            "#text" => return Ok('.'),
            "#attributes" => return Ok('_'),
            // Elasticsearch's own names begin with it too.
            "@timestamp" | "@version" => (name, self.joint),
            _ => match name.strip_prefix('@').filter(|_| !self.path.is_empty()) {
                Some(attribute) => (attribute, '_'),
                None => (name, self.joint),
            },
        };
        // A path too long to be kept need not be longer: this bounds what deep nesting of long names costs.
        if self.path.len() <= FIELD_NAME_BYTES_MAX {
            if !self.path.is_empty() {
                self.path.push(joint);
            }
            self.path.push_str(name);
        }
        Ok('.')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let (fields, _) = flatten(line).unwrap();
        let shown: Vec<String> =
            fields.iter().map(|(n, v)| format!("{n}={}", serde_json::to_string(v).unwrap())).collect();
        assert_eq!(shown.join(" "), expected, "{line}");
    }

    #[test]
    fn objects_are_flat_and_arrays_are_lists() {
        check(r#"{"b":{"c":1,"d":{"e":null}},"a":true}"#, "a=true b.c=1 b.d.e=null");
        check(r#"{"a":[1,[2,"x"],[]],"b":[],"c":{}}"#, r#"a=[1,2,"x"] b=[]"#);
        check(r#"{"a":[{"b":1,"c":[5]},{"b":2,"c":[6,7]},3]}"#, "a=[3] a.b=[1,2] a.c=[5,6,7]");
        check(r#"{"a":[{}]}"#, "");
        check(r#"{"":1,"x":{"":2}}"#, "=1 x.=2");
    }

    #[test]
    fn numbers_keep_their_digits_and_the_first_of_a_name_stands() {
        check(
            r#"{"a":18446744073709551615,"b":-9214364837600034816,"c":1.5}"#,
            r#"a="18446744073709551615" b=-9214364837600034816 c=1.5"#,
        );
        check(r#"{"a":1,"a":2,"a":{"b":3}}"#, "a=1 a.b=3");
        check(r#"{"a":"x\u0000y","\u0061b":"\u001b[2J"}"#, "a=\"x\u{fffd}y\" ab=\"\\u001b[2J\"");
    }

    #[test]
    fn xml_as_json_is_read_as_meant() {
        check(
            r##"{"E":{"#attributes":{"x":"y"},"P":{"#attributes":{"N":"s"}},"I":{"#text":7,"#attributes":{"Q":0}}}}"##,
            r#"E.I=7 E.I_Q=0 E.P_N="s" E_x="y""#,
        );
        check(r##"{"D":[{"@Name":"a","#text":"1"},{"@Name":"b","#text":"2"}]}"##, r#"D=["1","2"] D_Name=["a","b"]"#);
    }

    #[test]
    fn refusals_say_where() {
        let reason = |line: &str| flatten(line).unwrap_err().to_string();
        assert_eq!(
            reason(r#"{"a":1"#),
            "not JSON though it starts with `{`: EOF while parsing an object at line 1 column 6"
        );
        assert!(reason("{\"a\":\"\0\"}").contains("control character"));
        assert!(reason(r#"{"a":1} x"#).contains("trailing characters at line 1 column 9"));
        assert!(reason(r#"{"a":1e999}"#).contains("number out of range"));
        for (open, close) in [("{\"a\":", "}"), ("[", "]")] {
            let deep = format!("{{\"a\":{}1{}}}", open.repeat(100_000), close.repeat(100_000));
            assert!(reason(&deep).starts_with("refused: nested deeper than 64 levels at line 1"), "{}", reason(&deep));
        }
    }

    #[test]
    fn what_is_too_much_is_left_out_and_counted() {
        let many: Vec<String> = (0..FIELDS_READ_MAX + 5).map(|i| format!("\"{i}\":1")).collect();
        let (fields, left_out) = flatten(&format!("{{{}}}", many.join(","))).unwrap();
        assert_eq!((fields.len(), left_out), (FIELDS_READ_MAX, 5));
        let long = format!(r#"{{"{}":{{"b":{{"c":1}}}},"d":2}}"#, "x".repeat(FIELD_NAME_BYTES_MAX + 1));
        let (fields, left_out) = flatten(&long).unwrap();
        assert_eq!((fields.len(), left_out), (1, 1));
    }
}
