//! Events that came by a partitioned log, on their way to the shard that judges them.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{RawEvent, Timestamp};

/// Where a record stands in a partitioned log (a topic of Kafka's). No two records have one place.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Place {
    /// The topic; at most [`crate::limits::TOPIC_BYTES_MAX`] bytes. Shared by all records of one topic.
    pub topic: Arc<str>,
    /// The partition of it, from 0.
    pub partition: i32,
    /// The record of the partition, from 0.
    pub offset: i64,
}

/// As ids are derived from it: topic, partition and offset. A topic's name has no `|`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|{}|{}", self.topic, self.partition, self.offset)
    }
}

/// A raw event with hits, for the shard that judges those of its hits that have one route key.
///
/// An event whose hits have several keys is several of these, told apart by their `key` and numbered by `index`.
/// In JSON it is one object:
///
/// ```json
/// {"event": {"origin": "http", "line": "…"},
///  "from": {"topic": "security.events", "partition": 3, "offset": 42},
///  "at": "2026-03-01T10:00:00.000001Z", "key": "ip:203.0.113.9", "index": 0}
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Routed {
    /// The event as its sender wrote it. The shard reads it anew, so no more than this need be trusted.
    pub event: RawEvent,
    /// The record that it was.
    pub from: Place,
    /// Its logical time: the latest record time of its partition up to and including it. It follows from what the
    /// partition holds alone, whoever reads it and when.
    pub at: Timestamp,
    /// The route key: the hits of this event that have it are judged, and no others. At most
    /// [`crate::limits::ROUTE_KEY_BYTES_MAX`] bytes.
    pub key: String,
    /// Which of the event's records it is, from 0.
    pub index: u32,
}
