//! Language models behind one small trait.
//!
//! [`Models`] are those that are configured; [`Models::complete`] asks one and blocks until there is an answer or the
//! deadline is over. A model is told nothing it could act by: there are no tools, and what it writes is text, or JSON
//! that fits a [`Schema`]. What an answer may lead to is decided by whoever asked.
//!
//! # Around every provider
//! Redaction before anything leaves the machine ([`RedactionSettings`]), a cache, a budget of tokens and money
//! ([`BudgetSettings`]), a limit of questions in flight, a circuit breaker, retries with full jitter of what can be
//! retried and a deadline over it all. A question that is not asked is an [`Error`] that says why ([`Skip`]).
//!
//! # Why clients of our own
//! `genai` 0.7 was looked at first. It covers more providers, but it is built on `reqwest`, whose TLS brings `aws-lc` beside
//! the `ring` that everything else here uses, with a second HTTP client and a hundred more crates; and it reads answers of any length
//! and puts them into its errors whole. What is needed of four protocols is one POST and some fields of the answer:
//! `provider` has it over `ureq`, the client that the responder has already.
//!
//! # Why it blocks
//! A question takes seconds, and a few are in flight: a thread for each costs nothing. Nothing here needs a runtime.
//!
//! # Secrets
//! Keys come from the environment or a file, never from the configuration itself. They are [`Secret`]s, which
//! nothing shows; headers that hold them are marked as sensitive; a provider's own words are stripped of them before
//! they become part of an error. The HTTP client writes every byte of a request to its log at `trace`; the `log` crate is
//! among the dependencies only to leave that level out of the program (its feature `max_level_debug`).

mod breaker;
mod budget;
mod cache;
mod check;
mod clock;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod guard;
mod http;
pub mod limits;
mod models;
mod provider;
mod record;
mod redact;
mod request;
mod schema;
mod secret;
mod settings;
mod shared;
mod text;

pub use breaker::{BreakerCounts, Circuit};
pub use budget::{BudgetSettings, Spent, Window};
pub use cache::CacheSettings;
pub use clock::{Clock, World};
pub use error::{Broken, Error, Skip, Unfit, Why};
pub use guard::Counts;
pub use models::{Checked, Models};
pub use provider::{JsonForm, Provider};
pub use redact::{Addresses, Redacted, RedactionSettings, Redactor};
pub use request::{Digest, Origin, Output, Purpose, Request, Response, Usage};
pub use schema::{Schema, SchemaError};
pub use secret::{Secret, SecretFrom};
pub use settings::{ModelSettings, Settings, SettingsError};

/// Something that answers questions: a provider, or a recording.
pub(crate) trait Model: Send + Sync {
    /// Asks, and blocks until there is an answer: no longer than the request's deadline.
    ///
    /// # Errors
    /// Why there is no answer.
    fn complete(&self, request: &Request) -> Result<Response, Error>;
}

/// Whose model it is and what they call it: what a digest is made with.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    provider: Provider,
    model: String,
}

impl Named {
    fn digest(&self, request: &Request) -> Digest {
        request.digest(self.provider.word(), &self.model)
    }
}
