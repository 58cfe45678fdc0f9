//! A member of a consumer group.
//!
//! # Order
//! What [`Consumer::next`] hands out happened in that order. Records before [`Next::Revoked`] were ours when they
//! were read; while it is being looked at the partitions are still ours, so that what is finished can be committed;
//! the next call gives them up. Partitions that are kept go on in between (cooperative-sticky). Nothing of a newly
//! assigned partition is read before [`Consumer::begin`] said from where, or the next call began it at its commit.
//!
//! # Memory
//! Read ahead are [`QUEUED_KBYTES_MAX`](crate::limits::kafka::QUEUED_KBYTES_MAX), and what one more answer of each
//! broker brings. A paused partition's read-ahead is dropped and read again later.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, Statistics, TopicPartitionList};

use super::batch::Batch;
use super::ears::Ears;
use super::held::{Begin, Epoch, Held, Lag, Partition};
use super::problem::{Problem, reason, words};
use super::settings::Settings;
use crate::limits::kafka as limits;

/// A member of a consumer group. It leaves the group when it is dropped, without committing anything, and takes
/// [`LEAVE`](crate::limits::kafka::LEAVE) at most for it.
pub struct Consumer {
    /// Always there, until it is dropped.
    client: Option<BaseConsumer<Watch>>,
    group: String,
    topics: Vec<String>,
    headers: bool,
    ours: BTreeMap<Partition, Ours>,
    epoch: u64,
    waiting: VecDeque<Next>,
    unanswered: Option<Change>,
    notice: Option<Next>,
    bytes_last: usize,
}

/// What is known of a partition that is ours.
#[derive(Debug)]
struct Ours {
    epoch: Epoch,
    next: Option<i64>,
    end: Option<i64>,
}

/// A change that librdkafka waits for us to carry out.
#[derive(Debug)]
enum Change {
    Assigned(Vec<Held>),
    Revoked { held: Vec<Held>, lost: bool },
}

/// What happens next.
#[derive(Debug)]
pub enum Next {
    /// Records.
    Records(Batch),
    /// These partitions are ours now, beside those that were. None at all: others have them all.
    Assigned(Vec<Held>),
    /// These are taken away by the next call; until then their offsets can be committed, unless they are `lost`.
    Revoked {
        /// Which.
        held: Vec<Held>,
        /// The broker gave them to others already: nothing of them can be committed.
        lost: bool,
    },
    /// Everything that a partition has was handed out. Said again whenever it is reached again.
    End {
        /// Which.
        held: Held,
        /// The offset that its next record will have.
        next: i64,
    },
    /// Nothing, for as long as was asked for or less.
    Quiet,
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").field("group", &self.group).field("ours", &self.ours).finish_non_exhaustive()
    }
}

impl Consumer {
    /// Joins the group for these topics. Connects in the background; a broker that is away is waited for.
    ///
    /// # Errors
    /// [`Problem::Setting`] and [`Problem::NotBuilt`].
    pub fn open(settings: &Settings, topics: &[&str]) -> Result<Consumer, Problem> {
        let config = settings.consumer()?;
        let doing = || format!("joining the group {}", settings.group);
        let watch = Watch {
            ears: Ears::new(settings),
            seen: Mutex::default(),
            leaving: AtomicBool::new(false),
            end_seen: Mutex::default(),
            ends: Mutex::default(),
        };
        let client: BaseConsumer<Watch> = config.create_with_context(watch).map_err(Problem::other(doing()))?;
        client.subscribe(topics).map_err(Problem::other(doing()))?;
        Ok(Consumer {
            client: Some(client),
            group: settings.group.clone(),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            headers: settings.headers,
            ours: BTreeMap::new(),
            epoch: 0,
            waiting: VecDeque::new(),
            unanswered: None,
            notice: None,
            bytes_last: 0,
        })
    }

    /// What happens next, waiting for it no longer than this. Has to be called again within
    /// [`Settings::work_timeout`], or the broker gives the partitions to others.
    ///
    /// # Errors
    /// [`Problem::Fatal`]: this membership is over, open another. A broker that is away is no error: it is warned
    /// of once, and tried again.
    pub fn next(&mut self, wait: Duration) -> Result<Next, Problem> {
        if let Some(next) = self.waiting.pop_front() {
            return Ok(next);
        }
        self.answer(&[])?;
        let mut gathered = Gathered::new(self.bytes_last);
        while !gathered.batch.is_full() {
            let wait = if gathered.is_empty() { wait } else { Duration::ZERO };
            match self.client().poll(wait) {
                Some(Ok(message)) => gathered.add(&self.ours, &message, self.headers),
                Some(Err(KafkaError::PartitionEOF(number))) => self.ended(number, &mut gathered),
                Some(Err(error)) => {
                    self.trouble(&error)?;
                    break;
                }
                // Nothing is there, or the callback saw a change, behind which nothing may be read now.
                None => {
                    self.take_change();
                    break;
                }
            }
        }
        Ok(self.hand_out(gathered))
    }

    /// Begins the partitions of the last [`Next::Assigned`] from these places; those that are not named begin at
    /// their commit. To be called before the next [`Consumer::next`], which otherwise begins them all there.
    ///
    /// # Errors
    /// If librdkafka does not take it.
    pub fn begin(&mut self, from: &[(Partition, Begin)]) -> Result<(), Problem> {
        self.answer(from)
    }

    /// Commits that everything before these offsets is done, for those partitions that are still ours in that epoch,
    /// and says how many those are. Waits for the broker only if told to.
    ///
    /// # Errors
    /// If told to wait, and the broker does not take it. Otherwise that is warned of.
    pub fn commit(&mut self, reached: &[(Held, i64)], wait: bool) -> Result<usize, Problem> {
        self.commit_noting(reached.iter().map(|(held, next)| (held, *next, "")), wait)
    }

    /// [`Consumer::commit`] with a note beside each offset, which whoever has the partition next gets with it from
    /// [`Consumer::committed`]. Brokers as they are shipped keep notes of 4 KiB.
    ///
    /// # Errors
    /// As there.
    pub fn commit_noting<'a>(
        &mut self,
        reached: impl Iterator<Item = (&'a Held, i64, &'a str)>,
        wait: bool,
    ) -> Result<usize, Problem> {
        let mut list = TopicPartitionList::new();
        for (held, next, note) in reached.filter(|(held, ..)| self.is_current(held)) {
            let mut place = list.add_partition(&held.partition.topic, held.partition.number);
            place
                .set_offset(Offset::Offset(next))
                .map_err(Problem::other(format!("committing {next} of {}", held.partition)))?;
            if !note.is_empty() {
                place.set_metadata(note);
            }
        }
        if list.count() > 0 {
            let mode = if wait { CommitMode::Sync } else { CommitMode::Async };
            let doing = || format!("committing what the group {} has done", self.group);
            self.client().commit(&list, mode).map_err(|error| Problem::other(doing())(error))?;
        }
        Ok(list.count())
    }

    /// What the group has committed of partitions: the offset and the note beside it; `None` of one that has no commit.
    /// In the order in which they were asked for. Blocks, [`ASK`](crate::limits::kafka::ASK) at most.
    ///
    /// # Errors
    /// If the broker does not answer.
    pub fn committed(&self, partitions: &[Partition]) -> Result<Vec<Option<(i64, String)>>, Problem> {
        let asked = Consumer::list_of(partitions);
        let doing = || Problem::other(format!("asking what the group {} has done", self.group));
        let told = self.client().committed_offsets(asked, limits::ASK).map_err(doing())?;
        let of = |partition: &Partition| {
            let place = told.find_partition(&partition.topic, partition.number)?;
            let Offset::Offset(next) = place.offset() else { return None };
            // A note of somebody else's that is no text makes the binding panic.
            let note = catch_unwind(AssertUnwindSafe(|| place.metadata().to_owned())).unwrap_or_default();
            Some((next, note))
        };
        Ok(partitions.iter().map(of).collect())
    }

    /// Goes on from another offset of a partition of ours. What was read of it before is of an older epoch from here
    /// on. Blocks, [`ASK`](crate::limits::kafka::ASK) at most.
    ///
    /// # Errors
    /// If librdkafka does not take it.
    pub fn seek(&mut self, partition: &Partition, offset: i64) -> Result<(), Problem> {
        let doing = || Problem::other(format!("going back to {offset} of {partition}"));
        self.client().seek(&partition.topic, partition.number, Offset::Offset(offset), limits::ASK).map_err(doing())?;
        self.epoch += 1;
        let epoch = Epoch(self.epoch);
        if let Some(ours) = self.ours.get_mut(partition) {
            (ours.epoch, ours.next) = (epoch, Some(offset));
        }
        Ok(())
    }

    /// Whether the partition is still ours, and has been since then.
    #[must_use]
    pub fn is_current(&self, held: &Held) -> bool {
        self.ours.get(&held.partition).is_some_and(|ours| ours.epoch == held.epoch)
    }

    /// Every partition that is ours.
    pub fn ours(&self) -> impl Iterator<Item = Held> {
        self.ours.iter().map(|(partition, ours)| Held { partition: partition.clone(), epoch: ours.epoch })
    }

    /// Reads no further in these partitions until [`Consumer::resume`]. What was read ahead is dropped and read again.
    ///
    /// # Errors
    /// If librdkafka does not take it.
    pub fn pause(&mut self, partitions: &[Partition]) -> Result<(), Problem> {
        let list = Consumer::list_of(partitions);
        self.client().pause(&list).map_err(Problem::other("pausing partitions"))
    }

    /// Goes on in these partitions.
    ///
    /// # Errors
    /// If librdkafka does not take it.
    pub fn resume(&mut self, partitions: &[Partition]) -> Result<(), Problem> {
        let list = Consumer::list_of(partitions);
        self.client().resume(&list).map_err(Problem::other("resuming partitions"))
    }

    /// How far each of our partitions is behind.
    #[must_use]
    pub fn lags(&self) -> Vec<Lag> {
        let ends = lock(&self.client().context().ends);
        let lag = |(partition, ours): (&Partition, &Ours)| {
            let end = ends.get(partition).copied().max(ours.end);
            Lag { partition: partition.clone(), next: ours.next, end: end.max(ours.next) }
        };
        self.ours.iter().map(lag).collect()
    }

    /// Whether the group has more members than there are partitions, as a [`Problem::TooFewPartitions`]. Asks the
    /// broker, which takes [`ASK`](crate::limits::kafka::ASK) at most; worth it after an assignment of nothing.
    #[must_use]
    pub fn crowd(&self) -> Option<Problem> {
        let groups = self.client().fetch_group_list(Some(&self.group), limits::ASK).ok()?;
        let members = groups.groups().iter().find(|group| group.name() == self.group)?.members().len();
        let mut partitions = 0;
        for topic in &self.topics {
            let metadata = self.client().fetch_metadata(Some(topic), limits::ASK).ok()?;
            partitions += metadata.topics().iter().map(|topic| topic.partitions().len()).sum::<usize>();
        }
        let (group, topics) = (self.group.clone(), self.topics.join(", "));
        (members > partitions).then_some(Problem::TooFewPartitions { group, topics, members, partitions })
    }

    fn client(&self) -> &BaseConsumer<Watch> {
        self.client.as_ref().expect("it is there until it is dropped")
    }

    /// Carries out what librdkafka waits for, if it waits for something.
    fn answer(&mut self, from: &[(Partition, Begin)]) -> Result<(), Problem> {
        let Some(change) = self.unanswered.take() else { return Ok(()) };
        let held = match &change {
            Change::Assigned(held) | Change::Revoked { held, .. } => held,
        };
        let mut list = TopicPartitionList::with_capacity(held.len());
        for Held { partition, epoch } in held {
            let begin = from.iter().find(|(p, _)| p == partition).map_or(Begin::Committed, |(_, begin)| *begin);
            let (offset, next) = match begin {
                Begin::Committed => (Offset::Stored, None),
                Begin::At(offset) => (Offset::Offset(offset.max(0)), Some(offset.max(0))),
                Begin::Oldest => (Offset::Beginning, None),
            };
            match change {
                Change::Assigned(_) => {
                    list.add_partition_offset(&partition.topic, partition.number, offset)
                        .map_err(Problem::other(format!("beginning {partition}")))?;
                    self.ours.insert(partition.clone(), Ours { epoch: *epoch, next, end: None });
                }
                Change::Revoked { .. } => {
                    list.add_partition(&partition.topic, partition.number);
                    self.ours.remove(partition);
                }
            }
        }
        let assigned = matches!(change, Change::Assigned(_));
        carry_out(self.client(), assigned, &list).map_err(Problem::other("taking over partitions"))
    }

    /// Takes what the callback saw, if it saw something.
    fn take_change(&mut self) {
        let Some(seen) = lock(&self.client().context().seen).take() else { return };
        self.epoch += 1;
        let held = seen.partitions.into_iter().map(|partition| {
            let epoch = self.ours.get(&partition).map_or(Epoch(self.epoch), |ours| ours.epoch);
            Held { partition, epoch }
        });
        let held: Vec<Held> = held.collect();
        let change = match seen.assigned {
            true => Change::Assigned(held),
            false => Change::Revoked { held, lost: seen.lost },
        };
        self.notice = Some(match &change {
            Change::Assigned(held) => Next::Assigned(held.clone()),
            Change::Revoked { held, lost } => Next::Revoked { held: held.clone(), lost: *lost },
        });
        if let Change::Revoked { held, lost: true } = &change {
            // Nothing of them may be committed any more: another instance has them.
            for held in held {
                self.ours.remove(&held.partition);
            }
        }
        self.unanswered = Some(change);
    }

    /// What was gathered, and the change that followed it, one after the other.
    fn hand_out(&mut self, gathered: Gathered) -> Next {
        let Gathered { batch, ends, .. } = gathered;
        for (held, next) in batch.reaches() {
            if let Some(ours) = self.ours.get_mut(&held.partition) {
                ours.next = Some(next);
            }
        }
        self.bytes_last = batch.bytes();
        if !batch.is_empty() {
            self.waiting.push_back(Next::Records(batch));
        }
        for (held, next) in ends {
            if let Some(ours) = self.ours.get_mut(&held.partition) {
                (ours.next, ours.end) = (Some(next), Some(next));
            }
            self.waiting.push_back(Next::End { held, next });
        }
        self.waiting.extend(self.notice.take());
        self.waiting.pop_front().unwrap_or(Next::Quiet)
    }

    /// Notes that a partition of this number came to its end. Which topic it is of is not said: it is the one that
    /// stands there. Where several do, the broker is asked.
    fn ended(&self, number: i32, gathered: &mut Gathered) {
        let offset = lock(&self.client().context().end_seen).take();
        let next = |partition: &Partition, ours: &Ours| gathered.next_of(partition).or(ours.next);
        let all: Vec<_> = self.ours.iter().filter(|(partition, _)| partition.number == number).collect();
        let Some(offset) = offset else { return };
        let there: Vec<Held> = all
            .iter()
            .filter(|(partition, ours)| all.len() == 1 || next(partition, ours) == Some(offset))
            .map(|(partition, ours)| Held { partition: (*partition).clone(), epoch: ours.epoch })
            .collect();
        let alone = there.len() == 1;
        for held in there {
            let is_end = || {
                let Partition { topic, number } = &held.partition;
                self.client().fetch_watermarks(topic, *number, limits::ASK).is_ok_and(|(_, high)| high <= offset)
            };
            if alone || is_end() {
                gathered.ends.push((held, offset));
            }
        }
    }

    fn trouble(&self, error: &KafkaError) -> Result<(), Problem> {
        if let KafkaError::MessageConsumptionFatal(code) = error {
            return Err(Problem::Fatal { reason: words(*code) });
        }
        let kind = error.rdkafka_error_code().map_or_else(String::new, |code| format!("{code:?}"));
        self.client().context().ears.noise.warn(&kind, &reason(error));
        Ok(())
    }

    fn list_of(partitions: &[Partition]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&partition.topic, partition.number);
        }
        list
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // Leaving revokes everything, which from now on is carried out at once.
        self.client().context().leaving.store(true, Ordering::Release);
        self.take_change();
        if let Err(problem) = self.answer(&[]) {
            tracing::debug!("{problem}");
        }
        // librdkafka waits for a broker that does not answer, for minutes; whoever stops does not.
        let Some(client) = self.client.take() else { return };
        let (left, wait) = mpsc::channel::<()>();
        let leave = move || {
            drop(client);
            drop(left);
        };
        if std::thread::Builder::new().name("kafka-leave".to_owned()).spawn(leave).is_ok() {
            // It hangs up when it is done.
            let _ = wait.recv_timeout(limits::LEAVE);
        }
    }
}

/// What one call of [`Consumer::next`] came upon.
struct Gathered {
    batch: Batch,
    ends: Vec<(Held, i64)>,
    last: Option<(Held, u32)>,
}

impl Gathered {
    fn new(bytes: usize) -> Gathered {
        Gathered { batch: Batch::with_capacity(bytes), ends: Vec::new(), last: None }
    }

    fn is_empty(&self) -> bool {
        self.batch.is_empty() && self.ends.is_empty()
    }

    fn add(&mut self, ours: &BTreeMap<Partition, Ours>, message: &BorrowedMessage<'_>, headers: bool) {
        let (topic, number) = (message.topic(), message.partition());
        // Records come in runs of one partition.
        let same = |held: &Held| held.partition.number == number && *held.partition.topic == *topic;
        if !self.last.as_ref().is_some_and(|(held, _)| same(held)) {
            let partition = Partition::new(topic, number);
            // librdkafka drops what it read of a partition that was taken away; so do we, should it not.
            let Some(ours) = ours.get(&partition) else { return };
            let held = Held { partition, epoch: ours.epoch };
            let place = self.batch.place_of(&held);
            self.last = Some((held, place));
        }
        let Some((held, place)) = &self.last else { return };
        if !self.ends.is_empty() {
            // It goes on: that was not its end after all.
            self.ends.retain(|(end, _)| end != held);
        }
        self.batch.push(*place, message, headers);
    }

    fn next_of(&self, partition: &Partition) -> Option<i64> {
        self.batch.reaches().find(|(held, _)| held.partition == *partition).map(|(_, next)| next)
    }
}

/// What librdkafka tells while it is polled.
struct Watch {
    ears: Ears,
    seen: Mutex<Option<Seen>>,
    leaving: AtomicBool,
    end_seen: Mutex<Option<i64>>,
    ends: Mutex<BTreeMap<Partition, i64>>,
}

struct Seen {
    assigned: bool,
    lost: bool,
    partitions: Vec<Partition>,
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.ears.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::PartitionEOF) => *lock(&self.end_seen) = offset_in(reason),
            Some(code) => self.ears.error(code, reason),
            None => {}
        }
    }

    fn stats(&self, statistics: Statistics) {
        let mut ends = lock(&self.ends);
        ends.clear();
        for (name, topic) in statistics.topics {
            let topic_name: Arc<str> = name.into();
            // -1 is librdkafka's own partition for what has none; a negative offset is not known yet.
            let known = topic.partitions.values().filter(|p| p.partition >= 0 && p.hi_offset >= 0);
            ends.extend(known.map(|p| (Partition::new(topic_name.clone(), p.partition), p.hi_offset)));
        }
    }
}

impl ConsumerContext for Watch {
    fn rebalance(&self, client: &BaseConsumer<Watch>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assigned = what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.leaving.load(Ordering::Acquire) {
            let none = TopicPartitionList::new();
            if let Err(error) = carry_out(client, assigned, if assigned { &none } else { list }) {
                tracing::debug!("leaving a consumer group: {error}");
            }
            return;
        }
        let partitions = list.elements().iter().map(|e| Partition::new(e.topic(), e.partition())).collect();
        *lock(&self.seen) = Some(Seen { assigned, lost: client.assignment_lost(), partitions });
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            self.ears
                .noise
                .warn("commit", &format!("offsets were not committed ({}); later ones will be", reason(&error)));
        }
    }
}

/// Does what a rebalance asks for.
fn carry_out(client: &BaseConsumer<Watch>, assigned: bool, list: &TopicPartitionList) -> KafkaResult<()> {
    match (client.rebalance_protocol(), assigned) {
        (RebalanceProtocol::Cooperative, true) => client.incremental_assign(list),
        (RebalanceProtocol::Cooperative, false) => client.incremental_unassign(list),
        (RebalanceProtocol::Eager | RebalanceProtocol::None, true) => client.assign(list),
        (RebalanceProtocol::Eager | RebalanceProtocol::None, false) => client.unassign(),
    }
}

/// The offset in librdkafka's "reached end of partition at offset 7 (HighwaterMark 7)".
fn offset_in(reason: &str) -> Option<i64> {
    let rest = reason.split_once("at offset ")?.1;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
