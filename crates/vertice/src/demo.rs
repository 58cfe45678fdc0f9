//! `vertice demo`: an attack of our own writing, through the real pipeline, with the story told as it unfolds.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use tokio_util::sync::CancellationToken;
use vertice_engine::{Content, Effect, EffectKind, Input, Record};
use vertice_model::{
    Containment, ContainmentId, ContainmentState, Detection, Position, Principal, Question, QuestionState, RawEvent,
    Run, RunState, StepState, Threat, ThreatId, Timestamp,
};
use vertice_store::{Options, Store, Submission};

use crate::cli::{DemoArguments, plain};
use crate::clock::Clock;
use crate::content::Ready;
use crate::pipeline::{Judged, Pipeline, Recovered, last_time, put_in_force, recover};
use crate::story::Story;
use crate::{content, limits, pipeline};

/// Who answers in the demonstration.
const PERSON: &str = "demo";

/// Plays the attack and tells what comes of it.
///
/// # Errors
/// When the store can not be used or standard output is gone.
pub fn run(arguments: &DemoArguments) -> Result<()> {
    let story = Story::demo()?;
    let temporary = tempfile::tempdir().context("making a temporary data directory")?;
    let data = arguments.keep.as_deref().unwrap_or(temporary.path());
    let clock = Arc::new(Clock::start());
    let now = Arc::clone(&clock);
    let store = Store::open(data, Arc::new(move || now.now()), Options::default())?;
    clock.not_before(last_time(&store)?);
    let content = Arc::new(Content::compile(content::gather(&[], &[])?));
    let Recovered { mut engine, audit } = recover(&store, &content, true)?;
    put_in_force(&store, &engine, &content)?;
    let ready = Ready::with(content);
    let runtime = pipeline::runtime()?;
    let stop = CancellationToken::new();
    let (tell, effects) = mpsc::channel();
    let mut observe = |judged: Judged<'_>| judged.effects.into_iter().for_each(|e| _ = tell.send(e));
    std::thread::scope(|scope| {
        let (handle, engine) = (runtime.handle().clone(), &mut engine);
        let pipeline = Pipeline {
            store: &store,
            content: &ready,
            clock: &clock,
            threads: 1,
            screeners: Vec::new(),
            audit,
            observe: &mut observe,
            stop: stop.clone(),
        };
        let judging = scope.spawn(move || {
            let _inside = handle.enter();
            pipeline.run(engine)
        });
        let mut teller = Teller::new(&store, &runtime, &effects);
        let told = teller.tell(&story, arguments.speed, clock.now());
        stop.cancel();
        if told.is_err() {
            // Judging may wait for the very disk that was full.
            store.close()?;
        }
        let judged = judging.join().unwrap_or_else(|e| std::panic::resume_unwind(e));
        told.and(judged)
    })?;
    store.close()?;
    if let Some(kept) = &arguments.keep {
        say(&format!("\nLook around:  vertice up --no-local-sources --data {}", kept.display()))?;
    }
    Ok(())
}

struct Teller<'a> {
    store: &'a Store,
    runtime: &'a tokio::runtime::Runtime,
    effects: &'a mpsc::Receiver<Effect>,
    /// How each threat was last told of.
    threats: BTreeMap<ThreatId, String>,
    waiting: Vec<Question>,
    holding: BTreeMap<ContainmentId, Containment>,
    detections: u64,
    runs: u64,
}

impl<'a> Teller<'a> {
    fn new(store: &'a Store, runtime: &'a tokio::runtime::Runtime, effects: &'a mpsc::Receiver<Effect>) -> Teller<'a> {
        Teller {
            store,
            runtime,
            effects,
            threats: BTreeMap::new(),
            waiting: Vec::new(),
            holding: BTreeMap::new(),
            detections: 0,
            runs: 0,
        }
    }

    fn tell(&mut self, story: &Story, speed: f64, now: Timestamp) -> Result<()> {
        say(&format!("{}\n{}", story.title, "=".repeat(story.title.len())))?;
        say("Everything below went through the real pipeline. Nothing is changed anywhere: plans are simulated.\n")?;
        let begin = Timestamp::from_micros(now.as_micros() - story.length_s() as i64 * 1_000_000);
        let mut before = 0;
        for line in &story.lines {
            self.pause(line.after_s - before, speed);
            before = line.after_s;
            if let Some(words) = &line.say {
                say(&format!("\n{words}"))?;
            }
            let filled = line.filled(begin);
            if !line.benign {
                say(&format!("  event      {}", short(&filled)))?;
            }
            let event = RawEvent { origin: Arc::from("demo"), line: filled };
            let accepted = self.store.submit_blocking(Submission { events: vec![event], ..Submission::default() })?;
            self.judged(accepted.first)?;
            self.answer()?;
        }
        self.release()?;
        say(&format!(
            "\n{} lines read; {} detections; {} threats opened, joined where they turned out to be one; {} plans, all simulated.",
            story.lines.len(),
            self.detections,
            self.threats.len(),
            self.runs
        ))
    }

    fn pause(&self, seconds: u64, speed: f64) {
        if speed > 0.0 {
            let pause = Duration::from_secs_f64(seconds as f64 / speed);
            // A timer can only be made within the runtime.
            self.runtime.block_on(async { tokio::time::sleep(pause).await });
        }
    }

    /// Waits until the log is judged up to here, and tells what came of it.
    fn judged(&mut self, position: Position) -> Result<()> {
        let mut judged = self.store.judged();
        let waiting =
            async { tokio::time::timeout(limits::END_TIME, judged.wait_for(|to| *to >= position)).await.is_ok() };
        if !self.runtime.block_on(waiting) {
            return Err(anyhow!("judging stands still"));
        }
        // The last effects may come a moment after the position.
        while let Ok(effect) = self.effects.recv_timeout(Duration::from_millis(20)) {
            self.effect(effect)?;
        }
        Ok(())
    }

    fn effect(&mut self, effect: Effect) -> Result<()> {
        match effect.kind {
            EffectKind::Publish(Record::Detection(d)) => self.detection(&d),
            EffectKind::Publish(Record::Threat(t)) => self.threat(&t),
            EffectKind::Publish(Record::Run(run)) => self.plan(&run),
            EffectKind::Publish(Record::Containment(c)) => self.containment(c),
            EffectKind::Publish(Record::Question(q)) if q.state == QuestionState::Approved => {
                say(&format!("  answer     yes, by {PERSON}: {} of {}", q.action_id, q.playbook_id))
            }
            EffectKind::Ask(question) => {
                say(&format!("  question   {}", plain(&question.prompt)))?;
                self.waiting.push(question);
                Ok(())
            }
            EffectKind::Publish(
                Record::Question(_) | Record::Refused(_) | Record::Consultation(_) | Record::Suppression(_),
            )
            | EffectKind::Act(_)
            | EffectKind::Consult(_)
            | EffectKind::Tell(_) => Ok(()),
        }
    }

    fn detection(&mut self, d: &Detection) -> Result<()> {
        self.detections += 1;
        let techniques = d.mitre_techniques.iter().map(|t| t.as_str()).collect::<Vec<_>>().join(" ");
        say(&format!(
            "  detection  {:<8} {} on {} [{techniques}]",
            d.severity,
            plain(&d.rule_title),
            plain(d.entity.name())
        ))
    }

    fn threat(&mut self, t: &Threat) -> Result<()> {
        let entities = t.entities.iter().map(|e| plain(e.name())).collect::<Vec<_>>().join(", ");
        let stage = t.stage.map_or("unknown", |s| s.as_str());
        let told = format!("{:<8} {entities}; stage {stage}", t.severity);
        let last = self.threats.insert(t.threat_id, told.clone());
        if last.as_deref() == Some(&told) {
            return Ok(());
        }
        say(&format!("  threat     {told}; confidence {} %", t.confidence.percent()))
    }

    fn plan(&mut self, run: &Run) -> Result<()> {
        if run.timestamp != run.planned_at {
            return Ok(());
        }
        if run.state == RunState::Refused {
            let reason = run.reason.as_deref().unwrap_or("a check forbade it");
            return say(&format!("  plan       {}: not planned: {}", run.playbook_id, plain(reason)));
        }
        self.runs += 1;
        let steps = run.steps.iter().map(|s| format!("{} {}", s.action_id, state(&s.state)));
        say(&format!("  plan       {}: {}", run.playbook_id, steps.collect::<Vec<_>>().join(", ")))
    }

    fn containment(&mut self, c: Containment) -> Result<()> {
        match &c.state {
            ContainmentState::Active | ContainmentState::Releasing { .. } => {
                self.holding.insert(c.containment_id, c);
                Ok(())
            }
            ContainmentState::Released { by, reason } => {
                say(&format!("  release    {} on {} by {by}: {}", c.action_id, plain(c.entity.name()), plain(reason)))?;
                self.holding.remove(&c.containment_id);
                Ok(())
            }
            ContainmentState::Expired => {
                self.holding.remove(&c.containment_id);
                Ok(())
            }
        }
    }

    /// Says yes to whatever waits, as the person of this story.
    fn answer(&mut self) -> Result<()> {
        for question in std::mem::take(&mut self.waiting) {
            let input = Input::Answer {
                question: question.question_id,
                approve: true,
                plan_digest: question.plan_digest,
                by: Principal(PERSON.into()),
            };
            self.input(input)?;
        }
        Ok(())
    }

    /// Takes the first containment back, as a person does who finds that it holds the wrong one.
    fn release(&mut self) -> Result<()> {
        let Some(id) = self.holding.keys().next().copied() else { return Ok(()) };
        say("\nA colleague finds that one of the containments would have held a customer, and takes it back.")?;
        self.input(Input::Release {
            containment: id,
            reason: "this holds a customer".into(),
            by: Principal(PERSON.into()),
        })
    }

    fn input(&mut self, input: Input) -> Result<()> {
        let accepted = self.store.append_blocking(input)?;
        self.judged(accepted.first)
    }
}

fn state(state: &StepState) -> &'static str {
    match state {
        StepState::Pending => "waits for what it depends on",
        StepState::Asked => "asks",
        StepState::Simulated => "simulated",
        StepState::Refused { .. } => "refused",
        StepState::Denied { .. } => "denied",
        StepState::Skipped { .. } => "skipped",
        StepState::Ordered { .. } => "is being done",
        StepState::Done => "done",
        StepState::Failed { .. } => "failed",
        StepState::Unknown { .. } => "unknown",
        StepState::Releasing => "is being taken back",
        StepState::Released => "released",
    }
}

fn short(line: &str) -> String {
    let mut text: String = plain(line).chars().take(limits::DEMO_LINE_CHARS).collect();
    if line.chars().count() > limits::DEMO_LINE_CHARS {
        text.push('…');
    }
    text
}

fn say(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")?;
    Ok(stdout.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut() {
        assert_eq!(short("abc"), "abc");
        assert!(short(&"x".repeat(500)).ends_with('…'));
    }
}
