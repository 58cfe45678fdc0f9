//! Topics by hand: what the command line writes to one and reads of one. Blocks; needs no runtime.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};
use vertice_engine::{Content, Stamp};
use vertice_model::{Position, RawEvent};
use vertice_stream::kafka::{Consumer, Next, OutRecord, Patience, Problem, Publisher, Record, Settings, Wanted, check};

use super::settings::settings;
use crate::cli::Failure;
use crate::cli::Sent;
use crate::config::Config;
use crate::{clock, content, limits};

/// Looks once whether brokers and a topic are there.
fn look(settings: &Settings, topic: &str) -> Result<()> {
    let wanted = Wanted { topic: topic.to_owned(), partitions: 1, replication: 1, create: false };
    let once = Patience { looks: 1, ..Patience::default() };
    check(settings, &[wanted], once).map(|_| ()).map_err(failure)
}

/// What a problem means for a command.
fn failure(problem: Problem) -> anyhow::Error {
    match problem {
        Problem::Unreachable { .. } | Problem::UnknownBroker { .. } => Failure::Unreachable(problem.to_string()),
        Problem::Credentials { .. } | Problem::Denied { .. } => Failure::Refused(problem.to_string()),
        Problem::MissingTopic { .. } => Failure::NotFound(problem.to_string()),
        Problem::Setting { .. }
        | Problem::NotBuilt { .. }
        | Problem::Tls { .. }
        | Problem::NotCreated { .. }
        | Problem::TooFewPartitions { .. }
        | Problem::Fatal { .. }
        | Problem::Other { .. } => Failure::Failed(problem.to_string()),
    }
    .into()
}

fn configured(config: &Config) -> Result<Settings> {
    if !config.stream.kafka.is_on() {
        let what = "no Kafka is configured: set `brokers` of [stream.kafka], or KAFKA_BROKERS";
        return Err(Failure::Usage(what.to_owned()).into());
    }
    settings(&config.stream.kafka)
}

/// Writes events to the topic of events.
pub struct Sender {
    publisher: Publisher,
    topic: Arc<str>,
    content: Content,
}

impl Sender {
    /// Finds the topic.
    ///
    /// # Errors
    /// When Kafka is not configured, not there or does not let us in, or its topic is missing.
    pub fn new(config: &Config) -> Result<Sender> {
        let settings = configured(config)?;
        let topic: Arc<str> = config.stream.kafka.topics.events.as_str().into();
        look(&settings, &topic)?;
        let mut files = content::gather(&config.content.dirs, &[])?;
        // Rules take a while to compile and are not needed here.
        files.retain(|f| f.path.starts_with("mappings"));
        Ok(Sender { publisher: Publisher::open(&settings).map_err(failure)?, topic, content: Content::compile(files) })
    }

    /// Writes those that a mapping reads, each keyed by its entity, and waits until they are acknowledged.
    ///
    /// # Errors
    /// When they were not delivered in time.
    pub fn send(&mut self, lines: &[String]) -> Result<Sent> {
        let stamp = Stamp { position: Position(1), now: clock::wall() };
        let origin: Arc<str> = "inject".into();
        let (mut sent, mut records) = (Sent::default(), Vec::new());
        for (number, line) in (1..).zip(lines) {
            let raw = RawEvent { origin: Arc::clone(&origin), line: line.clone() };
            match self.content.mappings.normalize(stamp, &raw) {
                Ok(event) => records.push(OutRecord {
                    topic: Arc::clone(&self.topic),
                    key: event.entity.map(|entity| entity.name().into()),
                    value: Some(raw.line.into_bytes()),
                    ..OutRecord::default()
                }),
                Err(refusal) => sent.refused.push((number, refusal.to_string())),
            }
        }
        sent.accepted = records.len() as u64;
        self.publisher.send_blocking(records).map_err(|e| Failure::Unreachable(e.to_string()))?;
        Ok(sent)
    }
}

/// Follows a topic, in a group of its own that commits nothing.
pub struct Following<'a> {
    /// Which.
    pub topic: &'a str,
    /// From its oldest record on, instead of from now.
    pub from_beginning: bool,
    /// How many records.
    pub count: u64,
}

impl Following<'_> {
    /// Hands on record after record, each as a JSON object.
    ///
    /// # Errors
    /// When Kafka is not configured, not there or does not let us in, the topic is missing, or nobody takes a record.
    pub fn run(&self, config: &Config, each: &mut dyn FnMut(&Value) -> Result<()>) -> Result<()> {
        let mut settings = configured(config)?;
        look(&settings, self.topic)?;
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|e| Failure::Failed(format!("drawing a name: {e}")))?;
        settings.group = format!("{}-tail-{:016x}", settings.group, u64::from_le_bytes(bytes));
        settings.from_newest = !self.from_beginning;
        settings.headers = true;
        let mut consumer = Consumer::open(&settings, &[self.topic]).map_err(failure)?;
        let mut left = self.count;
        while left > 0 {
            let Next::Records(batch) = consumer.next(limits::KAFKA_POLL).map_err(failure)? else { continue };
            for record in batch.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
                each(&told(&record)).context("printing a record")?;
                left -= 1;
            }
        }
        Ok(())
    }
}

fn told(record: &Record<'_>) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let value = record.value.map(|v| serde_json::from_slice(v).unwrap_or_else(|_| Value::from(text(v))));
    let headers: Map<String, Value> =
        record.headers.iter().map(|(name, value)| (name.to_owned(), value.map(text).into())).collect();
    json!({
        "topic": &*record.partition().topic,
        "partition": record.partition().number,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "key": record.key.map(text),
        "headers": headers,
        "value": value,
    })
}
