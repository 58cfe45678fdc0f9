//! The questions and containments that are kept, and when each falls due.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use vertice_model::{
    Containment, ContainmentId, ContainmentState, Principal, Question, QuestionId, QuestionState, Stage, Timestamp,
};

/// What falls due.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Due {
    /// The time to answer ends.
    Question(QuestionId),
    /// A lease ends.
    Containment(ContainmentId),
}

/// The questions and containments that are kept.
///
/// Invariant: `due` has exactly the waiting questions and the active containments.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Ledger {
    pub(super) questions: BTreeMap<QuestionId, Question>,
    pub(super) containments: BTreeMap<ContainmentId, Containment>,
    due: BTreeSet<(Timestamp, Due)>,
    waiting: usize,
}

impl Ledger {
    /// How many questions wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// What falls due next, and when.
    pub(super) fn next_due(&self) -> Option<(Timestamp, Due)> {
        self.due.first().copied()
    }

    /// Asks.
    pub(super) fn ask(&mut self, question: Question) -> Question {
        self.due.insert((question.expires_at, Due::Question(question.question_id)));
        self.waiting += 1;
        self.questions.insert(question.question_id, question.clone());
        question
    }

    /// Ends a waiting question; `None` if it does not wait.
    pub(super) fn close(
        &mut self,
        id: QuestionId,
        state: QuestionState,
        answered: Option<(Principal, Timestamp)>,
    ) -> Option<Question> {
        let question = self.questions.get_mut(&id).filter(|q| q.state == QuestionState::Waiting)?;
        question.state = state;
        question.answered = answered;
        self.due.remove(&(question.expires_at, Due::Question(id)));
        self.waiting -= 1;
        Some(question.clone())
    }

    /// Begins a containment.
    pub(super) fn hold(&mut self, containment: Containment) -> Containment {
        self.due.insert((containment.lease_until, Due::Containment(containment.containment_id)));
        self.containments.insert(containment.containment_id, containment.clone());
        containment
    }

    /// Ends an active containment; `None` if it is none.
    pub(super) fn end(&mut self, id: ContainmentId, state: ContainmentState) -> Option<Containment> {
        let held = self.containments.get_mut(&id).filter(|c| c.state == ContainmentState::Active)?;
        held.state = state;
        held.stage = Stage::Healed;
        self.due.remove(&(held.lease_until, Due::Containment(id)));
        Some(held.clone())
    }

    /// Forgets a question with the one that was asked before it, and a containment, none of which is alive.
    pub(super) fn forget(&mut self, question: Option<QuestionId>, first: QuestionId, containment: ContainmentId) {
        for id in [Some(first), question].into_iter().flatten() {
            self.questions.remove(&id);
        }
        self.containments.remove(&containment);
    }

    /// Whether this containment holds.
    pub(super) fn holds(&self, id: ContainmentId) -> bool {
        self.containments.get(&id).is_some_and(|c| c.state == ContainmentState::Active)
    }
}
