//! Stage one: screens the events of the partitions that this instance has, which needs no memory.
//!
//! # What is promised
//! Of each event with hits one record for each route key goes to the topic of hits, by whose partitions the shards judge. A
//! partition's offset is committed once the hits and dead letters of all before it are delivered, and beside it the
//! logical time that the partition had reached, so that whoever has it next goes on with the same time.
//!
//! # Marks
//! Every [`MARK_EVERY`](limits::MARK_EVERY) each shard is told how far each partition is: its offset and its logical time, and
//! of one whose end was reached that nothing older than a moment ago comes any more. They follow what they cover, by the
//! same publisher. They are said again without progress: a shard that was taken anew has heard none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vertice_api::Metrics;
use vertice_engine::route::{Mark, Message};
use vertice_engine::{Content, Screener};
use vertice_model::{Place, RawEvent, Routed, Timestamp};
use vertice_stream::kafka::{
    Batch, Begin, Consumer, Held, Next, OutRecord, Partition, Pending, Problem, PublishError, Publisher, Record,
    Settings,
};

use super::super::topics::Where;
use super::super::values;
use crate::clock::Clock;
use crate::config::Topics;
use crate::limits;

/// What screening is given.
#[derive(Clone)]
pub struct Parts {
    /// How the topics are called.
    pub names: Topics,
    /// How many shards there are: the partitions of the topic of hits.
    pub shards: i32,
    /// What writes.
    pub publisher: Publisher,
    /// What tells the time.
    pub clock: Arc<Clock>,
    /// The content in force.
    pub content: watch::Receiver<Arc<Content>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// When it is cancelled, what was read is finished, and that is the end.
    pub stop: CancellationToken,
}

/// A member of the group, at work.
pub struct Screening {
    parts: Parts,
    consumer: Consumer,
    sources: BTreeMap<i32, Source>,
    screeners: Vec<Screener>,
    /// What is on its way.
    sending: Option<Sending>,
    marked_at: Timestamp,
    committed_at: Timestamp,
}

/// A partition of events that is ours.
struct Source {
    held: Held,
    /// The logical time up to what was read.
    read_at: Timestamp,
    /// The last offset of which everything is delivered, and its logical time.
    done: (i64, Timestamp),
    /// What of it is committed.
    committed: i64,
    /// Whether its end was reached.
    ended: bool,
}

/// A batch on its way.
struct Sending {
    pending: Result<Pending, PublishError>,
    records: Vec<OutRecord>,
    /// Up to where it reaches in each partition.
    reaches: Vec<(Held, i64, Timestamp)>,
    events: u64,
    refused: u64,
}

/// An event to be screened.
struct Read {
    event: RawEvent,
    from: Place,
    at: Timestamp,
    key: Vec<u8>,
}

impl Screening {
    /// Joins the group.
    ///
    /// # Errors
    /// When a setting can not be used.
    pub fn open(settings: &Settings, parts: Parts) -> Result<Screening, Problem> {
        let consumer = Consumer::open(settings, &[&parts.names.events])?;
        parts.metrics.kafka_deadletter(&parts.names.events, 0);
        let begun = parts.clock.now();
        Ok(Screening {
            parts,
            consumer,
            sources: BTreeMap::new(),
            screeners: Vec::new(),
            sending: None,
            marked_at: begun,
            committed_at: begun,
        })
    }

    /// Screens until it is told to stop. Blocks; on a thread of a runtime that may.
    ///
    /// # Errors
    /// What ends this membership of the group; another may begin.
    pub fn run(mut self) -> Result<(), Problem> {
        while !self.parts.stop.is_cancelled() {
            let wait = if self.sending.is_some() { limits::SENDING_POLL } else { limits::MARK_EVERY };
            match self.consumer.next(wait)? {
                Next::Records(batch) => {
                    let sending = self.screen(&batch);
                    self.settle();
                    self.sending = Some(self.begin_sending(sending));
                }
                Next::Assigned(held) => self.assigned(&held)?,
                Next::Revoked { held, lost } => {
                    self.settle();
                    if !lost {
                        self.commit(true);
                    }
                    for Held { partition, .. } in &held {
                        self.sources.remove(&partition.number);
                        self.parts.metrics.kafka_revoked(&partition.topic, partition.number);
                    }
                    // They are ours until the next call, and must not be told of again.
                    continue;
                }
                Next::End { held, next } => {
                    self.settle();
                    if let Some(source) = self.sources.get_mut(&held.partition.number) {
                        source.ended = source.held == held && source.done.0 + 1 >= next;
                    }
                }
                Next::Quiet => self.settle(),
            }
            self.look_around();
        }
        self.settle();
        self.commit(true);
        Ok(())
    }

    /// Begins partitions where the group stands, with the logical time that stands beside it.
    fn assigned(&mut self, held: &[Held]) -> Result<(), Problem> {
        if held.is_empty() {
            if let Some(crowd) = self.consumer.crowd() {
                tracing::warn!("{crowd}");
            }
            return Ok(());
        }
        let partitions: Vec<Partition> = held.iter().map(|h| h.partition.clone()).collect();
        let committed = self.consumer.committed(&partitions)?;
        let mut from = Vec::with_capacity(held.len());
        for (held, committed) in held.iter().zip(committed) {
            let (next, note) = committed.unwrap_or_default();
            let at = Timestamp::from_micros(note.parse().unwrap_or_default());
            let begin = if next > 0 { Begin::At(next) } else { Begin::Oldest };
            tracing::info!(partition = %held.partition, ?begin, "a partition of events is ours");
            from.push((held.partition.clone(), begin));
            let done = (next - 1, at);
            let source = Source { held: held.clone(), read_at: at, done, committed: next - 1, ended: false };
            self.sources.insert(held.partition.number, source);
        }
        self.consumer.begin(&from)
    }

    /// What comes of a batch.
    fn screen(&mut self, batch: &Batch) -> Sending {
        let topic: Arc<str> = self.parts.names.events.as_str().into();
        let (mut read, mut records) = (Vec::with_capacity(batch.len()), Vec::new());
        for record in batch.iter() {
            let Some(source) = self.sources.get_mut(&record.partition().number).filter(|s| s.held == *record.held)
            else {
                continue;
            };
            source.ended = false;
            let at = record.timestamp_ms.map_or(0, |ms| ms.saturating_mul(1_000));
            source.read_at = source.read_at.max(Timestamp::from_micros(at));
            match values::line(record.value) {
                Ok(line) => {
                    let (partition, offset) = (record.partition().number, record.offset);
                    let origin = format!("kafka:{topic}/{partition}").into();
                    read.push(Read {
                        event: RawEvent { origin, line: line.to_owned() },
                        from: Place { topic: Arc::clone(&topic), partition, offset },
                        at: source.read_at,
                        key: record.key.unwrap_or_default().to_owned(),
                    });
                }
                Err(reason) => records.push(self.refuse(&record, &reason)),
            }
        }
        let mut refused = records.len() as u64;
        let events = read.len() as u64;
        for (read, routed) in read.iter().zip(self.route(&read)) {
            match routed {
                Ok(routed) => records.extend(routed.into_iter().map(|routed| self.hit(routed))),
                Err(reason) => {
                    refused += 1;
                    records.push(self.letter(&read.from, &read.key, read.event.line.as_bytes(), &reason));
                }
            }
        }
        let reach = |(held, next): (&Held, i64)| {
            let source = self.sources.get(&held.partition.number).filter(|source| source.held == *held)?;
            Some((held.clone(), next - 1, source.read_at))
        };
        let reaches = batch.reaches().filter_map(reach).collect();
        Sending { pending: Err(not_sent()), records, reaches, events: events + refused, refused }
    }

    /// Screens on several threads; what comes back is in order.
    fn route(&mut self, read: &[Read]) -> Vec<Result<Vec<Routed>, String>> {
        let content = Arc::clone(&self.parts.content.borrow());
        self.screeners.retain(|screener| screener.is_for(&content));
        let share = read.len().div_ceil(crate::pipeline::threads()).max(limits::SCREEN_SHARE_MIN);
        while self.screeners.len() < read.len().div_ceil(share) {
            self.screeners.push(Screener::new(&content));
        }
        let with = |screener: &mut Screener, read: &[Read]| -> Vec<_> {
            let route = |r: &Read| screener.route(&r.from, r.at, &r.event).map_err(|refusal| refusal.to_string());
            read.iter().map(route).collect()
        };
        std::thread::scope(|scope| {
            let shares = read.chunks(share).zip(&mut self.screeners);
            let working: Vec<_> = shares.map(|(read, screener)| scope.spawn(move || with(screener, read))).collect();
            working.into_iter().flat_map(|w| w.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
        })
    }

    fn hit(&self, routed: Routed) -> OutRecord {
        OutRecord {
            topic: self.parts.names.hits.as_str().into(),
            key: Some(routed.key.clone().into_bytes()),
            value: Some(Message::Routed(Box::new(routed)).write()),
            ..OutRecord::default()
        }
    }

    fn refuse(&self, record: &Record<'_>, reason: &str) -> OutRecord {
        let partition = record.partition();
        let from = Place { topic: Arc::clone(&partition.topic), partition: partition.number, offset: record.offset };
        self.letter(&from, record.key.unwrap_or_default(), record.value.unwrap_or_default(), reason)
    }

    fn letter(&self, from: &Place, key: &[u8], value: &[u8], reason: &str) -> OutRecord {
        let place = Where { topic: &from.topic, partition: from.partition, offset: from.offset };
        values::letter(place, key, value, reason, &self.parts.names, || self.parts.clock.now().to_string())
    }

    fn begin_sending(&self, mut sending: Sending) -> Sending {
        sending.pending = Handle::current().block_on(self.parts.publisher.begin(sending.records.clone()));
        sending
    }

    /// Waits until what is on its way is delivered, and sends it again where it was not: nothing of the partitions counts as
    /// done before. Gives up only when it is time to stop; whoever has the partitions next screens them again.
    fn settle(&mut self) {
        let mut told = false;
        while let Some(mut sending) = self.sending.take() {
            let fate = match std::mem::replace(&mut sending.pending, Err(not_sent())) {
                Ok(pending) => Handle::current().block_on(pending).map(drop),
                Err(error) => Err(error),
            };
            match fate {
                Ok(()) => return self.delivered(&sending),
                Err(PublishError::TooLarge { topic, bytes, max }) => {
                    tracing::error!(%topic, bytes, max, "a record is too large for Kafka; its event is not judged");
                    sending.records.retain(|record| record.bytes() < bytes);
                }
                Err(error @ (PublishError::Refused { .. } | PublishError::NotDelivered { .. })) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!("hits wait, and what comes after them: {error}");
                    }
                    if self.parts.stop.is_cancelled() {
                        return;
                    }
                    rest(&self.parts.stop, limits::KAFKA_SEND_AGAIN);
                }
            }
            self.sending = Some(self.begin_sending(sending));
        }
    }

    fn delivered(&mut self, sending: &Sending) {
        for (held, offset, at) in &sending.reaches {
            if let Some(source) = self.sources.get_mut(&held.partition.number).filter(|s| s.held == *held) {
                source.done = (*offset, *at);
            }
        }
        let metrics = &self.parts.metrics;
        metrics.events_accepted(super::super::intake::WORD, sending.events - sending.refused);
        metrics.events_refused(super::super::intake::WORD, sending.refused);
        if sending.refused > 0 {
            metrics.kafka_deadletter(&self.parts.names.events, sending.refused);
        }
    }

    /// Does what is due.
    fn look_around(&mut self) {
        let now = self.parts.clock.now();
        if now.micros_since(self.marked_at) >= micros(limits::MARK_EVERY) {
            self.marked_at = now;
            self.mark(now);
        }
        if now.micros_since(self.committed_at) >= micros(limits::COMMIT_EVERY) {
            self.committed_at = now;
            self.commit(false);
            for lag in self.consumer.lags() {
                if let Some(records) = lag.records() {
                    let metrics = &self.parts.metrics;
                    metrics.kafka_lag(&lag.partition.topic, lag.partition.number, records.unsigned_abs());
                }
            }
        }
    }

    /// Tells each shard how far each partition is. What is not delivered is said again with the next.
    fn mark(&self, now: Timestamp) {
        let idle = Timestamp::from_micros(now.as_micros().saturating_sub(micros(limits::IDLE_SLACK) as i64));
        let topic: Arc<str> = self.parts.names.hits.as_str().into();
        let mut records = Vec::with_capacity(self.sources.len() * self.parts.shards.unsigned_abs() as usize);
        for (partition, source) in &self.sources {
            let (offset, at) = source.done;
            let at = if source.ended { at.max(idle) } else { at };
            let mark = Message::Mark(Mark { partition: *partition, offset, at }).write();
            records.extend((0..self.parts.shards).map(|shard| OutRecord {
                topic: Arc::clone(&topic),
                partition: Some(shard),
                value: Some(mark.clone()),
                ..OutRecord::default()
            }));
        }
        if records.is_empty() {
            return;
        }
        if let Err(error) = Handle::current().block_on(self.parts.publisher.begin(records)) {
            tracing::debug!("marks were not sent: {error}");
        }
    }

    fn commit(&mut self, wait: bool) {
        let reached: Vec<(Held, i64, String)> = self
            .sources
            .values()
            .filter(|source| source.done.0 > source.committed)
            .map(|source| (source.held.clone(), source.done.0 + 1, source.done.1.as_micros().to_string()))
            .collect();
        let noted = reached.iter().map(|(held, next, note)| (held, *next, note.as_str()));
        match self.consumer.commit_noting(noted, wait) {
            Ok(_) => self.sources.values_mut().for_each(|source| source.committed = source.done.0),
            Err(problem) => tracing::warn!("{problem}; what follows the last commit is screened again"),
        }
    }
}

fn not_sent() -> PublishError {
    PublishError::NotDelivered { reason: "it was not sent yet".to_owned() }
}

fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
}

fn rest(stop: &CancellationToken, pause: Duration) {
    Handle::current().block_on(super::super::rest(stop, pause));
}
