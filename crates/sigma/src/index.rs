//! All windows of a group of a correlation whose condition grows: which is the first that holds, from a time on.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::condition::Condition;
use crate::correlation::{Correlation, Counts};
use crate::ends::Ends;
use crate::group::{Counted, Kept};

/// The windows, by what they must hold.
#[derive(Clone, Debug)]
pub(crate) enum Index {
    Events(Ends<i32>),
    /// The matches by value beside it.
    Values(Ends<i32>, BTreeSet<ByValue>),
    Amounts(Ends<i128>),
    Rules(Times),
    RulesInOrder(Times),
}

/// A value, and the time and position of a match with it. A digest stands before it, so that to find a value among many
/// few texts have to be looked at.
type ByValue = (u64, Box<str>, i64, u64);

/// For each rule, the times of its matches and how many have each.
#[derive(Clone, Debug)]
pub(crate) struct Times(Vec<BTreeMap<i64, u32>>);

impl Index {
    pub(crate) fn new(correlation: &Correlation) -> Index {
        let times = || Times(vec![BTreeMap::new(); correlation.rules.len()]);
        match &correlation.counts {
            Counts::Events => Index::Events(Ends::new()),
            Counts::Values(_) => Index::Values(Ends::new(), BTreeSet::new()),
            Counts::Sum(_) | Counts::Average(_) | Counts::Percentile(..) => Index::Amounts(Ends::new()),
            Counts::Rules(_) | Counts::RuleCount => Index::Rules(times()),
            Counts::RulesInOrder => Index::RulesInOrder(times()),
        }
    }

    pub(crate) fn add(&mut self, kept: &Kept, span_us: i64) {
        let (at_us, until_us) = (kept.at_us, until(kept.at_us, span_us));
        match (self, &kept.counted) {
            (Index::Events(ends), _) => ends.add(at_us, at_us, until_us, 1),
            (Index::Values(ends, values), Counted::Text(text)) => {
                let value = (digest(text), text.clone(), at_us, kept.position);
                let (from_us, until_us) = alone(values, &value, span_us);
                ends.add(at_us, from_us, until_us, 1);
                values.insert(value);
            }
            (Index::Amounts(ends), Counted::Amount(amount)) => ends.add(at_us, at_us, until_us, amount.billionths()),
            (Index::Rules(times) | Index::RulesInOrder(times), Counted::Rule(rule)) => {
                *times.0[usize::from(*rule)].entry(at_us).or_default() += 1;
            }
            // A state of another shape than the correlation's is forgotten before it is asked.
            (Index::Values(..) | Index::Amounts(_) | Index::Rules(_) | Index::RulesInOrder(_), _) => {}
        }
    }

    pub(crate) fn remove(&mut self, kept: &Kept, span_us: i64) {
        let (at_us, until_us) = (kept.at_us, until(kept.at_us, span_us));
        match (self, &kept.counted) {
            (Index::Events(ends), _) => ends.remove(at_us, at_us, until_us, 1),
            (Index::Values(ends, values), Counted::Text(text)) => {
                let value = (digest(text), text.clone(), at_us, kept.position);
                let (from_us, until_us) = alone(values, &value, span_us);
                ends.remove(at_us, from_us, until_us, 1);
                values.remove(&value);
            }
            (Index::Amounts(ends), Counted::Amount(amount)) => {
                ends.remove(at_us, at_us, until_us, amount.billionths());
            }
            (Index::Rules(times) | Index::RulesInOrder(times), Counted::Rule(rule)) => {
                let times = &mut times.0[usize::from(*rule)];
                if let Some(many) = times.get_mut(&at_us) {
                    *many -= 1;
                    if *many == 0 {
                        times.remove(&at_us);
                    }
                }
            }
            (Index::Values(..) | Index::Amounts(_) | Index::Rules(_) | Index::RulesInOrder(_), _) => {}
        }
    }

    /// The end of the first window that holds, from a time on.
    pub(crate) fn next(&self, from_us: i64, correlation: &Correlation) -> Option<i64> {
        let count = || i32::try_from(correlation.enough()).unwrap_or(i32::MAX);
        match self {
            Index::Events(ends) | Index::Values(ends, _) => ends.first(from_us, count()),
            Index::Amounts(ends) => ends.first(from_us, correlation.enough()),
            Index::Rules(times) => times.all(from_us, correlation.timespan_us, correlation.rules_wanted()?),
            Index::RulesInOrder(times) => times.in_order(from_us, correlation.timespan_us),
        }
    }
}

/// A digest of a text (FNV-1a).
pub(crate) fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

/// Before when the windows end that a match of this time lies in.
fn until(at_us: i64, span_us: i64) -> i64 {
    at_us.saturating_add(span_us).saturating_add(1)
}

/// From and until when the windows end that count a match: those that it lies in, less those that count its value
/// without it, because the match of the same value before it or after it lies in them too.
fn alone(values: &BTreeSet<ByValue>, value: &ByValue, span_us: i64) -> (i64, i64) {
    let same = |other: &&ByValue| (other.0, &other.1) == (value.0, &value.1);
    let before = values.range((Bound::Unbounded, Bound::Excluded(value))).next_back().filter(same);
    let after = values.range((Bound::Excluded(value), Bound::Unbounded)).next().filter(same);
    let from_us = before.map_or(value.2, |before| value.2.max(until(before.2, span_us)));
    let until_us = after.map_or(until(value.2, span_us), |after| until(value.2, span_us).min(after.2));
    (from_us, until_us)
}

impl Times {
    /// The first window in which the rules that are wanted have matches. More rules can only help, so after a window
    /// that fails the next to look at is the one that ends with the next match of a rule that it lacks. A rule that
    /// has come stays for a timespan, so there are few such within the time that a group remembers.
    fn all(&self, from_us: i64, span_us: i64, wanted: &Condition) -> Option<i64> {
        let mut end_us = self.first(|_| true, from_us)?;
        loop {
            let has =
                |rule: usize| self.last(rule, end_us).is_some_and(|at_us| at_us >= end_us.saturating_sub(span_us));
            if wanted.holds(&mut |rule| has(rule)) {
                return Some(end_us);
            }
            end_us = self.first(|rule| !has(rule), end_us.checked_add(1)?)?;
        }
    }

    /// The first window in which the rules have matches in their order. For each end the tightest chain is the one that
    /// begins last, which is found backward from the end; where it is too long, the next end to look at is that of the
    /// earliest chain that begins after it.
    fn in_order(&self, from_us: i64, span_us: i64) -> Option<i64> {
        let mut end_us = self.first(|_| true, from_us)?;
        loop {
            let early_us = end_us.saturating_sub(span_us);
            let begin_us = self.0.iter().enumerate().rev().try_fold(end_us, |at_us, (rule, _)| self.last(rule, at_us));
            match begin_us {
                Some(begin_us) if begin_us >= early_us => return Some(end_us),
                Some(_) | None => {}
            }
            let after_us = early_us.max(begin_us.unwrap_or(i64::MIN)).checked_add(1)?;
            end_us = (0..self.0.len()).try_fold(after_us, |at_us, rule| self.first(|other| other == rule, at_us))?;
        }
    }

    /// The time of the first match from a time on of some of the rules.
    fn first(&self, of: impl Fn(usize) -> bool, from_us: i64) -> Option<i64> {
        let rules = self.0.iter().enumerate().filter(|(rule, _)| of(*rule));
        rules.filter_map(|(_, times)| times.range(from_us..).next().map(|(at_us, _)| *at_us)).min()
    }

    /// The time of the last match of a rule up to a time.
    fn last(&self, rule: usize, to_us: i64) -> Option<i64> {
        self.0[rule].range(..=to_us).next_back().map(|(at_us, _)| *at_us)
    }
}
