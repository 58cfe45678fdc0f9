//! Atoms: the smallest questions that rules ask of an event. Rules share them, so each is asked once per event.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use foldhash::fast::FixedState;
use ipnet::IpNet;
use regex::Regex;

use crate::column::{Column, Draft};
use crate::event::{Event, Value, fold};
use crate::pattern::{Matcher, Shape};
use crate::time::{TimePart, part_of};

/// What an atom asks of one field, or of every value.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    /// Some value fits a pattern. A pattern that is not `cased` is folded.
    Text { matcher: Matcher, cased: bool },
    /// Some value has a match of a regular expression within it.
    Regex(Regex),
    /// Some value is an address within a network.
    Network(IpNet),
    /// Some value is a number that compares so to another.
    Number { compare: Compare, to: Number },
    /// Some value is a time whose part compares so to a number.
    Time { part: TimePart, compare: Compare, to: Number },
    /// The field has no value: it is absent, or null.
    Null,
    /// The field has a value, or has none.
    Exists(bool),
    /// Some value fits some value of another field, given by its number.
    Field { other: usize, shape: Shape, cased: bool },
}

/// How two numbers are to compare.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A number of a rule or an event, whole ones exactly.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    Whole(i64),
    Other(f64),
}

/// All atoms of a rule set, and the names of the fields that they read.
#[derive(Debug, Default)]
pub(crate) struct Atoms {
    fields: Vec<String>,
    field_numbers: HashMap<String, usize, FixedState>,
    atoms: Vec<Atom>,
    atom_numbers: BTreeMap<String, usize>,
    /// What is asked of each field, by its number.
    columns: Vec<Column>,
}

/// A question.
#[derive(Debug)]
pub(crate) struct Atom {
    /// The field's number; `None` asks every value of the event.
    pub(crate) field: Option<usize>,
    pub(crate) test: Test,
}

impl Atoms {
    /// The number of a field.
    pub(crate) fn field(&mut self, name: &str) -> usize {
        if let Some(&number) = self.field_numbers.get(name) {
            return number;
        }
        self.fields.push(name.to_owned());
        self.field_numbers.insert(name.to_owned(), self.fields.len() - 1);
        self.fields.len() - 1
    }

    /// The number of an atom; one that was asked before has its old number.
    pub(crate) fn atom(&mut self, field: Option<usize>, test: Test) -> usize {
        // What is printed of a test is all that it depends on.
        let key = format!("{field:?} {test:?}");
        if let Some(&number) = self.atom_numbers.get(&key) {
            return number;
        }
        self.atoms.push(Atom { field, test });
        self.atom_numbers.insert(key, self.atoms.len() - 1);
        self.atoms.len() - 1
    }

    /// Forgets what only compiling needs, and gathers what is asked of each field.
    pub(crate) fn seal(&mut self) {
        self.atom_numbers = BTreeMap::new();
        let mut drafts: Vec<Draft> = Vec::new();
        drafts.resize_with(self.fields.len(), Draft::default);
        for (number, atom) in self.atoms.iter().enumerate() {
            if let Some(field) = atom.field {
                drafts[field].add(number as u32, &atom.test);
            }
        }
        self.columns = drafts.into_iter().map(Draft::finish).collect();
    }

    /// What these atoms ask of a value.
    pub(crate) fn column_of(&self, atoms: &[u32]) -> Column {
        let mut draft = Draft::default();
        atoms.iter().for_each(|atom| draft.add(*atom, &self.get(*atom as usize).test));
        draft.finish()
    }

    /// What is asked of a field, by its number.
    pub(crate) fn column(&self, field: usize) -> &Column {
        &self.columns[field]
    }

    /// The number of a field that some rule reads.
    pub(crate) fn field_number(&self, name: &str) -> Option<usize> {
        self.field_numbers.get(name).copied()
    }

    /// How many fields the rules read.
    pub(crate) fn fields(&self) -> usize {
        self.fields.len()
    }

    /// How many atoms there are.
    pub(crate) fn len(&self) -> usize {
        self.atoms.len()
    }

    /// An atom by its number.
    pub(crate) fn get(&self, number: usize) -> &Atom {
        &self.atoms[number]
    }

    /// Whether an atom that compares two fields holds of an event.
    pub(crate) fn compares(&self, number: usize, event: &dyn Event) -> bool {
        let atom = &self.atoms[number];
        let (Some(field), Test::Field { other, shape, cased }) = (atom.field, &atom.test) else { return false };
        let read = |field: usize| {
            let mut values = Values::default();
            event.field(&self.fields[field], &mut |value| values.add(value));
            values
        };
        read(field).fit(&read(*other), *shape, *cased)
    }
}

/// An event under examination: each field is read once, each atom asked once.
pub(crate) struct Examined<'e, 'r> {
    event: &'e dyn Event,
    atoms: &'r Atoms,
    fields: Vec<Option<Values<'e>>>,
    all: Option<Values<'e>>,
    known: Vec<Option<bool>>,
}

/// The values of a field, as texts. An event's nulls leave no text.
#[derive(Default)]
struct Values<'e> {
    texts: Vec<Text<'e>>,
    null: bool,
}

/// A text with and without its case.
pub(crate) struct Text<'e> {
    raw: Cow<'e, str>,
    /// `None` if it is the same.
    folded: Option<Cow<'e, str>>,
}

impl<'e> Values<'e> {
    fn add(&mut self, value: Value<'e>) {
        match value.text() {
            Some(raw) => self.texts.push(Text::new(raw)),
            None => self.null = true,
        }
    }

    /// Whether any of these has any of the others in this place.
    fn fit(&self, others: &Values<'_>, shape: Shape, cased: bool) -> bool {
        let fits = |text: &Text<'_>| others.texts.iter().any(|other| shape.fits(text.get(cased), other.get(cased)));
        self.texts.iter().any(fits)
    }
}

impl<'e> Text<'e> {
    pub(crate) fn new(raw: Cow<'e, str>) -> Text<'e> {
        let folded = match fold(&raw) {
            Cow::Borrowed(_) => None,
            Cow::Owned(folded) => Some(Cow::Owned(folded)),
        };
        Text { raw, folded }
    }

    /// A text and its folding.
    pub(crate) fn folded(raw: &'e str, folded: &'e str) -> Text<'e> {
        Text { raw: Cow::Borrowed(raw), folded: Some(Cow::Borrowed(folded)) }
    }

    /// The text as it is, or folded.
    pub(crate) fn get(&self, cased: bool) -> &str {
        match &self.folded {
            Some(folded) if !cased => folded,
            Some(_) | None => &self.raw,
        }
    }

    /// Whether this text is what a test of single values asks for.
    pub(crate) fn fits(&self, test: &Test) -> bool {
        match test {
            Test::Text { matcher, cased } => matcher.fits(self.get(*cased)),
            Test::Regex(regex) => regex.is_match(&self.raw),
            Test::Network(network) => {
                self.raw.trim().parse::<IpAddr>().is_ok_and(|address| network.contains(&address.to_canonical()))
            }
            Test::Number { compare, to } => Number::parse(&self.raw).is_some_and(|number| compare.holds(number, *to)),
            Test::Time { part, compare, to } => {
                part_of(&self.raw, *part).is_some_and(|found| compare.holds(Number::Whole(found), *to))
            }
            Test::Field { .. } | Test::Null | Test::Exists(_) => false,
        }
    }
}

impl<'e, 'r> Examined<'e, 'r> {
    pub(crate) fn new(event: &'e dyn Event, atoms: &'r Atoms) -> Examined<'e, 'r> {
        let mut fields = Vec::new();
        fields.resize_with(atoms.fields.len(), || None);
        Examined { event, atoms, fields, all: None, known: vec![None; atoms.atoms.len()] }
    }

    /// Whether the atom is true of the event.
    pub(crate) fn holds(&mut self, number: usize) -> bool {
        if let Some(known) = self.known[number] {
            return known;
        }
        let answer = self.ask(number);
        self.known[number] = Some(answer);
        answer
    }

    fn ask(&mut self, number: usize) -> bool {
        let atom = &self.atoms.atoms[number];
        if let Test::Field { other, .. } = &atom.test {
            self.read(*other);
        }
        match atom.field {
            Some(field) => self.read(field),
            None => self.read_all(),
        }
        self.values(atom).is_some_and(|values| self.test(values, &atom.test))
    }

    /// The value that made the atom true, or any value of its field.
    pub(crate) fn witness(&mut self, number: usize) -> Option<String> {
        self.holds(number);
        let atom = &self.atoms.atoms[number];
        let values = self.values(atom)?;
        let fits = |text: &&Text<'_>| self.shows(text, &atom.test);
        let text = values.texts.iter().find(fits).or(values.texts.first())?;
        Some(text.raw.clone().into_owned())
    }

    fn values(&self, atom: &Atom) -> Option<&Values<'e>> {
        match atom.field {
            Some(field) => self.fields[field].as_ref(),
            None => self.all.as_ref(),
        }
    }

    fn read(&mut self, field: usize) {
        if self.fields[field].is_none() {
            let mut values = Values::default();
            self.event.field(&self.atoms.fields[field], &mut |value| values.add(value));
            self.fields[field] = Some(values);
        }
    }

    fn read_all(&mut self) {
        if self.all.is_none() {
            let mut values = Values::default();
            self.event.each(&mut |_, value| values.add(value));
            self.all = Some(values);
        }
    }

    fn test(&self, values: &Values<'_>, test: &Test) -> bool {
        match test {
            Test::Null => values.null || values.texts.is_empty(),
            Test::Exists(wanted) => (values.null || !values.texts.is_empty()) == *wanted,
            Test::Field { other, shape, cased } => {
                self.fields[*other].as_ref().is_some_and(|others| values.fit(others, *shape, *cased))
            }
            Test::Text { .. } | Test::Regex(_) | Test::Network(_) | Test::Number { .. } | Test::Time { .. } => {
                values.texts.iter().any(|text| text.fits(test))
            }
        }
    }

    /// Whether this is a text that the test was about.
    fn shows(&self, text: &Text<'_>, test: &Test) -> bool {
        match test {
            Test::Field { other, shape, cased } => self.fields[*other]
                .as_ref()
                .is_some_and(|others| others.texts.iter().any(|o| shape.fits(text.get(*cased), o.get(*cased)))),
            Test::Text { .. }
            | Test::Regex(_)
            | Test::Network(_)
            | Test::Number { .. }
            | Test::Time { .. }
            | Test::Null
            | Test::Exists(_) => text.fits(test),
        }
    }
}

impl Shape {
    /// Whether a value has another in this place.
    fn fits(self, value: &str, other: &str) -> bool {
        match self {
            Shape::Whole => value == other,
            Shape::Contains => value.contains(other),
            Shape::Starts => value.starts_with(other),
            Shape::Ends => value.ends_with(other),
        }
    }
}

impl Compare {
    /// Whether two numbers compare so. What cannot be ordered never does.
    pub(crate) fn holds(self, a: Number, b: Number) -> bool {
        a.compare(b).is_some_and(|order| self.is(order))
    }

    /// Whether it is this order.
    pub(crate) fn is(self, order: Ordering) -> bool {
        match self {
            Compare::Equal => order.is_eq(),
            Compare::NotEqual => order.is_ne(),
            Compare::Less => order.is_lt(),
            Compare::LessOrEqual => order.is_le(),
            Compare::Greater => order.is_gt(),
            Compare::GreaterOrEqual => order.is_ge(),
        }
    }
}

impl Number {
    /// A number written in decimal, whole or not.
    pub(crate) fn parse(text: &str) -> Option<Number> {
        let text = text.trim();
        if let Ok(whole) = text.parse() {
            return Some(Number::Whole(whole));
        }
        // Rust would also read `inf` and `nan`, which logs do not mean as numbers.
        let decimal = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
        if decimal { text.parse().ok().map(Number::Other) } else { None }
    }

    fn compare(self, other: Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Whole(a), Number::Whole(b)) => Some(a.cmp(&b)),
            (a, b) => a.float().partial_cmp(&b.float()),
        }
    }

    fn float(self) -> f64 {
        match self {
            Number::Whole(n) => n as f64,
            Number::Other(x) => x,
        }
    }
}
