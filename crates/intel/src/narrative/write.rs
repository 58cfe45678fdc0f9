//! The narrative that a template writes, for when no model does.

use std::collections::BTreeSet;

use vertice_model::{Detection, Entity, EntityKind, Threat};

use super::{Exhibit, Sentence, claims, quotable};
use crate::limits;

/// The exhibits of a threat: itself, and each of its detections.
#[must_use]
pub fn exhibits(threat: &Threat, detections: &[Detection]) -> Vec<Exhibit> {
    let mut of_threat = Exhibit { id: threat.threat_id.to_string(), ..Exhibit::default() };
    threat.entities.iter().for_each(|e| of_threat.name(e));
    of_threat
        .names
        .extend([&threat.title].into_iter().chain(threat.rules.iter().map(|r| &r.rule_title)).map(|n| quotable(n)));
    of_threat.techniques.extend(threat.techniques.iter().map(|t| t.technique.clone()));
    let sizes = [threat.entities.len(), threat.techniques.len(), threat.tactics.len(), threat.rules.len()];
    of_threat.counts.extend(sizes.map(|n| n as u64));
    of_threat.counts.extend([threat.detections, u64::from(threat.confidence.percent()), u64::from(threat.reopened)]);
    of_threat.counts.extend(threat.rules.iter().map(|r| r.detections));
    of_threat.times.extend([threat.first_seen, threat.last_seen, threat.opened_at, threat.updated_at]);
    of_threat.times.extend(threat.rules.iter().map(|r| r.first_seen));
    of_threat.times.extend(threat.techniques.iter().map(|t| t.first_seen));
    [of_threat].into_iter().chain(detections.iter().map(of_detection)).collect()
}

fn of_detection(detection: &Detection) -> Exhibit {
    let mut exhibit = Exhibit { id: detection.detection_id.to_string(), ..Exhibit::default() };
    [&detection.entity].into_iter().chain(&detection.related).for_each(|e| exhibit.name(e));
    exhibit.names.insert(quotable(&detection.rule_title));
    exhibit.techniques.extend(detection.mitre_techniques.iter().cloned());
    exhibit.counts.extend([detection.earlier.len() as u64, u64::from(detection.confidence.percent())]);
    exhibit.times.extend([detection.timestamp, detection.accepted_at]);
    for matched in &detection.matched {
        exhibit.value(&matched.value);
    }
    exhibit
}

impl Exhibit {
    /// What an event says in a field: it may be quoted as a name, and the addresses and hashes in it may be named.
    pub fn value(&mut self, value: &str) {
        self.names.insert(quotable(value));
        for word in value.split(|c: char| c.is_whitespace() || "=,;|\"'".contains(c)) {
            self.addresses.extend(word.parse::<std::net::IpAddr>().ok().map(|a| a.to_canonical()));
            if claims::is_hash(word) {
                self.hashes.insert(word.to_lowercase());
            }
        }
    }

    /// Whom it is about: addresses are addresses; hosts and accounts are names.
    pub fn name(&mut self, entity: &Entity) {
        match entity.kind() {
            EntityKind::Ip => self.addresses.extend(entity.name().parse::<std::net::IpAddr>().ok()),
            EntityKind::Host | EntityKind::User => {
                self.names.insert(quotable(entity.name()));
            }
        }
    }
}

/// Writes what happened, from the threat and its detections (oldest first), each sentence with what it rests on.
///
/// [`super::check`] accepts it always.
#[must_use]
pub fn narrate(threat: &Threat, detections: &[Detection]) -> Vec<Sentence> {
    let id = || vec![threat.threat_id.to_string()];
    let mut all = Vec::new();
    let about: Vec<String> = threat.entities.iter().take(limits::NARRATED_MAX).map(shown).collect();
    let of = if threat.entities.len() > about.len() {
        format!(", of {} entities in all", threat.entities.len())
    } else {
        String::new()
    };
    all.push(Sentence {
        text: format!(
            "Between {} and {} there {} about {}{of}, of {} severity and {} percent confidence",
            threat.first_seen,
            threat.last_seen,
            match threat.detections {
                1 => "was 1 detection".to_owned(),
                many => format!("were {many} detections"),
            },
            if about.is_empty() { "nobody".to_owned() } else { about.join(", ") },
            threat.severity.as_str(),
            threat.confidence.percent(),
        ),
        cites: id(),
    });
    for rule in threat.rules.iter().take(limits::NARRATED_MAX) {
        let title = quotable(&rule.rule_title);
        let text = format!("The rule \"{title}\" gave {} of them from {} on", rule.detections, rule.first_seen);
        all.push(Sentence { text, cites: id() });
    }
    if !threat.techniques.is_empty() {
        let named: Vec<&str> =
            threat.techniques.iter().take(limits::NARRATED_MAX).map(|t| t.technique.as_str()).collect();
        let text = match threat.techniques.len() {
            1 => format!("The technique seen was {}", named.join(", ")),
            many => format!("Of {many} techniques the first seen were {}", named.join(", ")),
        };
        all.push(Sentence { text, cites: id() });
    }
    if let Some(stage) = threat.stage {
        let text = format!("The furthest tactic reached is {}", stage.as_str().replace('-', " "));
        all.push(Sentence { text, cites: id() });
    }
    all.extend(detections.iter().rev().take(limits::NARRATED_MAX).rev().map(told));
    all
}

fn told(detection: &Detection) -> Sentence {
    let related: BTreeSet<String> = detection.related.iter().take(limits::NARRATED_MAX).map(shown).collect();
    let with = related.into_iter().collect::<Vec<_>>().join(", ");
    let with = if with.is_empty() { with } else { format!(" with {with}") };
    let techniques: Vec<&str> =
        detection.mitre_techniques.iter().take(limits::NARRATED_MAX).map(|t| t.as_str()).collect();
    let shows = match &detection.mapped_by {
        _ if techniques.is_empty() => String::new(),
        None => format!(", which shows {}", techniques.join(", ")),
        Some(_) => format!(", the words of which suggest {}", techniques.join(", ")),
    };
    let title = quotable(&detection.rule_title);
    let text = format!(
        "At {} the rule \"{title}\" matched about {}{with}{shows}",
        detection.timestamp,
        shown(&detection.entity)
    );
    Sentence { text, cites: vec![detection.detection_id.to_string()] }
}

/// Addresses as they are, names in quotes.
fn shown(entity: &Entity) -> String {
    match entity.kind() {
        EntityKind::Ip => entity.name().to_owned(),
        EntityKind::Host => format!("the host \"{}\"", quotable(entity.name())),
        EntityKind::User => format!("the account \"{}\"", quotable(entity.name())),
    }
}
