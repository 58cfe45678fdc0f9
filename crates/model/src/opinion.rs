//! What a language model is asked about a threat, what it answered, and how much of that counts.
//!
//! A model reads what attackers wrote, so what it says is not believed, only shown. [`Raised`] is the whole of what an
//! opinion can change: it has no way down, and it has no part of a threat's severity, confidence, state, or responses.

use serde::{Deserialize, Serialize};

use crate::{
    Confidence, ConsultationId, DetectionId, Entity, Position, Principal, Severity, SuppressionId, Tactic, Technique,
    ThreatId, Timestamp, VerdictKind, limits,
};

/// A question to a language model about a threat, and what became of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Consultation {
    /// Derived from the threat, the reason, and how often it was asked about before.
    pub consultation_id: ConsultationId,
    /// What it is about.
    pub threat_id: ThreatId,
    /// Why it is asked.
    pub reason: AskReason,
    /// The how many-th question about this threat it is, from 1.
    pub revision: u32,
    /// How bad the threat was when it was asked.
    pub severity: Severity,
    /// What an answer may cite. One that cites anything else is refused.
    pub evidence: Vec<Evidence>,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// When it is too late to answer.
    pub expires_at: Timestamp,
    /// What became of it.
    pub state: ConsultationState,
    /// The answer, cleaned, if it was taken.
    pub opinion: Option<Opinion>,
    /// Sentences of the answer that were left out of the opinion, for they say what is not in the evidence they cite.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// Which model answered, as the configuration names it; empty until one did.
    pub model: String,
    /// What the answer took.
    pub usage: Usage,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
}

/// Why a threat is worth a question.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AskReason {
    /// It is `high` or worse.
    Severe,
    /// A rule of it never matched before.
    New,
    /// Its rules are not sure, or people judged them one way as often as the other.
    Uncertain,
}

impl AskReason {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            AskReason::Severe => "severe",
            AskReason::New => "new",
            AskReason::Uncertain => "uncertain",
        }
    }
}

/// A detection that an answer may cite.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Evidence {
    /// What it is cited by, such as `E3`.
    pub cite: String,
    /// Which detection it is.
    pub detection_id: DetectionId,
    /// Where its event stands in the log.
    pub position: Position,
}

/// A sentence of an answer that is not shown, and why.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
pub struct LeftOut {
    /// Which of the answer's sentences, from 1.
    pub sentence: u32,
    /// What of it is not in the evidence that it cites, in words.
    pub why: String,
}

/// What became of a consultation.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum ConsultationState {
    /// It waits for an answer. Nothing waits for it.
    Asked,
    /// The answer was taken.
    Answered,
    /// The answer was not taken.
    Refused {
        /// Why.
        why: String,
    },
    /// The answer shows that it was the logs that gave it.
    Hijacked {
        /// What shows it.
        signs: String,
    },
    /// No model was asked.
    Skipped {
        /// Why.
        why: String,
    },
    /// No answer came in time.
    Expired,
}

impl ConsultationState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            ConsultationState::Asked => "asked",
            ConsultationState::Answered => "answered",
            ConsultationState::Refused { .. } => "refused",
            ConsultationState::Hijacked { .. } => "hijacked",
            ConsultationState::Skipped { .. } => "skipped",
            ConsultationState::Expired => "expired",
        }
    }

    /// What is to be said of it beside its word.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            ConsultationState::Asked | ConsultationState::Answered | ConsultationState::Expired => "",
            ConsultationState::Refused { why } | ConsultationState::Skipped { why } => why,
            ConsultationState::Hijacked { signs } => signs,
        }
    }
}

/// What came of asking a model, before the engine judged it. The log keeps it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Reply {
    /// It answered in the shape that was asked for.
    Opinion(Opinion),
    /// It answered, and the answer can not be read.
    Unreadable(String),
    /// The answer shows signs that the logs, and not the question, were followed.
    Hijacked(String),
    /// No model was asked: none is configured, the budget is spent, the queue is full, the provider is down.
    Skipped(String),
}

/// What an answer took.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Usage {
    /// Tokens of the question.
    pub input_tokens: u64,
    /// Tokens of the answer.
    pub output_tokens: u64,
    /// What it cost, in millionths of a US dollar; 0 where no price is known.
    pub cost_micro_usd: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Whether it came from the cache.
    pub cached: bool,
}

/// What a language model says of a threat. It is shown; what it can change is [`Raised`].
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Opinion {
    /// What it takes the threat for.
    pub assessment: Assessment,
    /// How much attention it deserves.
    pub attention: Severity,
    /// Techniques that it sees in the evidence.
    pub techniques: Vec<Technique>,
    /// Playbooks that a person might start, by id.
    pub playbooks: Vec<String>,
    /// What happened, a sentence each, with what shows it.
    pub sentences: Vec<Sentence>,
    /// Why it may be a false positive.
    pub false_positive_reason: Option<String>,
}

/// What a model takes a threat for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Assessment {
    /// An attack.
    LikelyMalicious,
    /// It can not tell.
    #[default]
    Uncertain,
    /// Nothing of the kind. Told to people, and it changes nothing.
    LikelyBenign,
}

impl Assessment {
    /// The word for it, to be read by people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Assessment::LikelyMalicious => "likely malicious",
            Assessment::Uncertain => "uncertain",
            Assessment::LikelyBenign => "likely benign",
        }
    }
}

/// A sentence, and the evidence for it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Sentence {
    /// What it says.
    pub text: String,
    /// What shows it, such as `E3`; at least one.
    pub cites: Vec<String>,
}

/// What opinions added to a threat.
///
/// Invariant: nothing in it ever falls. There is no setter; every way in adds or raises, and is bounded.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Raised {
    /// The most attention that an opinion asked for.
    attention: Severity,
    /// Techniques that opinions saw, and no rule did.
    techniques: Vec<Technique>,
    /// Playbooks that opinions proposed. A person may start them; nothing else does.
    playbooks: Vec<String>,
    /// The consultations whose opinions were taken, the latest last.
    opinions: Vec<ConsultationId>,
}

impl Raised {
    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Raised::default()
    }

    /// An opinion asks for this much attention. Less than was asked before changes nothing.
    pub fn ask_attention(&mut self, attention: Severity) {
        self.attention = self.attention.max(attention);
    }

    /// An opinion sees a technique.
    pub fn add_technique(&mut self, technique: Technique) {
        if self.techniques.len() < limits::RAISED_TECHNIQUES_MAX && !self.techniques.contains(&technique) {
            self.techniques.push(technique);
        }
    }

    /// An opinion proposes a playbook, which the caller knows to be loaded.
    pub fn propose(&mut self, playbook: &str) {
        if self.playbooks.len() < limits::RAISED_PLAYBOOKS_MAX && !self.playbooks.iter().any(|p| p == playbook) {
            self.playbooks.push(playbook.to_owned());
        }
    }

    /// The opinion of this consultation was taken.
    pub fn took(&mut self, consultation: ConsultationId) {
        if self.opinions.len() < limits::RAISED_OPINIONS_MAX && !self.opinions.contains(&consultation) {
            self.opinions.push(consultation);
        }
    }

    /// What was added to another threat, which turned out to be one with this one, was added to this one.
    pub fn absorb(&mut self, other: Raised) {
        self.ask_attention(other.attention);
        other.techniques.into_iter().for_each(|t| self.add_technique(t));
        other.playbooks.iter().for_each(|p| self.propose(p));
        other.opinions.into_iter().for_each(|o| self.took(o));
    }

    /// How much attention a threat of this severity deserves: never less than its severity.
    #[must_use]
    pub fn attention(&self, severity: Severity) -> Severity {
        severity.max(self.attention)
    }

    /// Techniques that opinions saw.
    #[must_use]
    pub fn techniques(&self) -> &[Technique] {
        &self.techniques
    }

    /// Playbooks that opinions proposed.
    #[must_use]
    pub fn playbooks(&self) -> &[String] {
        &self.playbooks
    }

    /// The consultations whose opinions were taken.
    #[must_use]
    pub fn opinions(&self) -> &[ConsultationId] {
        &self.opinions
    }
}

/// How urgent something is for a person to look at, from what people said of its like. It orders, and hides nothing.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Triage {
    /// From 0 (last) to 100 (first).
    pub priority: u8,
    /// How likely it is a false positive.
    pub false_positive: Posterior,
    /// Where the priority comes from, in words.
    pub reason: String,
}

/// A Beta posterior of the rate of false positives, from people's verdicts alone.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Posterior {
    /// Its mean, to the nearest thousandth.
    pub mean: f64,
    /// Its 5th percentile.
    pub lower: f64,
    /// Its 95th percentile.
    pub upper: f64,
    /// Verdicts of `false_positive` and `benign` that it rests on.
    pub false_positives: u64,
    /// Verdicts of `confirmed` that it rests on.
    pub confirmed: u64,
    /// Whether they are about this entity, and not the rule on anybody.
    pub of_entity: bool,
}

/// What a model is told of a threat, all of it bounded. What attackers wrote is in `timeline` and in names.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Context {
    /// The threat's title.
    pub title: String,
    /// How bad it is.
    pub severity: Severity,
    /// How sure its rules are.
    pub confidence: Confidence,
    /// How many detections it has in all.
    pub detections: u64,
    /// Its techniques in the order in which they were first seen.
    pub techniques: Vec<Technique>,
    /// The furthest tactic.
    pub stage: Option<Tactic>,
    /// Who it is about.
    pub entities: Vec<Entity>,
    /// What happened, oldest first.
    pub timeline: Vec<Moment>,
    /// What people's verdicts say of its rules.
    pub false_positive: Posterior,
    /// Earlier threats of the same rules, and what people said of them, the latest first.
    pub similar: Vec<Similar>,
    /// The playbooks that are loaded: id and name.
    pub playbooks: Vec<(String, String)>,
}

/// A detection, as a model is told of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Moment {
    /// What it is cited by.
    pub cite: String,
    /// Which detection it is.
    pub detection_id: DetectionId,
    /// Where its event stands in the log.
    pub position: Position,
    /// When it happened.
    pub at: Timestamp,
    /// The rule's title.
    pub rule_title: String,
    /// How bad it is.
    pub severity: Severity,
    /// Whom it is about.
    pub entity: Entity,
    /// Techniques that the rule names.
    pub techniques: Vec<Technique>,
    /// What matched: fields and what the event said, as an attacker may have written it.
    pub fields: Vec<(String, String)>,
}

/// An earlier threat that shares a rule, and what a person said of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Similar {
    /// Which.
    pub threat_id: ThreatId,
    /// What it was.
    pub verdict: VerdictKind,
    /// When a person said so.
    pub at: Timestamp,
    /// Its rules, by id.
    pub rules: Vec<String>,
}

/// What a suppression is about: a rule, on one entity or on anybody.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
pub struct Scope {
    /// The rule's id.
    pub rule_id: String,
    /// On whom; on anybody where there is none.
    pub on: Option<Entity>,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.on {
            Some(entity) => write!(f, "rule {} on {} {entity}", self.rule_id, entity.kind()),
            None => write!(f, "rule {} on anybody", self.rule_id),
        }
    }
}

/// A decision that detections of a rule open no threat for a while. They are still detections, counted and listed.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Suppression {
    /// Derived from its scope and how often there was one for it before.
    pub suppression_id: SuppressionId,
    /// Which detections.
    pub scope: Scope,
    /// Whether it is in force, and if not, why.
    pub state: SuppressionState,
    /// Why it is proposed, in words.
    pub reason: String,
    /// Who proposed it; `engine` where verdicts did.
    pub proposed_by: Principal,
    /// When it was proposed.
    pub proposed_at: Timestamp,
    /// What people's verdicts say of the scope.
    pub false_positive: Posterior,
    /// Threats that a person confirmed and that it would have hidden. Only one of none is ever applied.
    pub would_hide_confirmed: u64,
    /// Detections that it kept from opening a threat.
    pub suppressed: u64,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Whether a suppression is in force.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum SuppressionState {
    /// It waits for a person.
    Proposed,
    /// It would have hidden a threat that a person confirmed.
    Refused {
        /// How many, in words.
        why: String,
    },
    /// A person applied it.
    Applied {
        /// Who.
        by: Principal,
        /// When.
        at: Timestamp,
        /// Until when.
        until: Timestamp,
    },
    /// A person removed it, or a person confirmed a threat that it is about.
    Removed {
        /// Who.
        by: Principal,
        /// Why.
        why: String,
    },
    /// Its time is over.
    Expired,
}

impl SuppressionState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            SuppressionState::Proposed => "proposed",
            SuppressionState::Refused { .. } => "refused",
            SuppressionState::Applied { .. } => "applied",
            SuppressionState::Removed { .. } => "removed",
            SuppressionState::Expired => "expired",
        }
    }
}

/// What a person wants of a suppression. The log keeps it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum SuppressionWish {
    /// It is put up for decision, after its back-test.
    Propose {
        /// Why, in their words.
        reason: String,
    },
    /// It is put in force, if its back-test holds.
    Apply {
        /// For how long, in seconds.
        for_s: u64,
    },
    /// It ends.
    Remove {
        /// Why, in their words.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_raised_never_falls_and_is_bounded() {
        let mut raised = Raised::default();
        assert!(raised.is_empty());
        for (asked, of, wanted) in [
            (Severity::Info, Severity::High, Severity::High),
            (Severity::High, Severity::Low, Severity::High),
            (Severity::Info, Severity::Low, Severity::High),
            (Severity::Low, Severity::Critical, Severity::Critical),
        ] {
            raised.ask_attention(asked);
            assert_eq!(raised.attention(of), wanted, "{asked} of {of}");
        }
        for n in 0..10_000 {
            raised.add_technique(format!("T{:04}", n % 9_000 + 1_000).parse().unwrap());
            raised.propose(&n.to_string());
            raised.took(ConsultationId::derive(&n.to_string()));
        }
        let lengths = (raised.techniques().len(), raised.playbooks().len(), raised.opinions().len());
        let max = (limits::RAISED_TECHNIQUES_MAX, limits::RAISED_PLAYBOOKS_MAX, limits::RAISED_OPINIONS_MAX);
        assert_eq!(lengths, max);
        let mut both = Raised::default();
        both.ask_attention(Severity::Critical);
        both.absorb(raised.clone());
        assert_eq!(both.attention(Severity::Info), Severity::Critical);
        assert_eq!(both.techniques(), raised.techniques());
    }
}
