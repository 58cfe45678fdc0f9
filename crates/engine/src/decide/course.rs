//! The course of one run: which steps are ready, what is asked, what is recorded, and how it is taken back.

use vertice_model::{
    Containment, ContainmentId, ContainmentState, Hold, OnTimeout, Principal, Question, QuestionId, QuestionState, Run,
    RunState, Severity, Stage, Step, StepState, ThreatId, Timestamp,
};

use super::ledger::Ledger;
use super::plan::{Plan, forbidden};
use super::playbook::OnFailure;
use super::policy::Policy;
use super::responses::Change;
use super::spent::Spent;
use crate::limits;

/// One run, and what it may change.
pub(super) struct Course<'a> {
    pub(super) now: Timestamp,
    pub(super) plan: &'a mut Plan,
    pub(super) ledger: &'a mut Ledger,
    pub(super) spent: &'a mut Spent,
    /// The questions and containments that changed, in order.
    pub(super) parts: Vec<Change>,
}

/// Whether a step's turn has come.
enum Turn {
    Wait,
    Never(String),
    Now,
}

impl Course<'_> {
    /// Takes every step whose turn has come, and gives what changed, the run first.
    pub(super) fn advance(mut self, policy: &Policy) -> Vec<Change> {
        // Steps stand after those that they depend on, so one pass reaches all.
        for i in 0..self.plan.run.steps.len() {
            if self.plan.run.steps[i].state == StepState::Pending {
                match self.turn(i) {
                    Turn::Wait => {}
                    Turn::Never(reason) => self.plan.run.steps[i].state = StepState::Skipped { reason },
                    Turn::Now => self.begin(i, policy),
                }
            }
        }
        if let Some(reason) = self.failed() {
            self.take_back(&Principal("vertice".to_owned()), &reason);
        }
        self.changes()
    }

    /// What changed, the run first.
    pub(super) fn changes(self) -> Vec<Change> {
        let run = &mut self.plan.run;
        let open = |state: &StepState| matches!(state, StepState::Pending | StepState::Asked);
        if run.state == RunState::Waiting && !run.steps.iter().any(|s| open(&s.state)) {
            run.state = RunState::Ended;
        }
        run.timestamp = self.now;
        let mut changes = vec![Change::Run(run.clone())];
        changes.extend(self.parts);
        changes
    }

    /// A person's answer, or that of its `on_timeout`, to the question before step `i`.
    pub(super) fn approved(&mut self, i: usize, policy: &Policy) {
        // The world may have changed since it was asked: what is protected now is not touched.
        match forbidden(policy, &self.plan.run.steps[i], &self.plan.notes[i]) {
            Some(reason) => self.plan.run.steps[i].state = StepState::Refused { reason },
            None => self.record(i),
        }
    }

    /// The answer was no.
    pub(super) fn denied(&mut self, i: usize, reason: String) {
        self.plan.run.steps[i].state = StepState::Denied { reason };
    }

    /// Nobody answered the question before step `i` in time.
    pub(super) fn timed_out(&mut self, i: usize, question: &Question, policy: &Policy) {
        let waited_s = question.expires_at.micros_since(question.asked_at) / 1_000_000;
        let nobody = format!("nobody answered within {waited_s} s");
        match question.on_timeout {
            OnTimeout::Deny if question.urgent => self.denied(i, format!("{nobody}, though it was asked twice")),
            OnTimeout::Deny => self.denied(i, nobody),
            OnTimeout::Escalate => self.ask(i, true),
            OnTimeout::Execute if self.plan.severity < Severity::Critical => {
                self.denied(i, format!("{nobody}, and the threat is not critical"));
            }
            OnTimeout::Execute if !self.plan.notes[i].reversible => {
                self.denied(i, format!("{nobody}, and nothing would undo it"));
            }
            OnTimeout::Execute => match self.affordable(i, policy) {
                Ok(()) => self.approved(i, policy),
                Err(reason) => self.plan.run.steps[i].state = StepState::Refused { reason },
            },
        }
    }

    /// Takes the run back: nothing more of it begins, and what stands of it is undone, the latest first.
    pub(super) fn take_back(&mut self, by: &Principal, reason: &str) {
        self.withdraw(reason);
        let done: Vec<usize> = self.plan.done.iter().rev().copied().collect();
        for i in done {
            self.undo(i, by, reason);
        }
        self.plan.run.state = RunState::RolledBack;
        self.plan.run.reason = Some(reason.to_owned());
    }

    /// Nothing more of the run begins; what stands of it stays.
    pub(super) fn withdraw(&mut self, reason: &str) {
        for i in 0..self.plan.run.steps.len() {
            let step = &mut self.plan.run.steps[i];
            if !matches!(step.state, StepState::Pending | StepState::Asked) {
                continue;
            }
            step.state = StepState::Skipped { reason: reason.to_owned() };
            let withdrawn = step.question_id.and_then(|id| self.ledger.close(id, QuestionState::Withdrawn, None));
            self.parts.extend(withdrawn.map(Change::Question));
        }
    }

    /// Undoes one recorded step, if anything stands of it.
    pub(super) fn undo(&mut self, i: usize, by: &Principal, reason: &str) {
        let id = containment_id(self.plan, i);
        let step = &mut self.plan.run.steps[i];
        if step.state != StepState::Simulated || !self.plan.notes[i].reversible {
            return;
        }
        let state = ContainmentState::Released { by: by.clone(), reason: reason.to_owned() };
        let released = self.ledger.end(id, state);
        // What lasted and holds nobody any more has ended by itself.
        if step.lease_s.is_none() || released.is_some() {
            step.state = StepState::Released;
        }
        self.parts.extend(released.map(Change::Containment));
    }

    /// The threat that it is for became one with another.
    pub(super) fn belongs_to(&mut self, threat: ThreatId) {
        self.plan.run.threat_id = threat;
        for (i, step) in self.plan.run.steps.iter().enumerate() {
            let question = step.question_id.and_then(|id| self.ledger.questions.get_mut(&id));
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

    /// Whether the run has recorded anything that still could be undone.
    pub(super) fn stands(&self) -> bool {
        self.plan.done.iter().any(|i| {
            let step = &self.plan.run.steps[*i];
            let lasting = step.lease_s.is_some();
            let undoable = step.state == StepState::Simulated && self.plan.notes[*i].reversible;
            undoable && (!lasting || self.ledger.holds(containment_id(self.plan, *i)))
        })
    }

    /// The reason of the first step that did not come about and takes the run back with it.
    fn failed(&self) -> Option<String> {
        if self.plan.run.state == RunState::RolledBack {
            return None;
        }
        let steps = self.plan.run.steps.iter().zip(&self.plan.notes);
        let (step, _) = steps.into_iter().find(|(step, note)| {
            let failed = matches!(step.state, StepState::Refused { .. } | StepState::Denied { .. });
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
                StepState::Simulated => {}
                StepState::Pending | StepState::Asked => wait = true,
                StepState::Refused { .. }
                | StepState::Denied { .. }
                | StepState::Skipped { .. }
                | StepState::Released => {
                    if !goes_on {
                        return Turn::Never(format!("`{}` {}", dependency.action_id, became(&dependency.state)));
                    }
                }
            }
        }
        if wait { Turn::Wait } else { Turn::Now }
    }

    fn begin(&mut self, i: usize, policy: &Policy) {
        let refusal = match forbidden(policy, &self.plan.run.steps[i], &self.plan.notes[i]) {
            Some(reason) => Err(reason),
            None if self.plan.notes[i].ask.is_some() => {
                if self.ledger.waiting() < limits::QUESTIONS_WAITING_MAX {
                    self.ask(i, false);
                    return;
                }
                self.plan.hindered = true;
                Err(format!("{} questions wait already", self.ledger.waiting()))
            }
            None => self.affordable(i, policy),
        };
        match refusal {
            Ok(()) => self.record(i),
            Err(reason) => self.plan.run.steps[i].state = StepState::Refused { reason },
        }
    }

    /// Whether the blast radius allows step `i` without a person's word.
    fn affordable(&mut self, i: usize, policy: &Policy) -> Result<(), String> {
        let allowed = self.spent.allows(self.now, policy, &self.plan.run.steps[i].touches);
        self.plan.hindered |= allowed.is_err();
        allowed
    }

    fn ask(&mut self, i: usize, urgent: bool) {
        let run = &mut self.plan.run;
        let Some(ask) = &self.plan.notes[i].ask else { return };
        let question_id = question_id(run, &run.steps[i], urgent);
        let step = &mut run.steps[i];
        step.state = StepState::Asked;
        step.question_id = Some(question_id);
        let question = Question {
            question_id,
            run_id: run.run_id,
            threat_id: run.threat_id,
            playbook_id: run.playbook_id.clone(),
            action_id: step.action_id.clone(),
            action_type: step.action_type.clone(),
            prompt: ask.prompt.clone(),
            severity: self.plan.severity,
            plan_digest: run.plan_digest.clone(),
            simulated: run.simulated,
            urgent,
            // Asked once more, and then the answer is no.
            on_timeout: if urgent { OnTimeout::Deny } else { ask.on_timeout },
            asked_at: self.now,
            expires_at: self.now.plus_seconds(ask.timeout_s),
            state: QuestionState::Waiting,
            answered: None,
        };
        self.parts.push(Change::Question(self.ledger.ask(question)));
    }

    /// Every check was passed: step `i` is recorded as simulated, and nothing is done.
    fn record(&mut self, i: usize) {
        let containment_id = containment_id(self.plan, i);
        let asked = self.plan.notes[i].ask.is_some();
        let run = &mut self.plan.run;
        let step = &mut run.steps[i];
        step.state = StepState::Simulated;
        self.plan.done.push(i);
        self.spent.count(self.now, &step.touches);
        let (Some(lease_s), Some(entity)) = (step.lease_s, step.touches.first()) else { return };
        let reflex = !asked && lease_s <= limits::REFLEX_S_MAX;
        let containment = Containment {
            containment_id,
            run_id: run.run_id,
            threat_id: run.threat_id,
            playbook_id: run.playbook_id.clone(),
            action_id: step.action_id.clone(),
            action_type: step.action_type.clone(),
            entity: entity.clone(),
            simulated: true,
            action: self.plan.notes[i].action.clone().ok(),
            hold: Hold::Full,
            recurrences: 0,
            renewals: 0,
            stage: if reflex { Stage::Reflex } else { Stage::Durable },
            state: ContainmentState::Active,
            since: self.now,
            lease_until: self.now.plus_seconds(lease_s),
        };
        self.parts.push(Change::Containment(self.ledger.hold(containment)));
    }
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
        StepState::Refused { .. } => "was refused",
        StepState::Denied { .. } => "was denied",
        StepState::Skipped { .. } => "was left out",
        StepState::Released => "was taken back",
    }
}
