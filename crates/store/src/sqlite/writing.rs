//! Writing to the file: transactions, and moving the write-ahead log into it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use vertice_model::Timestamp;

use super::{Place, head, keep, log, records, schema};
use crate::beside::Beside;
use crate::database::{Database, Failure, Inbox, Letter, Tx, Work};
use crate::directory::Directory;
use crate::error::{Fault, ReadError, Stopped, classify, is_damage};
use crate::head::Head;
use crate::queue::{Keep, Telling};
use crate::record::RecordRow;
use crate::row::NewRow;
use crate::stats::StoreStats;
use crate::{Accepted, Cursor, Idempotency, Remembered, limits};

/// The file, as its only writer has it.
pub(crate) struct File {
    pub(crate) db: Connection,
    pub(crate) file: PathBuf,
    pub(crate) wal: PathBuf,
    pub(crate) directory: Directory,
    pub(crate) stats: Arc<StoreStats>,
    /// The size from which the write-ahead log is moved into the file.
    pub(crate) wal_bytes: u64,
    /// About how far the write-ahead log is filled; made exact by each checkpoint.
    pub(crate) wal_used: u64,
    /// Moves most of the write-ahead log.
    pub(crate) beside: Beside,
}

impl Database for File {
    fn write(&mut self, _: &Head, work: &mut Work<'_>) -> Result<Head, Failure> {
        let failure = |e| failure(&self.file, "writing", &e);
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failure)?;
        let mut writing = Writing { db: &tx, file: &self.file, bytes: 0 };
        let head = work(&mut writing)?;
        let bytes = writing.bytes;
        head::write(&tx, &head).and_then(|()| tx.commit()).map_err(failure)?;
        // A page for each row, the head and the way down to it, beside what they hold.
        self.wal_used += bytes + 3 * schema::PAGE_BYTES as u64;
        Ok(head)
    }

    fn committed(&mut self, head: &Head) {
        if let Err(e) = self.directory.note(head.commits) {
            // It only helps to find damage later; what was committed is durable without it.
            tracing::warn!(error = %e, "the number of commits could not be noted");
        }
    }

    /// Moves the write-ahead log into the file once it is large, so that its blocks are used again: most of it beside
    /// the writer, and then what was committed meanwhile.
    fn upkeep(&mut self) -> Result<(), Stopped> {
        if self.wal_used <= self.wal_bytes {
            return Ok(());
        }
        let force = self.wal_used > self.wal_bytes * limits::WAL_FORCE_FACTOR;
        if !force {
            match self.beside.turn(&self.file) {
                None => return Ok(()),
                Some(Ok(())) => {}
                // What is in the write-ahead log is durable there; the next checkpoint tries again.
                Some(Err(e)) if classify(&e) == Fault::NoSpace || is_busy(&e) => return Ok(()),
                Some(Err(e)) => return Err(fatal(&self.file, "checkpointing", &e)),
            }
        }
        let (mode, wait) = if force { ("RESTART", limits::WAL_FORCE_WAIT) } else { ("PASSIVE", Duration::ZERO) };
        let frames = self.db.busy_timeout(wait).and_then(|()| {
            self.db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
                Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
            })
        });
        self.stats.checkpoints.fetch_add(1, Relaxed);
        match frames {
            // All of it was moved: the next transaction begins at its front again.
            Ok((in_log, moved)) if in_log == moved => self.wal_used = 0,
            Ok((in_log, _)) => self.wal_used = in_log as u64 * schema::PAGE_BYTES as u64,
            // As above.
            Err(e) if classify(&e) == Fault::NoSpace || is_busy(&e) => {}
            Err(e) => return Err(fatal(&self.file, "checkpointing", &e)),
        }
        self.stats.wal_bytes.store(std::fs::metadata(&self.wal).map_or(0, |m| m.len()), Relaxed);
        Ok(())
    }

    /// Moves everything into the file and says that nothing is left over.
    fn close(&mut self, head: &Head) -> Result<(), Stopped> {
        self.beside.end();
        let head = Head { commits: head.commits + 1, clean: true, ..*head };
        let written = head::write(&self.db, &head);
        let written = written.and_then(|()| self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
        match written {
            Ok(()) => {
                self.committed(&head);
                Ok(())
            }
            Err(e) if classify(&e) == Fault::NoSpace => Ok(()),
            Err(e) => Err(fatal(&self.file, "closing", &e)),
        }
    }

    fn judged_within(&self) -> Option<Duration> {
        None
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
}

fn failure(file: &std::path::Path, doing: &str, error: &rusqlite::Error) -> Failure {
    match classify(error) {
        Fault::NoSpace => Failure::NoSpace(error.to_string()),
        Fault::Fatal => Failure::Stop(fatal(file, doing, error)),
    }
}

fn fatal(file: &std::path::Path, doing: &str, error: &rusqlite::Error) -> Stopped {
    let what = if is_damage(error) { " (it is damaged)" } else { "" };
    let reason = format!("{doing} {} failed: {error}{what}", file.display());
    tracing::error!(reason, "the store stops: what was not acknowledged may or may not be kept");
    Stopped::fatal(reason)
}

/// A transaction of the file.
struct Writing<'a> {
    db: &'a Connection,
    file: &'a std::path::Path,
    /// About how many bytes of pages it touches.
    bytes: u64,
}

impl Writing<'_> {
    fn done<T>(&self, result: Result<T, rusqlite::Error>) -> Result<T, Failure> {
        result.map_err(|e| failure(self.file, "writing", &e))
    }
}

impl Tx for Writing<'_> {
    fn append(&mut self, row: &NewRow<'_>) -> Result<(), Failure> {
        self.bytes += row.bytes as u64;
        self.done(log::append(self.db, row))
    }

    fn project(&mut self, rows: &[RecordRow]) -> Result<(), Failure> {
        // A record touches its own page and one of each of four indices.
        self.bytes += rows.len() as u64 * 5 * schema::PAGE_BYTES as u64;
        self.done(rows.iter().try_for_each(|row| records::project(self.db, row)))
    }

    fn remembered(&mut self, key: &[u8; 32], now: Timestamp) -> Result<Option<Remembered>, Failure> {
        let place = Place { file: self.file, table: "idempotency" };
        keep::remembered(self.db, place, key, now).map_err(|e| match e {
            ReadError::Database { source: crate::DatabaseError::Sqlite(source), .. } => {
                failure(self.file, "writing", &source)
            }
            other @ (ReadError::Database { .. } | ReadError::Damaged(_)) => {
                Failure::Stop(Stopped::fatal(format!("writing {} failed: {other}", self.file.display())))
            }
        })
    }

    fn remember(&mut self, idempotency: &Idempotency, accepted: &Accepted) -> Result<(), Failure> {
        self.done(keep::remember(self.db, idempotency, accepted))
    }

    fn set_cursor(&mut self, cursor: &Cursor) -> Result<(), Failure> {
        self.done(keep::set_cursor(self.db, cursor))
    }

    fn keep(&mut self, keep: &Keep, now: Timestamp) -> Result<bool, Failure> {
        let kept = match keep {
            Keep::Snapshot { position, version, blob } => {
                self.bytes += blob.len() as u64;
                keep::save_snapshot(self.db, *position, *version, blob)
            }
            Keep::AddApiKey { name, hash } => keep::add_api_key(self.db, name, hash, now),
            Keep::RemoveApiKey { name } => keep::remove_api_key(self.db, name),
            Keep::Meta { key, value, once } => keep::set_meta(self.db, key, value, *once),
            // There is no other instance that could have it.
            Keep::Claim { .. } => Ok(true),
        };
        self.done(kept)
    }

    /// There is no other.
    fn tell(&mut self, _: &[Telling]) -> Result<(), Failure> {
        Ok(())
    }

    fn inbox(&mut self) -> Result<Inbox, Failure> {
        Ok(Inbox::default())
    }

    fn heard(&mut self, _: &Letter) -> Result<(), Failure> {
        Ok(())
    }

    fn taken(&mut self, _: &Letter, _: &Accepted) -> Result<(), Failure> {
        Ok(())
    }
}
