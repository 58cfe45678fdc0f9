//! The matches of one group of a correlation, and which of its windows fire.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::correlation::Correlation;
use crate::ends::Ends;
use crate::limits;

/// A match of one of the rules that a correlation is over.
#[derive(Clone, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct Kept {
    pub(crate) at_us: i64,
    pub(crate) position: u64,
    /// What is counted; empty where events are.
    pub(crate) value: String,
}

/// A window that fired: its end, and the positions within it.
pub(crate) type Window = (i64, Vec<u64>);

/// What a correlation remembers of one group.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Group {
    /// When it was last touched, in touches of all groups.
    pub(crate) touched: u64,
    events: BTreeSet<Kept>,
    /// The ends of the windows that fired, by when they did.
    fired: VecDeque<i64>,
    #[serde(skip)]
    counts: Counts,
}

impl Group {
    /// How many matches it holds.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// The time of its newest match.
    pub(crate) fn newest_us(&self) -> Option<i64> {
        self.events.last().map(|kept| kept.at_us)
    }

    /// Forgets what is older than this.
    pub(crate) fn forget(&mut self, before_us: i64, span_us: i64) {
        while self.events.first().is_some_and(|kept| kept.at_us < before_us) {
            self.forget_oldest(span_us);
        }
        self.fired.retain(|fired| *fired >= before_us);
    }

    /// Forgets the oldest match.
    pub(crate) fn forget_oldest(&mut self, span_us: i64) {
        self.counts.rebuild(&self.events, span_us);
        if let Some(oldest) = self.events.pop_first() {
            self.counts.remove(&oldest, span_us);
        }
    }

    /// Puts a match in its place; `false` if it is there already, because an event matched several of the rules.
    pub(crate) fn insert(&mut self, kept: Kept, span_us: i64) -> bool {
        self.counts.rebuild(&self.events, span_us);
        if self.events.contains(&kept) {
            return false;
        }
        self.counts.add(&kept, span_us);
        self.events.insert(kept)
    }

    /// The windows with a match of this time that fire: those that end with it, or with a later match.
    pub(crate) fn completed(&mut self, at_us: i64, correlation: &Correlation) -> Vec<Window> {
        let span = correlation.timespan_us;
        let last_us = at_us.saturating_add(span);
        let possible = |low: i64, high: i64| correlation.satisfiable(low, high);
        let mut steps = limits::WINDOW_STEPS_MAX;
        let mut windows = Vec::new();
        let mut from_us = at_us;
        while let Some(end_us) = self.counts.ends.first(from_us, last_us, &possible, &mut steps) {
            let Some(next_us) = end_us.checked_add(1) else { break };
            from_us = next_us;
            if let Some(quiet) = self.fired.iter().find(|fired| fired.abs_diff(end_us) < span.unsigned_abs()) {
                from_us = from_us.max(quiet.saturating_add(span));
                continue;
            }
            windows.push((end_us, self.positions(end_us.saturating_sub(span), end_us)));
            self.fired.push_back(end_us);
            if self.fired.len() > limits::FIRINGS_MAX {
                self.fired.pop_front();
            }
        }
        windows
    }

    /// The positions of the newest matches from one time to another, both included.
    fn positions(&self, from_us: i64, to_us: i64) -> Vec<u64> {
        let start = |at_us| Kept { at_us, ..Kept::default() };
        let after = to_us.checked_add(1).map_or(Bound::Unbounded, |after_us| Bound::Excluded(start(after_us)));
        let newest = self.events.range((Bound::Included(start(from_us)), after)).rev();
        let mut positions: Vec<u64> = newest.take(limits::FIRED_POSITIONS_MAX).map(|kept| kept.position).collect();
        positions.reverse();
        positions.dedup();
        positions
    }
}

/// What is counted in the windows of a group. All of it follows from the matches, so it is neither kept nor compared.
#[derive(Clone, Debug, Default)]
struct Counts {
    ends: Ends,
    /// The matches by value; none where events are counted.
    values: BTreeSet<ByValue>,
}

/// A value, and the time and position of a match with it.
type ByValue = (String, i64, u64);

impl Eq for Counts {}

impl PartialEq for Counts {
    fn eq(&self, _: &Counts) -> bool {
        true
    }
}

impl Counts {
    /// Counts these matches, if none are counted yet: after they were read again.
    fn rebuild(&mut self, events: &BTreeSet<Kept>, span_us: i64) {
        if self.ends.is_empty() {
            for kept in events {
                self.add(kept, span_us);
            }
        }
    }

    fn add(&mut self, kept: &Kept, span_us: i64) {
        let key = by_value(kept);
        let (from_us, until_us) = self.counted(key.as_ref(), kept.at_us, span_us);
        self.ends.add(kept.at_us, from_us, until_us);
        self.values.extend(key);
    }

    fn remove(&mut self, kept: &Kept, span_us: i64) {
        let key = by_value(kept);
        let (from_us, until_us) = self.counted(key.as_ref(), kept.at_us, span_us);
        self.ends.remove(kept.at_us, from_us, until_us);
        key.map(|key| self.values.remove(&key));
    }

    /// From and until when the windows end that a match counts in: those that it lies in, less those that count its
    /// value without it, because the match of the same value before it or after it lies in them too.
    fn counted(&self, key: Option<&ByValue>, at_us: i64, span_us: i64) -> (i64, i64) {
        let until_us = |at_us: i64| at_us.saturating_add(span_us).saturating_add(1);
        let Some(key) = key else { return (at_us, until_us(at_us)) };
        let same = |other: &&ByValue| other.0 == key.0;
        let before = self.values.range((Bound::Unbounded, Bound::Excluded(key))).next_back().filter(same);
        let after = self.values.range((Bound::Excluded(key), Bound::Unbounded)).next().filter(same);
        let from_us = before.map_or(at_us, |before| at_us.max(until_us(before.1)));
        let until_us = after.map_or(until_us(at_us), |after| until_us(at_us).min(after.1));
        (from_us, until_us)
    }
}

/// A match by its value; `None` where events are counted.
fn by_value(kept: &Kept) -> Option<ByValue> {
    (!kept.value.is_empty()).then(|| (kept.value.clone(), kept.at_us, kept.position))
}
