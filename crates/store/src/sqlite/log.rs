//! The input log.

use rusqlite::blob::ZeroBlob;
use rusqlite::{Connection, Row as SqlRow};
use vertice_engine::{Input, Stamp};
use vertice_model::{Position, RawEvent, Timestamp};

use super::{Place, digest, signed};
use crate::chunk::{Chunk, Packed, Row, VERSION, vouched};
use crate::error::ReadError;
use crate::limits;
use crate::queue::InputKind;

/// A row to be written, of chunks that are ready.
#[derive(Debug)]
pub(crate) struct NewRow<'a> {
    pub(crate) first: Position,
    pub(crate) n: u64,
    pub(crate) kind: InputKind,
    pub(crate) at: Timestamp,
    pub(crate) chunks: Vec<&'a Chunk>,
    /// How long all of it is.
    pub(crate) bytes: usize,
}

/// A row of the log.
#[derive(Debug)]
struct LogRow<'a> {
    first: Position,
    n: u64,
    kind: InputKind,
    at: Timestamp,
    blob: &'a [u8],
}

impl LogRow<'_> {
    fn checksum(&self) -> i64 {
        checksum([self.first.0, self.n, kind_code(self.kind) as u64, self.at.as_micros() as u64], &vouched(self.blob))
    }

    fn last(&self) -> u64 {
        self.first.0 + self.n - 1
    }
}

const fn kind_code(kind: InputKind) -> i64 {
    match kind {
        InputKind::Events => 0,
        InputKind::Other => 1,
    }
}

fn checksum(numbers: [u64; 4], vouched: &[&[u8]]) -> i64 {
    let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    digest(&[&[b"log", &*bytes], vouched].concat())
}

/// Appends a row.
pub(crate) fn append(db: &Connection, row: &NewRow<'_>) -> Result<(), rusqlite::Error> {
    let numbers = [row.first.0, row.n, kind_code(row.kind) as u64, row.at.as_micros() as u64];
    let headers: Vec<&[u8]> = row.chunks.iter().map(|chunk| chunk.header()).collect();
    db.prepare_cached("INSERT INTO log (seq_first, n, kind, at_us, checksum, blob) VALUES (?, ?, ?, ?, ?, ?)")?
        .execute((
            signed(row.first.0),
            signed(row.n),
            kind_code(row.kind),
            row.at.as_micros(),
            checksum(numbers, &headers),
            ZeroBlob(row.bytes as u64),
        ))?;
    // Straight into its pages: as a parameter it would be copied three times on its way there.
    let mut blob = db.blob_open("main", "log", "blob", signed(row.first.0), false)?;
    let mut at = 0;
    for part in std::iter::once(&[VERSION][..]).chain(row.chunks.iter().map(|chunk| &*chunk.bytes)) {
        blob.write_all_at(part, at)?;
        at += part.len();
    }
    blob.close()
}

/// The last position that the rows themselves reach; 0 when there are none.
pub(crate) fn last_position(db: &Connection, place: Place<'_>) -> Result<Position, ReadError> {
    db.query_row("SELECT seq_first + n - 1 FROM log ORDER BY seq_first DESC LIMIT 1", [], |row| row.get::<_, i64>(0))
        .or_else(|e| if e == rusqlite::Error::QueryReturnedNoRows { Ok(0) } else { Err(e) })
        .map(|last| Position(last as u64))
        .map_err(|e| place.error("looking for the end of the log", "its last row", e))
}

/// Reads from `from`, which may lie within a row, to `end` at most: whole rows until there are
/// `positions_max` of them or the bytes of one read, and one row at least.
pub(crate) fn read(
    db: &Connection,
    place: Place<'_>,
    from: Position,
    end: Position,
    positions_max: u64,
) -> Result<Vec<(Stamp, Input)>, ReadError> {
    let error = |e| place.error("reading the log", format!("from position {from}"), e);
    let mut statement = db.prepare_cached(SELECT).map_err(error)?;
    let mut rows = statement.query([signed(from.0), signed(end.0)]).map_err(error)?;
    let mut inputs = Vec::new();
    let (mut next, mut bytes) = (from, 0);
    while next <= end && next.0 - from.0 < positions_max && bytes < limits::READ_BYTES_MAX {
        let row = match rows.next().map_err(|e| place.error("reading the log", format!("position {next}"), e))? {
            Some(row) => checked(row, place, next)?,
            None => return Err(place.damage(format!("position {next}"), "its row is missing").into()),
        };
        bytes += row.blob.len();
        let after = Position(row.last() + 1);
        inputs.push(decode(row, place, next)?);
        next = after;
    }
    Ok(inputs)
}

/// The row that holds the first position, and those after it.
const SELECT: &str = "
    SELECT seq_first, n, kind, at_us, checksum, blob FROM log
    WHERE seq_first >= coalesce((SELECT max(seq_first) FROM log WHERE seq_first <= ?1), ?1) AND seq_first <= ?2
    ORDER BY seq_first";

/// One event, and when it was accepted; `None` if the log has none there, or another input.
pub(crate) fn event(db: &Connection, place: Place<'_>, at: Position) -> Result<Option<(Stamp, RawEvent)>, ReadError> {
    let found = read(db, place, at, at, 1)?;
    Ok(found.into_iter().next().and_then(|(stamp, input)| match input {
        Input::Events(events) => events.into_iter().next().map(|event| (stamp, event)),
        // It was read as of its logical time.
        Input::Routed(routed) => {
            routed.into_iter().next().map(|routed| (Stamp { now: routed.at, ..stamp }, routed.event))
        }
        Input::Content(_)
        | Input::Answer { .. }
        | Input::Verdict { .. }
        | Input::Release { .. }
        | Input::Tick
        | Input::Begun { .. }
        | Input::Receipt(_)
        | Input::Resolve { .. }
        | Input::Operators(_)
        | Input::Start { .. }
        | Input::Key { .. }
        | Input::Opinion { .. }
        | Input::Suppress { .. } => None,
    }))
}

/// Reads a row that must hold `next`, or begin with it.
fn checked<'a>(row: &'a SqlRow<'_>, place: Place<'_>, next: Position) -> Result<LogRow<'a>, ReadError> {
    let where_ = || format!("position {next}");
    let parts = || -> Result<(LogRow<'a>, i64), rusqlite::Error> {
        let found = LogRow {
            first: Position(row.get::<_, i64>(0)? as u64),
            n: row.get::<_, i64>(1)? as u64,
            kind: if row.get::<_, i64>(2)? == 0 { InputKind::Events } else { InputKind::Other },
            at: Timestamp::from_micros(row.get(3)?),
            blob: row.get_ref(5)?.as_blob()?,
        };
        Ok((found, row.get(4)?))
    };
    let (row, checksum) = parts().map_err(|e| place.error("reading the log", where_(), e))?;
    if row.checksum() != checksum {
        return Err(place.damage(where_(), "its row has a wrong checksum").into());
    }
    if row.first > next || row.last() < next.0 {
        return Err(place.damage(where_(), "its row is missing").into());
    }
    Ok(row)
}

/// The input of a row from position `from` on.
fn decode(row: LogRow<'_>, place: Place<'_>, from: Position) -> Result<(Stamp, Input), ReadError> {
    let bad = |what: String| place.damage(format!("position {}", row.first), what);
    let stamp = Stamp { position: from, now: row.at };
    let mut chunks = Row::open(row.blob).map_err(bad)?;
    if row.kind == InputKind::Other {
        let chunk = chunks.next_chunk().map_err(bad)?.ok_or_else(|| bad("it is empty".to_owned()))?;
        let mut input = chunk.input().map_err(bad)?;
        if input.positions() != row.n {
            return Err(bad(format!("it holds {} records in place of {}", input.positions(), row.n)).into());
        }
        if let Input::Routed(routed) = &mut input {
            routed.drain(..(from.0 - row.first.0) as usize);
        }
        return Ok((stamp, input));
    }
    let mut events = Vec::with_capacity(usize::try_from(row.last() + 1 - from.0).unwrap_or_default());
    let mut at = row.first.0;
    while let Some(chunk) = chunks.next_chunk().map_err(bad)? {
        let skip = from.0.saturating_sub(at);
        at += chunk.positions;
        if skip < chunk.positions {
            events.extend(tail(&chunk, skip as usize).map_err(bad)?);
        }
    }
    if at != row.first.0 + row.n {
        return Err(bad(format!("it holds {} events in place of {}", at - row.first.0, row.n)).into());
    }
    Ok((stamp, Input::Events(events)))
}

fn tail(chunk: &Packed<'_>, skip: usize) -> Result<impl Iterator<Item = RawEvent>, String> {
    Ok(chunk.events()?.into_iter().skip(skip))
}
