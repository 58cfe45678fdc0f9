//! Events from JSON are read as `serde_json` reads them, refusals too.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;
use vertice_sigma::json::{JsonEvent, each};
use vertice_sigma::limits::{JSON_DEPTH_MAX, JSON_VALUES_MAX};
use vertice_sigma::{Event, Value, unescape};

use crate::random::Random;
use crate::support;

/// JSON as `serde_json` reads it, names that stand twice too.
enum Tree {
    Value(Json),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Value(Json::Null))
    }

    fn visit_bool<E>(self, b: bool) -> Result<Tree, E> {
        Ok(Tree::Value(b.into()))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Tree, E> {
        Ok(Tree::Value(n.into()))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Tree, E> {
        Ok(Tree::Value(i64::try_from(n).map_or_else(|_| n.to_string().into(), Json::from)))
    }

    fn visit_f64<E>(self, x: f64) -> Result<Tree, E> {
        Ok(Tree::Value(x.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Value(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = seq.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut object = Vec::new();
        while let Some(member) = map.next_entry()? {
            object.push(member);
        }
        Ok(Tree::Object(object))
    }
}

type Leaf = (String, bool, Json);

fn leaves(tree: &Tree, path: &str, listed: bool, out: &mut Vec<Leaf>) {
    match tree {
        Tree::Value(value) => out.push((path.to_owned(), listed, value.clone())),
        Tree::List(items) => items.iter().for_each(|item| leaves(item, path, true, out)),
        Tree::Object(members) => members.iter().for_each(|(name, member)| {
            leaves(member, &format!("{path}.{name}"), listed, out);
        }),
    }
}

fn expected(line: &str) -> Option<Vec<Leaf>> {
    let tree = serde_json::from_str::<Tree>(line).ok().filter(|tree| matches!(tree, Tree::Object(_)))?;
    let mut out = Vec::new();
    leaves(&tree, "", false, &mut out);
    out.iter_mut().for_each(|(path, _, _)| *path = path.split_off(1));
    Some(out)
}

fn shown(line: &str) -> Option<Vec<Leaf>> {
    let mut out = Vec::new();
    let json = |value: Value<'_>| match value {
        Value::Null => Json::Null,
        Value::Bool(b) => b.into(),
        Value::Int(n) => n.into(),
        Value::Float(x) => x.into(),
        Value::Text(text) => text.into(),
        Value::Escaped(text) => {
            assert!(text.contains('\\'));
            unescape(text).into()
        }
    };
    let read = each(line, JSON_DEPTH_MAX, |name, listed, value| out.push((name.to_owned(), listed, json(value))));
    match read {
        Ok(()) => Some(out),
        Err(error) => {
            assert!(error.at <= line.len() && line.is_char_boundary(error.at), "{error}: {line:?}");
            None
        }
    }
}

/// Both the same; the last digit of a number with many may differ, and a NUL is shown as U+FFFD.
fn agree(line: &str) -> bool {
    let (mut expected, mut shown) = (expected(line), shown(line));
    for (_, _, json) in expected.iter_mut().chain(&mut shown).flatten() {
        if let Some(x) = json.as_f64().filter(|_| !json.is_i64()) {
            *json = format!("{x:.13e}").into();
        }
    }
    for (path, _, json) in expected.iter_mut().flatten() {
        *path = path.replace('\0', "\u{fffd}");
        if let Some(text) = json.as_str() {
            *json = text.replace('\0', "\u{fffd}").into();
        }
    }
    assert_eq!(shown, expected, "{line:?}");
    shown.is_some()
}

const TEXTS: [&str; 16] = [
    "",
    "a",
    "Image",
    "C:\\\\Windows\\\\x.exe",
    "é",
    "\\u00e9",
    "\\ud83d\\ude00",
    "\\ud83d",
    "\\udc00x",
    "\\u0000",
    "\\n\\t\\/\\\"",
    "a b.c",
    "exactly 8",
    "0123456789abcdef",
    "ключ",
    "\\b\\f\\r",
];
const NUMBERS: [&str; 18] = [
    "0",
    "-0",
    "-1",
    "42",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "1.5",
    "-0.001",
    "1684329817.579",
    "1e5",
    "1E-7",
    "12.50e+3",
    "1e400",
    "123456789012345678901234567890.5",
];
const BLANKS: [&str; 6] = ["", "", "", " ", "\n\t", "\r "];
const PIECES: [&str; 30] = [
    "\"", "\\", "{", "}", "[", "]", ":", ",", "-", "+", ".", "e", "0", "00", "\0", "\n", "\u{7f}", "\u{1f}", "é",
    "\u{2028}", "true", "nul", "null", "\\u", "\\ud800", "\\udfff", "\\x", " ", "1e999", "/**/",
];

fn value(random: &mut Random, depth: usize, out: &mut String) {
    match random.below(if depth == 0 { 8 } else { 12 }) {
        0 => out.push_str(random.pick(&["true", "false", "null"])),
        1 | 2 => out.push_str(random.pick(&NUMBERS)),
        3..8 => string(random, out),
        8..10 => object(random, depth - 1, out),
        _ => {
            out.push('[');
            for n in 0..random.below(4) {
                out.push_str(if n == 0 { "" } else { "," });
                value(random, depth - 1, out);
                out.push_str(random.pick(&BLANKS));
            }
            out.push(']');
        }
    }
}

fn string(random: &mut Random, out: &mut String) {
    out.push('"');
    (0..random.below(4)).for_each(|_| out.push_str(random.pick(&TEXTS)));
    out.push('"');
}

fn object(random: &mut Random, depth: usize, out: &mut String) {
    out.push('{');
    for n in 0..random.below(5) {
        out.push_str(if n == 0 { "" } else { "," });
        out.push_str(random.pick(&BLANKS));
        string(random, out);
        out.push_str(random.pick(&BLANKS));
        out.push(':');
        out.push_str(random.pick(&BLANKS));
        value(random, depth, out);
    }
    out.push_str(random.pick(&BLANKS));
    out.push('}');
}

fn mutated(random: &mut Random, line: &str) -> String {
    let mut chars: Vec<char> = line.chars().collect();
    for _ in 0..1 + random.below(2) {
        let at = random.below(chars.len() + 1);
        let end = (at + random.below(4)).min(chars.len());
        match random.below(4) {
            0 => drop(chars.drain(at..end)),
            1 => drop(chars.splice(at..at, random.pick(&PIECES).chars())),
            2 => drop(chars.splice(at..end, random.pick(&PIECES).chars())),
            _ => chars.truncate(at.max(chars.len().saturating_sub(3))),
        }
    }
    chars.into_iter().collect()
}

#[test]
fn agrees_with_serde_json() {
    let cases = if std::env::var_os("VERTICE_LONG").is_some() { 1_000_000 } else { 100_000 };
    let mut random = Random(11);
    let (mut read, mut refused) = (0, 0);
    for case in 0..cases {
        let mut line = random.pick(&BLANKS).to_owned();
        object(&mut random, 4, &mut line);
        line.push_str(random.pick(&BLANKS));
        if case % 3 != 0 {
            line = mutated(&mut random, &line);
        }
        if agree(&line) {
            read += 1;
        } else {
            refused += 1;
        }
    }
    println!("{cases} lines: {read} read, {refused} refused");
    assert!(read > cases / 5 && refused > cases / 5);
}

#[test]
fn agrees_with_serde_json_on_real_events() {
    let Some(folder) = support::shared("sigma-regression") else {
        println!("real events as JSON left out: the shared data is not there");
        return;
    };
    let mut random = Random(12);
    let mut read = 0;
    for path in support::files(&folder, ".json") {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        if text.len() < 100_000 && agree(&text) {
            read += 1;
            agree(&mutated(&mut random, &text));
        }
    }
    println!("{read} real events");
    assert!(read > 50);
}

#[test]
fn depth_is_bounded_where_serde_json_ends() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = |levels: usize| format!("{{\"a\":{}1{}}}", open.repeat(levels - 1), close.repeat(levels - 1));
        assert!(agree(&deep(JSON_DEPTH_MAX)));
        assert!(!agree(&deep(JSON_DEPTH_MAX + 1)));
        assert!(each(&deep(64), 64, |_, _, _| {}).is_ok());
        let error = each(&deep(100_000), 64, |_, _, _| {}).unwrap_err();
        assert_eq!(error.to_string(), format!("nested too deep at byte {}", 5 + 63 * open.len()));
    }
}

#[test]
fn refusals_say_where() {
    for (line, error) in [
        ("", "an object is meant at byte 0"),
        (" [1]", "an object is meant at byte 1"),
        ("{", "a name in quotes is meant at byte 1"),
        (r#"{"a" 1}"#, "`:` is meant at byte 5"),
        (r#"{"a":}"#, "a value is meant at byte 5"),
        (r#"{"a":tru}"#, "a value is meant at byte 5"),
        (r#"{"a":-}"#, "a digit is meant at byte 6"),
        (r#"{"a":1.}"#, "a digit is meant at byte 7"),
        (r#"{"a":012}"#, "a number has no zeros before it at byte 6"),
        (r#"{"a":1e999}"#, "the number is out of range at byte 5"),
        (r#"{"a":1]"#, "`,` or `}` is meant at byte 6"),
        (r#"{"a":[1}"#, "`,` or `]` is meant at byte 7"),
        (r#"{"a":1} x"#, "something stands behind the object at byte 8"),
        (r#"{"a":"x"#, "the text ends within a string at byte 7"),
        (r#"{"a":"x\"#, "the text ends within a string at byte 7"),
        ("{\"a\":\"x\n\"}", "a control character stands within a string at byte 7"),
        (r#"{"a":"\x"}"#, "no such escape at byte 6"),
        (r#"{"a":"\u12"}"#, "`\\u` needs four hexadecimal digits at byte 6"),
        (r#"{"a":"\ud800"}"#, "half of a surrogate pair at byte 6"),
    ] {
        assert_eq!(JsonEvent::new(line).unwrap_err().to_string(), error, "{line}");
    }
}

#[test]
fn an_event_has_every_value_under_its_whole_name() {
    let line = r#"{"a":{"b":[1,{"c":"x"},"y"],"d":true},"b":2,"\u0062":null,"e":{"":{"f":1.5}},"l":[[3],[]]}"#;
    let mut event = JsonEvent::new(line).unwrap();
    let mut shown = Vec::new();
    event.each(&mut |name, value| shown.push(format!("{name}={value:?}")));
    assert_eq!(
        shown.join(" "),
        "a.b=Int(1) a.b.c=Text(\"x\") a.b=Text(\"y\") a.d=Bool(true) b=Int(2) b=Null e..f=Float(1.5) l=Int(3)"
    );
    let mut values = 0;
    event.field("b", &mut |_| values += 1);
    event.field("c", &mut |_| values += 10);
    assert_eq!(values, 2);
    event.read(r#"{"n":"m"}"#).unwrap();
    event.each(&mut |name, value| assert_eq!((name, value), ("n", Value::Text("m"))));
    assert!(event.read("{\"n\":1").is_err());
    event.each(&mut |name, _| panic!("{name} is left of what was refused"));
    let many = format!("{{\"a\":[{}1]}}", "1,".repeat(JSON_VALUES_MAX));
    assert!(event.read(&many).unwrap_err().to_string().starts_with("the object has too many values"));
}
