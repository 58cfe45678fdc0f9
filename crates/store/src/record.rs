//! Published records as rows of the read model.

use std::collections::BTreeSet;

use serde::Serialize;
use vertice_engine::{Effect, EffectKind, Record};
use vertice_model::{ContainmentState, EffectId, Entity, RunState, Severity, Threat, ThreatState, Timestamp};

use crate::limits;

/// What kinds of records there are.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum RecordKind {
    /// A judged hit. The first record of an id stands; of all other kinds the latest does.
    Detection,
    /// A threat.
    Threat,
    /// A run of a playbook.
    Run,
    /// A question to a person.
    Question,
    /// A containment.
    Containment,
    /// A raw event that could not be read: the dead letter. Its id is its log position.
    Refused,
    /// A question to a language model.
    Consultation,
    /// A suppression.
    Suppression,
}

impl RecordKind {
    /// Every kind.
    pub const ALL: [RecordKind; 8] = [
        RecordKind::Detection,
        RecordKind::Threat,
        RecordKind::Run,
        RecordKind::Question,
        RecordKind::Containment,
        RecordKind::Refused,
        RecordKind::Consultation,
        RecordKind::Suppression,
    ];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            RecordKind::Detection => "detection",
            RecordKind::Threat => "threat",
            RecordKind::Run => "run",
            RecordKind::Question => "question",
            RecordKind::Containment => "containment",
            RecordKind::Refused => "refused event",
            RecordKind::Consultation => "consultation",
            RecordKind::Suppression => "suppression",
        }
    }

    /// The number that stands for it in the file. Never changes.
    pub(crate) const fn code(self) -> i64 {
        match self {
            RecordKind::Detection => 0,
            RecordKind::Threat => 1,
            RecordKind::Run => 2,
            RecordKind::Question => 3,
            RecordKind::Containment => 4,
            RecordKind::Refused => 5,
            RecordKind::Consultation => 6,
            RecordKind::Suppression => 7,
        }
    }

    pub(crate) fn from_code(code: i64) -> Option<RecordKind> {
        RecordKind::ALL.into_iter().find(|k| k.code() == code)
    }

    /// Whether the first record of an id stands, and not the latest.
    pub(crate) const fn first_stands(self) -> bool {
        match self {
            RecordKind::Detection | RecordKind::Refused => true,
            RecordKind::Threat
            | RecordKind::Run
            | RecordKind::Question
            | RecordKind::Containment
            | RecordKind::Consultation
            | RecordKind::Suppression => false,
        }
    }
}

/// A record as it is kept: its JSON, and what lists are filtered by.
#[derive(Clone, Debug)]
pub(crate) struct RecordRow {
    pub(crate) effect: EffectId,
    pub(crate) kind: RecordKind,
    pub(crate) key: String,
    pub(crate) severity: Severity,
    pub(crate) state: &'static str,
    pub(crate) rule_id: Option<String>,
    pub(crate) threat_id: Option<String>,
    pub(crate) at: Timestamp,
    pub(crate) entities: BTreeSet<String>,
    pub(crate) json: String,
    /// Where a threat stands when they are sorted by priority: see [`rank`]; -1 of all else.
    pub(crate) rank: i64,
}

/// First by how urgent it is, then by when it was opened, to the second. It is not where its last change stands, so that
/// a threat keeps its place in a list that is being paged unless its priority changes.
pub(crate) fn rank(threat: &Threat) -> i64 {
    let priority = threat.triage.as_ref().map_or(0, |triage| i64::from(triage.priority));
    // The seconds reach the year 5138.
    priority * limits::RANK_STEP + threat.opened_at.as_micros().div_euclid(1_000_000).clamp(0, limits::RANK_STEP - 1)
}

/// The row of an effect; `None` for one that publishes nothing.
pub(crate) fn row_of(effect: &Effect) -> Option<RecordRow> {
    let record = match &effect.kind {
        EffectKind::Publish(record) => record,
        // A question's and a consultation's own record is published beside it; what is told is no record.
        EffectKind::Ask(_) | EffectKind::Act(_) | EffectKind::Consult(_) | EffectKind::Tell(_) => return None,
    };
    let mut row = RecordRow {
        effect: effect.id,
        kind: RecordKind::Refused,
        key: String::new(),
        severity: Severity::Info,
        state: "",
        rule_id: None,
        threat_id: None,
        at: Timestamp::default(),
        entities: BTreeSet::new(),
        json: String::new(),
        rank: -1,
    };
    fill(&mut row, record);
    Some(row)
}

fn fill(row: &mut RecordRow, record: &Record) {
    match record {
        Record::Detection(d) => {
            row.set(RecordKind::Detection, d.detection_id.to_string(), d.timestamp, d);
            row.severity = d.severity;
            row.rule_id = Some(d.rule_id.clone());
            row.threat_id = d.threat_id.map(|t| t.to_string());
            row.entities = std::iter::once(&d.entity).chain(&d.related).map(named).collect();
        }
        Record::Threat(t) => {
            row.set(RecordKind::Threat, t.threat_id.to_string(), t.last_seen, t);
            // A threat that an opinion raised is found among those that are as bad as it was raised to.
            row.severity = t.severity.max(t.attention);
            row.state = threat_state(&t.state);
            row.threat_id = Some(t.threat_id.to_string());
            row.entities = t.entities.iter().map(named).collect();
            row.rank = rank(t);
        }
        Record::Run(r) => {
            row.set(RecordKind::Run, r.run_id.to_string(), r.timestamp, r);
            row.state = run_state(r.state);
            row.threat_id = Some(r.threat_id.to_string());
            row.entities = r.steps.iter().flat_map(|s| &s.touches).map(named).collect();
        }
        Record::Question(q) => {
            row.set(RecordKind::Question, q.question_id.to_string(), q.asked_at, q);
            row.severity = q.severity;
            row.state = q.state.as_str();
            row.threat_id = Some(q.threat_id.to_string());
        }
        Record::Containment(c) => {
            row.set(RecordKind::Containment, c.containment_id.to_string(), c.since, c);
            row.state = containment_state(&c.state);
            row.threat_id = Some(c.threat_id.to_string());
            row.entities.insert(named(&c.entity));
        }
        Record::Refused(r) => row.set(RecordKind::Refused, r.position.to_string(), Timestamp::default(), r),
        Record::Consultation(c) => {
            row.set(RecordKind::Consultation, c.consultation_id.to_string(), c.asked_at, c);
            row.severity = c.severity;
            row.state = c.state.as_str();
            row.threat_id = Some(c.threat_id.to_string());
        }
        Record::Suppression(s) => {
            row.set(RecordKind::Suppression, s.suppression_id.to_string(), s.updated_at, s);
            row.state = s.state.as_str();
            row.rule_id = Some(s.scope.rule_id.clone());
            row.entities = s.scope.on.iter().map(named).collect();
        }
    }
}

impl RecordRow {
    fn set(&mut self, kind: RecordKind, key: String, at: Timestamp, record: &impl Serialize) {
        self.kind = kind;
        self.key = key;
        self.at = at;
        self.json = serde_json::to_string(record).expect("records have text keys and finite numbers");
    }
}

fn named(entity: &Entity) -> String {
    entity.name().to_owned()
}

const fn threat_state(state: &ThreatState) -> &'static str {
    match state {
        ThreatState::Open => "open",
        ThreatState::Quiet { .. } => "quiet",
        ThreatState::Judged { .. } => "judged",
        ThreatState::Merged { .. } => "merged",
    }
}

const fn run_state(state: RunState) -> &'static str {
    match state {
        RunState::Refused => "refused",
        RunState::Waiting => "waiting",
        RunState::Ended => "ended",
        RunState::RolledBack => "rolled_back",
    }
}

const fn containment_state(state: &ContainmentState) -> &'static str {
    match state {
        ContainmentState::Active => "active",
        ContainmentState::Releasing { .. } => "releasing",
        ContainmentState::Expired => "expired",
        ContainmentState::Released { .. } => "released",
    }
}
