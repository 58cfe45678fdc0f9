//! What each provider's requests and answers look like, and the client that speaks them.
//!
//! Answers come whole and not as a stream: nobody reads along, and half an opinion is none.

mod anthropic;
mod chat;
mod responses;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ureq::http::HeaderMap;

use crate::clock::World;
use crate::error::{Error, Why};
use crate::http::{Answer, Http};
use crate::limits;
use crate::redact::Redactor;
use crate::request::{Origin, Output, Request, Response, Usage};
use crate::secret::Secret;
use crate::{Model, text};

/// Whose protocol is spoken.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// OpenAI's chat completions.
    OpenaiChat,
    /// OpenAI's responses.
    OpenaiResponses,
    /// Anthropic's messages.
    Anthropic,
    /// Chat completions as others serve them: Ollama, vLLM, llama.cpp, LM Studio.
    Compatible,
}

impl Provider {
    /// The word of the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Provider::OpenaiChat => "openai_chat",
            Provider::OpenaiResponses => "openai_responses",
            Provider::Anthropic => "anthropic",
            Provider::Compatible => "compatible",
        }
    }

    /// Where it is by itself; others have no such place.
    #[must_use]
    pub fn base_url(self) -> Option<&'static str> {
        match self {
            Provider::OpenaiChat | Provider::OpenaiResponses => Some("https://api.openai.com/v1"),
            Provider::Anthropic => Some("https://api.anthropic.com/v1"),
            Provider::Compatible => None,
        }
    }

    fn path(self) -> &'static str {
        match self {
            Provider::OpenaiChat | Provider::Compatible => "/chat/completions",
            Provider::OpenaiResponses => "/responses",
            Provider::Anthropic => "/messages",
        }
    }

    /// Where questions go, below a base such as `http://localhost:11434`: its path may be left out, and is `/v1` then.
    pub(crate) fn url(self, base: &str) -> String {
        let base = base.trim_end_matches('/');
        let bare = base.split_once("://").is_none_or(|(_, rest)| !rest.contains('/'));
        format!("{base}{}{}", if bare { "/v1" } else { "" }, self.path())
    }

    fn headers(self, key: Option<&Secret>) -> Vec<(&'static str, Secret)> {
        let mut headers = Vec::new();
        match (self, key) {
            (Provider::Anthropic, key) => {
                headers.push(("anthropic-version", Secret::new("2023-06-01")));
                headers.extend(key.map(|k| ("x-api-key", k.clone())));
            }
            (_, Some(key)) => headers.push(("authorization", Secret::new(format!("Bearer {}", key.reveal())))),
            (_, None) => {}
        }
        headers
    }

    fn body(self, wire: &Wire, request: &Request) -> Value {
        match self {
            Provider::OpenaiChat | Provider::Compatible => chat::body(self, wire, request),
            Provider::OpenaiResponses => responses::body(wire, request),
            Provider::Anthropic => anthropic::body(wire, request),
        }
    }

    fn read(self, answer: &Value) -> Result<Read, Why> {
        match self {
            Provider::OpenaiChat | Provider::Compatible => chat::read(answer),
            Provider::OpenaiResponses => responses::read(answer),
            Provider::Anthropic => anthropic::read(answer),
        }
    }
}

/// How an answer in JSON is asked for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JsonForm {
    /// By the schema: the provider lets the model write nothing else.
    #[default]
    Schema,
    /// By JSON as such, with the schema in the text. For servers that know no schemas.
    Object,
    /// The same, with the schema beside it, to which servers that know this form hold the model: the one of
    /// llama-cpp-python, and llama.cpp's. Elsewhere it is `Object`.
    ObjectSchema,
    /// By the text alone.
    Prompt,
}

/// What a request needs beside the question.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) model: String,
    pub(crate) json: JsonForm,
    pub(crate) warm: bool,
}

/// What an answer says.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) text: String,
    pub(crate) cut: bool,
    pub(crate) usage: Option<(u64, u64)>,
    pub(crate) model: String,
}

/// A model at a provider. It asks once.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) provider: Provider,
    pub(crate) model: String,
    pub(crate) json: JsonForm,
    pub(crate) http: Http,
    pub(crate) key: Option<Secret>,
    pub(crate) redactor: Redactor,
    pub(crate) world: World,
    /// Whether the model takes no temperature, as it said when it was given one.
    pub(crate) cold: AtomicBool,
}

impl Model for Client {
    fn complete(&self, request: &Request) -> Result<Response, Error> {
        let begun = self.world.clock.now();
        let mut answer = self.send(request)?;
        if answer.status == 400 && !self.cold.load(Ordering::Relaxed) && wants_no_temperature(&answer.body) {
            self.cold.store(true, Ordering::Relaxed);
            tracing::info!(model = %text::shown(&self.model), "the model takes no temperature; it is left out from now on");
            answer = self.send(request)?;
        }
        if !answer.status.is_success() {
            return Err(self.refusal(&answer));
        }
        let latency = Duration::from_micros(self.world.clock.now().micros_since(begun));
        heard(self.provider, request, &answer.body).map(|response| Response { latency, ..response })
    }
}

impl Client {
    fn send(&self, request: &Request) -> Result<Answer, Error> {
        let time = self.world.until(request.deadline);
        if time.is_zero() {
            return Err(Error::new(Why::Late));
        }
        let warm = !self.cold.load(Ordering::Relaxed);
        let wire = Wire { model: self.model.clone(), json: self.json, warm };
        let body = self.provider.body(&wire, request).to_string();
        self.http.post(&self.provider.headers(self.key.as_ref()), body.as_bytes(), time).map_err(Error::new)
    }

    fn refusal(&self, answer: &Answer) -> Error {
        let status = answer.status.as_u16();
        let why = match status {
            429 => Why::TooMany(retry_after(&answer.headers, &self.world)),
            408 | 409 | 425 | 500..=599 => Why::Failed(status),
            401 | 403 => Why::Denied(status),
            300..=399 => Why::Redirected(status),
            _ => Why::Rejected(status),
        };
        Error { words: words(&self.redactor, &answer.body), ..Error::new(why) }
    }
}

/// What the body of a provider's answer says.
pub(crate) fn heard(provider: Provider, request: &Request, body: &[u8]) -> Result<Response, Error> {
    let value: Value = serde_json::from_slice(body).map_err(|_| Error::new(Why::Malformed))?;
    let read = provider.read(&value).map_err(Error::new)?;
    let usage = match read.usage {
        Some((input, output)) => Usage {
            input_tokens: input.min(limits::CLAIMED_TOKENS_MAX),
            output_tokens: output.min(limits::CLAIMED_TOKENS_MAX),
            estimated: false,
        },
        None => {
            Usage { input_tokens: tokens(request.bytes()), output_tokens: tokens(read.text.len()), estimated: true }
        }
    };
    Ok(Response {
        text: read.text,
        json: None,
        cut: read.cut,
        usage,
        cost_microusd: None,
        model: read.model.chars().take(limits::WORDS_CHARS_MAX).collect(),
        origin: Origin::Provider,
        attempts: 1,
        latency: Duration::ZERO,
    })
}

/// What an error's body says, fit to be shown: redacted, without control characters, short.
pub(crate) fn words(redactor: &Redactor, body: &[u8]) -> String {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &value["error"];
    // OpenAI and Anthropic say {"error": {"message"}}, Ollama {"error": "…"}, some {"message"} or {"detail"}.
    let says = [&error["message"], error, &value["message"], &value["detail"]];
    let Some(says) = says.into_iter().find_map(Value::as_str) else { return String::new() };
    text::shown(&redactor.redact_secrets(says))
}

/// Whether an error is about the temperature, which models that think first do not take.
fn wants_no_temperature(body: &[u8]) -> bool {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &value["error"];
    error["param"] == "temperature" || error["message"].as_str().is_some_and(|m| m.contains("temperature"))
}

/// For how long a provider wants to be left alone (RFC 9110, section 10.2.3): seconds, or a date.
fn retry_after(headers: &HeaderMap, world: &World) -> Option<Duration> {
    let value = headers.get("retry-after")?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(world.until(vertice_model::Timestamp::from_micros(date.as_microsecond())))
}

/// Tokens of a text of so many bytes, rather too many.
pub(crate) fn tokens(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(limits::TOKEN_BYTES)
}

/// The system's text, with the schema where only the text asks for JSON.
fn system(json: JsonForm, request: &Request) -> String {
    match (&request.output, json) {
        (Output::Text, _) | (Output::Json(_), JsonForm::Schema) => request.system.clone(),
        (Output::Json(schema), JsonForm::Object | JsonForm::ObjectSchema | JsonForm::Prompt) => format!(
            "{}\n\nAnswer with one JSON value and nothing else. It must fit this JSON schema:\n{}",
            request.system,
            schema.text()
        ),
    }
}

/// The number at `name`, where it is one.
fn count(value: &Value, name: &str) -> Option<u64> {
    value.get(name)?.as_u64()
}

fn name_of(answer: &Value) -> String {
    answer["model"].as_str().unwrap_or_default().to_owned()
}

/// The temperature as JSON, with the digits that were meant: 0.2 and not 0.20000000298.
fn temperature(request: &Request) -> Value {
    json!((f64::from(request.temperature) * 1_000.0).round() / 1_000.0)
}
