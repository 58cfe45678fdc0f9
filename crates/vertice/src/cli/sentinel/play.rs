//! Plays labelled alerts through the real engine, in memory, and puts its consultations to a model.
//!
//! Each alert has an engine of its own, so that what came of it is its own; no verdict is known to it. Its events come
//! as one batch. What is asked, how, and what of the answer is taken is the same as in operation.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, anyhow};
use vertice_engine::cases::Case;
use vertice_engine::{Content, EffectKind, Engine, Input, Record, Stamp};
use vertice_model::{
    Assessment, ConsultationState, RawEvent, Severity, Technique, Threat, ThreatId, ThreatState, Timestamp, Usage,
};

use super::dataset::Alert;
use crate::limits;
use crate::sentinel::prompt::Secrets;
use crate::sentinel::{Ask, asked};

/// What is needed to play an alert.
pub struct Play<'a> {
    /// The content in force, whose policy says whether models are asked.
    pub content: Arc<Content>,
    /// Draws the secret words of questions.
    pub secrets: Secrets,
    /// How a model is asked.
    pub ask: &'a Ask,
    /// The time by which a question is late, as the models' clock counts.
    pub deadline: &'a (dyn Fn() -> Timestamp + Sync),
}

/// What came of an alert.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Lines that no mapping could read.
    pub unreadable: u64,
    /// Detections.
    pub detections: u64,
    /// The threats that stood at the end.
    pub threats: u64,
    /// The worst of them.
    pub severity: Option<Severity>,
    /// The highest priority of a threat, by deterministic triage alone; 0 if there is none.
    pub priority: u8,
    /// Techniques of the detections.
    pub mapped: BTreeSet<Technique>,
    /// What became of its consultations.
    pub consulted: Vec<Consulted>,
}

/// What became of a consultation.
#[derive(Clone, Debug)]
pub struct Consulted {
    /// Whether it was answered, and if not, why.
    pub state: ConsultationState,
    /// What the answer took.
    pub usage: Usage,
    /// What the threat was taken for, if the answer was taken.
    pub assessment: Option<Assessment>,
    /// Techniques of the answer.
    pub techniques: Vec<Technique>,
}

impl Outcome {
    /// What the model took the alert for: the worst of what it took its threats for. `None` if no answer was taken.
    pub fn assessment(&self) -> Option<Assessment> {
        let rank = |a: &Assessment| match a {
            Assessment::LikelyMalicious => 2,
            Assessment::Uncertain => 1,
            Assessment::LikelyBenign => 0,
        };
        self.consulted.iter().filter_map(|c| c.assessment).max_by_key(rank)
    }

    /// Techniques that the model saw.
    pub fn suggested(&self) -> BTreeSet<Technique> {
        self.consulted.iter().flat_map(|c| c.techniques.iter().cloned()).collect()
    }
}

/// Plays alerts, as many at once as models are asked in operation. What came of each is in its place.
///
/// # Errors
/// When a thread failed.
pub fn all(play: &Play<'_>, alerts: &[Alert], done: &(dyn Fn() + Sync)) -> Result<Vec<Outcome>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut came = Vec::new();
        while let Some((n, alert)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|n| Some((n, alerts.get(n)?)))
        {
            came.push((n, play.one(alert)));
            done();
        }
        came
    };
    let came: Result<Vec<_>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..limits::MODELS_ASKED_AT_ONCE).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|t| t.join().map_err(|_| anyhow!("a thread that plays alerts failed"))).collect()
    });
    let sorted: BTreeMap<usize, Outcome> = came?.into_iter().flatten().collect();
    Ok(sorted.into_values().collect())
}

impl Play<'_> {
    fn one(&self, alert: &Alert) -> Outcome {
        let case = Case { story: "", line: 0, wanted: Vec::new(), lines: &alert.lines };
        let now = alert.at.unwrap_or_else(|| case.now(&self.content));
        let mut playing =
            Playing { engine: Engine::default(), now, outcome: Outcome::default(), threats: BTreeMap::new() };
        playing.apply(&Input::Content(Arc::clone(&self.content)));
        let origin: Arc<str> = Arc::from("dataset");
        let raw = |line: &String| RawEvent { origin: Arc::clone(&origin), line: line.clone() };
        let mut questions: VecDeque<_> = playing.apply(&Input::Events(alert.lines.iter().map(raw).collect())).into();
        // What an opinion raises is no part of what deterministic triage says.
        playing.note_threats();
        while let Some(mut consult) = questions.pop_front() {
            // The engine's time is the dataset's; models are asked now.
            consult.consultation.expires_at = (self.deadline)();
            questions.extend(playing.apply(&asked(&self.secrets, &consult, self.ask)));
        }
        playing.outcome
    }
}

struct Playing {
    engine: Engine,
    now: Timestamp,
    outcome: Outcome,
    threats: BTreeMap<ThreatId, Threat>,
}

impl Playing {
    /// Applies an input and notes what came of it. Returns what is to be asked.
    fn apply(&mut self, input: &Input) -> Vec<vertice_engine::triage::Consult> {
        let stamp = Stamp { position: self.engine.next(), now: self.now };
        let mut questions = Vec::new();
        for effect in self.engine.apply(stamp, input) {
            match effect.kind {
                EffectKind::Consult(consult) => questions.push(*consult),
                EffectKind::Publish(Record::Detection(detection)) => {
                    self.outcome.detections += 1;
                    self.outcome.mapped.extend(detection.mitre_techniques);
                }
                EffectKind::Publish(Record::Threat(threat)) => {
                    self.threats.insert(threat.threat_id, threat);
                }
                EffectKind::Publish(Record::Refused(_)) => self.outcome.unreadable += 1,
                EffectKind::Publish(Record::Consultation(closed)) if closed.state != ConsultationState::Asked => {
                    let (assessment, techniques) = closed.opinion.map(|o| (o.assessment, o.techniques)).unzip();
                    let techniques = techniques.unwrap_or_default();
                    self.outcome.consulted.push(Consulted {
                        state: closed.state,
                        usage: closed.usage,
                        assessment,
                        techniques,
                    });
                }
                EffectKind::Publish(
                    Record::Run(_)
                    | Record::Question(_)
                    | Record::Containment(_)
                    | Record::Consultation(_)
                    | Record::Suppression(_),
                )
                | EffectKind::Ask(_)
                | EffectKind::Act(_)
                | EffectKind::Tell(_) => {}
            }
        }
        questions
    }

    fn note_threats(&mut self) {
        let stand = self.threats.values().filter(|t| !matches!(t.state, ThreatState::Merged { .. }));
        for threat in stand {
            self.outcome.threats += 1;
            self.outcome.severity = self.outcome.severity.max(Some(threat.severity));
            let priority = threat.triage.as_ref().map_or(0, |t| t.priority);
            self.outcome.priority = self.outcome.priority.max(priority);
        }
    }
}
