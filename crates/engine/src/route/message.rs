//! What goes over the partition of hits, as bytes.

use serde::{Deserialize, Serialize};
use vertice_model::limits::{RAW_EVENT_BYTES_MAX, ROUTE_KEY_BYTES_MAX, TOPIC_BYTES_MAX};
use vertice_model::{Refusal, Routed};

use super::Mark;
use crate::limits;

/// A record of the partition of hits. In JSON a [`Routed`] as its documentation shows it, or
///
/// ```json
/// {"mark": {"partition": 3, "offset": 42, "at": "2026-03-01T10:00:00.000001Z"}}
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Message {
    /// An event with hits.
    Routed(Box<Routed>),
    /// How far a source partition was screened.
    Mark(Mark),
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Marked {
    mark: Mark,
}

impl Message {
    /// Reads one.
    ///
    /// # Errors
    /// When it is longer than [`limits::MESSAGE_BYTES_MAX`], no such JSON, or one of its parts is longer than it may
    /// be or a number that no partition or offset has.
    pub fn read(bytes: &[u8]) -> Result<Message, Refusal> {
        if bytes.len() > limits::MESSAGE_BYTES_MAX {
            let (is, most) = (bytes.len(), limits::MESSAGE_BYTES_MAX);
            return Err(Refusal::new(format!("a record of hits of {is} bytes; at most {most} are meant")));
        }
        let refuse = |e: serde_json::Error| Refusal::new(format!("no record of hits: {e}"));
        // Which of the two it is shows in its first member, for it was written here.
        if bytes.trim_ascii_start().starts_with(b"{\"mark\"") {
            let Marked { mark } = serde_json::from_slice(bytes).map_err(refuse)?;
            numbers(mark.partition, mark.offset, -1)?;
            return Ok(Message::Mark(mark));
        }
        let routed: Routed = serde_json::from_slice(bytes).map_err(refuse)?;
        numbers(routed.from.partition, routed.from.offset, 0)?;
        for (what, length, most) in [
            ("event.line", routed.event.line.len(), RAW_EVENT_BYTES_MAX),
            ("event.origin", routed.event.origin.len(), limits::ORIGIN_BYTES_MAX),
            ("from.topic", routed.from.topic.len(), TOPIC_BYTES_MAX),
            ("key", routed.key.len(), ROUTE_KEY_BYTES_MAX),
        ] {
            if length > most {
                return Err(Refusal::new(format!("{what}: {length} bytes; at most {most} are meant")));
            }
        }
        Ok(Message::Routed(Box::new(routed)))
    }

    /// As JSON.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let written = match self {
            Message::Routed(routed) => serde_json::to_vec(routed),
            Message::Mark(mark) => serde_json::to_vec(&Marked { mark: *mark }),
        };
        written.expect("it has only what JSON can say")
    }
}

fn numbers(partition: i32, offset: i64, offset_min: i64) -> Result<(), Refusal> {
    if partition < 0 {
        return Err(Refusal::new(format!("partition: {partition}; a number from 0 is meant")));
    }
    if offset < offset_min || offset == i64::MAX {
        return Err(Refusal::new(format!("offset: {offset}; a number from {offset_min} is meant")));
    }
    Ok(())
}
