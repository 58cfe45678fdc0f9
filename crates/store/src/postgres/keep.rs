//! Snapshots, cursors, idempotency keys, API keys and settings: small tables of things kept by name.

use postgres::Error;
use vertice_model::{Position, Timestamp};

use super::session::Session;
use crate::error::{DatabaseError, ReadError};
use crate::place::Place;
use crate::queue::Keep;
use crate::sums::{self, signed};
use crate::{Accepted, ApiKey, Cursor, Idempotency, Remembered, limits};

/// What an error of the server means while reading.
pub(crate) fn reading(doing: &'static str) -> impl Fn(Error) -> ReadError {
    move |source| ReadError::Database { doing, source: DatabaseError::Postgres(source) }
}

/// Moves a source's cursor.
pub(crate) fn set_cursor(session: &mut Session, shard: u32, cursor: &Cursor) -> Result<(), Error> {
    let Cursor { source, value } = cursor;
    let sum = sums::pair(b"cursor", source, value);
    let sql = "INSERT INTO cursor (shard, source, value, checksum) VALUES ($1, $2, $3, $4)
        ON CONFLICT (shard, source) DO UPDATE SET value = excluded.value, checksum = excluded.checksum";
    session.execute(sql, &[&i64::from(shard), source, value, &sum]).map(|_| ())
}

/// A source's cursor.
pub(crate) fn cursor(
    session: &mut Session,
    place: Place<'_>,
    shard: u32,
    source: &str,
) -> Result<Option<Vec<u8>>, ReadError> {
    let sql = "SELECT value, checksum FROM cursor WHERE shard = $1 AND source = $2";
    let found = session.row(sql, &[&i64::from(shard), &source]).map_err(reading("reading a cursor"))?;
    let Some(row) = found else { return Ok(None) };
    let value: Vec<u8> = row.get(0);
    let ok = sums::pair(b"cursor", source, &value) == row.get::<_, i64>(1);
    place.unless_damaged(Some(value), ok, source)
}

/// A setting.
pub(crate) fn meta(
    session: &mut Session,
    place: Place<'_>,
    shard: u32,
    key: &str,
) -> Result<Option<String>, ReadError> {
    let sql = "SELECT value, checksum FROM meta WHERE shard = $1 AND key = $2";
    let found = session.row(sql, &[&i64::from(shard), &key]).map_err(reading("reading a setting"))?;
    let Some(row) = found else { return Ok(None) };
    let value: Vec<u8> = row.get(0);
    let ok = sums::pair(b"meta", key, &value) == row.get::<_, i64>(1);
    let text = String::from_utf8(value).map_err(|e| place.damage(key, e.to_string()))?;
    place.unless_damaged(Some(text), ok, key)
}

/// Remembers what was answered, and forgets what is too old or too much.
pub(crate) fn remember(
    session: &mut Session,
    shard: u32,
    idempotency: &Idempotency,
    accepted: &Accepted,
) -> Result<(), Error> {
    let (us, shard) = (accepted.at.as_micros(), i64::from(shard));
    session.execute(
        "DELETE FROM idempotency WHERE shard = $1 AND at_us < $2",
        &[&shard, &(us - limits::IDEMPOTENCY_US)],
    )?;
    let Idempotency { key, answer } = idempotency;
    let sum = sums::idempotency(key, accepted, answer);
    let sql = "INSERT INTO idempotency (shard, key, first, count, at_us, answer, checksum)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (shard, key) DO UPDATE SET first = excluded.first, count = excluded.count, at_us = excluded.at_us,
            answer = excluded.answer, checksum = excluded.checksum, number = excluded.number";
    let (first, count) = (signed(accepted.first.0), signed(accepted.count));
    session.execute(sql, &[&shard, &&key[..], &first, &count, &us, answer, &sum])?;
    // What is too much is found only now and then; it is at most that much more.
    if accepted.first.0.is_multiple_of(64) {
        let sql = "DELETE FROM idempotency WHERE shard = $1 AND number <=
            (SELECT number FROM idempotency WHERE shard = $1 ORDER BY number DESC OFFSET $2 LIMIT 1)";
        session.execute(sql, &[&shard, &signed(limits::IDEMPOTENCY_KEYS_MAX)])?;
    }
    Ok(())
}

/// What was answered under a key within the time that keys are remembered.
pub(crate) fn remembered(
    session: &mut Session,
    place: Place<'_>,
    (shard, key): (u32, &[u8; 32]),
    now: Timestamp,
) -> Result<Option<Remembered>, ReadError> {
    let sql = "SELECT first, count, at_us, answer, checksum FROM idempotency WHERE shard = $1 AND key = $2";
    let found = session.row(sql, &[&i64::from(shard), &&key[..]]).map_err(reading("looking for an answer"))?;
    let Some(row) = found else { return Ok(None) };
    let accepted = Accepted {
        shard,
        first: Position(row.get::<_, i64>(0) as u64),
        count: row.get::<_, i64>(1) as u64,
        at: Timestamp::from_micros(row.get(2)),
        repeated: None,
    };
    let found = Remembered { accepted, answer: row.get(3) };
    let ok = sums::idempotency(key, &found.accepted, &found.answer) == row.get::<_, i64>(4);
    let fresh = now.micros_since(found.accepted.at) <= limits::IDEMPOTENCY_US as u64;
    place.unless_damaged(fresh.then_some(found), ok, "a key")
}

/// Every API key, by name.
pub(crate) fn api_keys(session: &mut Session, place: Place<'_>) -> Result<Vec<ApiKey>, ReadError> {
    let sql = "SELECT name, hash, created_us, checksum FROM api_key ORDER BY name";
    let rows = session.rows(sql, &[]).map_err(reading("reading the API keys"))?;
    let key = |row: &postgres::Row| {
        let (name, hash, created) = (row.get::<_, String>(0), row.get::<_, Vec<u8>>(1), row.get(2));
        let created = Timestamp::from_micros(created);
        let ok = sums::api_key(&name, &hash, created) == row.get::<_, i64>(3);
        let hash = hash.try_into().map_err(|_| place.damage(&name, "its digest has another length"))?;
        place.unless_damaged(ApiKey { name: name.clone(), hash, created }, ok, name)
    };
    rows.iter().map(key).collect()
}

/// Keeps something; whether it changed anything.
pub(crate) fn keep(
    session: &mut Session,
    (shard, epoch): (u32, u64),
    keep: &Keep,
    now: Timestamp,
) -> Result<bool, Error> {
    let shard_number = i64::from(shard);
    let changed = match keep {
        Keep::Snapshot { position, version, blob } => {
            save_snapshot(session, shard_number, *position, (*version, blob))?;
            1
        }
        Keep::AddApiKey { name, hash } => {
            let (us, sum) = (now.as_micros(), sums::api_key(name, hash, now));
            let sql = "INSERT INTO api_key (name, hash, created_us, checksum) VALUES ($1, $2, $3, $4)
                ON CONFLICT (name) DO NOTHING";
            session.execute(sql, &[name, &&hash[..], &us, &sum])?
        }
        Keep::RemoveApiKey { name } => session.execute("DELETE FROM api_key WHERE name = $1", &[name])?,
        Keep::Meta { key, value, once } => {
            let sum = sums::pair(b"meta", key, value.as_bytes());
            let sql = "INSERT INTO meta (shard, key, value, checksum) VALUES ($1, $2, $3, $4)
                ON CONFLICT (shard, key) DO UPDATE SET value = excluded.value, checksum = excluded.checksum WHERE NOT $5";
            session.execute(sql, &[&shard_number, key, &value.as_bytes(), &sum, once])?
        }
        Keep::Claim { order } => {
            session.execute(
                "DELETE FROM claim WHERE claimed_at < now() - make_interval(days => $1)",
                &[&limits::CLAIM_DAYS],
            )?;
            // The same owner may claim again, after a restart too: its epoch is then a later one.
            let sql = "INSERT INTO claim (order_id, shard, epoch) VALUES ($1, $2, $3)
                ON CONFLICT (order_id) DO UPDATE SET epoch = excluded.epoch, claimed_at = now()
                WHERE claim.shard = excluded.shard AND claim.epoch <= excluded.epoch";
            session.execute(sql, &[&order.to_string(), &shard_number, &signed(epoch)])?
        }
    };
    Ok(changed > 0)
}

fn save_snapshot(
    session: &mut Session,
    shard: i64,
    position: Position,
    (version, blob): (u32, &[u8]),
) -> Result<(), Error> {
    let sum = sums::snapshot(position, version, blob);
    let sql = "INSERT INTO snapshot (shard, position, version, checksum, blob) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (shard, position) DO UPDATE SET version = excluded.version, checksum = excluded.checksum,
            blob = excluded.blob";
    session.execute(sql, &[&shard, &signed(position.0), &i64::from(version), &sum, &blob])?;
    let sql = "DELETE FROM snapshot WHERE shard = $1 AND position NOT IN
        (SELECT position FROM snapshot WHERE shard = $1 ORDER BY position DESC LIMIT $2)";
    session.execute(sql, &[&shard, &(limits::SNAPSHOTS_KEPT as i64)]).map(|_| ())
}

/// The positions and versions of the snapshots, latest first.
pub(crate) fn snapshots(session: &mut Session, shard: u32) -> Result<Vec<(Position, u32)>, ReadError> {
    let sql = "SELECT position, version FROM snapshot WHERE shard = $1 ORDER BY position DESC";
    let rows = session.rows(sql, &[&i64::from(shard)]).map_err(reading("looking for snapshots"))?;
    Ok(rows.iter().map(|row| (Position(row.get::<_, i64>(0) as u64), row.get::<_, i64>(1) as u32)).collect())
}

/// A snapshot's content.
pub(crate) fn snapshot(
    session: &mut Session,
    place: Place<'_>,
    shard: u32,
    (position, version): (Position, u32),
) -> Result<Vec<u8>, ReadError> {
    let name = format!("the snapshot at position {position}");
    let sql = "SELECT checksum, blob FROM snapshot WHERE shard = $1 AND position = $2";
    let found = session.row(sql, &[&i64::from(shard), &signed(position.0)]).map_err(reading("reading a snapshot"))?;
    let row = found.ok_or_else(|| place.damage(&name, "it is missing"))?;
    let blob: Vec<u8> = row.get(1);
    let ok = sums::snapshot(position, version, &blob) == row.get::<_, i64>(0);
    place.unless_damaged(blob, ok, name)
}
