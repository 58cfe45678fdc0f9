//! Amounts: what `value_sum`, `value_avg`, `value_median` and `value_percentile` reckon with.
//!
//! Floating point would make a sum depend on the order of its events. So a number is rounded once, to nine decimal
//! places, and is exact from there on: sums are of integers, and no division is made (an average is compared by
//! multiplying the other side).

use serde::{Deserialize, Serialize};

use crate::atom::Number;

/// A decimal number of nine places, from -9.2 to 9.2 times ten to the 18.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct Amount {
    /// Rounded down.
    units: i64,
    /// What is above that, below a milliard.
    billionths: u32,
}

/// Billionths of a unit.
pub(crate) const UNIT: i128 = 1_000_000_000;

impl Amount {
    /// A number as an event writes it; `None` if it is none, or beyond what can be held.
    pub(crate) fn parse(text: &str) -> Option<Amount> {
        Amount::new(Number::parse(text)?)
    }

    /// A number, rounded to nine places.
    pub(crate) fn new(number: Number) -> Option<Amount> {
        match number {
            Number::Whole(units) => Some(Amount { units, billionths: 0 }),
            Number::Other(x) => {
                let all = (x * UNIT as f64).round();
                if !all.is_finite() || all.abs() > 9.2e27 {
                    return None;
                }
                let all = all as i128;
                let units = i64::try_from(all.div_euclid(UNIT)).ok()?;
                Some(Amount { units, billionths: u32::try_from(all.rem_euclid(UNIT)).ok()? })
            }
        }
    }

    /// In billionths of a unit.
    pub(crate) fn billionths(self) -> i128 {
        i128::from(self.units) * UNIT + i128::from(self.billionths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_held_to_nine_places_and_in_order() {
        for (text, billionths) in [
            ("0", Some(0)),
            ("0.1", Some(100_000_000)),
            ("-0.1", Some(-100_000_000)),
            ("-1.5", Some(-1_500_000_000)),
            ("1e3", Some(1_000 * UNIT)),
            ("0.0000000004", Some(0)),
            ("9223372036854775807", Some(i128::from(i64::MAX) * UNIT)),
            ("1e19", None),
            ("1e400", None),
            ("many", None),
            ("nan", None),
            ("", None),
        ] {
            assert_eq!(Amount::parse(text).map(Amount::billionths), billionths, "{text}");
        }
        let order = ["-2", "-1.5", "-0.5", "0", "0.25", "1"].map(|text| Amount::parse(text).expect("a number"));
        assert!(order.is_sorted() && order.iter().map(|amount| amount.billionths()).is_sorted());
    }
}
