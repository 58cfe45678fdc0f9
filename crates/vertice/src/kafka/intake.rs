//! Events in: the values of one topic, into the log.
//!
//! # What is promised
//! The log takes each offset exactly once. What a partition's values gave, and how far that partition was read, is kept
//! in one transaction; when a partition is assigned it is read from what is kept. So it does not matter when the group's
//! commit is made; it follows once what was judged of the values is published, and is what others see of the lag.
//!
//! A value that no mapping reads becomes a dead letter, which the broker has acknowledged before the partition counts
//! as read beyond it.
//!
//! # Memory
//! One batch is being written while the next is read and checked. When the store or the dead letters can not be written
//! partitions are paused, and nothing more is read.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::runtime::Handle;
use tokio::sync::watch;
use vertice_engine::{Content, Stamp};
use vertice_model::Position;
use vertice_store::{PackedEvents, Submission, SubmitError, Submitted, UnderWay};
use vertice_stream::kafka::{Batch, Consumer, Held, Next, OutRecord, Partition, Problem, Publisher, Record, Settings};

use super::topics::Where;
use super::{cursors, values};
use crate::clock::Clock;
use crate::config::Topics;
use crate::limits;
use crate::sources::Rim;

/// The word for events that came this way, in metrics.
pub const WORD: &str = "kafka";

/// What an intake is given.
pub struct Parts {
    /// Where events go.
    pub rim: Rim,
    /// Its place among the sources.
    pub place: usize,
    /// What tells the time.
    pub clock: Arc<Clock>,
    /// The content in force.
    pub content: watch::Receiver<Arc<Content>>,
    /// How the topics are called.
    pub names: Topics,
    /// Where dead letters go.
    pub publisher: Publisher,
    /// Up to where in the log everything that was judged is published.
    pub reached: watch::Receiver<Position>,
}

/// A member of the group, at work.
pub struct Intake {
    parts: Parts,
    consumer: Consumer,
    /// What was read and is not kept yet, in order.
    work: VecDeque<Work>,
    /// The first of it, on its way into the log.
    writing: Option<(Work, Submitted)>,
    /// What is kept and not committed yet, in order.
    kept: VecDeque<Kept>,
    /// How long there is yet to wait before writing is tried again; partitions are paused meanwhile.
    blocked: Option<Duration>,
}

/// What one batch came to.
#[derive(Default)]
struct Work {
    shares: Vec<Share>,
    /// Of a full batch: judging gives way until it is in the log, as it does for large bodies.
    _bulk: Option<UnderWay>,
}

/// What one partition's part of a batch came to.
struct Share {
    held: Held,
    /// The offset after its last value.
    next: i64,
    events: PackedEvents,
    letters: Vec<OutRecord>,
    refused: u64,
}

/// What is in the log.
struct Kept {
    reached: Vec<(Held, i64)>,
    /// The last position that it has there.
    up_to: Position,
}

impl Intake {
    /// Joins the group.
    ///
    /// # Errors
    /// When a setting can not be used.
    pub fn open(settings: &Settings, parts: Parts) -> Result<Intake, Problem> {
        let consumer = Consumer::open(settings, &[&parts.names.events])?;
        let (work, kept) = (VecDeque::new(), VecDeque::new());
        // Series begin at zero, so that a rate can be taken from the first increase.
        parts.rim.metrics.kafka_deadletter(&parts.names.events, 0);
        Ok(Intake { parts, consumer, work, writing: None, kept, blocked: None })
    }

    /// Reads until it is told to stop. Blocks; on a thread of a runtime that may.
    ///
    /// The inner error ends this membership of the group, and another may begin.
    ///
    /// # Errors
    /// When the store can not be read or has stopped.
    pub fn run(mut self) -> Result<Result<(), Problem>> {
        while !self.parts.rim.stop.is_cancelled() {
            let wait = match (self.blocked, self.writing.is_some()) {
                (Some(left), _) => left.min(limits::KAFKA_POLL),
                (None, true) => Duration::ZERO,
                (None, false) => limits::KAFKA_POLL,
            };
            let next = match self.consumer.next(wait) {
                Ok(next) => next,
                Err(problem) => return self.settle().map(|()| Err(problem)),
            };
            if let (Some(left), Next::Quiet) = (&mut self.blocked, &next) {
                *left = left.saturating_sub(wait);
            }
            let looked = self.handle(next).and_then(|look| self.write().map(|()| look));
            match looked {
                Ok(true) => self.look_around(),
                Ok(false) => {}
                Err(Ended::Problem(problem)) => return Ok(Err(problem)),
                Err(Ended::Failed(error)) => return Err(error),
            }
        }
        self.settle()?;
        self.commit();
        Ok(Ok(()))
    }

    /// Deals with what happened; true where there is time to look around.
    fn handle(&mut self, next: Next) -> Result<bool, Ended> {
        match next {
            Next::Records(batch) => {
                let work = self.check(&batch);
                self.settle()?;
                self.work.push_back(work);
                return Ok(self.kept.len() >= limits::KAFKA_KEPT_UNCOMMITTED);
            }
            Next::Assigned(held) => {
                self.settle()?;
                self.begin(&held)?;
            }
            Next::Revoked { held, lost } => {
                self.settle()?;
                // Whoever is given them, we or another, reads them again from what is kept.
                self.work.iter_mut().for_each(|work| work.shares.retain(|share| !held.contains(&share.held)));
                if !lost {
                    self.commit();
                }
                self.kept.iter_mut().for_each(|kept| kept.reached.retain(|(h, _)| !held.contains(h)));
                for Held { partition, .. } in &held {
                    self.parts.rim.metrics.kafka_revoked(&partition.topic, partition.number);
                }
                // They are ours until the next call, and must not be told of again.
                return Ok(false);
            }
            Next::End { .. } | Next::Quiet => self.settle()?,
        }
        Ok(true)
    }

    /// Begins partitions where the store stands.
    fn begin(&mut self, held: &[Held]) -> Result<(), Ended> {
        if held.is_empty() {
            if let Some(crowd) = self.consumer.crowd() {
                tracing::warn!("{crowd}");
                self.parts.rim.says(self.parts.place, &crowd.to_string());
            }
            return Ok(());
        }
        let mut from = Vec::with_capacity(held.len());
        for Held { partition, .. } in held {
            let begin = cursors::begin(&self.parts.rim.store, partition).context("reading where a partition stands")?;
            tracing::info!(%partition, ?begin, "a partition is ours");
            from.push((partition.clone(), begin));
        }
        self.consumer.begin(&from)?;
        if self.blocked.is_some() {
            let ours: Vec<Partition> = held.iter().map(|h| h.partition.clone()).collect();
            self.consumer.pause(&ours)?;
        }
        Ok(())
    }

    /// Tells what can be read from what can not, each partition by itself.
    fn check(&self, batch: &Batch) -> Work {
        let content = Arc::clone(&self.parts.content.borrow());
        let stamp = Stamp { position: Position(1), now: self.parts.clock.now() };
        let mut shares = Vec::new();
        for (held, next) in batch.reaches() {
            let (mut lines, mut letters) = (Vec::new(), Vec::new());
            for record in batch.iter().filter(|record| record.held == held) {
                match readable(&content, stamp, record.value) {
                    Ok(line) => lines.push(line),
                    Err(reason) => letters.push(self.letter(&record, &reason, stamp)),
                }
            }
            let origin = format!("kafka:{}/{}", held.partition.topic, held.partition.number);
            let (events, refused) = (PackedEvents::of(&origin, &lines), letters.len() as u64);
            shares.push(Share { held: held.clone(), next, events, letters, refused });
        }
        let events: u64 = shares.iter().map(|share| share.events.count()).sum();
        let bulk = (events >= limits::KAFKA_BULK_EVENTS).then(|| self.parts.rim.store.under_way());
        Work { shares, _bulk: bulk }
    }

    fn letter(&self, record: &Record<'_>, reason: &str, stamp: Stamp) -> OutRecord {
        let partition = record.partition();
        let from = Where { topic: &partition.topic, partition: partition.number, offset: record.offset };
        let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
        values::letter(from, key, value, reason, &self.parts.names, || stamp.now.to_string())
    }

    /// Hands the first of what waits to the log, its dead letters before it.
    fn write(&mut self) -> Result<(), Ended> {
        if self.writing.is_some() || self.blocked.is_some_and(|left| !left.is_zero()) {
            return Ok(());
        }
        let Some(mut work) = self.work.pop_front() else { return Ok(()) };
        if !self.deliver(&mut work) {
            self.put_back(work);
            return self.block(limits::KAFKA_SEND_AGAIN);
        }
        match self.parts.rim.store.begin(work.submission()) {
            Ok(submitted) => self.writing = Some((work, submitted)),
            Err(error) => self.not_kept(work, error)?,
        }
        Ok(())
    }

    /// Writes the dead letters; false if the broker does not take them now.
    fn deliver(&self, work: &mut Work) -> bool {
        let letters: Vec<OutRecord> = work.shares.iter().flat_map(|share| share.letters.iter().cloned()).collect();
        if letters.is_empty() {
            return true;
        }
        let count = letters.len() as u64;
        let stop = self.parts.rim.stop.clone();
        let sent = Handle::current().block_on(async {
            tokio::select! {
                sent = self.parts.publisher.send(letters) => Some(sent),
                () = stop.cancelled() => None,
            }
        });
        match sent {
            Some(Ok(_)) => {
                work.shares.iter_mut().for_each(|share| share.letters.clear());
                self.parts.rim.metrics.kafka_deadletter(&self.parts.names.events, count);
                true
            }
            Some(Err(error)) => {
                if self.blocked.is_none() {
                    tracing::warn!("dead letters wait, and what comes after them: {error}");
                }
                false
            }
            None => false,
        }
    }

    /// Waits for what is being written, so that what follows finds it kept or put back.
    fn settle(&mut self) -> Result<()> {
        let Some((work, submitted)) = self.writing.take() else { return Ok(()) };
        match Handle::current().block_on(submitted.done()) {
            Ok(accepted) => {
                let up_to = Position((accepted.first.0 + accepted.count).saturating_sub(1));
                self.count(&work);
                let reached = work.shares.into_iter().map(|share| (share.held, share.next)).collect();
                self.kept.push_back(Kept { reached, up_to });
                self.unblock()
            }
            Err(error) => match self.not_kept(work, error) {
                Ok(()) => Ok(()),
                Err(Ended::Failed(error)) => Err(error),
                Err(Ended::Problem(problem)) => Err(problem.into()),
            },
        }
    }

    fn count(&self, work: &Work) {
        let Parts { rim, place, .. } = &self.parts;
        let events: u64 = work.shares.iter().map(|share| share.events.count()).sum();
        let refused: u64 = work.shares.iter().map(|share| share.refused).sum();
        rim.metrics.events_accepted(WORD, events);
        rim.metrics.events_refused(WORD, refused);
        rim.counts(*place, events, refused);
    }

    /// Puts back what waits for others: meanwhile judging need not give way to it.
    fn put_back(&mut self, work: Work) {
        self.work.push_front(Work { shares: work.shares, _bulk: None });
    }

    /// Puts back what the store did not keep, to be tried again.
    fn not_kept(&mut self, work: Work, error: SubmitError) -> Result<(), Ended> {
        match error {
            SubmitError::Busy { retry_after } | SubmitError::DiskFull { retry_after } => {
                if self.blocked.is_none() {
                    tracing::warn!("events of Kafka wait: {error}");
                }
                self.put_back(work);
                self.block(retry_after)
            }
            SubmitError::TooLarge { .. } | SubmitError::Stopped(_) => {
                Err(Ended::Failed(anyhow::Error::new(error).context("keeping events of Kafka")))
            }
        }
    }

    /// Reads no further for a while.
    fn block(&mut self, pause: Duration) -> Result<(), Ended> {
        if self.blocked.replace(pause).is_none() {
            let ours: Vec<Partition> = self.consumer.ours().map(|held| held.partition).collect();
            self.consumer.pause(&ours)?;
        }
        Ok(())
    }

    fn unblock(&mut self) -> Result<()> {
        if self.blocked.take().is_some() {
            tracing::info!("events of Kafka are taken again");
            let ours: Vec<Partition> = self.consumer.ours().map(|held| held.partition).collect();
            self.consumer.resume(&ours)?;
        }
        Ok(())
    }

    /// Commits what is done, and says how far behind the partitions are.
    fn look_around(&mut self) {
        self.commit();
        for lag in self.consumer.lags() {
            if let Some(records) = lag.records() {
                let records = records.unsigned_abs();
                self.parts.rim.metrics.kafka_lag(&lag.partition.topic, lag.partition.number, records);
            }
        }
    }

    /// Commits what is in the log and published. Waits for nobody: what the store has goes before it.
    fn commit(&mut self) {
        let published = *self.parts.reached.borrow();
        let done = self.kept.iter().take_while(|kept| kept.up_to <= published).count();
        let mut reached: Vec<(Held, i64)> = Vec::new();
        for (held, next) in self.kept.drain(..done).flat_map(|kept| kept.reached) {
            match reached.iter_mut().find(|(h, _)| *h == held) {
                Some((_, known)) => *known = next,
                None => reached.push((held, next)),
            }
        }
        if let Err(problem) = self.consumer.commit(&reached, false) {
            tracing::debug!("{problem}; what is kept goes before it");
        }
        // What waits for its publication is not held one by one for ever.
        while self.kept.len() > limits::KAFKA_KEPT_UNCOMMITTED {
            let Some(Kept { reached, .. }) = self.kept.remove(self.kept.len() - 2) else { break };
            let Some(last) = self.kept.back_mut() else { break };
            let new = |(held, _): &(Held, i64)| !last.reached.iter().any(|(h, _)| h == held);
            let older: Vec<_> = reached.into_iter().filter(new).collect();
            last.reached.extend(older);
        }
    }
}

impl Work {
    fn submission(&self) -> Submission {
        let mut submission = Submission::default();
        for share in &self.shares {
            submission.packed.append(share.events.clone());
            submission.cursors.push(cursors::of(&share.held.partition, share.next));
        }
        submission
    }
}

/// The line of a value that a mapping can read.
fn readable<'a>(content: &Content, stamp: Stamp, value: Option<&'a [u8]>) -> Result<&'a str, String> {
    let line = values::line(value)?;
    content.mappings.check_line(stamp, line).map(|()| line).map_err(|refusal| refusal.to_string())
}

/// Why an intake ends.
enum Ended {
    /// This membership of the group is over.
    Problem(Problem),
    /// There is no going on.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Ended {
    fn from(error: anyhow::Error) -> Ended {
        Ended::Failed(error)
    }
}

impl From<Problem> for Ended {
    fn from(problem: Problem) -> Ended {
        Ended::Problem(problem)
    }
}
