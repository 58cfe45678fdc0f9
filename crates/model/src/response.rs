//! What is done about a threat: runs of playbooks, the questions they ask, and what they leave behind.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Action, ContainmentId, Entity, OrderId, Principal, QuestionId, RunId, Severity, ThreatId, Timestamp};

/// One playbook planned for one threat. The `defense.responses` record once it has ended.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Run {
    /// Derived from the threat, the playbook, and how often it ran for it before.
    pub run_id: RunId,
    /// The playbook's file name without its ending.
    pub playbook_id: String,
    /// The playbook's `version`.
    pub playbook_version: String,
    /// What it is for.
    pub threat_id: ThreatId,
    /// BLAKE3 of the plan's canonical form, in hexadecimal: what an approval is bound to.
    pub plan_digest: String,
    /// Where it stands.
    pub state: RunState,
    /// Why it was refused or taken back; `None` of any other.
    pub reason: Option<String>,
    /// True only when actions were really carried out and each met its success criteria. Never true of
    /// a simulated run.
    pub success: bool,
    /// Whether every action of it was only checked and recorded.
    pub simulated: bool,
    /// How many actions were really carried out: 0 of a simulated run.
    pub actions_executed: u32,
    /// Its actions, each after those it depends on.
    pub steps: Vec<Step>,
    /// When it was planned.
    pub planned_at: Timestamp,
    /// When it last changed.
    pub timestamp: Timestamp,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It could not be planned: the threat does not say what the playbook must know.
    Refused,
    /// A question of it waits for a person, or an order for its receipt.
    Waiting,
    /// Every step has ended.
    Ended,
    /// Taken back: its containments were released because of a verdict or by a person.
    RolledBack,
}

/// One action of a run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Step {
    /// The action's `id` in the playbook.
    pub action_id: String,
    /// The action's `type`, such as `firewall_rule`.
    pub action_type: String,
    /// Its parameters, every `${…}` filled.
    pub parameters: BTreeMap<String, String>,
    /// What would undo it, in words.
    pub inverse: String,
    /// How long it lasts if nothing ends it earlier; `None` for what is over at once, such as a message.
    pub lease_s: Option<u64>,
    /// Whom it would touch.
    pub touches: Vec<Entity>,
    /// The actions it comes after, by `id`.
    pub depends_on: Vec<String>,
    /// What became of it.
    pub state: StepState,
    /// The question that was asked about it.
    pub question_id: Option<QuestionId>,
    /// Who said yes to it: a person, several, or `policy`.
    #[serde(default)]
    pub approved_by: Option<Principal>,
    /// How often it was tried to carry it out.
    #[serde(default)]
    pub attempts: u32,
    /// For each success criterion that was observed, whether it was met.
    #[serde(default)]
    pub criteria: BTreeMap<String, bool>,
    /// What was done and seen.
    #[serde(default)]
    pub note: String,
}

/// What became of a step.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum StepState {
    /// It waits for the steps it depends on.
    Pending,
    /// It waits for a person's answer.
    Asked,
    /// Every check was passed and it was recorded; nothing was done, for Vertice only observes.
    Simulated,
    /// Its order was given, and its receipt is awaited.
    Ordered {
        /// Which.
        order_id: OrderId,
    },
    /// It was really done, and each of its success criteria was observed to be met.
    Done,
    /// It was tried and did not come about.
    Failed {
        /// Why.
        reason: String,
    },
    /// It began, and nobody can tell whether it happened. A person looks and says; it is never repeated by itself.
    Unknown {
        /// The order that began.
        order_id: OrderId,
        /// Why it can not be told.
        reason: String,
    },
    /// A check forbade it.
    Refused {
        /// Which, and why.
        reason: String,
    },
    /// A person said no, or nobody answered in time.
    Denied {
        /// Who, or that nobody did.
        reason: String,
    },
    /// A step it depends on did not come about.
    Skipped {
        /// Which.
        reason: String,
    },
    /// It is being taken back.
    Releasing,
    /// It was taken back.
    Released,
}

/// What a person is asked before an action.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Question {
    /// Derived from the run and the action.
    pub question_id: QuestionId,
    /// The run that asks.
    pub run_id: RunId,
    /// The threat it is about.
    pub threat_id: ThreatId,
    /// The playbook that asks.
    pub playbook_id: String,
    /// The action asked about.
    pub action_id: String,
    /// The action's type.
    pub action_type: String,
    /// The playbook's `hotl_prompt`, filled; or why it is asked about what usually needs no question.
    pub prompt: String,
    /// How much harm the action can do: `none`, `low`, `medium`, `high`.
    #[serde(default)]
    pub risk: String,
    /// How many different people must say yes; one no is enough.
    #[serde(default = "one")]
    pub approvals_needed: u32,
    /// Who has said yes so far, and when.
    #[serde(default)]
    pub approvals: Vec<(Principal, Timestamp)>,
    /// Who started the run, if a person did: they can not approve it.
    #[serde(default)]
    pub requested_by: Option<Principal>,
    /// How bad the threat was when it was asked.
    pub severity: Severity,
    /// The plan the answer is bound to.
    pub plan_digest: String,
    /// Whether a yes only records the action.
    pub simulated: bool,
    /// Whether it was asked before and nobody answered.
    pub urgent: bool,
    /// What happens when nobody answers.
    pub on_timeout: OnTimeout,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// When it is too late to answer.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub state: QuestionState,
    /// Whose answer closed it, and when.
    pub answered: Option<(Principal, Timestamp)>,
}

const fn one() -> u32 {
    1
}

/// What happens to a question that nobody answers in time.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnTimeout {
    /// The answer is no.
    #[default]
    Deny,
    /// It is asked once more, as urgent, and then the answer is no.
    Escalate,
    /// The answer is yes. Only for a reversible action on a critical threat.
    Execute,
}

/// Where a question stands. Every one but `pending` is final: a question is closed once.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuestionState {
    /// It waits for an answer.
    Pending,
    /// As many people as it needs said yes.
    Approved,
    /// A person said no.
    Denied,
    /// Nobody answered in time, and its `on_timeout` was carried out.
    Expired,
    /// Another question takes its place: its threat became one with another, whose run asks already.
    Superseded,
    /// It no longer matters: its threat was judged, or its run was taken back.
    Cancelled,
}

impl QuestionState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            QuestionState::Pending => "pending",
            QuestionState::Approved => "approved",
            QuestionState::Denied => "denied",
            QuestionState::Expired => "expired",
            QuestionState::Superseded => "superseded",
            QuestionState::Cancelled => "cancelled",
        }
    }
}

/// An action's lasting effect on an entity, with a lease and a stage.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Containment {
    /// Derived from the run and the action.
    pub containment_id: ContainmentId,
    /// The run it came from.
    pub run_id: RunId,
    /// The threat it is about.
    pub threat_id: ThreatId,
    /// The playbook it came from.
    pub playbook_id: String,
    /// The action it came from.
    pub action_id: String,
    /// The action's type.
    pub action_type: String,
    /// Whom it holds.
    #[serde(flatten)]
    pub entity: Entity,
    /// Whether it is only recorded, and nothing in the world was changed.
    pub simulated: bool,
    /// What holds it; `None` of a record from before that was kept.
    #[serde(default)]
    pub action: Option<Action>,
    /// How far its healing has come.
    pub stage: Stage,
    /// How much of the action holds.
    #[serde(default)]
    pub hold: Hold,
    /// How long it holds in full before it begins to heal, in seconds.
    #[serde(default)]
    pub lease_s: u64,
    /// How often the attack came back while it was healing.
    #[serde(default)]
    pub recurrences: u32,
    /// How often its lease was renewed because the attack went on.
    #[serde(default)]
    pub renewals: u32,
    /// Whether it holds, and if not, why.
    pub state: ContainmentState,
    /// When it began.
    pub since: Timestamp,
    /// When its lease ends, or the step of its healing that it is in.
    pub lease_until: Timestamp,
    /// Who said yes to it.
    #[serde(default)]
    pub approved_by: Option<Principal>,
    /// What was last done for it and seen of it; once it is healed, what is to be learned from it.
    #[serde(default)]
    pub note: String,
}

/// How much of a containment's action holds. What is less than all of it is given back step by step.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// All of it.
    #[default]
    Full,
    /// A weaker form of it: instead of a block, a rate limit.
    Reduced,
    /// Nothing; it is only watched whether the attack comes back.
    Watch,
    /// Nothing, and it is over.
    None,
}

/// How far a containment's healing has come.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The first, narrow, short hold.
    Reflex,
    /// Hours, on evidence or approval.
    Durable,
    /// Partly given back.
    Probation,
    /// Gone.
    Healed,
}

/// Whether a containment holds, and if not, why.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum ContainmentState {
    /// It holds.
    Active,
    /// It is being taken out of the world, and is not yet seen to be gone.
    Releasing {
        /// By whom.
        by: Principal,
        /// Why.
        reason: String,
        /// Whether it ends because it healed.
        healed: bool,
    },
    /// It healed: its lease and its probation ran out, and it is seen to be gone.
    Expired,
    /// It was taken back, and it is seen to be gone.
    Released {
        /// By whom.
        by: Principal,
        /// Why.
        reason: String,
    },
}
