//! A judged hit.

use serde::{Deserialize, Serialize};

use crate::{
    Confidence, DetectionId, Entity, EventId, Position, Severity, SuppressionId, Tactic, Technique, ThreatId,
    Timestamp, Triage,
};

/// A judged hit: a rule matched, and this is how bad and how sure. The `defense.detections` record.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Detection {
    /// Derived from the event and the rule.
    pub detection_id: DetectionId,
    /// The event that completed it.
    pub event_id: EventId,
    /// Where that event stands in the log.
    pub position: Position,
    /// The earlier events that a correlation counted, oldest first; at most 64 of them, the latest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Position>,
    /// The rule's `id`; its title where it has none.
    pub rule_id: String,
    /// The rule's title.
    pub rule_title: String,
    /// The class that playbooks wait for, such as `brute_force_detected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Whether it is bad enough to need somebody's attention: `medium` or worse.
    pub is_threat: bool,
    /// How sure the rule is.
    pub confidence: Confidence,
    /// How bad it is if true.
    pub severity: Severity,
    /// ATT&CK techniques, as the rule names them; where it names none and `mapped_by` is set, those that its words
    /// suggest.
    pub mitre_techniques: Vec<Technique>,
    /// ATT&CK tactics, as the rule names them.
    pub mitre_tactics: Vec<Tactic>,
    /// Who or what it is about.
    #[serde(flatten)]
    pub entity: Entity,
    /// Who else it is about: the host it happened on, the account that was used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Entity>,
    /// Why the rule matched: the conditions that held, and the values they held of.
    pub matched: Vec<Matched>,
    /// The threat it belongs to; none for what is merely informational and belongs to no open one.
    pub threat_id: Option<ThreatId>,
    /// When it happened: the time of the event that completed it.
    pub timestamp: Timestamp,
    /// When the event that completed it was accepted, by our clock; from there its latency counts.
    pub accepted_at: Timestamp,
    /// How urgent it is for a person to look at; `None` of a record from before that was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub triage: Option<Triage>,
    /// The suppression that kept it from opening a threat, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppressed_by: Option<SuppressionId>,
    /// Who named its techniques, if not the rule: `mapper`. Then they are suggestions, and no part of its threat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapped_by: Option<String>,
}

impl Detection {
    /// The techniques that the rule itself names: all that may be reasoned from. None where others named them.
    #[must_use]
    pub fn tagged(&self) -> &[Technique] {
        if self.mapped_by.is_some() { &[] } else { &self.mitre_techniques }
    }
}

/// One condition of a rule that held, and the value it held of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Matched {
    /// The named selection of the rule, such as `selection_img`.
    pub selection: String,
    /// The field with its modifiers, such as `CommandLine|contains`; empty for a keyword.
    pub field: String,
    /// What the rule wanted, as written in the rule.
    pub wanted: String,
    /// What the event said, cut after 512 characters.
    pub value: String,
}
