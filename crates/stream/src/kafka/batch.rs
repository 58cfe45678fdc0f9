//! Records, many in one piece of memory.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};

use super::held::{Epoch, Held, Partition};
use crate::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, kafka as limits};

/// Records in the order in which they came; those of one partition in the order of their offsets.
///
/// Their bytes lie one after the other in one allocation, so that a record costs one copy and nothing else. At most
/// [`BATCH_EVENTS_MAX`] records, and full at [`BATCH_BYTES_MAX`] bytes, which the last record may exceed.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    held: Vec<Held>,
    next: Vec<i64>,
    entries: Vec<Entry>,
    headers: Vec<(Part, Option<Part>)>,
    bytes: Vec<u8>,
}

/// Where in the bytes: 32 bits, for a batch is a few megabytes at most.
type Part = Range<u32>;

#[derive(Clone, Debug)]
struct Entry {
    held: u32,
    offset: i64,
    timestamp_ms: Option<i64>,
    key: Option<Part>,
    value: Option<Part>,
    headers: Part,
    headers_left_out: bool,
}

/// One record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Where it lies, and which time of ours with that partition it was read in.
    pub held: &'a Held,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds since 1970, as its sender or the broker set it.
    pub timestamp_ms: Option<i64>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers, if they were asked for.
    pub headers: Headers<'a>,
}

impl<'a> Record<'a> {
    /// Its partition.
    #[must_use]
    pub fn partition(&self) -> &'a Partition {
        &self.held.partition
    }

    /// Which time of ours with the partition.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.held.epoch
    }
}

/// The headers of one record: at most [`HEADERS_MAX`](crate::limits::kafka::HEADERS_MAX), and
/// [`HEADER_BYTES_MAX`](crate::limits::kafka::HEADER_BYTES_MAX) bytes together.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    batch: &'a Batch,
    entry: &'a Entry,
}

impl<'a> Headers<'a> {
    /// Name and value of each, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> {
        let batch = self.batch;
        batch.headers[range(&self.entry.headers)].iter().map(move |(name, value)| {
            let name = std::str::from_utf8(batch.part(name)).unwrap_or_default();
            (name, value.as_ref().map(|value| batch.part(value)))
        })
    }

    /// The value of the first of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(n, _)| *n == name).and_then(|(_, value)| value)
    }

    /// Whether some were left out: too many, too long, or with a name that is no text.
    #[must_use]
    pub fn left_out(&self) -> bool {
        self.entry.headers_left_out
    }
}

impl Batch {
    pub(super) fn with_capacity(bytes: usize) -> Batch {
        Batch {
            entries: Vec::with_capacity(BATCH_EVENTS_MAX),
            bytes: Vec::with_capacity(bytes.min(2 * BATCH_BYTES_MAX)),
            ..Batch::default()
        }
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many bytes its keys, values and headers have together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The records, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Record<'_>> {
        self.entries.iter().map(|entry| Record {
            held: &self.held[entry.held as usize],
            offset: entry.offset,
            timestamp_ms: entry.timestamp_ms,
            key: entry.key.as_ref().map(|part| self.part(part)),
            value: entry.value.as_ref().map(|part| self.part(part)),
            headers: Headers { batch: self, entry },
        })
    }

    /// The partitions that its records are of, each with the offset after its last record here: what is to be
    /// committed once all of them are done.
    pub fn reaches(&self) -> impl ExactSizeIterator<Item = (&Held, i64)> {
        self.held.iter().zip(self.next.iter().copied())
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= BATCH_EVENTS_MAX || self.bytes.len() >= BATCH_BYTES_MAX
    }

    /// The place of this partition among those of the batch.
    pub(super) fn place_of(&mut self, held: &Held) -> u32 {
        let at = self.held.iter().rposition(|h| h == held).unwrap_or_else(|| {
            self.held.push(held.clone());
            self.next.push(-1);
            self.held.len() - 1
        });
        at as u32
    }

    pub(super) fn push(&mut self, place: u32, message: &BorrowedMessage<'_>, headers: bool) {
        let key = message.key().map(|key| self.keep(key));
        let value = message.payload().map(|value| self.keep(value));
        let first = self.headers.len() as u32;
        // A header whose name is not UTF-8 makes the binding panic. One sender must not stop the partition by that.
        let left_out = headers && catch_unwind(AssertUnwindSafe(|| self.keep_headers(message))).unwrap_or(true);
        self.next[place as usize] = message.offset() + 1;
        self.entries.push(Entry {
            held: place,
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key,
            value,
            headers: first..self.headers.len() as u32,
            headers_left_out: left_out,
        });
    }

    /// Keeps as many as are allowed, and says whether some were left out.
    fn keep_headers(&mut self, message: &BorrowedMessage<'_>) -> bool {
        let Some(headers) = message.headers() else { return false };
        let mut room = limits::HEADER_BYTES_MAX;
        for at in 0..headers.count() {
            let header = headers.get(at);
            let size = header.key.len() + header.value.map_or(0, <[u8]>::len);
            if at >= limits::HEADERS_MAX || size > room {
                return true;
            }
            room -= size;
            let name = self.keep(header.key.as_bytes());
            let value = header.value.map(|value| self.keep(value));
            self.headers.push((name, value));
        }
        false
    }

    fn keep(&mut self, bytes: &[u8]) -> Part {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len() as u32
    }

    fn part(&self, part: &Part) -> &[u8] {
        &self.bytes[range(part)]
    }
}

fn range(part: &Part) -> Range<usize> {
    part.start as usize..part.end as usize
}
