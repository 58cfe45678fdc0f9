//! Values in the making: borrowed from the line wherever they can be.

use std::borrow::Cow;

use vertice_model::Value;
use vertice_sigma::{Value as Seen, unescape};

/// A value, borrowed from the line if it stands there as it is.
#[derive(Clone, Debug)]
pub(super) enum Held<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    /// Text as it stands in a JSON string. Most of it is never asked for, so it is not unescaped before.
    Escaped(&'a str),
    List(Vec<Held<'a>>),
}

impl<'a> From<Seen<'a>> for Held<'a> {
    fn from(value: Seen<'a>) -> Held<'a> {
        match value {
            Seen::Null => Held::Null,
            Seen::Bool(b) => Held::Bool(b),
            Seen::Int(n) => Held::Int(n),
            Seen::Float(x) => Held::Float(x),
            Seen::Text(text) => Held::Text(Cow::Borrowed(text)),
            Seen::Escaped(text) => Held::Escaped(text),
        }
    }
}

impl<'a> From<&'a str> for Held<'a> {
    fn from(text: &'a str) -> Held<'a> {
        Held::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Held<'_> {
    fn from(text: String) -> Self {
        Held::Text(Cow::Owned(text))
    }
}

/// Two texts are the same however they are escaped.
impl PartialEq for Held<'_> {
    fn eq(&self, other: &Held<'_>) -> bool {
        match (self, other) {
            (Held::Null, Held::Null) => true,
            (Held::Bool(a), Held::Bool(b)) => a == b,
            (Held::Int(a), Held::Int(b)) => a == b,
            (Held::Float(a), Held::Float(b)) => a == b,
            (Held::List(a), Held::List(b)) => a == b,
            (a, b) => a.as_text().is_some_and(|text| b.as_text().is_some_and(|other| text == other)),
        }
    }
}

impl<'a> Held<'a> {
    /// The text of a text value.
    pub(super) fn as_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Held::Text(text) => Some(Cow::Borrowed(text)),
            Held::Escaped(text) => Some(unescape(text)),
            Held::Null | Held::Bool(_) | Held::Int(_) | Held::Float(_) | Held::List(_) => None,
        }
    }

    /// The value as a person would write it, lists with commas; empty for null.
    pub(super) fn to_text(&self) -> Cow<'a, str> {
        match self {
            Held::Null => Cow::Borrowed(""),
            Held::Bool(true) => Cow::Borrowed("true"),
            Held::Bool(false) => Cow::Borrowed("false"),
            Held::Int(n) => Cow::Owned(n.to_string()),
            Held::Float(x) => Cow::Owned(x.to_string()),
            Held::Text(text) => text.clone(),
            Held::Escaped(text) => unescape(text),
            Held::List(values) => Cow::Owned(values.iter().map(Held::to_text).collect::<Vec<_>>().join(",")),
        }
    }

    /// The text of a value, of a list that of its first.
    pub(super) fn first_text(&self) -> Option<Cow<'a, str>> {
        match self {
            Held::List(list) => list.first().map(Held::to_text),
            one => Some(one.to_text()),
        }
    }

    /// Whether it is a log's word for nothing.
    pub(super) fn is_nothing(&self) -> bool {
        match self {
            Held::Null => true,
            Held::Text(text) => is_nothing(text),
            // All of those words begin otherwise, so that a path need not be unescaped.
            Held::Escaped(text) if text.starts_with(|c: char| c.is_ascii_alphanumeric() && c != 'N') => false,
            Held::Escaped(text) => is_nothing(&unescape(text)),
            Held::Bool(_) | Held::Int(_) | Held::Float(_) | Held::List(_) => false,
        }
    }

    /// Whether it says something: lists do if they are not empty.
    pub(super) fn says_something(&self) -> bool {
        match self {
            Held::List(list) => !list.is_empty(),
            one => !one.is_nothing(),
        }
    }

    /// Shows it to the rule language, a list value by value. Lists nest no deeper than the mapping let them.
    pub(super) fn show<'s>(&'s self, visit: &mut dyn FnMut(Seen<'s>)) {
        match self {
            Held::Null => visit(Seen::Null),
            Held::Bool(b) => visit(Seen::Bool(*b)),
            Held::Int(n) => visit(Seen::Int(*n)),
            Held::Float(x) => visit(Seen::Float(*x)),
            Held::Text(text) => visit(Seen::Text(text)),
            Held::Escaped(text) => visit(Seen::Escaped(text)),
            Held::List(values) => values.iter().for_each(|value| value.show(visit)),
        }
    }

    /// The value by itself.
    pub(super) fn to_value(&self) -> Value {
        match self {
            Held::Null => Value::Null,
            Held::Bool(b) => Value::Bool(*b),
            Held::Int(n) => Value::Int(*n),
            Held::Float(x) => Value::Float(*x),
            Held::Text(text) => Value::Text(text.clone().into_owned()),
            Held::Escaped(text) => Value::Text(unescape(text).into_owned()),
            Held::List(values) => Value::List(values.iter().map(Held::to_value).collect()),
        }
    }

    /// The same, borrowed from nothing.
    pub(super) fn into_owned<'b>(self) -> Held<'b> {
        match self {
            Held::Null => Held::Null,
            Held::Bool(b) => Held::Bool(b),
            Held::Int(n) => Held::Int(n),
            Held::Float(x) => Held::Float(x),
            Held::Text(text) => Held::Text(Cow::Owned(text.into_owned())),
            Held::Escaped(text) => Held::Text(Cow::Owned(unescape(text).into_owned())),
            Held::List(values) => Held::List(values.into_iter().map(Held::into_owned).collect()),
        }
    }
}

/// Whether a text is a log's word for nothing.
pub(super) fn is_nothing(text: &str) -> bool {
    matches!(text.trim(), "" | "-" | "?" | "(null)" | "N/A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_a_text_however_they_are_written() {
        let list = Held::List(vec![
            Held::Null,
            Held::Bool(true),
            Held::Bool(false),
            Held::Int(-3),
            Held::Float(0.5),
            Held::Escaped(r"a\/b"),
        ]);
        assert_eq!(list.to_text(), ",true,false,-3,0.5,a/b");
        assert_eq!(list.to_value().to_text(), list.to_text());
        assert_eq!(list.clone().into_owned(), list);
        assert_eq!((list.as_text(), list.first_text().as_deref()), (None, Some("")));
        assert_eq!(Held::Escaped(r"a\/b"), Held::from("a/b"));
        assert_ne!(Held::Escaped(r"a\/b"), Held::Null);
        let mut seen = 0;
        list.show(&mut |_| seen += 1);
        assert_eq!(seen, 6);
    }

    #[test]
    fn words_for_nothing_are_nothing() {
        for text in ["", " ", "-", "?", "(null)", "N/A "] {
            assert!(Held::from(text).is_nothing() && !Held::from(text.to_owned()).says_something(), "{text:?}");
        }
        for text in [r"\t", r"\u002d", r"N\/A"] {
            assert!(Held::Escaped(text).is_nothing(), "{text}");
        }
        for value in [Held::Escaped(r"C:\\x"), Held::Escaped(r"\\x"), Held::Escaped(r"N\/B"), Held::Int(0)] {
            assert!(value.says_something(), "{value:?}");
        }
        assert!(Held::Null.is_nothing() && !Held::List(Vec::new()).says_something());
        assert!(!Held::List(Vec::new()).is_nothing() && Held::List(vec![Held::Null]).says_something());
    }
}
