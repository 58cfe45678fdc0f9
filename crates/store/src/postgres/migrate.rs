//! Moving a data directory to a shard: once, going on where it was after a kill, and compared row for row at the end.
//!
//! The target says whose rows it takes (`shard.moving`), and nobody can take the shard until all of it is there and was
//! compared. Each step is one transaction that goes on from the last row that is there, so a kill costs one step.

use std::path::{Path, PathBuf};

use ring::rand::SecureRandom as _;
use rusqlite::Connection;

use super::copies::{self, TABLES, Table};
use super::opening::session;
use super::session::{Session, words};
use super::settings::PostgresSettings;
use crate::concern::HOME;
use crate::error::{OpenError, ReadError, SubmitError};
use crate::head::Head;
use crate::{Check, Clock, Filter, Options, RecordKind, Store, audit};

/// Under which setting a directory remembers which move it is part of.
const MOVE: &str = "moving_to_postgres";

/// What was moved.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Moved {
    /// Rows, of all tables.
    pub rows: u64,
    /// Lines of the audit.
    pub audit: u64,
    /// Positions of the log.
    pub positions: u64,
}

/// Why a directory was not moved. What is there already stays, and the same again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The directory or the server can not be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The directory can not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The directory can not be written to.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The audit can not be read.
    #[error(transparent)]
    Audit(#[from] audit::AuditError),
    /// The database said no.
    #[error("moving to {server}: {what}; the same again goes on from here")]
    Server {
        /// Where it is.
        server: String,
        /// Why not.
        what: String,
    },
    /// The target is not one that may be written to.
    #[error("{server}: {what}; nothing was changed there")]
    Refused {
        /// Where it is.
        server: String,
        /// Why not.
        what: String,
    },
    /// Another shard than the one that decides about suppressions would hold some.
    #[error(
        "the directory has {count} suppressions, about which shard {HOME} decides: move it to that one; nothing was changed"
    )]
    Suppressions {
        /// How many.
        count: u64,
    },
    /// What was moved is not what was there.
    #[error("{server}: {table}: {what}; the shard can not be taken, and the directory is as it was")]
    Different {
        /// Where it is.
        server: String,
        /// Which table.
        table: &'static str,
        /// What is different.
        what: String,
    },
}

/// Moves a data directory, which nobody may have open, to a shard, which must be empty. `progress` is told of each step:
/// the table, and how many of its rows are there.
///
/// # Errors
/// When either can not be used, when the target is not empty or is another directory's, or when anything is different at
/// the end.
pub fn migrate(
    dir: &Path,
    (settings, shard): (&PostgresSettings, u32),
    clock: Clock,
    progress: &mut dyn FnMut(&'static str, u64),
) -> Result<Moved, MoveError> {
    // Held until the end, so that nobody else has it.
    let store = Store::open(dir, clock, Options { check: Check::Everything, ..Options::default() })?;
    // Elsewhere they would keep detections back, and nobody could see or lift them.
    let count = store.count(RecordKind::Suppression, &Filter::default())?;
    if shard != HOME && count > 0 {
        return Err(MoveError::Suppressions { count });
    }
    let id = identity(&store)?;
    let mut to = Target { session: session(settings, "migrate")?, server: settings.whereabouts(), shard, id };
    to.reserve()?;
    let from = crate::sqlite::open_reader(&crate::sqlite::file_of(dir)).map_err(reading)?;
    let mut moved = Moved { positions: store.log_end().0, ..Moved::default() };
    for table in TABLES {
        moved.rows += to.copy(&from, table, progress)?;
    }
    moved.audit = to.copy_audit(dir, progress)?;
    for table in TABLES {
        to.compare(&from, table)?;
    }
    to.compare_audit(settings, dir)?;
    let head = crate::sqlite::head::read(&from, crate::place::Place { file: dir, table: "head" })?;
    to.release(&head)?;
    drop(from);
    store.close().map_err(SubmitError::from)?;
    Ok(moved)
}

fn reading(source: rusqlite::Error) -> ReadError {
    ReadError::Database { doing: "reading what is to be moved", source: source.into() }
}

/// The name of the move that a directory is part of, which it keeps for ever.
fn identity(store: &Store) -> Result<String, MoveError> {
    if let Some(known) = store.meta(MOVE)? {
        return Ok(known);
    }
    let mut bytes = [0; 16];
    let drawn = ring::rand::SystemRandom::new().fill(&mut bytes);
    drawn.map_err(|_| OpenError::Io {
        doing: "drawing a name for the move of",
        path: PathBuf::from("a data directory"),
        source: std::io::Error::other("the system gives no random bytes"),
    })?;
    let id = audit::Hex(bytes).to_string();
    store.set_meta(MOVE, &id)?;
    Ok(id)
}

/// Where it goes.
struct Target {
    session: Session,
    server: String,
    shard: u32,
    id: String,
}

impl Target {
    fn failed(&self) -> impl Fn(postgres::Error) -> MoveError + use<> {
        let server = self.server.clone();
        move |e| MoveError::Server { server: server.clone(), what: words(&e) }
    }

    /// Says that the shard takes this directory's rows and nobody else's, if it is empty or says so already.
    fn reserve(&mut self) -> Result<(), MoveError> {
        let (failed, server, shard) = (self.failed(), self.server.clone(), self.shard);
        let refused = |what: String| Err(MoveError::Refused { server: server.clone(), what });
        let number = i64::from(shard);
        let make = "INSERT INTO shard (shard, epoch, commits, log_end, at_us, judged, checksum)
            VALUES ($1, 0, 0, 0, 0, 0, $2) ON CONFLICT (shard) DO NOTHING";
        self.session.execute(make, &[&number, &Head::default().checksum()]).map_err(&failed)?;
        self.session.batch("BEGIN").map_err(&failed)?;
        let row = self.session.row("SELECT moving FROM shard WHERE shard = $1 FOR UPDATE", &[&number]);
        let moving: Option<String> = row.map_err(&failed)?.and_then(|row| row.get(0));
        match moving {
            Some(id) if id == self.id => {}
            Some(_) => return refused(format!("shard {shard} is where another directory is being moved to")),
            None => {
                if let Some(table) = self.first_with_rows().map_err(&failed)? {
                    return refused(format!("shard {shard} is not empty: it has rows in {table}"));
                }
                // Whoever had the empty shard has it no more.
                let sql = "UPDATE shard SET moving = $2, epoch = epoch + 1 WHERE shard = $1";
                self.session.execute(sql, &[&number, &self.id]).map_err(&failed)?;
            }
        }
        self.session.batch("COMMIT").map_err(failed)
    }

    fn first_with_rows(&mut self) -> Result<Option<&'static str>, postgres::Error> {
        let number = i64::from(self.shard);
        for table in TABLES.iter().map(|t| t.name).chain(["audit", "audit_seal"]) {
            // Keys are of all shards; whether they fit each other is seen when they are compared.
            if table == "api_key" {
                continue;
            }
            let sql = format!("SELECT 1 FROM {table} WHERE shard = $1 LIMIT 1");
            if self.session.row(&sql, &[&number])?.is_some() {
                return Ok(Some(table));
            }
        }
        Ok(None)
    }

    /// Copies a table from where it stands on.
    fn copy(
        &mut self,
        from: &Connection,
        table: &Table,
        progress: &mut dyn FnMut(&'static str, u64),
    ) -> Result<u64, MoveError> {
        let failed = self.failed();
        let mut done = copies::count(&mut self.session, self.shard, table).map_err(&failed)?;
        let mut after = copies::last(&mut self.session, self.shard, table).map_err(&failed)?;
        loop {
            let rows = copies::page(from, table, after.as_deref()).map_err(reading)?;
            if rows.is_empty() {
                return Ok(done);
            }
            let (shard, count) = (self.shard, rows.len() as u64);
            let new = self.session.transaction(|s| copies::put(s, shard, table, &rows)).map_err(&failed)?;
            done += count;
            after = rows.last().map(|row| row.key(table));
            if new > 0 {
                progress(table.name, done);
            }
        }
    }

    /// Copies the lines of the audit, and its seal with the last of them.
    fn copy_audit(&mut self, dir: &Path, progress: &mut dyn FnMut(&'static str, u64)) -> Result<u64, MoveError> {
        let file = audit::file_of(dir);
        if !file.exists() {
            return Ok(0);
        }
        let (failed, number) = (self.failed(), i64::from(self.shard));
        let sql = "SELECT count(*) FROM audit WHERE shard = $1";
        let there = self.session.row(sql, &[&number]).map_err(&failed)?.map_or(0, |row| row.get::<_, i64>(0));
        let (mut n, mut lines): (i64, Vec<Vec<u8>>) = (0, Vec::new());
        let trust = audit::Trust { key: audit::public_key(dir)?, anchor: None };
        audit::verify::<MoveError>(&file, &trust, |line| {
            n += 1;
            if n > there {
                lines.push(format!("{line}\n").into_bytes());
            }
            if lines.len() as i64 >= crate::limits::AUDIT_ROWS {
                self.put_audit(n, &std::mem::take(&mut lines))?;
                progress("audit", n as u64);
            }
            Ok(())
        })?;
        self.put_audit(n, &lines)?;
        let seal = audit::seal_of(&file)?;
        let sql = "INSERT INTO audit_seal (shard, line) VALUES ($1, $2) ON CONFLICT (shard) DO NOTHING";
        if self.session.execute(sql, &[&number, &seal]).map_err(failed)? > 0 {
            progress("audit", n as u64);
        }
        Ok(n as u64)
    }

    /// Lines of which the last is entry `n`.
    fn put_audit(&mut self, n: i64, lines: &[Vec<u8>]) -> Result<(), MoveError> {
        let numbers: Vec<i64> = (n - lines.len() as i64 + 1..=n).collect();
        let sql = "INSERT INTO audit (shard, n, line) SELECT $1, * FROM unnest($2::bigint[], $3::bytea[])";
        self.session.execute(sql, &[&i64::from(self.shard), &numbers, &lines]).map(|_| ()).map_err(self.failed())
    }

    /// Compares every row of a table, in both directions: the same rows, in the same order.
    fn compare(&mut self, from: &Connection, table: &'static Table) -> Result<(), MoveError> {
        let failed = self.failed();
        let different = |what: String| MoveError::Different { server: self.server.clone(), table: table.name, what };
        let (mut done, mut after) = (0, None::<Vec<copies::Cell>>);
        loop {
            let ours = copies::page(from, table, after.as_deref()).map_err(reading)?;
            let theirs = copies::page_there(&mut self.session, self.shard, table, &ours).map_err(&failed)?;
            for row in &ours {
                match theirs.get(&row.key(table)) {
                    Some(found) if found == row => {}
                    Some(_) => return Err(different(format!("the row {} is another one there", row.name(table)))),
                    None => return Err(different(format!("the row {} is not there", row.name(table)))),
                }
            }
            done += ours.len() as u64;
            match ours.last() {
                Some(last) => after = Some(last.key(table)),
                None => break,
            }
        }
        let there = copies::count(&mut self.session, self.shard, table).map_err(failed)?;
        if there == done || table.shared {
            return Ok(());
        }
        Err(different(format!("there are {there} rows there, and {done} here")))
    }

    fn compare_audit(&mut self, settings: &PostgresSettings, dir: &Path) -> Result<(), MoveError> {
        let file = audit::file_of(dir);
        if !file.exists() {
            return Ok(());
        }
        let trust = audit::Trust { key: audit::public_key(dir)?, anchor: None };
        let ours = audit::verify::<MoveError>(&file, &trust, |_| Ok(()))?;
        let theirs = audit::verify_shard::<MoveError>(settings, self.shard, &trust, |_| Ok(()))?;
        let of = |v: &audit::Verified| (v.entries, v.bytes, v.judged, v.head, v.key);
        if of(&ours) == of(&theirs) && theirs.tail.is_empty() {
            return Ok(());
        }
        let what = "it is not the one that was moved".to_owned();
        Err(MoveError::Different { server: self.server.clone(), table: "audit", what })
    }

    /// Lets the shard be taken.
    fn release(&mut self, head: &Head) -> Result<(), MoveError> {
        let (failed, shard) = (self.failed(), self.shard);
        let head = Head { clean: false, ..*head };
        self.session
            .transaction(|s| {
                super::writing::write_head(s, shard, &head)?;
                s.execute("UPDATE shard SET moving = NULL WHERE shard = $1", &[&i64::from(shard)]).map(|_| ())
            })
            .map_err(failed)
    }
}
