//! Whether there is a broker, whether it lets us in, and whether it has the topics.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::ears::Ears;
use super::problem::{Problem, reason, words};
use super::settings::Settings;
use super::wait::wait;
use crate::limits::kafka as limits;

/// A topic that is needed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// Its name.
    pub topic: String,
    /// How many partitions it gets if it is created, and is advised to have if it is not.
    pub partitions: i32,
    /// How many replicas it gets.
    pub replication: i32,
    /// Whether it may be created.
    pub create: bool,
}

/// A topic that is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// Its name.
    pub topic: String,
    /// How many partitions it has.
    pub partitions: i32,
}

/// How often it is tried, and how long in between.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Patience {
    /// How many times in all.
    pub looks: u32,
    /// How long between two.
    pub again: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { looks: limits::LOOKS_MAX, again: limits::LOOK_AGAIN }
    }
}

/// Looks for the broker and the topics, and creates those that may be created. Blocks.
///
/// Each problem is warned of once; what may pass is tried again, with patience.
///
/// # Errors
/// The last [`Problem`].
pub fn check(settings: &Settings, wanted: &[Wanted], patience: Patience) -> Result<Vec<Found>, Problem> {
    let heard = Heard { ears: Ears::new(settings) };
    let doing = || Problem::other("asking Kafka for its topics");
    let client: BaseConsumer<Heard> = settings.client_config()?.create_with_context(heard).map_err(doing())?;
    let mut looks = 1;
    let mut last = None;
    loop {
        let problem = match wanted.iter().map(|wanted| look(settings, &client, wanted)).collect() {
            Ok(found) => return Ok(found),
            Err(problem) => problem,
        };
        if looks >= patience.looks || !problem.may_pass() {
            return Err(problem);
        }
        if last.as_ref() != Some(&problem) {
            tracing::warn!("{problem}. Trying again {} times", patience.looks - looks);
            last = Some(problem);
        }
        client.poll(patience.again);
        looks += 1;
    }
}

/// Looks for one topic.
fn look(settings: &Settings, client: &BaseConsumer<Heard>, wanted: &Wanted) -> Result<Found, Problem> {
    let topic = &wanted.topic;
    let ears = &client.context().ears;
    let metadata = client.fetch_metadata(Some(topic), limits::ASK).map_err(|error| {
        // Why there is no answer is told beside it.
        client.poll(Duration::from_millis(1));
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        ears.take_worst().unwrap_or_else(|| ears.explain(code, &reason(&error)))
    })?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return create(settings, wanted);
    };
    match found.error().map(RDKafkaErrorCode::from) {
        None => Ok(Found { topic: topic.clone(), partitions: found.partitions().len() as i32 }),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => create(settings, wanted),
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => Err(Problem::Denied { what: format!("the topic {topic}") }),
        Some(code) => Err(Problem::Other { doing: format!("looking for the topic {topic}"), reason: words(code) }),
    }
}

/// Creates it, if that is allowed.
fn create(settings: &Settings, wanted: &Wanted) -> Result<Found, Problem> {
    let Wanted { topic, partitions, replication, create } = wanted.clone();
    if !create {
        return Err(Problem::MissingTopic { topic, brokers: settings.brokers.clone(), partitions, replication });
    }
    let doing = || Problem::other(format!("creating the topic {topic}"));
    let heard = Heard { ears: Ears::new(settings) };
    let admin: AdminClient<Heard> = settings.client_config()?.create_with_context(heard).map_err(doing())?;
    let new = NewTopic::new(&topic, partitions, TopicReplication::Fixed(replication));
    let options = AdminOptions::new().operation_timeout(Some(limits::ASK)).request_timeout(Some(limits::ASK * 2));
    let results = wait(admin.create_topics([&new], &options)).map_err(doing())?;
    match results.into_iter().next() {
        // Somebody else was quicker: how many partitions it has is seen at the next look.
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | None => {
            Err(Problem::NotCreated { topic, reason: "it was created by another at the same time".to_owned() })
        }
        Some(Err((_, RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed))) => {
            Err(Problem::Denied { what: format!("to create the topic {topic}") })
        }
        Some(Err((_, code))) => Err(Problem::NotCreated { topic, reason: words(code) }),
        Some(Ok(_)) => {
            tracing::info!("created the topic {topic} with {partitions} partitions and {replication} replicas");
            Ok(Found { topic, partitions })
        }
    }
}

struct Heard {
    ears: Ears,
}

impl ClientContext for Heard {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.ears.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code() {
            self.ears.hear(code, reason);
        }
    }
}

impl ConsumerContext for Heard {}
