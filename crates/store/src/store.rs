//! The store.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use vertice_engine::{Effect, Input, Stamp};
use vertice_model::{EffectId, Position, RawEvent, Timestamp};

use crate::beside::Beside;
use crate::bulk::{Bulk, UnderWay};
use crate::directory::{self, Directory, Testimony};
use crate::error::{Damage, FindError, OpenError, ReadError, Stopped, SubmitError};
use crate::queue::{Append, Command, InputKind, Keep, Projection, Queue};
use crate::readers::Readers;
use crate::sqlite::head::Head;
use crate::sqlite::{self, Place, head, keep, log, open_error, records, verify};
use crate::stats::StoreStats;
use crate::types::{
    Accepted, ApiKey, Check, Clock, Filter, Options, Page, Remembered, Snapshot, StoredRecord, Submission, Verified,
};
use crate::writer::{News, Writer};
use crate::{RecordKind, chunk, limits, record};

/// The input log, snapshots and the read model of one data directory. Clones are the same store.
///
/// The store closes when the last clone goes, or by [`Store::close`].
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    dir: PathBuf,
    clock: Clock,
    queue: Arc<Queue>,
    readers: Readers,
    stats: Arc<StoreStats>,
    news: Arc<News>,
    bulk: Arc<Bulk>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("dir", &self.0.dir).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens a data directory; makes it when there is none.
    ///
    /// # Errors
    /// When another process has it open, when it is of another version, or when it is damaged.
    pub fn open(dir: &Path, clock: Clock, options: Options) -> Result<Store, OpenError> {
        let directory = Directory::open(dir)?;
        let file = sqlite::file_of(dir);
        let db = sqlite::open_writer(dir)?;
        directory::sync(dir)?;
        let head = inspect(&db, &file, &directory, options.check).map_err(|e| match e {
            ReadError::Damaged(damage) => OpenError::Damaged(damage),
            ReadError::Database { doing, source } => open_error(&file, doing, source),
        })?;
        let head = Head { commits: head.commits + 1, clean: false, ..head };
        head::write(&db, &head).map_err(|e| open_error(&file, "writing", e))?;
        directory.note(head.commits).map_err(|source| OpenError::Io {
            doing: "writing in",
            path: dir.to_owned(),
            source,
        })?;
        let stats = Arc::new(StoreStats::default());
        let queue = Arc::new(Queue::new(stats.clone()));
        let news = Arc::new(News {
            appended: watch::Sender::new(head.log_end),
            judged: watch::Sender::new(head.judged),
            failed: watch::Sender::new(None),
        });
        let writer = Writer {
            db,
            file,
            wal: sqlite::wal_of(dir),
            directory,
            head,
            clock: clock.clone(),
            queue: queue.clone(),
            stats: stats.clone(),
            news: news.clone(),
            wal_bytes: options.wal_bytes,
            // What a process that was killed left there counts too.
            wal_used: std::fs::metadata(sqlite::wal_of(dir)).map_or(0, |m| m.len()),
            beside: Beside::default(),
            owed: Vec::new(),
        };
        let thread = std::thread::Builder::new().name("store-writer".to_owned());
        let io = |source| OpenError::Io { doing: "starting the writer of", path: dir.to_owned(), source };
        let writer = Mutex::new(Some(thread.spawn(move || writer.run()).map_err(io)?));
        let readers = Readers::new(dir);
        Ok(Store(Arc::new(Shared {
            dir: dir.to_owned(),
            clock,
            queue,
            readers,
            stats,
            news,
            bulk: Arc::default(),
            writer,
        })))
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

    /// The data directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0.dir
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
        let answer = self.send_input(input)?;
        answer.await.unwrap_or_else(|_| Err(self.stopped().into()))
    }

    /// [`Store::append`] for a thread that may block.
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub fn append_blocking(&self, input: Input) -> Result<Accepted, SubmitError> {
        let answer = self.send_input(input)?;
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
        self.push(|ack| Command::Append(Append { kind: InputKind::Events, chunks, cursors, idempotency }, ack))
    }

    fn send_input(&self, input: Input) -> Result<Answer<Accepted>, SubmitError> {
        if let Input::Events(events) = input {
            return self.send(Submission { events, ..Submission::default() });
        }
        if input.positions() == 0 {
            // As of events: it takes no place, and there is nothing to keep.
            return self.send(Submission::default());
        }
        let chunk = chunk::encode_input(&input);
        fits("an input", chunk.plain_bytes(), limits::CHUNK_BYTES_MAX)?;
        let append = Append { kind: InputKind::Other, chunks: vec![chunk], cursors: Vec::new(), idempotency: None };
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

    /// Follows the last position of the log.
    #[must_use]
    pub fn appended(&self) -> watch::Receiver<Position> {
        self.0.news.appended.subscribe()
    }

    /// Follows the position up to which the log was judged and its effects projected.
    #[must_use]
    pub fn judged(&self) -> watch::Receiver<Position> {
        self.0.news.judged.subscribe()
    }

    /// Follows whether the disk has failed. When it has, the process must end.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<Option<Stopped>> {
        self.0.news.failed.subscribe()
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

    /// Reads the log from a position, which may lie within a batch of events, on: whole inputs until
    /// they take `positions_max` positions or [`limits::READ_BYTES_MAX`], at least one. Empty beyond the end.
    ///
    /// # Errors
    /// When a row is damaged or missing.
    pub fn read(&self, from: Position, positions_max: u64) -> Result<Vec<(Stamp, Input)>, ReadError> {
        let (from, end) = (from.max(Position(1)), self.log_end());
        if from > end {
            return Ok(Vec::new());
        }
        let readers = &self.0.readers;
        readers.with(|db| log::read(db, readers.place("log"), from, end, positions_max.max(1)))
    }

    /// One event and when it was accepted; `None` if there is another input at that position, or nothing.
    ///
    /// # Errors
    /// When its row is damaged.
    pub fn event(&self, at: Position) -> Result<Option<(Stamp, RawEvent)>, ReadError> {
        if at == Position(0) || at > self.log_end() {
            return Ok(None);
        }
        self.0.readers.with(|db| log::event(db, self.0.readers.place("log"), at))
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
        let rows = effects.iter().filter_map(record::row_of).collect();
        let (ack, answer) = oneshot::channel();
        self.0.queue.push_projection(Command::Project(Projection { up_to, rows }, ack))?;
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

    /// The latest snapshot of a form that is whole and lies within the log. One that is damaged is passed
    /// over for an older one, loudly: nothing is lost by it, for the log has everything.
    ///
    /// # Errors
    /// When the database can not be read.
    pub fn load_snapshot(&self, version: u32) -> Result<Option<Snapshot>, ReadError> {
        let readers = &self.0.readers;
        let place = readers.place("snapshot");
        let known = match readers.with(|db| keep::snapshots(db, place)) {
            Err(ReadError::Damaged(damage)) => return Ok(self.pass_over(&damage)),
            other => other?,
        };
        for (position, form) in known.into_iter().filter(|(p, v)| *v == version && *p <= self.log_end()) {
            let bytes = readers.with(|db| keep::snapshot(db, place, position, form)).and_then(|blob| {
                let bad = |e| place.damage(format!("the snapshot at position {position}"), format!("{e}"));
                unpack(&blob).map_err(|e| bad(e).into())
            });
            match bytes {
                Ok(bytes) => return Ok(Some(Snapshot { position, bytes })),
                Err(ReadError::Damaged(damage)) => self.pass_over(&damage),
                Err(e @ ReadError::Database { .. }) => return Err(e),
            };
        }
        Ok(None)
    }

    fn pass_over(&self, damage: &Damage) -> Option<Snapshot> {
        self.0.stats.snapshots_damaged.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%damage, "a snapshot is damaged; an older one or the whole log is used");
        None
    }

    /// The records of a kind, in the order of their effects.
    ///
    /// # Errors
    /// When a row is damaged.
    pub fn list(&self, kind: RecordKind, filter: &Filter, page: Page) -> Result<Vec<StoredRecord>, ReadError> {
        let readers = &self.0.readers;
        readers.with(|db| records::list(db, readers.place("record"), Some(kind), filter, page))
    }

    /// The records of a kind in a state that are about an entity, by their id; at most [`limits::PAGE_ROWS_MAX`]. Takes
    /// as long as there are records of that kind about it, however many others there are.
    ///
    /// # Errors
    /// When a row is damaged.
    pub fn about(&self, kind: RecordKind, entity: &str, state: &str) -> Result<Vec<StoredRecord>, ReadError> {
        let readers = &self.0.readers;
        readers.with(|db| records::about(db, readers.place("record"), kind, entity, state))
    }

    /// How many records of a kind there are.
    ///
    /// # Errors
    /// When the database can not be read.
    pub fn count(&self, kind: RecordKind, filter: &Filter) -> Result<u64, ReadError> {
        let readers = &self.0.readers;
        readers.with(|db| records::count(db, readers.place("record"), kind, filter))
    }

    /// The record of an id, or of the beginning of one.
    ///
    /// # Errors
    /// When there is none, when there are several, or when it is damaged.
    pub fn find(&self, kind: RecordKind, id_or_prefix: &str) -> Result<StoredRecord, FindError> {
        let readers = &self.0.readers;
        readers.with(|db| records::find(db, readers.place("record"), kind, id_or_prefix))
    }

    /// Records of all kinds that changed after an effect, in order. A record that changed several times
    /// comes once, as it is now, at the place of its last change.
    ///
    /// # Errors
    /// When a row is damaged.
    pub fn changes(&self, after: Option<EffectId>, limit: usize) -> Result<Vec<StoredRecord>, ReadError> {
        let readers = &self.0.readers;
        let page = Page { after, limit, descending: false };
        readers.with(|db| records::list(db, readers.place("record"), None, &Filter::default(), page))
    }

    /// The latest effect that was projected: where a live stream begins.
    ///
    /// # Errors
    /// When the database can not be read.
    pub fn latest_change(&self) -> Result<Option<EffectId>, ReadError> {
        let readers = &self.0.readers;
        readers.with(|db| records::latest(db, readers.place("record")))
    }

    /// How far a source has been read, as of the events that are kept.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn cursor(&self, source: &str) -> Result<Option<Vec<u8>>, ReadError> {
        self.0.readers.with(|db| keep::cursor(db, self.0.readers.place("cursor"), source))
    }

    /// What was answered under an idempotency key in the last 24 hours.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn idempotent(&self, key: &[u8; 32]) -> Result<Option<Remembered>, ReadError> {
        let (readers, now): (_, Timestamp) = (&self.0.readers, (self.0.clock)());
        readers.with(|db| keep::remembered(db, readers.place("idempotency"), key, now))
    }

    /// Every API key, by name.
    ///
    /// # Errors
    /// When one is damaged.
    pub fn api_keys(&self) -> Result<Vec<ApiKey>, ReadError> {
        self.0.readers.with(|db| keep::api_keys(db, self.0.readers.place("api_key")))
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

    /// A setting that is kept with the data.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn meta(&self, key: &str) -> Result<Option<String>, ReadError> {
        self.0.readers.with(|db| keep::meta(db, self.0.readers.place("meta"), key))
    }

    /// Keeps a setting. Blocks.
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub fn set_meta(&self, key: &str, value: &str) -> Result<(), SubmitError> {
        self.keep(Keep::Meta { key: key.to_owned(), value: value.to_owned() }).map(|_| ())
    }

    fn keep(&self, keep: Keep) -> Result<bool, SubmitError> {
        let answer = self.push(|ack| Command::Keep(keep, ack))?;
        answer.blocking_recv().unwrap_or_else(|_| Err(self.stopped().into()))
    }

    /// Looks at everything: the structure of the file, every index, every checksum. Takes as long as
    /// reading it all.
    ///
    /// # Errors
    /// With the first damage that is found.
    pub fn verify(&self) -> Result<Verified, ReadError> {
        let readers = &self.0.readers;
        readers.with(|db| {
            let place = readers.place("head");
            // One state of the file for all that is compared.
            let tx = db.unchecked_transaction().map_err(|e| place.error("reading", "its only row", e))?;
            let head = head::read(&tx, place)?;
            examine(&tx, place.file, &head)
        })
    }
}

type Answer<T> = oneshot::Receiver<Result<T, SubmitError>>;

fn fits(what: &'static str, bytes: usize, max: usize) -> Result<(), SubmitError> {
    if bytes <= max { Ok(()) } else { Err(SubmitError::TooLarge { what, bytes, max }) }
}

fn unpack(blob: &[u8]) -> Result<Vec<u8>, lz4_flex::block::DecompressError> {
    let (bytes, body) = lz4_flex::block::uncompressed_size(blob)?;
    // The checksum was right, so the length is what was written.
    lz4_flex::block::decompress(body, bytes)
}

/// Looks at what is there before anything is relied on.
fn inspect(db: &rusqlite::Connection, file: &Path, directory: &Directory, check: Check) -> Result<Head, ReadError> {
    let place = Place { file, table: "head" };
    let head = head::read(db, place)?;
    match directory.testimony() {
        Testimony::Commits(known) if known > head.commits => {
            let what = format!("{known} transactions were committed, and only {} are there", head.commits);
            return Err(Place { table: "the write-ahead log", ..place }.damage("its end", what).into());
        }
        Testimony::Commits(_) | Testimony::Nothing => {}
        Testimony::Damaged => tracing::warn!("the note of how many transactions were committed is damaged"),
    }
    verify::ends(db, file, &head)?;
    match check {
        Check::Everything => examine(db, file, &head).map(|_| ())?,
        Check::AfterCrash if !head.clean => verify::structure(db, place, false)?,
        Check::AfterCrash | Check::Ends => {}
    }
    Ok(head)
}

fn examine(db: &rusqlite::Connection, file: &Path, head: &Head) -> Result<Verified, ReadError> {
    verify::structure(db, Place { file, table: "head" }, true)?;
    verify::ends(db, file, head)?;
    let (positions, records) = verify::contents(db, file, head)?;
    Ok(Verified { positions, records })
}

impl Shared {
    fn close(&self) {
        self.queue.stop(Stopped::closed());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(_)) = writer.map(JoinHandle::join) {
            tracing::error!("the writer of {} has panicked", self.dir.display());
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
