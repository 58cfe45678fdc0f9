//! Texts that a value must contain for a regular expression to match it, so that most values need no regular
//! expression at all.
//!
//! The texts are folded as values are: whatever the expression matches contains, once folded, one of them. Where
//! that can not be promised of a part, the part is passed over; where nothing is left, there are none.

use regex_syntax::hir::{Class, Hir, HirKind};

use crate::event::fold;
use crate::limits;

/// Texts of which every match has at least one, folded; `None` if no such texts are known.
pub(crate) fn required(pattern: &str) -> Option<Vec<String>> {
    let hir = regex_syntax::parse(pattern).ok()?;
    let found = needed(&hir)?;
    (found.iter().all(|text| text.len() >= limits::GATE_BYTES_MIN)).then_some(found)
}

fn needed(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(_) | HirKind::Literal(_) => run(std::slice::from_ref(hir)),
        HirKind::Capture(capture) => needed(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => needed(&repetition.sub),
        HirKind::Repetition(_) => None,
        HirKind::Concat(parts) => run(parts),
        HirKind::Alternation(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.append(&mut needed(part)?);
            }
            (all.len() <= limits::GATES_MAX).then_some(all)
        }
    }
}

/// The best of what parts that follow each other need: of the texts that stand together, or of one part.
fn run(parts: &[Hir]) -> Option<Vec<String>> {
    let (mut best, mut together) = (None, String::new());
    for part in parts {
        if let Some(text) = fixed(part) {
            together.push_str(&text);
            continue;
        }
        keep(&mut best, Some(vec![std::mem::take(&mut together)]));
        keep(&mut best, if matches!(part.kind(), HirKind::Class(_)) { None } else { inner(part) });
    }
    keep(&mut best, Some(vec![together]));
    best
}

/// What a part needs that is no fixed text.
fn inner(part: &Hir) -> Option<Vec<String>> {
    match part.kind() {
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(_) | HirKind::Literal(_) => None,
        HirKind::Repetition(_) | HirKind::Capture(_) | HirKind::Concat(_) | HirKind::Alternation(_) => needed(part),
    }
}

/// Keeps the texts whose shortest is longer: it is the rarest that counts.
fn keep(best: &mut Option<Vec<String>>, other: Option<Vec<String>>) {
    let shortest = |texts: &Vec<String>| texts.iter().map(String::len).min().unwrap_or(0);
    if let Some(other) = other.filter(|texts| shortest(texts) > 0)
        && best.as_ref().is_none_or(|best| shortest(best) < shortest(&other))
    {
        *best = Some(other);
    }
}

/// The one folded text that a part stands for, if it is one. What looks around takes no text.
fn fixed(part: &Hir) -> Option<String> {
    match part.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(String::new()),
        HirKind::Literal(literal) => std::str::from_utf8(&literal.0).ok().map(|text| fold(text).into_owned()),
        // A letter of either case is a class. The long s is one of them, and does not fold to s.
        HirKind::Class(Class::Unicode(class)) => {
            let few: Vec<char> = class.ranges().iter().flat_map(|range| range.start()..=range.end()).take(5).collect();
            let mut folded = few.iter().filter(|c| **c != LONG_S).map(|c| c.to_lowercase());
            let one: String = folded.next()?.collect();
            (few.len() < 5 && folded.all(|other| other.eq(one.chars()))).then_some(one)
        }
        HirKind::Class(Class::Bytes(_))
        | HirKind::Repetition(_)
        | HirKind::Capture(_)
        | HirKind::Concat(_)
        | HirKind::Alternation(_) => None,
    }
}

/// `ſ`, which matches `s` where case is ignored. A value with it is held against every expression.
pub(crate) const LONG_S: char = '\u{17f}';

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pattern: &str) -> String {
        required(pattern).map_or("none".to_owned(), |texts| texts.join(" "))
    }

    #[test]
    fn what_a_match_must_contain() {
        for (pattern, texts) in [
            ("abc", "abc"),
            ("(?i)PowerShell.*Enc", "powershell"),
            (r"\\Users\\.+\\AppData", r"\appdata"),
            ("(?:whoami|net (user|group)).*all", "whoami net "),
            ("[aeiou]+xy?z*", "none"),
            ("(cmd|sh)*", "none"),
            ("(?:ab){2,3}c", "ab"),
            ("^start", "start"),
            (r"(?i)\b[KΩ]elvin\b", "elvin"),
            ("(?i)Maße", "maße"),
            ("(?i)σας", "α"),
            ("a|bc", "none"),
            ("(", "none"),
            (r"\d{4}", "none"),
        ] {
            assert_eq!(shown(pattern), texts, "{pattern}");
        }
        let many: Vec<String> = (0..=limits::GATES_MAX).map(|i| format!("{i}x{i}y")).collect();
        assert_eq!(shown(&many.join("|")), "none");
    }
}
