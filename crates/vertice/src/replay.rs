//! `vertice replay`: files to their end, through the real pipeline, and what is detected in them.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;
use vertice_engine::{Content, EffectKind, Record};
use vertice_model::{Detection, Position, RawEvent};
use vertice_store::{Check, Options, Store, Submission};
use vertice_stream::{Found, Item, Progress};

use crate::cli::{Format, ReplayArguments, plain};
use crate::clock::Clock;
use crate::config::Config;
use crate::content::Ready;
use crate::pipeline::{Judged, Pipeline, Recovered, last_time, put_in_force, recover};
use crate::{content, limits, pipeline};

/// Reads the files to their end and prints the detections on standard output.
///
/// # Errors
/// When a file that was named is not there, or the store can not be used. What can not be read of a file is
/// told on standard error and no failure.
pub fn run(config: &Config, arguments: &ReplayArguments, format: Format) -> Result<()> {
    let found = found(&arguments.files)?;
    let files = content::gather(&config.content.dirs, &config.content.rules)?;
    for told in content::nothing_in(&config.content.dirs, &config.content.rules, &files) {
        tell(&told);
    }
    let content = Arc::new(Content::compile(files));
    for error in &content.refused {
        tell(&format!("refused: {error}"));
    }
    let temporary = tempfile::tempdir().context("making a temporary data directory")?;
    let data = arguments.data.as_deref().unwrap_or(temporary.path());
    let clock = Arc::new(Clock::start());
    let telling = Arc::clone(&clock);
    let options = Options { check: Check::AfterCrash, ..Options::default() };
    let store = Store::open(data, Arc::new(move || telling.now()), options)?;

    clock.not_before(last_time(&store)?);
    // Of what is thrown away nothing needs to be proved.
    let Recovered { mut engine, audit } = recover(&store, &content, arguments.data.is_some())?;
    put_in_force(&store, &engine, &content)?;
    let ready = Ready::with(content);
    let before = engine.counts();
    let told_to = store.judged_to();
    let runtime = pipeline::runtime()?;
    let stop = CancellationToken::new();
    let numbers = Numbers::default();
    let mut printer = Printer { format, numbers: &numbers, told: 0, listed: Vec::new(), gone: false };
    let mut observe = |judged: Judged<'_>| printer.observe(&judged, told_to);
    let refused = std::thread::scope(|scope| {
        let pipeline = Pipeline {
            store: &store,
            content: &ready,
            clock: &clock,
            threads: pipeline::threads(),
            screeners: Vec::new(),
            audit,
            observe: &mut observe,
            stop: stop.clone(),
        };
        let (handle, engine) = (runtime.handle().clone(), &mut engine);
        let judging = scope.spawn(move || {
            let _inside = handle.enter();
            pipeline.run(engine)
        });
        let refused = read_all(&store, &numbers, &found, &arguments.files);
        stop.cancel();
        if refused.is_err() {
            // Judging may wait for the very disk that was full.
            store.close()?;
        }
        let judged = judging.join().unwrap_or_else(|e| std::panic::resume_unwind(e));
        refused.and_then(|refused| judged.map(|()| refused))
    })?;
    printer.end()?;
    store.close()?;
    let counts = engine.counts();
    if let Some(summary) = summary(counts.events - before.events, refused, counts.refused - before.refused) {
        tell(&summary);
    }
    Ok(())
}

/// What was refused, or that there was nothing; `None` if all is well.
///
/// `read` counts what came into the log; what no mapping understood is among it.
fn summary(read: u64, no_records: u64, not_understood: u64) -> Option<String> {
    let refused = no_records + not_understood;
    if refused == 0 {
        return (read == 0).then(|| "there is no event in it".to_owned());
    }
    let told = no_records.min(limits::REFUSALS_TOLD) + not_understood.min(limits::REFUSALS_TOLD);
    let more = if told < refused { format!(", of which {told} are told above") } else { String::new() };
    Some(format!("{} events judged, {refused} refused{more}", read.saturating_sub(not_understood)))
}

/// The files that the arguments mean. One that was named and is not there is an error at once, not after an hour.
fn found(paths: &[PathBuf]) -> Result<Found> {
    let files: Vec<PathBuf> = paths.iter().filter(|p| p.as_os_str() != "-").cloned().collect();
    for path in &files {
        std::fs::metadata(path).with_context(|| path.display().to_string())?;
    }
    let found = vertice_stream::find(&files);
    if found.files.is_empty() && files.len() == paths.len() {
        bail!(
            "{}: there is no file to read there",
            files.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
        );
    }
    Ok(found)
}

/// Puts every event into the log. Returns how many lines could be none.
fn read_all(store: &Store, numbers: &Numbers, found: &Found, paths: &[PathBuf]) -> Result<u64> {
    let progress = Progress::new(found.bytes);
    let bar = bar(found.bytes);
    let mut reading =
        Reading { store, numbers, batch: Vec::new(), batch_numbers: Vec::new(), bytes: 0, refused: 0, failed: None };
    for left_out in &found.left_out {
        tell(&format!("left out: {}: {}", left_out.file, left_out.reason));
    }
    let mut take = |item| {
        bar.set_position(progress.consumed.load(Ordering::Relaxed));
        reading.item(item)
    };
    let flow = found.files.iter().try_for_each(|path| vertice_stream::read(path, &progress, &mut take));
    if flow.is_continue() && paths.iter().any(|p| p.as_os_str() == "-") {
        // Whether it came to its end or was broken off shows in `failed`.
        let _ = vertice_stream::read_stream("stdin", &mut std::io::stdin().lock(), &mut take);
    }
    bar.finish_and_clear();
    reading.submit();
    match reading.failed {
        Some(error) => Err(error),
        None => Ok(reading.refused),
    }
}

fn bar(bytes: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    ProgressBar::new(bytes).with_style(style.expect("the template names known keys"))
}

/// Which line of its file each event in the log was, for telling what is refused of them.
///
/// Kept as stretches of the log along which both go on by one, and only those yet to be judged.
#[derive(Default)]
struct Numbers {
    stretches: Mutex<VecDeque<(Position, u64)>>,
    /// What is before this position is never asked for again. Judging only notes it: it must not wait for a
    /// write that is under way.
    judged_before: AtomicU64,
}

impl Numbers {
    /// Writes to the log and notes the numbers, so that nobody sees the one without the other.
    fn submit(&self, store: &Store, events: Vec<RawEvent>, numbers: &[u64]) -> Result<()> {
        let mut stretches = self.stretches();
        forget(&mut stretches, Position(self.judged_before.load(Ordering::Relaxed)));
        let submission = Submission { events, ..Submission::default() };
        let accepted = store.submit_blocking(submission).context("writing to the log")?;
        for (number, i) in numbers.iter().zip(0..) {
            let position = accepted.first.plus(i);
            let goes_on = stretches.back().is_some_and(|(at, n)| n + (position.0 - at.0) == *number);
            if !goes_on {
                stretches.push_back((position, *number));
            }
        }
        Ok(())
    }

    /// The number of the event at a position; those before it are forgotten.
    fn take(&self, position: Position) -> Option<u64> {
        let mut stretches = self.stretches();
        forget(&mut stretches, position);
        let (at, number) = stretches.front().filter(|(at, _)| *at <= position)?;
        Some(number + (position.0 - at.0))
    }

    fn stretches(&self) -> MutexGuard<'_, VecDeque<(Position, u64)>> {
        self.stretches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets the stretches that end before a position.
fn forget(stretches: &mut VecDeque<(Position, u64)>, before: Position) {
    while stretches.get(1).is_some_and(|(at, _)| *at <= before) {
        stretches.pop_front();
    }
}

struct Reading<'a> {
    store: &'a Store,
    numbers: &'a Numbers,
    batch: Vec<RawEvent>,
    batch_numbers: Vec<u64>,
    bytes: usize,
    refused: u64,
    failed: Option<anyhow::Error>,
}

impl Reading<'_> {
    fn item(&mut self, item: Item) -> ControlFlow<()> {
        match item {
            Item::Event(event, number) => {
                self.bytes += event.line.len();
                self.batch_numbers.push(number);
                self.batch.push(event);
                if self.batch.len() >= limits::REPLAY_BATCH_EVENTS || self.bytes >= limits::REPLAY_BATCH_BYTES {
                    self.submit();
                }
            }
            Item::Refused { file, number, reason } => {
                self.refused += 1;
                if self.refused <= limits::REFUSALS_TOLD {
                    tell(&format!("refused: {file}:{number}: {reason}"));
                }
            }
            Item::LeftOut(left_out) => tell(&format!("left out: {}: {}", left_out.file, left_out.reason)),
        }
        if self.failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn submit(&mut self) {
        if self.batch.is_empty() || self.failed.is_some() {
            return;
        }
        self.bytes = 0;
        let events = std::mem::take(&mut self.batch);
        self.failed = self.numbers.submit(self.store, events, &self.batch_numbers).err();
        self.batch_numbers.clear();
    }
}

/// Prints detections as they come.
struct Printer<'a> {
    format: Format,
    numbers: &'a Numbers,
    /// How many refused events were told.
    told: u64,
    /// For `-o json`, which is one document at the end.
    listed: Vec<serde_json::Value>,
    /// The reader of standard output went away.
    gone: bool,
}

impl Printer<'_> {
    fn observe(&mut self, judged: &Judged<'_>, told_to: Position) {
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        for effect in judged.effects.iter().filter(|e| e.id.position > told_to) {
            match &effect.kind {
                EffectKind::Publish(Record::Detection(detection)) if !self.gone => {
                    self.gone |= self.detection(&mut out, detection).is_err();
                }
                EffectKind::Publish(Record::Refused(event)) if self.told < limits::REFUSALS_TOLD => {
                    self.told += 1;
                    // Without one it came into the log with an earlier run.
                    let line = self.numbers.take(event.position).map_or(String::new(), |n| format!(":{n}"));
                    tell(&format!("refused: {}{line}: {}", event.origin, event.reason));
                }
                EffectKind::Publish(_)
                | EffectKind::Ask(_)
                | EffectKind::Act(_)
                | EffectKind::Consult(_)
                | EffectKind::Tell(_) => {}
            }
        }
        self.numbers.judged_before.store(judged.engine.next().0, Ordering::Relaxed);
        self.gone |= out.flush().is_err();
    }

    fn detection(&mut self, out: &mut impl Write, detection: &Detection) -> std::io::Result<()> {
        match self.format {
            Format::Table => writeln!(
                out,
                "{}  {:<8}  {:<24}  {}",
                detection.timestamp,
                detection.severity,
                plain(detection.entity.name()),
                plain(&detection.rule_title)
            ),
            Format::Ndjson => {
                serde_json::to_writer(&mut *out, detection)?;
                out.write_all(b"\n")
            }
            Format::Json => {
                self.listed.push(serde_json::to_value(detection)?);
                Ok(())
            }
        }
    }

    fn end(self) -> Result<()> {
        match self.format {
            Format::Table | Format::Ndjson => Ok(()),
            Format::Json => {
                let mut out = std::io::stdout().lock();
                serde_json::to_writer_pretty(&mut out, &self.listed)?;
                Ok(writeln!(out)?)
            }
        }
    }
}

/// A line on standard error. If that is gone there is nobody to tell.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "vertice: {}", plain(line));
}

#[cfg(test)]
mod tests {
    use vertice_engine::Input;
    use vertice_model::Timestamp;

    use super::*;

    #[test]
    fn numbers_are_kept_until_they_are_judged() {
        let data = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(data.path(), Arc::new(Timestamp::default), Options::default()).expect("a new store");
        let numbers = Numbers::default();
        let events = |n: usize| vec![RawEvent { origin: "a.log".into(), line: "x".to_owned() }; n];
        // Line 3 was blank; the second file begins anew.
        numbers.submit(&store, events(3), &[1, 2, 4]).expect("written");
        store.append_blocking(Input::Tick).expect("written");
        numbers.submit(&store, events(2), &[5, 1]).expect("written");
        assert_eq!([1, 2, 3, 5, 6].map(|at| numbers.take(Position(at))), [1, 2, 4, 5, 1].map(Some));
        assert_eq!(numbers.take(Position(1)), None, "an older one was forgotten");

        numbers.judged_before.store(100, Ordering::Relaxed);
        numbers.submit(&store, events(1), &[2]).expect("written");
        assert_eq!(numbers.stretches().len(), 1, "the last one goes on");
    }

    #[test]
    fn the_summary_tells_what_is_not_well() {
        assert_eq!(summary(9, 0, 0), None);
        assert_eq!(summary(0, 0, 0).as_deref(), Some("there is no event in it"));
        assert_eq!(summary(9, 1, 2).as_deref(), Some("7 events judged, 3 refused"));
        assert_eq!(summary(100, 0, 100).as_deref(), Some("0 events judged, 100 refused, of which 20 are told above"));
    }
}
