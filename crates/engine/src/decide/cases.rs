//! The cases beside a playbook: a threat in short form, and what the playbook makes of it.
//!
//! ```yaml
//! - title: A guesser is slowed down at once, and a person is asked about the rest.
//!   threat: brute_force_detected high 0.9 ip=203.0.113.9 detections=40
//!   expect:
//!     - rate_limit is simulated on 203.0.113.9 for 3600 s
//!     - block is asked on 203.0.113.9 for 86400 s
//!     - "block asks: Block 203.0.113.9?"
//! - title: A single failed login is nobody's business.
//!   threat: "- low 0.3 ip=203.0.113.9"
//!   expect: []
//! ```
//! A threat is `CLASSES SEVERITY CONFIDENCE` and then any of `ip=`, `host=`, `user=`, `technique=`, `tactic=`,
//! `detections=`, `title=` (with `_` for a blank). Its classes are joined by commas; `-` is none.

use std::collections::BTreeSet;

use vertice_model::{
    Confidence, Entity, Position, QuestionState, RunState, StepState, Tactic, TechniqueSeen, Threat, ThreatId,
    ThreatState, Timestamp,
};

use super::playbook::{Playbook, Playbooks};
use super::policy::Policy;
use super::responses::Responses;
use super::wishes::Change;
use super::words::quoted;
use super::yaml::{self, Node, Value};
use crate::content::{ContentError, ContentFile};

/// Runs the cases of a playbook, and gives how many held.
///
/// # Errors
/// What is wrong with the playbook or with the file of cases, and every case that did not come out as it says.
pub fn check(playbook: &ContentFile, cases: &ContentFile) -> Result<usize, Vec<ContentError>> {
    Playbook::read(playbook)?;
    let mut refused = Vec::new();
    let playbooks = Playbooks::compile(&[playbook], &mut refused);
    let error = |line: u64, reason: String| ContentError { path: cases.path.clone(), line, column: 0, reason };
    let root = yaml::read(&cases.text).map_err(|e| vec![error(e.line, e.reason)])?;
    let Value::List(items) = &root.value else {
        return Err(vec![error(root.line, "should be a list of cases".to_owned())]);
    };
    let mut errors = Vec::new();
    for item in items {
        match case(item, &playbooks) {
            Ok(()) => {}
            Err((line, reason)) => errors.push(error(line, reason)),
        }
    }
    let both =
        ["[]", "something"].map(|what| items.iter().any(|i| expected(i).is_ok_and(|e| e.is_empty() == (what == "[]"))));
    if both != [true, true] {
        errors.push(error(0, "should have a threat for which it runs and one for which it does not".to_owned()));
    }
    if errors.is_empty() { Ok(items.len()) } else { Err(errors) }
}

fn case(item: &Node, playbooks: &Playbooks) -> Result<(), (u64, String)> {
    let Value::Map(entries) = &item.value else {
        return Err((item.line, "a case has a title, a threat and what is expected".to_owned()));
    };
    if let Some(odd) = entries.iter().find(|e| !["title", "threat", "expect"].contains(&e.key.as_str())) {
        return Err((odd.line, format!("a case has no {}", quoted(&odd.key))));
    }
    let title = text(item, "title")?;
    let threat = threat(text(item, "threat")?).map_err(|why| (item.line, format!("{}: {why}", quoted(title))))?;
    let wanted = expected(item)?;
    let changes = Responses::default().consider(threat.updated_at, &threat, playbooks, &Policy::default());
    let got = outcome(&changes);
    if got == wanted { Ok(()) } else { Err((item.line, format!("{}: got {got:#?}", quoted(title)))) }
}

fn field<'n>(item: &'n Node, key: &str) -> Option<&'n Node> {
    let Value::Map(entries) = &item.value else { return None };
    entries.iter().find(|e| e.key == key).map(|e| &e.node)
}

fn text<'n>(item: &'n Node, key: &str) -> Result<&'n str, (u64, String)> {
    match field(item, key).map(|node| &node.value) {
        Some(Value::Text(text)) => Ok(text),
        _ => Err((item.line, format!("a case needs `{key}`, a text"))),
    }
}

fn expected(item: &Node) -> Result<Vec<String>, (u64, String)> {
    let wrong = || (item.line, "a case needs `expect`, a list of texts".to_owned());
    let Some(Value::List(lines)) = field(item, "expect").map(|node| &node.value) else { return Err(wrong()) };
    let texts = lines.iter().map(|line| match &line.value {
        Value::Text(text) => Ok(text.trim().to_owned()),
        _ => Err(wrong()),
    });
    texts.collect()
}

/// A line for each step, and one for each question.
fn outcome(changes: &[Change]) -> Vec<String> {
    let mut lines = Vec::new();
    for change in changes {
        match change {
            Change::Run(run) if run.state == RunState::Refused => {
                lines.push(format!("refused: {}", run.reason.as_deref().unwrap_or_default()));
            }
            Change::Run(run) => lines.extend(run.steps.iter().map(|step| {
                let on: Vec<_> = step.touches.iter().map(Entity::name).collect();
                let on = if on.is_empty() { String::new() } else { format!(" on {}", on.join(", ")) };
                let lease = step.lease_s.map_or(String::new(), |s| format!(" for {s} s"));
                format!("{} is {}{on}{lease}", step.action_id, state(&step.state))
            })),
            Change::Question(question) if question.state == QuestionState::Pending => {
                lines.push(format!("{} asks: {}", question.action_id, question.prompt));
            }
            Change::Question(_) | Change::Containment(_) | Change::Act(_) => {}
        }
    }
    lines
}

/// A step's state in words.
pub(super) fn state(state: &StepState) -> String {
    match state {
        StepState::Pending => "pending".to_owned(),
        StepState::Asked => "asked".to_owned(),
        StepState::Simulated => "simulated".to_owned(),
        StepState::Ordered { .. } => "ordered".to_owned(),
        StepState::Done => "done".to_owned(),
        StepState::Refused { reason } => format!("refused ({reason})"),
        StepState::Denied { reason } => format!("denied ({reason})"),
        StepState::Skipped { reason } => format!("skipped ({reason})"),
        StepState::Failed { reason } => format!("failed ({reason})"),
        StepState::Unknown { reason, .. } => format!("unknown ({reason})"),
        StepState::Releasing => "releasing".to_owned(),
        StepState::Released => "released".to_owned(),
    }
}

/// Reads a threat in short form.
///
/// # Errors
/// Which word is no part of one.
pub(super) fn threat(text: &str) -> Result<Threat, String> {
    let mut words = text.split_whitespace();
    let mut next = |what: &str| words.next().ok_or_else(|| format!("a threat in short form lacks its {what}"));
    let (classes, severity, confidence) = (next("classes")?, next("severity")?, next("confidence")?);
    let mut threat = bare();
    threat.classes = classes.split(',').filter(|c| *c != "-").map(str::to_owned).collect();
    threat.severity = severity.parse().map_err(|e| format!("{e}"))?;
    let confidence: Option<f64> = confidence.parse().ok();
    threat.confidence = confidence.and_then(Confidence::from_ratio).ok_or("its confidence is no number from 0 to 1")?;
    for word in words {
        let (key, value) = word.split_once('=').ok_or_else(|| format!("{} is no key=value", quoted(word)))?;
        let none = || format!("{} is none", quoted(word));
        match key {
            "ip" => threat.entities.push(Entity::ip(value).ok_or_else(none)?),
            "host" => threat.entities.push(Entity::host(value).ok_or_else(none)?),
            "user" => threat.entities.push(Entity::user(value).ok_or_else(none)?),
            "technique" => {
                let technique = value.parse().map_err(|_| none())?;
                threat.techniques.push(TechniqueSeen { technique, first_seen: threat.first_seen });
            }
            "tactic" => _ = threat.tactics.insert(Tactic::from_slug(value).ok_or_else(none)?),
            "detections" => threat.detections = value.parse().map_err(|_| none())?,
            "title" => threat.title = value.replace('_', " "),
            _ => return Err(format!("{} is nothing of a threat", quoted(key))),
        }
    }
    threat.stage = threat.tactics.last().copied();
    Ok(threat)
}

fn bare() -> Threat {
    // Any instant will do; this one is far from the ends of the range.
    let at = Timestamp::from_seconds(1_767_225_600);
    Threat {
        threat_id: ThreatId::derive("case"),
        state: ThreatState::Open,
        title: "a threat".to_owned(),
        entities: Vec::new(),
        severity: vertice_model::Severity::Info,
        confidence: const { Confidence::new(0).expect("0 is at most 100") },
        classes: BTreeSet::new(),
        techniques: Vec::new(),
        tactics: BTreeSet::new(),
        stage: None,
        rules: Vec::new(),
        detections: 1,
        latest: Vec::new(),
        absorbed: Vec::new(),
        positions: (Position(1), Position(1)),
        first_seen: at,
        last_seen: at,
        opened_at: at,
        updated_at: at,
        reopened: 0,
        verdict: None,
        narrative: String::new(),
        attention: vertice_model::Severity::Info,
        suggested: vertice_model::Raised::default(),
        triage: None,
    }
}
