//! Values of the topic of events: the line that each is, and the dead letters of those that are none.

use vertice_model::limits::RAW_EVENT_BYTES_MAX;
use vertice_stream::kafka::OutRecord;

use super::outlet::out_record;
use super::topics::{Where, dead_letter};
use crate::config::Topics;
use crate::limits;

/// The line that a value is.
///
/// # Errors
/// With the reason of its dead letter.
pub fn line(value: Option<&[u8]>) -> Result<&str, String> {
    let value = value.ok_or("it has no value")?;
    if value.len() > RAW_EVENT_BYTES_MAX {
        return Err(format!("it has {} bytes, and an event has at most {RAW_EVENT_BYTES_MAX}", value.len()));
    }
    let text = std::str::from_utf8(value).map_err(|e| format!("it is not UTF-8: {e}"))?;
    Ok(text.trim_end_matches(['\r', '\n']))
}

/// The dead letter of a value, refused at the time that `now` tells.
pub fn letter(
    from: Where<'_>,
    key: &[u8],
    value: &[u8],
    reason: &str,
    names: &Topics,
    now: impl FnOnce() -> String,
) -> OutRecord {
    let key = if key.len() <= limits::DEAD_LETTER_KEY_BYTES_MAX { key } else { &[] };
    // Beside the value, for those who look at headers only.
    let own = [
        ("reason", reason.to_owned()),
        ("topic", from.topic.to_owned()),
        ("partition", from.partition.to_string()),
        ("offset", from.offset.to_string()),
    ];
    let mut out = out_record(dead_letter(from, key, value, reason), names, "/vertice/deadletter", now);
    out.headers.extend(own.map(|(name, value)| (name.to_owned(), value.into_bytes())));
    out
}
