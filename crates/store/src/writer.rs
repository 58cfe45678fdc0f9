//! The one thread that writes: it gathers what waits, commits it in one transaction, and says so.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::oneshot;
use vertice_model::{Position, Timestamp};

use crate::chunk::Chunk;
use crate::database::{Database, Failure, Inbox, Letter, Tx};
use crate::error::{Stopped, SubmitError};
use crate::head::Head;
use crate::news::News;
use crate::queue::{Append, Command, InputKind, Projection, Queue};
use crate::row::NewRow;
use crate::stats::StoreStats;
use crate::{Accepted, Clock, limits};

/// The writer's own state.
pub(crate) struct Writer {
    pub(crate) db: Box<dyn Database>,
    /// Which shard's log it writes.
    pub(crate) shard: u32,
    pub(crate) head: Head,
    pub(crate) clock: Clock,
    pub(crate) queue: Arc<Queue>,
    pub(crate) stats: Arc<StoreStats>,
    pub(crate) news: Arc<News>,
    /// Projections that could not be kept yet.
    pub(crate) owed: Vec<(Projection, oneshot::Sender<Result<(), Stopped>>)>,
    /// Whether the head says more than what was written of it.
    pub(crate) untold: bool,
}

/// What became of one member of a group.
enum Outcome {
    Accepted(Accepted),
    Projected,
    Kept(bool),
    Emptied,
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
        self.stats.fatal.store(u64::from(stopped.fatal), Relaxed);
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
            self.ring(Stopped::fatal("the writer has panicked"));
        }
    }
}

impl Writer {
    /// Writes until the queue is stopped and empty, or nothing more may be written.
    pub(crate) fn run(mut self) {
        let alarm = Alarm { queue: self.queue.clone(), stats: self.stats.clone(), news: self.news.clone() };
        let mut likely = 1;
        loop {
            let told_within = if self.untold { self.db.judged_within() } else { None };
            let wait = if self.owed.is_empty() { told_within } else { Some(limits::DISK_FULL_PROBE) };
            let Some(group) = self.queue.take(wait, likely) else { break };
            likely = group.iter().filter(|c| matches!(c, Command::Append(..))).count();
            if group.is_empty() && self.owed.is_empty() && told_within.is_none() {
                continue;
            }
            if let Err(stopped) = self.commit(group).and_then(|()| self.db.upkeep()) {
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
            self.untold = true;
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
                self.untold = false;
                self.db.committed(&head);
                self.news.keeping_waits.send_replace(None);
                self.stats.commits.fetch_add(1, Relaxed);
                self.answer(group, outcomes);
                Ok(())
            }
            Err(Failure::NoSpace(error)) => {
                self.stats.disk_full.fetch_add(1, Relaxed);
                tracing::warn!(error, "the disk is full; nothing of this group was kept");
                self.put_off(
                    group,
                    &SubmitError::DiskFull { retry_after: limits::DISK_FULL_RETRY },
                    "the disk is full",
                );
                Ok(())
            }
            Err(Failure::Away(error)) => {
                tracing::warn!(error, "the database is away; nothing of this group was kept");
                self.put_off(group, &SubmitError::Busy { retry_after: limits::BUSY_RETRY }, "the database is away");
                Ok(())
            }
            Err(Failure::Stop(stopped)) => {
                group.into_iter().for_each(|command| refuse(command, &stopped.clone().into()));
                Err(stopped)
            }
        }
    }

    /// One transaction. Nothing of `self` changes, so that nothing has to be taken back.
    fn write(&mut self, group: &[Command]) -> Result<(Head, Vec<Outcome>), Failure> {
        let before = Head { commits: self.head.commits + 1, ..self.head };
        let (shard, now) = (self.shard, (self.clock)().max(self.head.at));
        let (mut outcomes, mut log_bytes) = (Vec::new(), 0);
        let head = self.db.write(&self.head, &mut |tx| {
            let mut batch = Batch { tx, shard, now, head: before, row: None, log_bytes: 0 };
            outcomes = group.iter().map(|command| batch.apply(command)).collect::<Result<_, _>>()?;
            batch.end_row()?;
            log_bytes = batch.log_bytes;
            Ok(batch.head)
        })?;
        self.stats.log_bytes.fetch_add(log_bytes, Relaxed);
        Ok((head, outcomes))
    }

    fn answer(&self, group: Vec<Command>, outcomes: Vec<Outcome>) {
        // Before anybody is answered, so that who was can read what they wrote.
        self.news.tell(self.head.log_end, self.head.judged);
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
                (Command::Inbox, Outcome::Emptied) => false,
                (Command::Append(..) | Command::Project(..) | Command::Keep(..) | Command::Inbox, _) => {
                    unreachable!("each command has an outcome of its own kind")
                }
            };
        }
        self.queue.projections_done(projected);
    }

    /// Refuses what can be sent again, and keeps what can not.
    fn put_off(&mut self, group: Vec<Command>, error: &SubmitError, why: &str) {
        for command in group {
            match command {
                Command::Project(projection, ack) => self.owed.push((projection, ack)),
                other @ (Command::Append(..) | Command::Keep(..) | Command::Inbox) => refuse(other, error),
            }
        }
        // What is owed is tried again until it is kept, so this does not outlast its reason.
        if !self.owed.is_empty() {
            self.news.keeping_waits.send_replace(Some(format!("what is judged can not be kept: {why}")));
        }
    }

    /// Ends the database properly.
    fn close(&mut self) -> Result<(), Stopped> {
        for (_, ack) in self.owed.drain(..) {
            // Derived from the log, so the next start makes them again.
            let _gone = ack.send(Err(Stopped::closed()));
        }
        self.db.close(&self.head)
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
        Command::Project(projection, _) if projection.rows.is_empty() && projection.telling.is_empty() => {
            Some(projection.up_to)
        }
        Command::Project(..) | Command::Append(..) | Command::Keep(..) | Command::Inbox => None,
    };
    if group.is_empty() {
        return None;
    }
    group.iter().try_fold(Position(0), |furthest, command| Some(furthest.max(judged(command)?)))
}

/// Answers whoever asked that it was not done.
pub(crate) fn refuse(command: Command, error: &SubmitError) {
    let stopped = || match error {
        SubmitError::Stopped(stopped) => stopped.clone(),
        SubmitError::Busy { .. } | SubmitError::DiskFull { .. } | SubmitError::TooLarge { .. } => Stopped::closed(),
    };
    let _gone = match command {
        Command::Append(_, ack) => ack.send(Err(error.clone())).is_err(),
        Command::Project(_, ack) => ack.send(Err(stopped())).is_err(),
        Command::Keep(_, ack) => ack.send(Err(error.clone())).is_err(),
        // It is looked into again.
        Command::Inbox => false,
    };
}

#[expect(
    clippy::disallowed_methods,
    reason = "durations and pauses are measured here, and nothing of the log depends on them"
)]
pub(crate) fn monotonic() -> std::time::Instant {
    std::time::Instant::now()
}

/// A transaction in the making.
struct Batch<'a, 'tx> {
    tx: &'tx mut dyn Tx,
    shard: u32,
    now: Timestamp,
    head: Head,
    /// The row of events that further events may join.
    row: Option<NewRow<'a>>,
    log_bytes: u64,
}

impl<'a> Batch<'a, '_> {
    fn apply(&mut self, command: &'a Command) -> Result<Outcome, Failure> {
        match command {
            Command::Append(append, _) => self.append(append).map(Outcome::Accepted),
            Command::Project(projection, _) => {
                self.tx.project(&projection.rows)?;
                self.tx.tell(&projection.telling)?;
                self.head.judged = self.head.judged.max(projection.up_to);
                Ok(Outcome::Projected)
            }
            Command::Keep(keep, _) => self.tx.keep(keep, self.now).map(Outcome::Kept),
            Command::Inbox => self.empty_inbox().map(|()| Outcome::Emptied),
        }
    }

    fn append(&mut self, append: &'a Append) -> Result<Accepted, Failure> {
        if let Some(known) = self.repeated(append)? {
            return Ok(known);
        }
        let first = self.head.log_end.plus(1);
        for chunk in &append.chunks {
            self.join(append.kind, chunk)?;
        }
        self.with_it(append, first)
    }

    /// What was answered, if it came before.
    fn repeated(&mut self, append: &Append) -> Result<Option<Accepted>, Failure> {
        let Some(idempotency) = &append.idempotency else { return Ok(None) };
        let known = self.tx.remembered(&idempotency.key, self.now)?;
        Ok(known.map(|known| Accepted { repeated: Some(known.answer), ..known.accepted }))
    }

    /// Keeps what comes with inputs, whose first position this is.
    fn with_it(&mut self, append: &Append, first: Position) -> Result<Accepted, Failure> {
        for cursor in &append.cursors {
            self.tx.set_cursor(cursor)?;
        }
        let accepted = Accepted { shard: self.shard, first, count: append.positions(), at: self.now, repeated: None };
        if let Some(idempotency) = &append.idempotency {
            self.tx.remember(idempotency, &accepted)?;
        }
        Ok(accepted)
    }

    /// Moves what others have left into the log, each in rows of its own, and before it all that they told.
    fn empty_inbox(&mut self) -> Result<(), Failure> {
        self.end_row()?;
        loop {
            let Inbox { told, left, more } = self.tx.inbox()?;
            for letter in &told {
                self.move_to_log(letter)?;
            }
            if let Some(last) = told.last() {
                self.tx.heard(last)?;
            }
            for letter in left {
                let accepted = match self.repeated(&letter.append)? {
                    Some(known) => known,
                    None => {
                        let first = self.move_to_log(&letter)?;
                        self.with_it(&letter.append, first)?
                    }
                };
                self.tx.taken(&letter, &accepted)?;
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// Appends what came from elsewhere; where its first position is.
    fn move_to_log(&mut self, letter: &Letter) -> Result<Position, Failure> {
        let first = self.head.log_end.plus(1);
        for chunk in &letter.append.chunks {
            let row = begin_row(&mut self.head, letter.append.kind, self.now, chunk);
            self.log_bytes += row.bytes as u64;
            self.tx.append(&row)?;
        }
        Ok(first)
    }

    /// Adds a chunk to the row of events, or begins a row.
    fn join(&mut self, kind: InputKind, chunk: &'a Chunk) -> Result<(), Failure> {
        let positions = u64::from(chunk.positions);
        let fits = |row: &NewRow<'_>| {
            kind == InputKind::Events
                && row.kind == InputKind::Events
                && row.n + positions <= limits::GROUP_EVENTS_MAX
                && row.bytes < limits::ROW_BYTES
        };
        match self.row.as_mut().filter(|row| fits(row)) {
            Some(row) => {
                row.n += positions;
                row.bytes += chunk.bytes.len();
                row.chunks.push(chunk);
                self.head.log_end = self.head.log_end.plus(positions);
                self.head.at = self.now;
            }
            None => {
                self.end_row()?;
                self.row = Some(begin_row(&mut self.head, kind, self.now, chunk));
            }
        }
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), Failure> {
        if let Some(row) = self.row.take() {
            self.log_bytes += row.bytes as u64;
            self.tx.append(&row)?;
        }
        Ok(())
    }
}

/// The next row of a log, which begins with a chunk.
fn begin_row<'a>(head: &mut Head, kind: InputKind, now: Timestamp, chunk: &'a Chunk) -> NewRow<'a> {
    let (first, n) = (head.log_end.plus(1), u64::from(chunk.positions));
    (head.log_end, head.at) = (head.log_end.plus(n), now);
    // The form's version, and the chunk.
    NewRow { first, n, kind, at: now, chunks: vec![chunk], bytes: 1 + chunk.bytes.len() }
}
