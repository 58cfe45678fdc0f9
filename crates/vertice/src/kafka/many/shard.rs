//! A shard that is ours: its log, its engine, its hands and its publisher, from taking it to giving it up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, anyhow};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vertice_api::Metrics;
use vertice_engine::route::{Cursors, Merge};
use vertice_engine::{Content, Input};
use vertice_model::{Position, Question, Routed, Timestamp};
use vertice_responder::Responder;
use vertice_store::{Cursor, OpenError, PostgresSettings, Store, SubmitError};
use vertice_stream::kafka::{Held, Publisher};

use super::super::outlet::Outlet;
use crate::clock::Clock;
use crate::config::{Mode, Topics};
use crate::content::Ready;
use crate::hands::{Fence, Hands};
use crate::limits;
use crate::pipeline::{last_time, put_in_force, recover};
use crate::sentinel::Sentinel;
use crate::up::{self, Rest};

/// The cursor of what was let out, and of what is to be read again.
const CURSOR: &str = "kafka:hits";

/// What all shards of this instance are given.
#[derive(Clone)]
pub struct World {
    /// Where their state lies.
    pub postgres: PostgresSettings,
    /// All of them, of which others are told how those here are.
    pub overview: Store,
    /// How the topics are called.
    pub names: Topics,
    /// Who says what goes out, as CloudEvents name their source.
    pub source: String,
    /// What writes.
    pub publisher: Publisher,
    /// What tells the time.
    pub clock: Arc<Clock>,
    /// The content in force.
    pub content: watch::Receiver<Arc<Content>>,
    /// What is compiled of it.
    pub ready: Arc<Ready>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What carries out.
    pub responder: Arc<Responder>,
    /// What keeps those out who had a shard before.
    pub fence: Arc<Fence>,
    /// Whether anything is carried out.
    pub mode: Mode,
    /// Where questions go that approvers are told of.
    pub asker: Option<mpsc::Sender<Question>>,
    /// Where consultations go.
    pub sentinel: Option<Arc<Sentinel>>,
}

/// A shard that is ours.
pub struct Shard {
    /// The partition of hits that it is.
    pub held: Held,
    /// What holds back what is to be judged.
    pub merge: Merge,
    store: Store,
    stop: CancellationToken,
    /// Whether its log has the content in force: what came before that would be judged without any.
    in_force: Arc<AtomicBool>,
    living: JoinHandle<Result<()>>,
    /// What is on its way into the log, and from where a restart goes on then.
    appending: Option<(oneshot::Receiver<Result<(), SubmitError>>, i64)>,
    /// The offset of hits that is kept, and since when.
    kept: (i64, Timestamp),
    late: u64,
}

impl Shard {
    /// Takes it from whoever had it. Blocks.
    ///
    /// # Errors
    /// When the database can not be used, or what it has of the shard is damaged.
    pub fn take(world: &World, held: Held, sources: i32, runtime: &Handle) -> Result<Shard> {
        let number = held.partition.number.unsigned_abs();
        let now = Arc::clone(&world.clock);
        let store = take(world, number, Arc::new(move || now.now()))?;
        let kept = store.cursor(CURSOR).context("reading where a shard stands")?;
        let cursors: Cursors = match kept {
            Some(bytes) => serde_json::from_slice(&bytes).context("reading where a shard stands")?,
            None => Cursors::default(),
        };
        tracing::info!(shard = number, epoch = store.epoch(), hits = cursors.hits, "a shard is ours");
        let stop = CancellationToken::new();
        let in_force = Arc::<AtomicBool>::default();
        let living = runtime.spawn(live(world.clone(), store.clone(), stop.clone(), Arc::clone(&in_force)));
        let kept = (cursors.hits, world.clock.now());
        let merge = Merge::restore(sources, &cursors);
        Ok(Shard { held, merge, store, stop, in_force, living, appending: None, kept, late: 0 })
    }

    /// The offset of hits to read from.
    pub fn begin(&self) -> i64 {
        self.kept.0
    }

    /// Whether it ended by itself.
    pub fn has_ended(&self) -> bool {
        self.living.is_finished()
    }

    /// Whether something is on its way into its log.
    pub fn is_busy(&self) -> bool {
        self.appending.is_some()
    }

    /// Why it is not judged at the moment, if it is not.
    pub fn waits(&self) -> Vec<String> {
        self.store.waits()
    }

    /// How many records came late since this was last asked.
    pub fn late(&mut self) -> u64 {
        let late = self.merge.counts().late;
        late - std::mem::replace(&mut self.late, late)
    }

    /// Puts what all partitions have passed into the log; gives the offset of hits to go back to, if it has to.
    pub fn turn(&mut self, now: Timestamp, runtime: &Handle) -> Option<i64> {
        if let Some((done, hits)) = &mut self.appending {
            match done.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => return None,
                Ok(Ok(())) => self.kept = (*hits, now),
                // The store has stopped, and so does everything of the shard.
                Ok(Err(_)) | Err(oneshot::error::TryRecvError::Closed) => {
                    self.stop.cancel();
                    return None;
                }
            }
            self.appending = None;
        }
        if self.stop.is_cancelled() || !self.in_force.load(Ordering::Acquire) {
            return None;
        }
        let routed = self.merge.let_out(limits::LET_OUT_RECORDS, limits::LET_OUT_BYTES);
        if routed.is_empty() {
            let back = self.merge.reread();
            let due = now.micros_since(self.kept.1) >= limits::CURSOR_EVERY.as_micros() as u64;
            if back.is_some() || !due || self.merge.cursors().hits == self.kept.0 {
                return back;
            }
        }
        self.append(routed, runtime);
        None
    }

    fn append(&mut self, routed: Vec<Routed>, runtime: &Handle) {
        let cursors = self.merge.cursors();
        let value = serde_json::to_vec(&cursors).expect("numbers can be written");
        let cursor = Cursor { source: CURSOR.to_owned(), value };
        let (tell, done) = oneshot::channel();
        let (store, stop) = (self.store.clone(), self.stop.clone());
        runtime.spawn(async move {
            // Whoever waits for it may have been given up.
            let _ = tell.send(keep(&store, &stop, Input::Routed(routed), cursor).await);
        });
        self.appending = Some((done, cursors.hits));
    }

    /// Gives it up: promptly, for its next owner waits; at once, if it is lost already.
    pub async fn give_up(mut self, lost: bool) {
        let number = self.store.shard();
        if let Some((done, _)) = self.appending.take().filter(|_| !lost) {
            // Kept or not, the next owner goes on from what is.
            let _ = tokio::time::timeout(limits::HANDOVER_TIME, done).await;
        }
        self.stop.cancel();
        match (&mut self.living).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(shard = number, "a shard ended: {error:#}"),
            Err(panicked) => tracing::error!(shard = number, "a shard failed: {panicked}"),
        }
        tracing::info!(shard = number, "a shard is given up");
    }
}

fn take(world: &World, number: u32, clock: vertice_store::Clock) -> Result<Store, OpenError> {
    Store::take_shard(&world.postgres, number, clock)
}

/// Appends until it is kept; what is refused for now is tried again.
async fn keep(store: &Store, stop: &CancellationToken, input: Input, cursor: Cursor) -> Result<(), SubmitError> {
    loop {
        let pause = match store.append_with(input.clone(), vec![cursor.clone()]).await {
            Ok(_) => return Ok(()),
            Err(SubmitError::Busy { retry_after } | SubmitError::DiskFull { retry_after }) => retry_after,
            Err(error @ (SubmitError::TooLarge { .. } | SubmitError::Stopped(_))) => {
                tracing::warn!(%error, shard = store.shard(), "hits are not kept");
                return Err(error);
            }
        };
        super::super::rest(stop, pause).await;
        if stop.is_cancelled() {
            return Err(SubmitError::Busy { retry_after: pause });
        }
    }
}

/// Everything of a shard, until it is told to stop or something of it fails. Its store is closed when this returns.
async fn live(world: World, store: Store, stop: CancellationToken, in_force: Arc<AtomicBool>) -> Result<()> {
    let judging_ends = CancellationToken::new();
    let _all = [stop.clone().drop_guard(), judging_ends.clone().drop_guard()];
    let lived = lived(&world, &store, &stop, &judging_ends, &in_force).await;
    stop.cancel();
    judging_ends.cancel();
    let closing = store.clone();
    let closed = tokio::task::spawn_blocking(move || closing.close()).await;
    let taken_over = store.failed().borrow().as_ref().filter(|stopped| stopped.taken_over).cloned();
    if let Some(stopped) = taken_over {
        return Err(anyhow::Error::new(stopped));
    }
    closed.context("closing a shard")??;
    lived
}

async fn lived(
    world: &World,
    store: &Store,
    stop: &CancellationToken,
    judging_ends: &CancellationToken,
    in_force: &AtomicBool,
) -> Result<()> {
    let (clock, opened) = (Arc::clone(&world.clock), store.clone());
    let content = world.content.borrow().clone();
    let recovering = tokio::task::spawn_blocking(move || {
        clock.not_before(last_time(&opened)?);
        let recovered = recover(&opened, &content, true)?;
        put_in_force(&opened, &recovered.engine, &content)?;
        anyhow::Ok(recovered)
    });
    let recovered = tokio::select! {
        recovered = recovering => recovered.context("recovering a shard")??,
        // Closing the store ends it.
        () = stop.cancelled() => return Ok(()),
    };
    in_force.store(true, Ordering::Release);
    let hands_end = CancellationToken::new();
    let outlet_ends = CancellationToken::new();
    let _all = [hands_end.clone().drop_guard(), outlet_ends.clone().drop_guard()];
    let acting = Hands {
        store: store.clone(),
        responder: Arc::clone(&world.responder),
        clock: Arc::clone(&world.clock),
        content: world.content.clone(),
        metrics: Arc::clone(&world.metrics),
        fence: Arc::clone(&world.fence),
    }
    .start(world.mode, &hands_end);
    let mut outlet = tokio::spawn(outlet(world, store, &outlet_ends).run());
    tokio::spawn(keep_in_force(store.clone(), world.content.clone(), stop.clone()));
    let rest = Rest {
        metrics: Arc::clone(&world.metrics),
        jobs: acting.jobs.clone(),
        asker: world.asker.clone(),
        sentinel: world.sentinel.clone(),
        threads: 1,
    };
    let mut judging = judge(world, store, recovered, rest, judging_ends)?;
    let (ended, judges, publishes) = tokio::select! {
        judged = &mut judging => (judged.unwrap_or_else(|_| Err(anyhow!("judging failed"))), false, true),
        published = &mut outlet => (published.context("publishing")?, true, false),
        () = stop.cancelled() => (Ok(()), true, true),
    };
    // Also of a shard that fails: what became of an order that is being carried out should be known.
    hands_end.cancel();
    if tokio::time::timeout(limits::HANDOVER_TIME, acting.finish()).await.is_err() {
        tracing::warn!(shard = store.shard(), "not every order ended in time; the next owner looks after them");
    }
    judging_ends.cancel();
    if judges {
        // What is not judged in time the next owner judges.
        let _ = tokio::time::timeout(limits::HANDOVER_TIME, judging).await;
    }
    outlet_ends.cancel();
    if publishes {
        let _ = tokio::time::timeout(limits::HANDOVER_TIME, outlet).await;
    }
    ended
}

fn outlet(world: &World, store: &Store, stop: &CancellationToken) -> Outlet {
    Outlet {
        store: store.clone(),
        publisher: world.publisher.clone(),
        names: world.names.clone(),
        source: world.source.clone(),
        clock: Arc::clone(&world.clock),
        published: watch::Sender::new(Position(0)),
        stop: stop.clone(),
    }
}

/// Judges on a thread of its own, which stands back behind those that accept.
fn judge(
    world: &World,
    store: &Store,
    recovered: crate::pipeline::Recovered,
    rest: Rest,
    stop: &CancellationToken,
) -> Result<oneshot::Receiver<Result<()>>> {
    let (tell, judged) = oneshot::channel();
    let (world, store, stop, runtime) = (world.clone(), store.clone(), stop.clone(), Handle::current());
    let thread = std::thread::Builder::new().name(format!("judge-{}", store.shard()));
    let judging = move || {
        let _runtime = runtime.enter();
        // Whoever waits for it may have been given up.
        let _ = tell.send(up::judge(&store, &world.ready, &world.clock, recovered, rest, stop));
    };
    thread.spawn(judging).context("starting a thread that judges")?;
    Ok(judged)
}

/// Puts content into force whenever other is in force in this instance.
async fn keep_in_force(store: Store, mut content: watch::Receiver<Arc<Content>>, stop: CancellationToken) {
    loop {
        tokio::select! {
            changed = content.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
        let new = content.borrow_and_update().clone();
        loop {
            match store.append(Input::Content(Arc::clone(&new))).await {
                Ok(_) => break,
                Err(SubmitError::Busy { retry_after } | SubmitError::DiskFull { retry_after }) => {
                    super::super::rest(&stop, retry_after).await;
                }
                Err(error @ (SubmitError::TooLarge { .. } | SubmitError::Stopped(_))) => {
                    tracing::warn!(%error, shard = store.shard(), "content is not in force here");
                    return;
                }
            }
        }
    }
}
