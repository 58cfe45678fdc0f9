//! The blast radius: how many different entities were touched within the last hour.

use serde::{Deserialize, Serialize};
use vertice_model::{Entity, Timestamp};

use super::policy::Policy;
use crate::limits;

const HOUR_US: u64 = 3_600 * 1_000_000;

/// The entities touched within the last hour, each with the last time.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Spent(Vec<(Entity, Timestamp)>);

impl Spent {
    /// Whether these may be touched too without a person's word; if not, why.
    pub(super) fn allows(&mut self, now: Timestamp, policy: &Policy, touches: &[Entity]) -> Result<(), String> {
        self.prune(now);
        let new = touches.iter().filter(|e| self.place(e).is_err()).count();
        // What can not be remembered can not be counted, so the bound of the memory is one of the budget too.
        let max = (policy.entities_per_hour_max as usize).min(limits::ENTITIES_REMEMBERED_MAX);
        if new == 0 || self.0.len() + new <= max {
            return Ok(());
        }
        Err(format!("the blast radius is spent: {} of {max} entities were touched within the hour", self.0.len()))
    }

    /// Counts these, whoever allowed it.
    pub(super) fn count(&mut self, now: Timestamp, touches: &[Entity]) {
        self.prune(now);
        for entity in touches {
            match self.place(entity) {
                Ok(known) => self.0[known].1 = now,
                Err(place) if self.0.len() < limits::ENTITIES_REMEMBERED_MAX => {
                    self.0.insert(place, (entity.clone(), now));
                }
                Err(_) => {}
            }
        }
    }

    fn place(&self, entity: &Entity) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.cmp(entity))
    }

    fn prune(&mut self, now: Timestamp) {
        self.0.retain(|(_, at)| now.micros_since(*at) < HOUR_US);
    }
}
