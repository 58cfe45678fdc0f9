//! Columns: what all rules together ask of the values of one field, asked at once.
//!
//! Thousands of rules ask whether a command line contains this or ends with that. Whole values are looked up in a
//! table, texts within a value are found by one automaton (Aho-Corasick) in one pass over it, and what needs more
//! than a text, such as a regular expression, is tried only if the automaton saw a text that it cannot do without.

use std::collections::HashMap;
use std::net::IpAddr;

use aho_corasick::packed::{self, Searcher};
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use ipnet::IpNet;

use crate::atom::{Atoms, Compare, Number, Test, Text};
use crate::event::{Value, fold};
use crate::literal::{self, LONG_S};
use crate::pattern::{Matcher, Part};
use crate::time::{TimePart, part_of};

/// Texts that one SIMD search can look for with few false alarms: the masks of `Teddy` have eight buckets.
const GATE_TEXTS_MAX: usize = 64;

/// Shortest text that is looked for among escapes.
const ESCAPED_GATE_BYTES_MIN: usize = 3;

/// Texts for which the automaton may be a table (DFA), which is the quickest there is; of more it would not fit the
/// processor's cache.
const DFA_TEXTS_MAX: usize = 512;

/// What is asked of the values of one field, or of every value.
#[derive(Debug, Default)]
pub(crate) struct Column {
    /// Atoms that hold of any text.
    any: Vec<u32>,
    /// Whole values, folded.
    whole: HashMap<Box<str>, Vec<Sight>>,
    /// Texts within values, folded, and what to make of each.
    texts: Option<AhoCorasick>,
    /// Whether any of the texts is there at all, if they are few enough to be looked for together by SIMD (Teddy).
    gate: Option<Searcher>,
    /// The same for texts with the escapes of JSON.
    escaped_gate: Option<Searcher>,
    sights: Vec<Vec<Sight>>,
    /// Atoms that are tried on every value, for nothing shows before that they cannot hold.
    tried: Vec<u32>,
    /// Regular expressions among those that are tried after a sight.
    expressions: Vec<u32>,
    networks: Vec<(u32, IpNet)>,
    numbers: Vec<(u32, Compare, Number)>,
    times: Vec<(u32, TimePart, Compare, Number)>,
    /// The length in bytes of the shortest folded value of which an atom may hold.
    shortest: usize,
    /// Whether an atom may hold of a whole number.
    minds_integers: bool,
}

/// What it means that a text was seen.
#[derive(Clone, Copy, Debug)]
enum Sight {
    /// The atom holds.
    Here(u32),
    /// The atom holds if the text is at the start.
    Start(u32),
    /// The atom holds if the text is at the end.
    End(u32),
    /// The atom may hold, and is to be tried.
    Try(u32),
}

/// A column while atoms are added.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    column: Column,
    texts: HashMap<String, Vec<Sight>>,
}

impl Draft {
    /// Adds an atom. Those that ask for more than one value are not for a column.
    pub(crate) fn add(&mut self, atom: u32, test: &Test) {
        let column = &mut self.column;
        match test {
            Test::Text { matcher, cased } => self.text(atom, matcher, *cased),
            Test::Regex(regex) => match literal::required(regex.as_str()) {
                Some(texts) => {
                    column.expressions.push(atom);
                    texts.into_iter().for_each(|text| self.see(text, Sight::Try(atom)));
                }
                None => column.tried.push(atom),
            },
            Test::Network(network) => column.networks.push((atom, *network)),
            Test::Number { compare, to } => column.numbers.push((atom, *compare, *to)),
            Test::Time { part, compare, to } => column.times.push((atom, *part, *compare, *to)),
            Test::Null | Test::Exists(_) | Test::Field { .. } => {}
        }
    }

    fn text(&mut self, atom: u32, matcher: &Matcher, cased: bool) {
        let sight = |sight: Sight| if cased { Sight::Try(atom) } else { sight };
        match matcher {
            Matcher::Anything => self.column.any.push(atom),
            Matcher::Exact(text) => {
                self.column.whole.entry(fold(text).into()).or_default().push(sight(Sight::Here(atom)));
            }
            Matcher::Starts(text) => self.see(fold(text).into_owned(), sight(Sight::Start(atom))),
            Matcher::Ends(text) => self.see(fold(text).into_owned(), sight(Sight::End(atom))),
            Matcher::Contains(text) => self.see(fold(text).into_owned(), sight(Sight::Here(atom))),
            Matcher::Glob(pieces) => {
                let literal = |part: &Part| match part {
                    Part::Literal(text) => Some(fold(text).into_owned()),
                    Part::One | Part::Any => None,
                };
                match pieces.iter().flatten().filter_map(literal).max_by_key(String::len) {
                    Some(longest) => self.see(longest, Sight::Try(atom)),
                    None => self.column.tried.push(atom),
                }
            }
        }
    }

    fn see(&mut self, text: String, sight: Sight) {
        self.texts.entry(text).or_default().push(sight);
    }

    /// The column, with its automaton.
    pub(crate) fn finish(self) -> Column {
        let Draft { mut column, texts } = self;
        let outright = [&column.any, &column.tried].iter().any(|atoms| !atoms.is_empty())
            || !(column.networks.is_empty() && column.numbers.is_empty() && column.times.is_empty());
        let wanted = || texts.keys().map(String::as_str).chain(column.whole.keys().map(AsRef::as_ref));
        column.shortest = if outright { 0 } else { wanted().map(str::len).min().unwrap_or(usize::MAX) };
        let integer = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        column.minds_integers = outright || wanted().any(integer);
        if texts.is_empty() {
            return column;
        }
        let mut texts: Vec<(String, Vec<Sight>)> = texts.into_iter().collect();
        texts.sort_by(|a, b| a.0.cmp(&b.0));
        let kind = if texts.len() <= DFA_TEXTS_MAX { AhoCorasickKind::DFA } else { AhoCorasickKind::ContiguousNFA };
        let patterns = || texts.iter().map(|(text, _)| text);
        let automaton = AhoCorasick::builder().match_kind(MatchKind::Standard).kind(Some(kind)).build(patterns());
        if texts.len() <= GATE_TEXTS_MAX {
            column.gate = packed::Builder::new().extend(patterns()).build();
            let seen: Option<Vec<&str>> = patterns().map(|text| unescaped_part(text)).collect();
            if let Some(mut seen) = seen.filter(|_| !outright && column.whole.is_empty()) {
                seen.extend(HIDING);
                column.escaped_gate = packed::Builder::new().extend(seen).build();
            }
        }
        match automaton {
            Ok(automaton) => {
                column.sights = texts.into_iter().map(|(_, sights)| sights).collect();
                column.texts = Some(automaton);
            }
            // The bounds on rules keep it far from its own limits. Without it all is right, and slow.
            Err(_) => column.tried.extend(texts.iter().flat_map(|(_, sights)| sights.iter().map(|sight| sight.atom()))),
        }
        column
    }
}

/// How the escapes begin, folded, that may stand for a character of ASCII once that is folded: for one itself, for `İ`,
/// and for the sign of Kelvin.
const HIDING: [&str; 3] = [r"\u00", r"\u0130", r"\u212a"];

/// The longest part of a folded text that stands in JSON as it is, unless it is [`HIDING`]; `None` if it is so short
/// that it would be nearly everywhere.
fn unescaped_part(text: &str) -> Option<&str> {
    let escapable = |c: char| !c.is_ascii() || c.is_ascii_control() || matches!(c, '"' | '\\' | '/');
    text.split(escapable).max_by_key(|part| part.len()).filter(|part| part.len() >= ESCAPED_GATE_BYTES_MIN)
}

impl Sight {
    fn atom(self) -> u32 {
        match self {
            Sight::Here(atom) | Sight::Start(atom) | Sight::End(atom) | Sight::Try(atom) => atom,
        }
    }
}

impl Column {
    /// Adds the atoms that hold of a value. An atom may be added twice.
    pub(crate) fn classify(&self, text: &Text<'_>, atoms: &Atoms, found: &mut Vec<u32>, tries: &mut Vec<u32>) {
        let folded = text.get(false);
        tries.clear();
        tries.extend_from_slice(&self.tried);
        found.extend_from_slice(&self.any);
        for sight in self.whole.get(folded).into_iter().flatten() {
            match *sight {
                Sight::Here(atom) | Sight::Start(atom) | Sight::End(atom) => found.push(atom),
                Sight::Try(atom) => tries.push(atom),
            }
        }
        if let Some(automaton) = &self.texts
            && self.gate.as_ref().is_none_or(|gate| gate.find(folded).is_some())
        {
            for seen in automaton.find_overlapping_iter(folded) {
                for sight in &self.sights[seen.pattern()] {
                    match *sight {
                        Sight::Here(atom) => found.push(atom),
                        Sight::Start(atom) if seen.start() == 0 => found.push(atom),
                        Sight::End(atom) if seen.end() == folded.len() => found.push(atom),
                        Sight::Start(_) | Sight::End(_) => {}
                        Sight::Try(atom) => tries.push(atom),
                    }
                }
            }
        }
        if !self.expressions.is_empty() && !folded.is_ascii() && folded.contains(LONG_S) {
            tries.extend_from_slice(&self.expressions);
        }
        tries.sort_unstable();
        tries.dedup();
        found.extend(tries.iter().filter(|atom| text.fits(&atoms.get(**atom as usize).test)));
        self.typed(text.get(true), found);
    }

    /// Whether any atom may hold of a text, given it folded, but with the escapes of JSON.
    pub(crate) fn minds_escaped(&self, folded: &str) -> bool {
        self.escaped_gate.as_ref().is_none_or(|gate| gate.find(folded).is_some())
    }

    /// Whether any atom may hold of a value, by its length and kind alone.
    pub(crate) fn minds(&self, value: Value<'_>) -> bool {
        match value {
            Value::Null => false,
            Value::Int(_) => self.minds_integers,
            // Case can change the length of what is not ASCII; an escape only makes it longer.
            Value::Text(text) | Value::Escaped(text) => text.len() >= self.shortest || !text.is_ascii(),
            Value::Bool(_) | Value::Float(_) => true,
        }
    }

    /// The atoms that ask for a number, a time or an address.
    fn typed(&self, text: &str, found: &mut Vec<u32>) {
        if !self.numbers.is_empty()
            && let Some(number) = Number::parse(text)
        {
            let holds = |(_, compare, to): &&(u32, Compare, Number)| compare.holds(number, *to);
            found.extend(self.numbers.iter().filter(holds).map(|(atom, ..)| *atom));
        }
        if !self.networks.is_empty()
            && let Ok(address) = text.trim().parse::<IpAddr>()
        {
            let address = address.to_canonical();
            found.extend(self.networks.iter().filter(|(_, network)| network.contains(&address)).map(|(atom, _)| *atom));
        }
        for (atom, part, compare, to) in &self.times {
            if part_of(text, *part).is_some_and(|found| compare.holds(Number::Whole(found), *to)) {
                found.push(*atom);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::unescape;

    #[test]
    fn no_other_character_folds_to_ascii() {
        let hidden = |c: &char| !c.is_ascii() && c.to_lowercase().any(|lower| lower.is_ascii());
        let found: Vec<String> =
            ('\0'..=char::MAX).filter(hidden).map(|c| format!("\\u{:04x}", u32::from(c))).collect();
        assert_eq!(found, HIDING[1..]);
    }

    #[test]
    fn a_text_is_not_passed_over_for_its_escapes() {
        let mut draft = Draft::default();
        for (atom, word) in ["kerberos::golden", r"evil\tool", "/etc/shadow"].iter().enumerate() {
            let matcher = Matcher::Contains((*word).to_owned());
            draft.add(atom as u32, &Test::Text { matcher, cased: false });
        }
        let column = draft.finish();
        assert!(column.escaped_gate.is_some());
        for (escaped, minds) in [
            (r"x\r\nKERBEROS::golden", true),
            (r"\u006berberos::golden", true),
            (r"\u212Aerberos::golden", true),
            (r"c:\\Evil\\Tool.exe", true),
            (r"\/etc\/shadow", true),
            (r"c:\\users\\ana\r\n", false),
            (r"\u20ac", false),
        ] {
            assert_eq!(column.minds_escaped(&fold(escaped)), minds, "{escaped}");
            let folded = fold(&unescape(escaped)).into_owned();
            let holds = ["kerberos::golden", r"evil\tool", "/etc/shadow"].iter().any(|word| folded.contains(word));
            assert!(minds || !holds, "{escaped}");
        }
    }
}
