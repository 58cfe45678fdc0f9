//! How much holds and how much is asked, as it changes.
//!
//! It follows the records of one engine instead of counting what the engine keeps, which may be ten thousand containments
//! after each of ten thousand changes. Several engines of one process add up, and one that leaves takes its share with it.

use std::collections::HashMap;
use std::sync::Arc;

use vertice_engine::{Engine, Record};
use vertice_model::{Containment, ContainmentId, ContainmentState, Question, QuestionId, QuestionState, Stage};

use crate::metrics::Metrics;

/// What holds and what is asked of one engine. The engine itself bounds how much that is.
#[derive(Debug)]
pub struct Standing {
    metrics: Arc<Metrics>,
    held: HashMap<ContainmentId, (Stage, bool)>,
    waiting: HashMap<QuestionId, bool>,
}

impl Standing {
    /// Counts what an engine keeps, as it was recovered. Every record that it publishes from then on has to be seen.
    #[must_use]
    pub fn of(engine: &Engine, metrics: &Arc<Metrics>) -> Standing {
        let mut standing = Standing { metrics: Arc::clone(metrics), held: HashMap::new(), waiting: HashMap::new() };
        engine.containments().for_each(|containment| standing.containment(containment));
        engine.questions_waiting().for_each(|question| standing.question(question));
        standing
    }

    /// Takes note of what a record changes.
    pub fn see(&mut self, record: &Record) {
        match record {
            Record::Containment(containment) => self.containment(containment),
            Record::Question(question) => self.question(question),
            Record::Detection(_)
            | Record::Threat(_)
            | Record::Run(_)
            | Record::Refused(_)
            | Record::Consultation(_)
            | Record::Suppression(_) => {}
        }
    }

    fn containment(&mut self, now: &Containment) {
        let stands = match now.state {
            ContainmentState::Active | ContainmentState::Releasing { .. } => Some((now.stage, now.simulated)),
            ContainmentState::Expired | ContainmentState::Released { .. } => None,
        };
        let before = match stands {
            Some(now_is) => self.held.insert(now.containment_id, now_is),
            None => self.held.remove(&now.containment_id),
        };
        if before != stands {
            before.into_iter().for_each(|(stage, simulated)| self.metrics.held(stage, simulated, -1));
            stands.into_iter().for_each(|(stage, simulated)| self.metrics.held(stage, simulated, 1));
        }
    }

    fn question(&mut self, now: &Question) {
        let waits = (now.state == QuestionState::Pending).then_some(now.simulated);
        let before = match waits {
            Some(simulated) => self.waiting.insert(now.question_id, simulated),
            None => self.waiting.remove(&now.question_id),
        };
        if before != waits {
            before.into_iter().for_each(|simulated| self.metrics.asked(simulated, -1));
            waits.into_iter().for_each(|simulated| self.metrics.asked(simulated, 1));
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.held.values().for_each(|(stage, simulated)| self.metrics.held(*stage, *simulated, -1));
        self.waiting.values().for_each(|simulated| self.metrics.asked(*simulated, -1));
    }
}
