//! The pipeline: reads the log, lets the engine judge it, and projects what comes of it.
//!
//! The log is the queue, so recovering after a crash, catching up with a burst and ordinary running are
//! one path: read from where the engine stands.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio_util::sync::CancellationToken;
use vertice_engine::{Content, Effect, Engine, Input, Screened, Screener, Stamp};
use vertice_model::{Position, Timestamp};
use vertice_store::audit::{self, Audit, AuditError, Entry};
use vertice_store::{ReadError, Store, SubmitError};

use crate::clock::Clock;
use crate::content::Ready;
use crate::limits;

/// The form of the engine's state in a snapshot. Raised whenever a state of before could not be read or
/// would mean something else; older snapshots are then passed over and the log is read from its beginning.
const SNAPSHOT_VERSION: u32 = 3;

/// What a stretch of the log came to, for whoever wants to tell it. It is durable by then.
pub struct Judged<'a> {
    /// What the engine wanted, in order.
    pub effects: Vec<Effect>,
    /// The engine after it.
    pub engine: &'a Engine,
    /// How long it took to judge it and to keep what came of it.
    pub took: Duration,
}

/// How the pipeline runs.
pub struct Pipeline<'a> {
    /// Where the log is.
    pub store: &'a Store,
    /// The content that is compiled.
    pub content: &'a Ready,
    /// What tells the time.
    pub clock: &'a Clock,
    /// How many threads screen.
    pub threads: usize,
    /// What they remember of the content in force; empty at first.
    pub screeners: Vec<Screener>,
    /// Where it is entered what was decided and done, before it is projected; `None` where nothing is kept.
    pub audit: Option<Audit>,
    /// Called after each stretch.
    pub observe: &'a mut (dyn FnMut(Judged<'_>) + Send),
    /// When it is cancelled, the pipeline judges what the log has, takes a snapshot, and returns.
    pub stop: CancellationToken,
}

/// What became of a stretch of the log.
enum Stretch {
    /// It was judged.
    Judged,
    /// There is none.
    Nothing,
    /// It was judged, and could not be entered in the audit before it was time to stop: the next start judges it again.
    GivenUp,
}

/// What is gone on from.
pub struct Recovered {
    /// The engine as it stood when it last ran.
    pub engine: Engine,
    /// The audit, if one is kept.
    pub audit: Option<Audit>,
}

/// Goes on from the latest snapshot, or from the beginning of the log. Content of the log that is the same as `known` is
/// not compiled again.
///
/// # Errors
/// When the log or the audit is damaged where it is needed.
pub fn recover(store: &Store, known: &Arc<Content>, keeps_audit: bool) -> Result<Recovered> {
    let audit = keeps_audit.then(|| Audit::open(store)).transpose()?;
    // What is in a snapshot is not judged again, and so could not be entered again.
    let entered = audit.as_ref().map_or(Position(u64::MAX), Audit::judged);
    Ok(Recovered { engine: engine_of(store, known, entered)?, audit })
}

fn engine_of(store: &Store, known: &Arc<Content>, entered: Position) -> Result<Engine> {
    let role = store.role();
    let Some(snapshot) = store.load_snapshot(SNAPSHOT_VERSION).context("reading the snapshot")? else {
        return Ok(Engine::of(role));
    };
    if snapshot.position > entered {
        tracing::warn!(position = %snapshot.position, %entered, "the audit does not reach the snapshot; reading the whole log");
        return Ok(Engine::of(role));
    }
    let engine = Engine::restore(&snapshot.bytes, |at| content_at(store, at).map(|found| the_same(found, known)))?;
    match engine {
        // What is a shard now and was a data directory before has yet to tell the others what was decided there.
        Some(engine) if engine.next() == snapshot.position.plus(1) && engine.role() == role => Ok(engine),
        Some(_) | None => {
            tracing::warn!(position = %snapshot.position, "the snapshot can not be used; reading the whole log");
            Ok(Engine::of(role))
        }
    }
}

fn content_at(store: &Store, at: Position) -> Result<Arc<Content>> {
    match store.read(at, 1).context("reading the content of the snapshot")?.into_iter().next() {
        Some((_, Input::Content(content))) => Ok(content),
        Some(_) | None => bail!("the log has no content at position {at}, where the snapshot says it is"),
    }
}

/// One of two contents that say the same: the one that is compiled already.
fn the_same(found: Arc<Content>, known: &Arc<Content>) -> Arc<Content> {
    if found.digest() == known.digest() { Arc::clone(known) } else { found }
}

/// When the last input of the log was accepted; the beginning of time if there is none.
///
/// # Errors
/// When the log is damaged at its end.
pub fn last_time(store: &Store) -> Result<Timestamp, ReadError> {
    Ok(store.read(store.log_end(), 1)?.last().map_or_else(Timestamp::default, |(stamp, _)| stamp.now))
}

/// Puts content into force, unless it already is: as an input like any other.
///
/// # Errors
/// When the log can not take it.
pub fn put_in_force(store: &Store, engine: &Engine, content: &Arc<Content>) -> Result<()> {
    if content.digest() != engine.content().digest() {
        store.append_blocking(Input::Content(Arc::clone(content))).context("writing the content to the log")?;
    }
    Ok(())
}

impl Pipeline<'_> {
    /// Runs until it is told to stop. Blocks; to be called on a thread that may.
    ///
    /// # Errors
    /// When the log is damaged or the store has stopped.
    pub fn run(mut self, engine: &mut Engine) -> Result<()> {
        let mut saved = engine.next();
        let mut appended = self.store.appended();
        loop {
            let stopping = self.stop.is_cancelled();
            appended.mark_unchanged();
            match self.stretch(engine)? {
                Stretch::Judged => {
                    if engine.next().0 - saved.0 >= limits::SNAPSHOT_EVERY {
                        saved = self.save(engine)?;
                    }
                    continue;
                }
                Stretch::GivenUp => return Ok(()),
                Stretch::Nothing => {}
            }
            if stopping {
                if engine.next() != saved {
                    self.save(engine)?;
                }
                return Ok(());
            } else if engine.next_due().is_some_and(|due| due <= self.clock.now()) {
                self.tick()?;
            } else {
                self.wait(engine, &mut appended);
            }
        }
    }

    /// Judges the next stretch of the log.
    fn stretch(&mut self, engine: &mut Engine) -> Result<Stretch> {
        self.store.give_way(limits::GIVE_WAY_MAX);
        let inputs = self.store.read(engine.next(), limits::STRETCH_POSITIONS).context("reading the log")?;
        if inputs.is_empty() {
            return Ok(Stretch::Nothing);
        }
        let begun = self.clock.now();
        let (mut effects, mut entries) = (Vec::new(), Vec::new());
        for (stamp, input) in &inputs {
            let mut wanted = match input {
                Input::Events(events) => {
                    self.store.give_way(limits::GIVE_WAY_MAX);
                    let screened = self.screen(engine.content(), *stamp, events, Screener::screen);
                    engine.judge(*stamp, screened)
                }
                Input::Routed(routed) => {
                    let screened = self.screen(engine.content(), *stamp, routed, Screener::screen_routed);
                    engine.judge(*stamp, screened)
                }
                Input::Content(found) => {
                    engine.apply(*stamp, &Input::Content(self.content.instead_of(Arc::clone(found))))
                }
                Input::Answer { .. }
                | Input::Verdict { .. }
                | Input::Release { .. }
                | Input::Tick
                | Input::Begun { .. }
                | Input::Receipt(_)
                | Input::Resolve { .. }
                | Input::Operators(_)
                | Input::Start { .. }
                | Input::Key { .. }
                | Input::Opinion { .. }
                | Input::Suppress { .. }
                | Input::Told(_) => engine.apply(*stamp, input),
            };
            if self.audit.is_some() {
                entries.append(&mut audit::entries(*stamp, input, &wanted));
            }
            effects.append(&mut wanted);
        }
        let up_to = Position(engine.next().0 - 1);
        if !self.enter(&entries, up_to)? {
            return Ok(Stretch::GivenUp);
        }
        self.store.project(up_to, &effects)?.wait()?;
        let took = Duration::from_micros(self.clock.now().micros_since(begun));
        (self.observe)(Judged { effects, engine, took });
        Ok(Stretch::Judged)
    }

    /// Enters a stretch in the audit, before anybody counts on it. Waits for a full disk; false if it was told to stop
    /// meanwhile.
    fn enter(&mut self, entries: &[Entry], up_to: Position) -> Result<bool> {
        let Some(mut audit) = self.audit.take() else { return Ok(true) };
        let (stats, mut told) = (self.store.stats(), false);
        let entered = loop {
            match audit.append(entries, up_to) {
                Ok(()) => {
                    stats.audit_entries.fetch_add(entries.len() as u64, Relaxed);
                    if told {
                        self.store.judging_waits(None);
                    }
                    break true;
                }
                Err(AuditError::NoSpace { path }) => {
                    stats.audit_no_space.fetch_add(1, Relaxed);
                    if !told {
                        told = true;
                        let why = format!(
                            "the disk is full: judging waits until {} can take what was decided",
                            path.display()
                        );
                        self.store.judging_waits(Some(why.clone()));
                        tracing::warn!("{why}");
                    }
                }
                Err(AuditError::Away { path, what }) if !told => {
                    told = true;
                    let why = format!(
                        "judging waits until {} can take what was decided: it can not be reached",
                        path.display()
                    );
                    self.store.judging_waits(Some(why.clone()));
                    tracing::warn!(what, "{why}");
                }
                Err(AuditError::Away { .. }) => {}
                Err(error) => return Err(error).context("entering what was decided in the audit"),
            }
            self.rest(vertice_store::limits::DISK_FULL_PROBE, std::future::pending::<()>());
            if self.stop.is_cancelled() {
                tracing::warn!(
                    "not all of the log was judged, for the disk is full; the next start goes on from there"
                );
                break false;
            }
        };
        self.audit = Some(audit);
        Ok(entered)
    }

    /// Screens on several threads; what comes back is in the order of the log.
    fn screen<T: Sync>(
        &mut self,
        content: &Arc<Content>,
        stamp: Stamp,
        events: &[T],
        with: fn(&mut Screener, Stamp, &[T]) -> Screened,
    ) -> Screened {
        self.screeners.retain(|screener| screener.is_for(content));
        let share = events.len().div_ceil(self.threads).max(limits::SCREEN_SHARE_MIN);
        let shares = events.len().div_ceil(share);
        while self.screeners.len() < shares {
            self.screeners.push(Screener::new(content));
        }
        if let ([screener, ..], 1) = (&mut *self.screeners, shares) {
            return with(screener, stamp, events);
        }
        std::thread::scope(|scope| {
            let starts = (0_u64..).step_by(share);
            let shares: Vec<_> = events
                .chunks(share)
                .zip(starts)
                .zip(&mut self.screeners)
                .map(|((events, start), screener)| {
                    let stamp = Stamp { position: stamp.position.plus(start), now: stamp.now };
                    scope.spawn(move || with(screener, stamp, events))
                })
                .collect();
            let joined = shares.into_iter().map(|s| s.join().unwrap_or_else(|e| std::panic::resume_unwind(e)));
            joined.fold(Screened::default(), Screened::join)
        })
    }

    /// Saves a snapshot, and returns from where on the next one counts.
    fn save(&mut self, engine: &Engine) -> Result<Position> {
        let position = Position(engine.next().0 - 1);
        match self.audit.as_mut().map_or(Ok(()), Audit::cover) {
            Ok(()) => {}
            Err(error @ (AuditError::NoSpace { .. } | AuditError::Away { .. })) => {
                tracing::warn!(%error, %position, "no snapshot was saved");
                return Ok(engine.next());
            }
            Err(error) => return Err(error).context("writing up to where the audit reaches"),
        }
        // A snapshot only spares time; the next one comes.
        if let Err(error) = self.store.save_snapshot(position, SNAPSHOT_VERSION, &engine.snapshot()) {
            tracing::warn!(%error, %position, "no snapshot was saved");
        }
        Ok(engine.next())
    }

    /// Writes the passing of time to the log. What is due waits for a full disk or queue, as its events do.
    fn tick(&self) -> Result<()> {
        match self.store.append_blocking(Input::Tick) {
            Ok(_) => Ok(()),
            Err(SubmitError::Busy { retry_after } | SubmitError::DiskFull { retry_after }) => {
                tracing::warn!("what is due waits: the store can not take it now");
                self.rest(retry_after, std::future::pending::<()>());
                Ok(())
            }
            Err(error @ (SubmitError::TooLarge { .. } | SubmitError::Stopped(_))) => {
                Err(error).context("writing the passing of time to the log")
            }
        }
    }

    /// Waits until the log grows, something falls due, or it is time to stop.
    fn wait(&self, engine: &Engine, appended: &mut tokio::sync::watch::Receiver<Position>) {
        let due_us = engine.next_due().map_or(u64::MAX, |due| due.micros_since(self.clock.now()));
        // The clock may lean, so what is due is looked at again at the latest after this.
        let at_most = Duration::from_micros(due_us.clamp(1_000, limits::DUE_LOOK_US_MAX));
        self.rest(at_most, appended.changed());
    }

    /// Waits for something, for the end, or for as long as this.
    fn rest<T>(&self, at_most: Duration, something: impl Future<Output = T>) {
        tokio::runtime::Handle::current().block_on(async {
            tokio::select! {
                _ = something => {}
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(at_most) => {}
            }
        });
    }
}

/// A runtime for what waits.
///
/// # Errors
/// When the system gives it no threads.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")
}

/// How many threads screen: one for each core.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(test)]
mod tests {
    use vertice_engine::ContentFile;
    use vertice_store::Options;

    use super::*;

    #[test]
    fn a_start_goes_on_with_the_content_it_has_compiled_and_no_earlier_than_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let later = crate::clock::wall().plus_seconds(86_400);
        let store = Store::open(dir.path(), Arc::new(move || later), Options::default()).unwrap();
        assert_eq!(last_time(&store).unwrap(), Timestamp::default());
        let file = ContentFile { path: "rules/none.yml".into(), text: "title: [".into() };
        let content = Arc::new(Content::compile(vec![file]));
        put_in_force(&store, &Engine::default(), &content).unwrap();
        let clock = Clock::start();
        clock.not_before(last_time(&store).unwrap());
        assert!(clock.now() >= later);

        let stop = CancellationToken::new();
        stop.cancel();
        let mut engine = Engine::default();
        let mut observe = |_: Judged<'_>| {};
        let (store, content) = (&store, &content);
        let ready = Ready::with(Arc::clone(content));
        let screeners = Vec::new();
        let pipeline = Pipeline {
            store,
            content: &ready,
            clock: &clock,
            threads: 1,
            screeners,
            audit: None,
            observe: &mut observe,
            stop,
        };
        pipeline.run(&mut engine).unwrap();
        assert!(Arc::ptr_eq(engine.content(), content), "what the log gave is what was compiled");
        let again = recover(store, content, false).unwrap().engine;
        assert!(Arc::ptr_eq(again.content(), content), "and so is what the snapshot gave");
        put_in_force(store, &again, content).unwrap();
        assert_eq!(store.log_end(), Position(1), "it is in force already");
    }
}
