//! The rate of false positives as a Beta posterior.
//!
//! Only additions, multiplications, divisions and square roots, which every machine computes alike: logarithms and
//! powers differ in their last bit from one system to the next, and a replay must not.

use vertice_model::Posterior;

use crate::limits;

/// What is believed before any verdict: as if so many of its like had been false, and so many true.
pub type Prior = (u32, u32);

/// How far the 5th and the 95th percentile of the normal distribution lie from its middle, in standard deviations.
const Z: f64 = 1.645;

/// The posterior after these verdicts.
pub(super) fn posterior(prior: Prior, false_positives: u64, confirmed: u64, of_entity: bool) -> Posterior {
    let (a, b) = (u64::from(prior.0) + false_positives, u64::from(prior.1) + confirmed);
    let mean = a as f64 / (a + b) as f64;
    let (lower, upper) = if a + b <= limits::POSTERIOR_EXACT_MAX {
        (quantile(a, b, 0.05), quantile(a, b, 0.95))
    } else {
        let away = Z * (mean * (1.0 - mean) / (a + b + 1) as f64).sqrt();
        ((mean - away).max(0.0), (mean + away).min(1.0))
    };
    Posterior {
        mean: rounded(mean),
        lower: rounded(lower),
        upper: rounded(upper),
        false_positives,
        confirmed,
        of_entity,
    }
}

fn rounded(ratio: f64) -> f64 {
    (ratio * 1_000.0).round() / 1_000.0
}

/// Where the distribution Beta(a, b) of whole numbers reaches `p`, by halving an interval.
fn quantile(a: u64, b: u64, p: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    // 2^-16 is well below the thousandth that is shown.
    for _ in 0..16 {
        let middle = (low + high) / 2.0;
        if below(a, b, middle) < p { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// How much of Beta(a, b) lies below `x`: the chance of `a` heads or more in `a + b - 1` throws that each come up with
/// chance `x` (the regularized incomplete beta function of whole numbers, DLMF 8.17.5).
fn below(a: u64, b: u64, x: f64) -> f64 {
    if x > 0.5 {
        // Or the first factor would become too small to be told from nothing.
        return 1.0 - below(b, a, 1.0 - x);
    }
    let n = a + b - 1;
    let mut term = (0..n).fold(1.0, |product, _| product * (1.0 - x));
    let mut fewer = 0.0;
    for k in 0..a {
        fewer += term;
        term *= (n - k) as f64 / (k + 1) as f64 * (x / (1.0 - x));
    }
    1.0 - fewer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_beta_distribution() {
        // Of Beta(a, 1) the cumulative distribution is x^a, and of Beta(1, b) it is 1 - (1 - x)^b.
        for n in [1_u64, 2, 5, 28, 100, 255] {
            let lower = 0.05_f64.powf(1.0 / n as f64);
            assert!((quantile(n, 1, 0.05) - lower).abs() < 1e-4, "{n}");
            assert!((quantile(1, n, 0.95) - (1.0 - lower)).abs() < 1e-4, "{n}");
        }
        // Beta(2, 2) is 3x² - 2x³: a half at a half, and 0.05 at 0.13535.
        assert!((quantile(2, 2, 0.5) - 0.5).abs() < 1e-4 && (quantile(2, 2, 0.05) - 0.135_35).abs() < 1e-4);
    }

    #[test]
    fn verdicts_move_it_and_many_are_computed_as_few_are() {
        let none = posterior((1, 3), 0, 0, false);
        assert_eq!((none.mean, none.false_positives, none.confirmed), (0.25, 0, 0));
        let (all, some) = (posterior((1, 1), 30, 0, true), posterior((1, 1), 30, 3, true));
        assert!(all.lower > limits::SUPPRESS_LOWER_MIN && some.lower < limits::SUPPRESS_LOWER_MIN, "{all:?} {some:?}");
        let (exact, normal) = (posterior((1, 1), 200, 54, false), posterior((1, 1), 201, 54, false));
        assert!((exact.lower - normal.lower).abs() < 0.005 && (exact.upper - normal.upper).abs() < 0.005);
        assert!(posterior((1, 1), u64::from(u32::MAX), 0, false).lower > 0.99);
    }
}
