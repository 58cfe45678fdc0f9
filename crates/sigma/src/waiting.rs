//! What must be seen in order waits until what comes before it has come.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::limits;

/// Things with a time, held back for [`limits::WAIT_US`] after they came and then given out by their times.
///
/// A thing that comes less than that after one with a later time takes its place before it. Things of the same time
/// are given out by their keys, so that their order does not depend on how they came. Where there are too many, the
/// earliest goes out at once and is counted.
///
/// ```
/// let mut waiting = vertice_sigma::Waiting::default();
/// waiting.push(20, "b".into(), 1_000_000, "second");
/// waiting.push(10, "a".into(), 1_500_000, "first");
/// assert_eq!(waiting.pop(2_999_999), None);
/// assert_eq!(waiting.pop(3_000_000), Some("first"));
/// assert_eq!(waiting.pop(3_000_000), Some("second"));
/// assert_eq!(waiting.pop(3_000_000), None);
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "Kept<T>", into = "Kept<T>", bound(serialize = "T: Clone + Serialize"))]
pub struct Waiting<T> {
    /// By its time, its key, and a number that tells apart what has both in common.
    held: BTreeMap<Place, (i64, T)>,
    /// By when they came.
    came: BTreeSet<(i64, Place)>,
    count: u64,
    early: u64,
}

type Place = (i64, String, u64);

impl<T> Default for Waiting<T> {
    fn default() -> Waiting<T> {
        Waiting { held: BTreeMap::new(), came: BTreeSet::new(), count: 0, early: 0 }
    }
}

impl<T> Waiting<T> {
    /// Takes a thing of this time and key, which came now.
    pub fn push(&mut self, at_us: i64, key: String, now_us: i64, thing: T) {
        self.count += 1;
        let place = (at_us, key, self.count);
        self.came.insert((now_us, place.clone()));
        self.held.insert(place, (now_us, thing));
    }

    /// The next thing, if it or one after it has waited long enough, or if too many wait.
    pub fn pop(&mut self, now_us: i64) -> Option<T> {
        let due = self.came.first().is_some_and(|(came_us, _)| came_us.saturating_add(limits::WAIT_US) <= now_us);
        if !due && self.held.len() <= limits::WAITING_MAX {
            return None;
        }
        self.early += u64::from(!due);
        self.take()
    }

    /// The next thing, however short it has waited: for when nothing more will come.
    pub fn take(&mut self) -> Option<T> {
        let (place, (came_us, thing)) = self.held.pop_first()?;
        self.came.remove(&(came_us, place));
        Some(thing)
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// How many went out early because too many waited.
    #[must_use]
    pub fn early(&self) -> u64 {
        self.early
    }
}

/// As it is kept.
#[derive(Deserialize, Serialize)]
struct Kept<T> {
    held: Vec<(Place, i64, T)>,
    count: u64,
    early: u64,
}

impl<T> From<Waiting<T>> for Kept<T> {
    fn from(waiting: Waiting<T>) -> Kept<T> {
        let held = waiting.held.into_iter().map(|(place, (came_us, thing))| (place, came_us, thing)).collect();
        Kept { held, count: waiting.count, early: waiting.early }
    }
}

impl<T> From<Kept<T>> for Waiting<T> {
    fn from(kept: Kept<T>) -> Waiting<T> {
        let came = kept.held.iter().map(|(place, came_us, _)| (*came_us, place.clone())).collect();
        let held = kept.held.into_iter().map(|(place, came_us, thing)| (place, (came_us, thing))).collect();
        Waiting { held, came, count: kept.count, early: kept.early }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_goes_out_when_too_many_wait_and_what_waits_can_be_kept() {
        let mut waiting = Waiting::default();
        for i in 0..=limits::WAITING_MAX as i64 {
            waiting.push(-i, String::new(), 0, i);
        }
        assert_eq!(
            (waiting.pop(0), waiting.early(), waiting.len()),
            (Some(limits::WAITING_MAX as i64), 1, limits::WAITING_MAX)
        );
        assert_eq!(waiting.pop(0), None);
        let kept = serde_json::to_string(&waiting).expect("it serializes");
        let mut back: Waiting<i64> = serde_json::from_str(&kept).expect("it is read again");
        assert_eq!(back, waiting);
        assert_eq!(back.pop(limits::WAIT_US), Some(limits::WAITING_MAX as i64 - 1));
        while back.take().is_some() {}
        assert!(back.is_empty() && back.came.is_empty());
    }
}
