//! Time that passes when it is told to, and chance that always says the same.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use vertice_llm::{Clock, ModelSettings, Models, Provider, Purpose, Request, Schema, Settings, Spent, World};
use vertice_model::Timestamp;

/// 2026-03-01T12:00:00Z.
pub const NOON_S: i64 = 1_772_366_400;

#[derive(Debug, Default)]
pub struct Told {
    us: AtomicI64,
    waits: Mutex<Vec<Duration>>,
}

impl Told {
    pub fn pass(&self, time: Duration) {
        self.us.fetch_add(time.as_micros() as i64, Ordering::SeqCst);
    }

    /// How long it was waited, each time.
    pub fn waits(&self) -> Vec<Duration> {
        self.waits.lock().unwrap().clone()
    }
}

impl Clock for Told {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(NOON_S * 1_000_000 + self.us.load(Ordering::SeqCst))
    }

    fn wait(&self, time: Duration) {
        self.waits.lock().unwrap().push(time);
        self.pass(time);
    }
}

/// Time that stands still, and waits that are real.
#[derive(Debug)]
pub struct Real;

impl Clock for Real {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(NOON_S)
    }
}

pub fn told() -> (Arc<Told>, World) {
    let clock = Arc::new(Told::default());
    let world = World { clock: Arc::<Told>::clone(&clock), random: Arc::new(|| 100) };
    (clock, world)
}

/// One model at that place, called "m".
pub fn one(provider: Provider, base_url: &str) -> Settings {
    let mut model = ModelSettings::new(provider, "small", base_url);
    model.usd_per_million_in = Some(2.0);
    model.usd_per_million_out = Some(10.0);
    if provider == Provider::Compatible {
        model.key = Some(vertice_llm::SecretFrom::Env("TEST_KEY".to_owned()));
    }
    Settings { models: [("m".to_owned(), model)].into(), ..Settings::default() }
}

pub const KEY: &str = "sk-test-Zq81kWmm0aPPx7TtVb3e9N";

pub fn environment(name: &str) -> Option<String> {
    matches!(name, "TEST_KEY" | "OPENAI_API_KEY" | "ANTHROPIC_API_KEY").then(|| KEY.to_owned())
}

pub fn models(settings: &Settings, world: &World) -> Models {
    Models::new(settings, &environment, world.clone(), Spent::default()).unwrap()
}

/// A question that may take a minute.
pub fn question(world: &World, user: &str) -> Request {
    let deadline = Timestamp::from_micros(world.clock.now().as_micros() + 60_000_000);
    Request::new(Purpose::Triage, "Judge.", user, deadline)
}

pub fn opinion() -> Schema {
    Schema::new(json!({
        "type": "object",
        "properties": {
            "who": {"type": "string", "maxLength": 80},
            "score": {"type": "integer", "minimum": 0, "maximum": 100},
        },
        "required": ["who", "score"],
        "additionalProperties": false,
    }))
    .unwrap()
}
