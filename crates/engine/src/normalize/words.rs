//! The small words of the mapping language: texts however YAML reads them, globs, conditions, patterns.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use regex::{Regex, RegexBuilder};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::draft::Draft;
use super::field::Field;
use super::value::Held;
use crate::limits::MAPPING_REGEX_BYTES_MAX;

/// Reads YAML. Only `true` and `false` are booleans: `on`, `y` and `no` are names of fields.
pub(super) fn yaml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, serde_saphyr::Error> {
    serde_saphyr::from_str_with_options(text, serde_saphyr::options! { strict_booleans: true })
}

/// A text, however YAML reads it: `1`, `true` and `x` are texts, `null` is the empty one.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Word(pub(super) String);

/// One word or a list of them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Words(pub(super) Vec<Word>);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Word, D::Error> {
        let words = Words::deserialize(d)?;
        match <[Word; 1]>::try_from(words.0) {
            Ok([word]) => Ok(word),
            Err(list) => Err(D::Error::custom(format!("one text was meant, and here are {}", list.len()))),
        }
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Words, D::Error> {
        d.deserialize_any(WordsVisitor)
    }
}

struct WordsVisitor;

impl<'de> Visitor<'de> for WordsVisitor {
    type Value = Words;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number or a list of them")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Words, E> {
        Ok(Words(vec![Word(text.to_owned())]))
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<Words, E> {
        Ok(Words(vec![Word(n.to_string())]))
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<Words, E> {
        Ok(Words(vec![Word(n.to_string())]))
    }

    fn visit_bool<E: Error>(self, b: bool) -> Result<Words, E> {
        Ok(Words(vec![Word(b.to_string())]))
    }

    fn visit_unit<E: Error>(self) -> Result<Words, E> {
        Ok(Words(vec![Word(String::new())]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Words, A::Error> {
        let mut words = Vec::new();
        while let Some(word) = seq.next_element::<Word>()? {
            words.push(word);
        }
        Ok(Words(words))
    }
}

/// A text with `*` at its start, its end, or both; compared without regard to case. `*` alone is anything
/// but nothing, and the empty text is nothing.
#[derive(Clone, Debug)]
pub(super) struct Glob {
    text: String,
    open_start: bool,
    open_end: bool,
}

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Glob, D::Error> {
        Word::deserialize(d).map(Glob::from)
    }
}

impl From<Word> for Glob {
    fn from(Word(text): Word) -> Glob {
        let text = text.to_ascii_lowercase();
        let end = text.strip_prefix('*');
        let middle = end.unwrap_or(&text);
        let start = middle.strip_suffix('*');
        Glob {
            text: start.unwrap_or(middle).to_owned(),
            open_start: end.is_some(),
            open_end: start.is_some() || text == "*",
        }
    }
}

impl Glob {
    /// Whether the text is one that is meant.
    pub(super) fn matches(&self, text: &str) -> bool {
        let (text, want) = (text.as_bytes(), self.text.as_bytes());
        let Some(room) = text.len().checked_sub(want.len()) else { return false };
        let at = |i: usize| text[i..i + want.len()].eq_ignore_ascii_case(want);
        match (self.open_start, self.open_end) {
            (false, false) => room == 0 && at(0),
            (false, true) => at(0),
            (true, false) => at(room),
            (true, true) => (!want.is_empty() || !text.is_empty()) && (0..=room).any(at),
        }
    }
}

/// For each of these fields, one of these values.
#[derive(Clone, Debug, Default)]
pub(super) struct Condition(Vec<(Field, Vec<Glob>)>);

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Condition, D::Error> {
        let written = BTreeMap::<String, Words>::deserialize(d)?;
        let globs = |words: Words| words.0.into_iter().map(Glob::from).collect();
        Ok(Condition(written.into_iter().map(|(field, words)| (field.into(), globs(words))).collect()))
    }
}

impl Condition {
    /// Whether all of it holds. A missing field is the empty text.
    pub(super) fn holds(&self, draft: &Draft<'_>) -> bool {
        self.0.iter().all(|one| Condition::one_holds(one, draft))
    }

    /// Whether any of it holds.
    pub(super) fn any_holds(&self, draft: &Draft<'_>) -> bool {
        self.0.iter().any(|one| Condition::one_holds(one, draft))
    }

    fn one_holds((field, globs): &(Field, Vec<Glob>), draft: &Draft<'_>) -> bool {
        let text = draft.text(field).unwrap_or_default();
        globs.iter().any(|glob| glob.matches(&text))
    }
}

/// A regular expression whose named groups are fields.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// The expression.
    pub(super) regex: Regex,
    /// The groups with a name.
    groups: Vec<(usize, Field)>,
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Pattern, D::Error> {
        let Word(text) = Word::deserialize(d)?;
        let regex = RegexBuilder::new(&in_ascii(&text))
            .size_limit(MAPPING_REGEX_BYTES_MAX)
            .dfa_size_limit(MAPPING_REGEX_BYTES_MAX)
            .build()
            .map_err(|error| D::Error::custom(format!("regex: {error}")))?;
        let names = regex.capture_names().enumerate();
        let groups = names.filter_map(|(i, name)| Some((i, Field::from(name?.to_owned())))).collect();
        Ok(Pattern { regex, groups })
    }
}

/// Means `\d`, `\w`, `\s`, `\S` and `\b` in ASCII: a digit is one that a number can be read from, and the
/// automata are a tenth as large, so that a hundred patterns compile in no time.
fn in_ascii(pattern: &str) -> String {
    const CLASSES: [(char, &str, &str); 5] = [
        ('d', "[0-9]", "0-9"),
        ('w', "[0-9A-Za-z_]", "0-9A-Za-z_"),
        ('s', "[ \\t-\\r]", " \\t-\\r"),
        ('S', "[^ \\t-\\r]", "\\S"),
        ('b', "(?-u:\\b)", "\\b"),
    ];
    let mut written = String::with_capacity(pattern.len() * 2);
    let mut chars = pattern.chars();
    let mut class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let next = chars.next().unwrap_or('\\');
                match CLASSES.iter().find(|(letter, _, _)| *letter == next) {
                    Some((_, outside, inside)) => written.push_str(if class { inside } else { outside }),
                    None => written.extend(['\\', next]),
                }
                continue;
            }
            '[' => class = true,
            ']' => class = false,
            _ => {}
        }
        written.push(c);
    }
    written
}

impl Pattern {
    /// Adds the named groups to the draft, if the text fits.
    pub(super) fn apply<'a>(&'a self, text: Cow<'a, str>, draft: &mut Draft<'a>) {
        let Some(captures) = self.regex.captures(&text) else { return };
        for (i, field) in &self.groups {
            if let Some(found) = captures.get(*i) {
                let value = match text {
                    Cow::Borrowed(text) => Cow::Borrowed(&text[found.range()]),
                    Cow::Owned(_) => Cow::Owned(found.as_str().to_owned()),
                };
                draft.put(field, Held::Text(value));
            }
        }
    }

    /// The fields that it may add.
    pub(super) fn fields(&self) -> impl Iterator<Item = &Field> {
        self.groups.iter().map(|(_, field)| field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        let check = |glob: &str, yes: &[&str], no: &[&str]| {
            let glob: Glob = yaml(&format!("{glob:?}")).unwrap();
            assert!(yes.iter().all(|text| glob.matches(text)), "{glob:?} {yes:?}");
            assert!(!no.iter().any(|text| glob.matches(text)), "{glob:?} {no:?}");
        };
        check("Security", &["security", "SECURITY"], &["", "security "]);
        check("post*", &["postfix", "POST"], &["pos", "apost"]);
        check("*fix", &["postfix", "fix"], &["fixed"]);
        check("*stf*", &["postfix", "stf"], &["st"]);
        check("*", &["x"], &[""]);
        check("", &[""], &["x"]);
    }

    #[test]
    fn conditions_compare_the_text_of_any_scalar() {
        let condition: Condition = yaml("{a: [1, x], b: true, c: null, d: -5}").unwrap();
        let mut draft = Draft::default();
        assert!(!condition.holds(&draft) && condition.any_holds(&draft));
        draft.put_named("a", Held::Int(1));
        draft.put_named("b", Held::Bool(true));
        draft.put_named("d", Held::from("-5"));
        assert!(condition.holds(&draft));
        draft.put_named("c", "there".into());
        assert!(!condition.holds(&draft));
        assert!(yaml::<Condition>("{a: {b: 1}}").is_err());
    }

    #[test]
    fn classes_are_ascii() {
        assert_eq!(
            in_ascii(r"^\d+ [\d:.\]]\w\S[^\s\S]\b\[\.$"),
            r"^[0-9]+ [0-9:.\]][0-9A-Za-z_][^ \t-\r][^ \t-\r\S](?-u:\b)\[\.$"
        );
        assert_eq!(in_ascii("a\\"), r"a\\");
        let pattern: Pattern = yaml(r"'^\d\b'").unwrap();
        assert!(pattern.regex.is_match("7") && !pattern.regex.is_match("\u{0667}"));
    }

    #[test]
    fn words_and_patterns_say_what_was_meant() {
        let error = |text: &str| yaml::<Glob>(text).unwrap_err().to_string();
        assert!(error("[a, b]").contains("one text was meant, and here are 2"), "{}", error("[a, b]"));
        assert!(error("{a: b}").contains("a text, a number or a list of them"), "{}", error("{a: b}"));
        assert!(yaml::<Pattern>("'('").unwrap_err().to_string().contains("regex"));
        assert!(yaml::<Pattern>("'(x{1000}){1000}'").is_err());
    }
}
