//! Everything the engine can ask of the outside world.

use serde::{Deserialize, Serialize};
use vertice_model::{
    Consultation, Containment, Detection, EffectId, Order, Position, Question, Run, Suppression, Threat,
};

use crate::decide::Approved;
use crate::told::Told;
use crate::triage::Consult;

/// Something the engine wants from the outside world.
#[derive(Debug, PartialEq, Serialize)]
pub struct Effect {
    /// Derived from the log position of the input that caused it.
    pub id: EffectId,
    /// What it wants.
    pub kind: EffectKind,
}

/// What the engine can want.
#[derive(Debug, PartialEq, Serialize)]
#[expect(clippy::large_enum_variant, reason = "nearly all effects are records; a box for each would cost more")]
pub enum EffectKind {
    /// This is how things stand now: tell the read model and whoever listens. A record with the id of
    /// an earlier one takes its place.
    Publish(Record),
    /// A person must be asked. The question's own record is published beside.
    Ask(Question),
    /// Something is to be done in the world, by the responder, once.
    Act(Approved<Order>),
    /// A language model may be asked. Nothing waits for its answer. The consultation's own record is published beside.
    Consult(Box<Consult>),
    /// The other shards are to know this, each once.
    Tell(Told),
}

/// A published fact.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "record")]
pub enum Record {
    /// A judged hit.
    Detection(Detection),
    /// A threat as it stands.
    Threat(Threat),
    /// A run as it stands.
    Run(Run),
    /// A question as it stands.
    Question(Question),
    /// A containment as it stands.
    Containment(Containment),
    /// A raw event that no mapping could read: the dead letter.
    Refused(RefusedEvent),
    /// A consultation as it stands.
    Consultation(Consultation),
    /// A suppression as it stands.
    Suppression(Suppression),
}

/// A raw event that was accepted and could not be read. Its bytes stay in the log.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, utoipa::ToSchema)]
pub struct RefusedEvent {
    /// Where it stands in the log.
    pub position: Position,
    /// Where it came from.
    pub origin: String,
    /// Why.
    pub reason: String,
}
