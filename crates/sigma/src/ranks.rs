//! One percentile of amounts that come and go: the amounts up to it and those above it, each in order.
//!
//! The percentile stands between the last of the one and the first of the other, so it is read at once, and an amount
//! comes or goes in logarithmic time. Between two amounts it is interpolated linearly, as spreadsheets do
//! (`PERCENTILE.INC`); the 50th is the median.

use std::collections::BTreeMap;

use crate::amount::Amount;

/// Amounts, split at a percentile.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranks {
    low: Half,
    high: Half,
}

/// Amounts in order, and how often each is there.
#[derive(Clone, Debug, Default)]
struct Half {
    amounts: BTreeMap<Amount, u32>,
    len: u64,
}

impl Half {
    fn add(&mut self, amount: Amount) {
        *self.amounts.entry(amount).or_default() += 1;
        self.len += 1;
    }

    /// Whether the amount was there.
    fn remove(&mut self, amount: Amount) -> bool {
        let Some(many) = self.amounts.get_mut(&amount) else { return false };
        *many -= 1;
        if *many == 0 {
            self.amounts.remove(&amount);
        }
        self.len -= 1;
        true
    }

    fn first(&self) -> Option<Amount> {
        self.amounts.first_key_value().map(|(amount, _)| *amount)
    }

    fn last(&self) -> Option<Amount> {
        self.amounts.last_key_value().map(|(amount, _)| *amount)
    }
}

impl Ranks {
    pub(crate) fn add(&mut self, amount: Amount, percent: u32) {
        if self.low.last().is_some_and(|last| amount > last) {
            self.high.add(amount);
        } else {
            self.low.add(amount);
        }
        self.split(percent);
    }

    pub(crate) fn remove(&mut self, amount: Amount, percent: u32) {
        if !self.low.remove(amount) {
            self.high.remove(amount);
        }
        self.split(percent);
    }

    /// Moves what must be moved, which is one amount at most, so that the percentile is at or after the last of the
    /// lower and before the first of the higher.
    fn split(&mut self, percent: u32) {
        let len = self.low.len + self.high.len;
        let wanted = if len == 0 { 0 } else { u64::from(percent) * (len - 1) / 100 + 1 };
        while self.low.len < wanted
            && let Some(first) = self.high.first()
        {
            self.high.remove(first);
            self.low.add(first);
        }
        while self.low.len > wanted
            && let Some(last) = self.low.last()
        {
            self.low.remove(last);
            self.high.add(last);
        }
    }

    /// A hundred times the percentile, in billionths; `None` of nothing.
    pub(crate) fn percentile(&self, percent: u32) -> Option<i128> {
        let below = self.low.last()?.billionths();
        let above = self.high.first().map_or(below, Amount::billionths);
        let part = u64::from(percent) * (self.low.len + self.high.len - 1) % 100;
        Some(100 * below + i128::from(part) * (above - below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amount::UNIT;

    #[test]
    fn percentiles_are_those_of_the_sorted_amounts() {
        let mut random = 7_u64;
        for percent in [0, 1, 25, 50, 75, 90, 95, 99, 100] {
            let (mut ranks, mut sorted) = (Ranks::default(), Vec::new());
            assert_eq!(ranks.percentile(percent), None);
            for _ in 0..400 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let number = |shift: u32, below: usize| (random >> shift) as usize % below;
                if number(34, 5) < 2 && !sorted.is_empty() {
                    ranks.remove(sorted.remove(number(40, sorted.len())), percent);
                } else {
                    let amount = Amount::parse(&format!("{}.5", number(45, 30))).expect("a number");
                    ranks.add(amount, percent);
                    sorted.push(amount);
                }
                sorted.sort_unstable();
                let expected = sorted.len().checked_sub(1).map(|last| {
                    let (at, part) = (percent as usize * last / 100, percent as usize * last % 100);
                    let (below, above) = (sorted[at].billionths(), sorted[last.min(at + 1)].billionths());
                    100 * below + part as i128 * (above - below)
                });
                assert_eq!(ranks.percentile(percent), expected, "{percent} of {sorted:?}");
            }
        }
        let mut ranks = Ranks::default();
        ["1", "2", "3", "100"].iter().for_each(|text| ranks.add(Amount::parse(text).expect("a number"), 50));
        assert_eq!(ranks.percentile(50), Some(250 * UNIT));
    }
}
