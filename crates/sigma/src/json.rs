//! JSON objects as events: one pass over the text, which checks all of it and borrows every value from it.
//!
//! ```
//! use vertice_sigma::{RuleSet, Source, json::JsonEvent};
//!
//! let rule = "
//! title: Failed logins
//! logsource: {product: linux}
//! detection: {selection: {event.action: failed_login}, condition: selection}
//! ";
//! let (rules, _) = RuleSet::compile([("failed.yml", rule)]);
//! let source = Source { product: Some("linux"), ..Source::default() };
//! let mut event = JsonEvent::default();
//! for line in [r#"{"event":{"action":"failed_login"},"user":"root"}"#, r#"{"event":{"action":"login"}}"#] {
//!     event.read(line)?;
//!     println!("{line}: {} rules match", rules.matches(&event, [source]).len());
//! }
//! # Ok::<(), vertice_sigma::json::JsonError>(())
//! ```
//!
//! It accepts what RFC 8259 does, as `serde_json` reads it: half of a surrogate pair and a number beyond 64-bit
//! floating point are refused. Reading does not recurse, and allocates nothing for a value; of a name only if it has
//! escapes or lies within another.
//!
//! # What it costs
//! A Windows event of 2.3 KB takes some 1.5 µs: strings, which are most of it, are looked through eight bytes at once.

use std::borrow::Cow;
use std::fmt;

use crate::event::{Event, Value, unescape};
use crate::limits::{JSON_DEPTH_MAX, JSON_VALUES_MAX};

/// What is told of the parts of an object, in the order of the text.
///
/// All of it was correct up to what is told; whether all of the rest is shows only at the end of the walk.
pub trait Visit<'l> {
    /// A member begins. Its name is as it stands between the quotes; `escaped` says whether it has escapes.
    fn name(&mut self, name: &'l str, escaped: bool);
    /// A value that is neither a list nor an object: a member's, or an element of the innermost list. A whole number
    /// beyond 63 bits is the text of its digits.
    fn value(&mut self, value: Value<'l>);
    /// A list or an object begins, that of the line itself too.
    fn open(&mut self, list: bool);
    /// The innermost list or object ends.
    fn close(&mut self, list: bool);
}

/// Why a text is no JSON object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct JsonError {
    /// Where in the text, in bytes from its start.
    pub at: usize,
    /// What is wrong there, or what was meant.
    pub reason: &'static str,
}

/// Walks over one JSON object. `depth_max` is how many lists and objects may lie within each other, the object itself
/// among them; more than [`JSON_DEPTH_MAX`] is that.
///
/// # Errors
/// When the text is no JSON object, has more behind it than blanks, or is nested deeper.
pub fn walk<'l>(line: &'l str, depth_max: usize, visit: &mut impl Visit<'l>) -> Result<(), JsonError> {
    let mut text = Text { line, bytes: line.as_bytes(), at: 0 };
    let mut open = Open { lists: 0, depth: 0, depth_max: depth_max.min(JSON_DEPTH_MAX) };
    if text.skip_blanks() != b'{' {
        return Err(text.error("an object is meant"));
    }
    loop {
        match text.skip_blanks() {
            b'"' => visit.value(text.text()?),
            first @ (b'{' | b'[') => {
                let list = first == b'[';
                open.push(list).map_err(|reason| text.error(reason))?;
                text.at += 1;
                visit.open(list);
                let empty = text.skip_blanks() == if list { b']' } else { b'}' };
                if !empty && !list {
                    text.name(visit)?;
                }
                if !empty {
                    continue;
                }
            }
            b't' => visit.value(text.word("true", Value::Bool(true))?),
            b'f' => visit.value(text.word("false", Value::Bool(false))?),
            b'n' => visit.value(text.word("null", Value::Null)?),
            _ => visit.value(text.number()?),
        }
        if text.after_value(&mut open, visit)? {
            text.skip_blanks();
            return if text.at == line.len() { Ok(()) } else { Err(text.error("something stands behind the object")) };
        }
    }
}

/// Shows every value of one JSON object: its name with the names around it, joined with dots, whether it stands in a
/// list, and the value. What stands in an object of a list stands in the list.
///
/// # Errors
/// As [`walk`], whose `depth_max` it is. What was shown until then is the object's.
pub fn each<'l>(line: &'l str, depth_max: usize, mut show: impl FnMut(&str, bool, Value<'l>)) -> Result<(), JsonError> {
    let show = |name: Name<'_, 'l>, listed, value| match name {
        Name::Whole(name) | Name::Joined(name) => show(name, listed, value),
    };
    walk(line, depth_max, &mut Flat::new(show))
}

/// A JSON object as an event: names within names are joined with dots, and each value of a list is a value of its
/// name. A name that stands twice has both values.
#[derive(Clone, Debug, Default)]
pub struct JsonEvent<'l> {
    fields: Vec<(Cow<'l, str>, Value<'l>)>,
}

impl<'l> JsonEvent<'l> {
    /// Reads a line.
    ///
    /// # Errors
    /// As [`walk`], or when it has more than [`JSON_VALUES_MAX`] values.
    pub fn new(line: &'l str) -> Result<JsonEvent<'l>, JsonError> {
        let mut event = JsonEvent { fields: Vec::with_capacity(64) };
        event.read(line).map(|()| event)
    }

    /// Reads another line in place of this one, and spares the memory for it. After an error the event is empty.
    ///
    /// # Errors
    /// As [`JsonEvent::new`].
    pub fn read(&mut self, line: &'l str) -> Result<(), JsonError> {
        let fields = &mut self.fields;
        fields.clear();
        let mut left_out = false;
        let show = |name: Name<'_, 'l>, _, value| {
            let name = match name {
                Name::Whole(name) => Cow::Borrowed(name),
                Name::Joined(name) => Cow::Owned(name.to_owned()),
            };
            left_out |= fields.len() == JSON_VALUES_MAX;
            if !left_out {
                fields.push((name, value));
            }
        };
        let read = walk(line, JSON_DEPTH_MAX, &mut Flat::new(show));
        let read = read.and_then(|()| {
            let reason = "the object has too many values";
            if left_out { Err(JsonError { at: line.len(), reason }) } else { Ok(()) }
        });
        read.inspect_err(|_| self.fields.clear())
    }
}

impl Event for JsonEvent<'_> {
    fn field<'a>(&'a self, name: &str, visit: &mut dyn FnMut(Value<'a>)) {
        self.fields.iter().filter(|(own, _)| own == name).for_each(|(_, value)| visit(*value));
    }

    fn each<'a>(&'a self, visit: &mut dyn FnMut(&str, Value<'a>)) {
        self.fields.iter().for_each(|(name, value)| visit(name, *value));
    }
}

impl std::error::Error for JsonError {}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.reason, self.at)
    }
}

/// A value's whole name: from the text if it lies in no other and has no escapes.
enum Name<'p, 'l> {
    Whole(&'l str),
    Joined(&'p str),
}

/// Joins names with dots.
struct Flat<'l, F> {
    /// The current name with the names around it, unless it is `whole`.
    path: String,
    whole: Option<&'l str>,
    /// How long the names around it are, and those around them.
    base: usize,
    bases: Vec<usize>,
    objects: usize,
    lists: usize,
    show: F,
}

impl<'l, F: FnMut(Name<'_, 'l>, bool, Value<'l>)> Flat<'l, F> {
    fn new(show: F) -> Flat<'l, F> {
        Flat { path: String::new(), whole: None, base: 0, bases: Vec::new(), objects: 0, lists: 0, show }
    }
}

impl<'l, F: FnMut(Name<'_, 'l>, bool, Value<'l>)> Visit<'l> for Flat<'l, F> {
    fn name(&mut self, name: &'l str, escaped: bool) {
        self.whole = (self.objects == 1 && !escaped).then_some(name);
        if self.whole.is_none() {
            self.path.truncate(self.base);
            if self.objects > 1 {
                self.path.push('.');
            }
            self.path.push_str(&if escaped { unescape(name) } else { Cow::Borrowed(name) });
        }
    }

    fn value(&mut self, value: Value<'l>) {
        let name = self.whole.map_or(Name::Joined(&self.path), Name::Whole);
        (self.show)(name, self.lists > 0, value);
    }

    fn open(&mut self, list: bool) {
        if list {
            self.lists += 1;
            return;
        }
        if let Some(name) = self.whole.take() {
            self.path.clear();
            self.path.push_str(name);
        }
        self.objects += 1;
        self.bases.push(self.base);
        self.base = self.path.len();
    }

    fn close(&mut self, list: bool) {
        if list {
            self.lists -= 1;
            return;
        }
        // What is left is the name of the object, for what follows it in its list.
        self.path.truncate(self.base);
        self.objects -= 1;
        self.base = self.bases.pop().unwrap_or(0);
    }
}

/// Which of the lists and objects around a place are lists.
struct Open {
    /// One bit each, the innermost lowest.
    lists: u128,
    depth: usize,
    depth_max: usize,
}

impl Open {
    fn push(&mut self, list: bool) -> Result<(), &'static str> {
        if self.depth == self.depth_max {
            return Err("nested too deep");
        }
        self.depth += 1;
        self.lists = (self.lists << 1) | u128::from(list);
        Ok(())
    }

    fn in_list(&self) -> bool {
        self.lists & 1 == 1
    }

    /// Whether it was the outermost.
    fn pop(&mut self) -> bool {
        self.depth -= 1;
        self.lists >>= 1;
        self.depth == 0
    }
}

/// What may follow a backslash by itself. A table, for which of them it is can not be foretold.
const SHORT_ESCAPES: [bool; 256] = {
    let (mut table, bytes, mut i) = ([false; 256], *b"\"\\/bfnrt", 0);
    while i < bytes.len() {
        table[bytes[i] as usize] = true;
        i += 1;
    }
    table
};

/// The text, and how far it is read.
struct Text<'l> {
    line: &'l str,
    bytes: &'l [u8],
    at: usize,
}

impl<'l> Text<'l> {
    fn error(&self, reason: &'static str) -> JsonError {
        JsonError { at: self.at, reason }
    }

    /// The next byte that is no blank; 0 at the end, where JSON has none.
    fn skip_blanks(&mut self) -> u8 {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                Some(&byte) => return byte,
                None => return 0,
            }
        }
    }

    /// A member's name and its colon.
    fn name(&mut self, visit: &mut impl Visit<'l>) -> Result<(), JsonError> {
        if self.skip_blanks() != b'"' {
            return Err(self.error("a name in quotes is meant"));
        }
        let (name, escaped) = self.string()?;
        if self.skip_blanks() != b':' {
            return Err(self.error("`:` is meant"));
        }
        self.at += 1;
        visit.name(name, escaped);
        Ok(())
    }

    /// What follows a value: ends, and then another value, or nothing if the outermost object ended.
    fn after_value(&mut self, open: &mut Open, visit: &mut impl Visit<'l>) -> Result<bool, JsonError> {
        loop {
            let list = open.in_list();
            match self.skip_blanks() {
                b',' => {
                    self.at += 1;
                    if !list {
                        self.name(visit)?;
                    }
                    return Ok(false);
                }
                b'}' if !list => {}
                b']' if list => {}
                _ => return Err(self.error(if list { "`,` or `]` is meant" } else { "`,` or `}` is meant" })),
            }
            self.at += 1;
            visit.close(list);
            if open.pop() {
                return Ok(true);
            }
        }
    }

    fn word(&mut self, word: &str, value: Value<'l>) -> Result<Value<'l>, JsonError> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.error("a value is meant"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn text(&mut self) -> Result<Value<'l>, JsonError> {
        let (text, escaped) = self.string()?;
        Ok(if escaped { Value::Escaped(text) } else { Value::Text(text) })
    }

    /// A string from its first quote to behind its last: what is between, and whether it has escapes.
    fn string(&mut self) -> Result<(&'l str, bool), JsonError> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at = plain_end(self.bytes, self.at);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    let between = &self.line[start..self.at];
                    self.at += 1;
                    return Ok((between, escaped));
                }
                Some(b'\\') => {
                    escaped = true;
                    self.at += self.escape()?;
                }
                Some(_) => return Err(self.error("a control character stands within a string")),
                None => return Err(self.error("the text ends within a string")),
            }
        }
    }

    /// How long the escape here is.
    fn escape(&self) -> Result<usize, JsonError> {
        match self.bytes.get(self.at + 1) {
            Some(&byte) if SHORT_ESCAPES[usize::from(byte)] => return Ok(2),
            Some(b'u') => {}
            Some(_) => return Err(self.error("no such escape")),
            None => return Err(self.error("the text ends within a string")),
        }
        let unit = |at: usize| {
            let digits = self.bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
            digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
        };
        match unit(self.at) {
            None => Err(self.error("`\\u` needs four hexadecimal digits")),
            Some(0xd800..=0xdbff) if matches!(unit(self.at + 6), Some(0xdc00..=0xdfff)) => Ok(12),
            Some(0xd800..=0xdfff) => Err(self.error("half of a surrogate pair")),
            Some(_) => Ok(6),
        }
    }

    fn number(&mut self) -> Result<Value<'l>, JsonError> {
        let start = self.at;
        self.at += usize::from(self.bytes.get(start) == Some(&b'-'));
        let zero = self.bytes.get(self.at) == Some(&b'0');
        let digits = self.digits(if self.at == start { "a value is meant" } else { "a digit is meant" })?;
        if zero && digits > 1 {
            self.at -= digits - 1;
            return Err(self.error("a number has no zeros before it"));
        }
        let mut whole = true;
        if self.bytes.get(self.at) == Some(&b'.') {
            whole = false;
            self.at += 1;
            self.digits("a digit is meant")?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            whole = false;
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            self.digits("a digit is meant")?;
        }
        let written = &self.line[start..self.at];
        if whole && written != "-0" {
            if let Ok(number) = written.parse() {
                return Ok(Value::Int(number));
            }
            if written.parse::<u64>().is_ok() {
                return Ok(Value::Text(written));
            }
        }
        match written.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Float(number)),
            Ok(_) | Err(_) => Err(JsonError { at: start, reason: "the number is out of range" }),
        }
    }

    /// Passes over digits, one at least.
    fn digits(&mut self, none: &'static str) -> Result<usize, JsonError> {
        let count = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(self.error(none)) } else { Ok(count) }
    }
}

/// Where the first quote, backslash or control character stands, or else the end.
fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let special = special(u64::from_le_bytes(*eight));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let plain = |byte: &&u8| !matches!(byte, b'"' | b'\\' | ..0x20);
    at + bytes[at..].iter().take_while(plain).count()
}

/// The high bit of the first byte that is a quote, a backslash or a control character; bits above it mean nothing.
fn special(eight: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let below = |bytes: u64, limit: u64| bytes.wrapping_sub(ONES * limit) & !bytes;
    let quote = below(eight ^ (ONES * u64::from(b'"')), 1);
    let backslash = below(eight ^ (ONES * u64::from(b'\\')), 1);
    (quote | backslash | below(eight, 0x20)) & (ONES << 7)
}
