//! `vertice replay`: files to their end, through the real pipeline, and what is detected in them.

use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

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
use crate::pipeline::{Judged, Pipeline, last_time, put_in_force, recover};
use crate::{content, limits, pipeline};

/// Reads the files to their end and prints the detections on standard output.
///
/// # Errors
/// When a file that was named is not there, or the store can not be used. What can not be read of a file is
/// told on standard error and no failure.
pub fn run(config: &Config, arguments: &ReplayArguments, format: Format) -> Result<()> {
    let found = found(&arguments.files)?;
    let content = Arc::new(Content::compile(content::gather(&config.content.dirs, &config.content.rules)?));
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
    let mut engine = recover(&store, &content)?;
    put_in_force(&store, &engine, &content)?;
    let told_to = store.judged_to();
    let runtime = pipeline::runtime()?;
    let stop = CancellationToken::new();
    let mut printer = Printer { format, listed: Vec::new(), gone: false };
    let mut observe = |judged: Judged<'_>| printer.observe(&judged, told_to);
    let refused = std::thread::scope(|scope| {
        let pipeline = Pipeline {
            store: &store,
            content: &content,
            clock: &clock,
            threads: pipeline::threads(),
            observe: &mut observe,
            stop: stop.clone(),
        };
        let (handle, engine) = (runtime.handle().clone(), &mut engine);
        let judging = scope.spawn(move || {
            let _inside = handle.enter();
            pipeline.run(engine)
        });
        let refused = read_all(&store, &found, &arguments.files);
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
    if refused + counts.refused > 0 {
        tell(&format!(
            "{} events judged; {} lines refused, of which some are told above",
            counts.events,
            refused + counts.refused
        ));
    }
    Ok(())
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
fn read_all(store: &Store, found: &Found, paths: &[PathBuf]) -> Result<u64> {
    let progress = Progress::new(found.bytes);
    let bar = bar(found.bytes);
    let mut reading = Reading { store, batch: Vec::new(), bytes: 0, refused: 0, events: 0, failed: None };
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

struct Reading<'a> {
    store: &'a Store,
    batch: Vec<RawEvent>,
    bytes: usize,
    refused: u64,
    events: u64,
    failed: Option<anyhow::Error>,
}

impl Reading<'_> {
    fn item(&mut self, item: Item) -> ControlFlow<()> {
        match item {
            Item::Event(event) => {
                self.bytes += event.line.len();
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
        let submission = Submission { events, ..Submission::default() };
        match self.store.submit_blocking(submission) {
            Ok(accepted) => self.events += accepted.count,
            Err(error) => self.failed = Some(anyhow::Error::new(error).context("writing to the log")),
        }
    }
}

/// Prints detections as they come.
struct Printer {
    format: Format,
    /// For `-o json`, which is one document at the end.
    listed: Vec<serde_json::Value>,
    /// The reader of standard output went away.
    gone: bool,
}

impl Printer {
    fn observe(&mut self, judged: &Judged<'_>, told_to: Position) {
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        for effect in judged.effects.iter().filter(|e| e.id.position > told_to) {
            match &effect.kind {
                EffectKind::Publish(Record::Detection(detection)) if !self.gone => {
                    self.gone |= self.detection(&mut out, detection).is_err();
                }
                EffectKind::Publish(Record::Refused(event))
                    if judged.engine.counts().refused <= limits::REFUSALS_TOLD =>
                {
                    tell(&format!("refused: {} at position {}: {}", event.origin, event.position, event.reason));
                }
                EffectKind::Publish(_) | EffectKind::Ask(_) => {}
            }
        }
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
