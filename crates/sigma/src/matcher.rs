//! Matching: which rules match an event, fast.
//!
//! # How
//! Rules share their questions, so what all of them ask of a field is asked at once ([`crate::column`]), and of a
//! value that came before not at all ([`crate::memo`]). What held of the event then points to the few rules that
//! may match ([`crate::witness`]), and only these are looked at, by testing bits. Fields that no rule for the event's
//! log sources reads are passed over.
//!
//! # What it costs
//! With 3,140 public rules a recorded Windows event takes 5 µs, reading its JSON included, and 8 µs if all its texts are
//! new (docs/benchmarks.md). A matcher is for one thread.

use std::collections::HashMap;
use std::ops::Deref;

use foldhash::fast::FixedState;

use crate::atom::{Atoms, Test, Text};
use crate::column::Column;
use crate::event::{Event, Source, Value, fold_into, unescape_into};
use crate::limits;
use crate::memo::Memo;
use crate::route::Key;
use crate::rule::{Body, RuleIndex};
use crate::set::RuleSet;
use crate::witness::Witnesses;

/// Matches events against a set of rules and remembers the values it has seen. What it finds depends on the event
/// alone.
#[derive(Debug)]
pub struct Matcher<R> {
    rules: R,
    memo: Memo,
    facts: Facts,
    live: HashMap<Vec<Key>, Live, FixedState>,
    /// The keywords of some log sources, by the atoms that they are.
    keyword_sets: HashMap<Vec<u32>, usize, FixedState>,
    keywords: Vec<Column>,
    keys: Vec<Key>,
    matched: Vec<RuleIndex>,
}

/// The rules for some log sources.
#[derive(Debug, Default)]
struct Live {
    /// A bit for each rule.
    rules: Vec<u64>,
    /// Those without a witness.
    always: Vec<u32>,
    /// Whether they read each field.
    fields: Vec<bool>,
    /// Which of the matcher's keywords they have.
    keywords: Option<usize>,
}

/// What is known of the event in hand, and how often things were so.
///
/// A mark is the number of the event that it is about, so that nothing needs to be cleared between events.
#[derive(Debug)]
struct Facts {
    event: u32,
    /// Marks of the atoms that hold.
    atoms: Vec<u32>,
    /// Marks of the fields that have a value, and of those with a null.
    values: Vec<u32>,
    nulls: Vec<u32>,
    /// Marks of the rules that may match, and their list.
    suspects: Vec<u32>,
    list: Vec<u32>,
    witnesses: Witnesses,
    /// In how many events each atom held.
    seen: Vec<u32>,
    /// After which event the witnesses are chosen anew.
    choose_at: u32,
    scratch: Scratch,
}

/// Room for what is found out about a value, so that it need not be had anew each time.
#[derive(Debug, Default)]
struct Scratch {
    plain: String,
    folded: String,
    found: Vec<u32>,
    tries: Vec<u32>,
}

/// Witnesses are first chosen by measure after so many events, and then each time there were 16 times as many.
const CHOOSE_FIRST: u32 = 512;

/// The longest value, in bytes, that is remembered for its keywords alone. Long ones seldom come twice, and to look
/// through them for the few keywords of a log source is as quick as to find them again.
const KEYWORDS_ALONE_BYTES_MAX: usize = 128;

impl<R: Deref<Target = RuleSet>> Matcher<R> {
    /// A matcher for these rules.
    pub fn new(rules: R) -> Matcher<R> {
        Matcher {
            memo: Memo::new(),
            facts: Facts::new(&rules),
            live: HashMap::default(),
            keyword_sets: HashMap::default(),
            keywords: Vec::new(),
            keys: Vec::new(),
            matched: Vec::new(),
            rules,
        }
    }

    /// The rules that match an event which comes from these log sources, in their order. A rule applies if every
    /// part that its log source names is that of one of the sources.
    pub fn matches<'s>(&mut self, event: &dyn Event, sources: impl IntoIterator<Item = Source<'s>>) -> &[RuleIndex] {
        self.keys.clear();
        self.keys.extend(sources.into_iter().map(|source| self.rules.routes().key(source)));
        if !self.live.contains_key(&self.keys) {
            let rules: Vec<RuleIndex> = self.rules.routes().rules(&self.keys).collect();
            self.enliven(&rules);
        }
        self.run(event)
    }

    /// The rules that match an event, whatever log source they are for, in their order.
    pub fn matches_any_source(&mut self, event: &dyn Event) -> &[RuleIndex] {
        self.keys.clear();
        // A key that no log source has.
        self.keys.push([u32::MAX; 3]);
        if !self.live.contains_key(&self.keys) {
            let rules: Vec<RuleIndex> = self.rules.iter().map(|(index, _)| index).collect();
            self.enliven(&rules);
        }
        self.run(event)
    }

    /// The rules that it matches.
    pub fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// Prepares for events of the log sources in `keys`, which these rules are for.
    fn enliven(&mut self, of: &[RuleIndex]) {
        if self.live.len() == limits::LIVE_SETS_MAX {
            // The memory knows keywords by their numbers, so all of it goes together.
            (self.live, self.keyword_sets) = Default::default();
            self.keywords.clear();
            self.memo = Memo::new();
        }
        let atoms = self.rules.atoms();
        let (mut live, mut keywords) = (Live::default(), Vec::new());
        live.rules = vec![0; self.rules.len().div_ceil(64)];
        live.fields = vec![false; atoms.fields()];
        for index in of {
            let Body::Detection(detection) = &self.rules.rule(*index).body else { continue };
            live.rules[index.number() / 64] |= 1 << (index.number() % 64);
            detection.atoms(&mut |number| {
                let atom = atoms.get(number);
                match atom.field {
                    Some(field) => live.fields[field] = true,
                    None => keywords.push(number as u32),
                }
                if let Test::Field { other, .. } = atom.test {
                    live.fields[other] = true;
                }
            });
        }
        live.always = self.facts.witnesses.without().iter().copied().filter(|rule| live.has(*rule)).collect();
        keywords.sort_unstable();
        keywords.dedup();
        if !keywords.is_empty() {
            live.keywords = Some(*self.keyword_sets.entry(keywords).or_insert_with_key(|keywords| {
                self.keywords.push(atoms.column_of(keywords));
                self.keywords.len() - 1
            }));
        }
        self.live.insert(self.keys.clone(), live);
    }

    fn run(&mut self, event: &dyn Event) -> &[RuleIndex] {
        let Matcher { rules, memo, facts, live, keywords, keys, matched, .. } = self;
        let (rules, atoms): (&RuleSet, &Atoms) = (rules, rules.atoms());
        matched.clear();
        let Some(live) = live.get(keys) else { return matched };
        let keywords = live.keywords.map(|number| (number, &keywords[number]));
        facts.begin(rules, live);
        event.each(&mut |name, value| {
            let field = atoms.field_number(name).filter(|field| live.fields[*field]);
            if let Some(field) = field {
                facts.value(field, value);
            }
            let field = field.filter(|field| atoms.column(*field).minds(value));
            let keywords = keywords.filter(|(_, keywords)| keywords.minds(value));
            if field.is_some() || keywords.is_some() {
                facts.look(atoms, memo, live, (field, keywords), value);
            }
        });
        for i in 0..facts.list.len() {
            let index = RuleIndex(facts.list[i]);
            if let Body::Detection(detection) = &rules.rule(index).body
                && detection.holds(&mut |atom| facts.holds(atoms, event, atom))
            {
                matched.push(index);
            }
        }
        matched.sort_unstable();
        matched
    }
}

impl Live {
    fn has(&self, rule: u32) -> bool {
        self.rules[rule as usize / 64] >> (rule % 64) & 1 == 1
    }
}

/// The field that a value is of, if its value is asked for, and the keywords that are looked for in it.
type Asked<'k> = (Option<usize>, Option<(usize, &'k Column)>);

impl Facts {
    fn new(rules: &RuleSet) -> Facts {
        let (atoms, fields) = (rules.atoms(), rules.atoms().fields());
        let mut facts = Facts {
            event: 0,
            atoms: vec![0; atoms.len()],
            values: vec![0; fields],
            nulls: vec![0; fields],
            suspects: vec![0; rules.len()],
            list: Vec::new(),
            witnesses: Witnesses::default(),
            seen: vec![0; atoms.len()],
            choose_at: CHOOSE_FIRST,
            scratch: Scratch::default(),
        };
        facts.witnesses = Witnesses::choose(rules.all(), atoms, &facts.seen, 0);
        facts
    }

    /// Turns to the next event.
    fn begin(&mut self, rules: &RuleSet, live: &Live) {
        if self.event == self.choose_at {
            self.witnesses = Witnesses::choose(rules.all(), rules.atoms(), &self.seen, self.event);
            self.choose_at = self.choose_at.saturating_mul(16);
        }
        if self.event == u32::MAX {
            // The marks of old events must not be taken for those of new ones.
            for marks in [&mut self.atoms, &mut self.values, &mut self.nulls, &mut self.suspects, &mut self.seen] {
                marks.fill(0);
            }
            (self.event, self.choose_at) = (0, CHOOSE_FIRST);
        }
        self.event += 1;
        self.list.clear();
        self.list.extend_from_slice(&live.always);
    }

    /// Notes that a field has a value.
    fn value(&mut self, field: usize, value: Value<'_>) {
        let marks = if matches!(value, Value::Null) { &mut self.nulls } else { &mut self.values };
        marks[field] = self.event;
    }

    /// Marks what holds of a value.
    fn look(&mut self, atoms: &Atoms, memo: &mut Memo, live: &Live, asked: Asked<'_>, value: Value<'_>) {
        let mut digits = [0; 24];
        let (text, escaped) = match value {
            Value::Null => return,
            Value::Bool(true) => ("true", false),
            Value::Bool(false) => ("false", false),
            Value::Text(text) => (text, false),
            Value::Escaped(text) => (text, true),
            Value::Int(n) => (decimal(n, &mut digits), false),
            Value::Float(x) => return self.find_out(atoms, live, asked, (&x.to_string(), false), |_| ()),
        };
        if let (None, Some((_, keywords))) = asked
            && text.len() > KEYWORDS_ALONE_BYTES_MAX
        {
            if escaped {
                let folded = &mut self.scratch.folded;
                folded.clear();
                fold_into(text, folded);
                if !keywords.minds_escaped(folded) {
                    return;
                }
            }
            return self.find_out(atoms, live, asked, (text, escaped), |_| ());
        }
        let place = asked.0.unwrap_or(atoms.fields()) + asked.1.map_or(0, |(n, _)| n + 1) * (atoms.fields() + 1);
        let kind = place as u32 * 2 + u32::from(escaped);
        match memo.find(kind, text) {
            Ok(found) => found.iter().for_each(|atom| self.mark(*atom, live)),
            Err(place) => {
                self.find_out(atoms, live, asked, (text, escaped), |found| memo.keep(place, kind, text, found));
            }
        }
    }

    /// Finds out and marks what holds of a text, which may be escaped.
    fn find_out(
        &mut self,
        atoms: &Atoms,
        live: &Live,
        (field, keywords): Asked<'_>,
        (text, escaped): (&str, bool),
        keep: impl FnOnce(&[u32]),
    ) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let Scratch { plain, folded, found, tries } = &mut scratch;
        plain.clear();
        folded.clear();
        found.clear();
        if escaped {
            unescape_into(text, plain);
        }
        let plain = if escaped { plain } else { text };
        fold_into(plain, folded);
        let text = Text::folded(plain, folded);
        for column in field.map(|field| atoms.column(field)).into_iter().chain(keywords.map(|(_, column)| column)) {
            column.classify(&text, atoms, found, tries);
        }
        found.sort_unstable();
        found.dedup();
        keep(found);
        found.iter().for_each(|atom| self.mark(*atom, live));
        self.scratch = scratch;
    }

    /// Notes that an atom holds, and whom it is a witness of.
    fn mark(&mut self, atom: u32, live: &Live) {
        let mark = &mut self.atoms[atom as usize];
        if *mark == self.event {
            return;
        }
        *mark = self.event;
        self.seen[atom as usize] += 1;
        for rule in self.witnesses.of(atom) {
            let suspect = &mut self.suspects[*rule as usize];
            if *suspect != self.event && live.has(*rule) {
                *suspect = self.event;
                self.list.push(*rule);
            }
        }
    }

    /// Whether an atom holds of the event.
    fn holds(&self, atoms: &Atoms, event: &dyn Event, number: usize) -> bool {
        let atom = atoms.get(number);
        let has = |marks: &[u32]| atom.field.is_some_and(|field| marks[field] == self.event);
        match atom.test {
            Test::Null => has(&self.nulls) || !has(&self.values),
            Test::Exists(wanted) => (has(&self.values) || has(&self.nulls)) == wanted,
            Test::Field { .. } => atoms.compares(number, event),
            Test::Text { .. } | Test::Regex(_) | Test::Network(_) | Test::Number { .. } | Test::Time { .. } => {
                self.atoms[number] == self.event
            }
        }
    }
}

/// The digits of a number.
fn decimal(n: i64, digits: &mut [u8; 24]) -> &str {
    let mut at = digits.len();
    let mut left = n.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if n < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    std::str::from_utf8(&digits[at..]).unwrap_or_default()
}
