//! Triage: how urgent something is, whether a language model is asked about it, and what its answer may change.
//!
//! # How
//! People's verdicts alone say how often a rule is wrong, on anybody and on each entity ([`Posterior`]); from there
//! every detection and threat has a priority, which orders and hides nothing. Of threats that are severe, new or
//! uncertain, a model is asked. Its answer must cite the evidence that it was given, and can do one thing: raise.
//! A suppression is the one thing that keeps a detection from opening a threat, and only a person applies it.
//!
//! # Why a model can not do harm here
//! What it said reaches [`Triage::raise`] and nothing else. That holds a [`Raised`], which has no way down, and no
//! part of a threat, a run, a question or an order: those lie in other stages, which do not know that opinions exist.
//! Playbooks are given the threat as it is without opinions.
//!
//! # What it gets wrong
//! An attacker whose injected text is obeyed can make a threat look *worse* than it is, and can make a model's prose
//! worthless. The first costs attention, is bounded by the number of consultations, and is shown as a model's opinion.
//!
//! # Cost
//! A look-up by rule and by entity for a detection; a posterior is computed when a person judges, not when events come.

mod ask;
mod clean;
mod evidence;
mod posterior;
mod standing;
mod suppress;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vertice_model::{
    Consultation, Detection, Opinion, Raised, Suppression, Threat, ThreatId, ThreatState, Timestamp, Verdict,
};

use self::ask::Consultations;
use self::standing::Standings;
use self::suppress::Suppressions;
use crate::told::{Judged, Role, Suppressing};

pub use ask::{Answered, Consult};
pub use clean::text as clean_text;
pub use posterior::Prior;
pub use suppress::{Wished, telling};

/// What people's verdicts and models' opinions left behind.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Triage {
    standings: Standings,
    consultations: Consultations,
    raised: BTreeMap<ThreatId, Raised>,
    suppressions: Suppressions,
}

impl Triage {
    /// A detection was made: it is counted, and told how urgent it is. `prior` is what the rule's status says.
    pub fn see(&mut self, detection: &mut Detection, prior: Prior) {
        self.standings.count(detection, prior);
        detection.triage = Some(self.standings.of_detection(detection));
    }

    /// Keeps a detection from opening a threat, if a person applied a suppression that covers it.
    pub fn suppress(&mut self, now: Timestamp, detection: &mut Detection) -> bool {
        detection.suppressed_by = self.suppressions.covers(now, detection);
        detection.suppressed_by.is_some()
    }

    /// A detection joined its threat: it may be told a model later.
    pub fn remember(&mut self, detection: &Detection) {
        self.consultations.remember(detection);
    }

    /// Shows in a threat how urgent it is, and what opinions added. The last thing that happens to it before it is
    /// published; nothing reads it there to decide anything.
    pub fn show(&mut self, threat: &mut Threat) {
        let id = threat.threat_id;
        match threat.state {
            ThreatState::Open | ThreatState::Quiet { .. } => {
                threat.show(self.raised.get(&id).cloned().unwrap_or_default());
            }
            ThreatState::Merged { into, .. } => {
                let raised = self.raised.remove(&id).unwrap_or_default();
                if !raised.is_empty() {
                    self.raised.entry(into).or_default().absorb(raised.clone());
                }
                threat.show(raised);
                self.consultations.gone(id, Some(into));
            }
            ThreatState::Judged { .. } => {
                threat.show(self.raised.remove(&id).unwrap_or_default());
                self.consultations.gone(id, None);
            }
        }
        threat.triage = Some(self.standings.of_threat(threat, threat.attention));
    }

    /// The question about a threat, if it is worth one now, and the one that it displaces.
    pub fn ask(
        &mut self,
        now: Timestamp,
        threat: &Threat,
        playbooks: &[(String, String)],
    ) -> Option<(Consult, Option<Consultation>)> {
        self.consultations.ask(now, threat, &self.standings, playbooks)
    }

    /// An answer came: the consultation as it is closed by it. `None` if it was not asked for, or was answered before.
    pub fn receive(
        &mut self,
        now: Timestamp,
        answered: Answered<'_>,
        is_held: impl Fn(ThreatId) -> bool,
        is_loaded: impl Fn(&str) -> bool,
    ) -> Option<Consultation> {
        let waiting = self.consultations.of(answered.consultation)?;
        self.consultations.receive(now, answered, is_held(waiting), is_loaded)
    }

    /// The monotone rule: an opinion that was taken may raise attention, add techniques, and propose playbooks that are
    /// loaded. This is the only way from an opinion to anything, and it only has ways up.
    pub fn raise(&mut self, of: &Consultation, opinion: &Opinion) {
        let raised = self.raised.entry(of.threat_id).or_default();
        raised.took(of.consultation_id);
        raised.ask_attention(opinion.attention);
        opinion.techniques.iter().for_each(|technique| raised.add_technique(technique.clone()));
        opinion.playbooks.iter().for_each(|playbook| raised.propose(playbook));
    }

    /// All that a verdict on a threat says something of.
    pub fn judged(&mut self, threat: &Threat, said: &Verdict) -> Judged {
        self.standings.judged(threat, said)
    }

    /// A person judged a threat, here or in another shard. Returns the suppressions that this changes.
    pub fn judge(&mut self, now: Timestamp, said: &Judged, role: Role) -> Vec<Suppression> {
        self.standings.judge(said);
        self.suppressions.judged(now, &self.standings, said, role)
    }

    /// A person wants something of a suppression. Returns it as it stands then; `None` if it can not be had.
    pub fn wish(&mut self, now: Timestamp, wished: Wished<'_>) -> Option<Suppression> {
        self.suppressions.wish(now, &self.standings, wished)
    }

    /// The shard that decides about suppressions says how one stands. Returns it as it stands here, if that changes.
    pub fn told(&mut self, now: Timestamp, told: &Suppressing) -> Option<Suppression> {
        self.suppressions.told(now, &self.standings, told)
    }

    /// The suppressions that counted something since the last call.
    pub fn take_changed(&mut self) -> Vec<Suppression> {
        self.suppressions.take_changed()
    }

    /// When something falls due.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        [self.consultations.next_due(), self.suppressions.next_due()].into_iter().flatten().min()
    }

    /// Closes what nobody answered in time and what is over, and forgets threats that are no longer held.
    pub fn expire(
        &mut self,
        now: Timestamp,
        is_held: impl Fn(ThreatId) -> bool,
    ) -> (Vec<Consultation>, Vec<Suppression>) {
        self.consultations.forget(&is_held);
        self.raised.retain(|id, _| is_held(*id));
        self.standings.forget(&is_held);
        (self.consultations.expire(now), self.suppressions.expire(now))
    }

    /// How many questions wait for an answer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.consultations.waiting()
    }
}

/// The opinion of a consultation, if it was taken.
#[must_use]
pub fn taken(closed: &Consultation) -> Option<&Opinion> {
    ask::taken(closed)
}
