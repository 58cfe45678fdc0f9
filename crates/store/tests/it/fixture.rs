//! What the tests put into a store.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use vertice_engine::{Effect, EffectKind, Record, RefusedEvent};
use vertice_model::{
    Confidence, Detection, DetectionId, EffectId, Entity, EventId, Position, Posterior, Principal, RawEvent, Scope,
    Severity, Suppression, SuppressionId, SuppressionState, Threat, ThreatId, ThreatState, Timestamp, Triage,
};
use vertice_store::{Clock, Options, PostgresSettings, Store, Submission};
use vertice_testkit::postgres::Postgres;

/// Opens a store whose clock stands still.
pub fn open(dir: &Path) -> Store {
    open_with(dir, Options::default())
}

pub fn open_with(dir: &Path, options: Options) -> Store {
    Store::open(dir, clock_at(1_000_000), options).expect("the store opens")
}

/// How to come to a database of a server.
pub fn settings(server: &Postgres, database: &str, key_dir: &Path) -> PostgresSettings {
    let socket = server.socket().to_str().expect("a path of a test");
    PostgresSettings::from_parts((socket, server.port()), database, ("vertice", None), key_dir)
}

pub fn clock_at(us: i64) -> Clock {
    Arc::new(move || Timestamp::from_micros(us))
}

/// A clock and the hand to set it.
pub fn settable_clock(us: i64) -> (Clock, Arc<AtomicI64>) {
    let hand = Arc::new(AtomicI64::new(us));
    let reading = hand.clone();
    (Arc::new(move || Timestamp::from_micros(reading.load(Ordering::Relaxed))), hand)
}

pub fn event(origin: &str, line: &str) -> RawEvent {
    RawEvent { origin: origin.into(), line: line.to_owned() }
}

/// Events with these numbers.
pub fn numbered(numbers: std::ops::Range<u64>) -> Submission {
    let events = numbers.map(|n| event("test", &format!("event number {n}"))).collect();
    Submission { events, ..Submission::default() }
}

pub fn effect(position: u64, index: u32, record: Record) -> Effect {
    Effect { id: EffectId { position: Position(position), index }, kind: EffectKind::Publish(record) }
}

pub fn detection(name: &str, severity: Severity, entity: &str) -> Detection {
    Detection {
        detection_id: DetectionId::derive(name),
        event_id: EventId::given(name.to_owned()),
        position: Position(1),
        earlier: Vec::new(),
        rule_id: format!("rule-{}", severity.as_str()),
        rule_title: "A rule".to_owned(),
        class: None,
        is_threat: severity >= Severity::Medium,
        confidence: Confidence::new(80).expect("below 100"),
        severity,
        mitre_techniques: Vec::new(),
        mitre_tactics: Vec::new(),
        entity: Entity::ip(entity).expect("an address"),
        related: Entity::host("Web-1").into_iter().collect(),
        matched: Vec::new(),
        threat_id: Some(ThreatId::derive(entity)),
        timestamp: Timestamp::from_seconds(100),
        accepted_at: Timestamp::from_seconds(101),
        triage: None,
        suppressed_by: None,
        mapped_by: None,
    }
}

pub fn threat(name: &str, title: &str, state: ThreatState) -> Threat {
    Threat {
        threat_id: ThreatId::derive(name),
        state,
        title: title.to_owned(),
        entities: Entity::ip("192.0.2.7").into_iter().collect(),
        severity: Severity::High,
        confidence: Confidence::new(70).expect("below 100"),
        classes: Default::default(),
        techniques: Vec::new(),
        tactics: Default::default(),
        stage: None,
        rules: Default::default(),
        detections: 1,
        latest: Vec::new(),
        positions: (Position(1), Position(1)),
        first_seen: Timestamp::from_seconds(100),
        last_seen: Timestamp::from_seconds(200),
        opened_at: Timestamp::from_seconds(100),
        updated_at: Timestamp::from_seconds(200),
        reopened: 0,
        verdict: None,
        absorbed: Default::default(),
        narrative: String::new(),
        attention: Severity::High,
        suggested: Default::default(),
        triage: None,
    }
}

/// A threat of a priority, opened at a second.
pub fn urgent(name: &str, priority: u8, opened_s: i64) -> Threat {
    let false_positive =
        Posterior { mean: 0.25, lower: 0.0, upper: 0.7, false_positives: 0, confirmed: 0, of_entity: false };
    Threat {
        opened_at: Timestamp::from_seconds(opened_s),
        triage: Some(Triage { priority, false_positive, reason: "a test".to_owned() }),
        ..threat(name, name, ThreatState::Open)
    }
}

pub fn refused(position: u64) -> Record {
    Record::Refused(RefusedEvent {
        position: Position(position),
        origin: "test".to_owned(),
        reason: "why not".to_owned(),
    })
}

/// A suppression of `rule`, called `s`, that was proposed and has kept so many detections back.
pub fn suppression(reason: &str, suppressed: u64) -> Suppression {
    let (mean, lower, upper, of_entity) = (0.5, 0.1, 0.9, false);
    Suppression {
        suppression_id: SuppressionId::derive("s"),
        scope: Scope { rule_id: "rule".into(), on: None },
        state: SuppressionState::Proposed,
        reason: reason.to_owned(),
        proposed_by: Principal("ana".into()),
        proposed_at: Timestamp::default(),
        false_positive: Posterior { mean, lower, upper, false_positives: 0, confirmed: 0, of_entity },
        would_hide_confirmed: 0,
        suppressed,
        updated_at: Timestamp::default(),
    }
}
