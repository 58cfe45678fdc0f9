//! Matching: which rules match an event, fast.
//!
//! # How
//! Rules share their questions, so what all of them ask of a field is asked at once ([`crate::column`]), and of a
//! value that came before not at all ([`crate::memo`]). What held of the event then points to the few rules that
//! may match ([`crate::witness`]), and only these are looked at, by testing bits. Fields that no rule for the event's
//! log sources reads are passed over.
//!
//! # What it costs
//! A set of 3,140 public rules takes 1 to 3 µs for a Windows event whose values are known, and some 20 µs for one that
//! has nothing but new ones. A matcher takes some 20 MB, and is for one thread.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::ops::Deref;

use foldhash::fast::FixedState;

use crate::atom::{Atoms, Test};
use crate::event::{Event, Source, Value, unescape};
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
    /// Whether they read each field; last, whether they have keywords.
    columns: Vec<bool>,
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
    found: Vec<u32>,
    digits: String,
}

/// Witnesses are first chosen by measure after so many events, and then each time there were 16 times as many.
const CHOOSE_FIRST: u32 = 512;

impl<R: Deref<Target = RuleSet>> Matcher<R> {
    /// A matcher for these rules.
    pub fn new(rules: R) -> Matcher<R> {
        let facts = Facts::new(&rules);
        let live = HashMap::default();
        Matcher { memo: Memo::new(), facts, live, keys: Vec::new(), matched: Vec::new(), rules }
    }

    /// The rules that match an event which comes from these log sources, in their order. A rule applies if every
    /// part that its log source names is that of one of the sources.
    pub fn matches<'s>(&mut self, event: &dyn Event, sources: impl IntoIterator<Item = Source<'s>>) -> &[RuleIndex] {
        self.keys.clear();
        self.keys.extend(sources.into_iter().map(|source| self.rules.routes().key(source)));
        if !self.live.contains_key(&self.keys) {
            let live = Live::new(&self.rules, self.rules.routes().rules(&self.keys), &self.facts.witnesses);
            if self.live.len() == limits::LIVE_SETS_MAX {
                self.live.clear();
            }
            self.live.insert(self.keys.clone(), live);
        }
        self.run(event)
    }

    /// The rules that match an event, whatever log source they are for, in their order.
    pub fn matches_any_source(&mut self, event: &dyn Event) -> &[RuleIndex] {
        self.keys.clear();
        // A key that no log source has.
        self.keys.push([u32::MAX; 3]);
        if !self.live.contains_key(&self.keys) {
            let all = self.rules.iter().map(|(index, _)| index);
            let live = Live::new(&self.rules, all, &self.facts.witnesses);
            self.live.insert(self.keys.clone(), live);
        }
        self.run(event)
    }

    /// The rules that it matches.
    pub fn rules(&self) -> &RuleSet {
        &self.rules
    }

    fn run(&mut self, event: &dyn Event) -> &[RuleIndex] {
        let Matcher { rules, memo, facts, live, keys, matched } = self;
        let (rules, atoms): (&RuleSet, &Atoms) = (rules, rules.atoms());
        matched.clear();
        let Some(live) = live.get(keys) else { return matched };
        facts.begin(rules, live);
        let keywords = atoms.fields();
        event.each(&mut |name, value| {
            if let Some(field) = atoms.field_number(name)
                && live.columns[field]
            {
                facts.value(field, value);
                facts.look(atoms, memo, live, field, value);
            }
            if live.columns[keywords] {
                facts.look(atoms, memo, live, keywords, value);
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
    fn new(rules: &RuleSet, of: impl Iterator<Item = RuleIndex>, witnesses: &Witnesses) -> Live {
        let atoms = rules.atoms();
        let mut live = Live {
            rules: vec![0; rules.len().div_ceil(64)],
            always: Vec::new(),
            columns: vec![false; atoms.fields() + 1],
        };
        for index in of {
            let Body::Detection(detection) = &rules.rule(index).body else { continue };
            live.rules[index.number() / 64] |= 1 << (index.number() % 64);
            detection.atoms(&mut |atom| {
                let atom = atoms.get(atom);
                live.columns[atom.field.unwrap_or(atoms.fields())] = true;
                if let Test::Field { other, .. } = atom.test {
                    live.columns[other] = true;
                }
            });
        }
        live.always = witnesses.without().iter().copied().filter(|rule| live.has(*rule)).collect();
        live
    }

    fn has(&self, rule: u32) -> bool {
        self.rules[rule as usize / 64] >> (rule % 64) & 1 == 1
    }
}

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
            found: Vec::new(),
            digits: String::new(),
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

    /// Marks what holds of a value of a column.
    fn look(&mut self, atoms: &Atoms, memo: &mut Memo, live: &Live, column: usize, value: Value<'_>) {
        let mut digits = std::mem::take(&mut self.digits);
        digits.clear();
        let (text, escaped) = match value {
            Value::Null => return,
            Value::Bool(true) => ("true", false),
            Value::Bool(false) => ("false", false),
            Value::Text(text) => (text, false),
            Value::Escaped(text) => (text, true),
            Value::Int(n) => {
                let _ = write!(digits, "{n}");
                (digits.as_str(), false)
            }
            Value::Float(x) => {
                let _ = write!(digits, "{x}");
                (digits.as_str(), false)
            }
        };
        let kind = column as u32 * 2 + u32::from(escaped);
        match memo.find(kind, text) {
            Ok(found) => found.iter().for_each(|atom| self.mark(*atom, live)),
            Err(place) => {
                let mut found = std::mem::take(&mut self.found);
                let plain = if escaped { unescape(text) } else { Cow::Borrowed(text) };
                atoms.classify(column, plain, &mut found);
                memo.keep(place, kind, text, &found);
                found.iter().for_each(|atom| self.mark(*atom, live));
                self.found = found;
            }
        }
        self.digits = digits;
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
            Test::Exists(wanted) => has(&self.values) == wanted,
            Test::Field { .. } => atoms.compares(number, event),
            Test::Text { .. } | Test::Regex(_) | Test::Network(_) | Test::Number { .. } | Test::Time { .. } => {
                self.atoms[number] == self.event
            }
        }
    }
}
