//! A question, and its answer.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vertice_model::Timestamp;

use crate::error::{Error, Unfit, Why};
use crate::limits;
use crate::schema::Schema;

/// A question to a language model.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What it is told to do: our own words. They are redacted like the rest, so a canary in them must not look like
    /// a key or an address of mail.
    pub system: String,
    /// What it is asked about, untrusted text included.
    pub user: String,
    /// The form of the answer.
    pub output: Output,
    /// Most tokens of the answer; fewer where the model's own limit is less.
    pub max_tokens: u32,
    /// How far it may stray from the likeliest word, 0 to 2. Left out for models that take none.
    pub temperature: f32,
    /// What it is for.
    pub purpose: Purpose,
    /// Until when an answer is of use, retries and waiting included.
    pub deadline: Timestamp,
}

/// The form of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Prose.
    Text,
    /// JSON that fits a schema.
    Json(Schema),
}

/// What a question is for. It is no part of what is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// What to think of a threat.
    Triage,
    /// Whether a model answers at all: it is asked anew, and not what it once said.
    Check,
}

impl Request {
    /// A question with temperature 0.
    #[must_use]
    pub fn new(purpose: Purpose, system: &str, user: &str, deadline: Timestamp) -> Request {
        Request {
            system: system.to_owned(),
            user: user.to_owned(),
            output: Output::Text,
            max_tokens: 1_024,
            temperature: 0.0,
            purpose,
            deadline,
        }
    }

    /// The same, to be answered in JSON.
    #[must_use]
    pub fn json(mut self, schema: Schema) -> Request {
        self.output = Output::Json(schema);
        self
    }

    /// How much memory its texts take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let schema = match &self.output {
            Output::Text => 0,
            Output::Json(schema) => schema.text().len(),
        };
        self.system.len() + self.user.len() + schema
    }

    /// Whether it can be asked of any model.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let unfit = |unfit| Err(Error::new(Why::Unfit(unfit)));
        if self.system.len() + self.user.len() > limits::REQUEST_BYTES_MAX {
            return unfit(Unfit::TooLong);
        }
        if self.max_tokens == 0 || self.max_tokens > limits::OUTPUT_TOKENS_MAX {
            return unfit(Unfit::Tokens);
        }
        if !(0.0..=2.0).contains(&self.temperature) {
            return unfit(Unfit::Temperature);
        }
        Ok(())
    }

    /// What names the question in caches and recordings: the model and all that is sent to it. The purpose and the
    /// deadline are no part of it.
    pub(crate) fn digest(&self, provider: &str, model: &str) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key("vertice llm request 1");
        let schema = match &self.output {
            Output::Text => "",
            Output::Json(schema) => schema.text(),
        };
        for part in [provider, model, &self.system, &self.user, schema] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update(&[u8::from(self.output != Output::Text)]);
        hasher.update(&self.max_tokens.to_le_bytes());
        hasher.update(&self.temperature.to_bits().to_le_bytes());
        Digest(*hasher.finalize().as_bytes())
    }
}

/// What names a question to a model.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digest([u8; 32]);

impl Digest {
    /// As 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
}

/// An answer. Its text is a model's, and so may be an attacker's.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// What it wrote.
    pub text: String,
    /// The same as JSON that fits the schema, where that was asked for.
    pub json: Option<Value>,
    /// Whether it was cut at the most tokens it may have.
    pub cut: bool,
    /// What it took.
    pub usage: Usage,
    /// What that costs, in millionths of a dollar; `None` where no price is configured. 0 for what was kept.
    pub cost_microusd: Option<u64>,
    /// What the provider calls the model that answered.
    pub model: String,
    /// Where the answer comes from.
    pub origin: Origin,
    /// How often the provider was asked.
    pub attempts: u32,
    /// How long it took, waiting included.
    pub latency: Duration,
}

/// What an answer took.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Tokens of the question.
    pub input_tokens: u64,
    /// Tokens of the answer, thinking included.
    pub output_tokens: u64,
    /// Whether the provider did not say, and this is reckoned from the bytes.
    pub estimated: bool,
}

/// Where an answer comes from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The provider, just now.
    Provider,
    /// Our own memory.
    Memory,
    /// Redis, where it was kept by us or another instance.
    Redis,
    /// A recording.
    Recording,
}
