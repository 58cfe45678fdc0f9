//! What is configured: the section `[sentinel]`. No secret is in it, only where secrets are.
//!
//! An example:
#![doc = concat!("```toml\n", include_str!("settings.toml"), "```")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::budget::{BudgetSettings, microusd};
use crate::cache::CacheSettings;
use crate::limits;
use crate::provider::{JsonForm, Provider};
use crate::redact::RedactionSettings;
use crate::secret::SecretFrom;

/// Which models there are, and how far they are used.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The model that is asked, by its name below; empty: the first by name.
    pub model: String,
    /// The models, by names of our own. Where there are none, the environment's keys make them.
    pub models: BTreeMap<String, ModelSettings>,
    /// The model that is asked where there is only `OPENAI_API_KEY` or `OPENAI_BASE_URL`.
    pub openai_model: String,
    /// The model that is asked where there is only `ANTHROPIC_API_KEY`.
    pub anthropic_model: String,
    /// What may be spent, by all models together.
    pub budget: BudgetSettings,
    /// Which answers are kept.
    pub cache: CacheSettings,
    /// Redis, where instances share answers: host or host:port. Empty: what `REDIS_HOST` says, or none.
    pub redis: String,
    /// Its password.
    pub redis_password: Option<SecretFrom>,
    /// What is taken out of questions.
    pub redaction: RedactionSettings,
    /// A directory in which every answer is written down; empty: none.
    pub record: PathBuf,
    /// A directory from which answers are taken, and from nowhere else; empty: none.
    pub replay: PathBuf,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            model: String::new(),
            models: BTreeMap::new(),
            openai_model: "gpt-5-mini".to_owned(),
            anthropic_model: "claude-haiku-4-5".to_owned(),
            budget: BudgetSettings::default(),
            cache: CacheSettings::default(),
            redis: String::new(),
            redis_password: None,
            redaction: RedactionSettings::default(),
            record: PathBuf::new(),
            replay: PathBuf::new(),
        }
    }
}

/// A model.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// Whose protocol it speaks.
    pub provider: Provider,
    /// What the provider calls it.
    pub model: String,
    /// Where it is; empty: what `OPENAI_BASE_URL` or `ANTHROPIC_BASE_URL` say, or the provider's own place.
    #[serde(default)]
    pub base_url: String,
    /// The key; left out: what `OPENAI_API_KEY` or `ANTHROPIC_API_KEY` say. `compatible` has none of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SecretFrom>,
    /// Whether `http://` is allowed to where others can listen.
    #[serde(default)]
    pub allow_plain: bool,
    /// A PEM file of certificates that are trusted, instead of the usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// How JSON is asked for.
    #[serde(default)]
    pub json: JsonForm,
    /// What a million tokens of questions cost, in dollars. Left out: unknown, and the budget takes it to be dear;
    /// nothing where the model is on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd_per_million_in: Option<f64>,
    /// What a million tokens of answers cost, in dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd_per_million_out: Option<f64>,
    /// How many questions are in flight to it at once.
    #[serde(default = "four")]
    pub concurrency: u32,
    /// How often a question is tried.
    #[serde(default = "four")]
    pub attempts: u32,
    /// How long a question may take, retries included, in seconds.
    #[serde(default = "minute")]
    pub deadline_s: u64,
    /// Most tokens of an answer.
    #[serde(default = "page")]
    pub max_tokens: u32,
}

fn four() -> u32 {
    4
}

fn minute() -> u64 {
    60
}

fn page() -> u32 {
    4_096
}

/// What is wrong with the settings, by the key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct SettingsError {
    pub(crate) key: String,
    pub(crate) reason: String,
}

impl Settings {
    /// Whether they can be used, as far as that can be told without opening what secrets are taken from.
    ///
    /// # Errors
    /// The first thing that can not be used, by its key.
    pub fn check(&self) -> Result<(), SettingsError> {
        let wrong = |key: &str, reason: String| Err(SettingsError { key: key.to_owned(), reason });
        if self.models.len() > limits::MODELS_MAX {
            return wrong("models", format!("there are more than {}", limits::MODELS_MAX));
        }
        for (name, model) in &self.models {
            model.check(name)?;
        }
        if !self.model.is_empty() && !self.models.is_empty() && !self.models.contains_key(&self.model) {
            return wrong("model", format!("there is no model {:?}", self.model));
        }
        for (key, usd) in [("usd_per_hour", self.budget.usd_per_hour), ("usd_per_day", self.budget.usd_per_day)] {
            if !is_amount(usd) {
                return wrong(
                    &format!("budget.{key}"),
                    "it is 0 for no limit, or a millionth of a dollar or more".into(),
                );
            }
        }
        if self.cache.entries > limits::CACHE_ENTRIES_MAX {
            return wrong("cache.entries", format!("it is at most {}", limits::CACHE_ENTRIES_MAX));
        }
        if !self.record.as_os_str().is_empty() && !self.replay.as_os_str().is_empty() {
            return wrong("record", "it can not be together with replay".to_owned());
        }
        Ok(())
    }
}

impl ModelSettings {
    /// One with the usual bounds.
    #[must_use]
    pub fn new(provider: Provider, model: &str, base_url: &str) -> ModelSettings {
        ModelSettings {
            provider,
            model: model.to_owned(),
            base_url: base_url.to_owned(),
            key: None,
            allow_plain: false,
            ca_file: None,
            json: JsonForm::Schema,
            usd_per_million_in: None,
            usd_per_million_out: None,
            concurrency: four(),
            attempts: four(),
            deadline_s: minute(),
            max_tokens: page(),
        }
    }

    fn check(&self, name: &str) -> Result<(), SettingsError> {
        let wrong = |key: &str, reason: String| Err(SettingsError { key: format!("models.{name}.{key}"), reason });
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return wrong("", "a name has 1 to 64 letters, digits, _ and -".to_owned());
        }
        if self.model.trim().is_empty() || self.model.len() > 256 {
            return wrong("model", "it is what the provider calls the model".to_owned());
        }
        for (key, usd) in
            [("usd_per_million_in", self.usd_per_million_in), ("usd_per_million_out", self.usd_per_million_out)]
        {
            if !usd.is_none_or(is_amount) {
                return wrong(key, "it is 0, or a millionth of a dollar or more".to_owned());
            }
        }
        let bounds = [
            ("concurrency", u64::from(self.concurrency), u64::from(limits::CONCURRENCY_MAX)),
            ("attempts", u64::from(self.attempts), u64::from(limits::ATTEMPTS_MAX)),
            ("deadline_s", self.deadline_s, limits::DEADLINE_MAX.as_secs()),
            ("max_tokens", u64::from(self.max_tokens), u64::from(limits::OUTPUT_TOKENS_MAX)),
        ];
        for (key, value, max) in bounds {
            if value == 0 || value > max {
                return wrong(key, format!("it is 1 to {max}"));
            }
        }
        Ok(())
    }

    /// The price in millionths of a dollar for a million tokens, in and out, where it is known.
    pub(crate) fn price(&self, on_this_machine: bool) -> Option<(u64, u64)> {
        let known = self.usd_per_million_in.zip(self.usd_per_million_out);
        known.map(|(i, o)| (microusd(i), microusd(o))).or(on_this_machine.then_some((0, 0)))
    }
}

fn is_amount(usd: f64) -> bool {
    usd == 0.0 || (1e-6..=1e9).contains(&usd)
}

/// Whether a URL can be used, and whether it is on this machine.
///
/// Without TLS only hosts are asked that are near: this machine, private addresses and names without a dot, as
/// containers have them. Whoever wants more says `allow_plain`.
pub(crate) fn place(url: &str, allow_plain: bool) -> Result<bool, String> {
    let no = |reason: &str| Err(reason.to_owned());
    let Ok(uri) = url.parse::<ureq::http::Uri>() else { return no("it is no URL") };
    let Some(authority) = uri.authority() else { return no("it is a whole URL such as http://localhost:11434/v1") };
    if authority.as_str().contains('@') {
        return no("a key is given as key, and not in the URL");
    }
    if uri.query().is_some() {
        return no("it has no query");
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    let here = address.map_or(host == "localhost" || host.ends_with(".localhost"), |a| a.to_canonical().is_loopback());
    let near = here || address.map_or(!host.contains('.'), is_private);
    match uri.scheme_str() {
        Some("https") => Ok(here),
        Some("http") if near || allow_plain => Ok(here),
        Some("http") => no("without TLS others can read along; set allow_plain if that is meant"),
        _ => no("it begins with https:// or http://"),
    }
}

fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}
