//! Hemostasis: how a containment begins small, lasts while the attack does, and gives back step by step.
//!
//! ```text
//!              severity rises to high, or the lease ends and the attack goes on
//!   Reflex ────────────────────────────────────────────────────────────► Durable ◄─┐ the lease ends and the
//!   (full)                                                               (full)  ──┘ attack goes on: renewed
//!     │ the lease ends, and it is quiet                                    │  ▲
//!     ▼                                                                    ▼  │ the attack comes back: at once,
//!   Probation (reduced: a block becomes a rate limit) ◄────────────────────┘  │ in full, for twice as long
//!     │ quiet                                                                 │
//!     ▼                                                                       │
//!   Probation (watch: nothing is held) ───────────────────────────────────────┘
//!     │ quiet
//!     ▼
//!   Healed: taken out, and seen to be gone
//! ```
//!
//! A person may end it at any time, which skips the probation. `docs/hemostasis.md` says what each stage is named
//! after, and why.

use vertice_model::{Action, Containment, FirewallRule, FirewallVerdict, Hold, Severity, Stage};

use super::policy::Policy;
use crate::limits;

/// Where a containment goes next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// To a stage that holds this much, for this long.
    Stage { stage: Stage, hold: Hold, lease_s: u64 },
    /// It is healed.
    Healed,
}

/// Where a containment goes at the end of its lease; `quiet_s` is how long nothing was seen of the attack.
pub(super) fn at_the_end(held: &Containment, quiet_s: u64, policy: &Policy) -> Next {
    let wanted_s = quiet_wanted_s(held.lease_s);
    let quiet = quiet_s >= wanted_s;
    let probation = |hold| Next::Stage { stage: Stage::Probation, hold, lease_s: wanted_s };
    match (held.stage, held.hold) {
        (Stage::Healed, _) | (_, Hold::None) => Next::Healed,
        (Stage::Reflex | Stage::Durable, _) if !quiet => {
            Next::Stage { stage: Stage::Durable, hold: Hold::Full, lease_s: durable_s(held, policy) }
        }
        (Stage::Reflex | Stage::Durable, _) => match held.action.as_ref().and_then(reduced) {
            Some(_) => probation(Hold::Reduced),
            None => probation(Hold::Watch),
        },
        (Stage::Probation, Hold::Full | Hold::Reduced) => probation(Hold::Watch),
        (Stage::Probation, Hold::Watch) => Next::Healed,
    }
}

/// Where a containment goes because the attack goes on before its lease ends; `None`: it stays as it is.
pub(super) fn on_activity(held: &Containment, severity: Severity, policy: &Policy) -> Option<Next> {
    let durable = |lease_s| Some(Next::Stage { stage: Stage::Durable, hold: Hold::Full, lease_s });
    match held.stage {
        Stage::Reflex if severity >= Severity::High => durable(durable_s(held, policy)),
        Stage::Probation => durable(held.lease_s.saturating_mul(2).min(policy.lease_s_max)),
        Stage::Reflex | Stage::Durable | Stage::Healed => None,
    }
}

/// How long it must have been quiet before anything is given back, and how long each step of the probation takes.
pub(super) fn quiet_wanted_s(lease_s: u64) -> u64 {
    (lease_s / 4).clamp(*limits::QUIET_S_RANGE.start(), *limits::QUIET_S_RANGE.end())
}

fn durable_s(held: &Containment, policy: &Policy) -> u64 {
    let wanted_s = match held.stage {
        Stage::Reflex => held.lease_s.max(limits::DURABLE_S),
        Stage::Durable | Stage::Probation | Stage::Healed => held.lease_s,
    };
    wanted_s.min(policy.lease_s_max)
}

/// What is to be so in the world while a containment holds this much; `None`: nothing.
pub(super) fn in_force(action: &Action, hold: Hold) -> Option<Action> {
    match hold {
        Hold::Full => Some(action.clone()),
        Hold::Reduced => reduced(action),
        Hold::Watch | Hold::None => None,
    }
}

/// The weaker form of an action; `None` where there is none between all of it and nothing.
fn reduced(action: &Action) -> Option<Action> {
    match action {
        Action::FirewallRule(rule @ FirewallRule { rule: FirewallVerdict::Block, .. }) => {
            let (count, per_s) = (limits::PROBATION_RATE, limits::PROBATION_RATE_S);
            Some(Action::FirewallRule(FirewallRule {
                rule: FirewallVerdict::RateLimit { count, per_s },
                ..rule.clone()
            }))
        }
        Action::FirewallRule(_)
        | Action::HoneypotDeployment(_)
        | Action::ZoneIsolation(_)
        | Action::TrafficShaping(_)
        | Action::TrafficCapture(_)
        | Action::KillProcess(_)
        | Action::Quarantine(_)
        | Action::RevokeCredentials(_)
        | Action::SessionTermination(_)
        | Action::CollectForensics(_)
        | Action::Notification(_)
        | Action::HttpRequest(_)
        | Action::RemoteCommand(_) => None,
    }
}
