//! The input log.

use rusqlite::blob::ZeroBlob;
use rusqlite::{Connection, Row as SqlRow};
use vertice_engine::{Input, Stamp};
use vertice_model::{Position, Timestamp};

use super::{Place, signed};
use crate::chunk::VERSION;
use crate::error::ReadError;
use crate::queue::InputKind;
use crate::row::{LogRow, NewRow, Stretch};

/// Appends a row.
pub(crate) fn append(db: &Connection, row: &NewRow<'_>) -> Result<(), rusqlite::Error> {
    db.prepare_cached("INSERT INTO log (seq_first, n, kind, at_us, checksum, blob) VALUES (?, ?, ?, ?, ?, ?)")?
        .execute((
            signed(row.first.0),
            signed(row.n),
            row.kind.code(),
            row.at.as_micros(),
            row.checksum(),
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
    let mut stretch = Stretch::new(place, from, end, positions_max);
    while stretch.wants_more() {
        let row = rows.next().map_err(|e| place.error("reading the log", stretch.at(), e))?;
        let row = row.map(log_row).transpose().map_err(|e| place.error("reading the log", stretch.at(), e))?;
        stretch.take(row)?;
    }
    Ok(stretch.inputs())
}

/// The row that holds the first position, and those after it.
const SELECT: &str = "
    SELECT seq_first, n, kind, at_us, checksum, blob FROM log
    WHERE seq_first >= coalesce((SELECT max(seq_first) FROM log WHERE seq_first <= ?1), ?1) AND seq_first <= ?2
    ORDER BY seq_first";

fn log_row<'a>(row: &'a SqlRow<'_>) -> Result<LogRow<&'a [u8]>, rusqlite::Error> {
    Ok(LogRow {
        first: Position(row.get::<_, i64>(0)? as u64),
        n: row.get::<_, i64>(1)? as u64,
        kind: InputKind::from_code(row.get(2)?),
        at: Timestamp::from_micros(row.get(3)?),
        checksum: row.get(4)?,
        blob: row.get_ref(5)?.as_blob()?,
    })
}
