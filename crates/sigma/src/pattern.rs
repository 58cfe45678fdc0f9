//! Sigma strings: literal text with the wildcards `*` and `?`, and how a text is held against them.
//!
//! Escapes are those of the specification: `\*` and `\?` are the characters themselves, `\\` is one backslash (so
//! `\\*` is a backslash before a wildcard), and any other single backslash stands for itself.

use crate::event::fold;

/// A part of a Sigma string.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Part {
    /// Text that stands for itself. Never empty.
    Literal(String),
    /// Exactly one character, whatever it is.
    One,
    /// Any characters, also none.
    Any,
}

/// Where in a value the pattern must lie.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Shape {
    Whole,
    Contains,
    Starts,
    Ends,
}

/// Splits a written Sigma string into its parts.
pub(crate) fn parse(written: &str) -> Vec<Part> {
    let mut parts = Parts::default();
    let mut chars = written.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek().copied()) {
            ('\\', Some(next @ ('\\' | '*' | '?'))) => {
                parts.character(next);
                chars.next();
            }
            ('*', _) => parts.push(Part::Any),
            ('?', _) => parts.push(Part::One),
            (c, _) => parts.character(c),
        }
    }
    parts.0
}

#[derive(Default)]
struct Parts(Vec<Part>);

impl Parts {
    fn character(&mut self, c: char) {
        match self.0.last_mut() {
            Some(Part::Literal(text)) => text.push(c),
            Some(Part::One | Part::Any) | None => self.0.push(Part::Literal(c.into())),
        }
    }

    fn push(&mut self, part: Part) {
        // Two stars in a row are one.
        if part != Part::Any || self.0.last() != Some(&Part::Any) {
            self.0.push(part);
        }
    }
}

/// A pattern prepared for matching. The common forms need no search for wildcards.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Matcher {
    /// Any value that is there.
    Anything,
    Exact(String),
    Starts(String),
    Ends(String),
    Contains(String),
    /// Pieces between stars: the first stands at the start, the last at the end, those between in order.
    /// There are at least two, and the outer ones may be empty; or there is one, which is the whole value.
    Glob(Vec<Vec<Part>>),
}

impl Matcher {
    /// Prepares a pattern. Unless `cased`, its text is folded, and so must the values be that are held against it.
    pub(crate) fn new(mut parts: Vec<Part>, shape: Shape, cased: bool) -> Matcher {
        if !cased {
            for part in &mut parts {
                if let Part::Literal(text) = part {
                    *text = fold(text).into_owned();
                }
            }
        }
        let (before, after) = match shape {
            Shape::Whole => (false, false),
            Shape::Contains => (true, true),
            Shape::Starts => (false, true),
            Shape::Ends => (true, false),
        };
        let mut pieces: Vec<Vec<Part>> = vec![Vec::new()];
        let stars = before.then_some(Part::Any).into_iter().chain(parts).chain(after.then_some(Part::Any));
        let mut last_was_star = false;
        for part in stars {
            let star = part == Part::Any;
            if star && !last_was_star {
                pieces.push(Vec::new());
            } else if !star && let Some(piece) = pieces.last_mut() {
                piece.push(part);
            }
            last_was_star = star;
        }
        Matcher::of(pieces)
    }

    fn of(pieces: Vec<Vec<Part>>) -> Matcher {
        let literal = |piece: &[Part]| match piece {
            [] => Some(String::new()),
            [Part::Literal(text)] => Some(text.clone()),
            _ => None,
        };
        let simple = match pieces.as_slice() {
            [whole] => literal(whole).map(Matcher::Exact),
            [first, last] => match (literal(first), literal(last)) {
                (Some(a), Some(b)) if a.is_empty() && b.is_empty() => Some(Matcher::Anything),
                (Some(a), Some(b)) if b.is_empty() => Some(Matcher::Starts(a)),
                (Some(a), Some(b)) if a.is_empty() => Some(Matcher::Ends(b)),
                _ => None,
            },
            [first, middle, last] if first.is_empty() && last.is_empty() => literal(middle).map(Matcher::Contains),
            _ => None,
        };
        simple.unwrap_or(Matcher::Glob(pieces))
    }

    /// Whether a value fits. The value is folded already if the pattern is.
    pub(crate) fn fits(&self, value: &str) -> bool {
        match self {
            Matcher::Anything => true,
            Matcher::Exact(text) => value == text,
            Matcher::Starts(text) => value.starts_with(text.as_str()),
            Matcher::Ends(text) => value.ends_with(text.as_str()),
            Matcher::Contains(text) => value.contains(text.as_str()),
            Matcher::Glob(pieces) => glob(pieces, value),
        }
    }
}

/// Holds a value against pieces between stars. A piece always covers the same number of characters, so the leftmost
/// place for each is as good as any, and nothing is ever tried twice.
fn glob(pieces: &[Vec<Part>], value: &str) -> bool {
    let Some((first, rest)) = pieces.split_first() else { return false };
    let Some(after_first) = strip(first, value) else { return false };
    let Some((last, middle)) = rest.split_last() else { return after_first.is_empty() };
    let mut left = after_first;
    for piece in middle {
        match find(piece, left) {
            Some(after) => left = after,
            None => return false,
        }
    }
    ends(last, left)
}

/// What follows the piece, if the value starts with it.
fn strip<'v>(piece: &[Part], value: &'v str) -> Option<&'v str> {
    let mut left = value;
    for part in piece {
        left = match part {
            Part::Literal(text) => left.strip_prefix(text.as_str())?,
            Part::One => {
                let mut chars = left.chars();
                chars.next()?;
                chars.as_str()
            }
            Part::Any => left,
        };
    }
    Some(left)
}

/// What follows the leftmost place of the piece in the value.
fn find<'v>(piece: &[Part], value: &'v str) -> Option<&'v str> {
    let mut left = value;
    loop {
        if let Some(Part::Literal(text)) = piece.first() {
            left = &left[left.find(text.as_str())?..];
        }
        if let Some(after) = strip(piece, left) {
            return Some(after);
        }
        let mut chars = left.chars();
        chars.next()?;
        left = chars.as_str();
    }
}

/// Whether the value ends with the piece.
fn ends(piece: &[Part], value: &str) -> bool {
    let mut left = value;
    for part in piece.iter().rev() {
        let before = match part {
            Part::Literal(text) => left.strip_suffix(text.as_str()),
            Part::One => {
                let mut chars = left.chars();
                chars.next_back().map(|_| chars.as_str())
            }
            Part::Any => Some(left),
        };
        match before {
            Some(before) => left = before,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, value: &str) -> bool {
        Matcher::new(parse(pattern), Shape::Whole, false).fits(&fold(value))
    }

    #[test]
    fn escapes_are_those_of_the_specification() {
        let literal = |text: &str| Part::Literal(text.to_owned());
        for (written, parts) in [
            (r"a\b", vec![literal(r"a\b")]),
            (r"a\\b", vec![literal(r"a\b")]),
            (r"\\\\srv", vec![literal(r"\\srv")]),
            (r"a\*", vec![literal("a*")]),
            (r"a\?b", vec![literal("a?b")]),
            (r"a\\*", vec![literal(r"a\"), Part::Any]),
            (r"a\\?", vec![literal(r"a\"), Part::One]),
            (r"a\\\*", vec![literal(r"a\*")]),
            (r"a\", vec![literal(r"a\")]),
            (r"a\\\", vec![literal(r"a\\")]),
            ("**?*", vec![Part::Any, Part::One, Part::Any]),
            ("", vec![]),
        ] {
            assert_eq!(parse(written), parts, "{written}");
        }
    }

    #[test]
    fn wildcards_cover_what_they_should() {
        for (pattern, value, fit) in [
            ("abc", "ABC", true),
            ("abc", "abcd", false),
            ("a?c", "aéc", true),
            ("a?c", "ac", false),
            ("*", "", true),
            ("?*", "", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcdef", false),
            ("ab*ba", "aba", false),
            ("*a?c*x", "aac abc x", true),
            ("*??", "x", false),
            ("*é?", "aÉb", true),
            ("a*b?d", "abcd bcd", true),
            ("a*", "b", false),
            ("*z*y*", "yz", false),
        ] {
            assert_eq!(fits(pattern, value), fit, "{pattern} {value}");
        }
    }

    #[test]
    fn shapes_put_the_pattern_in_its_place() {
        let fits = |pattern: &str, shape, value: &str| Matcher::new(parse(pattern), shape, true).fits(value);
        assert!(fits("b", Shape::Contains, "abc") && !fits("B", Shape::Contains, "abc"));
        assert!(fits("a", Shape::Starts, "abc") && !fits("b", Shape::Starts, "abc"));
        assert!(fits("c", Shape::Ends, "abc") && !fits("b", Shape::Ends, "abc"));
        assert!(fits("a?c*", Shape::Contains, "xxabcx") && fits("", Shape::Contains, ""));
    }
}
