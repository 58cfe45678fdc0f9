//! Records as CloudEvents.

use std::sync::Arc;

use super::publisher::OutRecord;

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
