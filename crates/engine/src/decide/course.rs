//! The course of one run: which steps are ready, what is asked, what is done or recorded, and how it is taken back.
//!
//! What is carried out for real is carried out by orders ([`super::act`]); how its containments heal is in
//! [`super::hold`]. A step that is only observed goes the same way, without orders.

use std::net::IpAddr;

use vertice_model::{
    ContainmentId, OnTimeout, Principal, Question, QuestionId, QuestionState, Run, RunState, Severity, Step, StepState,
    ThreatId, Timestamp,
};

use super::ledger::Ledger;
use super::plan::{Plan, forbidden};
use super::playbook::OnFailure;
use super::policy::Policy;
use super::spent::Spent;
use super::verb::Risk;
use super::wishes::Change;
use crate::limits;

/// One run, and what it may change.
pub(super) struct Course<'a> {
    pub(super) now: Timestamp,
    pub(super) plan: &'a mut Plan,
    pub(super) ledger: &'a mut Ledger,
    pub(super) spent: &'a mut Spent,
    pub(super) policy: &'a Policy,
    pub(super) operators: &'a [IpAddr],
    /// The questions, containments and orders that changed, in order.
    pub(super) parts: Vec<Change>,
}

/// Whether a step's turn has come.
enum Turn {
    Wait,
    Never(String),
    Now,
}

/// Who says yes where nobody is asked.
pub(super) fn by_policy() -> Principal {
    Principal("policy".to_owned())
}

/// Who takes back what nobody took back.
pub(super) fn ourselves() -> Principal {
    Principal("vertice".to_owned())
}

impl Course<'_> {
    /// Takes every step whose turn has come, and gives what changed, the run first.
    pub(super) fn advance(mut self) -> Vec<Change> {
        // Steps stand after those that they depend on, so one pass reaches all.
        for i in 0..self.plan.run.steps.len() {
            if self.plan.run.steps[i].state == StepState::Pending {
                match self.turn(i) {
                    Turn::Wait => {}
                    Turn::Never(reason) => self.plan.run.steps[i].state = StepState::Skipped { reason },
                    Turn::Now => self.begin(i),
                }
            }
        }
        if let Some(reason) = self.failed() {
            self.take_back(&ourselves(), &reason);
        }
        self.changes()
    }

    /// What changed, the run first.
    pub(super) fn changes(self) -> Vec<Change> {
        let run = &mut self.plan.run;
        if run.state == RunState::Waiting && !run.steps.iter().any(|s| is_open(&s.state)) {
            run.state = RunState::Ended;
            let done = |step: &Step| step.state == StepState::Done;
            run.success = !run.simulated && run.steps.iter().all(done);
        }
        run.timestamp = self.now;
        let mut changes = vec![Change::Run(run.clone())];
        changes.extend(self.parts);
        changes
    }

    /// As many people as are needed said yes to step `i`, or its `on_timeout` did.
    pub(super) fn approved(&mut self, i: usize, by: &Principal) {
        // The world may have changed since it was asked: what is protected now is not touched.
        match self.forbidden(i) {
            Some(reason) => self.plan.run.steps[i].state = StepState::Refused { reason },
            None => self.carry_out(i, by),
        }
    }

    /// The answer was no.
    pub(super) fn denied(&mut self, i: usize, reason: String) {
        self.plan.run.steps[i].state = StepState::Denied { reason };
    }

    /// Nobody answered the question before step `i` in time.
    pub(super) fn timed_out(&mut self, i: usize, question: &Question) {
        let waited_s = question.expires_at.micros_since(question.asked_at) / 1_000_000;
        let nobody = match question.approvals.len() {
            0 => format!("nobody answered within {waited_s} s"),
            n => format!("only {n} of {} people said yes within {waited_s} s", question.approvals_needed),
        };
        match question.on_timeout {
            OnTimeout::Deny if question.urgent => self.denied(i, format!("{nobody}, though it was asked twice")),
            OnTimeout::Deny => self.denied(i, nobody),
            OnTimeout::Escalate => self.ask(i, true, None),
            OnTimeout::Execute if self.plan.severity < Severity::Critical => {
                self.denied(i, format!("{nobody}, and the threat is not critical"));
            }
            OnTimeout::Execute if !self.plan.notes[i].reversible => {
                self.denied(i, format!("{nobody}, and nothing would undo it"));
            }
            OnTimeout::Execute => match self.affordable(i) {
                Ok(()) => self.approved(i, &by_policy()),
                Err(reason) => self.plan.run.steps[i].state = StepState::Refused { reason },
            },
        }
    }

    /// Takes the run back: nothing more of it begins, and what stands of it is undone, the latest first.
    pub(super) fn take_back(&mut self, by: &Principal, reason: &str) {
        self.withdraw(reason, QuestionState::Cancelled);
        self.plan.run.state = RunState::RolledBack;
        self.plan.run.success = false;
        self.plan.run.reason = Some(reason.to_owned());
        let done: Vec<usize> = self.plan.done.iter().rev().copied().collect();
        for i in done {
            self.undo(i, by, reason);
        }
    }

    /// Nothing more of the run begins; what stands of it stays.
    pub(super) fn withdraw(&mut self, reason: &str, as_: QuestionState) {
        for i in 0..self.plan.run.steps.len() {
            let step = &mut self.plan.run.steps[i];
            if !matches!(step.state, StepState::Pending | StepState::Asked) {
                continue;
            }
            step.state = StepState::Skipped { reason: reason.to_owned() };
            let withdrawn = step.question_id.and_then(|id| self.ledger.close(id, as_, None));
            self.parts.extend(withdrawn.map(Change::Question));
        }
    }

    /// The threat that it is for became one with another.
    pub(super) fn belongs_to(&mut self, threat: ThreatId) {
        self.plan.run.threat_id = threat;
        for i in 0..self.plan.run.steps.len() {
            let question = self.plan.run.steps[i].question_id.and_then(|id| self.ledger.questions.get_mut(&id));
            if let Some(question) = question {
                question.threat_id = threat;
                self.parts.push(Change::Question(question.clone()));
            }
            if let Some(held) = self.ledger.containments.get_mut(&containment_id(self.plan, i)) {
                held.threat_id = threat;
                self.parts.push(Change::Containment(held.clone()));
            }
        }
    }

    /// Whether anything of the run was done or recorded that still could be undone, or is about to be.
    pub(super) fn stands(&self) -> bool {
        let ordered = |step: &Step| matches!(step.state, StepState::Ordered { .. });
        self.plan.run.steps.iter().any(ordered)
            || self.plan.done.iter().any(|i| {
                let step = &self.plan.run.steps[*i];
                let lasting = step.lease_s.is_some();
                let came_about = matches!(step.state, StepState::Simulated | StepState::Done);
                let undoable = came_about && self.plan.notes[*i].reversible;
                undoable && (!lasting || self.ledger.holds(containment_id(self.plan, *i)))
            })
    }

    /// Why step `i` may not be carried out now, whoever wants it; `None` if nothing speaks against it.
    pub(super) fn forbidden(&self, i: usize) -> Option<String> {
        forbidden(self.policy, self.operators, &self.plan.run.steps[i], &self.plan.notes[i])
    }

    /// Whether step `i` is really carried out: it was planned so, and is still allowed to be.
    pub(super) fn live(&self, i: usize) -> bool {
        let note = &self.plan.notes[i];
        note.live && self.policy.live.contains(&note.verb)
    }

    /// The reason of the first step that did not come about and takes the run back with it.
    fn failed(&self) -> Option<String> {
        if self.plan.run.state == RunState::RolledBack {
            return None;
        }
        let steps = self.plan.run.steps.iter().zip(&self.plan.notes);
        let (step, _) = steps.into_iter().find(|(step, note)| {
            let failed =
                matches!(step.state, StepState::Refused { .. } | StepState::Denied { .. } | StepState::Failed { .. });
            failed && note.on_failure == OnFailure::Rollback
        })?;
        Some(format!("`{}` {}", step.action_id, became(&step.state)))
    }

    fn turn(&self, i: usize) -> Turn {
        let steps = &self.plan.run.steps;
        let mut wait = false;
        for (j, dependency) in steps.iter().enumerate().take(i) {
            if !steps[i].depends_on.contains(&dependency.action_id) {
                continue;
            }
            let goes_on = self.plan.notes[j].on_failure == OnFailure::Continue;
            match dependency.state {
                StepState::Simulated | StepState::Done => {}
                StepState::Pending
                | StepState::Asked
                | StepState::Ordered { .. }
                | StepState::Unknown { .. }
                | StepState::Releasing => wait = true,
                StepState::Refused { .. }
                | StepState::Denied { .. }
                | StepState::Skipped { .. }
                | StepState::Failed { .. }
                | StepState::Released => {
                    if !goes_on {
                        return Turn::Never(format!("`{}` {}", dependency.action_id, became(&dependency.state)));
                    }
                }
            }
        }
        if wait { Turn::Wait } else { Turn::Now }
    }

    fn begin(&mut self, i: usize) {
        if let Some(reason) = self.forbidden(i) {
            self.plan.run.steps[i].state = StepState::Refused { reason };
            return;
        }
        // What is too much to be done without a person's word is not dropped: a person is asked.
        let why = if self.plan.notes[i].ask.is_some() {
            None
        } else {
            match self.affordable(i) {
                Ok(()) => {
                    self.carry_out(i, &by_policy());
                    return;
                }
                Err(why) => Some(why),
            }
        };
        if self.ledger.waiting() < limits::QUESTIONS_WAITING_MAX {
            self.ask(i, false, why);
        } else {
            self.plan.hindered = true;
            let waiting = format!("{} questions wait already", self.ledger.waiting());
            let reason = why.map_or(waiting.clone(), |why| format!("{why}, and {waiting}"));
            self.plan.run.steps[i].state = StepState::Refused { reason };
        }
    }

    /// Whether the blast radius allows step `i` without a person's word.
    pub(super) fn affordable(&mut self, i: usize) -> Result<(), String> {
        let allowed = self.spent.allows(self.now, self.policy, &self.plan.run.steps[i].touches);
        self.plan.hindered |= allowed.is_err();
        allowed
    }

    /// Asks about step `i`; `why` says why it is asked about what its playbook asks nobody.
    fn ask(&mut self, i: usize, urgent: bool, why: Option<String>) {
        let live = self.live(i);
        let run = &mut self.plan.run;
        let ask = self.plan.notes[i].ask.as_ref();
        let (timeout_s, on_timeout) = ask.map_or((limits::APPROVAL_TIMEOUT_S, OnTimeout::Deny), |ask| {
            (ask.timeout_s, if urgent { OnTimeout::Deny } else { ask.on_timeout })
        });
        let question_id = question_id(run, &run.steps[i], urgent);
        let step = &mut run.steps[i];
        let prompt = ask.map_or_else(|| unplanned(step, why.as_deref().unwrap_or_default()), |a| a.prompt.clone());
        step.state = StepState::Asked;
        step.question_id = Some(question_id);
        let risk = self.plan.notes[i].verb.declares().risk;
        let question = Question {
            question_id,
            run_id: run.run_id,
            threat_id: run.threat_id,
            playbook_id: run.playbook_id.clone(),
            action_id: step.action_id.clone(),
            action_type: step.action_type.clone(),
            prompt,
            risk: risk.as_str().to_owned(),
            // What is only recorded harms nobody, and one word is enough.
            approvals_needed: if live && risk == Risk::High { self.policy.approvals_high.max(1) } else { 1 },
            approvals: Vec::new(),
            requested_by: self.plan.requested_by.clone(),
            severity: self.plan.severity,
            plan_digest: run.plan_digest.clone(),
            simulated: !live,
            urgent,
            on_timeout,
            asked_at: self.now,
            expires_at: self.now.plus_seconds(timeout_s),
            state: QuestionState::Pending,
            answered: None,
        };
        self.parts.push(Change::Question(self.ledger.ask(question)));
    }
}

/// Whether a step still waits for something.
pub(super) const fn is_open(state: &StepState) -> bool {
    match state {
        StepState::Pending | StepState::Asked | StepState::Ordered { .. } | StepState::Unknown { .. } => true,
        StepState::Simulated
        | StepState::Done
        | StepState::Refused { .. }
        | StepState::Denied { .. }
        | StepState::Skipped { .. }
        | StepState::Failed { .. }
        | StepState::Releasing
        | StepState::Released => false,
    }
}

/// The question about a step that its playbook asks nobody about.
fn unplanned(step: &Step, why: &str) -> String {
    let on: Vec<_> = step.touches.iter().map(vertice_model::Entity::name).collect();
    let on = if on.is_empty() { String::new() } else { format!(" on {}", on.join(", ")) };
    let lease = step.lease_s.map_or(String::new(), |s| format!(" for {s} s"));
    format!("May `{}` ({}) be done{on}{lease}? It is asked because {why}.", step.action_id, step.action_type)
}

/// The id of the question before a step: of the first, or of the one that is asked when nobody answers that.
pub(super) fn question_id(run: &Run, step: &Step, urgent: bool) -> QuestionId {
    let again = if urgent { "|again" } else { "" };
    QuestionId::derive(&format!("{}|{}{again}", run.run_id, step.action_id))
}

/// The id of the containment that step `i` leaves, if it leaves one.
pub(super) fn containment_id(plan: &Plan, i: usize) -> ContainmentId {
    ContainmentId::derive(&format!("{}|{}", plan.run.run_id, plan.run.steps[i].action_id))
}

/// What became of a step, in words.
fn became(state: &StepState) -> &'static str {
    match state {
        StepState::Pending => "has not begun",
        StepState::Asked => "waits for an answer",
        StepState::Simulated => "was simulated",
        StepState::Ordered { .. } => "is being done",
        StepState::Done => "was done",
        StepState::Refused { .. } => "was refused",
        StepState::Denied { .. } => "was denied",
        StepState::Skipped { .. } => "was left out",
        StepState::Failed { .. } => "failed",
        StepState::Unknown { .. } => "has an unknown outcome",
        StepState::Releasing => "is being taken back",
        StepState::Released => "was taken back",
    }
}
