//! A share with its count and how sure it is: a rate without these says little.

use serde_json::{Value, json};

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Share {
    /// How many had it.
    pub n: u64,
    /// Of how many.
    pub of: u64,
}

impl Share {
    /// One more, which has it or not.
    pub fn add(&mut self, has: bool) {
        self.n += u64::from(has);
        self.of += 1;
    }

    /// For a table: `0.900 (9/10, 0.596-0.982)`.
    pub fn text(self) -> String {
        if self.of == 0 {
            return "– (0/0)".to_owned();
        }
        let (low, high) = wilson(self.n, self.of);
        format!("{:.3} ({}/{}, {low:.3}-{high:.3})", self.n as f64 / self.of as f64, self.n, self.of)
    }

    /// For programs; what has no count has no share.
    pub fn json(self) -> Value {
        if self.of == 0 {
            return json!({"n": 0, "of": 0, "share": null, "low": null, "high": null});
        }
        let (low, high) = wilson(self.n, self.of);
        json!({"n": self.n, "of": self.of, "share": self.n as f64 / self.of as f64, "low": low, "high": high})
    }
}

/// The ends of Wilson's 95 % interval of a share (Wilson 1927): where the true one may lie. All of it where there are
/// no cases.
pub fn wilson(n: u64, of: u64) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    let (cases, z) = (of as f64, 1.959_964);
    let p = n as f64 / cases;
    let middle = p + z * z / (2.0 * cases);
    let spread = z * (p * (1.0 - p) / cases + z * z / (4.0 * cases * cases)).sqrt();
    let end = |at: f64| (at / (1.0 + z * z / cases)).clamp(0.0, 1.0);
    (end(middle - spread), end(middle + spread))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_cases_say_little() {
        let near = |(low, high): (f64, f64), wanted: (f64, f64)| {
            assert!((low - wanted.0).abs() < 0.001 && (high - wanted.1).abs() < 0.001, "{low} {high}");
        };
        near(wilson(10, 10), (0.722, 1.0));
        near(wilson(0, 10), (0.0, 0.278));
        near(wilson(1, 2), (0.095, 0.905));
        near(wilson(0, 0), (0.0, 1.0));
        let mut share = Share::default();
        assert_eq!((share.text().as_str(), share.json()["share"].is_null()), ("– (0/0)", true));
        share.add(true);
        share.add(false);
        assert_eq!(share.text(), "0.500 (1/2, 0.095-0.905)");
    }
}
