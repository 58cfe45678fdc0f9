//! JSON objects become flat fields: nested names are joined with dots, arrays become lists.
//!
//! One pass, which borrows what it can from the line. The conventions:
//! - `{"a":{"b":1}}` is `a.b`. A list of objects is one list per member: `{"a":[{"b":1},{"b":2}]}` is `a.b: [1, 2]`.
//! - XML written as JSON: `#text` is the element itself, and `#attributes` and names with an `@` join with
//!   `_`, so `{"Provider":{"#attributes":{"Name":"x"}}}` and `{"Provider":{"@Name":"x"}}` are `Provider_Name`.
//! - Of a name that stands twice the first stands.
//! - A NUL within a string, which no sensor means and some stores can not keep, becomes U+FFFD.
//! - Whole numbers beyond 63 bits become text, so that no digit is lost.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use vertice_model::Refusal;
use vertice_model::limits::JSON_DEPTH_MAX;
use vertice_sigma::json::{Visit, walk};
use vertice_sigma::{Value as Seen, unescape};

use super::field::hash;
use super::value::Held;
use crate::limits::{FIELD_NAME_BYTES_MAX, FIELDS_READ_MAX};

/// A field and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    /// Its whole name.
    pub(super) name: Cow<'a, str>,
    /// The last of the names that were joined, as the line has it; empty if it is written otherwise there.
    pub(super) last: &'a str,
    /// The name's [`hash`].
    pub(super) hash: u32,
    /// Its value.
    pub(super) value: Held<'a>,
}

/// The fields of a JSON object, in its order, and how many were left out. A name may stand twice.
///
/// # Errors
/// When the line is no JSON object, or nested too deep.
pub(super) fn flatten(line: &str) -> Result<(Vec<Entry<'_>>, usize), Refusal> {
    let mut flat = Flat { fields: Vec::with_capacity(64), frames: Vec::with_capacity(4), ..Flat::default() };
    match walk(line, JSON_DEPTH_MAX, &mut flat) {
        Ok(()) => Ok((flat.fields, flat.left_out)),
        Err(error) => Err(refusal(line).unwrap_or_else(|| Refusal::new(format!("not JSON: {error}")))),
    }
}

/// Flattens as it walks.
#[derive(Default)]
struct Flat<'a> {
    fields: Vec<Entry<'a>>,
    left_out: usize,
    /// The current name with the names around it, unless it is `whole`.
    path: String,
    whole: Option<&'a str>,
    last: &'a str,
    /// How the names below the current one are joined to it.
    joint: Joint,
    frames: Vec<Frame<'a>>,
}

/// How a name is joined to those around it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Joint {
    #[default]
    Dot,
    Underscore,
}

/// An object or a list that is open.
struct Frame<'a> {
    list: bool,
    joint: Joint,
    /// Of an object: how long the path around it is.
    base: usize,
    /// Of a list: where the fields of its objects begin.
    mark: usize,
    /// Of a list: its values.
    items: Vec<Held<'a>>,
    empty: bool,
}

impl<'a> Visit<'a> for Flat<'a> {
    fn name(&mut self, name: &'a str, escaped: bool) {
        let (root, base, around) = match self.frames.last() {
            Some(frame) => (self.frames.len() == 1, frame.base, frame.joint),
            None => (true, 0, Joint::Dot),
        };
        if root && !escaped {
            let (name, joint) = match name {
                "#text" => ("", Joint::Dot),
                "#attributes" => ("", Joint::Underscore),
                _ => (name, Joint::Dot),
            };
            (self.whole, self.last, self.joint) = (Some(name), "", joint);
            return;
        }
        self.whole = None;
        self.path.truncate(base);
        (self.last, self.joint) = (if escaped { "" } else { name }, Joint::Dot);
        let plain = if escaped { unescape(name) } else { Cow::Borrowed(name) };
        self.join(&plain, around);
    }

    fn value(&mut self, value: Seen<'a>) {
        match self.frames.last_mut() {
            Some(list) if list.list => {
                list.empty = false;
                list.items.push(value.into());
            }
            Some(_) | None => self.push(value.into()),
        }
    }

    fn open(&mut self, list: bool) {
        let mut joint = self.joint;
        if let Some(around) = self.frames.last_mut().filter(|frame| frame.list) {
            around.empty = false;
            joint = around.joint;
        }
        if !list && let Some(name) = self.whole.take() {
            self.path.clear();
            self.path.push_str(name);
        }
        let (base, mark) = (self.path.len(), self.fields.len());
        self.frames.push(Frame { list, joint, base, mark, items: Vec::new(), empty: true });
    }

    fn close(&mut self, _: bool) {
        let Some(frame) = self.frames.pop() else { return };
        if !frame.list {
            self.path.truncate(frame.base);
            return;
        }
        if self.fields.len() > frame.mark {
            self.gather(frame.mark);
        }
        if !frame.empty && frame.items.is_empty() {
            return;
        }
        match self.frames.last_mut() {
            Some(around) if around.list => around.items.extend(frame.items),
            Some(_) | None => self.push(Held::List(frame.items)),
        }
    }
}

impl<'a> Flat<'a> {
    /// Appends a member's name to the path, and says how the names below it are joined to it.
    fn join(&mut self, name: &str, around: Joint) {
        let (name, joint) = match name {
            "#text" | "#attributes" => {
                self.joint = if name == "#text" { Joint::Dot } else { Joint::Underscore };
                self.last = "";
                return;
            }
            // Elasticsearch's own names begin with it too.
            "@timestamp" | "@version" => (name, around),
            _ => match name.strip_prefix('@').filter(|_| !self.path.is_empty()) {
                Some(attribute) => (attribute, Joint::Underscore),
                None => (name, around),
            },
        };
        if joint == Joint::Underscore {
            self.last = "";
        }
        // A path too long to be kept need not be longer: this bounds what deep nesting of long names costs.
        if self.path.len() <= FIELD_NAME_BYTES_MAX {
            if !self.path.is_empty() {
                self.path.push(if joint == Joint::Dot { '.' } else { '_' });
            }
            self.path.push_str(name);
        }
    }

    fn push(&mut self, value: Held<'a>) {
        let length = self.whole.map_or(self.path.len(), str::len);
        if self.fields.len() >= FIELDS_READ_MAX || length > FIELD_NAME_BYTES_MAX {
            self.left_out += 1;
            return;
        }
        let name = self.whole.map_or_else(|| Cow::Owned(self.path.clone()), Cow::Borrowed);
        self.fields.push(Entry { hash: hash(&name), name, last: self.last, value });
    }

    /// The objects of a list gave fields from `mark` on, each name several times: one list per name.
    fn gather(&mut self, mark: usize) {
        let mut members = self.fields.split_off(mark);
        members.sort_by(|a, b| a.name.cmp(&b.name));
        for member in members {
            let fresh = self.fields[mark..].last().is_none_or(|last| last.name != member.name);
            if fresh {
                self.fields.push(Entry { value: Held::List(Vec::new()), ..member });
            }
            if let Some(Entry { value: Held::List(list), .. }) = self.fields.last_mut() {
                match member.value {
                    Held::List(more) => list.extend(more),
                    one => list.push(one),
                }
            }
        }
    }
}

/// Why a line is refused, in the words of `serde_json`, which tells line and column; `None` if it would not be.
fn refusal(line: &str) -> Option<Refusal> {
    let mut json = serde_json::Deserializer::from_str(line);
    let error = Node { depth: 0 }.deserialize(&mut json).and_then(|()| json.end()).err()?;
    // Only the depth is refused by us; everything else is refused by the syntax.
    let refused = if error.is_data() { "refused" } else { "not JSON though it starts with `{`" };
    Some(Refusal::new(format!("{refused}: {error}")))
}

/// One JSON value, which is passed over.
struct Node {
    depth: usize,
}

impl Node {
    fn below<E: serde::de::Error>(&self) -> Result<usize, E> {
        if self.depth < JSON_DEPTH_MAX {
            return Ok(self.depth + 1);
        }
        Err(E::custom(format_args!("nested deeper than {JSON_DEPTH_MAX} levels")))
    }
}

impl<'de> DeserializeSeed<'de> for Node {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.depth == 0 { deserializer.deserialize_map(self) } else { deserializer.deserialize_any(self) }
    }
}

impl<'de> Visitor<'de> for Node {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let depth = self.below::<A::Error>()?;
        while map.next_key::<Cow<'de, str>>()?.is_some() {
            map.next_value_seed(Node { depth })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let depth = self.below::<A::Error>()?;
        while seq.next_element_seed(Node { depth })?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let (mut fields, _) = flatten(line).unwrap();
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        fields.dedup_by(|later, first| later.name == first.name);
        let json = |value: &Held<'_>| serde_json::to_string(&value.to_value()).unwrap();
        let shown: Vec<String> = fields.iter().map(|f| format!("{}={}", f.name, json(&f.value))).collect();
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
        let line = format!("{{{}}}", many.join(","));
        let (fields, left_out) = flatten(&line).unwrap();
        assert_eq!((fields.len(), left_out), (FIELDS_READ_MAX, 5));
        let long = format!(r#"{{"{}":{{"b":{{"c":1}}}},"d":2}}"#, "x".repeat(FIELD_NAME_BYTES_MAX + 1));
        let (fields, left_out) = flatten(&long).unwrap();
        assert_eq!((fields.len(), left_out), (1, 1));
    }
}
