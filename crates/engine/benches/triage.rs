//! What deterministic triage costs a detection when it remembers as much as it may, and how much memory the questions
//! take that wait for a language model, each as large as it can be.
//!
//! Run: `cargo bench --profile quick -p vertice-engine --bench triage`.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use vertice_engine::cases::play;
use vertice_engine::triage::{Consult, Triage};
use vertice_engine::{Content, ContentFile, Role, limits};
use vertice_model::{
    Consultation, ConsultationId, Context, Detection, Entity, Evidence, Moment, Posterior, Similar, Threat, ThreatId,
    Timestamp, Verdict, VerdictKind,
};

const RULE: &str = "title: An attack\nid: 00000000-0000-4000-8000-000000000100\nstatus: stable\n\
    logsource: {product: vertice}\nlevel: high\ndetection: {s: {event.action: attack}, condition: s}\n";

const ROUNDS: usize = 100_000;

fn main() {
    let (detection, threat) = played();
    let now = detection.timestamp;
    let mut triage = full(&detection, &threat);
    let at = |n: usize| {
        let mut detection = detection.clone();
        detection.rule_id = format!("rule {}", n * 7 % limits::RULES_JUDGED_MAX);
        detection.entity = Entity::host(&format!("host {}", n % 4)).expect("a name");
        detection.threat_id = Some(ThreatId::derive(&format!("threat {}", n % (2 * limits::TOLD_THREATS_MAX))));
        let mut threat = threat.clone();
        threat.threat_id = detection.threat_id.expect("it was given");
        (detection, threat)
    };
    let mut took: Vec<Duration> = (0..ROUNDS)
        .map(|n| {
            let (mut detection, mut threat) = at(n);
            let begun = Instant::now();
            triage.see(&mut detection, (1, 3));
            let suppressed = triage.suppress(now, &mut detection);
            triage.remember(&detection);
            let asked = triage.ask(now, &threat, &[]);
            triage.show(&mut threat);
            let took = begun.elapsed();
            assert!(!suppressed && threat.triage.is_some(), "it was triaged");
            drop(asked);
            took
        })
        .collect();
    took.sort();
    let ms = |permille: usize| took[(ROUNDS * permille / 1_000).min(ROUNDS - 1)].as_secs_f64() * 1_000.0;
    println!(
        "triage of a detection and its threat, {} rules and {} pairs judged: {ROUNDS} detections, p50 {:.4} ms, p99 {:.4} ms, \
         worst {:.4} ms",
        limits::RULES_JUDGED_MAX,
        limits::ENTITIES_JUDGED_MAX,
        ms(500),
        ms(990),
        ms(1_000)
    );
    memory(&detection, &threat);
}

/// A detection and its threat, as the engine makes them.
fn played() -> (Detection, Threat) {
    let mapping = include_str!("../../../content/mappings/vertice.yml");
    let content = Content::compile(vec![
        ContentFile { path: "rules/attack.yml".into(), text: RULE.into() },
        ContentFile { path: "mappings/vertice.yml".into(), text: mapping.into() },
    ]);
    assert!(content.refused.is_empty(), "{:?}", content.refused);
    let line = r#"{"event_id":"1","timestamp":"2026-03-01T10:00:00Z","source":"endpoint","event_type":"attack","source_ip":"203.0.113.9"}"#;
    let now = "2026-03-01T12:00:00Z".parse().expect("a time");
    let mut played = play(&Arc::new(content), now, [line]);
    let threat = played.threats.pop_first().expect("a threat").1;
    (played.detections.remove(0), threat)
}

/// What remembers as many rules, pairs and verdicts as it may.
fn full(detection: &Detection, threat: &Threat) -> Triage {
    let mut triage = Triage::default();
    let by = vertice_model::Principal("ana".to_owned());
    let said = Verdict { verdict: VerdictKind::FalsePositive, by, at: detection.timestamp, note: String::new() };
    let mut judged = threat.clone();
    for n in 0..limits::RULES_JUDGED_MAX {
        let mut detection = detection.clone();
        detection.rule_id = format!("rule {n}");
        triage.see(&mut detection, (1, 3));
        judged.rules[0].rule_id = detection.rule_id;
        for on in 0..limits::ENTITIES_JUDGED_MAX.div_ceil(limits::RULES_JUDGED_MAX) {
            judged.threat_id = ThreatId::derive(&format!("{n} {on}"));
            judged.entities = vec![Entity::host(&format!("host {on}")).expect("a name")];
            judged.rules[0].entity = judged.entities[0].clone();
            let told = triage.judged(&judged, &said);
            triage.judge(said.at, &told, Role::Alone);
        }
    }
    triage
}

/// A question as large as the engine can make one: every text as long as it may be, of characters of four bytes.
fn largest(detection: &Detection, threat: &Threat) -> Consult {
    let long = "\u{1f512}".repeat(limits::TOLD_VALUE_CHARS_MAX);
    let entity = Entity::host(&long).expect("a name");
    let technique = "T1110.001".parse::<vertice_model::Technique>().expect("a technique");
    let techniques = vec![technique; limits::TOLD_LIST_MAX];
    let moment = |n: usize| Moment {
        cite: format!("E{n}"),
        detection_id: detection.detection_id,
        position: detection.position,
        at: detection.timestamp,
        rule_title: long.clone(),
        severity: detection.severity,
        entity: entity.clone(),
        techniques: techniques.clone(),
        fields: vec![(long.clone(), long.clone()); limits::TOLD_FIELDS_MAX],
    };
    let similar = Similar {
        threat_id: threat.threat_id,
        verdict: VerdictKind::Confirmed,
        at: detection.timestamp,
        rules: vec![detection.rule_id.clone(); limits::TOLD_LIST_MAX],
    };
    let timeline: Vec<Moment> = (0..limits::TOLD_MOMENTS_MAX).map(moment).collect();
    let evidence = |m: &Moment| Evidence { cite: m.cite.clone(), detection_id: m.detection_id, position: m.position };
    let consultation = Consultation {
        left_out: Vec::new(),
        consultation_id: ConsultationId::derive("largest"),
        threat_id: threat.threat_id,
        reason: vertice_model::AskReason::Severe,
        revision: 1,
        severity: threat.severity,
        evidence: timeline.iter().map(evidence).collect(),
        asked_at: Timestamp::default(),
        expires_at: Timestamp::default(),
        state: vertice_model::ConsultationState::Asked,
        opinion: None,
        model: String::new(),
        usage: vertice_model::Usage::default(),
        closed_at: None,
    };
    let context = Context {
        title: long.clone(),
        severity: threat.severity,
        confidence: threat.confidence,
        detections: threat.detections,
        techniques,
        stage: threat.stage,
        entities: vec![entity; limits::TOLD_LIST_MAX],
        timeline,
        false_positive: Posterior {
            mean: 0.5,
            lower: 0.1,
            upper: 0.9,
            false_positives: 1,
            confirmed: 1,
            of_entity: true,
        },
        similar: vec![similar; limits::TOLD_LIST_MAX],
        playbooks: vec![
            ("p".repeat(limits::PLAYBOOK_ID_BYTES_MAX), "p".repeat(limits::PLAYBOOK_TEXT_BYTES_MAX));
            limits::TOLD_LIST_MAX
        ],
    };
    Consult { consultation, context }
}

/// Fills a queue as the rim has one, and looks how much memory this program has before and after.
fn memory(detection: &Detection, threat: &Threat) {
    let largest = largest(detection, threat);
    let all = limits::CONSULTATIONS_WAITING_MAX;
    let (queue, waiting) = sync_channel::<Box<Consult>>(all);
    let before = resident_kib();
    for _ in 0..all {
        queue.try_send(Box::new(largest.clone())).expect("there is room");
    }
    let took = resident_kib().saturating_sub(before);
    assert!(queue.try_send(Box::new(largest)).is_err(), "more do not wait");
    println!(
        "{all} questions of the largest size wait: {:.0} MiB, {} KiB each",
        took as f64 / 1024.0,
        took / all as u64
    );
    drop(waiting);
}

/// Resident memory of this process, in KiB (`VmRSS` of proc(5)).
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("it is there");
    line.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number")
}
