//! What the engine does with verdicts, opinions and suppressions: where triage meets the other stages.

use vertice_model::{
    Consultation, Detection, Opinion, Principal, Scope, Suppression, SuppressionWish, Threat, ThreatId, Timestamp,
    Verdict,
};

use super::{Engine, Out};
use crate::effect::{EffectKind, Record};
use crate::told::{Role, Told};
use crate::triage::{Answered, Prior, Wished, taken, telling};

impl Engine {
    /// A detection is counted, told how urgent it is, and joins its threat, unless a person suppressed its like. Even
    /// then it joins a threat that is there already: what else is known of an entity is never kept from it.
    pub(super) fn place(
        &mut self,
        now: Timestamp,
        detection: &mut Detection,
        spreads_to: Option<vertice_model::Entity>,
        prior: Prior,
    ) {
        let state = &mut self.state;
        state.triage.see(detection, prior);
        if !state.threats.holds(&detection.entity) && state.triage.suppress(now, detection) {
            return;
        }
        state.threats.gather(now, detection, spreads_to);
        if self.content.policy.consult {
            state.triage.remember(detection);
        }
    }

    /// A person judges a threat.
    pub(super) fn verdict(&mut self, threat: ThreatId, said: Verdict, out: &mut Out) {
        let (now, kind, by) = (said.at, said.verdict, said.by.clone());
        let Some(judged) = self.state.threats.get(threat).cloned() else { return };
        let told = self.state.triage.judged(&judged, &said);
        let suppressions = self.state.triage.judge(now, &told, self.state.role);
        if self.state.threats.judge(threat, said) {
            out.changes(self.state.responses.verdict(now, threat, kind, &by, &self.content.policy));
        }
        if self.state.role != Role::Alone {
            out.push(EffectKind::Tell(Told::Judged(told)));
        }
        self.decided(suppressions, out);
    }

    /// Another shard tells what a person decided there.
    pub(super) fn told(&mut self, now: Timestamp, told: &Told, out: &mut Out) {
        match told {
            Told::Judged(judged) => {
                let suppressions = self.state.triage.judge(now, judged, self.state.role);
                self.decided(suppressions, out);
            }
            Told::Suppression(suppression) => out.suppressions(self.state.triage.told(now, suppression)),
        }
    }

    /// Publishes suppressions that changed. The others hold what the home of suppressions says.
    fn decided(&self, changed: impl IntoIterator<Item = Suppression>, out: &mut Out) {
        for suppression in changed {
            let telling = if self.state.role == Role::Home { telling(&suppression) } else { None };
            out.publish(Record::Suppression(suppression));
            if let Some(telling) = telling {
                out.push(EffectKind::Tell(Told::Suppression(Box::new(telling))));
            }
        }
    }

    /// A model answered, or was not asked.
    pub(super) fn opinion(&mut self, now: Timestamp, answered: Answered<'_>, out: &mut Out) {
        let (threats, playbooks) = (&self.state.threats, &self.content.playbooks);
        let is_held = |id| threats.get(id).is_some();
        let is_loaded = |id: &str| playbooks.get(id).is_some();
        // Nothing waits for it: it was answered before, or came so late that it was closed.
        let Some(closed) = self.state.triage.receive(now, answered, is_held, is_loaded) else { return };
        if let Some(opinion) = taken(&closed) {
            self.heed(now, &closed, opinion, out);
        }
        out.publish(Record::Consultation(closed));
    }

    /// Lets an opinion do all that it can: raise. What it says beside that is in its consultation, for people to read.
    fn heed(&mut self, now: Timestamp, of: &Consultation, opinion: &Opinion, out: &mut Out) {
        #[cfg(test)]
        if self.lawless {
            return self.obey(now, of, opinion, out);
        }
        // Nothing of it depends on when it was.
        let _ = now;
        self.state.triage.raise(of, opinion);
        if let Some(threat) = self.state.threats.get(of.threat_id).cloned() {
            self.publish(threat, out);
        }
    }

    /// A person wants something of a suppression. Why it was not done was told to them; the log keeps that it was tried.
    pub(super) fn suppress(
        &mut self,
        now: Timestamp,
        scope: &Scope,
        wish: &SuppressionWish,
        by: &Principal,
        out: &mut Out,
    ) {
        // Of a rule that matched in other shards alone, nothing is known here but what the content says.
        let prior = if self.state.role == Role::Home { self.content.rules.prior(&scope.rule_id) } else { None };
        let wished = self.state.triage.wish(now, Wished { scope, wish, by, prior });
        self.decided(wished, out);
    }

    /// Closes consultations that nobody answered and suppressions that are over.
    pub(super) fn close_due(&mut self, now: Timestamp, out: &mut Out) {
        let threats = &self.state.threats;
        let (consultations, suppressions) = self.state.triage.expire(now, |id| threats.get(id).is_some());
        consultations.into_iter().for_each(|closed| out.publish(Record::Consultation(closed)));
        self.decided(suppressions, out);
    }

    /// Publishes a threat, with how urgent it is and what opinions added to it.
    pub(super) fn publish(&mut self, mut threat: Threat, out: &mut Out) {
        self.state.triage.show(&mut threat);
        out.publish(Record::Threat(threat));
    }

    /// Asks a model about these threats, where it is worth it and where people want it asked.
    pub(super) fn ask(&mut self, now: Timestamp, threats: &[Threat], out: &mut Out) {
        if !self.content.policy.consult || threats.is_empty() {
            return;
        }
        let playbooks: Vec<_> =
            self.content.playbooks.iter().map(|p| (p.id().to_owned(), p.name().to_owned())).collect();
        for threat in threats {
            let Some((consult, displaced)) = self.state.triage.ask(now, threat, &playbooks) else { continue };
            displaced.into_iter().for_each(|closed| out.publish(Record::Consultation(closed)));
            out.publish(Record::Consultation(consult.consultation.clone()));
            out.push(EffectKind::Consult(Box::new(consult)));
        }
    }
}

impl Out {
    fn suppressions(&mut self, changed: impl IntoIterator<Item = Suppression>) {
        changed.into_iter().for_each(|suppression| self.publish(Record::Suppression(suppression)));
    }

    pub(super) fn counted(&mut self, changed: Vec<Suppression>) {
        self.suppressions(changed);
    }
}

/// What an engine would do that believes what it is told. The tests of the monotone rule play against it, to show that
/// they see when the rule is gone.
#[cfg(test)]
impl Engine {
    pub(crate) fn without_the_monotone_rule(mut self) -> Engine {
        self.lawless = true;
        self
    }

    fn obey(&mut self, now: Timestamp, of: &Consultation, opinion: &Opinion, out: &mut Out) {
        let by = Principal(of.model.clone());
        for playbook in &opinion.playbooks {
            self.start(now, playbook, of.threat_id, &by, out);
        }
        if opinion.assessment == vertice_model::Assessment::LikelyBenign {
            let verdict = vertice_model::VerdictKind::FalsePositive;
            let note = opinion.false_positive_reason.clone().unwrap_or_default();
            self.verdict(of.threat_id, Verdict { verdict, by, at: now, note }, out);
        }
    }
}
