//! A threat in short form: `CLASS SEVERITY CONFIDENCE key=value …`.

use vertice_model::{Confidence, Entity, Position, Tactic, TechniqueSeen, Threat, ThreatId, ThreatState, Timestamp};

/// The time at which every story begins.
pub(in crate::decide) fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// The id of the threat of a name.
pub(in crate::decide) fn threat_id(name: &str) -> ThreatId {
    ThreatId::derive(name)
}

/// Reads a threat such as `brute_force_detected high 0.9 ip=203.0.113.9 technique=T1110`. A class `-` is none.
pub(in crate::decide) fn threat(text: &str) -> Threat {
    let mut words = text.split_whitespace();
    let class = words.next().expect("a class");
    let severity = words.next().expect("a severity").parse().expect("a severity");
    let confidence = words.next().and_then(|w| w.parse().ok()).and_then(Confidence::from_ratio).expect("a confidence");
    let mut threat = Threat {
        threat_id: threat_id("1"),
        state: ThreatState::Open,
        title: "a threat".to_owned(),
        entities: Vec::new(),
        severity,
        confidence,
        classes: class.split(',').filter(|c| *c != "-").map(str::to_owned).collect(),
        techniques: Vec::new(),
        tactics: std::collections::BTreeSet::new(),
        stage: None,
        rules: Vec::new(),
        detections: 1,
        latest: Vec::new(),
        absorbed: Vec::new(),
        positions: (Position(1), Position(1)),
        first_seen: start(),
        last_seen: start(),
        opened_at: start(),
        updated_at: start(),
        reopened: 0,
        verdict: None,
        narrative: String::new(),
    };
    for word in words {
        let (key, value) = word.split_once('=').expect("key=value");
        match key {
            "ip" => threat.entities.push(Entity::ip(value).expect("an address")),
            "host" => threat.entities.push(Entity::host(value).expect("a host")),
            "user" => threat.entities.push(Entity::user(value).expect("an account")),
            "technique" => {
                threat.techniques.push(TechniqueSeen { technique: value.parse().unwrap(), first_seen: start() });
            }
            "tactic" => _ = threat.tactics.insert(Tactic::from_slug(value).expect("a tactic")),
            "detections" => threat.detections = value.parse().unwrap(),
            "reopened" => threat.reopened = value.parse().unwrap(),
            "title" => threat.title = value.replace('_', " "),
            "id" => threat.threat_id = threat_id(value),
            _ => panic!("{key} is nothing of a threat"),
        }
    }
    threat.stage = threat.tactics.last().copied();
    threat
}
