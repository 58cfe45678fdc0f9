//! What an input is about, for finding the shard whose engine knows of it.

use vertice_engine::Input;

use crate::record::RecordKind;

/// The shard that inputs go to which concern none by themselves, and which decides about suppressions.
pub(crate) const HOME: u32 = 0;

/// What an input is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Concern {
    /// Nothing that a shard has.
    Nothing,
    /// A record.
    Record(RecordKind, String),
    /// An order, which is a step of a run.
    Order(String),
}

impl Concern {
    /// What an input is about.
    pub(crate) fn of(input: &Input) -> Concern {
        match input {
            Input::Answer { question, .. } => Concern::Record(RecordKind::Question, question.to_string()),
            Input::Verdict { threat, .. } | Input::Start { threat, .. } => {
                Concern::Record(RecordKind::Threat, threat.to_string())
            }
            Input::Release { containment, .. } => Concern::Record(RecordKind::Containment, containment.to_string()),
            Input::Opinion { consultation, .. } => Concern::Record(RecordKind::Consultation, consultation.to_string()),
            Input::Begun { order } | Input::Resolve { order, .. } => Concern::Order(order.to_string()),
            Input::Receipt(receipt) => Concern::Order(receipt.order_id.to_string()),
            Input::Events(_)
            | Input::Routed(_)
            | Input::Content(_)
            | Input::Tick
            | Input::Operators(_)
            | Input::Key { .. }
            | Input::Suppress { .. }
            | Input::Told(_) => Concern::Nothing,
        }
    }
}
