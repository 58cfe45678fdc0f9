//! Everything that knows SQLite: the file, its tables, and its errors.

pub(crate) mod head;
pub(crate) mod keep;
pub(crate) mod log;
pub(crate) mod opening;
pub(crate) mod reading;
pub(crate) mod records;
pub(crate) mod schema;
pub(crate) mod verify;
pub(crate) mod writing;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::error::{OpenError, ReadError, is_damage};
use crate::limits;
pub(crate) use crate::place::Place;
pub(crate) use crate::sums::signed;

/// The database's name in the data directory.
pub(crate) const FILE: &str = "vertice.db";

impl Place<'_> {
    /// What an error of the database means while reading here.
    pub(crate) fn error(self, doing: &'static str, place: impl Into<String>, source: rusqlite::Error) -> ReadError {
        if is_damage(&source) {
            ReadError::Damaged(self.damage(place, source.to_string()))
        } else {
            ReadError::Database { doing, source: source.into() }
        }
    }
}

/// Opens the one connection that writes; makes the tables if the file is new.
pub(crate) fn open_writer(dir: &Path) -> Result<Connection, OpenError> {
    let file = dir.join(FILE);
    let open = || -> Result<Connection, rusqlite::Error> {
        let db = Connection::open(&file)?;
        // Only before the first table; 8 KiB make half the frames of SQLite's own 4.
        db.pragma_update(None, "page_size", schema::PAGE_BYTES)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        as_the_writer(&db)?;
        db.pragma_update(None, "cell_size_check", true)?;
        db.set_prepared_statement_cache_capacity(64);
        Ok(db)
    };
    let db = open().map_err(|e| open_error(&file, "opening", e))?;
    schema::prepare(&db, &file)?;
    Ok(db)
}

/// What holds for every connection that writes to the file.
pub(crate) fn as_the_writer(db: &Connection) -> Result<(), rusqlite::Error> {
    db.pragma_update(None, "synchronous", "FULL")?;
    // The writer says when there is a checkpoint.
    db.pragma_update(None, "wal_autocheckpoint", 0)
}

/// Opens a connection that can only read.
pub(crate) fn open_reader(file: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(file, flags)?;
    db.busy_timeout(limits::READ_LOCK_WAIT)?;
    db.pragma_update(None, "query_only", true)?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

/// What an error of the database means while opening.
pub(crate) fn open_error(file: &Path, doing: &'static str, source: rusqlite::Error) -> OpenError {
    if is_damage(&source) {
        let place = Place { file, table: "the whole file" };
        return OpenError::Damaged(place.damage("while it was opened", source.to_string()));
    }
    OpenError::Database { doing, path: file.to_owned(), source: source.into() }
}

/// The database's path in a data directory.
pub(crate) fn file_of(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// The write-ahead log's path beside the database.
pub(crate) fn wal_of(dir: &Path) -> PathBuf {
    dir.join(format!("{FILE}-wal"))
}
