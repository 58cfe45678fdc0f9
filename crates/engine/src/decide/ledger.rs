//! The questions, containments and orders that are kept, and when each falls due.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use vertice_model::{
    Action, Containment, ContainmentId, ContainmentState, Order, OrderId, Principal, Question, QuestionId,
    QuestionState, Timestamp,
};

use super::approved::Approved;

/// What falls due.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Due {
    /// The time to answer ends.
    Question(QuestionId),
    /// A lease ends.
    Containment(ContainmentId),
    /// An order is to be tried again.
    Order(OrderId),
}

/// The questions, containments and orders that are kept.
///
/// Invariant: `due` has exactly the pending questions, the active containments and the orders that are put off.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Ledger {
    pub(super) questions: BTreeMap<QuestionId, Question>,
    pub(super) containments: BTreeMap<ContainmentId, Containment>,
    /// The orders without a receipt.
    orders: BTreeMap<OrderId, Open>,
    /// How many of them each containment waits for.
    awaited: BTreeMap<ContainmentId, u32>,
    /// Who keeps up which action. Two containments may ask for the same, which then goes with the last of them.
    grips: BTreeMap<String, BTreeSet<ContainmentId>>,
    due: BTreeSet<(Timestamp, Due)>,
    waiting: usize,
}

/// An order without a receipt.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Open {
    pub(super) order: Order,
    pub(super) by: Principal,
    pub(super) plan_digest: String,
    /// Whether it is in the log that it was about to be carried out.
    pub(super) begun: bool,
    /// Whether it was given.
    pub(super) standing: Standing,
    /// What is taken back once it is done: the stronger or weaker form that it replaces.
    pub(super) then_undo: Option<Action>,
}

/// How an order without a receipt stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Standing {
    /// It was given, and its receipt is awaited.
    Given,
    /// It is to be given then.
    PutOff(Timestamp),
    /// Nobody can tell what became of it; a person says.
    Lost,
}

impl Open {
    /// The order as whoever carries it out is given it.
    pub(super) fn approved(&self) -> Approved<Order> {
        Approved::new(self.order.clone(), self.by.clone(), self.plan_digest.clone())
    }
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

    /// Closes a pending question; `None` if it is none. Nothing else changes a question's state, so it is closed once.
    pub(super) fn close(
        &mut self,
        id: QuestionId,
        state: QuestionState,
        answered: Option<(Principal, Timestamp)>,
    ) -> Option<Question> {
        let question = self.questions.get_mut(&id).filter(|q| q.state == QuestionState::Pending)?;
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

    /// Changes a containment that has not ended; `None` if it has, or if there is none.
    pub(super) fn change(&mut self, id: ContainmentId, change: impl FnOnce(&mut Containment)) -> Option<Containment> {
        let held = self.containments.get_mut(&id).filter(|c| stands(&c.state))?;
        self.due.remove(&(held.lease_until, Due::Containment(id)));
        change(held);
        if held.state == ContainmentState::Active {
            self.due.insert((held.lease_until, Due::Containment(id)));
        }
        Some(held.clone())
    }

    /// Forgets a question with the one that was asked before it, and a containment, none of which is alive.
    pub(super) fn forget(&mut self, question: Option<QuestionId>, first: QuestionId, containment: ContainmentId) {
        for id in [Some(first), question].into_iter().flatten() {
            self.questions.remove(&id);
        }
        self.containments.remove(&containment);
    }

    /// Whether this containment holds, heals, or is being taken out of the world.
    pub(super) fn holds(&self, id: ContainmentId) -> bool {
        self.containments.get(&id).is_some_and(|c| stands(&c.state))
    }

    /// Gives an order.
    pub(super) fn give(&mut self, open: Open) {
        if let Standing::PutOff(at) = open.standing {
            self.due.insert((at, Due::Order(open.order.order_id)));
        }
        if let Some(id) = open.order.containment_id {
            *self.awaited.entry(id).or_default() += 1;
        }
        self.orders.insert(open.order.order_id, open);
    }

    /// Takes an order out, because its receipt came or because it is given anew.
    pub(super) fn take(&mut self, id: OrderId) -> Option<Open> {
        let open = self.orders.remove(&id)?;
        if let Standing::PutOff(at) = open.standing {
            self.due.remove(&(at, Due::Order(id)));
        }
        if let Some(id) = open.order.containment_id
            && let Some(n) = self.awaited.get_mut(&id)
        {
            *n -= 1;
            if *n == 0 {
                self.awaited.remove(&id);
            }
        }
        Some(open)
    }

    /// An order without a receipt.
    pub(super) fn order(&self, id: OrderId) -> Option<&Open> {
        self.orders.get(&id)
    }

    /// Remembers that an order is about to be carried out.
    pub(super) fn begun(&mut self, id: OrderId) {
        if let Some(open) = self.orders.get_mut(&id) {
            open.begun = true;
        }
    }

    /// The orders that were given and have no receipt.
    pub(super) fn given(&self) -> impl Iterator<Item = &Open> {
        self.orders.values().filter(|open| open.standing == Standing::Given)
    }

    /// Whether an order for this containment has no receipt yet.
    pub(super) fn awaits(&self, id: ContainmentId) -> bool {
        self.awaited.contains_key(&id)
    }

    /// A containment keeps up an action from now on.
    pub(super) fn grip(&mut self, id: ContainmentId, action: &Action) {
        self.grips.entry(key(action)).or_default().insert(id);
    }

    /// A containment no longer keeps up an action. True if nobody else does, so that it is to be taken back.
    pub(super) fn let_go(&mut self, id: ContainmentId, action: &Action) -> bool {
        let key = key(action);
        let Some(holders) = self.grips.get_mut(&key) else { return true };
        holders.remove(&id);
        let last = holders.is_empty();
        if last {
            self.grips.remove(&key);
        }
        last
    }

    /// Whether somebody keeps up an action.
    pub(super) fn is_gripped(&self, action: &Action) -> bool {
        self.grips.contains_key(&key(action))
    }

    /// The latest end of lease of all who keep up an action.
    pub(super) fn gripped_until(&self, action: &Action) -> Option<Timestamp> {
        let holders = self.grips.get(&key(action))?;
        holders.iter().filter_map(|id| self.containments.get(id)).map(|c| c.lease_until).max()
    }
}

fn stands(state: &ContainmentState) -> bool {
    match state {
        ContainmentState::Active | ContainmentState::Releasing { .. } => true,
        ContainmentState::Expired | ContainmentState::Released { .. } => false,
    }
}

/// The canonical text of an action: equal actions have one.
fn key(action: &Action) -> String {
    serde_json::to_string(action).expect("an action has only what JSON can say")
}
