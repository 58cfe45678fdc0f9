//! The store.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use vertice_engine::{Effect, EffectKind, Input, Role};
use vertice_model::{OrderId, Position};

use crate::bulk::{Bulk, UnderWay};
use crate::concern::{Concern, HOME};
use crate::error::{OpenError, Stopped, SubmitError};
use crate::news::News;
use crate::postgres::{self, PostgresSettings};
use crate::queue::{Append, Command, InputKind, Keep, Projection, Queue, Telling};
use crate::reads::Reads;
use crate::stats::StoreStats;
use crate::types::{Accepted, Clock, Cursor, Options, ShardState, Submission};
use crate::{chunk, limits, record, sqlite};

/// A log of inputs, snapshots and the read model: those of a data directory, of a shard in PostgreSQL, or of all its
/// shards at once. Clones are the same store.
///
/// The store closes when the last clone goes, or by [`Store::close`].
#[derive(Clone)]
pub struct Store(pub(crate) Arc<Shared>);

/// What a store is of.
#[derive(Clone, Debug)]
pub(crate) enum Form {
    /// A data directory.
    File { dir: PathBuf },
    /// A shard, taken with an epoch.
    Shard { shard: u32, epoch: u64, settings: Box<PostgresSettings> },
    /// All shards.
    Overview,
}

pub(crate) struct Shared {
    pub(crate) form: Form,
    pub(crate) clock: Clock,
    pub(crate) queue: Arc<Queue>,
    pub(crate) reads: Box<dyn Reads>,
    pub(crate) stats: Arc<StoreStats>,
    pub(crate) news: Arc<News>,
    pub(crate) bulk: Arc<Bulk>,
    /// What writes, and what looks for news. They end when the queue is stopped.
    pub(crate) threads: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("form", &self.0.form).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens a data directory; makes it when there is none.
    ///
    /// # Errors
    /// When another process has it open, when it is of another version, or when it is damaged.
    pub fn open(dir: &Path, clock: Clock, options: Options) -> Result<Store, OpenError> {
        sqlite::opening::open(dir, clock, options).map(|shared| Store(Arc::new(shared)))
    }

    /// Takes a shard in PostgreSQL; makes it when there is none. Whoever had it before can write nothing more from now
    /// on: its store stops. Blocks.
    ///
    /// # Errors
    /// When the server can not be used, or what it has is of another version or damaged.
    pub fn take_shard(settings: &PostgresSettings, shard: u32, clock: Clock) -> Result<Store, OpenError> {
        postgres::opening::take_shard(settings, shard, clock).map(|shared| Store(Arc::new(shared)))
    }

    /// Opens all shards in PostgreSQL. What is appended is left for the owner of the shard that it concerns. Blocks.
    ///
    /// # Errors
    /// As [`Store::take_shard`].
    pub fn overview(settings: &PostgresSettings, clock: Clock) -> Result<Store, OpenError> {
        postgres::opening::overview(settings, clock).map(|shared| Store(Arc::new(shared)))
    }

    /// Writes what waits, moves everything into the file, and lets go of the directory. Whoever comes
    /// later is refused. Blocks; closing twice is harmless.
    ///
    /// # Errors
    /// When the disk failed, now or before.
    pub fn close(&self) -> Result<(), Stopped> {
        self.0.close();
        match self.0.queue.stopped() {
            Some(stopped) if stopped.fatal => Err(stopped),
            Some(_) | None => Ok(()),
        }
    }

    /// Whose log it writes and reads: 0 for a file, and for an overview, whose own inputs go there.
    #[must_use]
    pub fn shard(&self) -> u32 {
        match &self.0.form {
            Form::Shard { shard, .. } => *shard,
            Form::File { .. } | Form::Overview => 0,
        }
    }

    /// How often the shard was taken, this time included; 0 of a file and of an overview.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        match &self.0.form {
            Form::Shard { epoch, .. } => *epoch,
            Form::File { .. } | Form::Overview => 0,
        }
    }

    /// Whose engine judges this log. What people want of suppressions goes to shard 0, as do all inputs that concern no
    /// shard by themselves: so it is the one that decides about them.
    #[must_use]
    pub fn role(&self) -> Role {
        match &self.0.form {
            Form::Shard { shard: HOME, .. } => Role::Home,
            Form::Shard { .. } => Role::Away,
            Form::File { .. } | Form::Overview => Role::Alone,
        }
    }

    /// How far each shard has come, as far as it is known here.
    #[must_use]
    pub fn shards(&self) -> Vec<ShardState> {
        match &self.0.form {
            Form::Overview => self.0.news.shards.borrow().clone(),
            Form::File { .. } | Form::Shard { .. } => vec![ShardState {
                shard: self.shard(),
                epoch: self.epoch(),
                log_end: self.log_end(),
                judged: self.judged_to(),
            }],
        }
    }

    /// What was counted since it was opened.
    #[must_use]
    pub fn stats(&self) -> &StoreStats {
        &self.0.stats
    }

    /// Appends events to the log. They are durable when this returns.
    ///
    /// # Errors
    /// When the queue or the disk is full, or the store has stopped. Then nothing was kept.
    pub async fn submit(&self, submission: Submission) -> Result<Accepted, SubmitError> {
        self.begin(submission)?.done().await
    }

    /// Packs events and hands them to the writer, which takes processor time in proportion to them, and returns
    /// before they are durable.
    ///
    /// # Errors
    /// When the queue is full, or the store has stopped. Then nothing was kept.
    pub fn begin(&self, submission: Submission) -> Result<Submitted, SubmitError> {
        Ok(Submitted { answer: self.send(submission)?, queue: self.0.queue.clone() })
    }

    /// [`Store::submit`] for a thread that may block.
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub fn submit_blocking(&self, submission: Submission) -> Result<Accepted, SubmitError> {
        let answer = self.send(submission)?;
        answer.blocking_recv().unwrap_or_else(|_| Err(self.stopped().into()))
    }

    /// Appends any input to the log. It is durable when this returns.
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub async fn append(&self, input: Input) -> Result<Accepted, SubmitError> {
        self.append_with(input, Vec::new()).await
    }

    /// Appends any input to the log, and moves cursors with it or not at all.
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub async fn append_with(&self, input: Input, cursors: Vec<Cursor>) -> Result<Accepted, SubmitError> {
        let answer = self.send_input(input, cursors)?;
        answer.await.unwrap_or_else(|_| Err(self.stopped().into()))
    }

    /// [`Store::append`] for a thread that may block.
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub fn append_blocking(&self, input: Input) -> Result<Accepted, SubmitError> {
        self.append_with_blocking(input, Vec::new())
    }

    /// [`Store::append_with`] for a thread that may block.
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub fn append_with_blocking(&self, input: Input, cursors: Vec<Cursor>) -> Result<Accepted, SubmitError> {
        let answer = self.send_input(input, cursors)?;
        answer.blocking_recv().unwrap_or_else(|_| Err(self.stopped().into()))
    }

    fn send(&self, submission: Submission) -> Result<Answer<Accepted>, SubmitError> {
        let Submission { events, packed, cursors, idempotency } = submission;
        let longest = events.iter().map(|event| event.line.len()).fold(packed.longest, usize::max);
        fits("an event", longest, vertice_model::limits::RAW_EVENT_BYTES_MAX)?;
        if let Some(idempotency) = &idempotency {
            fits("an answer", idempotency.answer.len(), limits::IDEMPOTENCY_ANSWER_BYTES_MAX)?;
        }
        let mut chunks = packed.chunks;
        chunks.extend(chunk::encode_events(&events));
        let append = Append { kind: InputKind::Events, chunks, cursors, idempotency, about: Concern::Nothing };
        self.push(|ack| Command::Append(append, ack))
    }

    fn send_input(&self, input: Input, cursors: Vec<Cursor>) -> Result<Answer<Accepted>, SubmitError> {
        if let Input::Events(events) = input {
            return self.send(Submission { events, cursors, ..Submission::default() });
        }
        if input.positions() == 0 {
            // As of events: it takes no place, and only the cursors are kept.
            return self.send(Submission { cursors, ..Submission::default() });
        }
        let chunk = chunk::encode_input(&input);
        fits("an input", chunk.plain_bytes(), limits::CHUNK_BYTES_MAX)?;
        let append = Append {
            kind: InputKind::Other,
            chunks: vec![chunk],
            cursors,
            idempotency: None,
            about: Concern::of(&input),
        };
        self.push(|ack| Command::Append(append, ack))
    }

    fn push<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, SubmitError>>) -> Command,
    ) -> Result<Answer<T>, SubmitError> {
        let (ack, answer) = oneshot::channel();
        self.0.queue.push(command(ack))?;
        Ok(answer)
    }

    fn stopped(&self) -> Stopped {
        self.0.queue.stopped().unwrap_or_else(Stopped::closed)
    }

    /// Says that a large submission is on its way, from now until what this returns goes.
    #[must_use]
    pub fn under_way(&self) -> UnderWay {
        self.0.bulk.begin()
    }

    /// Gives way to large submissions: waits until none is on its way, and not longer than this. Blocks.
    pub fn give_way(&self, at_most: Duration) {
        self.0.bulk.wait(at_most);
    }

    /// Follows the last position of the log; over all shards, how many positions they have together.
    #[must_use]
    pub fn appended(&self) -> watch::Receiver<Position> {
        self.0.news.appended.subscribe()
    }

    /// Follows the position up to which the log was judged and its effects projected; over all shards, their sum. It
    /// changes whenever there may be records to be read.
    #[must_use]
    pub fn judged(&self) -> watch::Receiver<Position> {
        self.0.news.judged.subscribe()
    }

    /// Waits until what was accepted is judged and its effects are projected.
    ///
    /// # Errors
    /// When the store stops before.
    pub async fn judged_past(&self, accepted: &Accepted) -> Result<(), Stopped> {
        let last = Position((accepted.first.0 + accepted.count).saturating_sub(1));
        let stopped = |_| self.stopped();
        if let Form::Overview = &self.0.form {
            let past = |s: &ShardState| s.shard == accepted.shard && s.judged >= last;
            let mut shards = self.0.news.shards.subscribe();
            return shards.wait_for(|all| all.iter().any(past)).await.map(|_| ()).map_err(stopped);
        }
        self.judged().wait_for(|position| *position >= last).await.map(|_| ()).map_err(stopped)
    }

    /// Follows whether the store has stopped by itself. When the disk has failed, the process must end; when another
    /// instance took the shard over, everything of the shard must.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<Option<Stopped>> {
        self.0.news.failed.subscribe()
    }

    /// Why nothing is judged or kept at the moment; nothing where all is well. It goes on by itself.
    #[must_use]
    pub fn waits(&self) -> Vec<String> {
        let News { keeping_waits, judging_waits, .. } = &*self.0.news;
        [keeping_waits, judging_waits].into_iter().filter_map(|why| why.borrow().clone()).collect()
    }

    /// Says whether judging waits for something, and for what.
    pub fn judging_waits(&self, why: Option<String>) {
        self.0.news.judging_waits.send_replace(why);
    }

    /// The last position of the log; 0 when it is empty.
    #[must_use]
    pub fn log_end(&self) -> Position {
        *self.0.news.appended.borrow()
    }

    /// Up to where the log was judged and its effects projected.
    #[must_use]
    pub fn judged_to(&self) -> Position {
        *self.0.news.judged.borrow()
    }

    /// Projects the effects of the log up to a position: their records, and that position. Both are kept
    /// together with the next group commit; a position without records waits for one that has something else to keep,
    /// and after a loss of power that stretch is judged again. Projecting again what was projected changes nothing.
    ///
    /// Blocks while [`limits::QUEUE_PROJECTIONS_MAX`] are on their way, and as long as the disk is full.
    ///
    /// # Errors
    /// When the store has stopped.
    pub fn project(&self, up_to: Position, effects: &[Effect]) -> Result<Projecting, Stopped> {
        let (rows, telling) = (effects.iter().filter_map(record::row_of).collect(), telling(effects));
        let (ack, answer) = oneshot::channel();
        self.0.queue.push_projection(Command::Project(Projection { up_to, rows, telling }, ack))?;
        Ok(Projecting { answer, queue: self.0.queue.clone() })
    }

    /// Keeps the engine's state after a position, in a form that the engine numbers. Of earlier ones the
    /// latest is kept. Blocks.
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub fn save_snapshot(&self, position: Position, version: u32, bytes: &[u8]) -> Result<(), SubmitError> {
        fits("a snapshot", bytes.len(), limits::SNAPSHOT_RAW_BYTES_MAX)?;
        let blob = lz4_flex::block::compress_prepend_size(bytes);
        fits("a compressed snapshot", blob.len(), limits::SNAPSHOT_BYTES_MAX)?;
        self.keep(Keep::Snapshot { position, version, blob }).map(|_| ())
    }

    /// Adds an API key; false if there is one of that name. Blocks.
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub fn add_api_key(&self, name: &str, hash: [u8; 32]) -> Result<bool, SubmitError> {
        self.keep(Keep::AddApiKey { name: name.to_owned(), hash })
    }

    /// Removes an API key; false if there is none of that name. Blocks.
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub fn remove_api_key(&self, name: &str) -> Result<bool, SubmitError> {
        self.keep(Keep::RemoveApiKey { name: name.to_owned() })
    }

    /// Keeps a setting. Blocks.
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub fn set_meta(&self, key: &str, value: &str) -> Result<(), SubmitError> {
        self.keep(Keep::Meta { key: key.to_owned(), value: value.to_owned(), once: false }).map(|_| ())
    }

    /// Keeps a setting that there is not yet; false if there is one. Blocks.
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub fn make_meta(&self, key: &str, value: &str) -> Result<bool, SubmitError> {
        self.keep(Keep::Meta { key: key.to_owned(), value: value.to_owned(), once: true })
    }

    /// Claims an order, right before it is carried out: the token that fences it, or `None` if it is claimed with a later
    /// one. Whoever carries out refuses a token that is older than the newest it saw. Blocks.
    ///
    /// # Errors
    /// As [`Store::submit`]; when another instance has the shard now, the order is not ours any more.
    pub fn claim(&self, order: OrderId) -> Result<Option<u64>, SubmitError> {
        Ok(self.keep(Keep::Claim { order })?.then(|| self.epoch()))
    }

    pub(crate) fn keep(&self, keep: Keep) -> Result<bool, SubmitError> {
        let answer = self.push(|ack| Command::Keep(keep, ack))?;
        answer.blocking_recv().unwrap_or_else(|_| Err(self.stopped().into()))
    }
}

/// What the others are to know of these effects.
fn telling(effects: &[Effect]) -> Vec<Telling> {
    let mut all: Vec<Telling> = Vec::new();
    for effect in effects {
        let EffectKind::Tell(told) = &effect.kind else { continue };
        let position = effect.id.position;
        // Effects come in the order of their positions.
        let index = all.last().filter(|last| last.position == position).map_or(0, |last| last.index + 1);
        all.push(Telling { position, index, chunk: chunk::encode_input(&Input::Told(told.clone())) });
    }
    all
}

type Answer<T> = oneshot::Receiver<Result<T, SubmitError>>;

fn fits(what: &'static str, bytes: usize, max: usize) -> Result<(), SubmitError> {
    if bytes <= max { Ok(()) } else { Err(SubmitError::TooLarge { what, bytes, max }) }
}

impl Shared {
    fn close(&self) {
        self.queue.stop(Stopped::closed());
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the store has panicked: {:?}", self.form);
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}

/// Events on their way into the log.
#[derive(Debug)]
#[must_use = "whoever sent the events may only be told that they are kept once this says so"]
pub struct Submitted {
    answer: Answer<Accepted>,
    queue: Arc<Queue>,
}

impl Submitted {
    /// Waits until they are durable.
    ///
    /// # Errors
    /// When the disk is full, or the store stopped before. Then nothing was kept.
    pub async fn done(self) -> Result<Accepted, SubmitError> {
        let Submitted { answer, queue } = self;
        answer.await.unwrap_or_else(|_| Err(queue.stopped().unwrap_or_else(Stopped::closed).into()))
    }
}

/// A projection on its way.
#[derive(Debug)]
#[must_use = "the projection is kept whether it is waited for or not, but nobody knows when"]
pub struct Projecting {
    answer: oneshot::Receiver<Result<(), Stopped>>,
    queue: Arc<Queue>,
}

impl Projecting {
    /// Waits until it is kept. Blocks.
    ///
    /// # Errors
    /// When the store stopped before.
    pub fn wait(self) -> Result<(), Stopped> {
        let Projecting { answer, queue } = self;
        answer.blocking_recv().unwrap_or_else(|_| Err(queue.stopped().unwrap_or_else(Stopped::closed)))
    }

    /// Waits until it is kept.
    ///
    /// # Errors
    /// When the store stopped before.
    pub async fn done(self) -> Result<(), Stopped> {
        let Projecting { answer, queue } = self;
        answer.await.unwrap_or_else(|_| Err(queue.stopped().unwrap_or_else(Stopped::closed)))
    }
}
