//! What a playbook did for a threat before, and whether it is due again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use vertice_model::{Entity, RunId, Severity, Threat, Timestamp};

use super::context::Variable;

/// What one playbook did for one threat before.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct History {
    /// How often it was planned or refused: the number in the id of the latest run.
    pub(super) count: u64,
    /// Its runs that are still kept.
    pub(super) runs: BTreeSet<RunId>,
    /// What the latest run lacked, if that is why it was refused.
    pub(super) missing: BTreeSet<Variable>,
    /// Whom its runs would have touched.
    pub(super) aim: BTreeSet<Entity>,
    /// The threat as it was when it was last looked at while a run was alive.
    pub(super) severity: Severity,
    pub(super) reopened: u32,
    pub(super) detections: u64,
    pub(super) entities: usize,
    /// What a person said to it.
    pub(super) barred: Barred,
    /// Since when it may be tried again if the threat goes on: a lease ended, or the blast radius was spent.
    pub(super) again_at: Option<Timestamp>,
    /// When it was last looked at.
    pub(super) touched: Timestamp,
}

/// What a person said that keeps a playbook from running again.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Barred {
    /// Nothing.
    #[default]
    No,
    /// No to a step of it. It is asked again only if the threat becomes worse, or comes back after quiet.
    Denied,
    /// They took it back. It runs again only if the threat comes back after quiet.
    Overridden,
}

impl History {
    /// Nothing so far.
    pub(super) fn new(threat: &Threat, now: Timestamp) -> History {
        History {
            count: 0,
            runs: BTreeSet::new(),
            missing: BTreeSet::new(),
            aim: BTreeSet::new(),
            severity: threat.severity,
            reopened: threat.reopened,
            detections: threat.detections,
            entities: threat.entities.len(),
            barred: Barred::No,
            again_at: None,
            touched: now,
        }
    }

    /// Whether anything happened, while no run is alive, that may make the playbook due again. Cheap, for it is
    /// asked at every detection; what it lets through is planned, and then [`History::is_due`] decides.
    pub(super) fn stirs(&self, now: Timestamp, threat: &Threat) -> bool {
        if self.count == 0 || !self.missing.is_empty() || threat.reopened > self.reopened {
            return true;
        }
        match self.barred {
            Barred::No => self.worsens(now, threat) || threat.entities.len() > self.entities,
            Barred::Denied => threat.severity > self.severity,
            Barred::Overridden => false,
        }
    }

    /// Whether a plan that touches these is news, for a threat that stirs.
    pub(super) fn is_due(&self, now: Timestamp, threat: &Threat, aim: &BTreeSet<Entity>) -> bool {
        let only_grew = self.count > 0 && self.missing.is_empty() && threat.reopened == self.reopened;
        !only_grew || self.worsens(now, threat) || !aim.is_subset(&self.aim)
    }

    fn worsens(&self, now: Timestamp, threat: &Threat) -> bool {
        let goes_on = self.again_at.is_some_and(|at| at <= now) && threat.detections > self.detections;
        goes_on || threat.severity > self.severity
    }

    /// Remembers the threat as it is now.
    pub(super) fn look(&mut self, now: Timestamp, threat: &Threat) {
        self.severity = threat.severity;
        self.reopened = threat.reopened;
        self.detections = threat.detections;
        self.entities = threat.entities.len();
        self.touched = now;
    }

    /// Remembers that a run begins, or is refused for what is missing.
    pub(super) fn begin(&mut self, now: Timestamp, threat: &Threat, run: RunId, missing: BTreeSet<Variable>) {
        self.look(now, threat);
        self.count += 1;
        self.runs.insert(run);
        self.missing = missing;
        self.barred = Barred::No;
        self.again_at = None;
    }

    /// Takes over what the playbook did for a threat that turned out to be this one.
    pub(super) fn absorb(&mut self, other: History) {
        self.count = self.count.max(other.count);
        self.runs.extend(other.runs);
        self.aim.extend(other.aim);
        self.severity = self.severity.max(other.severity);
        self.barred = self.barred.max(other.barred);
        self.again_at = self.again_at.max(other.again_at);
        self.touched = self.touched.max(other.touched);
        // It lacks only what both lack; if either was planned, nothing.
        self.missing = self.missing.intersection(&other.missing).copied().collect();
    }
}
