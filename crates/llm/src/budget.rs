//! How much may be spent in an hour and in a day, in tokens and in money.
//!
//! What a question may cost at most is taken from the budget before it is asked, and what it did not cost is put back
//! afterwards. So questions that are asked at the same time do not overspend together, a question whose answer was
//! lost counts in full, and what is written down at any moment is never too little.
//!
//! Hours and days are those of the clock, in UTC: whoever looks at a provider's bill sees the same ones.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use vertice_model::Timestamp;

use crate::error::Skip;

const HOUR_US: i64 = 3_600 * 1_000_000;
const DAY_US: i64 = 24 * HOUR_US;

/// What may be spent. 0 is no limit.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetSettings {
    /// Tokens in an hour, in and out together.
    pub tokens_per_hour: u64,
    /// Tokens in a day.
    pub tokens_per_day: u64,
    /// Dollars in an hour.
    pub usd_per_hour: f64,
    /// Dollars in a day.
    pub usd_per_day: f64,
}

impl Default for BudgetSettings {
    /// A question of a threat has some 3,000 tokens: a hundred of them in an hour, five dollars a day.
    fn default() -> BudgetSettings {
        BudgetSettings { tokens_per_hour: 300_000, tokens_per_day: 2_000_000, usd_per_hour: 1.0, usd_per_day: 5.0 }
    }
}

/// What was spent, for the caller to keep over a restart.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spent {
    /// In this hour.
    pub hour: Window,
    /// On this day.
    pub day: Window,
}

/// What was spent in a stretch of time.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// When it began.
    pub since: Timestamp,
    /// Tokens, in and out together.
    pub tokens: u64,
    /// Millionths of a dollar.
    pub microusd: u64,
}

/// What is taken from a budget.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Cost {
    pub(crate) tokens: u64,
    pub(crate) microusd: u64,
}

/// What was taken, and when.
#[derive(Debug)]
#[must_use]
pub(crate) struct Taken {
    cost: Cost,
    hour: Timestamp,
    day: Timestamp,
}

/// A budget, shared by all models.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: BudgetSettings,
    spent: Mutex<Spent>,
}

impl Budget {
    pub(crate) fn new(limits: BudgetSettings, spent: Spent) -> Budget {
        Budget { limits, spent: Mutex::new(spent) }
    }

    /// Takes what a question may cost at most, or says which limit it would break.
    pub(crate) fn take(&self, now: Timestamp, cost: Cost) -> Result<Taken, Skip> {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.hour.turn(now, HOUR_US);
        spent.day.turn(now, DAY_US);
        let over = |limit: u64, used: u64, more: u64| limit > 0 && used.saturating_add(more) > limit;
        let checks = [
            (over(self.limits.tokens_per_hour, spent.hour.tokens, cost.tokens), Skip::TokensOfHour),
            (over(self.limits.tokens_per_day, spent.day.tokens, cost.tokens), Skip::TokensOfDay),
            (over(microusd(self.limits.usd_per_hour), spent.hour.microusd, cost.microusd), Skip::MoneyOfHour),
            (over(microusd(self.limits.usd_per_day), spent.day.microusd, cost.microusd), Skip::MoneyOfDay),
        ];
        if let Some((_, skip)) = checks.into_iter().find(|(over, _)| *over) {
            return Err(skip);
        }
        spent.hour.add(cost);
        spent.day.add(cost);
        Ok(Taken { cost, hour: spent.hour.since, day: spent.day.since })
    }

    /// Sets right what was taken, once it is known.
    pub(crate) fn settle(&self, taken: Taken, real: Cost) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        // What was taken in an hour that is over is no longer in the count, and the rest is not either.
        if spent.hour.since == taken.hour {
            spent.hour.set_right(taken.cost, real);
        }
        if spent.day.since == taken.day {
            spent.day.set_right(taken.cost, real);
        }
    }

    pub(crate) fn spent(&self) -> Spent {
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    /// Begins anew where the stretch is over. A clock that goes back does not give back what was spent.
    fn turn(&mut self, now: Timestamp, length_us: i64) {
        let begins = now.as_micros().div_euclid(length_us) * length_us;
        if begins > self.since.as_micros() {
            *self = Window { since: Timestamp::from_micros(begins), tokens: 0, microusd: 0 };
        }
    }

    fn add(&mut self, cost: Cost) {
        self.tokens = self.tokens.saturating_add(cost.tokens);
        self.microusd = self.microusd.saturating_add(cost.microusd);
    }

    fn set_right(&mut self, taken: Cost, real: Cost) {
        self.tokens = self.tokens.saturating_sub(taken.tokens).saturating_add(real.tokens);
        self.microusd = self.microusd.saturating_sub(taken.microusd).saturating_add(real.microusd);
    }
}

/// Dollars as millionths; what is no amount is 0.
pub(crate) fn microusd(usd: f64) -> u64 {
    // The conversion stops at the ends of the range, and makes 0 of what is negative or no number.
    (usd * 1e6).round() as u64
}
