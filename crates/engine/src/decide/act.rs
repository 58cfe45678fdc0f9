//! Acting: orders are given, and their receipts say what became of the steps.
//!
//! An order is given once and has one receipt. A try after a failure is an order of its own, so that whoever carries
//! them out never carries one out twice.

use vertice_model::{
    Action, ContainmentId, ContainmentState, Order, OrderId, Outcome, Principal, Receipt, RunState, StepState, Task,
    Timestamp,
};

use super::course::{Course, by_policy, containment_id, ourselves};
use super::ledger::{Open, Standing};
use super::wishes::Change;
use crate::limits;

/// An order about to be given.
pub(super) struct Given {
    /// For which step.
    pub(super) step: usize,
    pub(super) task: Task,
    pub(super) action: Action,
    /// The containment that it is for, if it is for one.
    pub(super) containment: Option<ContainmentId>,
    /// When the world is to let go by itself.
    pub(super) until: Option<Timestamp>,
    /// What is taken back once it is done.
    pub(super) then_undo: Option<Action>,
    pub(super) attempt: u32,
    pub(super) by: Principal,
}

impl Course<'_> {
    /// Every check was passed: step `i` is carried out, or recorded as simulated where nothing is done.
    pub(super) fn carry_out(&mut self, i: usize, by: &Principal) {
        let touches = self.plan.run.steps[i].touches.clone();
        self.spent.count(self.now, &touches);
        self.plan.run.steps[i].approved_by = Some(by.clone());
        if self.live(i) {
            self.try_step(i, 1, by, None);
        } else {
            self.plan.run.steps[i].state = StepState::Simulated;
            self.plan.done.push(i);
            self.contain(i, by, None);
        }
    }

    /// Gives the order to apply step `i`, now or after a pause.
    fn try_step(&mut self, i: usize, attempt: u32, by: &Principal, put_off: Option<Timestamp>) {
        let Ok(action) = self.plan.notes[i].action.clone() else { return };
        let lease_s = self.plan.run.steps[i].lease_s;
        let containment = lease_s.map(|_| containment_id(self.plan, i));
        let until = lease_s.map(|s| put_off.unwrap_or(self.now).plus_seconds(s));
        if let Some(id) = containment {
            self.ledger.grip(id, &action);
        }
        let order_id = self.give(
            Given { step: i, task: Task::Apply, action, containment, until, then_undo: None, attempt, by: by.clone() },
            put_off,
        );
        let step = &mut self.plan.run.steps[i];
        step.state = StepState::Ordered { order_id };
        step.attempts = attempt;
    }

    /// Gives an order, now or after a pause.
    pub(super) fn give(&mut self, given: Given, put_off: Option<Timestamp>) -> OrderId {
        self.plan.given += 1;
        let (run, note) = (&self.plan.run, &self.plan.notes[given.step]);
        let action_id = run.steps[given.step].action_id.clone();
        let order_id = OrderId::derive(&format!("{}|{action_id}|{}", run.run_id, self.plan.given));
        // What several hold alike is held as long as the longest of them.
        let until = given.until.max(self.ledger.gripped_until(&given.action).filter(|_| given.until.is_some()));
        let order = Order {
            order_id,
            run_id: run.run_id,
            threat_id: run.threat_id,
            action_id,
            containment_id: given.containment,
            task: given.task,
            action: given.action,
            until,
            success_criteria: note.success_criteria.clone(),
            timeout_s: note.timeout_s,
            attempt: given.attempt,
            ordered_at: self.now,
        };
        let plan_digest = run.plan_digest.clone();
        let standing = put_off.map_or(Standing::Given, Standing::PutOff);
        let open = Open { order, by: given.by, plan_digest, begun: false, standing, then_undo: given.then_undo };
        if put_off.is_none() {
            self.parts.push(Change::Act(open.approved()));
        }
        self.ledger.give(open);
        order_id
    }

    /// The pause after a failed order is over.
    pub(super) fn try_again(&mut self, open: Open) {
        let Some(step) = self.plan.place(&open.order.action_id) else { return };
        let order_id = open.order.order_id;
        let is_step = self.plan.run.steps[step].state == StepState::Ordered { order_id };
        if let Some(why) = self.pointless(&open, step, is_step) {
            if is_step {
                self.plan.run.steps[step].state = StepState::Failed { reason: why };
                self.clean_up(step, &open);
            }
            self.let_go_of(open.order.containment_id, step);
            return;
        }
        let Open { order: Order { task, action, containment_id, until, attempt, .. }, by, then_undo, .. } = open;
        let order_id =
            self.give(Given { step, task, action, containment: containment_id, until, then_undo, attempt, by }, None);
        if is_step {
            self.plan.run.steps[step].state = StepState::Ordered { order_id };
        }
    }

    /// Why an order that was put off is no longer to be given; `None` if it is.
    fn pointless(&self, open: &Open, step: usize, is_step: bool) -> Option<String> {
        let held = open.order.containment_id.and_then(|id| self.ledger.containments.get(&id));
        match open.order.task {
            Task::Undo => {
                self.ledger.is_gripped(&open.order.action).then(|| "somebody else holds it by now".to_owned())
            }
            Task::Apply if is_step && self.plan.run.state == RunState::RolledBack => {
                Some("it was taken back before it came about".to_owned())
            }
            Task::Apply if !is_step && held.is_none_or(|c| c.state != ContainmentState::Active) => {
                Some("nothing is to be held any more".to_owned())
            }
            Task::Apply => self.forbidden(step),
        }
    }

    /// What became of an order.
    pub(super) fn receive(&mut self, open: Open, receipt: Receipt) {
        let Some(i) = self.plan.place(&open.order.action_id) else { return };
        let is_step = match self.plan.run.steps[i].state {
            StepState::Ordered { order_id } | StepState::Unknown { order_id, .. } => order_id == receipt.order_id,
            _ => false,
        };
        match (open.order.task, is_step) {
            (Task::Apply, true) => self.applied_step(i, open, receipt),
            (Task::Apply, false) => self.applied_hold(i, open, receipt),
            (Task::Undo, _) => self.undone(i, open, receipt),
        }
    }

    fn applied_step(&mut self, i: usize, open: Open, receipt: Receipt) {
        let step = &mut self.plan.run.steps[i];
        step.criteria = receipt.criteria;
        step.note = receipt.note;
        let unmet: Vec<&str> = self.plan.notes[i]
            .success_criteria
            .iter()
            .map(String::as_str)
            .filter(|name| !step.criteria.get(*name).copied().unwrap_or(false))
            .collect();
        let unmet = unmet.join(", ");
        match receipt.outcome {
            Outcome::Done | Outcome::Already if unmet.is_empty() => {
                step.state = StepState::Done;
                self.plan.run.actions_executed += 1;
                self.plan.done.push(i);
                self.contain(i, &open.by, open.order.until);
                if self.plan.run.state == RunState::RolledBack {
                    // It was taken back while it was being done.
                    let reason = self.plan.run.reason.clone().unwrap_or_default();
                    self.undo(i, &ourselves(), &reason);
                }
            }
            Outcome::Done | Outcome::Already => {
                let reason = format!("it was done, and {unmet} is not to be seen");
                self.step_failed(i, open, reason, true, true);
            }
            Outcome::Failed { reason, retry } => {
                let lasts = open.order.containment_id.is_some();
                self.step_failed(i, open, reason, retry, lasts);
            }
            Outcome::Unknown { reason } => {
                let order_id = open.order.order_id;
                step.state = StepState::Unknown { order_id, reason };
                // Kept without being given again: a person says what became of it.
                self.ledger.give(Open { standing: Standing::Lost, ..open });
            }
        }
    }

    /// Takes back what may be left of an order that failed. Somebody who let go of the same meanwhile left it to us.
    fn clean_up(&mut self, i: usize, open: &Open) {
        if self.ledger_lets_go(open) || !self.plan.notes[i].reversible {
            return;
        }
        let given = Given {
            step: i,
            task: Task::Undo,
            action: open.order.action.clone(),
            containment: None,
            until: None,
            then_undo: None,
            attempt: 1,
            by: by_policy(),
        };
        self.give(given, None);
    }

    /// Lets the containment of a failed order go; true if somebody else still holds the same.
    fn ledger_lets_go(&mut self, open: &Open) -> bool {
        open.order.containment_id.is_some_and(|id| !self.ledger.let_go(id, &open.order.action))
    }

    fn step_failed(&mut self, i: usize, open: Open, reason: String, retry: bool, may_be_left: bool) {
        let attempt = open.order.attempt;
        let taken_back = self.plan.run.state == RunState::RolledBack;
        if retry && !taken_back && u64::from(attempt) <= self.plan.notes[i].retries {
            let at = self.now.plus_seconds(pause_s(attempt));
            self.plan.run.steps[i].note = reason;
            self.try_step(i, attempt + 1, &open.by, Some(at));
            return;
        }
        self.plan.run.steps[i].state = StepState::Failed { reason };
        if may_be_left {
            self.clean_up(i, &open);
        }
        if !retry {
            // A target that is gone is nobody's fault; what can not be done at all, again and again, is.
            self.spent.misstep(self.now);
        }
    }

    /// A person looked, and says whether an order of unknown outcome happened.
    pub(super) fn resolve(&mut self, open: Open, happened: bool, by: &Principal) {
        let Some(i) = self.plan.place(&open.order.action_id) else { return };
        let said = if happened { "it happened" } else { "it did not happen" };
        self.plan.run.steps[i].note = format!("{by} says that {said}");
        if happened {
            self.plan.run.steps[i].state = StepState::Done;
            self.plan.run.actions_executed += 1;
            self.plan.done.push(i);
            self.contain(i, by, open.order.until);
        } else {
            self.ledger_lets_go(&open);
            self.plan.run.steps[i].state = StepState::Failed { reason: format!("{by} says that {said}") };
        }
    }
}

/// Seconds before the next attempt.
pub(super) fn pause_s(attempt: u32) -> u64 {
    limits::RETRY_S.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(limits::RETRY_S_MAX)
}
