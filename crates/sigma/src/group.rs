//! The matches of one group of a correlation, and which of its windows fire.
//!
//! A window ends with a match, and is closed on both sides and as long as the timespan. How a group is asked depends on
//! whether more matches can only make its condition true ([`Correlation::grows`]) or may make it false again.
//!
//! **Growing** (`gte` and `gt` of counts and sums, rules that must all have matched). What is asked for is the greatest
//! number of windows that hold and whose ends lie at least a timespan apart: as many detections as that is, so that one
//! incident fires once. Taking the earliest window that holds, then the earliest that ends a timespan after it, and so
//! on finds the greatest number; this is the chain. A late match may change the chain from its own time on, but it can
//! only make it longer, so whatever the order of the matches, the same number fires, each as soon as it is owed.
//!
//! **Other** (`lt`, `lte`, `eq`, `neq`, `not`, averages, percentiles). The window that ends with the newest match is
//! asked with each match, and stays quiet for a timespan after it fired. A match that is older than that window is not
//! counted. Matches that may come out of order pass through [`crate::Waiting`] first.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::correlation::Correlation;
use crate::index::Index;
use crate::limits;
use crate::window::Window;

/// A match of one of the rules that a correlation is over.
#[derive(Clone, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(from = "(i64, u64, Counted)", into = "(i64, u64, Counted)")]
pub(crate) struct Kept {
    pub(crate) at_us: i64,
    pub(crate) position: u64,
    pub(crate) counted: Counted,
}

/// What is counted of a match.
#[derive(Clone, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) enum Counted {
    /// That it is there.
    #[default]
    #[serde(rename = "e")]
    Event,
    /// A value, such that another value is another text.
    #[serde(rename = "t")]
    Text(Box<str>),
    /// Which of the correlation's rules matched.
    #[serde(rename = "r")]
    Rule(u16),
    #[serde(rename = "a")]
    Amount(Amount),
}

impl From<(i64, u64, Counted)> for Kept {
    fn from((at_us, position, counted): (i64, u64, Counted)) -> Kept {
        Kept { at_us, position, counted }
    }
}

impl From<Kept> for (i64, u64, Counted) {
    fn from(kept: Kept) -> (i64, u64, Counted) {
        (kept.at_us, kept.position, kept.counted)
    }
}

/// A window that fired: its end, and the positions within it.
pub(crate) type Firing = (i64, Vec<u64>);

/// What a correlation remembers of one group.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Group {
    /// When it was last touched, in touches of all groups.
    pub(crate) touched: u64,
    events: BTreeSet<Kept>,
    /// The ends of the windows that count as fired, in order; those of the last timespans.
    chain: VecDeque<i64>,
    /// How many of the chain were reported.
    fired: usize,
    #[serde(skip)]
    reckoned: Reckoned,
}

/// What is reckoned of the matches. All of it follows from them, so it is neither kept nor compared.
#[derive(Clone, Debug, Default)]
enum Reckoned {
    /// Nothing yet: the matches were just read again.
    #[default]
    Not,
    Growing(Index),
    Other(Window),
}

impl Eq for Reckoned {}

impl PartialEq for Reckoned {
    fn eq(&self, _: &Reckoned) -> bool {
        true
    }
}

impl Reckoned {
    fn add(&mut self, kept: &Kept, correlation: &Correlation) {
        match self {
            Reckoned::Not => {}
            Reckoned::Growing(index) => index.add(kept, correlation.timespan_us),
            Reckoned::Other(window) => window.add(kept, correlation),
        }
    }

    fn remove(&mut self, kept: &Kept, correlation: &Correlation) {
        match self {
            Reckoned::Not => {}
            Reckoned::Growing(index) => index.remove(kept, correlation.timespan_us),
            Reckoned::Other(window) => window.remove(kept, correlation),
        }
    }
}

/// What became of a match.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    /// It is kept: it is neither there already nor too late.
    pub(crate) kept: bool,
    pub(crate) late: bool,
    pub(crate) fired: Vec<Firing>,
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

    /// Puts a match in its place and says which windows fire.
    pub(crate) fn note(&mut self, kept: Kept, correlation: &Correlation) -> Noted {
        self.reckon(correlation);
        let at_us = kept.at_us;
        let end_us = self.newest_us().map_or(at_us, |newest_us| newest_us.max(at_us));
        let begin_us = if correlation.grows() {
            at_us.saturating_sub(correlation.horizon_us())
        } else {
            end_us.saturating_sub(correlation.timespan_us)
        };
        if at_us < begin_us {
            return Noted { late: true, ..Noted::default() };
        }
        self.forget(begin_us, correlation);
        // It is there already if its event matched several of the rules.
        if self.events.contains(&kept) {
            return Noted::default();
        }
        self.reckoned.add(&kept, correlation);
        self.events.insert(kept);
        let fired = match &self.reckoned {
            Reckoned::Not => Vec::new(),
            Reckoned::Growing(_) => self.lengthened(at_us, correlation),
            Reckoned::Other(window) if window.holds(correlation) => self.quiet_after(end_us, correlation.timespan_us),
            Reckoned::Other(_) => Vec::new(),
        };
        Noted { kept: true, late: false, fired }
    }

    /// Forgets the oldest match.
    pub(crate) fn forget_oldest(&mut self, correlation: &Correlation) {
        self.reckon(correlation);
        if let Some(oldest) = self.events.pop_first() {
            self.reckoned.remove(&oldest, correlation);
        }
    }

    /// Forgets what is older than this.
    fn forget(&mut self, before_us: i64, correlation: &Correlation) {
        while self.events.first().is_some_and(|kept| kept.at_us < before_us) {
            self.forget_oldest(correlation);
        }
        let over = |end_us: &i64| end_us.saturating_add(correlation.timespan_us) <= before_us;
        while self.chain.front().is_some_and(over) || self.chain.len() > limits::CHAIN_MAX {
            self.chain.pop_front();
            self.fired = self.fired.saturating_sub(1);
        }
    }

    /// Reckons the matches, if they were read again.
    fn reckon(&mut self, correlation: &Correlation) {
        if !matches!(self.reckoned, Reckoned::Not) {
            return;
        }
        self.reckoned = if correlation.grows() {
            Reckoned::Growing(Index::new(correlation))
        } else {
            Reckoned::Other(Window::new(correlation))
        };
        for kept in &self.events {
            self.reckoned.add(kept, correlation);
        }
    }

    /// Makes the chain anew from the time of a new match, and reports the windows that it now owes.
    fn lengthened(&mut self, at_us: i64, correlation: &Correlation) -> Vec<Firing> {
        let Reckoned::Growing(index) = &self.reckoned else { return Vec::new() };
        let span_us = correlation.timespan_us;
        let unchanged = self.chain.partition_point(|end_us| *end_us < at_us);
        let before = unchanged.checked_sub(1).and_then(|last| self.chain.get(last));
        let mut from_us = before.map_or(at_us, |before| at_us.max(before.saturating_add(span_us)));
        let mut rest = self.chain.split_off(unchanged);
        let (mut changed, mut new, mut met) = (Vec::new(), Vec::new(), false);
        while let Some(end_us) = index.next(from_us, correlation)
            && changed.len() <= limits::CHAIN_MAX
        {
            let known = rest.binary_search(&end_us);
            // What comes a timespan after a window that ends later than the match does not have the match in it.
            if let Ok(same) = known
                && end_us > at_us
            {
                rest.drain(..same);
                met = true;
                break;
            }
            new.extend(known.err().map(|_| end_us));
            changed.push(end_us);
            from_us = end_us.saturating_add(span_us);
        }
        self.chain.extend(&changed);
        if met {
            self.chain.append(&mut rest);
        }
        // Only matches that were pushed out can have made it shorter.
        self.fired = self.fired.min(self.chain.len());
        let owed = self.chain.len() - self.fired;
        self.fired = self.chain.len();
        new.truncate(owed);
        new.iter().map(|end_us| (*end_us, self.positions(end_us.saturating_sub(span_us), *end_us))).collect()
    }

    /// Fires, unless it did so less than a timespan ago.
    fn quiet_after(&mut self, end_us: i64, span_us: i64) -> Vec<Firing> {
        if self.chain.back().is_some_and(|fired_us| end_us < fired_us.saturating_add(span_us)) {
            return Vec::new();
        }
        self.chain = VecDeque::from([end_us]);
        self.fired = 1;
        vec![(end_us, self.positions(end_us.saturating_sub(span_us), end_us))]
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
