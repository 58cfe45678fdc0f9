//! Kafka, beside the embedded store: one more sense and one more hand.
//!
//! [`intake`] puts the values of one topic into the log, together with how far it has read each partition: the log
//! takes each offset exactly once, whatever dies in between. [`outlet`] follows the read model and writes what changed
//! to the topics of the contract, at least once and always under the same ids. Neither is waited for by anything else:
//! a broker that is away stops what comes from it and what goes to it, and nothing more.

mod cursors;
mod hand;
mod intake;
pub mod many;
mod outlet;
mod settings;
pub mod topics;
mod values;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vertice_engine::Content;
use vertice_model::Position;
use vertice_store::Store;
use vertice_stream::kafka::{Found, Patience, Problem, Publisher, Settings, check};

use crate::clock::Clock;
use crate::config::Kafka as Config;
use crate::limits;
use crate::sources::Rim;

pub use hand::{Following, Sender};
use intake::Intake;
use outlet::Outlet;
pub use settings::{settings, wanted};

/// What Kafka is given.
pub struct Parts {
    /// How it is reached.
    pub config: Config,
    /// Where events go, and where sources are told of. When its `stop` is cancelled nothing more is taken in.
    pub rim: Rim,
    /// What tells the time.
    pub clock: Arc<Clock>,
    /// The content in force, whose mappings say what can be read.
    pub content: watch::Receiver<Arc<Content>>,
    /// When it is cancelled, what was judged so far is still published, and that is the end.
    pub stop_publishing: CancellationToken,
}

/// Starts it. What this gives ends with an error if it is configured wrongly, and otherwise once it is told to.
///
/// # Errors
/// When a setting or a secret can not be used.
pub fn start(parts: Parts) -> Result<JoinHandle<Result<()>>> {
    let settings = settings(&parts.config)?;
    let member = member(&parts.rim.store)?;
    Ok(tokio::spawn(run(parts, settings, member)))
}

/// What the group knows this store by. It is the same after a restart, so that the group gives back the partitions of
/// one that was killed at once, and not only when it has been missed for long enough (KIP-345).
fn member(store: &Store) -> Result<String> {
    const KEY: &str = "kafka_member";
    if let Some(name) = store.meta(KEY).context("reading what the group knows us by")? {
        return Ok(name);
    }
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|e| anyhow!("drawing a name: {e}"))?;
    let name = format!("vertice-{:016x}", u64::from_le_bytes(bytes));
    let (store, kept) = (store.clone(), name.clone());
    let keeping = std::thread::spawn(move || store.set_meta(KEY, &kept));
    keeping.join().map_err(|_| anyhow!("keeping a name failed"))?.context("keeping what the group knows us by")?;
    Ok(name)
}

async fn run(parts: Parts, settings: Settings, member: String) -> Result<()> {
    let place = parts.rim.announce(format!("kafka://{}", settings.brokers), "kafka");
    if find(&parts.config, false, &parts.rim, &settings, place).await?.is_none() {
        return Ok(());
    }
    let publisher = Publisher::open(&settings).context("opening a producer for Kafka")?;
    let published = watch::Sender::new(Position(0));
    let reached = published.subscribe();
    let outlet = Outlet {
        store: parts.rim.store.clone(),
        publisher: publisher.clone(),
        names: parts.config.topics.clone(),
        source: format!("/vertice/{}", parts.config.group),
        clock: Arc::clone(&parts.clock),
        published,
        stop: parts.stop_publishing.clone(),
    };
    let mut outlet = tokio::spawn(outlet.run());
    let mut consumer = settings.clone();
    consumer.further.push(("group.instance.id".to_owned(), member));
    tokio::select! {
        taken = take_in(&parts, &consumer, place, &publisher, &reached) => taken?,
        // Before it is told to, it ends only because it failed.
        ended = &mut outlet => return ended.context("publishing to Kafka")?,
    }
    outlet.await.context("publishing to Kafka")?
}

/// Takes events in until it is told to stop: one membership of the group after the other.
async fn take_in(
    parts: &Parts,
    settings: &Settings,
    place: usize,
    publisher: &Publisher,
    reached: &watch::Receiver<Position>,
) -> Result<()> {
    while !parts.rim.stop.is_cancelled() {
        parts.rim.says(place, "following");
        let Err(problem) = one_membership(parts, settings, place, publisher, reached).await? else { break };
        tracing::warn!("{problem}");
        parts.rim.says(place, &problem.to_string());
        rest(&parts.rim.stop, limits::SOURCE_PAUSE).await;
    }
    parts.rim.says(place, "ended");
    Ok(())
}

/// Is a member of the group until it is told to stop, or until that membership ends.
async fn one_membership(
    parts: &Parts,
    settings: &Settings,
    place: usize,
    publisher: &Publisher,
    reached: &watch::Receiver<Position>,
) -> Result<Result<(), Problem>> {
    let (rim, clock, content) = (parts.rim.clone(), Arc::clone(&parts.clock), parts.content.clone());
    let (names, publisher, reached) = (parts.config.topics.clone(), publisher.clone(), reached.clone());
    let intake = Intake::open(settings, intake::Parts { rim, place, clock, content, names, publisher, reached });
    match intake {
        Ok(intake) => Ok(tokio::task::spawn_blocking(move || intake.run()).await.context("reading from Kafka")??),
        Err(problem) => Ok(Err(problem)),
    }
}

/// Looks for the brokers and the topics, and says once what is wrong. What nobody but a person can mend is looked for
/// only so often; a broker that is away is waited for. None if it was told to stop meanwhile.
async fn find(config: &Config, many: bool, rim: &Rim, settings: &Settings, place: usize) -> Result<Option<Vec<Found>>> {
    let (mut told, mut looks) = (None, 0);
    loop {
        let (asked, topics) = (settings.clone(), wanted(config, many));
        let once = Patience { looks: 1, again: Duration::ZERO };
        let looking = tokio::task::spawn_blocking(move || check(&asked, &topics, once));
        let found = tokio::select! {
            found = looking => found.context("looking for Kafka")?,
            () = rim.stop.cancelled() => return Ok(None),
        };
        let problem = match found {
            Ok(found) => {
                let partitions = found.iter().find(|f| f.topic == config.topics.events).map(|f| f.partitions);
                tracing::info!(brokers = settings.brokers, ?partitions, "Kafka is there");
                return Ok(Some(found));
            }
            Err(problem) => problem,
        };
        looks += 1;
        let may_come_back = matches!(problem, Problem::Unreachable { .. });
        if !may_come_back
            && (looks >= limits::KAFKA_LOOKS_MAX
                || matches!(problem, Problem::Setting { .. } | Problem::NotBuilt { .. }))
        {
            return Err(anyhow!("{problem} (looked for {looks} times; without [stream.kafka] Vertice starts alone)"));
        }
        rim.says(place, &problem.to_string());
        if !told.as_ref().is_some_and(|told| is_same(told, &problem)) {
            tracing::warn!("{problem}");
            told = Some(problem);
        }
        rest(&rim.stop, limits::KAFKA_LOOK_AGAIN).await;
    }
}

/// Whether two problems are one, whatever they say of how long it took.
fn is_same(one: &Problem, other: &Problem) -> bool {
    match (one, other) {
        (Problem::MissingTopic { topic, .. }, Problem::MissingTopic { topic: another, .. }) => topic == another,
        (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}

async fn rest(stop: &CancellationToken, pause: Duration) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(pause) => {}
    }
}
