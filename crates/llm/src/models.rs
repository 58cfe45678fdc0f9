//! All models that are configured, and the way to them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::Serialize;

use crate::budget::{Budget, Spent};
use crate::cache::Cache;
use crate::clock::World;
use crate::error::{Error, Skip};
use crate::guard::{Bounds, Common, Counts, Guarded};
use crate::http::Http;
use crate::provider::{Client, Provider};
use crate::record::{Record, Replay};
use crate::redact::Redactor;
use crate::request::{Request, Response};
use crate::secret::{Secret, SecretFrom};
use crate::settings::{ModelSettings, Settings, SettingsError, place};
use crate::shared::Shared;
use crate::{Model, Named};

/// All models that are configured, each with what stands around it.
#[derive(Default)]
pub struct Models {
    models: BTreeMap<String, (Named, Guarded)>,
    /// Empty exactly where there are no models.
    prefer: String,
    common: Option<Arc<Common>>,
}

/// The environment, as the caller gives it.
type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl std::fmt::Debug for Models {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Models({:?})", self.models.keys().collect::<Vec<_>>())
    }
}

/// A model as it is configured, with its key.
struct Ready {
    settings: ModelSettings,
    base_url: String,
    key: Option<Secret>,
    on_this_machine: bool,
}

impl Models {
    /// No models: every question is skipped with [`Skip::NoModel`].
    #[must_use]
    pub fn none() -> Models {
        Models::default()
    }

    /// Those of the settings, or of the environment (`OPENAI_API_KEY`, `OPENAI_BASE_URL`, `ANTHROPIC_API_KEY`,
    /// `ANTHROPIC_BASE_URL`) where the settings have none. Nothing is connected. `spent` is what [`Models::spent`]
    /// said before the last restart.
    ///
    /// # Errors
    /// What can not be used, by its key. No secret is in it.
    pub fn new(
        settings: &Settings,
        environment: Environment<'_>,
        world: World,
        spent: Spent,
    ) -> Result<Models, SettingsError> {
        settings.check()?;
        let environment = &|name: &str| environment(name).filter(|v| !v.trim().is_empty());
        let configured = if settings.models.is_empty() { from(environment, settings) } else { settings.models.clone() };
        let replays = !settings.replay.as_os_str().is_empty();
        let mut ready = BTreeMap::new();
        for (name, model) in configured {
            let made = Ready::new(model, environment, replays);
            let named = made.map_err(|(key, reason)| SettingsError { key: format!("models.{name}.{key}"), reason })?;
            ready.insert(name, named);
        }
        if ready.is_empty() {
            return Ok(Models::none());
        }
        let common = Arc::new(common(settings, environment, world, (&ready, spent))?);
        let prefer = if ready.contains_key(&settings.model) { Some(&settings.model) } else { ready.keys().next() };
        let prefer = prefer.cloned().unwrap_or_default();
        let mut models = BTreeMap::new();
        for (name, model) in ready {
            let wrong = |reason| SettingsError { key: format!("models.{name}.ca_file"), reason };
            let made = model.guarded(settings, &common).map_err(wrong)?;
            models.insert(name, made);
        }
        Ok(Models { models, prefer, common: Some(common) })
    }

    /// Asks the model that is preferred. Blocks until there is an answer, or none to be hoped for:
    /// no longer than the deadline.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn complete(&self, request: &Request) -> Result<Response, Error> {
        self.complete_by(&self.prefer, request)
    }

    /// The name of the model that is asked; empty where there is none.
    #[must_use]
    pub fn preferred(&self) -> &str {
        &self.prefer
    }

    /// Asks one model by its name.
    ///
    /// # Errors
    /// Why there is no answer; [`Skip::NoModel`] where there is no such model.
    pub fn complete_by(&self, name: &str, request: &Request) -> Result<Response, Error> {
        self.models.get(name).ok_or(Skip::NoModel)?.1.complete(request)
    }

    /// The names of the models, and what their providers call them.
    pub fn names(&self) -> impl Iterator<Item = (&str, Provider, &str)> {
        self.models.iter().map(|(name, (named, _))| (name.as_str(), named.provider, named.model.as_str()))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.models.is_empty()
    }

    /// What became of the questions, by the model's name.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, Counts> {
        self.models.iter().map(|(name, (_, guarded))| (name.clone(), guarded.counts())).collect()
    }

    /// What was spent, for the caller to keep over a restart. Questions in flight count with the most they may cost.
    #[must_use]
    pub fn spent(&self) -> Spent {
        self.common.as_ref().map(|c| c.budget.spent()).unwrap_or_default()
    }

    /// How many answers are kept in memory, and how many bytes they take.
    #[must_use]
    pub fn kept(&self) -> (usize, usize) {
        self.common.as_ref().map(|c| c.cache.size()).unwrap_or_default()
    }

    pub(crate) fn world(&self) -> Option<&World> {
        self.common.as_ref().map(|c| &c.world)
    }
}

/// A model for each provider that the environment names.
fn from(environment: Environment<'_>, settings: &Settings) -> BTreeMap<String, ModelSettings> {
    let mut models = BTreeMap::new();
    let key = |name: &str| environment(name).map(|_| SecretFrom::Env(name.to_owned()));
    let openai_key = key("OPENAI_API_KEY");
    match environment("OPENAI_BASE_URL").filter(|url| !url.contains("://api.openai.com")) {
        // Whatever is asked instead of OpenAI speaks what most speak.
        Some(url) => {
            let model = ModelSettings::new(Provider::Compatible, &settings.openai_model, &url);
            models.insert("openai".to_owned(), ModelSettings { key: openai_key, ..model });
        }
        None if openai_key.is_some() => {
            models.insert("openai".to_owned(), ModelSettings::new(Provider::OpenaiChat, &settings.openai_model, ""));
        }
        None => {}
    }
    if key("ANTHROPIC_API_KEY").is_some() {
        models.insert("anthropic".to_owned(), ModelSettings::new(Provider::Anthropic, &settings.anthropic_model, ""));
    }
    models
}

impl Ready {
    fn new(
        settings: ModelSettings,
        environment: Environment<'_>,
        replays: bool,
    ) -> Result<Ready, (&'static str, String)> {
        let names = match settings.provider {
            Provider::OpenaiChat | Provider::OpenaiResponses => Some(("OPENAI_BASE_URL", "OPENAI_API_KEY")),
            Provider::Anthropic => Some(("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY")),
            Provider::Compatible => None,
        };
        let own = settings.provider.base_url().map(str::to_owned);
        let base_url = Some(settings.base_url.clone()).filter(|url| !url.is_empty());
        let base_url = base_url.or_else(|| environment(names?.0)).or(own);
        let base_url = base_url.ok_or(("base_url", "it is needed for this provider".to_owned()))?;
        let on_this_machine = place(&base_url, settings.allow_plain).map_err(|reason| ("base_url", reason))?;
        if replays {
            return Ok(Ready { settings, base_url, key: None, on_this_machine });
        }
        let from_environment = || names.map(|(_, key)| SecretFrom::Env(key.to_owned()));
        let key = match settings.key.clone().or_else(from_environment) {
            Some(from) => Some(from.fetch(environment).map_err(|reason| ("key", reason))?),
            None => None,
        };
        Ok(Ready { settings, base_url, key, on_this_machine })
    }

    fn guarded(self, settings: &Settings, common: &Arc<Common>) -> Result<(Named, Guarded), String> {
        let Ready { settings: own, base_url, key, on_this_machine } = self;
        let named = Named { provider: own.provider, model: own.model.clone() };
        let bounds = Bounds {
            price: own.price(on_this_machine),
            attempts: own.attempts,
            concurrency: own.concurrency,
            tokens: own.max_tokens,
            deadline: Duration::from_secs(own.deadline_s),
        };
        let dir = |path: &Path| (!path.as_os_str().is_empty()).then(|| path.to_owned());
        let inner: Box<dyn Model> = if let Some(dir) = dir(&settings.replay) {
            Box::new(Replay { dir, named: named.clone() })
        } else {
            let url = own.provider.url(&base_url);
            let client = Client {
                provider: own.provider,
                model: own.model,
                json: own.json,
                http: Http::new(url, own.ca_file.as_deref(), own.concurrency as usize)?,
                key,
                redactor: common.redactor.clone(),
                world: common.world.clone(),
                cold: AtomicBool::new(false),
            };
            match dir(&settings.record) {
                Some(dir) => Box::new(Record { inner: client, dir, named: named.clone() }),
                None => Box::new(client),
            }
        };
        Ok((named.clone(), Guarded::new(inner, named, bounds, Arc::clone(common))))
    }
}

fn common(
    settings: &Settings,
    environment: Environment<'_>,
    world: World,
    (ready, spent): (&BTreeMap<String, Ready>, Spent),
) -> Result<Common, SettingsError> {
    let wrong = |key: &str| {
        let key = key.to_owned();
        move |reason| SettingsError { key, reason }
    };
    let mut keys: Vec<_> = ready.values().filter_map(|r| r.key.clone()).collect();
    // An answer that came from Redis would not be recorded, and a replay opens no socket.
    let alone = !settings.replay.as_os_str().is_empty() || !settings.record.as_os_str().is_empty();
    let place = Some(settings.redis.clone()).filter(|r| !r.is_empty()).or_else(|| environment("REDIS_HOST"));
    let redis = match place.filter(|_| !alone && settings.cache.entries > 0) {
        Some(place) => {
            let password = settings.redis_password.as_ref().map(|p| p.fetch(environment)).transpose();
            let password = password.map_err(wrong("redis_password"))?;
            keys.extend(password.clone());
            Some(Shared::new(&place, password.as_ref(), world.clone()).map_err(wrong("redis"))?)
        }
        None => None,
    };
    let redactor = Redactor::new(&settings.redaction, &keys).map_err(wrong("redaction"))?;
    Ok(Common {
        budget: Budget::new(settings.budget, spent),
        cache: Cache::new(settings.cache),
        redis,
        redactor,
        world,
    })
}

/// How a model did when it was asked whether it is there.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// Its name.
    pub name: String,
    /// Its provider.
    pub provider: Provider,
    /// What the provider calls it.
    pub model: String,
    /// Whether it answers.
    pub answers: bool,
    /// Whether it answers in JSON that fits a schema.
    pub json: bool,
    /// How long the last question took, in milliseconds.
    pub latency_ms: f64,
    /// Tokens in, of all questions.
    pub input_tokens: u64,
    /// Tokens out, of all questions.
    pub output_tokens: u64,
    /// What they cost, in millionths of a dollar; `None` where no price is known.
    pub cost_microusd: Option<u64>,
    /// Why it does not answer, or not in JSON.
    pub problem: Option<String>,
}
