//! Everything that can reach the engine.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vertice_model::{
    ConsultationId, ContainmentId, OrderId, Position, Principal, QuestionId, RawEvent, Receipt, Reply, Routed, Scope,
    SuppressionWish, ThreatId, Timestamp, Usage, VerdictKind,
};

use crate::{Content, Told};

/// Everything that can reach the engine. What is not listed here can not change its state.
///
/// This is also what the log keeps, so a variant is never removed and never changes its place.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Input {
    /// Raw events, in the order in which they were accepted. The first has the position of the stamp,
    /// each further one the next.
    Events(Vec<RawEvent>),
    /// The rules, mappings and playbooks that are in force from here on. The log keeps their files.
    Content(Arc<Content>),
    /// A person's answer to a question.
    Answer {
        /// Which.
        question: QuestionId,
        /// Yes or no.
        approve: bool,
        /// The digest of the plan that the person saw; an answer to another plan is void.
        plan_digest: String,
        /// Who.
        by: Principal,
    },
    /// A person's judgement of a threat. It closes the threat, unless it confirms it.
    Verdict {
        /// Which.
        threat: ThreatId,
        /// What it is.
        verdict: VerdictKind,
        /// Why, in their words.
        note: String,
        /// Who.
        by: Principal,
    },
    /// A person takes a containment back.
    Release {
        /// Which.
        containment: ContainmentId,
        /// Why, in their words.
        reason: String,
        /// Who.
        by: Principal,
    },
    /// Time passed: what is due at the stamp's time falls due. Logged only when something is due.
    Tick,
    /// An order is about to be carried out: the intent, which is durable before anything is touched.
    Begun {
        /// Which.
        order: OrderId,
    },
    /// What became of an order.
    Receipt(Receipt),
    /// A person looked at what nobody could tell: whether an order of unknown outcome happened.
    Resolve {
        /// Which.
        order: OrderId,
        /// Whether it happened.
        happened: bool,
        /// Who.
        by: Principal,
    },
    /// From where operators are logged in on this machine now: they are protected as long as they are.
    Operators(Vec<IpAddr>),
    /// A person starts a playbook for a threat, whether it is due or not.
    Start {
        /// Which playbook.
        playbook: String,
        /// For which threat.
        threat: ThreatId,
        /// Who; they can not approve what it asks.
        by: Principal,
    },
    /// An API key comes or goes. Nothing is judged by it: it is here because who may decide is a decision too.
    Key {
        /// The name that it is kept under; a bouncer's is `bouncer/` and the bouncer's name.
        name: String,
        /// Whether it comes.
        added: bool,
        /// Who adds or removes it.
        by: Principal,
    },
    /// Raw events that came by a partitioned log, each for the hits of one route key, as [`crate::route::Merge`] let them
    /// out; never none. Positions as of [`Input::Events`].
    Routed(Vec<Routed>),
    /// What came of asking a language model. The engine judges it: it can raise, and do nothing else.
    Opinion {
        /// To which consultation.
        consultation: ConsultationId,
        /// What came of it.
        reply: Reply,
        /// Which model, as the configuration names it; empty where none was asked.
        model: String,
        /// What it took.
        usage: Usage,
    },
    /// A person proposes, applies or removes a suppression.
    Suppress {
        /// Of which detections.
        scope: Scope,
        /// What they want.
        wish: SuppressionWish,
        /// Who.
        by: Principal,
    },
    /// What another shard tells.
    Told(Told),
}

impl Input {
    /// How many log positions it takes: one for each event, one for anything else.
    #[must_use]
    pub fn positions(&self) -> u64 {
        match self {
            Input::Events(events) => events.len() as u64,
            Input::Routed(routed) => routed.len() as u64,
            Input::Content(_)
            | Input::Answer { .. }
            | Input::Verdict { .. }
            | Input::Release { .. }
            | Input::Tick
            | Input::Begun { .. }
            | Input::Receipt(_)
            | Input::Resolve { .. }
            | Input::Operators(_)
            | Input::Start { .. }
            | Input::Key { .. }
            | Input::Opinion { .. }
            | Input::Suppress { .. }
            | Input::Told(_) => 1,
        }
    }
}

/// Where an input stands in the log, and when it was accepted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Stamp {
    /// Its place; the first place of a batch of events.
    pub position: Position,
    /// When it was accepted. Never earlier than that of the input before it.
    pub now: Timestamp,
}
