//! How far everything has come: one row, written in every transaction.

use rusqlite::{Connection, OptionalExtension};
use vertice_model::{Position, Timestamp};

use super::{Place, signed};
use crate::error::ReadError;
use crate::head::Head;

/// Writes it.
pub(crate) fn write(db: &Connection, head: &Head) -> Result<(), rusqlite::Error> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO head (id, commits, log_end, at_us, judged, clean, checksum)
         VALUES (1, ?, ?, ?, ?, ?, ?)",
    )?
    .execute((
        signed(head.commits),
        signed(head.log_end.0),
        head.at.as_micros(),
        signed(head.judged.0),
        head.clean,
        head.checksum(),
    ))?;
    Ok(())
}

/// Reads it.
pub(crate) fn read(db: &Connection, place: Place<'_>) -> Result<Head, ReadError> {
    let found = db
        .prepare_cached("SELECT commits, log_end, at_us, judged, clean, checksum FROM head WHERE id = 1")
        .and_then(|mut s| {
            s.query_row([], |row| {
                let head = Head {
                    commits: row.get::<_, i64>(0)? as u64,
                    log_end: Position(row.get::<_, i64>(1)? as u64),
                    at: Timestamp::from_micros(row.get(2)?),
                    judged: Position(row.get::<_, i64>(3)? as u64),
                    clean: row.get::<_, i64>(4)? != 0,
                };
                Ok((head, row.get::<_, i64>(5)?))
            })
            .optional()
        })
        .map_err(|e| place.error("reading how far the log has come", "its only row", e))?;
    match found {
        Some((head, checksum)) if head.checksum() == checksum => Ok(head),
        Some(_) => Err(place.damage("its only row", "its checksum is wrong").into()),
        None => Err(place.damage("its only row", "it is missing").into()),
    }
}
