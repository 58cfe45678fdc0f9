//! How far each bouncer has read. Kept in memory for the next answer, and durable for the one after a restart.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use vertice_model::{EffectId, Timestamp};

use crate::limits;

/// A place in the order of changes, and when it was taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    /// Everything up to this change was told.
    pub(crate) effect: EffectId,
    /// When.
    pub(crate) at: Timestamp,
    /// Whether it is known that what was told up to there was heard. A first answer is noted before it is given: what
    /// it tells of may end after a crash, and must then be told as ended.
    pub(crate) heard: bool,
}

/// Stands behind a place that is not known to be heard.
const UNHEARD: &str = " unheard";

impl Place {
    /// As it is kept: `9.3 2026-03-01T12:00:00Z`, or with ` unheard` behind it.
    pub(crate) fn written(self) -> Vec<u8> {
        format!("{} {}{}", self.effect, self.at, if self.heard { "" } else { UNHEARD }).into_bytes()
    }

    /// As it was kept; `None` for what was kept by another version.
    pub(crate) fn read(bytes: &[u8]) -> Option<Place> {
        let text = std::str::from_utf8(bytes).ok()?;
        let place = text.strip_suffix(UNHEARD);
        let (effect, at) = place.unwrap_or(text).split_once(' ')?;
        Some(Place { effect: effect.parse().ok()?, at: at.parse().ok()?, heard: place.is_none() })
    }
}

/// The name under which the store keeps the place of a key.
pub(crate) fn kept_as(key: &blake3::Hash) -> String {
    format!("decisions/{}", key.to_hex())
}

/// What is known of a bouncer since the start.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Seen {
    /// Its place; `None` before its first answer.
    pub(crate) place: Option<Place>,
    /// When it last asked for something.
    pub(crate) at: Timestamp,
    /// What it calls itself.
    pub(crate) agent: String,
}

/// What is known of each key that asked for decisions; of no more than there can be.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<HashMap<blake3::Hash, Seen>>);

impl Places {
    fn with<T>(&self, change: impl FnOnce(&mut HashMap<blake3::Hash, Seen>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known of a key.
    pub(crate) fn of(&self, key: &blake3::Hash) -> Option<Seen> {
        self.with(|all| all.get(key).cloned())
    }

    /// Notes that a key asked for something; true when it is the first time since the start.
    pub(crate) fn asked(&self, key: blake3::Hash, at: Timestamp, agent: &str) -> bool {
        self.with(|all| {
            let first = !all.contains_key(&key);
            if first && all.len() >= limits::KEYS_MAX + limits::BOUNCERS_MAX {
                // There is one that is none any more: another instance removed it.
                let oldest = all.iter().min_by_key(|(_, seen)| seen.at).map(|(key, _)| *key);
                oldest.map(|key| all.remove(&key));
            }
            let seen = all.entry(key).or_default();
            seen.at = at;
            agent.clone_into(&mut seen.agent);
            first
        })
    }

    /// Moves a key to its place.
    pub(crate) fn told(&self, key: blake3::Hash, place: Place) {
        self.with(|all| all.entry(key).or_default().place = Some(place));
    }

    /// Forgets a key.
    pub(crate) fn forget(&self, key: &blake3::Hash) {
        self.with(|all| all.remove(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let at = "2026-03-01T12:00:00.5Z".parse().unwrap();
        let place = Place { effect: "9.3".parse().unwrap(), at, heard: true };
        assert_eq!(place.written(), b"9.3 2026-03-01T12:00:00.5Z");
        for place in [place, Place { heard: false, ..place }] {
            assert_eq!(Place::read(&place.written()), Some(place));
        }
        for other in [&b""[..], b"9.3", b"9.3 unheard", b"x 2026-03-01T12:00:00Z", b"9.3 soon", b"\xff 1"] {
            assert_eq!(Place::read(other), None);
        }
    }
}
