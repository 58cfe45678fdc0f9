//! The checksums of what is kept: the same for the same row, whatever database keeps it.

use vertice_model::{Position, Timestamp};

use crate::Accepted;
use crate::record::RecordRow;

/// The first eight bytes of BLAKE3 over the parts, each with its length before it.
pub(crate) fn digest(parts: &[&[u8]]) -> i64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    i64::from_le_bytes(first)
}

/// As databases keep it. Positions are counted from 1 and can not reach their limit of 2^63.
pub(crate) fn signed(n: u64) -> i64 {
    i64::try_from(n).expect("a count of what was really written stays below 2^63")
}

fn bytes_of<const N: usize>(numbers: [u64; N]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

/// Of a row of the log: its numbers, and what vouches for its content.
pub(crate) fn log_row(numbers: [u64; 4], vouched: &[&[u8]]) -> i64 {
    let bytes = bytes_of(numbers);
    digest(&[&[b"log", &*bytes], vouched].concat())
}

/// Of how far everything has come.
pub(crate) fn head(numbers: [u64; 5]) -> i64 {
    digest(&[b"head", &bytes_of(numbers)])
}

/// Of a record, in a state.
pub(crate) fn record(row: &RecordRow, state: &str) -> i64 {
    let numbers = [
        row.kind.code() as u64,
        row.effect.position.0,
        u64::from(row.effect.index),
        row.severity as u64,
        row.at.as_micros() as u64,
    ];
    let text = |t: &Option<String>| t.clone().unwrap_or_default();
    digest(&[
        b"record",
        &bytes_of(numbers),
        row.key.as_bytes(),
        state.as_bytes(),
        text(&row.rule_id).as_bytes(),
        text(&row.threat_id).as_bytes(),
        row.json.as_bytes(),
    ])
}

/// Of a row of a table with a name and a value.
pub(crate) fn pair(table: &[u8], key: &str, value: &[u8]) -> i64 {
    digest(&[table, key.as_bytes(), value])
}

/// Of a request that was answered.
pub(crate) fn idempotency(key: &[u8], accepted: &Accepted, answer: &[u8]) -> i64 {
    let bytes = bytes_of([accepted.first.0, accepted.count, accepted.at.as_micros() as u64]);
    digest(&[b"idempotency", key, &bytes, answer])
}

/// Of an API key.
pub(crate) fn api_key(name: &str, hash: &[u8], created: Timestamp) -> i64 {
    digest(&[b"api_key", name.as_bytes(), hash, &created.as_micros().to_le_bytes()])
}

/// Of a snapshot.
pub(crate) fn snapshot(position: Position, version: u32, blob: &[u8]) -> i64 {
    digest(&[b"snapshot", &position.0.to_le_bytes(), &version.to_le_bytes(), blob])
}
