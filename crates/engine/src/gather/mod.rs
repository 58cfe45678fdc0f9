//! Gather: the detections of one actor or entity become one threat.
//!
//! # How
//! A detection joins the threat that holds its entity. If there is none, one of severity `low` or worse opens
//! one. A rule that tells what the actor now holds (`spreads_to`) adds that to the threat, so that what is then
//! seen on the host that was broken into belongs to the same case; if that already is a case of its own, the
//! younger of the two is merged into the older.
//!
//! # What it gets wrong
//! Several people behind one address are one actor. An attacker who changes addresses before getting in is
//! several.
//!
//! # Cost
//! Three look-ups in ordered maps for a detection; the number of threats is bounded.

mod join;
mod story;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use vertice_model::{Detection, Entity, Severity, Threat, ThreatId, ThreatState, Timestamp, Verdict, VerdictKind};

use crate::limits;

/// The threats that detections may join: those that are open, and those that may be opened again.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Threats {
    held: BTreeMap<ThreatId, Held>,
    /// Which threat holds an entity. Derived from `held`, so it is not serialized.
    #[serde(skip)]
    by_entity: BTreeMap<Entity, ThreatId>,
    /// When each falls due, soonest first. Derived likewise.
    #[serde(skip)]
    due: BTreeSet<(Timestamp, ThreatId)>,
    /// What changed since [`Threats::take_changed`], and what of it is no longer held.
    #[serde(skip)]
    changed: BTreeSet<ThreatId>,
    #[serde(skip)]
    gone: Vec<Threat>,
    /// How many were closed because there were too many. An older snapshot does not say.
    #[serde(default)]
    crowded_out: u64,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Held {
    threat: Threat,
    /// When it is closed for quiet, or forgotten if it already is.
    due: Timestamp,
}

impl Threats {
    /// Makes the derived maps anew after deserializing.
    #[must_use]
    pub fn indexed(mut self) -> Threats {
        for (id, held) in &self.held {
            self.due.insert((held.due, *id));
            self.by_entity.extend(held.threat.entities.iter().map(|e| (e.clone(), *id)));
        }
        self
    }

    /// A threat that is open, or quiet and may be opened again.
    #[must_use]
    pub fn get(&self, id: ThreatId) -> Option<&Threat> {
        self.held.get(&id).map(|h| &h.threat)
    }

    /// Whether a threat holds this entity: what is then detected of it joins that one.
    #[must_use]
    pub fn holds(&self, entity: &Entity) -> bool {
        self.by_entity.contains_key(entity)
    }

    /// How many threats were closed, since the log began, because there were too many.
    #[must_use]
    pub fn crowded_out(&self) -> u64 {
        self.crowded_out
    }

    /// The threats that changed since the last call, each as it stands now; those that are gone first.
    pub fn take_changed(&mut self) -> Vec<Threat> {
        let mut changed = std::mem::take(&mut self.gone);
        for id in std::mem::take(&mut self.changed) {
            changed.extend(self.get(id).cloned());
        }
        changed
    }

    /// Lets a detection join its threat and names the threat in it.
    pub fn gather(&mut self, now: Timestamp, detection: &mut Detection, spreads_to: Option<Entity>) {
        let Some(id) = self.threat_of(now, detection) else { return };
        detection.threat_id = Some(id);
        let held = self.held.get_mut(&id).expect("threat_of returns a threat that is held");
        join::join(now, &mut held.threat, detection);
        let id = match spreads_to {
            Some(entity) => self.spread(now, id, entity),
            None => id,
        };
        self.touch(id, now.plus_seconds(limits::THREAT_QUIET_S));
    }

    /// The threat that holds the detection's entity, opened again if it was quiet; or a new one, if the
    /// detection is bad enough for one.
    fn threat_of(&mut self, now: Timestamp, detection: &Detection) -> Option<ThreatId> {
        if let Some(id) = self.by_entity.get(&detection.entity) {
            let threat = &mut self.held.get_mut(id).expect("an entity names a threat that is held").threat;
            if threat.state != ThreatState::Open {
                threat.state = ThreatState::Open;
                threat.reopened += 1;
            }
            return Some(*id);
        }
        if detection.severity < Severity::Low {
            return None;
        }
        if self.held.len() >= limits::THREATS_MAX {
            self.make_room(now);
        }
        let id = ThreatId::derive(&format!("{}|{}", detection.detection_id, detection.position));
        self.by_entity.insert(detection.entity.clone(), id);
        self.held.insert(id, Held { threat: join::opened(now, id, detection), due: now });
        Some(id)
    }

    /// The threat's actor now holds `entity` as well. Returns the threat that stands for it from here on.
    fn spread(&mut self, now: Timestamp, id: ThreatId, entity: Entity) -> ThreatId {
        match self.by_entity.get(&entity).copied() {
            Some(other) if other == id => id,
            Some(other) => self.merge(now, id, other),
            None => {
                let threat = &mut self.held.get_mut(&id).expect("the caller holds this threat").threat;
                if threat.entities.len() < limits::THREAT_ENTITIES_MAX {
                    threat.entities.push(entity.clone());
                    self.by_entity.insert(entity, id);
                }
                id
            }
        }
    }

    /// Merges the younger of two threats into the older and returns the older.
    fn merge(&mut self, now: Timestamp, a: ThreatId, b: ThreatId) -> ThreatId {
        let age = |id: ThreatId| (self.held[&id].threat.opened_at, self.held[&id].threat.positions.0, id);
        let (older, younger) = if age(a) <= age(b) { (a, b) } else { (b, a) };
        let mut absorbed = self.remove(younger).expect("both are held");
        let threat = &mut self.held.get_mut(&older).expect("both are held").threat;
        join::absorb(now, threat, &absorbed);
        self.by_entity.extend(threat.entities.iter().map(|e| (e.clone(), older)));
        absorbed.state = ThreatState::Merged { into: older, at: now };
        absorbed.updated_at = now;
        self.gone.push(absorbed);
        older
    }

    /// A person's judgement. Anything but a confirmation closes the threat: what comes after it is a new one.
    ///
    /// Returns whether there is such a threat.
    pub fn judge(&mut self, id: ThreatId, verdict: Verdict) -> bool {
        let Some(held) = self.held.get_mut(&id) else { return false };
        let (at, kind) = (verdict.at, verdict.verdict);
        held.threat.updated_at = at;
        held.threat.verdict = Some(verdict);
        match kind {
            VerdictKind::Confirmed => {
                self.changed.insert(id);
            }
            VerdictKind::FalsePositive | VerdictKind::Benign => {
                let mut threat = self.remove(id).expect("it was just found");
                threat.state = ThreatState::Judged { at };
                self.gone.push(threat);
            }
        }
        true
    }

    /// When the next threat falls due for being closed or forgotten.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Closes what has been quiet long enough, forgets what has been closed long enough.
    pub fn expire(&mut self, now: Timestamp) {
        while let Some((_, id)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            let threat = &mut self.held.get_mut(&id).expect("what is due is held").threat;
            if threat.state == ThreatState::Open {
                threat.state = ThreatState::Quiet { at: now };
                threat.updated_at = now;
                self.touch(id, now.plus_seconds(limits::THREAT_REOPEN_S));
            } else {
                self.remove(id);
            }
        }
    }

    /// The threat changed and falls due at `due`.
    fn touch(&mut self, id: ThreatId, due: Timestamp) {
        let held = self.held.get_mut(&id).expect("only what is held is touched");
        self.due.remove(&(held.due, id));
        held.due = due;
        self.due.insert((due, id));
        self.changed.insert(id);
    }

    /// Closes the threat that would be closed next, and forgets it.
    fn make_room(&mut self, now: Timestamp) {
        let Some((_, id)) = self.due.first().copied() else { return };
        let Some(mut threat) = self.remove(id) else { return };
        self.crowded_out += 1;
        if threat.state == ThreatState::Open {
            threat.state = ThreatState::Quiet { at: now };
            threat.updated_at = now;
            self.gone.push(threat);
        }
    }

    fn remove(&mut self, id: ThreatId) -> Option<Threat> {
        let held = self.held.remove(&id)?;
        self.due.remove(&(held.due, id));
        self.changed.remove(&id);
        for entity in &held.threat.entities {
            self.by_entity.remove(entity);
        }
        Some(held.threat)
    }
}

#[cfg(test)]
mod tests;
