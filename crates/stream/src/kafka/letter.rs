//! Records of a certain form: dead letters, and CloudEvents.

use std::sync::Arc;

use super::batch::Record;
use super::publisher::OutRecord;
use crate::limits::kafka as limits;

/// What a record is about, as CloudEvents 1.0 tells it in headers (Kafka protocol binding, binary mode).
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Unique within the source: what a reader drops repeats by.
    pub id: &'a str,
    /// Who says it, a URI reference such as `/vertice/shard/3`.
    pub source: &'a str,
    /// What it is, such as `vertice.detection`.
    pub kind: &'a str,
    /// When it happened, RFC 3339.
    pub time: &'a str,
    /// What the value is, such as `application/json`.
    pub content_type: &'a str,
}

impl About<'_> {
    fn headers(&self) -> Vec<(String, Vec<u8>)> {
        let pairs = [
            ("ce_specversion", "1.0"),
            ("ce_id", self.id),
            ("ce_source", self.source),
            ("ce_type", self.kind),
            ("ce_time", self.time),
            ("content-type", self.content_type),
        ];
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
    }
}

/// A CloudEvent in binary mode: the value is the data, the rest are headers.
#[must_use]
pub fn cloud_event(topic: &Arc<str>, key: &[u8], value: Vec<u8>, about: &About<'_>) -> OutRecord {
    let key = (!key.is_empty()).then(|| key.to_vec());
    OutRecord { topic: Arc::clone(topic), key, value: Some(value), headers: about.headers(), ..OutRecord::default() }
}

/// A record that can not be read, for those who look into why: key and value as they were received, and in headers
/// the reason and where it came from.
///
/// Its id is the place that it came from, so that the same record refused twice is one dead letter to its readers.
/// `time` is when it was refused, RFC 3339.
#[must_use]
pub fn dead_letter(topic: &Arc<str>, refused: &Record<'_>, reason: &str, time: &str) -> OutRecord {
    let from = refused.partition();
    let place = format!("{}|{}|{}", from.topic, from.number, refused.offset);
    let about = About {
        id: &place,
        source: "/vertice/deadletter",
        kind: "vertice.deadletter",
        time,
        content_type: "application/octet-stream",
    };
    let mut headers = about.headers();
    let reason: String = reason.chars().take(limits::REASON_CHARS_MAX).collect();
    let own = [
        ("reason", reason),
        ("topic", from.topic.to_string()),
        ("partition", from.number.to_string()),
        ("offset", refused.offset.to_string()),
    ];
    headers.extend(own.map(|(name, value)| (name.to_owned(), value.into_bytes())));
    OutRecord {
        topic: Arc::clone(topic),
        partition: None,
        key: refused.key.map(<[u8]>::to_vec),
        value: refused.value.map(<[u8]>::to_vec),
        timestamp_ms: refused.timestamp_ms,
        headers,
    }
}
