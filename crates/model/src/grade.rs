//! How bad, and how sure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How bad it is if true. Ordered, `Info` least. The words are Sigma's `level` and the contract's.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are Sigma's own levels")]
pub enum Severity {
    #[default]
    Info,
    Low,
    Medium,
    High,
    Critical,
}

/// A word that is no severity.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is no severity; it is one of info, low, medium, high, critical")]
pub struct UnknownSeverity(String);

impl Severity {
    /// Every severity, least first.
    pub const ALL: [Severity; 5] =
        [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

    /// The word for it, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }

    /// One step worse; `Critical` stays.
    #[must_use]
    pub const fn raised(self) -> Severity {
        match self {
            Severity::Info => Severity::Low,
            Severity::Low => Severity::Medium,
            Severity::Medium => Severity::High,
            Severity::High | Severity::Critical => Severity::Critical,
        }
    }

    /// The `threat.enriched` scale of the contract, from 1 to 10.
    #[must_use]
    pub const fn out_of_ten(self) -> u8 {
        match self {
            Severity::Info => 1,
            Severity::Low => 3,
            Severity::Medium => 5,
            Severity::High => 8,
            Severity::Critical => 10,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = UnknownSeverity;

    /// Sigma writes `informational`, the contract `info`; both are read.
    fn from_str(word: &str) -> Result<Severity, UnknownSeverity> {
        let lower = word.to_ascii_lowercase();
        let wanted = if lower == "informational" { "info" } else { &lower };
        Severity::ALL.into_iter().find(|s| s.as_str() == wanted).ok_or_else(|| UnknownSeverity(word.to_owned()))
    }
}

/// How sure we are, from 0 (noise) to 100 (proven). Written as a number from 0 to 1 at the borders.
///
/// Invariant: never above 100. There is no setter.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, utoipa::ToSchema)]
#[schema(value_type = f64, minimum = 0, maximum = 1)]
pub struct Confidence(u8);

impl Confidence {
    /// Returns `None` above 100, so a bad rule fails when it is loaded and not when it fires.
    #[must_use]
    pub const fn new(percent: u8) -> Option<Confidence> {
        if percent <= 100 { Some(Confidence(percent)) } else { None }
    }

    /// From the contract's 0 to 1, to the nearest hundredth. `None` outside of it, and for what is no number.
    #[must_use]
    pub fn from_ratio(ratio: f64) -> Option<Confidence> {
        // A cast is exact here: the product lies between 0 and 100.
        (0.0..=1.0).contains(&ratio).then(|| Confidence((ratio * 100.0).round() as u8))
    }

    /// From 0 to 100.
    #[must_use]
    pub const fn percent(self) -> u8 {
        self.0
    }

    /// Independent evidence adds up, but never to certainty: 60 and 50 make 80.
    #[must_use]
    pub fn and(self, other: Confidence) -> Confidence {
        // Rounded up, or two 95s would make a certainty.
        let doubt = (u16::from(100 - self.0) * u16::from(100 - other.0)).div_ceil(100);
        Confidence(100 - doubt as u8)
    }
}

impl Serialize for Confidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / 100.0)
    }
}

impl<'de> Deserialize<'de> for Confidence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Confidence, D::Error> {
        let ratio = f64::deserialize(deserializer)?;
        Confidence::from_ratio(ratio)
            .ok_or_else(|| serde::de::Error::custom(format!("confidence {ratio} is not within 0 and 1")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_ordered_and_read_both_vocabularies() {
        assert!(Severity::Critical > Severity::High && Severity::Low > Severity::Info);
        assert_eq!("informational".parse(), Ok(Severity::Info));
        assert_eq!("High".parse(), Ok(Severity::High));
        assert!("severe".parse::<Severity>().unwrap_err().to_string().contains("one of info"));
        assert_eq!(Severity::ALL.map(Severity::out_of_ten), [1, 3, 5, 8, 10]);
        assert_eq!(Severity::ALL.map(|s| s.raised().to_string()), ["low", "medium", "high", "critical", "critical"]);
    }

    #[test]
    fn confidence_never_reaches_certainty_by_adding() {
        let c = |p| Confidence::new(p).unwrap();
        assert_eq!(c(60).and(c(50)), c(80));
        assert_eq!(c(95).and(c(95)), c(99));
        assert_eq!(c(99).and(c(99)).and(c(99)), c(99));
        assert_eq!(Confidence::new(101), None);
        assert_eq!(Confidence::from_ratio(1.5), None);
        assert_eq!(Confidence::from_ratio(f64::NAN), None);
        assert_eq!(c(80).percent(), 80);
    }

    #[test]
    fn every_confidence_survives_json() {
        for percent in 0..=100 {
            let c = Confidence::new(percent).unwrap();
            let json = serde_json::to_string(&c).unwrap();
            assert_eq!(serde_json::from_str::<Confidence>(&json).unwrap(), c);
        }
        assert!(serde_json::from_str::<Confidence>("7").is_err());
    }
}
