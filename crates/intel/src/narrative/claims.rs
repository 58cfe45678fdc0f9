//! Finding what a sentence claims.

use std::net::IpAddr;

use vertice_model::{Technique, Timestamp};

use super::{ClaimKind, Exhibit};

/// Numbers that may be written as words.
const SMALL: [&str; 13] =
    ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];

/// Words that mean a number which can not be looked up; it must be written in digits.
const LARGE: [&str; 28] = [
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
    "thirty",
    "forty",
    "fifty",
    "sixty",
    "seventy",
    "eighty",
    "ninety",
    "hundred",
    "hundreds",
    "thousand",
    "thousands",
    "million",
    "millions",
    "billion",
    "billions",
    "dozen",
    "dozens",
    "twice",
    "thrice",
    "once",
];

/// Words with digits that claim nothing.
const TERMS: [&str; 9] = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512", "ipv4", "ipv6", "base64"];

/// Words that make a time of a number beside them; such a time is not compared, so it must be written as RFC 3339.
const TIME_WORDS: [&str; 37] = [
    "am",
    "pm",
    "a.m",
    "p.m",
    "o'clock",
    "second",
    "seconds",
    "minute",
    "minutes",
    "hour",
    "hours",
    "day",
    "days",
    "week",
    "weeks",
    "month",
    "months",
    "year",
    "years",
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "jan",
    "feb",
    "aug",
    "sept",
    "oct",
    "dec",
];

/// Zones that are not UTC; a time in one is not compared.
const ZONES: [&str; 16] =
    ["cet", "cest", "eet", "eest", "wet", "west", "est", "edt", "cst", "cdt", "mst", "mdt", "pst", "pdt", "bst", "jst"];

/// Whether a character hides what a text says: one that is not seen, a number of another script, or a look-alike of
/// ASCII.
pub fn hides(c: char) -> bool {
    // Fullwidth forms, mathematical letters and digits, Greek and Cyrillic read as ASCII and are not.
    let alike = matches!(c, '\u{370}'..='\u{52f}' | '\u{1d400}'..='\u{1d7ff}' | '\u{ff01}'..='\u{ff5e}');
    let dot = matches!(c, '\u{3002}' | '\u{2024}');
    is_invisible(c) || alike || dot || (c.is_numeric() && !c.is_ascii())
}

/// Whether a character is a control, is not seen, or turns the direction of what is.
pub fn is_invisible(c: char) -> bool {
    let invisible = matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
    c.is_control() || invisible
}

/// The text with every quoted name of the evidence taken out.
pub fn without_names(text: &str, cited: &[&Exhibit]) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(open) = rest.find('"') {
        let after = &rest[open + 1..];
        let Some(close) = after.find('"') else { break };
        out.push_str(&rest[..open]);
        if cited.iter().any(|e| e.names.contains(&after[..close])) {
            // A mark of its own, so that what stands on both sides does not become one word.
            out.push_str(" _ ");
            rest = &after[close + 1..];
        } else {
            out.push(' ');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// Whether a text (without names) is none or more than one sentence.
pub fn is_not_one_sentence(text: &str) -> bool {
    let chars: Vec<char> = text.trim().chars().collect();
    let ends = |at: usize| {
        matches!(chars[at], '.' | '!' | '?' | '…')
            && chars[at + 1..].iter().find(|c| !matches!(c, '"' | '\'' | ')')).is_some_and(|c| c.is_whitespace())
    };
    let words = chars.iter().any(|c| c.is_alphanumeric());
    !words || (0..chars.len()).any(ends)
}

/// The claims of a text (without names) that are not in the evidence.
pub fn refused(text: &str, cited: &[&Exhibit]) -> Vec<(ClaimKind, String)> {
    let text = refanged(text);
    let words: Vec<&str> = text.split_ascii_whitespace().map(trimmed).filter(|w| !w.is_empty()).collect();
    let (mut refused, mut at) = (Vec::new(), 0);
    while at < words.len() {
        let (taken, found) = Claim::read(&words[at..], cited);
        refused.extend(found);
        at += taken;
    }
    refused
}

/// Defanged addresses as they were.
fn refanged(text: &str) -> String {
    let mut out = text.to_lowercase();
    for (from, to) in [
        (" [.] ", "."),
        (" [dot] ", "."),
        (" (dot) ", "."),
        ("[.]", "."),
        ("(.)", "."),
        ("{.}", "."),
        ("[dot]", "."),
        ("(dot)", "."),
        ("{dot}", "."),
        ("\\.", "."),
        ("[:]", ":"),
        ("(:)", ":"),
        ("[::]", "::"),
        ("hxxp", "http"),
        ("[://]", "://"),
        ("[@]", "@"),
        ("[at]", "@"),
    ] {
        out = out.replace(from, to);
    }
    out
}

fn trimmed(word: &str) -> &str {
    let word = word.trim_matches(|c| "\"'`,;!?()<>{}*…“”‘’".contains(c)).trim_end_matches(['.', ',', ';']);
    let word = word.strip_suffix(':').filter(|w| !w.ends_with(':')).unwrap_or(word);
    word.trim_matches(|c| "\"'`()<>{}*".contains(c))
}

/// Reads claims at the start of the words.
struct Claim;

impl Claim {
    /// How many words were read, and what of them is refused.
    fn read(words: &[&str], cited: &[&Exhibit]) -> (usize, Vec<(ClaimKind, String)>) {
        let word = words[0];
        let clocks = words.iter().take_while(|w| is_date(w) || is_clock(w)).take(2).count();
        if let Some(zone) = words.get(clocks).filter(|w| clocks > 0 && ZONES.contains(w)) {
            return (clocks + 1, vec![(ClaimKind::Time, format!("{} {zone}", words[..clocks].join(" ")))]);
        }
        if is_date(word) && words.get(1).is_some_and(|w| is_clock(w)) {
            let both = format!("{word}t{}", words[1].trim_end_matches('z'));
            let found = cited.iter().any(|e| e.times.iter().any(|t| lower(t).starts_with(&both)));
            return (2, if found { vec![] } else { vec![(ClaimKind::Time, format!("{word} {}", words[1]))] });
        }
        if let Some(next) = words.get(1).filter(|next| is_time_together(word, next)) {
            return (1, vec![(ClaimKind::Time, format!("{word} {next}"))]);
        }
        // 1 234 567: thousands with spaces are one number.
        let group = |w: &&&str| w.len() == 3 && w.bytes().all(|b| b.is_ascii_digit());
        if (1..=3).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_digit()) {
            let more = words[1..].iter().take_while(group).count();
            if more > 0 {
                let joined = words[..=more].concat();
                return (more + 1, refuse_unless(has_count(&joined, cited), ClaimKind::Count, &joined));
            }
        }
        (1, one(word, cited, 0))
    }
}

/// One word; what is put together (`10.0.0.1:443`, `a/b`, `two-day`) is taken apart.
fn one(word: &str, cited: &[&Exhibit], depth: u8) -> Vec<(ClaimKind, String)> {
    let any = |f: &dyn Fn(&Exhibit) -> bool| cited.iter().any(|e| f(e));
    if let Some(address) = address(word) {
        return refuse_unless(any(&|e| e.addresses.contains(&address)), ClaimKind::Address, word);
    }
    if is_hash(word) {
        return refuse_unless(any(&|e| e.hashes.contains(word)), ClaimKind::Hash, word);
    }
    if let Ok(technique) = word.parse::<Technique>() {
        return refuse_unless(any(&|e| e.techniques.contains(&technique)), ClaimKind::Technique, word);
    }
    if let Ok(time) = word.parse::<Timestamp>() {
        // Without a fraction it means the whole second.
        let second = |t: Timestamp| t.as_micros().div_euclid(1_000_000);
        let same = |t: &Timestamp| if word.contains('.') { *t == time } else { second(*t) == second(time) };
        return refuse_unless(any(&|e| e.times.iter().any(same)), ClaimKind::Time, word);
    }
    let unzoned = word.split_once('t').is_some_and(|(date, clock)| is_date(date) && is_clock(clock));
    if is_date(word) || unzoned {
        return refuse_unless(any(&|e| e.times.iter().any(|t| lower(t).starts_with(word))), ClaimKind::Time, word);
    }
    if is_clock(word) {
        let clock = word.trim_end_matches('z');
        let same = |t: &Timestamp| lower(t).get(11..).is_some_and(|rest| rest.starts_with(clock));
        return refuse_unless(any(&|e| e.times.iter().any(same)), ClaimKind::Time, word);
    }
    if let Some(digits) = number(word) {
        return refuse_unless(has_count(&digits, cited), ClaimKind::Count, word);
    }
    if LARGE.contains(&word) {
        return vec![(ClaimKind::Count, word.to_owned())];
    }
    if let Some(at) = SMALL.iter().position(|s| *s == word) {
        return refuse_unless(has_count(&at.to_string(), cited), ClaimKind::Count, word);
    }
    apart(word, cited, depth)
}

/// A word that is no claim as a whole: its parts may be.
fn apart(word: &str, cited: &[&Exhibit], depth: u8) -> Vec<(ClaimKind, String)> {
    let bytes = word.as_bytes();
    if bytes.windows(3).any(|w| w[0].is_ascii_digit() && w[1] == b',' && w[2].is_ascii_digit()) {
        // Grouped as no number is: a list without spaces, or a decimal comma.
        return vec![(ClaimKind::Other, word.to_owned())];
    }
    if depth < 3 {
        if let Some((address_part, port)) = word.rsplit_once(':').filter(|(a, _)| address(a).is_some()) {
            return [one(address_part, cited, 3), one(port, cited, 3)].concat();
        }
        let between = [
            '/', '-', '–', '—', '=', '@', '[', ']', '(', ')', '{', '}', '<', '>', ',', ';', '"', '\'', '|', '_', '%',
            '#', '+', '~', '&', '*', '\\', '…', '“', '”', '’', '‘', '×', '?', '!', '$', '`', '^',
        ];
        let parts: Vec<&str> = word.split(between).map(trimmed).filter(|p| !p.is_empty()).collect();
        if let Some(pair) = parts.windows(2).find(|p| is_time_together(p[0], p[1])) {
            return vec![(ClaimKind::Time, pair.join(" "))];
        }
        if parts.len() > 1 || parts.first().is_some_and(|p| *p != word) {
            return parts.into_iter().flat_map(|p| one(p, cited, depth + 1)).collect();
        }
    }
    let starts_with_digit = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
    let kind = match word.split_once(':') {
        _ if TERMS.contains(&word) => return vec![],
        _ if is_domain(word) => ClaimKind::Address,
        // Several colons are an address of some kind, if not of ours.
        Some((_, rest)) if rest.contains(':') => ClaimKind::Address,
        Some((a, b)) if starts_with_digit(a) && starts_with_digit(b) => ClaimKind::Time,
        Some((a, b)) => return [a, b].into_iter().filter(|p| !p.is_empty()).flat_map(|p| one(p, cited, 3)).collect(),
        None if word.bytes().any(|b| b.is_ascii_digit()) => ClaimKind::Other,
        None => return vec![],
    };
    vec![(kind, word.to_owned())]
}

fn refuse_unless(found: bool, kind: ClaimKind, word: &str) -> Vec<(ClaimKind, String)> {
    if found { vec![] } else { vec![(kind, word.to_owned())] }
}

fn has_count(digits: &str, cited: &[&Exhibit]) -> bool {
    digits.parse::<u64>().is_ok_and(|n| cited.iter().any(|e| e.counts.contains(&n)))
}

/// Whether two words are a time together: `3 pm`, `three days`, `january 3`.
fn is_time_together(a: &str, b: &str) -> bool {
    let numeric = |w: &str| w.starts_with(|c: char| c.is_ascii_digit()) || SMALL.contains(&w) || LARGE.contains(&w);
    let timely = |w: &str| TIME_WORDS.contains(&w);
    // "May" is a verb, too; before a number it is a month.
    (numeric(a) && timely(b) && b != "may") || (timely(a) && TIME_WORDS[19..].contains(&a) && numeric(b))
}

/// An address, in brackets or not, without its zone.
fn address(word: &str) -> Option<IpAddr> {
    let word = word.strip_prefix('[').and_then(|w| w.strip_suffix(']')).unwrap_or(word);
    let word = word.split_once('%').map_or(word, |(address, _)| address);
    word.parse::<IpAddr>().ok().map(|a| a.to_canonical())
}

/// Hexadecimal of the length of a known digest.
pub(super) fn is_hash(word: &str) -> bool {
    matches!(word.len(), 32 | 40 | 56 | 64 | 96 | 128) && word.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_date(word: &str) -> bool {
    shaped(word, "0000-00-00")
}

fn is_clock(word: &str) -> bool {
    let word = word.strip_suffix('z').unwrap_or(word);
    let (whole, fraction) = word.split_once('.').unwrap_or((word, ""));
    (shaped(whole, "00:00") && fraction.is_empty() || shaped(whole, "00:00:00"))
        && fraction.bytes().all(|b| b.is_ascii_digit())
}

fn shaped(word: &str, shape: &str) -> bool {
    let same = |(w, s): (u8, u8)| if s == b'0' { w.is_ascii_digit() } else { w == s };
    word.len() == shape.len() && word.bytes().zip(shape.bytes()).all(same)
}

/// The digits of a number with thousands separators or an ending such as `th` or `x`.
fn number(word: &str) -> Option<String> {
    let word = ["st", "nd", "rd", "th", "x"].iter().find_map(|e| word.strip_suffix(e)).unwrap_or(word);
    let separators = [',', '.', '\'', '’', '_', '\u{a0}', '\u{2009}'];
    let groups: Vec<&str> = word.split(separators).collect();
    let digits = |g: &&str| !g.is_empty() && g.bytes().all(|b| b.is_ascii_digit());
    let grouped = groups.len() == 1 || (groups[0].len() <= 3 && groups[1..].iter().all(|g| g.len() == 3));
    // A leading zero is of a date, a code, an octal number, and no count.
    let counted = groups == ["0"] || !groups[0].starts_with('0');
    (groups.iter().all(digits) && grouped && counted).then(|| groups.concat())
}

/// Labels with dots between, the last of two letters or more.
fn is_domain(word: &str) -> bool {
    let labels: Vec<&str> = word.split('.').collect();
    let label = |l: &&str| !l.is_empty() && l.chars().all(|c| c.is_alphanumeric() || c == '-');
    labels.len() > 1 && labels.iter().all(label) && labels[labels.len() - 1].chars().count() > 1
}

fn lower(time: &Timestamp) -> String {
    time.to_string().to_lowercase()
}
