//! Holding and letting go: containments begin, go from stage to stage, and end once they are seen to be gone.

use vertice_model::{
    Action, Containment, ContainmentId, ContainmentState, Hold, Outcome, Principal, Receipt, Severity, Stage,
    StepState, Task, Timestamp,
};

use super::act::{Given, pause_s};
use super::course::{Course, by_policy, containment_id, ourselves};
use super::hemostasis::{self, Next};
use super::ledger::Open;
use super::wishes::Change;
use crate::limits;

impl Course<'_> {
    /// Step `i` came about: what lasts of it is a containment from now on. `until` is when its order lets go.
    pub(super) fn contain(&mut self, i: usize, by: &Principal, until: Option<Timestamp>) {
        let containment_id = containment_id(self.plan, i);
        let asked = self.plan.run.steps[i].question_id.is_some();
        let run = &self.plan.run;
        let step = &run.steps[i];
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
            simulated: step.state == StepState::Simulated,
            action: self.plan.notes[i].action.clone().ok(),
            stage: if reflex { Stage::Reflex } else { Stage::Durable },
            hold: Hold::Full,
            lease_s,
            recurrences: 0,
            renewals: 0,
            state: ContainmentState::Active,
            since: self.now,
            lease_until: until.unwrap_or_else(|| self.now.plus_seconds(lease_s)),
            approved_by: Some(by.clone()),
            note: step.note.clone(),
        };
        self.parts.push(Change::Containment(self.ledger.hold(containment)));
    }

    /// Undoes one step that came about, if anything stands of it.
    pub(super) fn undo(&mut self, i: usize, by: &Principal, reason: &str) {
        let simulated = match self.plan.run.steps[i].state {
            StepState::Simulated => true,
            StepState::Done => false,
            _ => return,
        };
        if !self.plan.notes[i].reversible {
            return;
        }
        let id = containment_id(self.plan, i);
        let lasts = self.plan.run.steps[i].lease_s.is_some();
        match (lasts, simulated) {
            (true, _) => {
                // What lasted and holds nobody any more has ended by itself.
                if self.ledger.holds(id) {
                    self.plan.run.steps[i].state = StepState::Releasing;
                    self.end(id, i, by, reason, false);
                }
            }
            (false, true) => self.plan.run.steps[i].state = StepState::Released,
            (false, false) => {
                self.plan.run.steps[i].state = StepState::Releasing;
                if let Ok(action) = self.plan.notes[i].action.clone() {
                    self.order_undo(i, action, None, 1, None);
                }
            }
        }
    }

    /// The lease of a containment ended, or the step of its healing that it was in.
    pub(super) fn lapse(&mut self, id: ContainmentId) {
        let Some(held) = self.ledger.containments.get(&id).cloned() else { return };
        let Some(i) = self.plan.place(&held.action_id) else { return };
        // A verb that is no longer live gives back, and holds nothing anew, whatever the attack does.
        let quiet_s = match held.simulated || self.live(i) {
            true => self.now.micros_since(self.plan.active_at.max(held.since)) / 1_000_000,
            false => u64::MAX,
        };
        match hemostasis::at_the_end(&held, quiet_s, self.policy) {
            Next::Healed => self.end(id, i, &ourselves(), "its probation passed in quiet", true),
            Next::Stage { stage, hold, lease_s } => self.shift(&held, i, stage, hold, lease_s),
        }
    }

    /// The attack that a containment of this run holds goes on.
    pub(super) fn attack_goes_on(&mut self, severity: Severity) {
        for i in self.plan.done.clone() {
            let id = containment_id(self.plan, i);
            let Some(held) = self.ledger.containments.get(&id).filter(|c| c.state == ContainmentState::Active) else {
                continue;
            };
            let held = held.clone();
            if !held.simulated && !self.live(i) {
                continue;
            }
            let Some(Next::Stage { stage, hold, lease_s }) = hemostasis::on_activity(&held, severity, self.policy)
            else {
                continue;
            };
            // To hold it anew is to touch it: whatever has become protected meanwhile is let go instead.
            if let Some(why) = self.forbidden(i) {
                self.end(id, i, &ourselves(), &why, false);
            } else if held.stage != Stage::Probation || self.affordable(i).is_ok() {
                self.shift(&held, i, stage, hold, lease_s);
            }
        }
    }

    /// Takes a containment to a stage that holds this much for this long.
    fn shift(&mut self, held: &Containment, i: usize, stage: Stage, hold: Hold, lease_s: u64) {
        let (id, now) = (held.containment_id, self.now);
        let until = now.plus_seconds(lease_s);
        let comes_back = held.stage == Stage::Probation && stage == Stage::Durable;
        let changed = self.ledger.change(id, |c| {
            c.renewals += u32::from(c.hold == hold && stage == Stage::Durable);
            c.recurrences += u32::from(comes_back);
            if stage == Stage::Durable {
                c.lease_s = lease_s;
            }
            (c.stage, c.hold, c.lease_until) = (stage, hold, until);
        });
        self.parts.extend(changed.map(Change::Containment));
        if comes_back {
            let touches = self.plan.run.steps[i].touches.clone();
            self.spent.count(now, &touches);
        }
        let Some(action) = held.action.as_ref().filter(|_| !held.simulated) else { return };
        match (hemostasis::in_force(action, held.hold), hemostasis::in_force(action, hold)) {
            (before, Some(after)) => {
                self.ledger.grip(id, &after);
                let then_undo = before.filter(|before| *before != after);
                let given = Given {
                    step: i,
                    task: Task::Apply,
                    action: after,
                    containment: Some(id),
                    until: Some(until),
                    then_undo,
                    attempt: 1,
                    by: by_policy(),
                };
                self.give(given, None);
            }
            (Some(before), None) => {
                if self.ledger.let_go(id, &before) {
                    self.order_undo(i, before, Some(id), 1, None);
                }
            }
            (None, None) => {}
        }
    }

    /// Ends a containment: what stands of it is taken out of the world, and once that is seen, it has ended.
    pub(super) fn end(&mut self, id: ContainmentId, i: usize, by: &Principal, reason: &str, healed: bool) {
        let Some(held) = self.ledger.containments.get(&id).cloned() else { return };
        if held.state != ContainmentState::Active {
            return;
        }
        self.ledger.change(id, |c| {
            c.state = ContainmentState::Releasing { by: by.clone(), reason: reason.to_owned(), healed };
            c.hold = Hold::None;
        });
        let Some(action) = held.action.as_ref().filter(|_| !held.simulated) else {
            self.let_go_of(Some(id), i);
            return;
        };
        // Also what is not in force any more is looked at once more: healed is gone, and seen to be gone.
        let both = [hemostasis::in_force(action, Hold::Reduced), Some(action.clone())];
        for action in both.into_iter().flatten() {
            if self.ledger.let_go(id, &action) {
                self.order_undo(i, action, Some(id), 1, None);
            }
        }
        if !self.ledger.awaits(id) {
            self.let_go_of(Some(id), i);
        } else if let Some(c) = self.ledger.containments.get(&id) {
            self.parts.push(Change::Containment(c.clone()));
        }
    }

    fn order_undo(
        &mut self,
        step: usize,
        action: Action,
        containment: Option<ContainmentId>,
        attempt: u32,
        put_off: Option<Timestamp>,
    ) {
        let by = by_policy();
        let task = Task::Undo;
        self.give(Given { step, task, action, containment, until: None, then_undo: None, attempt, by }, put_off);
    }

    /// A renewal, a weaker or a stronger form was applied, or was not.
    pub(super) fn applied_hold(&mut self, i: usize, open: Open, receipt: Receipt) {
        let Some(id) = open.order.containment_id else { return };
        let note = match &receipt.outcome {
            Outcome::Done | Outcome::Already => receipt.note.clone(),
            Outcome::Failed { reason, .. } | Outcome::Unknown { reason } => reason.clone(),
        };
        let came_about = matches!(receipt.outcome, Outcome::Done | Outcome::Already);
        let active = self.ledger.containments.get(&id).is_some_and(|c| c.state == ContainmentState::Active);
        if active {
            let changed = self.ledger.change(id, |c| c.note = note);
            self.parts.extend(changed.map(Change::Containment));
            // Giving back goes on even where the weaker form failed; what was to be stronger keeps what there is.
            let weaker = self.ledger.containments.get(&id).is_some_and(|c| c.hold != Hold::Full);
            if let Some(before) = open.then_undo.clone().filter(|_| came_about || weaker)
                && self.ledger.let_go(id, &before)
            {
                self.order_undo(i, before, Some(id), 1, None);
            }
        }
        let retry = matches!(receipt.outcome, Outcome::Failed { retry: true, .. });
        if active && retry && u64::from(open.order.attempt) <= limits::ACTION_RETRIES_MAX {
            let at = self.now.plus_seconds(pause_s(open.order.attempt));
            let (action, attempt) = (open.order.action, open.order.attempt + 1);
            let (until, then_undo, by) = (open.order.until, open.then_undo, open.by);
            let given =
                Given { step: i, task: Task::Apply, action, containment: Some(id), until, then_undo, attempt, by };
            self.give(given, Some(at));
        } else if !active {
            self.let_go_of(Some(id), i);
        }
    }

    /// Something was taken back, or was not.
    pub(super) fn undone(&mut self, i: usize, open: Open, receipt: Receipt) {
        let id = open.order.containment_id;
        match receipt.outcome {
            Outcome::Done | Outcome::Already => {
                if id.is_none() && self.plan.run.steps[i].state == StepState::Releasing {
                    self.plan.run.steps[i].state = StepState::Released;
                }
                self.let_go_of(id, i);
            }
            Outcome::Failed { reason, retry } => {
                self.say(id, i, format!("not taken back yet: {reason}"));
                // What can not be taken back by trying again waits for a person, who sees why.
                if retry {
                    let attempt = open.order.attempt;
                    let at = self.now.plus_seconds(pause_s(attempt));
                    self.order_undo(i, open.order.action, id, attempt.saturating_add(1), Some(at));
                }
            }
            Outcome::Unknown { reason } => self.say(id, i, format!("whether it was taken back is unknown: {reason}")),
        }
    }

    fn say(&mut self, id: Option<ContainmentId>, i: usize, note: String) {
        match id {
            Some(id) => {
                let changed = self.ledger.change(id, |c| c.note = note);
                self.parts.extend(changed.map(Change::Containment));
            }
            None => self.plan.run.steps[i].note = note,
        }
    }

    /// Nothing is awaited for a containment that is being released: it has ended.
    pub(super) fn let_go_of(&mut self, id: Option<ContainmentId>, i: usize) {
        let Some(id) = id else { return };
        if self.ledger.awaits(id) {
            return;
        }
        let now = self.now;
        let ended = self.ledger.change(id, |c| {
            let ContainmentState::Releasing { by, reason, healed } = &c.state else { return };
            (c.stage, c.hold) = (Stage::Healed, Hold::None);
            c.note = lessons(c, now);
            c.state = match healed {
                true => ContainmentState::Expired,
                false => ContainmentState::Released { by: by.clone(), reason: reason.clone() },
            };
        });
        let Some(ended) = ended.filter(|c| c.stage == Stage::Healed) else { return };
        let step = &mut self.plan.run.steps[i].state;
        if *step == StepState::Releasing {
            *step = StepState::Released;
        }
        self.parts.push(Change::Containment(ended));
    }
}

/// What is to be learned from a containment that ended.
fn lessons(held: &Containment, now: Timestamp) -> String {
    let seen = if held.simulated { "would have held" } else { "seen to be gone; held" };
    let held_s = now.micros_since(held.since) / 1_000_000;
    let (renewed, back) = (held.renewals, held.recurrences);
    format!("{seen} {held_s} s, renewed {renewed} times, the attack came back {back} times")
}
