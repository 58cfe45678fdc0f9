//! Who or what an event is about.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of thing an entity is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EntityKind {
    /// An IPv4 or IPv6 address.
    Ip,
    /// A host, by name.
    Host,
    /// An account, by name.
    User,
}

impl fmt::Display for EntityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            EntityKind::Ip => "ip",
            EntityKind::Host => "host",
            EntityKind::User => "user",
        })
    }
}

/// Who or what an event is about: the key that detections gather under.
///
/// Addresses are in canonical form and IPv4-mapped IPv6 addresses are IPv4, hosts and users are in
/// lower case, so that two sensors which write the same thing differently mean one entity.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
pub struct Entity {
    /// What kind of thing it is.
    #[serde(rename = "entity_kind")]
    kind: EntityKind,
    /// Its address or name.
    #[serde(rename = "entity")]
    name: String,
}

impl Entity {
    /// An address; `None` if the text is none.
    #[must_use]
    pub fn ip(text: &str) -> Option<Entity> {
        let address: std::net::IpAddr = text.trim().parse().ok()?;
        Some(Entity { kind: EntityKind::Ip, name: address.to_canonical().to_string() })
    }

    /// A host by name; `None` for the empty name and for the `-` that logs write where there is none.
    #[must_use]
    pub fn host(name: &str) -> Option<Entity> {
        Entity::named(EntityKind::Host, name)
    }

    /// An account by name; `None` as for [`Entity::host`].
    #[must_use]
    pub fn user(name: &str) -> Option<Entity> {
        Entity::named(EntityKind::User, name)
    }

    /// Whom a field of this name means by this text; what kind of thing it is shows in both.
    #[must_use]
    pub fn named_by(field: &str, text: &str) -> Option<Entity> {
        Entity::ip(text).or_else(|| if field.contains("user") { Entity::user(text) } else { Entity::host(text) })
    }

    fn named(kind: EntityKind, name: &str) -> Option<Entity> {
        let name = name.trim().to_lowercase();
        (!name.is_empty() && name != "-").then_some(Entity { kind, name })
    }

    /// It by the beginning of its name, for showing it: who wrote it may have written half a megabyte.
    #[must_use]
    pub fn shortened(&self, chars_max: usize) -> Entity {
        Entity { kind: self.kind, name: self.name.chars().take(chars_max).collect() }
    }

    /// What kind of thing it is.
    #[must_use]
    pub fn kind(&self) -> EntityKind {
        self.kind
    }

    /// Its address or name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_written_two_ways_is_one_entity() {
        assert_eq!(Entity::ip("::ffff:192.0.2.1"), Entity::ip(" 192.0.2.1"));
        assert_eq!(Entity::ip("2001:DB8:0::1"), Entity::ip("2001:db8::1"));
        assert_eq!(Entity::host("WS5.Example.ORG"), Entity::host("ws5.example.org"));
        assert_ne!(Entity::host("a"), Entity::user("a"));
        for none in ["", " ", "-"] {
            assert_eq!(Entity::user(none), None);
        }
        assert_eq!(Entity::ip("999.1.1.1"), None);
    }

    #[test]
    fn kinds_have_names() {
        let e = Entity::user("Ana").unwrap();
        assert_eq!(format!("{} {e}", e.kind()), "user ana");
        assert_eq!(EntityKind::Ip.to_string() + &EntityKind::Host.to_string(), "iphost");
        assert_eq!(serde_json::to_string(&e).unwrap(), r#"{"entity_kind":"user","entity":"ana"}"#);
        assert_eq!(e.name(), "ana");
    }
}
