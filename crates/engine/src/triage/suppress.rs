//! Suppressions: detections that open no threat for a while, because a person said so.
//!
//! Verdicts propose one, and so may a person; its back-test refuses it if it would ever have hidden a threat that a
//! person confirmed; a person applies it, for a time that ends. A confirmation of what it is about ends it at once.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use vertice_model::{
    Detection, Posterior, Principal, Scope, Suppression, SuppressionId, SuppressionState, SuppressionWish, Timestamp,
};

use super::posterior::{Prior, posterior};
use super::standing::{Standings, key};
use crate::limits;
use crate::told::{Judged, Role, Stands, Suppressing};

/// Who proposes and ends what no person did.
const ENGINE: &str = "engine";

/// Entities on which a rule must have been called a false positive before it is proposed to suppress it on anybody.
const ENTITIES_FOR_ANYBODY: usize = 3;

/// The suppressions that are proposed or in force.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Suppressions {
    live: BTreeMap<String, Suppression>,
    /// Those that kept a detection from opening a threat since they were last told of.
    #[serde(skip)]
    changed: BTreeSet<String>,
}

/// What a person wants of a suppression.
pub struct Wished<'a> {
    /// Which one.
    pub scope: &'a Scope,
    /// What.
    pub wish: &'a SuppressionWish,
    /// Who.
    pub by: &'a Principal,
    /// What is believed of its rule where that never matched here and may have elsewhere.
    pub prior: Option<Prior>,
}

/// What is put up for decision.
struct Proposal<'a> {
    scope: &'a Scope,
    reason: &'a str,
    by: &'a Principal,
}

fn key_of(scope: &Scope) -> String {
    format!("{}|{}", scope.on.as_ref().map(key).unwrap_or_default(), scope.rule_id)
}

/// What a suppression of this scope would ever have hidden, of what a person confirmed.
fn hides(standings: &Standings, scope: &Scope) -> u64 {
    standings.ever_confirmed(&scope.rule_id, scope.on.as_ref())
}

impl Suppressions {
    /// The suppression in force that this detection falls under, which counts it.
    pub(super) fn covers(&mut self, now: Timestamp, detection: &Detection) -> Option<SuppressionId> {
        if self.live.is_empty() {
            return None;
        }
        let on = |on| Scope { rule_id: detection.rule_id.clone(), on };
        for key in [key_of(&on(Some(detection.entity.clone()))), key_of(&on(None))] {
            if let Some(found) = self.live.get_mut(&key)
                && matches!(found.state, SuppressionState::Applied { until, .. } if now < until)
            {
                found.suppressed += 1;
                found.updated_at = now;
                let id = found.suppression_id;
                self.changed.insert(key);
                return Some(id);
            }
        }
        None
    }

    /// Those that counted something since the last call.
    pub(super) fn take_changed(&mut self) -> Vec<Suppression> {
        std::mem::take(&mut self.changed).iter().filter_map(|key| self.live.get(key).cloned()).collect()
    }

    /// A person wants something of a suppression. Returns it as it stands then; `None` if it can not be had. `prior` is
    /// that of a rule that never matched here and may have elsewhere.
    pub(super) fn wish(
        &mut self,
        now: Timestamp,
        standings: &Standings,
        Wished { scope, wish, by, prior }: Wished<'_>,
    ) -> Option<Suppression> {
        let key = key_of(scope);
        match wish {
            SuppressionWish::Propose { reason } => {
                let of_none = || prior.map(|prior| posterior(prior, 0, 0, scope.on.is_some()));
                let said = standings.of(&scope.rule_id, scope.on.as_ref()).or_else(of_none);
                self.propose(now, standings, said, Proposal { scope, reason, by })
            }
            SuppressionWish::Apply { for_s } => {
                let hidden = hides(standings, scope);
                let found = self.live.get_mut(&key)?;
                if hidden > 0 {
                    return self.refuse(now, &key, hidden);
                }
                let range = limits::SUPPRESSION_S_RANGE;
                let until = now.plus_seconds((*for_s).clamp(*range.start(), *range.end()));
                found.state = SuppressionState::Applied { by: by.clone(), at: now, until };
                found.updated_at = now;
                Some(found.clone())
            }
            SuppressionWish::Remove { reason } => self.end(now, &key, by, reason),
        }
    }

    /// Puts one up for decision. Of a rule that never matched nothing is said, and there is nothing to suppress.
    fn propose(
        &mut self,
        now: Timestamp,
        standings: &Standings,
        said: Option<Posterior>,
        Proposal { scope, reason, by }: Proposal<'_>,
    ) -> Option<Suppression> {
        let key = key_of(scope);
        if self.live.contains_key(&key) || self.live.len() >= limits::SUPPRESSIONS_MAX {
            return None;
        }
        let proposed = Suppression {
            suppression_id: SuppressionId::derive(&format!("{key}|{}", now.as_micros())),
            scope: scope.clone(),
            state: SuppressionState::Proposed,
            reason: reason.to_owned(),
            proposed_by: by.clone(),
            proposed_at: now,
            false_positive: said?,
            would_hide_confirmed: 0,
            suppressed: 0,
            updated_at: now,
        };
        self.live.insert(key.clone(), proposed.clone());
        match hides(standings, scope) {
            0 => Some(proposed),
            hidden => self.refuse(now, &key, hidden),
        }
    }

    fn refuse(&mut self, now: Timestamp, key: &str, hidden: u64) -> Option<Suppression> {
        let mut refused = self.live.remove(key)?;
        let why = match hidden {
            1 => "it would have hidden a threat that a person confirmed".to_owned(),
            more => format!("it would have hidden {more} threats that people confirmed"),
        };
        refused.state = SuppressionState::Refused { why };
        refused.would_hide_confirmed = hidden;
        refused.updated_at = now;
        Some(refused)
    }

    fn end(&mut self, now: Timestamp, key: &str, by: &Principal, why: &str) -> Option<Suppression> {
        let mut ended = self.live.remove(key)?;
        self.changed.remove(key);
        ended.state = SuppressionState::Removed { by: by.clone(), why: why.to_owned() };
        ended.updated_at = now;
        Some(ended)
    }

    /// A person judged a threat: what its verdicts now propose, unless another shard does, and what a confirmation ends.
    pub(super) fn judged(
        &mut self,
        now: Timestamp,
        standings: &Standings,
        threat: &Judged,
        role: Role,
    ) -> Vec<Suppression> {
        let by = Principal(ENGINE.to_owned());
        let mut changed = Vec::new();
        for (rule_id, _) in &threat.rules {
            let on = |on| Scope { rule_id: rule_id.clone(), on };
            for scope in threat.entities.iter().map(|e| on(Some(e.clone()))).chain([on(None)]) {
                let key = key_of(&scope);
                let found = self.live.contains_key(&key);
                if found && hides(standings, &scope) > 0 {
                    changed.extend(self.end(now, &key, &by, "a person confirmed a threat that it is about"));
                } else if !found && role != Role::Away && is_due(standings, &scope) {
                    let said = standings.of(&scope.rule_id, scope.on.as_ref());
                    let reason = "people called its like false over and over";
                    changed.extend(self.propose(now, standings, said, Proposal { scope: &scope, reason, by: &by }));
                }
            }
        }
        changed
    }

    /// The shard that decides says how a suppression stands, and so it stands here, but never where a person confirmed
    /// what it is about: that shard may not have heard of it yet, and will end it.
    pub(super) fn told(&mut self, now: Timestamp, standings: &Standings, told: &Suppressing) -> Option<Suppression> {
        let key = key_of(&told.scope);
        let is_it = |s: &Suppression| s.suppression_id == told.suppression_id;
        match &told.stands {
            Stands::Applied { until, .. } if *until <= now || hides(standings, &told.scope) > 0 => None,
            Stands::Applied { by, at, until } => {
                let state = SuppressionState::Applied { by: by.clone(), at: *at, until: *until };
                let suppressed = self.live.get(&key).filter(|s| is_it(s)).map_or(0, |s| s.suppressed);
                let said = standings.of(&told.scope.rule_id, told.scope.on.as_ref());
                let held = Suppression {
                    suppression_id: told.suppression_id,
                    scope: told.scope.clone(),
                    state,
                    reason: told.reason.clone(),
                    proposed_by: told.proposed_by.clone(),
                    proposed_at: told.proposed_at,
                    false_positive: said.unwrap_or_else(|| posterior((1, 1), 0, 0, told.scope.on.is_some())),
                    would_hide_confirmed: 0,
                    suppressed,
                    updated_at: now,
                };
                self.live.insert(key, held.clone());
                Some(held)
            }
            Stands::Ended { by, why } if self.live.get(&key).is_some_and(is_it) => self.end(now, &key, by, why),
            Stands::Over if self.live.get(&key).is_some_and(is_it) => self.over(now, &key),
            Stands::Ended { .. } | Stands::Over => None,
        }
    }

    /// When the next one in force ends.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.live.values().filter_map(until).min()
    }

    /// Those whose time is over.
    pub(super) fn expire(&mut self, now: Timestamp) -> Vec<Suppression> {
        let over = |(key, s): (&String, &Suppression)| until(s).is_some_and(|at| at <= now).then(|| key.clone());
        let over: Vec<String> = self.live.iter().filter_map(over).collect();
        over.iter().filter_map(|key| self.over(now, key)).collect()
    }

    fn over(&mut self, now: Timestamp, key: &str) -> Option<Suppression> {
        self.changed.remove(key);
        let mut ended = self.live.remove(key)?;
        ended.state = SuppressionState::Expired;
        ended.updated_at = now;
        Some(ended)
    }
}

/// A suppression as the other shards are told of it; `None` of one that was only proposed.
#[must_use]
pub fn telling(suppression: &Suppression) -> Option<Suppressing> {
    let stands = match &suppression.state {
        SuppressionState::Proposed => return None,
        SuppressionState::Applied { by, at, until } => Stands::Applied { by: by.clone(), at: *at, until: *until },
        SuppressionState::Refused { why } => Stands::Ended { by: Principal(ENGINE.to_owned()), why: why.clone() },
        SuppressionState::Removed { by, why } => Stands::Ended { by: by.clone(), why: why.clone() },
        SuppressionState::Expired => Stands::Over,
    };
    Some(Suppressing {
        suppression_id: suppression.suppression_id,
        scope: suppression.scope.clone(),
        reason: suppression.reason.clone(),
        proposed_by: suppression.proposed_by.clone(),
        proposed_at: suppression.proposed_at,
        stands,
    })
}

fn until(suppression: &Suppression) -> Option<Timestamp> {
    match suppression.state {
        SuppressionState::Applied { until, .. } => Some(until),
        SuppressionState::Proposed
        | SuppressionState::Refused { .. }
        | SuppressionState::Removed { .. }
        | SuppressionState::Expired => None,
    }
}

/// Whether verdicts say so much that it is proposed by itself.
fn is_due(standings: &Standings, scope: &Scope) -> bool {
    let enough = |p: &Posterior| {
        p.lower > limits::SUPPRESS_LOWER_MIN && p.false_positives + p.confirmed >= limits::SUPPRESS_VERDICTS_MIN
    };
    let of_many = scope.on.is_some() || standings.entities_judged_false(&scope.rule_id) >= ENTITIES_FOR_ANYBODY;
    of_many
        && hides(standings, scope) == 0
        && standings.of(&scope.rule_id, scope.on.as_ref()).as_ref().is_some_and(enough)
}
