//! Instants, in UTC, to the microsecond.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant in UTC: microseconds since 1970-01-01T00:00:00Z.
///
/// Written as RFC 3339 at every border, as a string in JSON. There is no `now`: time is an argument.
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd, utoipa::ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-01-02T03:04:05.678901Z")]
pub struct Timestamp(i64);

/// A text that is no RFC 3339 instant.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?} is no RFC 3339 time such as 2026-01-02T03:04:05Z")]
pub struct TimestampError {
    text: String,
}

impl Timestamp {
    /// From microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_micros(us: i64) -> Timestamp {
        Timestamp(us)
    }

    /// From seconds since 1970-01-01T00:00:00Z; stops at the ends of the range.
    #[must_use]
    pub const fn from_seconds(s: i64) -> Timestamp {
        Timestamp(s.saturating_mul(1_000_000))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// This instant and `seconds` more; stops at the ends of the range.
    #[must_use]
    pub const fn plus_seconds(self, seconds: u64) -> Timestamp {
        let us = if seconds > (i64::MAX / 1_000_000) as u64 { i64::MAX } else { seconds as i64 * 1_000_000 };
        Timestamp(self.0.saturating_add(us))
    }

    /// Whole microseconds from `earlier` to this; 0 when `earlier` is later.
    #[must_use]
    pub const fn micros_since(self, earlier: Timestamp) -> u64 {
        let us = self.0.saturating_sub(earlier.0);
        if us < 0 { 0 } else { us as u64 }
    }

    /// The civil year, for telling a believable event from a broken clock.
    #[must_use]
    pub fn year(self) -> Option<i16> {
        Some(self.to_jiff()?.to_zoned(jiff::tz::TimeZone::UTC).year())
    }

    fn to_jiff(self) -> Option<jiff::Timestamp> {
        jiff::Timestamp::from_microsecond(self.0).ok()
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Timestamp, TimestampError> {
        match text.parse::<jiff::Timestamp>() {
            Ok(at) => Ok(Timestamp(at.as_microsecond())),
            Err(_) => Err(TimestampError { text: text.chars().take(64).collect() }),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_jiff() {
            Some(at) => write!(f, "{at}"),
            // Only reachable by arithmetic at the ends of the range, which saturates there.
            None if self.0 < 0 => f.write_str("-9999-01-01T00:00:00Z"),
            None => f.write_str("9999-12-31T23:59:59Z"),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_rfc_3339() {
        for (text, written) in [
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
            ("2026-01-02T03:04:05.678901+02:00", "2026-01-02T01:04:05.678901Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.5Z"),
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), written);
        }
        for text in ["", "yesterday", "2026-13-01T00:00:00Z", "2026-01-02"] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn arithmetic_stops_at_the_ends() {
        let end = Timestamp::from_micros(i64::MAX);
        assert_eq!(end.plus_seconds(u64::MAX), end);
        assert_eq!(end.to_string(), "9999-12-31T23:59:59Z");
        assert_eq!(Timestamp::from_seconds(i64::MIN).to_string(), "-9999-01-01T00:00:00Z");
        assert_eq!(Timestamp::from_seconds(1).micros_since(Timestamp::from_seconds(5)), 0);
        assert_eq!(Timestamp::from_seconds(5).micros_since(Timestamp::from_seconds(1)), 4_000_000);
        assert_eq!(Timestamp::from_seconds(0).year(), Some(1970));
        assert_eq!(end.year(), None);
    }

    #[test]
    fn is_a_string_in_json() {
        let at: Timestamp = serde_json::from_str("\"2026-01-02T03:04:05Z\"").unwrap();
        assert_eq!(serde_json::to_string(&at).unwrap(), "\"2026-01-02T03:04:05Z\"");
        assert!(serde_json::from_str::<Timestamp>("\"soon\"").is_err());
        assert_eq!(format!("{at:?}"), "2026-01-02T03:04:05Z");
    }
}
