//! The case: the detections of one actor or entity over time.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    Confidence, DetectionId, Entity, Position, Raised, Severity, Tactic, Technique, ThreatId, Timestamp, Triage,
};

/// The detections of one actor or entity over time.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Threat {
    /// Derived from the detection that opened it.
    pub threat_id: ThreatId,
    /// Whether it is open, and if not, why.
    pub state: ThreatState,
    /// A line for a list: what, by or on whom.
    pub title: String,
    /// Who it is about, first the entity that it was opened for, then what it has spread to.
    pub entities: Vec<Entity>,
    /// The worst of its detections, one step worse once they span three tactics.
    pub severity: Severity,
    /// The confidence of its rules together, each rule counted once.
    pub confidence: Confidence,
    /// The detection classes seen, such as `brute_force_detected`.
    pub classes: BTreeSet<String>,
    /// Techniques in the order in which they were first seen.
    pub techniques: Vec<TechniqueSeen>,
    /// Tactics seen, in the order of the kill chain.
    pub tactics: BTreeSet<Tactic>,
    /// The furthest tactic along the kill chain.
    pub stage: Option<Tactic>,
    /// The rules that gave its detections, in the order in which they first did.
    pub rules: Vec<RuleSeen>,
    /// How many detections it has in all.
    pub detections: u64,
    /// The latest of them, oldest first, at most 64; the others are found by the threat's id.
    pub latest: Vec<DetectionId>,
    /// Where its first and its last event stand in the log.
    pub positions: (Position, Position),
    /// The time of its earliest event.
    pub first_seen: Timestamp,
    /// The time of its latest event.
    pub last_seen: Timestamp,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// The threats that turned out to be one with this one; their detections are its own.
    pub absorbed: Vec<ThreatId>,
    /// How often it was opened again after it had been closed for quiet.
    pub reopened: u32,
    /// What a person said of it, the latest.
    pub verdict: Option<Verdict>,
    /// What happened so far, in sentences.
    pub narrative: String,
    /// How much attention it deserves: its severity, or more where an opinion asked for more. Never less. A record
    /// from before it was kept has `info`.
    #[serde(default)]
    pub attention: Severity,
    /// What opinions of language models added to it.
    #[serde(default, skip_serializing_if = "Raised::is_empty")]
    pub suggested: Raised,
    /// How urgent it is for a person to look at; `None` of a record from before that was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub triage: Option<Triage>,
}

impl Threat {
    /// Shows what opinions added, and nothing else of them: the attention that it is given is never less than its
    /// severity.
    pub fn show(&mut self, suggested: Raised) {
        self.attention = suggested.attention(self.severity);
        self.suggested = suggested;
    }
}

/// Whether a threat is open, and if not, why.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum ThreatState {
    /// Detections may still join it.
    Open,
    /// Nothing more came for the quiet time. A further detection opens it again.
    Quiet {
        /// When it was closed.
        at: Timestamp,
    },
    /// A person judged it. A further detection opens a new threat.
    Judged {
        /// When it was closed.
        at: Timestamp,
    },
    /// It turned out to be one with an older threat, which has its detections now.
    Merged {
        /// The older one.
        into: ThreatId,
        /// When it was merged.
        at: Timestamp,
    },
}

/// A rule, and what it gave a threat.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
pub struct RuleSeen {
    /// The rule's id.
    pub rule_id: String,
    /// The rule's title.
    pub rule_title: String,
    /// How bad its worst detection was.
    pub severity: Severity,
    /// How sure it is.
    pub confidence: Confidence,
    /// Whom its first detection was about.
    #[serde(flatten)]
    pub entity: Entity,
    /// The time of the first event it matched.
    pub first_seen: Timestamp,
    /// How many detections it gave.
    pub detections: u64,
}

/// A technique, and when it was first seen.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
pub struct TechniqueSeen {
    /// Which.
    pub technique: Technique,
    /// The time of the first event that showed it.
    pub first_seen: Timestamp,
}

/// A person's judgement of a threat.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Verdict {
    /// What it is.
    pub verdict: VerdictKind,
    /// Who said so.
    pub by: Principal,
    /// When.
    pub at: Timestamp,
    /// Why, in their words.
    #[serde(default)]
    pub note: String,
}

/// What a person judges a threat to be.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// It is what it seems.
    Confirmed,
    /// It is nothing of the kind.
    FalsePositive,
    /// It is what it seems, and allowed: a test, an administrator at work.
    Benign,
}

/// Who did something: a person by the name of their API key, or a part of Vertice.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
pub struct Principal(pub String);

impl std::fmt::Display for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}
