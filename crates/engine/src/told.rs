//! What the engines of many shards tell each other, so that what a person decides in one of them holds in all.
//!
//! Two things are known to every shard: what people judged of rules, which are counts that add up in any order, and the
//! suppressions in force, which one shard decides about and the others take as it says. Whoever carries it brings each
//! to every other shard exactly once, and what one shard tells in its order.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use vertice_model::{Entity, Principal, Scope, SuppressionId, ThreatId, Timestamp, VerdictKind};

use crate::triage::Prior;

/// Whose engine it is. That never changes for a log, so it is given and not an input.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Role {
    /// There is no other.
    #[default]
    Alone,
    /// The one of the shard that decides about suppressions.
    Home,
    /// That of any other shard.
    Away,
}

/// What one shard tells all others. The log keeps it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Told {
    /// A person judged a threat.
    Judged(Judged),
    /// A suppression that came into force, changed, or ended.
    Suppression(Box<Suppressing>),
}

/// A verdict, and all of its threat that it says something of.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Judged {
    /// Which threat.
    pub threat: ThreatId,
    /// Its rules, by id; with what was believed of it before any verdict each that is counted.
    pub rules: Vec<(String, Option<Prior>)>,
    /// Who it is about.
    pub entities: Vec<Entity>,
    /// What it was confirmed for before; that counts no more.
    pub before: Option<Counted>,
    /// What is said.
    pub verdict: VerdictKind,
    /// When.
    pub at: Timestamp,
}

/// What the confirmation of a threat was counted for. A threat grows, so a later verdict may say something of more.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Counted {
    /// The rules.
    pub rules: BTreeSet<String>,
    /// The entities.
    pub entities: BTreeSet<Entity>,
}

/// A suppression, as the other shards have to know it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Suppressing {
    /// Its id.
    pub suppression_id: SuppressionId,
    /// Which detections.
    pub scope: Scope,
    /// Why it was proposed.
    pub reason: String,
    /// Who proposed it.
    pub proposed_by: Principal,
    /// When.
    pub proposed_at: Timestamp,
    /// How it stands now.
    pub stands: Stands,
}

/// How a suppression stands that others are told of. The states of [`vertice_model::SuppressionState`] in a form that
/// the log can keep.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Stands {
    /// It is in force.
    Applied {
        /// Who applied it.
        by: Principal,
        /// When.
        at: Timestamp,
        /// Until when.
        until: Timestamp,
    },
    /// It was ended, or refused.
    Ended {
        /// By whom.
        by: Principal,
        /// Why.
        why: String,
    },
    /// Its time is over.
    Over,
}
