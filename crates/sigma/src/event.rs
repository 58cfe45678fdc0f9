//! How the language sees an event: by field, and value by value.

use std::borrow::Cow;

/// An event as the language sees it. Whoever has events implements this for a view of them.
///
/// Lists are shown value by value, lists within lists too; a condition holds if it holds of any of them.
pub trait Event {
    /// Shows every value of a field, by its whole name (dots and spaces are part of it); none if it is absent.
    fn field<'a>(&'a self, name: &str, visit: &mut dyn FnMut(Value<'a>));

    /// Shows every value of every field beside the field's name. A name may come several times.
    fn each<'a>(&'a self, visit: &mut dyn FnMut(&str, Value<'a>));
}

/// One value of a field, borrowed from the event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Present, and null. For the language that is as good as absent.
    Null,
    /// True or false, which compare as the texts `true` and `false`.
    Bool(bool),
    /// A whole number, which compares as its decimal text.
    Int(i64),
    /// Any other number, which compares as its decimal text.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// Text as it stands between the quotes of a JSON string, with its escapes: what is never asked about need not
    /// be unescaped.
    Escaped(&'a str),
}

/// Which log an event comes from, as far as it is known. An event may come from several.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Source<'a> {
    /// A kind of event that several products write, such as `process_creation`.
    pub category: Option<&'a str>,
    /// Who makes what wrote it, such as `windows`.
    pub product: Option<&'a str>,
    /// The log or daemon within the product, such as `sysmon`.
    pub service: Option<&'a str>,
}

impl<'a> Value<'a> {
    /// The text that the value compares as; `None` for null.
    pub(crate) fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Value::Null => None,
            Value::Bool(true) => Some(Cow::Borrowed("true")),
            Value::Bool(false) => Some(Cow::Borrowed("false")),
            Value::Int(n) => Some(Cow::Owned(n.to_string())),
            Value::Float(x) => Some(Cow::Owned(x.to_string())),
            Value::Text(text) => Some(Cow::Borrowed(text)),
            Value::Escaped(text) => Some(unescape(text)),
        }
    }
}

/// The text that the inside of a JSON string means (RFC 8259, section 7). Half of a surrogate pair becomes U+FFFD,
/// and so does what is no escape; a NUL becomes U+FFFD too, as some stores can not keep it.
#[must_use]
pub fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    unescape_into(text, &mut plain);
    Cow::Owned(plain)
}

/// As [`unescape`], behind what is in `plain` already.
pub(crate) fn unescape_into(text: &str, plain: &mut String) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        plain.push_str(&rest[..at]);
        let Some(&kind) = rest.as_bytes().get(at + 1) else {
            plain.push('\u{fffd}');
            return;
        };
        let (c, length) = match kind {
            b'"' | b'\\' | b'/' => (char::from(kind), 2),
            b'b' => ('\u{8}', 2),
            b'f' => ('\u{c}', 2),
            b'n' => ('\n', 2),
            b'r' => ('\r', 2),
            b't' => ('\t', 2),
            b'u' => unicode(&rest[at..]),
            _ => ('\u{fffd}', 1),
        };
        plain.push(c);
        rest = &rest[at + length..];
    }
    plain.push_str(rest);
}

/// The character of a `\uXXXX` at the start of a text, or of two that are a pair, and how long they are.
fn unicode(text: &str) -> (char, usize) {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        if digits.bytes().all(|b| b.is_ascii_hexdigit()) { u16::from_str_radix(digits, 16).ok() } else { None }
    };
    let Some(high) = unit(0) else { return ('\u{fffd}', 1) };
    if let Some(low) = unit(6)
        && let Some(Ok(c)) = char::decode_utf16([high, low]).next()
        && u32::from(c) > 0xffff
    {
        return (c, 12);
    }
    let c = char::from_u32(u32::from(high)).filter(|c| *c != '\0');
    (c.unwrap_or('\u{fffd}'), 6)
}

/// Text with the case folded away: each character's lower case by itself, so that the folding of a joined text is
/// the joined foldings.
pub(crate) fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        if !text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Cow::Borrowed(text);
        }
        return Cow::Owned(text.to_ascii_lowercase());
    }
    let mut folded = String::with_capacity(text.len());
    fold_into(text, &mut folded);
    Cow::Owned(folded)
}

/// As [`fold`], behind what is in `folded` already.
pub(crate) fn fold_into(text: &str, folded: &mut String) {
    if text.is_ascii() {
        let from = folded.len();
        folded.push_str(text);
        folded[from..].make_ascii_lowercase();
        return;
    }
    for c in text.chars() {
        if c.is_ascii() {
            folded.push(c.to_ascii_lowercase());
        } else {
            folded.extend(c.to_lowercase());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_mean_what_json_says() {
        for (escaped, plain) in [
            ("plain", "plain"),
            (r#"C:\\d\"q\"\/"#, "C:\\d\"q\"/"),
            (r"a\b\f\n\r\tb", "a\u{8}\u{c}\n\r\tb"),
            (r"\u00e9\u20AC\ud83d\ude00!", "é€😀!"),
            (r"\ud83d \ude00 \u0000", "\u{fffd} \u{fffd} \u{fffd}"),
            (r"\ud83d\u0041", "\u{fffd}A"),
        ] {
            assert_eq!(unescape(escaped), plain, "{escaped}");
        }
        // What no JSON string has within is survived.
        for (wrong, plain) in
            [("\\", "\u{fffd}"), (r"\u12", "\u{fffd}u12"), (r"\x", "\u{fffd}x"), (r"\u+123", "\u{fffd}u+123")]
        {
            assert_eq!(unescape(wrong), plain, "{wrong}");
        }
    }
}
