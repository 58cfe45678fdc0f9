//! Parts of a time, for `minute`, `hour`, `day`, `week`, `month` and `year`.
//!
//! Logs write times as RFC 3339, as `2025-11-27 07:40:10.132` (taken as UTC), or as a number since 1970, whose
//! magnitude tells seconds, milliseconds, microseconds and nanoseconds apart. All parts are of UTC.

/// A part of a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TimePart {
    Minute,
    Hour,
    Day,
    /// The ISO 8601 week.
    Week,
    Month,
    Year,
}

/// The part of a written time; `None` if it is no time that we know.
pub(crate) fn part_of(text: &str, part: TimePart) -> Option<i64> {
    let seconds = seconds_of(text)?;
    let days = seconds.div_euclid(86_400);
    let (year, month, day) = civil(days);
    Some(match part {
        TimePart::Minute => seconds.rem_euclid(3_600) / 60,
        TimePart::Hour => seconds.rem_euclid(86_400) / 3_600,
        TimePart::Day => day,
        TimePart::Week => week(days),
        TimePart::Month => month,
        TimePart::Year => year,
    })
}

/// Seconds since 1970 of a written time.
fn seconds_of(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(n) = text.parse::<i64>() {
        return Some(match n.unsigned_abs() {
            0..100_000_000_000 => n,
            100_000_000_000..100_000_000_000_000 => n.div_euclid(1_000),
            100_000_000_000_000..100_000_000_000_000_000 => n.div_euclid(1_000_000),
            _ => n.div_euclid(1_000_000_000),
        });
    }
    let mut rest = text;
    let year = number(&mut rest, 4)?;
    let month = number_after(&mut rest, &['-', '/'], 2)?;
    let day = number_after(&mut rest, &['-', '/'], 2)?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let mut seconds = days(year, month, day) * 86_400;
    if rest.is_empty() {
        return Some(seconds);
    }
    let hour = number_after(&mut rest, &['T', 't', ' '], 2)?;
    let minute = number_after(&mut rest, &[':'], 2)?;
    let second = if rest.starts_with(':') { number_after(&mut rest, &[':'], 2)? } else { 0 };
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    seconds += hour * 3_600 + minute * 60 + second;
    if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    Some(seconds - offset(rest.trim_start())?)
}

/// Seconds east of UTC of what follows a time; nothing is UTC.
fn offset(mut rest: &str) -> Option<i64> {
    let sign = match rest.chars().next() {
        None => return Some(0),
        Some('+') => 1,
        Some('-') => -1,
        Some(_) => return matches!(rest, "Z" | "z" | "UTC" | "GMT").then_some(0),
    };
    let hours = number_after(&mut rest, &['+', '-'], 2)?;
    rest = rest.strip_prefix(':').unwrap_or(rest);
    let minutes = if rest.is_empty() { 0 } else { number(&mut rest, 2)? };
    rest.is_empty().then_some(sign * (hours * 3_600 + minutes * 60))
}

fn number_after(rest: &mut &str, separators: &[char], digits: usize) -> Option<i64> {
    *rest = rest.strip_prefix(separators)?;
    number(rest, digits)
}

fn number(rest: &mut &str, digits: usize) -> Option<i64> {
    let (head, tail) = rest.split_at_checked(digits)?;
    if !head.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    *rest = tail;
    head.parse().ok()
}

/// Days since 1970 of a date of the Gregorian calendar, counted in years that begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date of a day since 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// The ISO week: that of its Thursday, counted from the first Thursday of the year.
fn week(of_day: i64) -> i64 {
    let weekday = (of_day + 3).rem_euclid(7);
    let thursday = of_day - weekday + 3;
    let (year, ..) = civil(thursday);
    (thursday - days(year, 1, 1)) / 7 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Option<[i64; 6]> {
        let of = |part| part_of(text, part);
        Some([
            of(TimePart::Year)?,
            of(TimePart::Month)?,
            of(TimePart::Day)?,
            of(TimePart::Week)?,
            of(TimePart::Hour)?,
            of(TimePart::Minute)?,
        ])
    }

    #[test]
    fn times_are_read_in_the_forms_that_logs_use() {
        for (text, parts) in [
            ("2025-11-27 07:40:10.132", [2025, 11, 27, 48, 7, 40]),
            ("2025-11-27T07:40:10.165324Z", [2025, 11, 27, 48, 7, 40]),
            ("2024-02-29T23:59:60+00:00", [2024, 3, 1, 9, 0, 0]),
            ("2026-01-01T00:30:00+01:00", [2025, 12, 31, 1, 23, 30]),
            ("2026-01-01T00:30-0230", [2026, 1, 1, 1, 3, 0]),
            ("2027/01/03", [2027, 1, 3, 53, 0, 0]),
            ("1700000000", [2023, 11, 14, 46, 22, 13]),
            ("1700000000123", [2023, 11, 14, 46, 22, 13]),
            ("1700000000123456", [2023, 11, 14, 46, 22, 13]),
            ("1700000000123456789", [2023, 11, 14, 46, 22, 13]),
            ("-1", [1969, 12, 31, 1, 23, 59]),
            ("0000-01-01T00:00:00 UTC", [0, 1, 1, 52, 0, 0]),
        ] {
            assert_eq!(all(text), Some(parts), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_has_no_parts() {
        for text in [
            "",
            "soon",
            "2025-13-01",
            "2025-00-01",
            "2025-01-32",
            "2025-01-01T",
            "2025-01-01T24:00:00",
            "2025-01-01 10",
            "2025-01-01T10:60",
            "2025-01-01T10:00:61",
            "2025-01-01T10:00:00 CET",
            "2025-01-01T10:00:00+1",
            "2025-01-01T10:00+01:00x",
            "2025-01-é1",
            "é",
        ] {
            assert_eq!(all(text), None, "{text}");
        }
    }
}
