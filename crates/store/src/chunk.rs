//! How inputs become bytes, and back.
//!
//! A row of the log holds one version byte and then chunks. A chunk is encoded and compressed by the
//! thread that submits, so the writer only joins what it is given.
//!
//! ```text
//! chunk = codec u8 (0 plain, 1 LZ4) | positions u32 | uncompressed bytes u32 | stored bytes u32 | stored bytes
//! ```
//!
//! Numbers are little-endian. Events are their origins, each once, and then each event's place among the
//! origins and its line; any other input is itself. Both are in postcard's form.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vertice_engine::Input;
use vertice_model::RawEvent;

use crate::limits;

/// The version of the form that rows are written in.
pub(crate) const VERSION: u8 = 1;

const HEADER_BYTES: usize = 13;
const PLAIN: u8 = 0;
const LZ4: u8 = 1;

/// An input, or a part of one, ready to be written.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// How many log positions it takes.
    pub(crate) positions: u32,
    /// Header and content.
    pub(crate) bytes: Vec<u8>,
}

impl Chunk {
    /// How long it is before compression.
    pub(crate) fn plain_bytes(&self) -> usize {
        let mut length = [0; 4];
        length.copy_from_slice(&self.bytes[5..9]);
        u32::from_le_bytes(length) as usize
    }
}

#[derive(Serialize)]
struct EventsOut<'a> {
    origins: Vec<&'a str>,
    events: Vec<(u32, &'a str)>,
}

#[derive(Deserialize)]
struct EventsIn {
    origins: Vec<Arc<str>>,
    events: Vec<(u32, String)>,
}

/// Encodes events; many of them on several threads, each of which makes as few chunks as the limits allow.
pub(crate) fn encode_events(events: &[RawEvent]) -> Vec<Chunk> {
    in_shares(events, encode_share)
}

/// Does work on events and joins what comes of it, in their order; on several threads if there are
/// [`limits::SHARE_BYTES`] for each.
pub fn in_shares<T: Send>(events: &[RawEvent], work: impl Fn(&[RawEvent]) -> Vec<T> + Sync) -> Vec<T> {
    let bytes: usize = events.iter().map(|e| e.line.len()).sum();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = (bytes / limits::SHARE_BYTES).clamp(1, threads);
    let (own, others) = events.split_at(events.len().div_ceil(threads));
    if others.is_empty() {
        return work(own);
    }
    let work = &work;
    std::thread::scope(|scope| {
        let others: Vec<_> = others.chunks(own.len()).map(|share| scope.spawn(move || work(share))).collect();
        let mut all = work(own);
        for other in others {
            all.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all
    })
}

fn encode_share(events: &[RawEvent]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut rest = events;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fit = rest
            .iter()
            .take(limits::GROUP_EVENTS_MAX as usize)
            .take_while(|e| {
                let begun_below = bytes < limits::CHUNK_BYTES;
                bytes += e.line.len();
                begun_below
            })
            .count();
        let (now, later) = rest.split_at(fit);
        chunks.push(encode_chunk(now));
        rest = later;
    }
    chunks
}

fn encode_chunk(events: &[RawEvent]) -> Chunk {
    let mut origins: Vec<&str> = Vec::new();
    let mut at = 0;
    let numbered = events
        .iter()
        .map(|e| {
            // Events of one origin come together, so looking for another place is rare.
            if origins.get(at).copied() != Some(&*e.origin) {
                at = origins.iter().position(|o| **o == *e.origin).unwrap_or_else(|| {
                    origins.push(&e.origin);
                    origins.len() - 1
                });
            }
            (at as u32, e.line.as_str())
        })
        .collect();
    let length = events.iter().map(|e| e.line.len() + 8).sum();
    pack(&EventsOut { origins, events: numbered }, events.len() as u32, length)
}

/// Encodes any other input.
pub(crate) fn encode_input(input: &Input) -> Chunk {
    pack(input, 1, 256)
}

fn pack<T: Serialize>(value: &T, positions: u32, length_hint: usize) -> Chunk {
    let plain = postcard::to_extend(value, Vec::with_capacity(length_hint))
        .expect("memory does not refuse to be written, and every part has a known length");
    let (codec, body) = squeeze(&plain);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.push(codec);
    bytes.extend_from_slice(&positions.to_le_bytes());
    bytes.extend_from_slice(&(plain.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&body);
    Chunk { positions, bytes }
}

/// Compresses where that saves something.
fn squeeze(plain: &[u8]) -> (u8, std::borrow::Cow<'_, [u8]>) {
    let small = lz4_flex::block::compress(plain);
    if small.len() < plain.len() { (LZ4, small.into()) } else { (PLAIN, plain.into()) }
}

/// What a row holds, as far as a reader needs it.
pub(crate) struct Row<'a> {
    rest: &'a [u8],
}

/// One chunk of a row, not yet decompressed.
pub(crate) struct Packed<'a> {
    /// How many log positions it takes.
    pub(crate) positions: u64,
    codec: u8,
    plain_bytes: usize,
    body: &'a [u8],
}

impl<'a> Row<'a> {
    /// Opens a row. The error says what is wrong with it.
    pub(crate) fn open(blob: &'a [u8]) -> Result<Row<'a>, String> {
        match blob.split_first() {
            Some((&VERSION, rest)) => Ok(Row { rest }),
            Some((other, _)) => Err(format!("it is written in form {other}, and only {VERSION} is known")),
            None => Err("it is empty".to_owned()),
        }
    }

    /// The next chunk; `None` at the end.
    pub(crate) fn next_chunk(&mut self) -> Result<Option<Packed<'a>>, String> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let cut = || "a chunk is cut off".to_owned();
        let (header, rest) = self.rest.split_at_checked(HEADER_BYTES).ok_or_else(cut)?;
        let number =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize;
        let (positions, plain_bytes, stored) = (number(1), number(5), number(9));
        let (body, rest) = rest.split_at_checked(stored).ok_or_else(cut)?;
        self.rest = rest;
        Ok(Some(Packed { positions: positions as u64, codec: header[0], plain_bytes, body }))
    }
}

impl Packed<'_> {
    fn unpack<T: for<'de> Deserialize<'de>>(&self) -> Result<T, String> {
        let plain = match self.codec {
            PLAIN => std::borrow::Cow::Borrowed(self.body),
            LZ4 if self.plain_bytes > limits::CHUNK_BYTES_MAX => {
                return Err(format!("a chunk claims {} bytes", self.plain_bytes));
            }
            LZ4 => lz4_flex::block::decompress(self.body, self.plain_bytes)
                .map_err(|e| format!("a chunk can not be decompressed: {e}"))?
                .into(),
            other => return Err(format!("a chunk has codec {other}, which is not known")),
        };
        postcard::from_bytes(&plain).map_err(|e| format!("a chunk can not be read: {e}"))
    }

    /// The events of it.
    pub(crate) fn events(&self) -> Result<Vec<RawEvent>, String> {
        let EventsIn { origins, events } = self.unpack()?;
        let no_origin = || "an event has no origin".to_owned();
        let raw = |(origin, line): (u32, String)| -> Result<RawEvent, String> {
            Ok(RawEvent { origin: origins.get(origin as usize).ok_or_else(no_origin)?.clone(), line })
        };
        let events = events.into_iter().map(raw).collect::<Result<Vec<_>, _>>()?;
        if events.len() as u64 != self.positions {
            return Err(format!("a chunk holds {} events in place of {}", events.len(), self.positions));
        }
        Ok(events)
    }

    /// The input that it is.
    pub(crate) fn input(&self) -> Result<Input, String> {
        self.unpack()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(origin: &str, line: &str) -> RawEvent {
        RawEvent { origin: origin.into(), line: line.to_owned() }
    }

    fn row(chunks: &[Chunk]) -> Vec<u8> {
        let mut row = vec![VERSION];
        chunks.iter().for_each(|c| row.extend_from_slice(&c.bytes));
        row
    }

    fn read(blob: &[u8]) -> Result<Vec<RawEvent>, String> {
        let mut row = Row::open(blob)?;
        let mut all = Vec::new();
        while let Some(chunk) = row.next_chunk()? {
            all.extend(chunk.events()?);
        }
        Ok(all)
    }

    #[test]
    fn events_come_back_and_share_their_origin() {
        let events = [event("a", "1"), event("b", ""), event("a", "\0ü"), event("a", &"x".repeat(5_000))];
        let chunks = encode_events(&events);
        assert_eq!(chunks.len(), 1);
        let back = read(&row(&chunks)).unwrap();
        assert_eq!(back, events);
        assert!(Arc::ptr_eq(&back[0].origin, &back[2].origin));
        assert!(encode_events(&[]).is_empty());
    }

    #[test]
    fn many_and_large_events_are_several_chunks() {
        let many: Vec<_> = (0..2_500).map(|n| event("o", &n.to_string())).collect();
        let chunks = encode_events(&many);
        assert_eq!(chunks.iter().map(|c| c.positions).collect::<Vec<_>>(), [1_024, 1_024, 452]);
        assert_eq!(read(&row(&chunks)).unwrap(), many);
        let large: Vec<_> = (0..20).map(|_| event("o", &"y".repeat(512 * 1024))).collect();
        let chunks = encode_share(&large);
        assert_eq!(chunks.iter().map(|c| c.positions).collect::<Vec<_>>(), [8, 8, 4]);
        assert_eq!(read(&row(&chunks)).unwrap(), large);
    }

    #[test]
    fn what_several_threads_pack_comes_back_in_order() {
        let line = |n: usize| format!("{n} {}", "z".repeat(limits::SHARE_BYTES / 2));
        let large: Vec<_> = (0..7).map(|n| event("o", &line(n))).collect();
        assert_eq!(read(&row(&encode_events(&large))).unwrap(), large);
        let threads = std::thread::available_parallelism().unwrap().get().min(3);
        assert!(encode_events(&large).len() >= threads, "each thread packs a part");
    }

    #[test]
    fn other_inputs_come_back() {
        let blob = row(&[encode_input(&Input::Tick)]);
        let chunk = Row::open(&blob).unwrap().next_chunk().unwrap().unwrap();
        assert!(matches!(chunk.input(), Ok(Input::Tick)));
        assert_eq!(chunk.positions, 1);
    }

    #[test]
    fn damaged_rows_are_refused_and_never_panic() {
        let whole = row(&encode_events(&[event("a", "some text that repeats, text that repeats"), event("b", "2")]));
        for cut in 2..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "{cut}");
        }
        assert!(read(&[]).unwrap_err().contains("empty"));
        assert!(read(&[9]).unwrap_err().contains("form 9"));
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                // Which of the two it is, the checksum of the row decides.
                let _either = read(&flipped);
            }
        }
        let mut huge = whole;
        huge[1] = LZ4;
        huge[6..10].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(read(&huge).unwrap_err().contains("claims 4294967295 bytes"));
        huge[1] = 7;
        assert!(read(&huge).unwrap_err().contains("codec 7"));
    }
}
