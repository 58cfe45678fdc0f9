//! The Sentinel's rim: asks language models what the engine wants to know, and hands their answers back as inputs.
//!
//! Nothing waits for it. Questions wait in a queue of their own, threads of its own ask them, and what is not asked,
//! because the queue is full or there is no model that answers, comes back as skipped.

pub mod prompt;

use anyhow::{Context as _, Result};
use vertice_llm::{Models, Purpose, Request, Schema, Spent, World};

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use vertice_engine::Input;
use vertice_engine::triage::Consult;
use vertice_model::{ConsultationId, Reply, Timestamp, Usage};
use vertice_store::Store;

use crate::clock::Clock;
use crate::config;
use crate::limits;
use prompt::{Prompt, Secrets, prompt};

/// What a model wrote.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its answer.
    pub text: String,
    /// Which it is, as the configuration names it.
    pub model: String,
    /// What it took.
    pub usage: Usage,
}

/// How a model is asked: blocks until there is an answer or the time is over, and says why there is none.
pub type Ask = dyn Fn(&Prompt, Timestamp) -> Result<Said, String> + Send + Sync;

/// Where answers go.
type Answered = dyn Fn(Input) + Send + Sync;

/// Questions that wait, and the threads that ask them. Dropped, it asks nothing more.
pub struct Sentinel {
    questions: SyncSender<Box<Consult>>,
    /// What did not fit: writing that it is skipped waits for the disk, and whoever hands in questions must not.
    left_out: SyncSender<ConsultationId>,
}

impl Sentinel {
    /// Starts the threads that ask.
    ///
    /// # Errors
    /// When the system has no thread or no randomness for it.
    pub fn start(ask: Arc<Ask>, answered: Arc<Answered>) -> std::io::Result<Sentinel> {
        let secrets = Secrets::draw().map_err(std::io::Error::other)?;
        let (questions, waiting) = sync_channel(limits::CONSULTATIONS_WAITING_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..limits::MODELS_ASKED_AT_ONCE {
            let (ask, answered) = (Arc::clone(&ask), Arc::clone(&answered));
            let (waiting, secrets) = (Arc::clone(&waiting), secrets.clone());
            // Not waited for at the end: an answer that nobody hears any more is no loss.
            std::thread::Builder::new().name("sentinel".to_owned()).spawn(move || {
                while let Some(consult) = next(&waiting) {
                    answered(asked(&secrets, &consult, &*ask));
                }
            })?;
        }
        let (left_out, skips) = sync_channel::<ConsultationId>(limits::CONSULTATIONS_WAITING_MAX);
        std::thread::Builder::new().name("sentinel".to_owned()).spawn(move || {
            for consultation in skips {
                answered(skipped(consultation, "the queue is full"));
            }
        })?;
        Ok(Sentinel { questions, left_out })
    }

    /// Takes a question, and never waits.
    pub fn take(&self, consult: Box<Consult>) {
        let Err(TrySendError::Full(consult) | TrySendError::Disconnected(consult)) = self.questions.try_send(consult)
        else {
            return;
        };
        // The engine lets no more wait than fit into both. One that fits into neither expires there.
        let _ = self.left_out.try_send(consult.consultation.consultation_id);
    }
}

fn next(waiting: &Mutex<Receiver<Box<Consult>>>) -> Option<Box<Consult>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

fn skipped(consultation: ConsultationId, why: &str) -> Input {
    Input::Opinion {
        consultation,
        reply: Reply::Skipped(why.to_owned()),
        model: String::new(),
        usage: Usage::default(),
    }
}

/// Asks about one threat.
pub fn asked(secrets: &Secrets, consult: &Consult, ask: &Ask) -> Input {
    let consultation = consult.consultation.consultation_id;
    let prompt = prompt(secrets, consult);
    match ask(&prompt, consult.consultation.expires_at) {
        Err(why) => skipped(consultation, &why),
        Ok(Said { text, model, usage }) => {
            let reply = prompt.read(&text);
            Input::Opinion { consultation, reply, model, usage }
        }
    }
}

/// The models of the configuration, or of the environment. `spent` is what they spent before.
///
/// # Errors
/// What can not be used, by its key.
pub fn models(config: &config::Sentinel, clock: &Arc<Clock>, spent: Spent) -> Result<Models> {
    let random = || {
        let mut bytes = [0; 8];
        // What waits are spread with need not be secret; without randomness they are not spread.
        let _ = getrandom::fill(&mut bytes);
        u64::from_le_bytes(bytes)
    };
    let world = World { clock: Arc::clone(clock) as Arc<dyn vertice_llm::Clock>, random: Arc::new(random) };
    let environment = |name: &str| std::env::var(name).ok();
    Models::new(&config.models, &environment, world, spent).context("in [sentinel] of the configuration")
}

/// Asks the model that is preferred.
pub fn by(models: Arc<Models>) -> Arc<Ask> {
    by_name(models, None)
}

/// Asks the model of this name, or the one that is preferred.
pub fn by_name(models: Arc<Models>, name: Option<String>) -> Arc<Ask> {
    Arc::new(move |prompt, deadline| {
        let schema = Schema::new(prompt.schema.clone()).map_err(|error| error.to_string())?;
        let request = Request::new(Purpose::Triage, &prompt.system, &prompt.user, deadline).json(schema);
        let answer = match &name {
            Some(name) => models.complete_by(name, &request),
            None => models.complete(&request),
        };
        let answer = answer.map_err(|error| error.to_string())?;
        let usage = Usage {
            input_tokens: answer.usage.input_tokens,
            output_tokens: answer.usage.output_tokens,
            cost_micro_usd: answer.cost_microusd.unwrap_or_default(),
            took_ms: u64::try_from(answer.latency.as_millis()).unwrap_or(u64::MAX),
            cached: answer.origin != vertice_llm::Origin::Provider,
        };
        Ok(Said { text: answer.text, model: answer.model, usage })
    })
}

/// Under which name the store keeps what was spent.
const SPENT: &str = "sentinel_spent";

/// What was spent before the last stop. What can not be read counts as nothing, and that is told.
///
/// # Errors
/// When the store can not be read.
pub fn spent_before(store: &Store) -> Result<Spent> {
    let Some(kept) = store.meta(SPENT).context("reading what was spent on language models")? else {
        return Ok(Spent::default());
    };
    Ok(serde_json::from_str(&kept).unwrap_or_else(|error| {
        tracing::warn!(%error, "what was spent on language models can not be read: the budget begins anew");
        Spent::default()
    }))
}

/// Asks, and keeps with the data what it took, so that a start does not begin a new budget. A crash forgets at most the
/// questions that are in flight. Waits for the disk, on the thread that asked.
pub fn remembering(ask: Arc<Ask>, models: Arc<Models>, store: Store) -> Arc<Ask> {
    let kept = Mutex::new(models.spent());
    Arc::new(move |prompt, deadline| {
        let said = ask(prompt, deadline);
        // Held while it is written, so that what is older is never written later.
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let spent = models.spent();
        if *kept != spent {
            let text = serde_json::to_string(&spent).expect("amounts are JSON");
            match store.set_meta(SPENT, &text) {
                Ok(()) => *kept = spent,
                Err(error) => tracing::warn!(%error, "what was spent on language models was not kept"),
            }
        }
        said
    })
}

/// Hands answers to the log. One that it can not take is lost; its consultation expires.
pub fn into_log(store: Store) -> Arc<Answered> {
    Arc::new(move |input| {
        if let Err(error) = store.append_blocking(input) {
            tracing::warn!(%error, "a model's answer was not kept");
        }
    })
}

#[cfg(test)]
pub mod tests;
