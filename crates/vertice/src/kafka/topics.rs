//! What goes out to which topic: records of the read model as the values of the contract.
//!
//! Pure: a record in, at most one message out. Values are JSON; the fields that the contract names come with exactly
//! their names, more stand beside them. Each message has the attributes of a CloudEvent (CloudEvents 1.0, Kafka
//! protocol binding, binary mode). A message's id is the record's, so that whoever reads the topic can drop a repeat:
//! of what changes (threats, responses) the effect that published it is part of the id, for each change is news.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use vertice_engine::RefusedEvent;
use vertice_model::{Detection, EffectId, Entity, Run, RunState, Step, Threat, ThreatId, Timestamp};
use vertice_store::{RecordKind, StoredRecord};

use crate::limits;

/// The topics that something goes out to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Topic {
    /// `defense.detections`
    Detections,
    /// `threat.enriched`
    Threats,
    /// `defense.responses`
    Responses,
    /// `defense.deadletter`
    DeadLetter,
}

impl Topic {
    /// The CloudEvents type of what goes there.
    pub const fn event_type(self) -> &'static str {
        match self {
            Topic::Detections => "vertice.detection",
            Topic::Threats => "vertice.threat",
            Topic::Responses => "vertice.response",
            Topic::DeadLetter => "vertice.deadletter",
        }
    }
}

/// One message on its way out.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Where to.
    pub topic: Topic,
    /// The entity, so that everything about one is in one partition and in order.
    pub key: Vec<u8>,
    /// What it says, in JSON.
    pub value: Vec<u8>,
    /// Which it is: the same message again has the same.
    pub id: String,
    /// When what it tells happened; `None` of what has no time of its own.
    pub at: Option<Timestamp>,
}

/// Why a record of the read model can not be told: it was written by another version, or is no such record.
#[derive(Debug, thiserror::Error)]
#[error("the {kind} {key} of the read model can not be read: {source}")]
pub struct Unreadable {
    kind: &'static str,
    key: String,
    source: serde_json::Error,
}

/// What is asked about beside the record itself.
pub trait Beside {
    /// Whom a threat is about in the first place.
    fn entity_of(&self, threat: ThreatId) -> Option<Entity>;
    /// The line of a refused event.
    fn line_of(&self, refused: &RefusedEvent) -> Option<String>;
}

/// The message of a record; `None` of one that has no topic: a question, a containment, a run that is not over.
///
/// # Errors
/// When the record is not what its kind says.
pub fn message(record: &StoredRecord, beside: &impl Beside) -> Result<Option<Message>, Unreadable> {
    Ok(match record.kind {
        RecordKind::Detection => Some(detection(&read(record)?, record)),
        RecordKind::Threat => Some(threat(&read(record)?, record.effect)),
        RecordKind::Run => {
            let run: Run = read(record)?;
            let over = match run.state {
                RunState::Waiting => false,
                RunState::Refused | RunState::Ended | RunState::RolledBack => true,
            };
            over.then(|| response(&run, record.effect, beside.entity_of(run.threat_id)))
        }
        RecordKind::Refused => {
            let refused: RefusedEvent = read(record)?;
            let line = beside.line_of(&refused);
            Some(refused_message(&refused, line.as_deref()))
        }
        RecordKind::Question | RecordKind::Containment | RecordKind::Consultation | RecordKind::Suppression => None,
    })
}

fn read<T: DeserializeOwned>(record: &StoredRecord) -> Result<T, Unreadable> {
    let wrong = |source| Unreadable { kind: record.kind.as_str(), key: record.key.clone(), source };
    serde_json::from_str(&record.json).map_err(wrong)
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("records have text keys and finite numbers")
}

/// A detection's record is the contract's value: it is told as it stands.
fn detection(detection: &Detection, record: &StoredRecord) -> Message {
    Message {
        topic: Topic::Detections,
        key: detection.entity.name().into(),
        value: record.json.clone().into_bytes(),
        id: detection.detection_id.to_string(),
        at: Some(detection.timestamp),
    }
}

fn threat(threat: &Threat, effect: EffectId) -> Message {
    let ttps: Vec<&str> = threat.techniques.iter().map(|t| t.technique.as_str()).collect();
    let value = json!({
        "threat_id": threat.threat_id,
        "severity": threat.severity.out_of_ten(),
        "confidence": threat.confidence,
        // Attribution and campaigns come with threat intelligence; until then nobody is accused.
        "threat_actor": null,
        "ttps": ttps,
        "campaigns": [],
        "narrative": narrative(threat),
        "timestamp": threat.updated_at,
        "revision": effect.to_string(),
        "state": threat.state,
        "title": threat.title,
        "severity_word": threat.severity,
        "entities": threat.entities,
        "classes": threat.classes,
        "tactics": threat.tactics,
        "stage": threat.stage,
        "detections": threat.detections,
        "first_seen": threat.first_seen,
        "last_seen": threat.last_seen,
        "absorbed": threat.absorbed,
        "verdict": threat.verdict,
    });
    Message {
        topic: Topic::Threats,
        key: threat.entities.first().map_or_else(Vec::new, |e| e.name().into()),
        value: bytes(&value),
        id: format!("{}|{effect}", threat.threat_id),
        at: Some(threat.updated_at),
    }
}

/// What happened, whom it concerns and how bad it is, in sentences made of the threat's facts.
fn narrative(threat: &Threat) -> String {
    let Threat { severity, confidence, detections, entities, .. } = threat;
    let count = if *detections == 1 { "1 detection".to_owned() } else { format!("{detections} detections") };
    let whom = entities.iter().take(limits::ENTITIES_TOLD).map(|e| format!("{} {e}", e.kind()));
    let whom = whom.collect::<Vec<_>>().join(", ");
    let more = match entities.len().saturating_sub(limits::ENTITIES_TOLD) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let stage = threat.stage.map_or_else(String::new, |tactic| format!(" It has come as far as {}.", tactic.as_str()));
    let story = &threat.narrative;
    format!(
        "{}. {count} about {whom}{more}, {severity} with {} % confidence.{stage} {story}",
        threat.title,
        confidence.percent()
    )
    .trim_end()
    .to_owned()
}

fn response(run: &Run, effect: EffectId, about: Option<Entity>) -> Message {
    let touched = || run.steps.iter().find_map(|step| step.touches.first().cloned());
    let entity = about.or_else(touched);
    let value = json!({
        "playbook_id": run.playbook_id,
        "threat_id": run.threat_id,
        "success": run.success,
        "actions_executed": run.actions_executed,
        "timestamp": run.timestamp,
        "run_id": run.run_id,
        "revision": effect.to_string(),
        "playbook_version": run.playbook_version,
        "state": run.state,
        "reason": run.reason,
        "simulated": run.simulated,
        "plan_digest": run.plan_digest,
        "planned_at": run.planned_at,
        "actions": run.steps.iter().map(action).collect::<Vec<Value>>(),
    });
    Message {
        topic: Topic::Responses,
        key: entity.map_or_else(Vec::new, |e| e.name().into()),
        value: bytes(&value),
        id: format!("{}|{effect}", run.run_id),
        at: Some(run.timestamp),
    }
}

/// A step without its parameters: they may name what only an operator should see.
fn action(step: &Step) -> Value {
    json!({
        "action_id": step.action_id,
        "action_type": step.action_type,
        "state": step.state,
        "touches": step.touches,
        "approved_by": step.approved_by,
    })
}

/// The dead letter of an event that was in the log before it turned out to be unreadable.
fn refused_message(refused: &RefusedEvent, line: Option<&str>) -> Message {
    let value = json!({
        "reason": refused.reason,
        "origin": refused.origin,
        "position": refused.position,
        "value": line,
    });
    Message {
        topic: Topic::DeadLetter,
        key: Vec::new(),
        value: bytes(&value),
        id: format!("log|{}", refused.position),
        at: None,
    }
}

/// Where a value of a topic stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Where<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// The dead letter of a value that no mapping reads: the refused bytes, why, and where they are.
///
/// Bytes that are no text are in `value_base64` instead of `value`; very long ones are cut, and `value_bytes` says how
/// long they were: all of them are still where they came from.
pub fn dead_letter(from: Where<'_>, key: &[u8], value: &[u8], reason: &str) -> Message {
    let Where { topic, partition, offset } = from;
    let kept = &value[..value.len().min(limits::DEAD_LETTER_BYTES_MAX)];
    let mut letter = json!({
        "reason": reason,
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "value_bytes": value.len(),
    });
    match std::str::from_utf8(kept) {
        Ok(text) => letter["value"] = text.into(),
        Err(_) => letter["value_base64"] = STANDARD.encode(kept).into(),
    }
    Message {
        topic: Topic::DeadLetter,
        key: key.to_owned(),
        value: bytes(&letter),
        id: format!("{topic}|{partition}|{offset}"),
        at: None,
    }
}

#[cfg(test)]
mod tests;
