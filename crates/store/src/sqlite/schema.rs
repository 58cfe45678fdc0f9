//! The tables, and the version of them.

use std::path::Path;

use rusqlite::Connection;

use super::{Place, head, open_error};
use crate::error::OpenError;
use crate::head::Head;

/// The version of the tables here. What an older program left is brought to it; a program that finds a newer one stops.
pub(crate) const VERSION: i64 = STEPS.len() as i64;

/// What makes each version of the one before. A step that a release had never changes: what it made is compared with it.
const STEPS: [&str; 2] = [TABLES, RANK];

/// Tells the file from any other SQLite file: "Vrtc".
const APPLICATION: i64 = 0x5672_7463;

/// Bytes of a page.
pub(crate) const PAGE_BYTES: i64 = 8_192;

const TABLES: &str = "
    -- One row: how far everything has come.
    CREATE TABLE head (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        commits INTEGER NOT NULL,
        log_end INTEGER NOT NULL,
        at_us INTEGER NOT NULL,
        judged INTEGER NOT NULL,
        clean INTEGER NOT NULL,
        checksum INTEGER NOT NULL
    ) STRICT;

    -- The input log. A row holds the events of one group commit, or one other input.
    CREATE TABLE log (
        seq_first INTEGER PRIMARY KEY,
        n INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        at_us INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        blob BLOB NOT NULL
    ) STRICT;

    CREATE TABLE snapshot (
        position INTEGER PRIMARY KEY,
        version INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        blob BLOB NOT NULL
    ) STRICT;

    -- The read model: derived from the log, in the order of the effects.
    CREATE TABLE record (
        kind INTEGER NOT NULL,
        key TEXT NOT NULL,
        position INTEGER NOT NULL,
        idx INTEGER NOT NULL,
        severity INTEGER NOT NULL,
        state TEXT NOT NULL,
        rule_id TEXT,
        threat_id TEXT,
        at_us INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        json TEXT NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX record_key ON record (kind, key);
    CREATE INDEX record_order ON record (position, idx);
    CREATE INDEX record_kind_order ON record (kind, position, idx);
    CREATE INDEX record_threat ON record (threat_id, kind, position, idx) WHERE threat_id IS NOT NULL;

    -- Which records are about which entity.
    CREATE TABLE about (
        entity TEXT NOT NULL,
        kind INTEGER NOT NULL,
        key TEXT NOT NULL,
        PRIMARY KEY (entity, kind, key)
    ) STRICT, WITHOUT ROWID;

    -- How far each source has been read.
    CREATE TABLE cursor (source TEXT PRIMARY KEY, value BLOB NOT NULL, checksum INTEGER NOT NULL) STRICT, WITHOUT ROWID;

    -- Requests that were answered, in order.
    CREATE TABLE idempotency (
        key BLOB PRIMARY KEY,
        first INTEGER NOT NULL,
        count INTEGER NOT NULL,
        at_us INTEGER NOT NULL,
        answer BLOB NOT NULL,
        checksum INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX idempotency_age ON idempotency (at_us);

    CREATE TABLE api_key (
        name TEXT PRIMARY KEY,
        hash BLOB NOT NULL,
        created_us INTEGER NOT NULL,
        checksum INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

// The times are cut to seconds before they are read, for SQLite rounds them.
const RANK: &str = "
    -- Where threats stand when they are sorted by priority; -1 of all else.
    ALTER TABLE record ADD COLUMN rank INTEGER NOT NULL DEFAULT -1;
    UPDATE record SET rank = ifnull(json_extract(json, '$.triage.priority'), 0) * 100000000000
        + ifnull(max(0, unixepoch(substr(json_extract(json, '$.opened_at'), 1, 19))), 0)
        WHERE kind = 1 AND json_valid(json);
    CREATE INDEX record_rank ON record (rank, key) WHERE rank >= 0;
";

/// Makes the tables if there are none, brings older ones up to date, and refuses those of a newer version and damaged ones.
pub(crate) fn prepare(db: &Connection, file: &Path) -> Result<(), OpenError> {
    let error = |e| open_error(file, "preparing", e);
    let number = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(error);
    let (found, application) = (number("user_version")?, number("application_id")?);
    let tables = describe(db).map_err(error)?;
    if tables.is_empty() && (found, application) == (0, 0) {
        return make(db, 0).map_err(error);
    }
    let place = Place { file, table: "the table of tables" };
    if application != APPLICATION {
        let what = format!("its mark is {application:#x}, and the one of a data directory is {APPLICATION:#x}");
        return Err(OpenError::Damaged(place.damage("the first page", what)));
    }
    if !(1..=VERSION).contains(&found) {
        return Err(OpenError::Schema { file: file.to_owned(), found, known: VERSION });
    }
    if tables != expected(found).map_err(error)? {
        return Err(OpenError::Damaged(place.damage("the first page", "the tables are not those that were made")));
    }
    if found < VERSION { make(db, found).map_err(error) } else { Ok(()) }
}

/// Every table and index as it was made.
type Described = Vec<(String, Option<String>)>;

fn describe(db: &Connection) -> Result<Described, rusqlite::Error> {
    db.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

fn expected(version: i64) -> Result<Described, rusqlite::Error> {
    let db = Connection::open_in_memory()?;
    STEPS.iter().take(version as usize).try_for_each(|step| db.execute_batch(step))?;
    describe(&db)
}

/// Makes of one version, of which 0 is nothing, the latest: all of it, or nothing.
fn make(db: &Connection, found: i64) -> Result<(), rusqlite::Error> {
    let tx = db.unchecked_transaction()?;
    STEPS.iter().skip(found as usize).try_for_each(|step| tx.execute_batch(step))?;
    tx.pragma_update(None, "user_version", VERSION)?;
    if found == 0 {
        tx.pragma_update(None, "application_id", APPLICATION)?;
        head::write(&tx, &Head::default())?;
    }
    tx.commit()
}
