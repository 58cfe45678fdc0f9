//! A memory of values that were seen before, and of what is true of them.
//!
//! Telemetry repeats itself: nearly all of the values that rules read came before. What is true of a value
//! depends on its text alone, so it need not be asked twice. The memory is a table of small sets: a value has one
//! set, where it takes the place of the one that was longest unused. So it has a fixed size, and values chosen
//! to fall into one set are only forgotten soon; nothing ever grows longer.

use std::hash::BuildHasher;

use crate::limits::{MEMO_SETS, MEMO_VALUE_BYTES_MAX, MEMO_WAYS};

/// Which column a value was of, and whether its text was escaped.
pub(crate) type Kind = u32;

/// The memory.
#[derive(Debug)]
pub(crate) struct Memo {
    /// A part of the hash of each value, to see what is not there by one look.
    tags: Vec<[u32; MEMO_WAYS]>,
    slots: Vec<Slot>,
    /// A part of the hash of values that came once. Only what comes twice is kept: most of what is new stays alone.
    once: Vec<u32>,
    /// Goes up with each value; what was used last has the highest.
    clock: u32,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    kind: Kind,
    used: u32,
    text: Box<str>,
    found: Box<[u32]>,
}

/// Where a value that is not there would stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    tag: u32,
    set: usize,
    once: usize,
}

impl Memo {
    pub(crate) fn new() -> Memo {
        let count = MEMO_SETS * MEMO_WAYS;
        Memo {
            tags: vec![[0; MEMO_WAYS]; MEMO_SETS],
            slots: vec![Slot::default(); count],
            once: vec![0; count],
            clock: 0,
        }
    }

    /// What is known of a value, or where to put it.
    pub(crate) fn find(&mut self, kind: Kind, text: &str) -> Result<&[u32], Place> {
        let hash = hash(kind, text);
        let set = hash as usize % MEMO_SETS;
        // Zero is an empty slot.
        let tag = (hash >> 32) as u32 | 1;
        self.clock = self.clock.wrapping_add(1);
        let here = |way: &usize| {
            let slot = &self.slots[set * MEMO_WAYS + way];
            self.tags[set][*way] == tag && slot.kind == kind && *slot.text == *text
        };
        match (0..MEMO_WAYS).find(here) {
            Some(way) => {
                let slot = &mut self.slots[set * MEMO_WAYS + way];
                slot.used = self.clock;
                Ok(&slot.found)
            }
            None => Err(Place { tag, set, once: (hash >> 8) as usize % self.once.len() }),
        }
    }

    /// Notes what is true of a value if it came before, unless it is too long to be kept.
    pub(crate) fn keep(&mut self, place: Place, kind: Kind, text: &str, found: &[u32]) {
        if std::mem::replace(&mut self.once[place.once], place.tag) != place.tag || text.len() > MEMO_VALUE_BYTES_MAX {
            return;
        }
        let (from, now) = (place.set * MEMO_WAYS, self.clock);
        let unused = |way: &usize| now.wrapping_sub(self.slots[from + way].used);
        if let Some(way) = (0..MEMO_WAYS).max_by_key(unused) {
            self.tags[place.set][way] = place.tag;
            self.slots[from + way] = Slot { kind, used: now, text: text.into(), found: found.into() };
        }
    }
}

/// It need not withstand an attacker: see above.
fn hash(kind: Kind, text: &str) -> u64 {
    foldhash::fast::FixedState::with_seed(u64::from(kind)).hash_one(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As often as it takes to be kept.
    fn keep(memo: &mut Memo, kind: Kind, text: &str, found: &[u32]) {
        for _ in 0..2 {
            let place = memo.find(kind, text).unwrap_err();
            memo.keep(place, kind, text, found);
        }
    }

    #[test]
    fn what_came_twice_is_found_by_its_column_and_text() {
        let mut memo = Memo::new();
        for (kind, text, found) in [(1, "cmd.exe", &[7, 9][..]), (2, "cmd.exe", &[]), (1, "", &[3])] {
            keep(&mut memo, kind, text, found);
            assert_eq!(memo.find(kind, text).unwrap(), found);
        }
        assert_eq!(memo.find(1, "cmd.exe").unwrap(), [7, 9]);
        let long = "x".repeat(MEMO_VALUE_BYTES_MAX + 1);
        keep(&mut memo, 1, &long, &[1]);
        assert!(memo.find(1, &long).is_err());
    }

    #[test]
    fn of_a_full_set_the_longest_unused_goes() {
        let mut memo = Memo::new();
        let rivals: Vec<String> = (0_u32..)
            .map(|i| i.to_string())
            .filter(|text| hash(0, text) as usize % MEMO_SETS == 5)
            .take(MEMO_WAYS + 1)
            .collect();
        let (last, first) = rivals.split_last().unwrap();
        first.iter().for_each(|text| keep(&mut memo, 0, text, &[]));
        assert!(memo.find(0, &first[0]).is_ok());
        keep(&mut memo, 0, last, &[]);
        assert!(memo.find(0, &first[0]).is_ok() && memo.find(0, last).is_ok() && memo.find(0, &first[1]).is_err());
    }
}
