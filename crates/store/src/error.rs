//! What can go wrong, to what, and whether trying again helps.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Damaged data: where it is, and what is wrong with it. Nothing damaged is ever skipped.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{}: {table}, {place}: {what}; nothing was skipped: restore it from a backup, or move it away and start anew",
    file.display()
)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// The table, or the part of the file.
    pub table: &'static str,
    /// Where in it: a log position, an id, a name.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

/// Why a data directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{} is in use by {}; two processes can not share a data directory", dir.display(), Holder(*pid))]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The other process, if it said who it is.
        pid: Option<u32>,
    },
    /// It was written by another version.
    #[error("{} has schema version {found}, and this program knows {known}; use the program that wrote it", file.display())]
    Schema {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: i64,
        /// The one known here.
        known: i64,
    },
    /// What it holds is damaged.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// A file could not be made, read or locked.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A server can not be used.
    #[error("{server}: {what}; {advice}")]
    Server {
        /// Where it is.
        server: String,
        /// What is wrong.
        what: String,
        /// What to do.
        advice: &'static str,
    },
    /// The database said no.
    #[error("{doing} {}: {source}", path.display())]
    Database {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: DatabaseError,
    },
}

struct Holder(Option<u32>);

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("another process"),
        }
    }
}

/// Why something was not kept. Nothing of it was.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SubmitError {
    /// More is waiting for the disk than is good. Trying again helps.
    #[error("the store is busy; try again in {} s", retry_after.as_secs())]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The disk is full. Trying again helps once there is space; no restart is needed.
    #[error("the disk is full; free some space and try again in {} s", retry_after.as_secs())]
    DiskFull {
        /// When to try again.
        retry_after: Duration,
    },
    /// It is longer than any that can be kept. Trying again does not help.
    #[error("{what} has {bytes} bytes, and at most {max} can be kept")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// The writer has stopped for good, because the disk failed or because the store was closed. Trying
    /// again helps only after a restart.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// The writer has stopped.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the store has stopped: {reason}")]
pub struct Stopped {
    /// Why.
    pub reason: Arc<str>,
    /// Whether it stopped because the disk failed: what was not acknowledged may or may not be kept, and
    /// the process must end.
    pub fatal: bool,
    /// Whether another instance has the shard now. It goes on from what was acknowledged; of what was not, nothing more
    /// may be done here.
    pub taken_over: bool,
}

impl Stopped {
    pub(crate) fn closed() -> Stopped {
        Stopped { reason: "it was closed".into(), fatal: false, taken_over: false }
    }

    pub(crate) fn fatal(reason: impl Into<Arc<str>>) -> Stopped {
        Stopped { reason: reason.into(), fatal: true, taken_over: false }
    }

    pub(crate) fn taken_over(reason: impl Into<Arc<str>>) -> Stopped {
        Stopped { reason: reason.into(), fatal: false, taken_over: true }
    }
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is damaged.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The database said no.
    #[error("{doing}: {source}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: DatabaseError,
    },
}

/// What a database says.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// SQLite.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL.
    #[error("{}", crate::postgres::session::words(_0))]
    Postgres(#[from] postgres::Error),
    /// A server that can not be used.
    #[error("{0}")]
    Server(String),
}

/// Why an id or the beginning of one found nothing.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// Nothing has it.
    #[error("there is no {kind} {prefix}")]
    NotFound {
        /// What was looked for.
        kind: &'static str,
        /// By which id.
        prefix: String,
    },
    /// The beginning is too short to look for.
    #[error("{prefix:?} is too short for an id: at least {min} characters are needed")]
    TooShort {
        /// What was given.
        prefix: String,
        /// How many characters are needed.
        min: usize,
    },
    /// Several have it.
    #[error("{prefix} could be {}", candidates.join(" or "))]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// The first few of those that begin with it.
        candidates: Vec<String>,
    },
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What an error of the database means for the writer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// There is no space. The transaction was rolled back; the next may succeed.
    NoSpace,
    /// The disk failed, or the data is damaged. What was written may or may not be there, so nothing
    /// more may be written through this connection.
    Fatal,
}

/// Tells a full disk from a broken one.
///
/// A failed sync is always fatal: the kernel drops the pages that it could not write and reports the
/// failure once, so a second sync that succeeds proves nothing. SQLite reports ENOSPC as `SQLITE_FULL`;
/// when the index of the write-ahead log can not grow it says `SQLITE_IOERR_SHMSIZE`, before anything is
/// written, and there is no other cause than space.
pub(crate) fn classify(error: &rusqlite::Error) -> Fault {
    let Some(code) = error.sqlite_error().map(|e| e.extended_code) else { return Fault::Fatal };
    match code {
        rusqlite::ffi::SQLITE_FULL | rusqlite::ffi::SQLITE_IOERR_SHMSIZE => Fault::NoSpace,
        _ => Fault::Fatal,
    }
}

/// Whether an error of the database says that its file is damaged.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as E;
    use rusqlite::ffi::{SQLITE_CORRUPT, SQLITE_IOERR_SHORT_READ, SQLITE_NOTADB};
    match error {
        // The low byte is the code; the others say more of it.
        E::SqliteFailure(e, _) => {
            e.extended_code == SQLITE_IOERR_SHORT_READ
                || [SQLITE_CORRUPT, SQLITE_NOTADB].contains(&(e.extended_code & 0xff))
        }
        E::InvalidColumnType(..)
        | E::FromSqlConversionFailure(..)
        | E::IntegralValueOutOfRange(..)
        | E::Utf8Error(..) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn failure(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn only_a_lack_of_space_is_survived() {
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_SHMSIZE] {
            assert_eq!(classify(&failure(code)), Fault::NoSpace, "{code}");
        }
        for code in [
            ffi::SQLITE_IOERR,
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_IOERR_DIR_FSYNC,
            ffi::SQLITE_IOERR_WRITE,
            ffi::SQLITE_IOERR_READ,
            ffi::SQLITE_IOERR_TRUNCATE,
            ffi::SQLITE_IOERR_CLOSE,
            ffi::SQLITE_IOERR_SHMMAP,
            ffi::SQLITE_CORRUPT,
            ffi::SQLITE_NOTADB,
            ffi::SQLITE_READONLY,
            ffi::SQLITE_NOMEM,
            ffi::SQLITE_CONSTRAINT,
        ] {
            assert_eq!(classify(&failure(code)), Fault::Fatal, "{code}");
        }
        assert_eq!(classify(&rusqlite::Error::QueryReturnedNoRows), Fault::Fatal);
    }

    #[test]
    fn damage_is_told_from_refusal() {
        assert!(is_damage(&failure(ffi::SQLITE_CORRUPT)));
        assert!(is_damage(&failure(ffi::SQLITE_CORRUPT_INDEX)));
        assert!(is_damage(&failure(ffi::SQLITE_NOTADB)));
        assert!(is_damage(&failure(ffi::SQLITE_IOERR_SHORT_READ)));
        assert!(!is_damage(&failure(ffi::SQLITE_BUSY)));
        assert!(!is_damage(&rusqlite::Error::QueryReturnedNoRows));
    }

    #[test]
    fn errors_say_what_to_do() {
        let damage =
            Damage { file: "d/vertice.db".into(), table: "log", place: "position 7".into(), what: "checksum".into() };
        assert!(damage.to_string().starts_with("d/vertice.db: log, position 7: checksum; nothing was skipped"));
        let in_use = |pid| OpenError::InUse { dir: "d".into(), pid }.to_string();
        assert!(in_use(Some(4)).contains("by process 4"));
        assert!(in_use(None).contains("by another process"));
        let retry_after = Duration::from_secs(5);
        assert!(SubmitError::DiskFull { retry_after }.to_string().ends_with("in 5 s"));
    }
}
