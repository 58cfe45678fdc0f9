//! A memory of values that were seen before, and of what is true of them.
//!
//! Telemetry repeats itself: of the values that rules read, some 97 in 100 came before. What is true of a value
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
    slots: Vec<Slot>,
    /// Goes up with each value; what was used last has the highest.
    clock: u32,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    hash: u64,
    kind: Kind,
    used: u32,
    text: Box<str>,
    found: Box<[u32]>,
}

/// Where a value that is not there would stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    hash: u64,
    set: usize,
}

impl Memo {
    pub(crate) fn new() -> Memo {
        Memo { slots: vec![Slot::default(); MEMO_SETS * MEMO_WAYS], clock: 0 }
    }

    /// What is known of a value, or where to put it.
    pub(crate) fn find(&mut self, kind: Kind, text: &str) -> Result<&[u32], Place> {
        let hash = hash(kind, text);
        let set = (hash as usize % MEMO_SETS) * MEMO_WAYS;
        self.clock = self.clock.wrapping_add(1);
        let ways = &mut self.slots[set..set + MEMO_WAYS];
        match ways.iter_mut().find(|slot| slot.hash == hash && slot.kind == kind && *slot.text == *text) {
            Some(slot) => {
                slot.used = self.clock;
                Ok(&slot.found)
            }
            None => Err(Place { hash, set }),
        }
    }

    /// Notes what is true of a value, unless it is too long to be kept.
    pub(crate) fn keep(&mut self, place: Place, kind: Kind, text: &str, found: &[u32]) {
        if text.len() > MEMO_VALUE_BYTES_MAX {
            return;
        }
        let (ways, now) = (&mut self.slots[place.set..place.set + MEMO_WAYS], self.clock);
        let oldest = ways.iter_mut().max_by_key(|slot| now.wrapping_sub(slot.used));
        if let Some(slot) = oldest {
            *slot = Slot { hash: place.hash, kind, used: now, text: text.into(), found: found.into() };
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

    #[test]
    fn what_was_kept_is_found_by_its_column_and_text() {
        let mut memo = Memo::new();
        for (kind, text, found) in [(1, "cmd.exe", &[7, 9][..]), (2, "cmd.exe", &[]), (1, "", &[3])] {
            let place = memo.find(kind, text).unwrap_err();
            memo.keep(place, kind, text, found);
            assert_eq!(memo.find(kind, text).unwrap(), found);
        }
        assert_eq!(memo.find(1, "cmd.exe").unwrap(), [7, 9]);
        let long = "x".repeat(MEMO_VALUE_BYTES_MAX + 1);
        let place = memo.find(1, &long).unwrap_err();
        memo.keep(place, 1, &long, &[1]);
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
        for text in first {
            let place = memo.find(0, text).unwrap_err();
            memo.keep(place, 0, text, &[]);
        }
        assert!(memo.find(0, &first[0]).is_ok());
        let place = memo.find(0, last).unwrap_err();
        memo.keep(place, 0, last, &[]);
        assert!(memo.find(0, &first[0]).is_ok() && memo.find(0, last).is_ok() && memo.find(0, &first[1]).is_err());
    }
}
