//! Many instances that share the work: Kafka partitions it, and PostgreSQL has what they know.
//!
//! Each is the same program with the same configuration, and any may come and go. What comes to one by HTTP, syslog or
//! files is [`produce`]d to the topic of events first. [`screen`] reads partitions of that topic and sends what matched to the
//! topic of hits, each under the key of what it has to be judged with. [`judge`] takes the partitions of hits, each of which
//! is a [`shard`] with a log, an engine, hands and a publisher of its own. The API sees all shards, and what is decided
//! there is left for whoever has the shard.
//!
//! The data directory has only what is this machine's own: how far its local sources have been read, and its lock.

mod judge;
mod produce;
mod screen;
mod shard;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, anyhow};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use vertice_api::{Api, Keyring, Links, Metrics, Serving};
use vertice_engine::Content;
use vertice_store::{OpenError, Options, PostgresSettings, Store};
use vertice_stream::Discovered;
use vertice_stream::kafka::{Publisher, Settings};

use self::judge::Judging;
use self::screen::Screening;
use self::shard::World;
use crate::ask::Asker;
use crate::clock::Clock;
use crate::config::Config;
use crate::reload::Reload;
use crate::sources::{self, Rim};
use crate::{content, hands, limits, pipeline, protect, reload, up};

/// Runs until told to stop, then gives up what it has, promptly.
///
/// # Errors
/// When something it needs can not be had.
pub fn run(config: &Config) -> Result<()> {
    let opened = Opened::new(config)?;
    let runtime = pipeline::runtime()?;
    let served = runtime.block_on(serve(config, opened));
    // An order that takes its time is not waited for: the shard's next owner looks after it.
    runtime.shutdown_timeout(limits::HANDOVER_TIME);
    served
}

/// What is there before anything runs.
struct Opened {
    clock: Arc<Clock>,
    postgres: PostgresSettings,
    kafka: Settings,
    /// All shards.
    overview: Store,
    /// What is this machine's own.
    local: Store,
    /// How the content files looked.
    look: [u8; 32],
    content: Arc<Content>,
}

impl Opened {
    fn new(config: &Config) -> Result<Opened> {
        let (kafka, clock) = (super::settings(&config.stream.kafka)?, Arc::new(Clock::start()));
        let postgres = config.store.postgres.settings(&key_dir(config))?;
        // Before there are shards, each of which would make one.
        vertice_store::audit::make_key(&key_dir(config)).context("making the key that signs the audit")?;
        let dir = config.data.dir.join("instance");
        let now = Arc::clone(&clock);
        let local = Store::open(&dir, Arc::new(move || now.now()), Options::default())?;
        if config.data.dir.join("vertice.db").is_file() {
            tracing::warn!(
                "{} has the data of one instance, which is not looked at; `vertice migrate --to postgres` moves it",
                config.data.dir.display()
            );
        }
        if let Some(told) = protect::told_of_machines(&config.response) {
            tracing::warn!(
                "live for {told}; docs/scaling.md says what to do where instances have machines of their own"
            );
        }
        // Before it is read, or a change in between would go unseen.
        let look = content::look(&config.content);
        let content = Arc::new(up::load(config)?);
        let overview = overview(&postgres, &clock)?;
        tracing::info!(at = postgres.whereabouts(), "the store is open");
        Ok(Opened { clock, postgres, kafka, overview, local, look, content })
    }
}

/// The directory of the key that signs the audit of all shards.
fn key_dir(config: &Config) -> PathBuf {
    let own = &config.store.postgres.audit_dir;
    if own.as_os_str().is_empty() { config.data.dir.clone() } else { own.clone() }
}

/// Opens all shards. A server that starts beside us is waited for.
fn overview(postgres: &PostgresSettings, clock: &Arc<Clock>) -> Result<Store> {
    let mut looks = 0;
    loop {
        let now = Arc::clone(clock);
        match Store::overview(postgres, Arc::new(move || now.now())) {
            Ok(store) => return Ok(store),
            Err(error @ OpenError::Server { .. }) if looks < limits::KAFKA_LOOKS_MAX => {
                looks += 1;
                tracing::warn!("{error}");
                std::thread::park_timeout(limits::KAFKA_LOOK_AGAIN);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// What is told to end, in this order.
#[derive(Default)]
struct Ends {
    sources: CancellationToken,
    api: CancellationToken,
    screening: CancellationToken,
    judging: CancellationToken,
}

impl Drop for Ends {
    fn drop(&mut self) {
        // Or whoever waits for the threads of the runtime would wait for ever.
        [&self.sources, &self.api, &self.screening, &self.judging].into_iter().for_each(CancellationToken::cancel);
    }
}

async fn serve(config: &Config, opened: Opened) -> Result<()> {
    let Opened { clock, postgres, kafka, overview, local, look, content } = opened;
    // Taken before it is said to be ready, or a signal in between would not be a drain.
    let told = up::told_to_stop()?;
    let told_to_reload = reload::told_to_reload()?;
    let listener = TcpListener::bind(config.server.listen).await;
    let listener = listener.with_context(|| up::not_listening(config.server.listen))?;
    let address = listener.local_addr()?;
    let metrics = Arc::new(Metrics::new(&overview));
    let reloading = Arc::new(Reload::new(config, None, &clock, content, look));
    let ends = Ends::default();
    let responder = Arc::new(hands::responder(config)?);
    let publisher = Publisher::open(&kafka).context("opening a producer for Kafka")?;
    let in_force = || reloading.in_force.subscribe();
    let events = &config.stream.kafka.topics.events;
    let produce = produce::produce(publisher.clone(), events, in_force(), Arc::clone(&clock));
    let rim = Rim {
        store: local.clone(),
        produce: Some(Arc::clone(&produce)),
        metrics: Arc::clone(&metrics),
        standing: Arc::new(Mutex::default()),
        stop: ends.sources.clone(),
    };
    let found = if config.sources.local { up::find_local() } else { Discovered::default() };
    let sources = sources::start(&rim, &config.sources, &found.sources).await?;
    let (links, keys) = first_key(&overview).await?;
    let (standing, now) = (Arc::clone(&rim.standing), Arc::clone(&clock));
    let access = up::access(&config.server, address, &keys);
    tokio::spawn(follow_keys(overview.clone(), access.keyring(), ends.api.clone()));
    let api = Api {
        store: overview.clone(),
        content: in_force(),
        intent: Arc::new(content::intent()?),
        metrics: Arc::clone(&metrics),
        links: links.clone(),
        produce: Some(produce),
        access,
        clock: Arc::new(move || now.now()),
        split: up::split,
        sources: Arc::new(move || standing.lock().map(|s| s.clone()).unwrap_or_default()),
        reload: up::asked_to_reload(&reloading),
        last_reload: reloading.last.subscribe(),
        version: env!("CARGO_PKG_VERSION"),
        stop: ends.api.clone(),
    };
    let router = vertice_api::router(api);
    let mut serving = tokio::spawn(vertice_api::serve(listener, router, Serving::default(), ends.api.clone()));
    let asker = (!config.response.link_base.is_empty()).then(|| Asker::new(config, links, Arc::clone(&clock)).start());
    let world = World {
        postgres,
        overview: overview.clone(),
        names: config.stream.kafka.topics.clone(),
        source: format!("/vertice/{}", config.stream.kafka.group),
        publisher,
        clock: Arc::clone(&clock),
        content: in_force(),
        ready: Arc::clone(&reloading.ready),
        metrics,
        responder,
        fence: Arc::default(),
        mode: config.response.mode,
        asker,
        sentinel: up::sentinel(config, &overview, &local, &clock)?,
    };
    let stops = (ends.screening.clone(), ends.judging.clone());
    let mut working = tokio::spawn(work(config.clone(), rim, kafka, Arc::new(world), stops));
    let watching = tokio::spawn(reloading.watch(told_to_reload, ends.sources.clone()));
    up::announce(&format!("vertice is ready on http://{address} ({})", protect::told(&config.response)))?;

    let ended = until_the_end(told, &mut serving, &mut working).await;
    Running { overview, local, ends, sources, serving, working, watching }.drain(ended).await
}

/// Waits until it is told to end, or something ends by itself.
async fn until_the_end(
    told: impl Future<Output = ()>,
    serving: &mut JoinHandle<()>,
    working: &mut JoinHandle<Result<()>>,
) -> Result<()> {
    tokio::select! {
        () = told => Ok(()),
        ended = serving => Err(anyhow!("serving ended by itself: {ended:?}")),
        ended = working => Err(ended.map_or_else(
            |panicked| anyhow!("working failed: {panicked}"),
            |ended| ended.err().unwrap_or_else(|| anyhow!("working ended by itself")),
        )),
    }
}

/// Makes what the first start makes, and gives the keys that there are.
async fn first_key(overview: &Store) -> Result<(Links, Vec<vertice_store::ApiKey>)> {
    let keeper = overview.clone();
    let made = tokio::task::spawn_blocking(move || {
        up::first_key(&keeper)?;
        anyhow::Ok((Links::new(&vertice_api::link_secret(&keeper)?), keeper.api_keys()?))
    });
    made.await.context("making the first API key")?
}

/// Has this instance know the API keys that there are, whichever instance adds or removes them. It reads them, and does not
/// ask whether they changed: what one instance adds and another removes in between would be no change to who looks after
/// both, and in force for ever where it was added.
async fn follow_keys(store: Store, keys: Arc<Keyring>, stop: CancellationToken) {
    let mut known = true;
    while !stop.is_cancelled() {
        let (keys, store) = (Arc::clone(&keys), store.clone());
        let Ok(read) = tokio::task::spawn_blocking(move || keys.renew(&store)).await else { return };
        if let (Err(error), true) = (&read, known) {
            tracing::warn!("the API keys can not be read; those that were known stay in force: {error}");
        }
        known = read.is_ok();
        super::rest(&stop, limits::KEYS_POLL).await;
    }
}

/// What runs beside.
struct Running {
    overview: Store,
    local: Store,
    ends: Ends,
    sources: JoinSet<()>,
    serving: JoinHandle<()>,
    working: JoinHandle<Result<()>>,
    watching: JoinHandle<()>,
}

impl Running {
    /// Whatever hands something on ends before what it is handed on to; nothing is finished that others can.
    async fn drain(self, ended: Result<()>) -> Result<()> {
        let Running { overview, local, ends, mut sources, serving, working, watching } = self;
        tracing::info!("ending: what others can go on with is given up");
        ends.sources.cancel();
        ends.api.cancel();
        let drained = async { while sources.join_next().await.is_some() {} };
        if tokio::time::timeout(limits::HANDOVER_TIME, drained).await.is_err() {
            tracing::warn!("some sources did not end in time; they go on from where they were at the next start");
        }
        if !serving.is_finished() {
            serving.await.context("serving")?;
        }
        ends.screening.cancel();
        ends.judging.cancel();
        let worked = if working.is_finished() { Ok(()) } else { working.await.context("working")? };
        watching.await.context("watching the content")?;
        let closed = tokio::task::spawn_blocking(move || {
            overview.close()?;
            local.close()
        });
        let closed = closed.await.context("closing the store")?;
        ended.and(worked).and(Ok(closed?))
    }
}

/// Screens and judges until it is told to stop.
async fn work(
    config: Config,
    rim: Rim,
    kafka: Settings,
    world: Arc<World>,
    (stop_screening, stop_judging): (CancellationToken, CancellationToken),
) -> Result<()> {
    let place = rim.announce(format!("kafka://{}", kafka.brokers), "kafka");
    let Some(found) = super::find(&config.stream.kafka, true, &rim, &kafka, place).await? else { return Ok(()) };
    let partitions = |topic: &str| found.iter().find(|f| f.topic == topic).map_or(0, |f| f.partitions);
    let (sources, shards) = (partitions(&world.names.events), partitions(&world.names.hits));
    tracing::info!(sources, shards, "screening and judging begin");
    rim.says(place, "following");
    let mut judges = kafka.clone();
    // A group of its own: who has the events of a partition need not have the hits of that number.
    judges.group = format!("{}.judges", kafka.group);
    let parts = screen::Parts {
        names: world.names.clone(),
        shards,
        publisher: world.publisher.clone(),
        clock: Arc::clone(&world.clock),
        content: world.content.clone(),
        metrics: Arc::clone(&world.metrics),
        stop: stop_screening.clone(),
    };
    let screening = members("screening", stop_screening, move || Ok(Screening::open(&kafka, parts.clone())?.run()?));
    let stop = stop_judging.clone();
    let judging = members("judging", stop_judging, move || {
        Judging::open(&judges, Arc::clone(&world), sources, stop.clone())?.run()
    });
    let (screened, judged) = tokio::join!(screening, judging);
    rim.says(place, "ended");
    screened.and(judged)
}

/// Is one member of a group after the other, until it is told to stop.
async fn members(
    what: &'static str,
    stop: CancellationToken,
    member: impl Fn() -> Result<()> + Send + Sync + 'static,
) -> Result<()> {
    let member = Arc::new(member);
    while !stop.is_cancelled() {
        let once = Arc::clone(&member);
        let ended = tokio::task::spawn_blocking(move || once()).await;
        if let Err(error) = ended.with_context(|| what)? {
            tracing::warn!("{what} begins anew: {error:#}");
            super::rest(&stop, limits::SOURCE_PAUSE).await;
        }
    }
    Ok(())
}
