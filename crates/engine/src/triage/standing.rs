//! What people's verdicts say of rules, on anybody and on each entity.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use vertice_model::{
    Confidence, Detection, Entity, Posterior, RuleSeen, Severity, Similar, Threat, ThreatId, Triage, Verdict,
    VerdictKind,
};

use super::posterior::{Prior, posterior};
use crate::limits;
use crate::told::{Counted, Judged};

/// What is known of every rule that ever matched.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Standings {
    rules: BTreeMap<String, Standing>,
    /// Pairs of a rule and an entity that are remembered, over all rules.
    pairs: usize,
    verdicts: VecDeque<Similar>,
    /// What the verdict on each threat was counted for that is confirmed, and so may be judged again: those held, and those
    /// gone since [`Standings::forget`].
    given: BTreeMap<ThreatId, Counted>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Standing {
    prior: Prior,
    detections: u64,
    judged: Tally,
    /// The same, of each entity that a verdict was about.
    on: BTreeMap<String, Tally>,
    /// Whether a threat that was confirmed could no longer be remembered by its entities: then it counts for each.
    crowded: bool,
}

/// Verdicts, and what they come to.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Tally {
    /// Threats that a person ever confirmed. Never falls, whatever is said later.
    ever_confirmed: u64,
    posterior: Posterior,
}

impl Tally {
    fn none(prior: Prior, of_entity: bool) -> Tally {
        Tally { ever_confirmed: 0, posterior: posterior(prior, 0, 0, of_entity) }
    }

    /// A verdict takes the place of an earlier confirmation of the same threat.
    fn count(&mut self, prior: Prior, was_confirmed: bool, said: VerdictKind) {
        let Posterior { mut false_positives, mut confirmed, of_entity, .. } = self.posterior;
        confirmed = confirmed.saturating_sub(u64::from(was_confirmed));
        match said {
            VerdictKind::Confirmed => {
                confirmed += 1;
                self.ever_confirmed += u64::from(!was_confirmed);
            }
            VerdictKind::FalsePositive | VerdictKind::Benign => false_positives += 1,
        }
        self.posterior = posterior(prior, false_positives, confirmed, of_entity);
    }
}

/// An entity as a key: JSON keys are text.
pub(super) fn key(entity: &Entity) -> String {
    format!("{}|{}", entity.kind(), entity.name())
}

/// Most that a sure false positive takes from a priority. It sinks below its like, and stays above what is less bad.
const DISCOUNT_MAX: f64 = 20.0;

impl Standings {
    /// A rule matched once more; `prior` is what its status makes of it.
    pub(super) fn count(&mut self, detection: &Detection, prior: Prior) {
        let Some(standing) = standing(&mut self.rules, &detection.rule_id, prior) else { return };
        standing.detections += 1;
        if standing.prior != prior {
            standing.prior = prior;
            for judged in std::iter::once(&mut standing.judged).chain(standing.on.values_mut()) {
                let Posterior { false_positives, confirmed, of_entity, .. } = judged.posterior;
                judged.posterior = posterior(prior, false_positives, confirmed, of_entity);
            }
        }
    }

    /// Whether every detection of the rule there ever was belongs to what `seen` is of.
    pub(super) fn is_new(&self, seen: &RuleSeen) -> bool {
        self.rules.get(&seen.rule_id).is_some_and(|s| s.detections <= seen.detections)
    }

    /// All that a verdict on a threat says something of, here and elsewhere.
    pub(super) fn judged(&mut self, threat: &Threat, said: &Verdict) -> Judged {
        let counts =
            |seen: &RuleSeen| (seen.severity >= Severity::Low).then(|| self.rules.get(&seen.rule_id)).flatten();
        let prior = |seen: &RuleSeen| counts(seen).map(|standing| standing.prior);
        let rules: Vec<(String, Option<Prior>)> =
            threat.rules.iter().map(|seen| (seen.rule_id.clone(), prior(seen))).collect();
        let counted = Counted {
            rules: rules.iter().filter(|(_, prior)| prior.is_some()).map(|(rule_id, _)| rule_id.clone()).collect(),
            entities: threat.entities.iter().cloned().collect(),
        };
        let id = threat.threat_id;
        // Any other verdict closes its threat, so what may be judged again was confirmed.
        let before = match said.verdict {
            VerdictKind::Confirmed => self.given.insert(id, counted),
            VerdictKind::FalsePositive | VerdictKind::Benign => self.given.remove(&id),
        };
        Judged { threat: id, rules, entities: threat.entities.clone(), before, verdict: said.verdict, at: said.at }
    }

    /// Forgets threats that are no longer held.
    pub(super) fn forget(&mut self, is_held: impl Fn(ThreatId) -> bool) {
        self.given.retain(|id, _| is_held(*id));
    }

    /// A person judged a threat, here or in another shard. What is counted adds up in whichever order it comes.
    pub(super) fn judge(&mut self, said: &Judged) {
        let verdict = said.verdict;
        for (rule_id, prior) in &said.rules {
            let Some(standing) = prior.and_then(|prior| standing(&mut self.rules, rule_id, prior)) else { continue };
            let prior = standing.prior;
            let before = said.before.as_ref().filter(|before| before.rules.contains(rule_id));
            standing.judged.count(prior, before.is_some(), verdict);
            for entity in &said.entities {
                let was_confirmed = before.is_some_and(|before| before.entities.contains(entity));
                let key = key(entity);
                if !standing.on.contains_key(&key) {
                    if self.pairs >= limits::ENTITIES_JUDGED_MAX {
                        standing.crowded |= verdict == VerdictKind::Confirmed;
                        continue;
                    }
                    self.pairs += 1;
                    standing.on.insert(key.clone(), Tally::none(prior, true));
                }
                if let Some(judged) = standing.on.get_mut(&key) {
                    judged.count(prior, was_confirmed, verdict);
                }
            }
        }
        if self.verdicts.len() >= limits::VERDICTS_REMEMBERED_MAX {
            self.verdicts.pop_back();
        }
        let rules = said.rules.iter().take(limits::TOLD_LIST_MAX).map(|(rule_id, _)| rule_id.clone()).collect();
        self.verdicts.push_front(Similar { threat_id: said.threat, verdict, at: said.at, rules });
    }

    /// How many threats with a detection of the rule, on this entity or on anybody, a person ever confirmed.
    pub(super) fn ever_confirmed(&self, rule_id: &str, on: Option<&Entity>) -> u64 {
        let Some(standing) = self.rules.get(rule_id) else { return 0 };
        match on {
            None => standing.judged.ever_confirmed,
            Some(_) if standing.crowded => standing.judged.ever_confirmed,
            Some(entity) => standing.on.get(&key(entity)).map_or(0, |judged| judged.ever_confirmed),
        }
    }

    /// What verdicts say of a rule on this entity, or on anybody; `None` of a rule that never matched.
    pub(super) fn of(&self, rule_id: &str, on: Option<&Entity>) -> Option<Posterior> {
        let standing = self.rules.get(rule_id)?;
        match on {
            None => Some(standing.judged.posterior),
            Some(entity) => Some(
                standing.on.get(&key(entity)).map_or_else(|| posterior(standing.prior, 0, 0, true), |j| j.posterior),
            ),
        }
    }

    /// On how many entities the rule was called a false positive.
    pub(super) fn entities_judged_false(&self, rule_id: &str) -> usize {
        let of = |s: &Standing| s.on.values().filter(|j| j.posterior.false_positives > 0).count();
        self.rules.get(rule_id).map_or(0, of)
    }

    /// Earlier threats of the same rules, the latest verdict first.
    pub(super) fn similar(&self, threat: &Threat) -> Vec<Similar> {
        let shares = |past: &&Similar| {
            past.threat_id != threat.threat_id
                && past.rules.iter().any(|r| threat.rules.iter().any(|t| t.rule_id == *r))
        };
        self.verdicts.iter().filter(shares).take(limits::TOLD_LIST_MAX).cloned().collect()
    }

    /// What verdicts say of a rule where it matched: of this entity if there are enough of those, or else of anybody.
    fn best(&self, rule_id: &str, entity: &Entity) -> Posterior {
        let enough = |p: &Posterior| p.false_positives + p.confirmed >= limits::VERDICTS_OF_ENTITY_MIN;
        let on_entity = self.of(rule_id, Some(entity)).filter(enough);
        on_entity.or_else(|| self.of(rule_id, None)).unwrap_or_else(|| posterior((1, 1), 0, 0, false))
    }

    /// How urgent a detection is.
    pub(super) fn of_detection(&self, detection: &Detection) -> Triage {
        let posterior = self.best(&detection.rule_id, &detection.entity);
        triage(detection.severity, detection.confidence, posterior)
    }

    /// How urgent a threat is that deserves this much attention: as its least doubtful rule of those that make it bad.
    pub(super) fn of_threat(&self, threat: &Threat, attention: Severity) -> Triage {
        triage(attention, threat.confidence, self.of_rules(threat))
    }

    /// What verdicts say of a threat: of the least doubtful of its worst rules.
    pub(super) fn of_rules(&self, threat: &Threat) -> Posterior {
        let worst = threat.rules.iter().map(|r| r.severity).max().unwrap_or_default();
        let weighty = worst.min(Severity::Medium);
        let posteriors =
            threat.rules.iter().filter(|r| r.severity >= weighty).map(|r| self.best(&r.rule_id, &r.entity));
        let least = posteriors.min_by(|a, b| a.mean.total_cmp(&b.mean));
        least.unwrap_or_else(|| posterior((1, 1), 0, 0, false))
    }
}

/// What is known of a rule, from now on if it is new; `None` if too much is known of others.
fn standing<'a>(rules: &'a mut BTreeMap<String, Standing>, rule_id: &str, prior: Prior) -> Option<&'a mut Standing> {
    if !rules.contains_key(rule_id) {
        if rules.len() >= limits::RULES_JUDGED_MAX {
            return None;
        }
        let judged = Tally::none(prior, false);
        let standing = Standing { prior, detections: 0, judged, on: BTreeMap::new(), crowded: false };
        rules.insert(rule_id.to_owned(), standing);
    }
    rules.get_mut(rule_id)
}

fn triage(severity: Severity, confidence: Confidence, false_positive: Posterior) -> Triage {
    let base = match severity {
        Severity::Info => 5,
        Severity::Low => 25,
        Severity::Medium => 45,
        Severity::High => 70,
        Severity::Critical => 90,
    };
    // What people are sure of counts, not what they have not said yet: so the lower end, and not the mean.
    let discount = (false_positive.lower * DISCOUNT_MAX).round() as u8;
    let Posterior { false_positives, confirmed, of_entity, .. } = false_positive;
    let on = if of_entity { " on this entity" } else { "" };
    let verdicts = match false_positives + confirmed {
        0 => "no verdict on its like yet".to_owned(),
        all => format!("{false_positives} of {all} verdicts on its like{on} were false positive or benign"),
    };
    let reason = format!("{severity}, {} % sure; {verdicts}", confidence.percent());
    Triage { priority: (base + confidence.percent() / 10 - discount.min(base)).min(100), false_positive, reason }
}
