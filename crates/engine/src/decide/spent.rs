//! The blast radius: how many different entities were touched within the last hour, and the breaker: how often that
//! was a mistake. What either forbids is not dropped but asked.

use serde::{Deserialize, Serialize};
use vertice_model::{Entity, EntityKind, Timestamp};

use super::policy::Policy;
use crate::limits;

const HOUR_US: u64 = 3_600 * 1_000_000;

/// What was done within the last hour.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Spent {
    /// The entities touched, each with the last time.
    touched: Vec<(Entity, Timestamp)>,
    /// When something turned out to be a misstep.
    missteps: Vec<Timestamp>,
}

impl Spent {
    /// A person called a containment wrong, or an order failed for good.
    pub(super) fn misstep(&mut self, now: Timestamp) {
        self.missteps.push(now);
        // The breaker needs to know of no more than its number.
        let too_many = self.missteps.len().saturating_sub(limits::MISSTEPS_MAX);
        self.missteps.drain(..too_many);
    }

    /// Whether these may be touched too without a person's word; if not, why.
    pub(super) fn allows(&mut self, now: Timestamp, policy: &Policy, touches: &[Entity]) -> Result<(), String> {
        self.prune(now);
        let touches_somebody = !touches.is_empty();
        if touches_somebody && self.missteps.len() >= limits::MISSTEPS_MAX {
            return Err(format!("{} missteps within the hour: everything is asked for now", self.missteps.len()));
        }
        let new = touches.iter().filter(|e| self.place(e).is_err()).count();
        // What can not be remembered can not be counted, so the bound of the memory is one of the budget too.
        let max = (policy.entities_per_hour_max as usize).min(limits::ENTITIES_REMEMBERED_MAX);
        if new > 0 && self.touched.len() + new > max {
            let n = self.touched.len();
            return Err(format!("the blast radius is spent: {n} of {max} entities were touched within the hour"));
        }
        self.allows_assets(policy, touches)
    }

    /// Whether the share of the known hosts allows these too. One host is always allowed, or a small network had no
    /// response at all.
    fn allows_assets(&self, policy: &Policy, touches: &[Entity]) -> Result<(), String> {
        if policy.assets == 0 {
            return Ok(());
        }
        let host = |e: &Entity| e.kind() == EntityKind::Host;
        let new = touches.iter().filter(|e| host(e) && self.place(e).is_err()).count();
        let touched = self.touched.iter().filter(|(e, _)| host(e)).count();
        let max = (policy.assets as usize * policy.assets_percent_max as usize / 100).max(1);
        if new == 0 || touched + new <= max {
            return Ok(());
        }
        let (percent, all) = (policy.assets_percent_max, policy.assets);
        Err(format!("{touched} hosts were touched within the hour, and {percent} % of the {all} known ones are {max}"))
    }

    /// Counts these, whoever allowed it.
    pub(super) fn count(&mut self, now: Timestamp, touches: &[Entity]) {
        self.prune(now);
        for entity in touches {
            match self.place(entity) {
                Ok(known) => self.touched[known].1 = now,
                Err(place) if self.touched.len() < limits::ENTITIES_REMEMBERED_MAX => {
                    self.touched.insert(place, (entity.clone(), now));
                }
                Err(_) => {}
            }
        }
    }

    fn place(&self, entity: &Entity) -> Result<usize, usize> {
        self.touched.binary_search_by(|(known, _)| known.cmp(entity))
    }

    fn prune(&mut self, now: Timestamp) {
        self.touched.retain(|(_, at)| now.micros_since(*at) < HOUR_US);
        self.missteps.retain(|at| now.micros_since(*at) < HOUR_US);
    }
}
