//! The Sentinel's rim: asks language models what the engine wants to know, and hands their answers back as inputs.
//!
//! Nothing waits for it. Questions wait in a queue of their own, threads of its own ask them, and what is not asked,
//! because the queue is full or there is no model that answers, comes back as skipped.

pub mod prompt;

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use vertice_engine::Input;
use vertice_engine::triage::Consult;
use vertice_model::{ConsultationId, Reply, Timestamp, Usage};
use vertice_store::Store;

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
    answered: Arc<Answered>,
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
        Ok(Sentinel { questions, answered })
    }

    /// Takes a question, and never waits.
    pub fn take(&self, consult: Box<Consult>) {
        let (consult, why) = match self.questions.try_send(consult) {
            Ok(()) => return,
            Err(TrySendError::Full(consult)) => (consult, "the queue is full"),
            Err(TrySendError::Disconnected(consult)) => (consult, "the program is ending"),
        };
        (self.answered)(skipped(consult.consultation.consultation_id, why));
    }
}

fn next(waiting: &Mutex<Receiver<Box<Consult>>>) -> Option<Box<Consult>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

fn skipped(consultation: ConsultationId, why: &str) -> Input {
    Input::Opinion { consultation, reply: Reply::Skipped(why.to_owned()), model: String::new(), usage: Usage::default() }
}

/// Asks about one threat.
pub fn asked(secrets: &Secrets, consult: &Consult, ask: &Ask) -> Input {
    let consultation = consult.consultation.consultation_id;
    let prompt = prompt(secrets, consult);
    let begun = Instant::now();
    match ask(&prompt, consult.consultation.expires_at) {
        Err(why) => skipped(consultation, &why),
        Ok(Said { text, model, usage }) => {
            let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            let reply = prompt.read(&text);
            Input::Opinion { consultation, reply, model, usage: Usage { took_ms, ..usage } }
        }
    }
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
