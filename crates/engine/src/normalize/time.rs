//! Times as sensors write them.

use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::Offset;
use serde::Deserialize;
use vertice_model::Timestamp;

use super::value::Held;

/// How a time is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum Format {
    /// `2026-01-02T03:04:05.678Z` and its relatives: a space for the `T`, a comma for the dot, `+0000`, or no
    /// zone at all, which means UTC.
    Iso,
    /// Units since 1970, as a number or text; the number of them in a second.
    Epoch(i64),
    /// 100 ns since 1601.
    FileTime,
    /// A pattern as `strptime` has it; without a year the latest that is not in the future is meant.
    Pattern {
        /// The pattern.
        pattern: String,
        /// Whether it has a year.
        year: bool,
    },
}

impl TryFrom<String> for Format {
    type Error = String;

    fn try_from(text: String) -> Result<Format, String> {
        match text.as_str() {
            "iso" => Ok(Format::Iso),
            "epoch_s" => Ok(Format::Epoch(1)),
            "epoch_ms" => Ok(Format::Epoch(1_000)),
            "epoch_us" => Ok(Format::Epoch(1_000_000)),
            "filetime" => Ok(Format::FileTime),
            _ if text.contains('%') => {
                let year = text.contains("%Y");
                Ok(Format::Pattern { pattern: text, year })
            }
            _ => Err(format!(
                "time format {text:?} is none of iso, epoch_s, epoch_ms, epoch_us, filetime or a strptime pattern"
            )),
        }
    }
}

impl Format {
    /// Reads a time; `received` is for a missing year.
    pub(super) fn read(&self, value: &Held<'_>, received: Timestamp) -> Option<Timestamp> {
        match self {
            Format::Iso => iso(&value.as_text()?),
            Format::Epoch(per_second) => epoch(value, *per_second),
            Format::FileTime => {
                let ticks: i64 = value.to_text().parse().ok()?;
                Some(Timestamp::from_micros(ticks / 10 - 11_644_473_600_000_000))
            }
            Format::Pattern { pattern, year } => by_pattern(pattern, *year, &value.as_text()?, received),
        }
    }
}

fn epoch(value: &Held<'_>, per_second: i64) -> Option<Timestamp> {
    let us_per_unit = 1_000_000 / per_second;
    let text = value.to_text();
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let whole: i64 = whole.parse().ok()?;
    let us = whole.checked_mul(us_per_unit)?;
    let mut unit = us_per_unit;
    let mut part = 0;
    for digit in fraction.bytes() {
        unit /= 10;
        part += i64::from(digit.is_ascii_digit().then_some(digit - b'0')?) * unit;
    }
    Some(Timestamp::from_micros(if text.starts_with('-') { us - part } else { us + part }))
}

/// Reads `YYYY-MM-DD`, `T` or a space, `hh:mm:ss`, an optional fraction, an optional zone.
pub(super) fn iso(text: &str) -> Option<Timestamp> {
    let (at, rest) = iso_prefix(text)?;
    rest.is_empty().then_some(at)
}

/// Reads an ISO time at the start of a text, and returns what follows.
pub(super) fn iso_prefix(text: &str) -> Option<(Timestamp, &str)> {
    let b = text.as_bytes();
    let digits = |from: usize, to: usize| -> Option<i16> {
        b.get(from..to)?.iter().try_fold(0i16, |n, d| d.is_ascii_digit().then(|| n * 10 + i16::from(d - b'0')))
    };
    let small = |from: usize| digits(from, from + 2).and_then(|n| i8::try_from(n).ok());
    let is = |i: usize, set: &[u8]| b.get(i).is_some_and(|c| set.contains(c));
    if !(is(4, b"-/") && is(7, b"-/") && is(10, b"T t") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let second = small(17)?.min(59);
    let mut end = 19;
    let mut ns = 0i32;
    if is(end, b".,") {
        end += 1;
        let mut unit = 100_000_000;
        while let Some(d) = b.get(end).filter(|d| d.is_ascii_digit()) {
            ns += i32::from(d - b'0') * unit;
            unit /= 10;
            end += 1;
        }
    }
    let at = DateTime::new(digits(0, 4)?, small(5)?, small(8)?, small(11)?, small(14)?, second, ns).ok()?;
    let (offset, rest) = zone(&text[end..])?;
    let at = offset.to_timestamp(at).ok()?;
    Some((Timestamp::from_micros(at.as_microsecond()), rest))
}

/// A zone at the start of a text: `Z`, `+02:00`, `+0200`, `+02`, ` UTC`, ` +0200`, or none, which is UTC.
fn zone(text: &str) -> Option<(Offset, &str)> {
    let spaced = text.strip_prefix(' ').unwrap_or(text);
    for name in ["Z", "z", "UTC", "GMT"] {
        if let Some(rest) = spaced.strip_prefix(name) {
            return Some((Offset::UTC, rest));
        }
    }
    let sign = match spaced.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Some((Offset::UTC, text)),
    };
    let b = &spaced.as_bytes()[1..];
    let two = |i: usize| -> Option<i32> {
        let pair = b.get(i..i + 2).filter(|p| p.iter().all(u8::is_ascii_digit))?;
        Some(i32::from(pair[0] - b'0') * 10 + i32::from(pair[1] - b'0'))
    };
    let hours = two(0)?;
    let (minutes, end) = match (b.get(2), two(2)) {
        (Some(b':'), _) => (two(3)?, 5),
        (_, Some(minutes)) => (minutes, 4),
        (_, None) => (0, 2),
    };
    Some((Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()?, &spaced[1 + end..]))
}

fn by_pattern(pattern: &str, year: bool, text: &str, received: Timestamp) -> Option<Timestamp> {
    let mut parts = BrokenDownTime::parse(pattern, text.trim()).ok()?;
    if year {
        return instant(&parts);
    }
    // A leap day may have to go back eight years (1896 to 1904).
    let latest = received.plus_seconds(86_400);
    let this_year = latest.year()?;
    for back in 0..=8 {
        parts.set_year(Some(this_year - back)).ok()?;
        if let Some(at) = instant(&parts).filter(|at| *at <= latest) {
            return Some(at);
        }
    }
    None
}

fn instant(parts: &BrokenDownTime) -> Option<Timestamp> {
    let at = parts.offset().unwrap_or(Offset::UTC).to_timestamp(parts.to_datetime().ok()?).ok()?;
    Some(Timestamp::from_micros(at.as_microsecond()))
}

/// Reads the `Mmm dd hh:mm:ss` of RFC 3164 at the start of a text, also with a year behind the day or a
/// fraction behind the second, and returns what follows.
pub(super) fn bsd_prefix(text: &str, received: Timestamp) -> Option<(Timestamp, &str)> {
    let month = text.get(0..3)?;
    let index = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        .iter()
        .position(|m| *m == month)?;
    let rest = text[3..].strip_prefix(' ')?.trim_start();
    let (day, rest) = rest.split_once(' ')?;
    let rest = rest.trim_start();
    let (year, rest) = match rest.split_once(' ') {
        Some((y, more)) if y.len() == 4 && y.bytes().all(|b| b.is_ascii_digit()) => (y.parse::<i16>().ok(), more),
        _ => (None, rest),
    };
    let clock = rest.get(0..8).filter(|c| c.as_bytes()[2] == b':' && c.as_bytes()[5] == b':')?;
    let number = |part: &str| part.parse::<i8>().ok().filter(|_| part.bytes().all(|b| b.is_ascii_digit()));
    let (hour, minute, second) = (number(&clock[0..2])?, number(&clock[3..5])?, number(&clock[6..8])?);
    let day = number(day)?;
    let latest = received.plus_seconds(86_400);
    let at = |year: i16| -> Option<Timestamp> {
        let civil = DateTime::new(year, index as i8 + 1, day, hour, minute, second.min(59), 0).ok()?;
        let at = Offset::UTC.to_timestamp(civil).ok()?;
        Some(Timestamp::from_micros(at.as_microsecond()))
    };
    let at = match year {
        Some(year) => at(year)?,
        None => {
            let this_year = latest.year()?;
            (0..=8).find_map(|back| at(this_year - back).filter(|at| *at <= latest))?
        }
    };
    Some((at, &rest[8..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn check(format: &str, cases: &[(&str, &str)]) {
        let parsed = Format::try_from(format.to_owned()).unwrap();
        for (text, expected) in cases {
            let at = parsed.read(&Held::from(*text), received()).map(|at| at.to_string());
            assert_eq!(at.unwrap_or_default(), *expected, "{format}: {text}");
        }
    }

    #[test]
    fn iso_and_its_relatives() {
        check(
            "iso",
            &[
                ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
                ("2022-07-12T06:22:33.415742+0000", "2022-07-12T06:22:33.415742Z"),
                ("2020-07-21 23:27:39", "2020-07-21T23:27:39Z"),
                ("2021-09-28 09:22:18.536 UTC", "2021-09-28T09:22:18.536Z"),
                ("2023-04-06T09:05:54,991Z", "2023-04-06T09:05:54.991Z"),
                ("2021/09/30 09:23:53", "2021-09-30T09:23:53Z"),
                ("2026-01-02T03:04:05.1234567+02:00", "2026-01-02T01:04:05.123456Z"),
                ("2026-01-02T03:04:60-0130", "2026-01-02T04:34:59Z"),
                ("2026-01-02T03:04:05 +02", "2026-01-02T01:04:05Z"),
                ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
                ("9999-12-31T23:59:59Z", ""),
                ("2026-02-30T00:00:00Z", ""),
                ("2026-01-02T03:04:05 soon", ""),
                ("2026-01-02T03:04:05+2", ""),
                ("2026-01-02T03:04:05+99:00", ""),
                ("2026-01-02T03:04", ""),
                ("2026-01-0xT03:04:05Z", ""),
                ("", ""),
            ],
        );
    }

    #[test]
    fn seconds_since_1970_in_any_unit() {
        check(
            "epoch_s",
            &[
                ("1684329817.579", "2023-05-17T13:23:37.579Z"),
                ("1684329817", "2023-05-17T13:23:37Z"),
                ("1.x", ""),
                ("x", ""),
                ("-1.5", "1969-12-31T23:59:58.5Z"),
                ("99999999999999", ""),
            ],
        );
        check("epoch_ms", &[("1684329817579", "2023-05-17T13:23:37.579Z")]);
        check("epoch_us", &[("1684329817579123", "2023-05-17T13:23:37.579123Z")]);
        check("filetime", &[("133288034175790000", "2023-05-17T13:23:37.579Z"), ("x", "")]);
        let float = Format::Epoch(1).read(&Held::Float(1_591_367_999.430_166), received());
        assert_eq!(float.unwrap().to_string(), "2020-06-05T14:39:59.430166Z");
    }

    #[test]
    fn patterns_with_and_without_a_year() {
        check("%d/%b/%Y:%H:%M:%S %z", &[("10/Oct/2023:11:06:56 +0200", "2023-10-10T09:06:56Z"), ("10/Oct", "")]);
        check("%a %b %d %H:%M:%S %Y", &[("Mon Jun  8 12:08:53 2020", "2020-06-08T12:08:53Z")]);
        check(
            "%b %d %H:%M:%S",
            &[
                ("Mar  2 11:00:00", "2026-03-02T11:00:00Z"),
                ("Mar  2 13:00:00", "2025-03-02T13:00:00Z"),
                ("Feb 29 00:00:00", "2024-02-29T00:00:00Z"),
                ("Feb 30 00:00:00", ""),
            ],
        );
        assert!(Format::try_from("tuesday".to_owned()).is_err());
        assert!(Format::Iso.read(&Held::Int(1), received()).is_none());
    }

    #[test]
    fn the_time_of_rfc_3164() {
        let read = |text| bsd_prefix(text, received()).map(|(at, rest)| format!("{at}|{rest}")).unwrap_or_default();
        assert_eq!(read("Mar  1 12:00:01 h p: m"), "2026-03-01T12:00:01Z| h p: m");
        assert_eq!(read("Dec 31 23:59:59.123 x"), "2025-12-31T23:59:59Z|.123 x");
        assert_eq!(read("Jan 15 2020 08:00:00 x"), "2020-01-15T08:00:00Z| x");
        for bad in ["", "Foo 1 00:00:00", "Jan", "Jan 1", "Jan 1 1:2:3", "Jan 1 aa:bb:cc", "Jan 41 00:00:00 x", "Feb é"]
        {
            assert_eq!(read(bad), "", "{bad}");
        }
    }
}
