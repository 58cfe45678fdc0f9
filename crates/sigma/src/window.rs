//! One window of a group, of which something is measured: as matches come into it and leave it, in constant or
//! logarithmic time.

use std::collections::BTreeMap;

use crate::correlation::{Correlation, Counts};
use crate::group::{Counted, Kept};
use crate::ranks::Ranks;

/// What is measured of the matches in a window.
#[derive(Clone, Debug)]
pub(crate) enum Window {
    Events(u32),
    /// How many matches have each value.
    Values(BTreeMap<Box<str>, u32>),
    /// How many matches each rule has.
    Rules(Vec<u32>),
    /// The sum, in billionths.
    Sum(i128),
    /// The sum, in billionths, and of how many matches.
    Average(i128, u32),
    Ranks(Ranks),
}

impl Window {
    pub(crate) fn new(correlation: &Correlation) -> Window {
        match &correlation.counts {
            Counts::Events => Window::Events(0),
            Counts::Values(_) => Window::Values(BTreeMap::new()),
            Counts::Rules(_) | Counts::RuleCount | Counts::RulesInOrder => {
                Window::Rules(vec![0; correlation.rules.len()])
            }
            Counts::Sum(_) => Window::Sum(0),
            Counts::Average(_) => Window::Average(0, 0),
            Counts::Percentile(..) => Window::Ranks(Ranks::default()),
        }
    }

    pub(crate) fn add(&mut self, kept: &Kept, correlation: &Correlation) {
        match (self, &kept.counted) {
            (Window::Events(events), _) => *events += 1,
            (Window::Values(values), Counted::Text(text)) => *values.entry(text.clone()).or_default() += 1,
            (Window::Rules(rules), Counted::Rule(rule)) => rules[usize::from(*rule)] += 1,
            (Window::Sum(sum), Counted::Amount(amount)) => *sum += amount.billionths(),
            (Window::Average(sum, events), Counted::Amount(amount)) => {
                *sum += amount.billionths();
                *events += 1;
            }
            (Window::Ranks(ranks), Counted::Amount(amount)) => ranks.add(*amount, correlation.percent()),
            // A state of another shape than the correlation's is forgotten before it is asked.
            (Window::Values(_) | Window::Rules(_) | Window::Sum(_) | Window::Average(..) | Window::Ranks(_), _) => {}
        }
    }

    pub(crate) fn remove(&mut self, kept: &Kept, correlation: &Correlation) {
        match (self, &kept.counted) {
            (Window::Events(events), _) => *events -= 1,
            (Window::Values(values), Counted::Text(text)) => {
                let many = values.get_mut(text).map_or(0, |many| {
                    *many -= 1;
                    *many
                });
                if many == 0 {
                    values.remove(text);
                }
            }
            (Window::Rules(rules), Counted::Rule(rule)) => rules[usize::from(*rule)] -= 1,
            (Window::Sum(sum), Counted::Amount(amount)) => *sum -= amount.billionths(),
            (Window::Average(sum, events), Counted::Amount(amount)) => {
                *sum -= amount.billionths();
                *events -= 1;
            }
            (Window::Ranks(ranks), Counted::Amount(amount)) => ranks.remove(*amount, correlation.percent()),
            (Window::Values(_) | Window::Rules(_) | Window::Sum(_) | Window::Average(..) | Window::Ranks(_), _) => {}
        }
    }

    /// Whether the window as it is now is what the correlation asks for.
    pub(crate) fn holds(&self, correlation: &Correlation) -> bool {
        match self {
            Window::Events(events) => correlation.holds(i128::from(*events), 1),
            Window::Values(values) => correlation.holds(values.len() as i128, 1),
            Window::Rules(rules) => match correlation.rules_wanted() {
                Some(wanted) => wanted.holds(&mut |rule| rules[rule] > 0),
                None => correlation.holds(rules.iter().filter(|many| **many > 0).count() as i128, 1),
            },
            Window::Sum(sum) => correlation.holds(*sum, 1),
            // The average times the events, so that nothing is divided.
            Window::Average(sum, events) => *events > 0 && correlation.holds(*sum, i128::from(*events)),
            Window::Ranks(ranks) => {
                ranks.percentile(correlation.percent()).is_some_and(|hundredfold| correlation.holds(hundredfold, 100))
            }
        }
    }
}
