//! How a detection, or a whole other threat, becomes part of a threat.

use vertice_model::{
    Confidence, Detection, RuleSeen, Severity, Tactic, TechniqueSeen, Threat, ThreatId, ThreatState, Timestamp,
};

use super::story;
use crate::limits;

/// Tactics that must be seen together for a threat to be one step worse than its worst detection.
const TACTICS_TO_RAISE: usize = 3;

/// A new threat for this detection, which has not joined it yet.
pub(super) fn opened(now: Timestamp, id: ThreatId, detection: &Detection) -> Threat {
    Threat {
        threat_id: id,
        state: ThreatState::Open,
        title: String::new(),
        entities: vec![detection.entity.clone()],
        severity: Severity::Info,
        confidence: detection.confidence,
        classes: [].into(),
        techniques: Vec::new(),
        tactics: [].into(),
        stage: None,
        rules: Vec::new(),
        detections: 0,
        latest: Vec::new(),
        positions: (detection.position, detection.position),
        first_seen: detection.timestamp,
        last_seen: detection.timestamp,
        opened_at: now,
        updated_at: now,
        absorbed: Vec::new(),
        reopened: 0,
        verdict: None,
        narrative: String::new(),
        attention: Severity::Info,
        suggested: vertice_model::Raised::default(),
        triage: None,
    }
}

/// The detection becomes part of the threat.
pub(super) fn join(now: Timestamp, threat: &mut Threat, detection: &Detection) {
    let first = detection.earlier.first().copied().unwrap_or(detection.position).min(detection.position);
    threat.positions = (threat.positions.0.min(first), threat.positions.1.max(detection.position));
    threat.first_seen = threat.first_seen.min(detection.timestamp);
    threat.last_seen = threat.last_seen.max(detection.timestamp);
    threat.updated_at = now;
    threat.detections += 1;
    remember_latest(threat, [detection.detection_id]);
    if let Some(class) = &detection.class
        && threat.classes.len() < limits::THREAT_CLASSES_MAX
    {
        threat.classes.insert(class.clone());
    }
    // What only its words suggest is no part of it, for playbooks have conditions over these.
    for technique in detection.tagged() {
        see_technique(threat, &TechniqueSeen { technique: technique.clone(), first_seen: detection.timestamp });
    }
    // What is below `medium` is seen on healthy hosts every day; it must not make a kill chain.
    if detection.is_threat {
        threat.tactics.extend(&detection.mitre_tactics);
    }
    see_rule(threat, seen(detection));
    grade(threat);
}

/// The other threat's detections become part of this one.
pub(super) fn absorb(now: Timestamp, threat: &mut Threat, other: &Threat) {
    threat.state = ThreatState::Open;
    threat.updated_at = now;
    threat.positions = (threat.positions.0.min(other.positions.0), threat.positions.1.max(other.positions.1));
    threat.first_seen = threat.first_seen.min(other.first_seen);
    threat.last_seen = threat.last_seen.max(other.last_seen);
    threat.detections += other.detections;
    remember_latest(threat, other.latest.iter().copied());
    for entity in &other.entities {
        if threat.entities.len() < limits::THREAT_ENTITIES_MAX && !threat.entities.contains(entity) {
            threat.entities.push(entity.clone());
        }
    }
    let room = limits::THREAT_CLASSES_MAX.saturating_sub(threat.classes.len());
    threat.classes.extend(other.classes.iter().take(room).cloned());
    threat.tactics.extend(&other.tactics);
    other.techniques.iter().for_each(|t| see_technique(threat, t));
    other.rules.iter().for_each(|r| see_rule(threat, r.clone()));
    let merged = other.absorbed.iter().copied().chain([other.threat_id]);
    threat.absorbed.extend(merged.take(limits::THREAT_ABSORBED_MAX.saturating_sub(threat.absorbed.len())));
    grade(threat);
}

fn remember_latest(threat: &mut Threat, ids: impl IntoIterator<Item = vertice_model::DetectionId>) {
    threat.latest.extend(ids);
    let too_many = threat.latest.len().saturating_sub(limits::THREAT_LATEST_MAX);
    threat.latest.drain(..too_many);
}

fn see_technique(threat: &mut Threat, seen: &TechniqueSeen) {
    let room = threat.techniques.len() < limits::THREAT_TECHNIQUES_MAX;
    match threat.techniques.iter_mut().find(|t| t.technique == seen.technique) {
        Some(known) => known.first_seen = known.first_seen.min(seen.first_seen),
        None if room => threat.techniques.push(seen.clone()),
        None => {}
    }
    threat.techniques.sort_by_key(|t| t.first_seen);
}

fn seen(detection: &Detection) -> RuleSeen {
    RuleSeen {
        rule_id: detection.rule_id.clone(),
        rule_title: detection.rule_title.clone(),
        severity: detection.severity,
        confidence: detection.confidence,
        entity: detection.entity.clone(),
        first_seen: detection.timestamp,
        detections: 1,
    }
}

fn see_rule(threat: &mut Threat, seen: RuleSeen) {
    let room = threat.rules.len() < limits::THREAT_RULES_MAX;
    match threat.rules.iter_mut().find(|r| r.rule_id == seen.rule_id) {
        Some(known) => {
            known.detections += seen.detections;
            known.severity = known.severity.max(seen.severity);
            known.first_seen = known.first_seen.min(seen.first_seen);
        }
        None if room => threat.rules.push(seen),
        None => {}
    }
    threat.rules.sort_by_key(|r| r.first_seen);
}

/// Severity, confidence, stage and words, from what the threat has.
fn grade(threat: &mut Threat) {
    let worst = threat.rules.iter().map(|r| r.severity).max().unwrap_or_default();
    threat.severity = if threat.tactics.len() >= TACTICS_TO_RAISE { worst.raised() } else { worst };
    // Two rules of the worst kind are more evidence than one; thirty informational ones are not.
    let weighty = worst.min(Severity::Medium);
    threat.confidence = threat
        .rules
        .iter()
        .filter(|r| r.severity >= weighty)
        .map(|r| r.confidence)
        .reduce(Confidence::and)
        .unwrap_or(threat.confidence);
    threat.stage = threat.tactics.iter().copied().max_by_key(Tactic::clone);
    threat.title = story::title(threat);
    threat.narrative = story::narrative(threat);
}
