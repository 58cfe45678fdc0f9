//! Durations, rates, speeds and sizes as people write them.

/// `90s`, `5m`, `1h`, `7d`: in seconds.
pub(super) fn duration_s(text: &str) -> Result<u64, String> {
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    scaled(text, &units).ok_or_else(|| "a duration such as 90s, 5m, 1h or 7d".to_owned())
}

/// `5/minute`: how many, in how many seconds.
pub(super) fn rate(text: &str) -> Result<(u64, u64), String> {
    let read = || {
        let (n, unit) = text.split_once('/')?;
        let seconds = [("second", 1), ("minute", 60), ("hour", 3_600), ("day", 86_400)];
        let (_, unit_s) = seconds.into_iter().find(|(name, _)| *name == unit)?;
        Some((positive(n)?, unit_s))
    };
    read().ok_or_else(|| "a rate such as 5/minute: a number, a slash, and second, minute, hour or day".to_owned())
}

/// `256kbit`: in bits per second.
pub(super) fn bandwidth_bit_s(text: &str) -> Result<u64, String> {
    let units = [("kbit", 1_000), ("mbit", 1_000_000), ("gbit", 1_000_000_000)];
    scaled(text, &units).ok_or_else(|| "a speed such as 256kbit, 10mbit or 1gbit".to_owned())
}

/// `100MB`: in bytes.
pub(super) fn size_bytes(text: &str) -> Result<u64, String> {
    let units = [("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000)];
    scaled(text, &units).ok_or_else(|| "a size such as 500kB, 100MB or 1GB".to_owned())
}

/// A number without sign, point or leading zero, and a unit right behind it.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (_, scale) = units.iter().find(|(unit, _)| *unit == &text[digits..])?;
    positive(&text[..digits])?.checked_mul(*scale)
}

fn positive(digits: &str) -> Option<u64> {
    let plain = digits.len() <= 12 && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    if plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write_and_nothing_else() {
        assert_eq!(["90s", "5m", "1h", "24h", "7d"].map(|t| duration_s(t).unwrap()), [90, 300, 3_600, 86_400, 604_800]);
        assert_eq!(rate("5/minute"), Ok((5, 60)));
        assert_eq!(rate("1/second"), Ok((1, 1)));
        assert_eq!(bandwidth_bit_s("256kbit"), Ok(256_000));
        assert_eq!(size_bytes("100MB"), Ok(100_000_000));
        for bad in
            ["", "5", "h", "0h", "-1h", "1.5h", "1 h", "1H", "05m", "1w", "9999999999999s", "999999999999d", "١h"]
        {
            // The largest that has a unit still is a number; its bound is checked where its meaning is known.
            assert!(duration_s(bad).is_err() || bad == "999999999999d", "{bad}");
        }
        for bad in ["5", "5/", "/minute", "0/minute", "5/minutes", "5 / minute", "+5/minute", "5/fortnight"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
        assert!(bandwidth_bit_s("1mb").is_err() && size_bytes("1mb").is_err() && size_bytes("MB").is_err());
    }
}
