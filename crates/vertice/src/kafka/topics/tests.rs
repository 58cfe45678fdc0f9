use std::collections::{BTreeMap, BTreeSet};

use vertice_model::{
    Confidence, DetectionId, EventId, Matched, Position, Raised, RuleSeen, RunId, Severity, StepState, Tactic,
    TechniqueSeen, ThreatState,
};

use super::*;

/// What is known beside the records.
struct Known;

impl Beside for Known {
    fn entity_of(&self, threat: ThreatId) -> Option<Entity> {
        (threat == ThreatId::derive("t")).then(|| Entity::ip("203.0.113.9").unwrap())
    }

    fn line_of(&self, refused: &RefusedEvent) -> Option<String> {
        (refused.position == Position(7)).then(|| "\u{1b}no event".to_owned())
    }
}

fn at(seconds: u64) -> Timestamp {
    "2026-03-01T10:00:00Z".parse::<Timestamp>().unwrap().plus_seconds(seconds)
}

fn sample_detection() -> Detection {
    let selection = |field: &str| Matched {
        selection: "selection".into(),
        field: field.into(),
        wanted: "sshd".into(),
        value: "sshd".into(),
    };
    Detection {
        triage: None,
        suppressed_by: None,
        mapped_by: None,
        detection_id: DetectionId::derive("d"),
        event_id: EventId::given("e-1".into()),
        position: Position(4),
        earlier: vec![Position(2)],
        rule_id: "r-1".into(),
        rule_title: "Guessing".into(),
        class: Some("brute_force_detected".into()),
        is_threat: true,
        confidence: Confidence::new(75).unwrap(),
        severity: Severity::High,
        mitre_techniques: vec!["T1110".parse().unwrap(), "T1021.004".parse().unwrap()],
        mitre_tactics: vec![Tactic::CredentialAccess],
        entity: Entity::ip("203.0.113.9").unwrap(),
        related: vec![Entity::host("web1").unwrap()],
        matched: vec![selection("service")],
        threat_id: Some(ThreatId::derive("t")),
        timestamp: at(0),
        accepted_at: at(1),
    }
}

fn sample_threat(detections: u64) -> Threat {
    let entity = Entity::ip("203.0.113.9").unwrap();
    Threat {
        attention: Severity::Info,
        suggested: Raised::default(),
        triage: None,
        threat_id: ThreatId::derive("t"),
        state: ThreatState::Open,
        title: "Guessing: ip 203.0.113.9".into(),
        entities: vec![entity.clone(), Entity::user("root").unwrap()],
        severity: Severity::High,
        confidence: Confidence::new(75).unwrap(),
        classes: BTreeSet::from(["brute_force_detected".to_owned()]),
        techniques: vec![TechniqueSeen { technique: "T1110".parse().unwrap(), first_seen: at(0) }],
        tactics: BTreeSet::from([Tactic::CredentialAccess]),
        stage: Some(Tactic::CredentialAccess),
        rules: vec![RuleSeen {
            rule_id: "r-1".into(),
            rule_title: "Guessing".into(),
            severity: Severity::High,
            confidence: Confidence::new(75).unwrap(),
            entity,
            first_seen: at(0),
            detections,
        }],
        detections,
        latest: vec![DetectionId::derive("d")],
        positions: (Position(2), Position(4)),
        first_seen: at(0),
        last_seen: at(3),
        opened_at: at(1),
        updated_at: at(4),
        absorbed: Vec::new(),
        reopened: 0,
        verdict: None,
        narrative: "First, at 10:00, on ip 203.0.113.9: Guessing (high).".into(),
    }
}

fn sample_run(state: RunState) -> Run {
    let step = Step {
        action_id: "block".into(),
        action_type: "firewall_rule".into(),
        parameters: BTreeMap::from([("source_ip".to_owned(), "secret".to_owned())]),
        inverse: "unblock".into(),
        lease_s: Some(60),
        touches: vec![Entity::ip("198.51.100.1").unwrap()],
        depends_on: Vec::new(),
        state: StepState::Done,
        question_id: None,
        approved_by: None,
        attempts: 1,
        criteria: BTreeMap::new(),
        note: String::new(),
    };
    Run {
        run_id: RunId::derive("r"),
        playbook_id: "brute_force_response".into(),
        playbook_version: "1.0".into(),
        threat_id: ThreatId::derive("t"),
        plan_digest: "00".into(),
        state,
        reason: None,
        success: true,
        simulated: false,
        actions_executed: 1,
        steps: vec![step],
        planned_at: at(1),
        timestamp: at(2),
    }
}

fn stored(kind: RecordKind, key: &str, record: &impl Serialize) -> StoredRecord {
    let json = serde_json::to_string(record).unwrap();
    let effect = EffectId { position: Position(4), index: 1 };
    StoredRecord { effect, kind, key: key.to_owned(), json, shard: 0, rank: None }
}

fn told(record: &StoredRecord) -> Option<(Message, Value)> {
    let message = message(record, &Known).unwrap()?;
    let value = serde_json::from_slice(&message.value).unwrap();
    Some((message, value))
}

/// Checks a message: topic, key, id, and what its value says where the contract names a field.
fn check(record: &StoredRecord, topic: Topic, key: &str, id: &str, wanted: &Value) {
    let (message, value) = told(record).expect("it has a topic");
    assert_eq!((message.topic, message.key.as_slice(), message.id.as_str()), (topic, key.as_bytes(), id));
    for (name, wanted) in wanted.as_object().unwrap() {
        assert_eq!(value.get(name), Some(wanted), "{name} of {value:#}");
    }
}

#[test]
fn every_record_of_the_contract_has_its_topic_key_id_and_fields() {
    let (d, t, r) = (sample_detection(), sample_threat(1), sample_run(RunState::Ended));
    let id = DetectionId::derive("d").to_string();
    let detection = json!({"detection_id": id, "event_id": "e-1", "is_threat": true, "confidence": 0.75,
        "severity": "high", "mitre_techniques": ["T1110", "T1021.004"], "timestamp": at(0)});
    check(&stored(RecordKind::Detection, &id, &d), Topic::Detections, "203.0.113.9", &id, &detection);

    let id = ThreatId::derive("t").to_string();
    let threat = json!({"threat_id": id, "severity": 8, "confidence": 0.75, "threat_actor": null, "ttps": ["T1110"],
        "campaigns": [], "timestamp": at(4), "narrative": "Guessing: ip 203.0.113.9. 1 detection about ip 203.0.113.9, \
        user root, high with 75 % confidence. It has come as far as credential-access. \
        First, at 10:00, on ip 203.0.113.9: Guessing (high)."});
    check(&stored(RecordKind::Threat, &id, &t), Topic::Threats, "203.0.113.9", &format!("{id}|4.1"), &threat);

    let run_id = RunId::derive("r").to_string();
    let response = json!({"playbook_id": "brute_force_response", "threat_id": id, "success": true,
        "actions_executed": 1, "timestamp": at(2)});
    let record = stored(RecordKind::Run, &run_id, &r);
    check(&record, Topic::Responses, "203.0.113.9", &format!("{run_id}|4.1"), &response);
    assert!(!record_value(&record).contains("secret"), "parameters stay inside");

    let refused = RefusedEvent { position: Position(7), origin: "syslog".into(), reason: "no mapping".into() };
    let letter = json!({"reason": "no mapping", "origin": "syslog", "position": 7, "value": "\u{1b}no event"});
    check(&stored(RecordKind::Refused, "7", &refused), Topic::DeadLetter, "", "log|7", &letter);
}

fn record_value(record: &StoredRecord) -> String {
    String::from_utf8(message(record, &Known).unwrap().unwrap().value).unwrap()
}

#[test]
fn only_runs_that_are_over_are_responses() {
    for (state, over) in
        [(RunState::Waiting, false), (RunState::Refused, true), (RunState::Ended, true), (RunState::RolledBack, true)]
    {
        let record = stored(RecordKind::Run, "r", &sample_run(state));
        assert_eq!(told(&record).is_some(), over, "{state:?}");
    }
    let mut stranger = sample_run(RunState::Ended);
    stranger.threat_id = ThreatId::derive("other");
    let (message, _) = told(&stored(RecordKind::Run, "r", &stranger)).unwrap();
    assert_eq!(message.key, b"198.51.100.1", "whom it touched, where the threat is not known");
}

#[test]
fn what_is_no_record_is_an_error_that_names_it() {
    let record = stored(RecordKind::Threat, "t-9", &json!({"threat_id": 1}));
    assert!(message(&record, &Known).unwrap_err().to_string().starts_with("the threat t-9 of the read model"));
}

#[test]
fn a_dead_letter_has_the_bytes_why_and_where() {
    let place = Where { topic: "security.events", partition: 3, offset: 12 };
    for (value, name, kept) in
        [(&b"{\"a\":"[..], "value", "{\"a\":"), (b"\xff\x00", "value_base64", "/wA="), (b"", "value", "")]
    {
        let message = dead_letter(place, b"k", value, "no JSON");
        let letter: Value = serde_json::from_slice(&message.value).unwrap();
        let wanted = json!({"reason": "no JSON", "topic": "security.events", "partition": 3, "offset": 12,
            "value_bytes": value.len(), name: kept});
        assert_eq!((letter, message.id.as_str(), &*message.key), (wanted, "security.events|3|12", &b"k"[..]));
    }
    // The worst case of escaping still fits a broker's default of 1 MiB.
    let message = dead_letter(place, b"", &vec![1; 10 * limits::DEAD_LETTER_BYTES_MAX], "too long");
    assert!(message.value.len() < 1_000_000, "{}", message.value.len());
    assert!(message.value.len() > limits::DEAD_LETTER_BYTES_MAX);
}
