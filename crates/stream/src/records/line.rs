//! One line: whether it is JSON, and what text it is.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use vertice_model::limits::{JSON_DEPTH_MAX, RAW_EVENT_BYTES_MAX};
use vertice_sigma::Value;
use vertice_sigma::json::{Visit, walk};

use super::scan::Scanner;

/// Why a record was refused that is too long.
pub(crate) const TOO_LONG: &str = "longer than 524288 bytes, the longest event";

/// Why a record was refused that is nested too deep.
pub(super) const TOO_DEEP: &str = "nested deeper than 64 levels, the deepest event";

const _: () = assert!(RAW_EVENT_BYTES_MAX == 524_288 && JSON_DEPTH_MAX == 64);

/// The text of a line: JSON as it is or why it is none, any other text with U+FFFD for what is not text.
///
/// Leading NULs are left out: they are the hole that a writer leaves which goes on at its old place in a file
/// that was cut to nothing.
pub(crate) fn read_line(line: &[u8]) -> Result<String, Cow<'static, str>> {
    let hole = line.iter().take_while(|&&b| b == 0).count();
    let line = line[hole..].trim_ascii_end();
    if line.len() > RAW_EVENT_BYTES_MAX {
        return Err(TOO_LONG.into());
    }
    let inner = line.trim_ascii_start();
    if inner.first() == Some(&b'{') {
        return check_json(inner).map(str::to_owned);
    }
    let text = String::from_utf8_lossy(line);
    // Nothing behind us expects a NUL.
    Ok(if memchr::memchr(0, line).is_some() { text.replace('\0', "\u{FFFD}") } else { text.into_owned() })
}

/// The text of a line that [`check_json`] found to be JSON.
pub(super) fn checked_line(text: &str) -> Result<String, Cow<'static, str>> {
    let line = text.trim_ascii_end();
    if line.len() > RAW_EVENT_BYTES_MAX {
        return Err(TOO_LONG.into());
    }
    Ok(line.trim_ascii_start().to_owned())
}

/// Nothing is done with what is walked over.
struct Nothing;

impl<'l> Visit<'l> for Nothing {
    fn name(&mut self, _: &'l str, _: bool) {}
    fn value(&mut self, _: Value<'l>) {}
    fn open(&mut self, _: bool) {}
    fn close(&mut self, _: bool) {}
}

/// The text, if it is one JSON value, in UTF-8 and not too deep; if not, why and where.
pub(super) fn check_json(text: &[u8]) -> Result<&str, Cow<'static, str>> {
    let text =
        std::str::from_utf8(text).map_err(|e| format!("no JSON: not UTF-8 at column {}", e.valid_up_to() + 1))?;
    if walk(text, JSON_DEPTH_MAX, &mut Nothing).is_ok() {
        return Ok(text);
    }
    // It is no object, or wrong. What is wrong is said in the words of `serde_json`, which is slower.
    // Openers within strings count too, so this is only the quick half of the answer.
    if memchr::memchr2_iter(b'{', b'[', text.as_bytes()).nth(JSON_DEPTH_MAX).is_some() {
        let mut scanner = Scanner::default();
        scanner.feed(text.as_bytes());
        if scanner.too_deep() {
            return Err(TOO_DEEP.into());
        }
    }
    serde_json::from_str::<IgnoredAny>(text).map(|_| text).map_err(|e| {
        let message = e.to_string();
        let what = message.rsplit_once(" at line ").map_or(&*message, |(what, _)| what);
        if e.line() > 1 {
            format!("no JSON: {what} at line {}, column {} of the value", e.line(), e.column()).into()
        } else {
            format!("no JSON: {what} at column {}", e.column()).into()
        }
    })
}

/// Takes the white space between the tokens out of a JSON text, and leaves everything else as it is: numbers
/// keep their digits, members their order.
pub(super) fn compact(json: &mut Vec<u8>) {
    let mut within_string = false;
    let mut escaped = false;
    json.retain(|&b| {
        if within_string {
            within_string = escaped || b != b'"';
            escaped = !escaped && b == b'\\';
            return true;
        }
        within_string = b == b'"';
        !matches!(b, b' ' | b'\t' | b'\r' | b'\n')
    });
}
