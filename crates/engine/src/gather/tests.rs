//! Stories: a detection a line, and the threats that come of them.

use std::fmt::Write;

use vertice_model::{
    Confidence, Detection, DetectionId, Entity, EventId, Position, Principal, Severity, Tactic, Threat, ThreatState,
    Timestamp, Verdict, VerdictKind,
};

use super::Threats;
use crate::limits;

/// Each line is `SECONDS ENTITY RULE SEVERITY [tactic=…] [class=…] [spreads=…]`, `SECONDS expire`, or
/// `SECONDS judge N false_positive|benign|confirmed`, where N counts threats from 1 in the order of opening.
/// What is expected is the changed threats after each line.
#[track_caller]
fn check(story: &str, expected: &str) {
    let mut told = String::new();
    let mut threats = Threats::default();
    let mut order = Vec::new();
    for (n, line) in story.lines().map(str::trim).filter(|l| !l.is_empty()).enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let now = Timestamp::from_seconds(words[0].parse().expect("a line starts with seconds"));
        match words[1] {
            "expire" => threats.expire(now),
            "judge" => {
                let nth: usize = words[2].parse().expect("a threat by number");
                let verdict = Verdict {
                    verdict: serde_json::from_str(&format!("{:?}", words[3])).expect("a verdict"),
                    by: Principal("ana".into()),
                    at: now,
                    note: String::new(),
                };
                let known = order.get(nth - 1).is_some_and(|id| threats.judge(*id, verdict));
                if !known {
                    writeln!(told, "{}: unknown", words[0]).unwrap();
                }
            }
            _ => {
                let (mut detection, spreads) = detection(n as u64 + 1, now, &words);
                threats.gather(now, &mut detection, spreads);
            }
        }
        for threat in threats.take_changed() {
            if !order.contains(&threat.threat_id) {
                order.push(threat.threat_id);
            }
            let nth = order.iter().position(|id| *id == threat.threat_id).unwrap() + 1;
            writeln!(told, "{}: {nth} {}", words[0], shown(&threat)).unwrap();
        }
        // What is held must be found the same way after a snapshot.
        let json = serde_json::to_string(&threats).unwrap();
        assert_eq!(serde_json::from_str::<Threats>(&json).unwrap().indexed(), threats);
    }
    let trim = |t: &str| t.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("\n");
    assert_eq!(trim(&told), trim(expected));
}

fn entity(text: &str) -> Entity {
    Entity::ip(text).or_else(|| Entity::host(text)).expect("an entity")
}

fn detection(position: u64, at: Timestamp, words: &[&str]) -> (Detection, Option<Entity>) {
    let option = |name: &str| words.iter().find_map(|w| w.strip_prefix(name)?.strip_prefix('='));
    let severity: Severity = words[3].parse().unwrap();
    let detection = Detection {
        detection_id: DetectionId::derive(&position.to_string()),
        event_id: EventId::at(Position(position)),
        position: Position(position),
        earlier: Vec::new(),
        rule_id: words[2].into(),
        rule_title: words[2].into(),
        class: option("class").map(Into::into),
        is_threat: severity >= Severity::Medium,
        confidence: Confidence::new(50).unwrap(),
        severity,
        mitre_techniques: option("technique").map(|t| t.parse().unwrap()).into_iter().collect(),
        mitre_tactics: option("tactic").map(|t| Tactic::from_slug(t).unwrap()).into_iter().collect(),
        entity: entity(words[1]),
        related: Vec::new(),
        matched: Vec::new(),
        threat_id: None,
        timestamp: at,
        accepted_at: at,
        triage: None,
        suppressed_by: None,
        mapped_by: None,
    };
    (detection, option("spreads").map(entity))
}

fn shown(threat: &Threat) -> String {
    let state = match &threat.state {
        ThreatState::Open => "open",
        ThreatState::Quiet { .. } => "quiet",
        ThreatState::Judged { .. } => "judged",
        ThreatState::Merged { .. } => "merged",
    };
    let entities = threat.entities.iter().map(Entity::name).collect::<Vec<_>>().join("+");
    let stage = threat.stage.map_or("-", Tactic::as_str);
    format!("{state} {entities} {} {} x{} {stage}", threat.severity, threat.confidence.percent(), threat.detections)
}

#[test]
fn detections_of_one_entity_are_one_threat() {
    check(
        "
        1 192.0.2.1 guess medium
        2 192.0.2.1 guess medium
        3 192.0.2.2 scan low
        4 ws5 dump high
        ",
        "
        1: 1 open 192.0.2.1 medium 50 x1 -
        2: 1 open 192.0.2.1 medium 50 x2 -
        3: 2 open 192.0.2.2 low 50 x1 -
        4: 3 open ws5 high 50 x1 -
        ",
    );
}

#[test]
fn information_joins_a_threat_but_opens_none() {
    check(
        "
        1 192.0.2.1 seen info
        2 192.0.2.1 guess medium
        3 192.0.2.1 seen info
        ",
        "
        2: 1 open 192.0.2.1 medium 50 x1 -
        3: 1 open 192.0.2.1 medium 50 x2 -
        ",
    );
}

#[test]
fn independent_rules_add_confidence_and_three_tactics_raise_severity() {
    check(
        "
        1 ws5 a medium tactic=execution
        2 ws5 b high tactic=persistence
        3 ws5 c low tactic=impact
        4 ws5 d medium tactic=credential-access
        ",
        "
        1: 1 open ws5 medium 50 x1 execution
        2: 1 open ws5 high 75 x2 persistence
        3: 1 open ws5 high 75 x3 persistence
        4: 1 open ws5 critical 87 x4 credential-access
        ",
    );
}

#[test]
fn what_the_actor_takes_joins_the_threat_and_two_cases_become_one() {
    check(
        "
        1 192.0.2.1 guess medium
        2 192.0.2.1 login high spreads=web-01
        3 web-01 whoami low
        4 ws-07 service high class=lateral
        5 web-01 smb medium spreads=ws-07
        6 ws-07 dump high
        7 192.0.2.1 more low spreads=ws-07
        ",
        "
        1: 1 open 192.0.2.1 medium 50 x1 -
        2: 1 open 192.0.2.1+web-01 high 75 x2 -
        3: 1 open 192.0.2.1+web-01 high 75 x3 -
        4: 2 open ws-07 high 50 x1 -
        5: 2 merged ws-07 high 50 x1 -
        5: 1 open 192.0.2.1+web-01+ws-07 high 93 x5 -
        6: 1 open 192.0.2.1+web-01+ws-07 high 96 x6 -
        7: 1 open 192.0.2.1+web-01+ws-07 high 96 x7 -
        ",
    );
}

#[test]
fn quiet_threats_close_open_again_and_are_forgotten() {
    check(
        "
        0 192.0.2.1 guess medium
        86399 expire
        86400 expire
        86500 192.0.2.1 guess medium
        172900 expire
        777700 expire
        777701 192.0.2.1 guess medium
        ",
        "
        0: 1 open 192.0.2.1 medium 50 x1 -
        86400: 1 quiet 192.0.2.1 medium 50 x1 -
        86500: 1 open 192.0.2.1 medium 50 x2 -
        172900: 1 quiet 192.0.2.1 medium 50 x2 -
        777701: 2 open 192.0.2.1 medium 50 x1 -
        ",
    );
}

#[test]
fn a_verdict_closes_unless_it_confirms() {
    check(
        "
        1 192.0.2.1 guess medium
        2 judge 1 confirmed
        3 192.0.2.1 guess medium
        4 judge 1 false_positive
        5 judge 1 benign
        6 192.0.2.1 guess medium
        7 judge 9 benign
        ",
        "
        1: 1 open 192.0.2.1 medium 50 x1 -
        2: 1 open 192.0.2.1 medium 50 x1 -
        3: 1 open 192.0.2.1 medium 50 x2 -
        4: 1 judged 192.0.2.1 medium 50 x2 -
        5: unknown
        6: 2 open 192.0.2.1 medium 50 x1 -
        7: unknown
        ",
    );
}

#[test]
fn a_threat_tells_its_story_in_order() {
    let mut threats = Threats::default();
    let lines = [
        "20 192.0.2.1 login high technique=T1078 spreads=web-01",
        "10 192.0.2.1 guess medium technique=T1110",
        "30 192.0.2.1 guess medium technique=T1110 class=brute_force_detected",
    ];
    for (n, line) in lines.iter().enumerate() {
        let words: Vec<&str> = line.split(' ').collect();
        let at = Timestamp::from_seconds(words[0].parse().unwrap());
        let (mut d, spreads) = detection(n as u64 + 1, at, &words);
        threats.gather(at, &mut d, spreads);
        assert!(d.threat_id.is_some());
    }
    let threat = threats.take_changed().remove(0);
    assert_eq!(threats.get(threat.threat_id), Some(&threat));
    let techniques: Vec<_> = threat.techniques.iter().map(|t| t.technique.as_str()).collect();
    assert_eq!(techniques, ["T1110", "T1078"]);
    assert_eq!(threat.title, "login: ip 192.0.2.1 and 1 more");
    assert_eq!(
        threat.narrative,
        "First, at 1970-01-01T00:00:10Z, on ip 192.0.2.1: guess (medium, 2 times). \
         Then, at 1970-01-01T00:00:20Z, on ip 192.0.2.1: login (high)."
    );
    assert_eq!((threat.first_seen, threat.last_seen), (Timestamp::from_seconds(10), Timestamp::from_seconds(30)));
    assert!(threat.classes.contains("brute_force_detected"));
    assert_eq!(threats.next_due(), Some(Timestamp::from_seconds(30 + limits::THREAT_QUIET_S as i64)));
}

#[test]
fn everything_about_a_threat_is_bounded() {
    let mut threats = Threats::default();
    let at = Timestamp::from_seconds(1);
    for n in 0..400_u64 {
        let rule = format!("rule-{n}");
        let technique = format!("technique=T{:04}", n);
        let words = ["1", "192.0.2.1", &rule, "medium", &technique, &format!("class=c{n}")];
        let (mut d, _) = detection(n + 1, at, &words);
        threats.gather(at, &mut d, Entity::host(&format!("h{n}")));
    }
    let threat = threats.take_changed().pop().unwrap();
    assert_eq!(threat.entities.len(), limits::THREAT_ENTITIES_MAX);
    assert_eq!(threat.rules.len(), limits::THREAT_RULES_MAX);
    assert_eq!(threat.techniques.len(), limits::THREAT_TECHNIQUES_MAX);
    assert_eq!(threat.classes.len(), limits::THREAT_CLASSES_MAX);
    assert_eq!(threat.latest.len(), limits::THREAT_LATEST_MAX);
    assert_eq!(threat.detections, 400);
    assert!(threat.narrative.ends_with("116 more rules matched after that."));
}

#[test]
fn beyond_the_limit_the_oldest_threat_makes_room() {
    let mut threats = Threats::default();
    for n in 0..=limits::THREATS_MAX as u64 {
        let at = Timestamp::from_seconds(n as i64);
        let (mut d, _) = detection(n + 1, at, &["", &format!("h{n}"), "r", "low"]);
        threats.gather(at, &mut d, None);
    }
    let changed = threats.take_changed();
    assert!(matches!(changed[0].state, ThreatState::Quiet { .. }));
    assert_eq!(changed[0].entities[0].name(), "h0");
    assert_eq!(changed.len(), limits::THREATS_MAX + 1);
    assert!(threats.get(changed[0].threat_id).is_none());
    assert_eq!(threats.crowded_out(), 1);
}

#[test]
fn verdicts_are_named_as_in_the_api() {
    for (kind, word) in [
        (VerdictKind::Confirmed, "\"confirmed\""),
        (VerdictKind::FalsePositive, "\"false_positive\""),
        (VerdictKind::Benign, "\"benign\""),
    ] {
        assert_eq!(serde_json::to_string(&kind).unwrap(), word);
    }
}
