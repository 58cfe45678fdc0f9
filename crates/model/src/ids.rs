//! Identities. Each derives from the log position of what caused it, so a replay yields the same ones.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Place;

/// The namespace of every derived id (UUIDv5, RFC 9562 section 5.5).
const NAMESPACE: Uuid = Uuid::from_u128(0x7e57_1ce0_0b5e_5e7e_8d1c_0000_0000_0001);

/// Where an input stands in the log: 1 for the first; each event of a batch has its own.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema,
)]
pub struct Position(pub u64);

impl Position {
    /// The position `n` further on.
    #[must_use]
    pub const fn plus(self, n: u64) -> Position {
        Position(self.0 + n)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which effect of which input: the log position and the place among that input's effects.
///
/// Ordered as the effects were, so it is the cursor of every list in log order.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema,
)]
pub struct EffectId {
    /// The input that caused it.
    pub position: Position,
    /// Its place among the effects of that input, from 0.
    pub index: u32,
}

impl fmt::Display for EffectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.position, self.index)
    }
}

impl FromStr for EffectId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<EffectId, Self::Err> {
        let (position, index) = text.split_once('.').unwrap_or((text, "0"));
        Ok(EffectId { position: Position(position.parse()?), index: index.parse()? })
    }
}

/// The id of an event: the sender's own, or derived from its log position or its place in a partitioned log.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
pub struct EventId(String);

impl EventId {
    /// The id that its sender gave it.
    #[must_use]
    pub fn given(id: String) -> EventId {
        EventId(id)
    }

    /// The id of an event that came without one.
    #[must_use]
    pub fn at(position: Position) -> EventId {
        EventId(derive("event", &position.to_string()).to_string())
    }

    /// The id of an event that came without one by a partitioned log: whoever reads that log gives it the same.
    #[must_use]
    pub fn of(place: &Place) -> EventId {
        EventId(derive("event", &place.to_string()).to_string())
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A UUIDv5 of a kind of thing and a name that is unique among them.
fn derive(kind: &str, name: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("{kind}|{name}").as_bytes())
}

/// A derived identity of one kind of thing; the kind keeps an id of one from being taken for another's.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Id<const KIND: char>(Uuid);

/// The id of a detection, from its event and its rule: the same event judged twice is one detection.
pub type DetectionId = Id<'d'>;
/// The id of a threat, from the detection that opened it.
pub type ThreatId = Id<'t'>;
/// The id of a run, from its threat, its playbook and how often it ran before.
pub type RunId = Id<'r'>;
/// The id of a question, from its run and its action.
pub type QuestionId = Id<'q'>;
/// The id of a containment, from its run and its action.
pub type ContainmentId = Id<'c'>;
/// The id of an order, from its run, its action, and how many orders of that came before.
pub type OrderId = Id<'o'>;
/// The id of a consultation, from its threat, its reason, and how often it was asked about before.
pub type ConsultationId = Id<'m'>;
/// The id of a suppression, from its scope and how often there was one for it before.
pub type SuppressionId = Id<'s'>;

impl<const KIND: char> Id<KIND> {
    /// Derives the id from what makes the thing one of its kind.
    #[must_use]
    pub fn derive(unique: &str) -> Id<KIND> {
        Id(derive(KIND.encode_utf8(&mut [0; 4]), unique))
    }
}

impl<const KIND: char> fmt::Display for Id<KIND> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const KIND: char> FromStr for Id<KIND> {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Id<KIND>, uuid::Error> {
        text.parse().map(Id)
    }
}

impl<const KIND: char> utoipa::PartialSchema for Id<KIND> {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid))).into()
    }
}

impl<const KIND: char> utoipa::ToSchema for Id<KIND> {
    fn name() -> std::borrow::Cow<'static, str> {
        "Id".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_derived_and_differ_by_kind() {
        assert_eq!(DetectionId::derive("x"), DetectionId::derive("x"));
        assert_ne!(DetectionId::derive("x").to_string(), ThreatId::derive("x").to_string());
        let id = RunId::derive("y");
        assert_eq!(id.to_string().parse::<RunId>().unwrap(), id);
        assert_eq!(EventId::at(Position(7)), EventId::at(Position(6).plus(1)));
        let place = |partition, offset| Place { topic: "t".into(), partition, offset };
        assert_eq!(EventId::of(&place(1, 2)), EventId::of(&place(1, 2)));
        assert_ne!(EventId::of(&place(1, 12)), EventId::of(&place(11, 2)));
        assert_eq!(EventId::given("a".into()).to_string(), "a");
        assert_eq!(EventId::given("a".into()).as_str(), "a");
    }

    #[test]
    fn effect_ids_are_ordered_and_are_text() {
        let a = EffectId { position: Position(9), index: 3 };
        let b = EffectId { position: Position(10), index: 0 };
        assert!(a < b);
        assert_eq!(a.to_string(), "9.3");
        assert_eq!("9.3".parse::<EffectId>().unwrap(), a);
        assert_eq!("10".parse::<EffectId>().unwrap(), b);
        assert!("x".parse::<EffectId>().is_err());
    }
}
