//! Snapshots, cursors, idempotency keys, API keys and settings: small tables of things kept by name.

use rusqlite::{Connection, OptionalExtension};
use vertice_model::{Position, Timestamp};

use super::{Place, signed};
use crate::error::ReadError;
use crate::{Accepted, ApiKey, Cursor, Idempotency, Remembered, limits, sums};

type Sql<T> = Result<T, rusqlite::Error>;

/// What is under a name, with its checksum still to be compared.
fn one<T>(
    db: &Connection,
    place: Place<'_>,
    sql: &str,
    key: &dyn rusqlite::ToSql,
    read: impl FnOnce(&rusqlite::Row<'_>) -> Sql<T>,
) -> Result<Option<T>, ReadError> {
    db.prepare_cached(sql)
        .and_then(|mut s| s.query_row([key], read).optional())
        .map_err(|e| place.error("reading what was kept", "a row", e))
}

/// Moves a source's cursor.
pub(crate) fn set_cursor(db: &Connection, cursor: &Cursor) -> Sql<()> {
    db.prepare_cached("INSERT OR REPLACE INTO cursor (source, value, checksum) VALUES (?, ?, ?)")?.execute((
        &cursor.source,
        &cursor.value,
        sums::pair(b"cursor", &cursor.source, &cursor.value),
    ))?;
    Ok(())
}

/// A source's cursor.
pub(crate) fn cursor(db: &Connection, place: Place<'_>, source: &str) -> Result<Option<Vec<u8>>, ReadError> {
    let found = one(db, place, "SELECT value, checksum FROM cursor WHERE source = ?", &source, |row| {
        Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))
    })?;
    let Some((value, sum)) = found else { return Ok(None) };
    let ok = sums::pair(b"cursor", source, &value) == sum;
    place.unless_damaged(Some(value), ok, source)
}

/// Changes a setting; `once` leaves one that is there as it is.
pub(crate) fn set_meta(db: &Connection, key: &str, value: &str, once: bool) -> Sql<bool> {
    let sql = "INSERT INTO meta (key, value, checksum) VALUES (?, ?, ?)
        ON CONFLICT (key) DO UPDATE SET value = excluded.value, checksum = excluded.checksum WHERE NOT ?";
    let sum = sums::pair(b"meta", key, value.as_bytes());
    Ok(db.prepare_cached(sql)?.execute((key, value, sum, once))? > 0)
}

/// A setting.
pub(crate) fn meta(db: &Connection, place: Place<'_>, key: &str) -> Result<Option<String>, ReadError> {
    let found = one(db, place, "SELECT value, checksum FROM meta WHERE key = ?", &key, |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
    })?;
    let Some((value, sum)) = found else { return Ok(None) };
    let ok = sums::pair(b"meta", key, value.as_bytes()) == sum;
    place.unless_damaged(Some(value), ok, key)
}

/// Remembers what was answered, and forgets what is too old or too much.
pub(crate) fn remember(db: &Connection, idempotency: &Idempotency, accepted: &Accepted) -> Sql<()> {
    let us = accepted.at.as_micros();
    db.prepare_cached("DELETE FROM idempotency WHERE at_us < ?")?.execute([us - limits::IDEMPOTENCY_US])?;
    db.prepare_cached(
        "INSERT OR REPLACE INTO idempotency (key, first, count, at_us, answer, checksum) VALUES (?, ?, ?, ?, ?, ?)",
    )?
    .execute((
        idempotency.key,
        signed(accepted.first.0),
        signed(accepted.count),
        us,
        &idempotency.answer,
        sums::idempotency(&idempotency.key, accepted, &idempotency.answer),
    ))?;
    // Rows are numbered as they come, so what lies that far back is too much.
    let row = db.last_insert_rowid() - signed(limits::IDEMPOTENCY_KEYS_MAX);
    db.prepare_cached("DELETE FROM idempotency WHERE rowid <= ?")?.execute([row])?;
    Ok(())
}

/// What was answered under a key within the time that keys are remembered.
pub(crate) fn remembered(
    db: &Connection,
    place: Place<'_>,
    key: &[u8; 32],
    now: Timestamp,
) -> Result<Option<Remembered>, ReadError> {
    let sql = "SELECT first, count, at_us, answer, checksum FROM idempotency WHERE key = ?";
    let found = one(db, place, sql, key, |row| {
        let accepted = Accepted {
            shard: 0,
            first: Position(row.get::<_, i64>(0)? as u64),
            count: row.get::<_, i64>(1)? as u64,
            at: Timestamp::from_micros(row.get(2)?),
            repeated: None,
        };
        Ok((Remembered { accepted, answer: row.get(3)? }, row.get::<_, i64>(4)?))
    })?;
    let Some((found, sum)) = found else { return Ok(None) };
    let ok = sums::idempotency(key, &found.accepted, &found.answer) == sum;
    let fresh = now.micros_since(found.accepted.at) <= limits::IDEMPOTENCY_US as u64;
    place.unless_damaged(fresh.then_some(found), ok, "a key")
}

/// Adds an API key; false if there is one of that name.
pub(crate) fn add_api_key(db: &Connection, name: &str, hash: &[u8; 32], now: Timestamp) -> Sql<bool> {
    let us = now.as_micros();
    let sql = "INSERT OR IGNORE INTO api_key (name, hash, created_us, checksum) VALUES (?, ?, ?, ?)";
    Ok(db.prepare_cached(sql)?.execute((name, hash, us, sums::api_key(name, hash, now)))? > 0)
}

/// Removes an API key; false if there is none of that name.
pub(crate) fn remove_api_key(db: &Connection, name: &str) -> Sql<bool> {
    Ok(db.prepare_cached("DELETE FROM api_key WHERE name = ?")?.execute([name])? > 0)
}

/// Every API key, by name.
pub(crate) fn api_keys(db: &Connection, place: Place<'_>) -> Result<Vec<ApiKey>, ReadError> {
    let error = |e| place.error("reading the API keys", "a row", e);
    let mut statement =
        db.prepare_cached("SELECT name, hash, created_us, checksum FROM api_key ORDER BY name").map_err(error)?;
    let rows = statement
        .query_map([], |row| {
            let key = ApiKey { name: row.get(0)?, hash: row.get(1)?, created: Timestamp::from_micros(row.get(2)?) };
            Ok((key, row.get::<_, i64>(3)?))
        })
        .map_err(error)?;
    let mut keys = Vec::new();
    for row in rows {
        let (key, sum) = row.map_err(error)?;
        let ok = sums::api_key(&key.name, &key.hash, key.created) == sum;
        let name = key.name.clone();
        keys.push(place.unless_damaged(key, ok, name)?);
    }
    Ok(keys)
}

/// Keeps a snapshot, and of the older ones as many as are kept.
pub(crate) fn save_snapshot(db: &Connection, position: Position, version: u32, blob: &[u8]) -> Sql<bool> {
    db.prepare_cached("INSERT OR REPLACE INTO snapshot (position, version, checksum, blob) VALUES (?, ?, ?, ?)")?
        .execute((signed(position.0), version, sums::snapshot(position, version, blob), blob))?;
    db.prepare_cached(
        "DELETE FROM snapshot WHERE position NOT IN (SELECT position FROM snapshot ORDER BY position DESC LIMIT ?)",
    )?
    .execute([limits::SNAPSHOTS_KEPT as i64])?;
    Ok(true)
}

/// The positions and versions of the snapshots, latest first.
pub(crate) fn snapshots(db: &Connection, place: Place<'_>) -> Result<Vec<(Position, u32)>, ReadError> {
    db.prepare_cached("SELECT position, version FROM snapshot ORDER BY position DESC")
        .and_then(|mut s| s.query_map([], |row| Ok((Position(row.get::<_, i64>(0)? as u64), row.get(1)?)))?.collect())
        .map_err(|e| place.error("looking for snapshots", "a row", e))
}

/// A snapshot's content.
pub(crate) fn snapshot(
    db: &Connection,
    place: Place<'_>,
    position: Position,
    version: u32,
) -> Result<Vec<u8>, ReadError> {
    let name = format!("the snapshot at position {position}");
    let found = db
        .prepare_cached("SELECT checksum, blob FROM snapshot WHERE position = ?")
        .and_then(|mut s| {
            s.query_row([position.0 as i64], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))
        })
        .map_err(|e| place.error("reading a snapshot", name.clone(), e))?;
    let ok = sums::snapshot(position, version, &found.1) == found.0;
    place.unless_damaged(found.1, ok, name)
}

/// Reads everything here once, for the sake of its checksum.
pub(crate) fn verify(db: &Connection, file: &std::path::Path) -> Result<(), ReadError> {
    let at = |table| Place { file, table };
    for source in names::<String>(db, at("cursor"), "SELECT source FROM cursor")? {
        cursor(db, at("cursor"), &source)?;
    }
    for key in names::<String>(db, at("meta"), "SELECT key FROM meta")? {
        meta(db, at("meta"), &key)?;
    }
    for key in names::<[u8; 32]>(db, at("idempotency"), "SELECT key FROM idempotency")? {
        remembered(db, at("idempotency"), &key, Timestamp::default())?;
    }
    for (position, version) in snapshots(db, at("snapshot"))? {
        snapshot(db, at("snapshot"), position, version)?;
    }
    api_keys(db, at("api_key")).map(|_| ())
}

fn names<T: rusqlite::types::FromSql>(db: &Connection, place: Place<'_>, sql: &str) -> Result<Vec<T>, ReadError> {
    db.prepare(sql)
        .and_then(|mut s| s.query_map([], |row| row.get(0))?.collect())
        .map_err(|e| place.error("reading what was kept", "a row", e))
}
