//! The one thread that writes: it gathers what waits, commits it in one transaction, and says so.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{oneshot, watch};
use vertice_model::{Position, Timestamp};

use crate::beside::Beside;
use crate::chunk::Chunk;
use crate::directory::Directory;
use crate::error::{Fault, ReadError, Stopped, SubmitError, classify, is_damage};
use crate::queue::{Append, Command, InputKind, Keep, Projection, Queue};
use crate::sqlite::head::Head;
use crate::sqlite::log::NewRow;
use crate::sqlite::{self, Place, keep, log, records};
use crate::stats::StoreStats;
use crate::{Accepted, Clock, limits};

/// What everybody who waits for news of the log is told.
#[derive(Debug)]
pub(crate) struct News {
    /// The last position of the log.
    pub(crate) appended: watch::Sender<Position>,
    /// Up to where the log was judged and projected.
    pub(crate) judged: watch::Sender<Position>,
    /// Why the writer stopped for good, if the disk failed.
    pub(crate) failed: watch::Sender<Option<Stopped>>,
}

/// The writer's own state.
pub(crate) struct Writer {
    pub(crate) db: Connection,
    pub(crate) file: PathBuf,
    pub(crate) wal: PathBuf,
    pub(crate) directory: Directory,
    pub(crate) head: Head,
    pub(crate) clock: Clock,
    pub(crate) queue: Arc<Queue>,
    pub(crate) stats: Arc<StoreStats>,
    pub(crate) news: Arc<News>,
    /// The size from which the write-ahead log is moved into the file.
    pub(crate) wal_bytes: u64,
    /// About how far the write-ahead log is filled; made exact by each checkpoint.
    pub(crate) wal_used: u64,
    /// Moves most of the write-ahead log.
    pub(crate) beside: Beside,
    /// Projections that the disk had no space for.
    pub(crate) owed: Vec<(Projection, oneshot::Sender<Result<(), Stopped>>)>,
}

/// What became of one member of a group.
enum Outcome {
    Accepted(Accepted),
    Projected,
    Kept(bool),
}

/// Stops the store when the writer ends in a panic, so that nobody waits for an answer for ever.
struct Alarm {
    queue: Arc<Queue>,
    stats: Arc<StoreStats>,
    news: Arc<News>,
}

impl Alarm {
    /// Refuses everything that waits and everything that comes.
    fn ring(&self, stopped: Stopped) {
        self.stats.fatal.store(1, Relaxed);
        self.queue.stop(stopped.clone());
        let error = SubmitError::Stopped(stopped.clone());
        let waiting = std::iter::from_fn(|| self.queue.take(Some(Duration::ZERO), 0)).flatten();
        waiting.for_each(|command| refuse(command, &error));
        self.news.failed.send_replace(Some(stopped));
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.ring(Stopped { reason: "the writer has panicked".into(), fatal: true });
        }
    }
}

impl Writer {
    /// Writes until the queue is stopped and empty, or the disk fails.
    pub(crate) fn run(mut self) {
        let alarm = Alarm { queue: self.queue.clone(), stats: self.stats.clone(), news: self.news.clone() };
        let mut likely = 1;
        loop {
            let wait = (!self.owed.is_empty()).then_some(limits::DISK_FULL_PROBE);
            let Some(group) = self.queue.take(wait, likely) else { break };
            likely = group.iter().filter(|c| matches!(c, Command::Append(..))).count();
            if group.is_empty() && self.owed.is_empty() {
                continue;
            }
            if let Err(stopped) = self.commit(group).and_then(|()| self.checkpoint_if_due()) {
                return self.fail(&alarm, stopped);
            }
        }
        if let Err(stopped) = self.close() {
            self.fail(&alarm, stopped);
        }
    }

    /// Commits a group with whatever projections are owed, and answers its members.
    fn commit(&mut self, group: Vec<Command>) -> Result<(), Stopped> {
        let owed = std::mem::take(&mut self.owed).into_iter().map(|(p, ack)| Command::Project(p, ack));
        let group: Vec<Command> = owed.chain(group).collect();
        if let Some(judged) = only_judged(&group) {
            // Nothing came of it, so nothing is lost if it is judged again: the next transaction writes how far it is.
            self.head.judged = self.head.judged.max(judged);
            let outcomes = group.iter().map(|_| Outcome::Projected).collect();
            self.answer(group, outcomes);
            return Ok(());
        }
        let begun = monotonic();
        let written = self.write(&group);
        self.stats.commit_duration.observe(begun.elapsed().as_micros() as u64);
        match written {
            Ok((head, outcomes)) => {
                self.head = head;
                self.note();
                self.stats.commits.fetch_add(1, Relaxed);
                self.answer(group, outcomes);
                Ok(())
            }
            Err(e) if classify(&e) == Fault::NoSpace => {
                self.stats.disk_full.fetch_add(1, Relaxed);
                tracing::warn!(error = %e, "the disk is full; nothing of this group was kept");
                self.put_off(group);
                Ok(())
            }
            Err(e) => {
                let stopped = self.fatal("writing", &e);
                group.into_iter().for_each(|command| refuse(command, &stopped.clone().into()));
                Err(stopped)
            }
        }
    }

    /// One transaction. Nothing of `self` changes, so that nothing has to be taken back.
    fn write(&mut self, group: &[Command]) -> Result<(Head, Vec<Outcome>), rusqlite::Error> {
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let head = Head { commits: self.head.commits + 1, ..self.head };
        let now = (self.clock)().max(head.at);
        let place = Place { file: &self.file, table: "idempotency" };
        let mut batch = Batch { db: &tx, place, now, head, row: None, log_bytes: 0, other_bytes: 0 };
        let outcomes = group.iter().map(|command| batch.apply(command)).collect::<Result<Vec<_>, _>>()?;
        batch.end_row()?;
        let (head, log_bytes, other_bytes) = (batch.head, batch.log_bytes, batch.other_bytes);
        sqlite::head::write(&tx, &head)?;
        tx.commit()?;
        // A page for each row, the head and the way down to it, beside what they hold.
        self.wal_used += log_bytes + other_bytes + 3 * sqlite::schema::PAGE_BYTES as u64;
        self.stats.log_bytes.fetch_add(log_bytes, Relaxed);
        Ok((head, outcomes))
    }

    fn answer(&self, group: Vec<Command>, outcomes: Vec<Outcome>) {
        // Before anybody is answered, so that who was can read what they wrote.
        self.tell();
        let mut projected = 0;
        for (command, outcome) in group.into_iter().zip(outcomes) {
            // Whoever asked may have gone; what was asked for is kept nevertheless.
            let _gone = match (command, outcome) {
                (Command::Append(_, ack), Outcome::Accepted(accepted)) => {
                    if accepted.repeated.is_none() {
                        self.stats.events.fetch_add(accepted.count, Relaxed);
                    }
                    ack.send(Ok(accepted)).is_err()
                }
                (Command::Project(projection, ack), Outcome::Projected) => {
                    projected += 1;
                    self.stats.records.fetch_add(projection.rows.len() as u64, Relaxed);
                    ack.send(Ok(())).is_err()
                }
                (Command::Keep(_, ack), Outcome::Kept(changed)) => ack.send(Ok(changed)).is_err(),
                (Command::Append(..) | Command::Project(..) | Command::Keep(..), _) => {
                    unreachable!("each command has an outcome of its own kind")
                }
            };
        }
        self.queue.projections_done(projected);
    }

    /// Tells whoever waits.
    fn tell(&self) {
        let set = |to: Position| move |position: &mut Position| std::mem::replace(position, to) != to;
        self.news.appended.send_if_modified(set(self.head.log_end));
        self.news.judged.send_if_modified(set(self.head.judged));
    }

    /// Refuses what can be sent again, and keeps what can not.
    fn put_off(&mut self, group: Vec<Command>) {
        for command in group {
            match command {
                Command::Project(projection, ack) => self.owed.push((projection, ack)),
                other @ (Command::Append(..) | Command::Keep(..)) => {
                    refuse(other, &SubmitError::DiskFull { retry_after: limits::DISK_FULL_RETRY });
                }
            }
        }
    }

    fn note(&self) {
        if let Err(e) = self.directory.note(self.head.commits) {
            // It only helps to find damage later; what was committed is durable without it.
            tracing::warn!(error = %e, "the number of commits could not be noted");
        }
    }

    /// Moves the write-ahead log into the file once it is large, so that its blocks are used again: most of it beside
    /// the writer, and then what was committed meanwhile.
    fn checkpoint_if_due(&mut self) -> Result<(), Stopped> {
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
                Some(Err(e)) => return Err(self.fatal("checkpointing", &e)),
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
            Ok((in_log, _)) => self.wal_used = in_log as u64 * sqlite::schema::PAGE_BYTES as u64,
            // As above.
            Err(e) if classify(&e) == Fault::NoSpace || is_busy(&e) => {}
            Err(e) => return Err(self.fatal("checkpointing", &e)),
        }
        self.stats.wal_bytes.store(std::fs::metadata(&self.wal).map_or(0, |m| m.len()), Relaxed);
        Ok(())
    }

    /// Moves everything into the file and says that nothing is left over.
    fn close(&mut self) -> Result<(), Stopped> {
        self.beside.end();
        for (_, ack) in self.owed.drain(..) {
            // Derived from the log, so the next start makes them again.
            let _gone = ack.send(Err(Stopped::closed()));
        }
        let head = Head { commits: self.head.commits + 1, clean: true, ..self.head };
        let written = sqlite::head::write(&self.db, &head);
        let written = written.and_then(|()| self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
        match written {
            Ok(()) => {
                self.head = head;
                self.note();
                Ok(())
            }
            Err(e) if classify(&e) == Fault::NoSpace => Ok(()),
            Err(e) => Err(self.fatal("closing", &e)),
        }
    }

    fn fatal(&self, doing: &str, error: &rusqlite::Error) -> Stopped {
        let what = if is_damage(error) { " (it is damaged)" } else { "" };
        let reason = format!("{doing} {} failed: {error}{what}", self.file.display());
        tracing::error!(reason, "the store stops: what was not acknowledged may or may not be kept");
        Stopped { reason: reason.into(), fatal: true }
    }

    fn fail(self, alarm: &Alarm, stopped: Stopped) {
        let error = SubmitError::Stopped(stopped.clone());
        self.owed.into_iter().for_each(|(p, ack)| refuse(Command::Project(p, ack), &error));
        alarm.ring(stopped);
    }
}

/// Up to where the log was judged, if a group says nothing but that.
fn only_judged(group: &[Command]) -> Option<Position> {
    let judged = |command: &Command| match command {
        Command::Project(projection, _) if projection.rows.is_empty() => Some(projection.up_to),
        Command::Project(..) | Command::Append(..) | Command::Keep(..) => None,
    };
    group.iter().try_fold(Position(0), |furthest, command| Some(furthest.max(judged(command)?)))
}

fn refuse(command: Command, error: &SubmitError) {
    let stopped = || match error {
        SubmitError::Stopped(stopped) => stopped.clone(),
        SubmitError::Busy { .. } | SubmitError::DiskFull { .. } | SubmitError::TooLarge { .. } => Stopped::closed(),
    };
    let _gone = match command {
        Command::Append(_, ack) => ack.send(Err(error.clone())).is_err(),
        Command::Project(_, ack) => ack.send(Err(stopped())).is_err(),
        Command::Keep(_, ack) => ack.send(Err(error.clone())).is_err(),
    };
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
}

#[expect(clippy::disallowed_methods, reason = "durations of commits are measured here, and nothing is decided by them")]
fn monotonic() -> std::time::Instant {
    std::time::Instant::now()
}

/// A transaction in the making.
struct Batch<'a> {
    db: &'a Connection,
    place: Place<'a>,
    now: Timestamp,
    head: Head,
    /// The row of events that further events may join.
    row: Option<NewRow<'a>>,
    log_bytes: u64,
    /// About how many bytes of pages everything else touches.
    other_bytes: u64,
}

impl<'a> Batch<'a> {
    fn apply(&mut self, command: &'a Command) -> Result<Outcome, rusqlite::Error> {
        match command {
            Command::Append(append, _) => self.append(append).map(Outcome::Accepted),
            Command::Project(projection, _) => {
                // A record touches its own page and one of each of four indices.
                self.other_bytes += projection.rows.len() as u64 * 5 * sqlite::schema::PAGE_BYTES as u64;
                projection.rows.iter().try_for_each(|row| records::project(self.db, row))?;
                self.head.judged = self.head.judged.max(projection.up_to);
                Ok(Outcome::Projected)
            }
            Command::Keep(keep, _) => self.keep(keep).map(Outcome::Kept),
        }
    }

    fn keep(&mut self, keep: &Keep) -> Result<bool, rusqlite::Error> {
        match keep {
            Keep::Snapshot { position, version, blob } => {
                self.other_bytes += blob.len() as u64;
                keep::save_snapshot(self.db, *position, *version, blob)
            }
            Keep::AddApiKey { name, hash } => keep::add_api_key(self.db, name, hash, self.now),
            Keep::RemoveApiKey { name } => keep::remove_api_key(self.db, name),
            Keep::Meta { key, value } => keep::set_meta(self.db, key, value),
        }
    }

    fn append(&mut self, append: &'a Append) -> Result<Accepted, rusqlite::Error> {
        if let Some(idempotency) = &append.idempotency {
            match keep::remembered(self.db, self.place, &idempotency.key, self.now) {
                Ok(Some(known)) => return Ok(Accepted { repeated: Some(known.answer), ..known.accepted }),
                Ok(None) => {}
                Err(ReadError::Database { source, .. }) => return Err(source),
                Err(ReadError::Damaged(damage)) => {
                    return Err(rusqlite::Error::SqliteFailure(
                        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
                        Some(damage.to_string()),
                    ));
                }
            }
        }
        let first = self.head.log_end.plus(1);
        let count = append.positions();
        for chunk in &append.chunks {
            self.join(append.kind, chunk)?;
        }
        for cursor in &append.cursors {
            keep::set_cursor(self.db, cursor)?;
        }
        let accepted = Accepted { shard: 0, first, count, at: self.now, repeated: None };
        if let Some(idempotency) = &append.idempotency {
            keep::remember(self.db, idempotency, &accepted)?;
        }
        Ok(accepted)
    }

    /// Adds a chunk to the row of events, or begins a row.
    fn join(&mut self, kind: InputKind, chunk: &'a Chunk) -> Result<(), rusqlite::Error> {
        let positions = u64::from(chunk.positions);
        let fits = |row: &NewRow<'_>| {
            kind == InputKind::Events
                && row.kind == InputKind::Events
                && row.n + positions <= limits::GROUP_EVENTS_MAX
                && row.bytes < limits::ROW_BYTES
        };
        if !self.row.as_ref().is_some_and(fits) {
            self.end_row()?;
        }
        let row = self.row.get_or_insert_with(|| NewRow {
            first: self.head.log_end.plus(1),
            n: 0,
            kind,
            at: self.now,
            chunks: Vec::new(),
            // The form's version.
            bytes: 1,
        });
        row.n += positions;
        row.bytes += chunk.bytes.len();
        row.chunks.push(chunk);
        self.head.log_end = self.head.log_end.plus(positions);
        self.head.at = self.now;
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), rusqlite::Error> {
        if let Some(row) = self.row.take() {
            self.log_bytes += row.bytes as u64;
            log::append(self.db, &row)?;
        }
        Ok(())
    }
}
