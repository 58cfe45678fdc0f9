//! Finding a field by its name: a small hash table over the fields of a draft.
//!
//! Senders choose names, so they can choose such as collide. Where a search would take more than [`PROBES_MAX`] steps,
//! the sensor's own fields are sorted instead, and found by halving.

use super::json::Entry;

/// Most steps of one search in the table. Half full, it takes 2, and 12 hardly ever.
const PROBES_MAX: usize = 24;

/// Where the fields of a draft are.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The number of a field from 1, at the place that its hash says or a later one; 0 where there is none. A power
    /// of two, at least twice as many as fields.
    table: Vec<u16>,
    /// Whether the native fields are sorted by name instead.
    sorted: bool,
}

/// What a search in the table came to.
enum Probe {
    Found(usize),
    Free(usize),
    TooLong,
}

impl Index {
    /// An index of native fields, of which several may have one name: the first stands, the others are removed.
    pub(super) fn of_first(fields: &mut Vec<Entry<'_>>) -> Index {
        let mut index = Index::default();
        let mut doubles = Vec::new();
        if !index.fill(fields, &mut doubles) {
            index.sort(fields);
            fields.dedup_by(|later, first| later.name == first.name);
            return index;
        }
        if doubles.is_empty() {
            return index;
        }
        let (mut number, mut next) = (0, doubles.into_iter().peekable());
        fields.retain(|_| {
            number += 1;
            next.next_if_eq(&(number - 1)).is_none()
        });
        Index::of_first(fields)
    }

    /// An index of native fields; `None` if two have one name, or it would have to sort them.
    pub(super) fn of_unique(fields: &[Entry<'_>]) -> Option<Index> {
        let (mut index, mut doubles) = (Index::default(), Vec::new());
        (index.fill(fields, &mut doubles) && doubles.is_empty()).then_some(index)
    }

    /// Where the field of a name is; the first `native` ones are the sensor's own.
    pub(super) fn find(&self, fields: &[Entry<'_>], native: usize, hash: u32, name: &str) -> Option<usize> {
        if self.sorted {
            if let Ok(at) = fields[..native].binary_search_by(|field| (*field.name).cmp(name)) {
                return Some(at);
            }
            return fields[native..].iter().position(|field| field.name == name).map(|at| native + at);
        }
        if self.table.is_empty() {
            return None;
        }
        match self.probe(fields, hash, name) {
            Probe::Found(at) => Some(at),
            // What is in the table was put there in fewer steps.
            Probe::Free(_) | Probe::TooLong => None,
        }
    }

    /// A field was added at the end, of a name that was not there.
    pub(super) fn added(&mut self, fields: &mut [Entry<'_>], native: usize) {
        if self.sorted {
            return;
        }
        let Some(at) = fields.len().checked_sub(1) else { return };
        let in_time = if fields.len() * 2 > self.table.len() {
            self.fill(fields, &mut Vec::new())
        } else {
            match self.probe(fields, fields[at].hash, &fields[at].name) {
                Probe::Free(place) => {
                    self.table[place] = number(at);
                    true
                }
                Probe::Found(_) => true,
                Probe::TooLong => false,
            }
        };
        if !in_time {
            self.sort(&mut fields[..native]);
        }
    }

    /// Puts all fields into a new table, and tells of those whose name stands before; false if one took too long.
    fn fill(&mut self, fields: &[Entry<'_>], doubles: &mut Vec<usize>) -> bool {
        self.table = vec![0; (fields.len() * 2 + 64).next_power_of_two()];
        for (at, field) in fields.iter().enumerate() {
            match self.probe(fields, field.hash, &field.name) {
                Probe::Free(place) => self.table[place] = number(at),
                Probe::Found(_) => doubles.push(at),
                Probe::TooLong => return false,
            }
        }
        true
    }

    fn sort(&mut self, fields: &mut [Entry<'_>]) {
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        (self.table, self.sorted) = (Vec::new(), true);
    }

    fn probe(&self, fields: &[Entry<'_>], hash: u32, name: &str) -> Probe {
        let mask = self.table.len() - 1;
        let mut place = hash as usize & mask;
        for _ in 0..PROBES_MAX {
            let Some(at) = usize::from(self.table[place]).checked_sub(1) else { return Probe::Free(place) };
            if fields[at].hash == hash && fields[at].name == name {
                return Probe::Found(at);
            }
            place = (place + 1) & mask;
        }
        Probe::TooLong
    }
}

/// A field's number in the table. There are fewer fields than that: those read and those of pairs are bounded.
fn number(at: usize) -> u16 {
    u16::try_from(at + 1).unwrap_or(u16::MAX)
}
