//! How the language sees an event: by field, and value by value.

use std::borrow::Cow;

/// An event as the language sees it. Whoever has events implements this for a view of them.
///
/// Lists are shown value by value, lists within lists too; a condition holds if it holds of any of them.
pub trait Event {
    /// Shows every value of a field, by its whole name (dots and spaces are part of it); none if it is absent.
    fn field<'a>(&'a self, name: &str, visit: &mut dyn FnMut(Value<'a>));

    /// Shows every value of every field, for keywords.
    fn values<'a>(&'a self, visit: &mut dyn FnMut(Value<'a>));
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
        }
    }
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
    Cow::Owned(text.chars().flat_map(char::to_lowercase).collect())
}
