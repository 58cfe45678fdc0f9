//! The runs, questions and containments that are alive, and what changes them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vertice_model::{
    Containment, ContainmentId, ContainmentState, Order, OrderId, Principal, Question, QuestionId, QuestionState,
    Receipt, RunId, RunState, Step, StepState, Threat, ThreatId, ThreatState, Timestamp, VerdictKind,
};

use super::approved::Approved;
use super::context::Variable;
use super::course::{Course, containment_id, is_open, question_id};
use super::history::{Barred, History};
use super::ledger::{Due, Ledger, Standing};
use super::plan::{self, Plan};
use super::playbook::{Playbook, Playbooks, RollbackOn};
use super::policy::Policy;
use super::spent::Spent;
use super::wishes::{Answer, AnswerError, Change, ReleaseError, Start, StartError, how_it_ended, not_theirs};
use crate::limits;

/// The runs, questions and containments that are alive, and for a while those that were.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Responses {
    plans: BTreeMap<RunId, Plan>,
    ledger: Ledger,
    /// What each playbook did for each threat before.
    histories: BTreeMap<ThreatId, BTreeMap<String, History>>,
    spent: Spent,
    /// From where operators are logged in: nothing touches these.
    operators: Vec<IpAddr>,
    /// The runs that are over, by when they ended.
    finished: BTreeSet<(Timestamp, RunId)>,
    turned_away: u64,
}

impl Responses {
    /// Plans every playbook that is due for the threat as it now stands.
    pub fn consider(&mut self, now: Timestamp, threat: &Threat, playbooks: &Playbooks, policy: &Policy) -> Vec<Change> {
        self.forget(now);
        if threat.state != ThreatState::Open {
            return Vec::new();
        }
        let mut changes = self.pulse(now, threat, policy);
        for playbook in playbooks.iter().filter(|p| p.is_due(threat)) {
            changes.extend(self.consider_one(now, threat, playbook, policy));
        }
        changes
    }

    /// A person starts a playbook for a threat, whether it is due or not.
    ///
    /// # Errors
    /// If it can not begin; then nothing has changed.
    pub fn start(
        &mut self,
        now: Timestamp,
        threat: &Threat,
        start: Start<'_>,
        playbooks: &Playbooks,
        policy: &Policy,
    ) -> Result<Vec<Change>, StartError> {
        let Start { playbook, by } = start;
        let unknown = || StartError::Unknown { playbook: playbook.to_owned() };
        let playbook = playbooks.get(playbook).ok_or_else(unknown)?;
        let of = self.histories.get(&threat.threat_id).and_then(|of| of.get(playbook.id()));
        let mut history = of.cloned().unwrap_or_else(|| History::new(threat, now));
        if let Some(run) = history.runs.iter().find(|run| self.is_alive(**run)).copied() {
            return Err(StartError::Runs { playbook: playbook.id().to_owned(), run });
        }
        if self.runs_alive() >= limits::RUNS_ALIVE_MAX {
            return Err(StartError::TooMany);
        }
        let missing = playbook.missing(threat);
        let run_id = next_run(threat, playbook, &history);
        let mut plan = match missing.is_empty() {
            true => plan::plan(now, playbook, threat, run_id, policy),
            false => plan::refused(now, playbook, threat, run_id, lacking(&missing)),
        };
        plan.requested_by = Some(by.clone());
        history.aim.extend(plan.aim());
        history.begin(now, threat, run_id, missing);
        self.remember(threat.threat_id, playbook, history);
        self.plans.insert(run_id, plan.sealed());
        Ok(self.on(now, run_id, policy, |course| course.advance()))
    }

    /// The attack of a threat goes on: whatever holds it is looked at.
    fn pulse(&mut self, now: Timestamp, threat: &Threat, policy: &Policy) -> Vec<Change> {
        let runs = self.histories.get(&threat.threat_id).into_iter().flat_map(|of| of.values()).flat_map(|h| &h.runs);
        let goes_on = |id: &&RunId| self.plans.get(id).is_some_and(|plan| threat.detections > plan.detections);
        let runs: Vec<RunId> = runs.filter(goes_on).copied().collect();
        let mut changes = Vec::new();
        for run_id in runs {
            changes.extend(self.on(now, run_id, policy, |mut course| {
                course.plan.detections = threat.detections;
                course.plan.active_at = course.now;
                course.attack_goes_on(threat.severity);
                if course.parts.is_empty() { Vec::new() } else { course.changes() }
            }));
        }
        changes
    }

    /// Remembers that an order is about to be carried out.
    pub fn begun(&mut self, order: OrderId) {
        self.ledger.begun(order);
    }

    /// What became of an order. One that is not awaited changes nothing.
    pub fn receive(&mut self, now: Timestamp, receipt: &Receipt, policy: &Policy) -> Vec<Change> {
        let Some(open) = self.ledger.order(receipt.order_id).filter(|open| open.standing == Standing::Given) else {
            return Vec::new();
        };
        let run_id = open.order.run_id;
        let Some(open) = self.ledger.take(receipt.order_id) else { return Vec::new() };
        self.on(now, run_id, policy, |mut course| {
            course.receive(open, receipt.clone());
            course.advance()
        })
    }

    /// A person looked, and says whether an order of unknown outcome happened. One whose outcome is known changes nothing.
    pub fn resolve(
        &mut self,
        now: Timestamp,
        order: OrderId,
        happened: bool,
        by: &Principal,
        policy: &Policy,
    ) -> Vec<Change> {
        let unknown = |plan: &Plan| {
            let asked = |s: &Step| matches!(s.state, StepState::Unknown { order_id, .. } if order_id == order);
            plan.run.steps.iter().any(asked)
        };
        let run_id = self.ledger.order(order).map(|open| open.order.run_id);
        let Some(run_id) = run_id.filter(|id| self.plans.get(id).is_some_and(unknown)) else { return Vec::new() };
        let Some(open) = self.ledger.take(order) else { return Vec::new() };
        self.on(now, run_id, policy, |mut course| {
            course.resolve(open, happened, by);
            course.advance()
        })
    }

    /// From where operators are logged in now.
    pub fn operators(&mut self, from: &[IpAddr]) {
        self.operators = from.iter().map(IpAddr::to_canonical).collect();
    }

    /// The orders that were given and have no receipt, for whoever carries them out after a start.
    pub fn unfinished(&self) -> impl Iterator<Item = Approved<Order>> {
        self.ledger.given().map(super::ledger::Open::approved)
    }

    /// Whether an order still waits for its receipt, and whether it began.
    #[must_use]
    pub fn awaited(&self, order: OrderId) -> Option<bool> {
        self.ledger.order(order).filter(|open| open.standing == Standing::Given).map(|open| open.begun)
    }

    /// A person's answer.
    ///
    /// # Errors
    /// If it is not to this plan, or nothing waits for it any more; then nothing has changed.
    pub fn answer(&mut self, now: Timestamp, answer: Answer<'_>, policy: &Policy) -> Result<Vec<Change>, AnswerError> {
        let Answer { question: id, approve, plan_digest, by } = answer;
        let question = self.ledger.questions.get(&id).ok_or(AnswerError::Unknown { question: id })?;
        let (run_id, action_id) = (question.run_id, question.action_id.clone());
        if question.state != QuestionState::Pending {
            return Err(AnswerError::Closed { question: id, how: how_it_ended(question) });
        }
        if now >= question.expires_at {
            return Err(AnswerError::Late { question: id, until: question.expires_at });
        }
        if question.plan_digest != plan_digest {
            return Err(AnswerError::OtherPlan { question: id, plan_digest: question.plan_digest.clone() });
        }
        if let Some(why) = not_theirs(question, by, approve, policy) {
            return Err(AnswerError::NotYours { question: id, by: by.clone(), why });
        }
        if approve && question.approvals.len() + 1 < question.approvals_needed as usize {
            return Ok(self.half_approved(now, id, by));
        }
        let mut yes = question.approvals.clone();
        if approve {
            yes.push((by.clone(), now));
        }
        if let Some(question) = self.ledger.questions.get_mut(&id) {
            question.approvals.clone_from(&yes);
        }
        let state = if approve { QuestionState::Approved } else { QuestionState::Denied };
        let closed = self.ledger.close(id, state, Some((by.clone(), now)));
        let all: Vec<&str> = yes.iter().map(|(who, _)| who.0.as_str()).collect();
        let all = Principal(all.join(" and "));
        Ok(self.on(now, run_id, policy, |mut course| {
            course.parts.extend(closed.map(Change::Question));
            if let Some(i) = course.plan.place(&action_id) {
                if approve { course.approved(i, &all) } else { course.denied(i, format!("{by} said no")) }
            }
            course.advance()
        }))
    }

    /// One of several people who are needed said yes.
    fn half_approved(&mut self, now: Timestamp, id: QuestionId, by: &Principal) -> Vec<Change> {
        let Some(question) = self.ledger.questions.get_mut(&id) else { return Vec::new() };
        question.approvals.push((by.clone(), now));
        vec![Change::Question(question.clone())]
    }

    /// Carries out everything that is due: unanswered questions, ended leases.
    pub fn expire(&mut self, now: Timestamp, policy: &Policy) -> Vec<Change> {
        self.forget(now);
        let mut changes = Vec::new();
        while let Some((_, due)) = self.ledger.next_due().filter(|(at, _)| *at <= now) {
            changes.extend(match due {
                Due::Question(id) => self.time_out(now, id, policy),
                Due::Containment(id) => self.lapse(now, id, policy),
                Due::Order(id) => self.try_again(now, id, policy),
            });
        }
        changes
    }

    /// When [`Responses::expire`] has something to do next.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.ledger.next_due().map(|(at, _)| at)
    }

    /// A person judged a threat. If it is nothing, or allowed, nothing more begins, and what its playbooks say is
    /// taken back, the latest first. If it is confirmed, nothing happens by itself.
    pub fn verdict(
        &mut self,
        now: Timestamp,
        threat: ThreatId,
        verdict: VerdictKind,
        by: &Principal,
        policy: &Policy,
    ) -> Vec<Change> {
        let reason = match verdict {
            VerdictKind::Confirmed => return Vec::new(),
            VerdictKind::FalsePositive => format!("{by} judged the threat a false positive"),
            VerdictKind::Benign => format!("{by} judged the threat benign"),
        };
        let mut changes = Vec::new();
        let mut wrong = false;
        for run_id in self.latest_first(threat) {
            changes.extend(self.on(now, run_id, policy, |mut course| {
                wrong |= course.stands();
                if course.plan.rollback.contains(&RollbackOn::FalsePositiveConfirmed) && course.stands() {
                    course.take_back(by, &reason);
                } else if course.plan.run.state == RunState::Waiting {
                    course.withdraw(&reason, QuestionState::Cancelled);
                } else {
                    return Vec::new();
                }
                course.changes()
            }));
        }
        if wrong && verdict == VerdictKind::FalsePositive {
            self.spent.misstep(now);
        }
        changes
    }

    /// A person takes a containment back. Where its playbook says so, its whole run is taken back with it.
    ///
    /// # Errors
    /// If it holds nobody any more; then nothing has changed.
    pub fn release(
        &mut self,
        now: Timestamp,
        containment: ContainmentId,
        by: &Principal,
        reason: &str,
        policy: &Policy,
    ) -> Result<Vec<Change>, ReleaseError> {
        let found = self.ledger.containments.get(&containment).ok_or(ReleaseError::Unknown { containment })?;
        match &found.state {
            ContainmentState::Active => {}
            ContainmentState::Expired => {
                let how = format!("its lease ended at {}", found.lease_until);
                return Err(ReleaseError::Ended { containment, how });
            }
            ContainmentState::Releasing { by, .. } => {
                return Err(ReleaseError::Ended {
                    containment,
                    how: format!("{by} released it, and it is being undone"),
                });
            }
            ContainmentState::Released { by, .. } => {
                return Err(ReleaseError::Ended { containment, how: format!("{by} released it") });
            }
        }
        let (run_id, threat, playbook) = (found.run_id, found.threat_id, found.playbook_id.clone());
        let action_id = found.action_id.clone();
        let changes = self.on(now, run_id, policy, |mut course| {
            if course.plan.rollback.contains(&RollbackOn::ManualOverride) {
                course.take_back(by, reason);
            } else if let Some(i) = course.plan.place(&action_id) {
                course.undo(i, by, reason);
                course.withdraw(&format!("{by} took `{action_id}` back"), QuestionState::Cancelled);
            }
            course.changes()
        });
        if let Some(history) = self.histories.get_mut(&threat).and_then(|of| of.get_mut(&playbook)) {
            history.barred = Barred::Overridden;
        }
        Ok(changes)
    }

    /// A threat turned out to be one with an older one: what was done for it now belongs to that.
    pub fn threat_merged(&mut self, now: Timestamp, from: ThreatId, into: ThreatId, policy: &Policy) -> Vec<Change> {
        if from == into {
            return Vec::new();
        }
        let mut changes = Vec::new();
        for (playbook, history) in self.histories.remove(&from).unwrap_or_default() {
            let moved: Vec<RunId> = history.runs.iter().copied().collect();
            let there = self.histories.get(&into).and_then(|of| of.get(&playbook));
            let runs_there = there.is_some_and(|h| h.runs.iter().any(|run| self.is_alive(*run)));
            match self.histories.entry(into).or_default().entry(playbook.clone()) {
                Entry::Occupied(mut known) => known.get_mut().absorb(history),
                Entry::Vacant(place) => _ = place.insert(history),
            }
            for run_id in moved {
                changes.extend(self.on(now, run_id, policy, |mut course| {
                    if runs_there && course.plan.run.state == RunState::Waiting {
                        let why = format!("its threat became one with {into}, for which `{playbook}` runs already");
                        course.withdraw(&why, QuestionState::Superseded);
                    }
                    course.parts.clear();
                    course.belongs_to(into);
                    course.changes()
                }));
            }
        }
        changes
    }

    /// How many runs could not be planned because too many were alive.
    #[must_use]
    pub fn turned_away(&self) -> u64 {
        self.turned_away
    }

    /// How many runs are kept: those that are alive, and those that were for a while.
    #[must_use]
    pub fn runs_kept(&self) -> usize {
        self.plans.len()
    }

    /// Of how many threats it is remembered what was done.
    #[must_use]
    pub fn threats_kept(&self) -> usize {
        self.histories.len()
    }

    /// How many questions wait.
    #[must_use]
    pub fn questions_waiting(&self) -> usize {
        self.ledger.waiting()
    }

    /// The questions that wait for an answer.
    pub fn questions_pending(&self) -> impl Iterator<Item = &Question> {
        self.ledger.questions.values().filter(|q| q.state == QuestionState::Pending)
    }

    /// The containments that hold, heal, or are being taken out of the world.
    pub fn containments(&self) -> impl Iterator<Item = &Containment> {
        self.ledger.containments.values().filter(|c| self.ledger.holds(c.containment_id))
    }
}

impl Responses {
    fn consider_one(&mut self, now: Timestamp, threat: &Threat, playbook: &Playbook, policy: &Policy) -> Vec<Change> {
        let of = self.histories.get(&threat.threat_id).and_then(|of| of.get(&playbook.id));
        let mut history = of.cloned().unwrap_or_else(|| History::new(threat, now));
        let alive: Vec<RunId> = history.runs.iter().filter(|run| self.is_alive(**run)).copied().collect();
        for run in &alive {
            if let Some(plan) = self.plans.get_mut(run) {
                plan.severity = threat.severity;
            }
        }
        // What only holds, and heals, is no answer to a threat that became worse.
        let waits = |run: &RunId| self.plans.get(run).is_some_and(|plan| plan.run.state == RunState::Waiting);
        if alive.iter().any(waits) || (!alive.is_empty() && threat.severity <= history.severity) {
            history.look(now, threat);
            self.remember(threat.threat_id, playbook, history);
            return Vec::new();
        }
        if !history.stirs(now, threat) {
            return Vec::new();
        }
        let missing = playbook.missing(threat);
        let run_id = next_run(threat, playbook, &history);
        let planned = if missing.is_empty() {
            let plan = plan::plan(now, playbook, threat, run_id, policy);
            let aim = plan.aim();
            let due = history.is_due(now, threat, &aim);
            history.aim.extend(aim);
            due.then_some(plan)
        } else {
            // Told once, and again only when it is something else that is lacking.
            let told = history.missing == missing;
            (!told).then(|| plan::refused(now, playbook, threat, run_id, lacking(&missing)))
        };
        let Some(plan) = planned else {
            history.entities = threat.entities.len();
            self.remember(threat.threat_id, playbook, history);
            return Vec::new();
        };
        if self.runs_alive() >= limits::RUNS_ALIVE_MAX {
            self.turned_away += 1;
            return Vec::new();
        }
        history.begin(now, threat, run_id, missing);
        self.remember(threat.threat_id, playbook, history);
        self.plans.insert(run_id, plan.sealed());
        self.on(now, run_id, policy, |course| course.advance())
    }

    fn runs_alive(&self) -> usize {
        self.plans.len() - self.finished.len()
    }

    fn remember(&mut self, threat: ThreatId, playbook: &Playbook, history: History) {
        self.histories.entry(threat).or_default().insert(playbook.id.clone(), history);
    }

    /// Does something to one run, and files it away if it is over then.
    fn on(
        &mut self,
        now: Timestamp,
        run_id: RunId,
        policy: &Policy,
        act: impl FnOnce(Course<'_>) -> Vec<Change>,
    ) -> Vec<Change> {
        let Some(plan) = self.plans.get_mut(&run_id) else { return Vec::new() };
        let Responses { ledger, spent, operators, .. } = self;
        let course = Course { now, plan, ledger, spent, policy, operators, parts: Vec::new() };
        let changes = act(course);
        self.settle(now, run_id);
        changes
    }

    /// Nobody answered in time.
    fn time_out(&mut self, now: Timestamp, id: QuestionId, policy: &Policy) -> Vec<Change> {
        let Some(question) = self.ledger.close(id, QuestionState::Expired, None) else { return Vec::new() };
        self.on(now, question.run_id, policy, |mut course| {
            course.parts.push(Change::Question(question.clone()));
            if let Some(i) = course.plan.place(&question.action_id) {
                course.timed_out(i, &question);
            }
            course.advance()
        })
    }

    /// A lease ended, or a step of a containment's healing.
    fn lapse(&mut self, now: Timestamp, id: ContainmentId, policy: &Policy) -> Vec<Change> {
        let Some(held) = self.ledger.containments.get(&id) else { return Vec::new() };
        self.on(now, held.run_id, policy, |mut course| {
            course.lapse(id);
            course.parts
        })
    }

    /// The pause after a failed order is over.
    fn try_again(&mut self, now: Timestamp, id: OrderId, policy: &Policy) -> Vec<Change> {
        let Some(open) = self.ledger.take(id) else { return Vec::new() };
        self.on(now, open.order.run_id, policy, |mut course| {
            course.try_again(open);
            course.changes()
        })
    }

    /// Whether a run waits, or holds somebody.
    fn is_alive(&self, run_id: RunId) -> bool {
        let Some(plan) = self.plans.get(&run_id) else { return false };
        let awaited = plan.run.steps.iter().any(|s| is_open(&s.state) || s.state == StepState::Releasing);
        awaited || plan.done.iter().any(|i| self.ledger.holds(containment_id(plan, *i)))
    }

    /// Once a run is over: remembers what came of it, and counts its days.
    fn settle(&mut self, now: Timestamp, run_id: RunId) {
        let over = !self.is_alive(run_id);
        let Some(plan) = self.plans.get_mut(&run_id) else { return };
        if !over || plan.over_at.is_some() {
            return;
        }
        plan.over_at = Some(now);
        self.finished.insert((now, run_id));
        let run = &plan.run;
        let of = self.histories.get_mut(&run.threat_id).and_then(|of| of.get_mut(&run.playbook_id));
        let Some(history) = of else { return };
        // Nobody's silence to what was asked only because too much was going on counts as a no.
        let hindered = plan.hindered;
        let by_a_person = |s: &Step| {
            let question = s.question_id.and_then(|id| self.ledger.questions.get(&id));
            question.is_some_and(|q| q.state == QuestionState::Denied)
        };
        let said_no = |s: &&Step| matches!(s.state, StepState::Denied { .. }) && (!hindered || by_a_person(s));
        if run.steps.iter().any(|s| said_no(&s)) {
            history.barred = history.barred.max(Barred::Denied);
        }
        let held = plan.done.iter().any(|i| run.steps[*i].lease_s.is_some());
        if plan.hindered {
            history.again_at = Some(now.plus_seconds(limits::HINDERED_S));
        } else if held && run.state == RunState::Ended {
            history.again_at = Some(now);
        }
    }

    /// The runs of a threat, the latest first.
    fn latest_first(&self, threat: ThreatId) -> Vec<RunId> {
        let runs = self.histories.get(&threat).into_iter().flat_map(|of| of.values()).flat_map(|h| &h.runs);
        let mut runs: Vec<_> = runs.filter_map(|id| Some((self.plans.get(id)?.run.planned_at, *id))).collect();
        runs.sort_unstable_by(|a, b| b.cmp(a));
        runs.into_iter().map(|(_, id)| id).collect()
    }

    /// Forgets the runs that have been over for long; their records stay in the read model.
    fn forget(&mut self, now: Timestamp) {
        while let Some((at, run_id)) = self.finished.first().copied() {
            let old = at.plus_seconds(limits::RUNS_OVER_S) <= now;
            if !old && self.finished.len() <= limits::RUNS_OVER_MAX {
                break;
            }
            self.finished.remove(&(at, run_id));
            self.forget_run(run_id);
        }
        if self.histories.len() > limits::RESPONSE_THREATS_MAX {
            self.forget_threats();
        }
    }

    fn forget_run(&mut self, run_id: RunId) {
        let Some(plan) = self.plans.remove(&run_id) else { return };
        for (i, step) in plan.run.steps.iter().enumerate() {
            self.ledger.forget(step.question_id, question_id(&plan.run, step, false), containment_id(&plan, i));
        }
        let of = self.histories.get_mut(&plan.run.threat_id).and_then(|of| of.get_mut(&plan.run.playbook_id));
        if let Some(history) = of {
            history.runs.remove(&run_id);
        }
    }

    /// Forgets an eighth of the threats, those that were looked at longest ago and have no run that is kept.
    fn forget_threats(&mut self) {
        let idle = self.histories.iter().filter(|(_, of)| of.values().all(|h| h.runs.is_empty()));
        let mut idle: Vec<_> = idle.map(|(id, of)| (of.values().map(|h| h.touched).max(), *id)).collect();
        idle.sort_unstable();
        for (_, id) in idle.into_iter().take(limits::RESPONSE_THREATS_MAX / 8) {
            self.histories.remove(&id);
        }
    }
}

/// The id of the next run of a playbook for a threat.
fn next_run(threat: &Threat, playbook: &Playbook, history: &History) -> RunId {
    RunId::derive(&format!("{}|{}|{}", threat.threat_id, playbook.id, history.count + 1))
}

fn lacking(missing: &BTreeSet<Variable>) -> String {
    let names: Vec<_> = missing.iter().map(|v| format!("`{}`", v.name())).collect();
    format!("the threat does not tell {}", names.join(", "))
}
