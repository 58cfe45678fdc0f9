//! How inputs become bytes, and back.
//!
//! A row of the log holds one version byte and then chunks. A chunk is encoded, compressed and digested by
//! the thread that submits, so the writer only joins what it is given: the row's checksum is over the headers,
//! each of which vouches for what is behind it.
//!
//! ```text
//! chunk = codec u8 (0 plain, 1 LZ4) | positions u32 | uncompressed bytes u32 | stored bytes u32 | digest i64 | stored bytes
//! ```
//!
//! Numbers are little-endian. In form 1, which is still read, there were no digests, and the row's checksum was
//! over all of it. Events are their origins, each once, and then each event's place among the
//! origins and its line; any other input is itself. Both are in postcard's form.

use std::sync::Arc;

use serde::Deserialize;
use vertice_engine::Input;
use vertice_model::RawEvent;

use crate::limits;
use crate::sqlite::digest;

/// The version of the form that rows are written in.
pub(crate) const VERSION: u8 = 2;

/// The form of before, without digests.
const UNDIGESTED: u8 = 1;

/// Codec and lengths.
const LENGTHS_BYTES: usize = 13;

/// The lengths and the digest.
const HEADER_BYTES: usize = LENGTHS_BYTES + 8;
const PLAIN: u8 = 0;
const LZ4: u8 = 1;

/// An input, or a part of one, ready to be written.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    /// How many log positions it takes.
    pub(crate) positions: u32,
    /// Header and content.
    pub(crate) bytes: Vec<u8>,
}

impl Chunk {
    /// What vouches for all of it.
    pub(crate) fn header(&self) -> &[u8] {
        &self.bytes[..HEADER_BYTES]
    }

    /// How long it is before compression.
    pub(crate) fn plain_bytes(&self) -> usize {
        let mut length = [0; 4];
        length.copy_from_slice(&self.bytes[5..9]);
        u32::from_le_bytes(length) as usize
    }
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

/// Events that are packed: as they will stand in the log.
#[derive(Clone, Debug, Default)]
pub struct PackedEvents {
    pub(crate) chunks: Vec<Chunk>,
    /// The length of the longest.
    pub(crate) longest: usize,
}

impl PackedEvents {
    /// Packs lines of one origin, each of which is an event.
    #[must_use]
    pub fn of(origin: &str, lines: &[&str]) -> PackedEvents {
        let mut packed =
            PackedEvents { longest: lines.iter().map(|l| l.len()).max().unwrap_or(0), ..Default::default() };
        let mut rest = lines;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(fitting(rest.iter().map(|line| line.len())));
            let numbered: Vec<(u32, &str)> = now.iter().map(|line| (0, *line)).collect();
            packed.chunks.push(pack(&plain(&[origin], &numbered), now.len() as u32));
            rest = later;
        }
        packed
    }

    /// How many events there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.chunks.iter().map(|c| u64::from(c.positions)).sum()
    }

    /// Adds those that come after.
    pub fn append(&mut self, mut after: PackedEvents) {
        self.chunks.append(&mut after.chunks);
        self.longest = self.longest.max(after.longest);
    }
}

/// How many of the events of such lengths one chunk takes.
fn fitting(lengths: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let fits = |length: &usize| {
        let begun_below = bytes < limits::CHUNK_BYTES;
        bytes += length;
        begun_below
    };
    lengths.take(limits::GROUP_EVENTS_MAX as usize).take_while(fits).count()
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
        let fit = fitting(rest.iter().map(|e| e.line.len()));
        let (now, later) = rest.split_at(fit);
        chunks.push(encode_chunk(now));
        rest = later;
    }
    chunks
}

fn encode_chunk(events: &[RawEvent]) -> Chunk {
    let mut origins: Vec<&str> = Vec::new();
    let mut at = 0;
    let numbered: Vec<(u32, &str)> = events
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
    pack(&plain(&origins, &numbered), events.len() as u32)
}

/// Events as postcard writes them: their origins, and each event's place among those with its line.
fn plain(origins: &[&str], events: &[(u32, &str)]) -> Vec<u8> {
    let bytes: usize = events.iter().map(|(_, line)| line.len() + 8).sum();
    let mut plain = Vec::with_capacity(bytes + 64 * (origins.len() + 1));
    number(&mut plain, origins.len());
    origins.iter().for_each(|origin| text(&mut plain, origin));
    number(&mut plain, events.len());
    for (origin, line) in events {
        number(&mut plain, *origin as usize);
        text(&mut plain, line);
    }
    plain
}

fn text(into: &mut Vec<u8>, text: &str) {
    number(into, text.len());
    into.extend_from_slice(text.as_bytes());
}

/// Seven bits a byte, the lowest first.
fn number(into: &mut Vec<u8>, mut number: usize) {
    while number > 0x7f {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// Encodes any other input.
pub(crate) fn encode_input(input: &Input) -> Chunk {
    let plain = postcard::to_extend(input, Vec::with_capacity(256))
        .expect("memory does not refuse to be written, and every part has a known length");
    pack(&plain, u32::try_from(input.positions()).expect("what memory holds of records is fewer"))
}

/// Compresses where that saves something.
fn pack(plain: &[u8], positions: u32) -> Chunk {
    let most = lz4_flex::block::get_maximum_output_size(plain.len());
    let mut bytes = vec![0; HEADER_BYTES + most];
    let squeezed = lz4_flex::block::compress_into(plain, &mut bytes[HEADER_BYTES..]);
    let codec = match squeezed {
        Ok(length) if length < plain.len() => {
            bytes.truncate(HEADER_BYTES + length);
            LZ4
        }
        Ok(_) | Err(_) => {
            bytes.truncate(HEADER_BYTES);
            bytes.extend_from_slice(plain);
            PLAIN
        }
    };
    let stored = (bytes.len() - HEADER_BYTES) as u32;
    bytes[0] = codec;
    for (at, number) in [(1, positions), (5, plain.len() as u32), (9, stored)] {
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }
    let digest = digest_of(&bytes[..LENGTHS_BYTES], &bytes[HEADER_BYTES..]);
    bytes[LENGTHS_BYTES..HEADER_BYTES].copy_from_slice(&digest.to_le_bytes());
    Chunk { positions, bytes }
}

fn digest_of(lengths: &[u8], body: &[u8]) -> i64 {
    digest(&[b"chunk", lengths, body])
}

/// What the checksum of a row is over: all of it, or the headers that vouch for the rest.
pub(crate) fn vouched(blob: &[u8]) -> Vec<&[u8]> {
    let mut row = match Row::open(blob) {
        Ok(row) if row.digested => row,
        Ok(_) | Err(_) => return vec![blob],
    };
    let mut headers = Vec::new();
    // Where it can not be read on, the checksum is another one.
    while let Ok(Some(chunk)) = row.next_chunk() {
        headers.push(chunk.header);
    }
    headers
}

/// What a row holds, as far as a reader needs it.
pub(crate) struct Row<'a> {
    rest: &'a [u8],
    /// Whether each chunk has a digest.
    digested: bool,
}

/// One chunk of a row, not yet decompressed.
pub(crate) struct Packed<'a> {
    /// How many log positions it takes.
    pub(crate) positions: u64,
    codec: u8,
    plain_bytes: usize,
    header: &'a [u8],
    body: &'a [u8],
}

impl<'a> Row<'a> {
    /// Opens a row. The error says what is wrong with it.
    pub(crate) fn open(blob: &'a [u8]) -> Result<Row<'a>, String> {
        match blob.split_first() {
            Some((&VERSION, rest)) => Ok(Row { rest, digested: true }),
            Some((&UNDIGESTED, rest)) => Ok(Row { rest, digested: false }),
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
        let header_bytes = if self.digested { HEADER_BYTES } else { LENGTHS_BYTES };
        let (header, rest) = self.rest.split_at_checked(header_bytes).ok_or_else(cut)?;
        let number =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize;
        let (positions, plain_bytes, stored) = (number(1), number(5), number(9));
        let (body, rest) = rest.split_at_checked(stored).ok_or_else(cut)?;
        self.rest = rest;
        Ok(Some(Packed { positions: positions as u64, codec: header[0], plain_bytes, header, body }))
    }
}

impl Packed<'_> {
    fn unpack<T: for<'de> Deserialize<'de>>(&self) -> Result<T, String> {
        let (lengths, digest) = self.header.split_at(LENGTHS_BYTES);
        // Without one the checksum of the row is over the body too.
        if !digest.is_empty() && digest_of(lengths, self.body).to_le_bytes() != *digest {
            return Err("a chunk has a wrong checksum".to_owned());
        }
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
    fn packed_lines_come_back_as_events() {
        let lines: Vec<String> = (0..1_500).map(|n| format!("{n}{}", "x".repeat(n % 300))).collect();
        let borrowed: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut packed = PackedEvents::of("o", &borrowed[..1_100]);
        packed.append(PackedEvents::of("o", &borrowed[1_100..]));
        assert_eq!((packed.count(), packed.longest), (1_500, lines[1_499].len()));
        let events: Vec<_> = lines.iter().map(|line| event("o", line)).collect();
        assert_eq!(read(&row(&packed.chunks)).unwrap(), events);
        assert_eq!(PackedEvents::of("o", &[]).count(), 0);
    }

    #[test]
    fn rows_of_the_form_before_are_read() {
        let events = [event("a", "one and one and one"), event("b", "2")];
        let mut old = vec![UNDIGESTED];
        for chunk in encode_events(&events) {
            old.extend_from_slice(&chunk.bytes[..LENGTHS_BYTES]);
            old.extend_from_slice(&chunk.bytes[HEADER_BYTES..]);
        }
        assert_eq!(read(&old).unwrap(), events);
        assert_eq!(vouched(&old), [&old[..]], "its checksum is over all of it");
    }

    #[test]
    fn a_row_is_vouched_for_by_its_headers_and_they_by_their_digests() {
        let chunks = [encode_events(&[event("a", "some text, some text")]), encode_events(&[event("b", "2")])].concat();
        let whole = row(&chunks);
        let headers: Vec<&[u8]> = chunks.iter().map(Chunk::header).collect();
        assert_eq!(vouched(&whole), headers);
        for at in 1..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            assert!(read(&flipped).is_err() || vouched(&flipped) != headers, "{at}");
        }
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
        let redigested = |row: &mut Vec<u8>| {
            let rest = HEADER_BYTES + 1;
            let digest = digest_of(&row[1..=LENGTHS_BYTES], &row[rest..]);
            row[LENGTHS_BYTES + 1..rest].copy_from_slice(&digest.to_le_bytes());
        };
        huge[1] = LZ4;
        huge[6..10].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(read(&huge).unwrap_err().contains("wrong checksum"));
        redigested(&mut huge);
        assert!(read(&huge).unwrap_err().contains("claims 4294967295 bytes"));
        huge[1] = 7;
        redigested(&mut huge);
        assert!(read(&huge).unwrap_err().contains("codec 7"));
    }
}
