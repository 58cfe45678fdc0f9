//! Which events were seen just before: a sender that got no answer sends again, and nothing is done twice.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use vertice_model::{Event, EventId};

use crate::limits;

/// The ids that senders gave to the latest events with hits, as hashes.
///
/// Two ids with one hash would make an event be passed over; at 64 bits and this many held that is one
/// event in 10^14.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    order: VecDeque<u64>,
    known: BTreeSet<u64>,
}

impl Seen {
    /// Remembers the event, and says whether it was there before. An event without an id of its sender's
    /// has one of its own position, which never repeats.
    pub fn repeats(&mut self, event: &Event) -> bool {
        if event.event_id == EventId::at(event.position) {
            return false;
        }
        self.repeats_name(event.event_id.as_str())
    }

    /// As [`Seen::repeats`], of an event whose sender gave it an id, for what is judged of it under one route key.
    pub fn repeats_under(&mut self, event: &Event, key: &str) -> bool {
        self.repeats_name(&format!("{}\0{key}", event.event_id))
    }

    fn repeats_name(&mut self, name: &str) -> bool {
        let hash = hash(name);
        if !self.known.insert(hash) {
            return true;
        }
        self.order.push_back(hash);
        if self.order.len() > limits::SEEN_EVENTS_MAX {
            let oldest = self.order.pop_front().expect("it holds more than one");
            self.known.remove(&oldest);
        }
        false
    }
}

fn hash(id: &str) -> u64 {
    let bytes = blake3::hash(id.as_bytes());
    u64::from_le_bytes(bytes.as_bytes()[..8].try_into().expect("a hash has 32 bytes"))
}

impl Serialize for Seen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.order.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Seen, D::Error> {
        let order = VecDeque::deserialize(deserializer)?;
        Ok(Seen { known: order.iter().copied().collect(), order })
    }
}
