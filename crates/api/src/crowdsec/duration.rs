//! Durations as Go writes them (`time.Duration.String`), which is what bouncers read.

use std::fmt::Write as _;

/// Microseconds as `3h59m58.5s`. The seconds always have a fraction, as CrowdSec's own have in practice: some bouncers
/// read them by a pattern that demands one.
pub(super) fn written(us: i64) -> String {
    let (seconds, fraction) = (us.unsigned_abs() / 1_000_000, us.unsigned_abs() % 1_000_000);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let mut out = String::from(if us < 0 { "-" } else { "" });
    // Writing to a string does not fail.
    let _ = match (hours, minutes) {
        (0, 0) => Ok(()),
        (0, _) => write!(out, "{minutes}m"),
        (_, _) => write!(out, "{hours}h{minutes}m"),
    };
    let digits = format!("{fraction:06}");
    let digits = digits.trim_end_matches('0');
    let _ = write!(out, "{seconds}.{}s", if digits.is_empty() { "0" } else { digits });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (us, text) in [
            (0, "0.0s"),
            (1, "0.000001s"),
            (1_500_000, "1.5s"),
            (60_000_000, "1m0.0s"),
            (3_600_000_000, "1h0m0.0s"),
            (14_398_500_000, "3h59m58.5s"),
            (-7_349_550, "-7.34955s"),
            (-3_723_000_001, "-1h2m3.000001s"),
            (2_592_000_000_000, "720h0m0.0s"),
        ] {
            assert_eq!(written(us), text);
        }
        assert!(written(i64::MIN).starts_with("-2562047788h0m54.775808"), "{}", written(i64::MIN));
    }
}
