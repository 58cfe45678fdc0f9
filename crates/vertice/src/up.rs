//! `vertice up`: configure, open, announce, run, drain.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use vertice_api::{
    Access, Api, KeyPolicy, Links, Metrics, NewKey, RefusedLine, Serving, SplitBody, SplitError, Standing,
};
use vertice_engine::triage::Consult;
use vertice_engine::{Content, ContentFile, EffectKind, Record};
use vertice_model::{Question, StepState, Timestamp};
use vertice_store::{ApiKey, Options, Store};
use vertice_stream::{BodyError, Discovered};

use crate::ask::Asker;
use crate::cli::plain;
use crate::clock::Clock;
use crate::config::{Config, KeyRequired, Server};
use crate::content::Ready;
use crate::hands::{Acting, Hands, Intake, Job};
use crate::pipeline::{Judged, Pipeline, Recovered, last_time, put_in_force, recover, threads};
use crate::reload::Reload;
use crate::sentinel::Sentinel;
use crate::sources::{self, Rim};
use crate::{content, hands, limits, pipeline, protect, reload, sentinel};

/// The name of the key that the first start makes.
const FIRST_KEY: &str = "admin";

/// Runs until told to stop, then finishes what was accepted.
///
/// # Errors
/// When something it needs can not be had, or the disk fails.
pub fn run(config: &Config) -> Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(
            tracing_subscriber::EnvFilter::builder()
                .with_default_directive(tracing::Level::INFO.into())
                .with_env_var("VERTICE_LOG")
                .from_env_lossy(),
        )
        .init();
    #[cfg(feature = "kafka")]
    if shares(config)? {
        return crate::kafka::many::run(config);
    }
    #[cfg(not(feature = "kafka"))]
    shares(config)?;
    let opened = Opened::new(config)?;
    let runtime = pipeline::runtime()?;
    let served = runtime.block_on(serve(config, opened));
    // An order that takes its time is not waited for: the next start looks after it.
    runtime.shutdown_timeout(limits::END_TIME);
    served
}

/// Whether this is one of many instances that share the work.
///
/// # Errors
/// When it is said only by half: state in PostgreSQL is shared by its shards, and events come to those by Kafka.
pub fn shares(config: &Config) -> Result<bool> {
    let (kafka, postgres) = (config.stream.kafka.is_on(), config.store.postgres.is_on());
    if postgres && !kafka {
        bail!(
            "[store.postgres] is set (DATABASE_URL and POSTGRES_HOST set it too), and [stream.kafka] names no brokers: \
             many instances need both. Set `brokers` (KAFKA_BROKERS) as well, or leave PostgreSQL out and keep \
             everything in the data directory; see docs/scaling.md"
        );
    }
    if postgres && cfg!(not(feature = "kafka")) {
        bail!("[store.postgres] is set, and this program was built without the feature kafka, which it needs");
    }
    Ok(postgres)
}

/// What is there before anything runs.
struct Opened {
    clock: Arc<Clock>,
    store: Store,
    /// How the content files looked.
    look: [u8; 32],
    content: Arc<Content>,
    recovered: Recovered,
}

impl Opened {
    fn new(config: &Config) -> Result<Opened> {
        let clock = Arc::new(Clock::start());
        let store = open(config, &clock)?;
        // Before it is read, or a change in between would go unseen.
        let look = content::look(&config.content);
        let content = Arc::new(load(config)?);
        let recovered = recover(&store, &content, true)?;
        put_in_force(&store, &recovered.engine, &content)?;
        Ok(Opened { clock, store, look, content, recovered })
    }
}

async fn serve(config: &Config, opened: Opened) -> Result<()> {
    let Opened { clock, store, look, content, recovered } = opened;
    // Taken before it is said to be ready, or a signal in between would not be a drain.
    let told = told_to_stop()?;
    let told_to_reload = reload::told_to_reload()?;
    let listener = TcpListener::bind(config.server.listen).await;
    let listener = listener.with_context(|| not_listening(config.server.listen))?;
    let address = listener.local_addr()?;
    let metrics = Arc::new(Metrics::new(&store));
    let reloading = Arc::new(Reload::new(config, Some(&store), &clock, content, look));
    let ends = Ends::default();
    let responder = hands::responder(config)?;
    let rim = Rim {
        store: store.clone(),
        produce: None,
        metrics: Arc::clone(&metrics),
        standing: Arc::new(Mutex::default()),
        stop: ends.sources.clone(),
    };
    let local = if config.sources.local { find_local() } else { Discovered::default() };
    let sources = sources::start(&rim, &config.sources, &local.sources).await?;

    // Shown once, so only when nothing that a newcomer meets can fail any more.
    let keeper = store.clone();
    let links = tokio::task::spawn_blocking(move || {
        first_key(&keeper)?;
        anyhow::Ok(Links::new(&vertice_api::link_secret(&keeper)?))
    });
    let links = links.await.context("making the first API key")??;
    let standing = Arc::clone(&rim.standing);
    let now = Arc::clone(&clock);
    let api = Api {
        store: store.clone(),
        content: reloading.in_force.subscribe(),
        intent: Arc::new(content::intent()?),
        metrics: Arc::clone(&metrics),
        links: links.clone(),
        produce: None,
        access: access(&config.server, address, &store.api_keys()?),
        clock: Arc::new(move || now.now()),
        split,
        sources: Arc::new(move || standing.lock().map(|s| s.clone()).unwrap_or_default()),
        reload: asked_to_reload(&reloading),
        last_reload: reloading.last.subscribe(),
        version: env!("CARGO_PKG_VERSION"),
        stop: ends.api.clone(),
    };
    let mut serving =
        tokio::spawn(vertice_api::serve(listener, vertice_api::router(api), Serving::default(), ends.api.clone()));
    let acting = {
        let (store, clock, content) = (store.clone(), Arc::clone(&clock), reloading.in_force.subscribe());
        let (responder, metrics) = (Arc::new(responder), Arc::clone(&metrics));
        Hands { store, responder, clock, content, metrics, fence: Arc::default() }
            .start(config.response.mode, &ends.hands)
    };
    let asker = (!config.response.link_base.is_empty()).then(|| Asker::new(config, links, Arc::clone(&clock)).start());
    let sentinel = sentinel(config, &store, &store, &clock)?;
    let judging = {
        let (store, clock, stop) = (store.clone(), Arc::clone(&clock), ends.pipeline.clone());
        let (ready, jobs) = (Arc::clone(&reloading.ready), acting.jobs.clone());
        tokio::task::spawn_blocking(move || {
            judge(&store, &ready, &clock, recovered, Rest { metrics, jobs, asker, sentinel, threads: threads() }, stop)
        })
    };
    let mut beyond = beyond(config, &rim, &clock, &reloading, &ends)?;
    let watching = tokio::spawn(reloading.watch(told_to_reload, ends.sources.clone()));
    announce(&format!("vertice is ready on http://{address} ({})", protect::told(&config.response)))?;

    let ended = until_the_end(told, &store, judging, &mut serving, &mut beyond).await;
    Running { store, ends, sources, serving, acting, watching, beyond }.drain(ended).await
}

/// Whoever asks language models, where people want them asked. What was spent is kept in the instance's own store.
///
/// # Errors
/// When a model can not be used, or there are no threads for it.
pub fn sentinel(config: &Config, store: &Store, own: &Store, clock: &Arc<Clock>) -> Result<Option<Arc<Sentinel>>> {
    if !config.sentinel.ask {
        return Ok(None);
    }
    let models = Arc::new(sentinel::models(&config.sentinel, clock, sentinel::spent_before(own)?)?);
    if models.is_empty() {
        tracing::warn!("[sentinel] ask is true, and no model is configured: consultations are skipped");
    }
    let ask = sentinel::remembering(sentinel::by(Arc::clone(&models)), models, own.clone());
    let started = Sentinel::start(ask, sentinel::into_log(store.clone()));
    Ok(Some(Arc::new(started.context("starting what asks models")?)))
}

/// What runs beside judging.
struct Running {
    store: Store,
    ends: Ends,
    sources: JoinSet<()>,
    serving: JoinHandle<()>,
    acting: Acting,
    watching: JoinHandle<()>,
    beyond: JoinHandle<Result<()>>,
}

impl Running {
    /// Finishes what was accepted: whatever hands something on ends before what it is handed on to.
    async fn drain(self, ended: Ended) -> Result<()> {
        let Running { store, ends, mut sources, serving, acting, watching, beyond } = self;
        tracing::info!("ending: what was accepted is finished");
        ends.sources.cancel();
        let drained = async { while sources.join_next().await.is_some() {} };
        if tokio::time::timeout(limits::END_TIME, drained).await.is_err() {
            tracing::warn!("some sources did not end in time; they go on from where they were at the next start");
        }
        ends.api.cancel();
        if !serving.is_finished() {
            serving.await.context("serving")?;
        }
        ends.hands.cancel();
        acting.finish().await;
        ends.pipeline.cancel();
        let finished = ended.finish().await;
        ends.beyond.cancel();
        if !beyond.is_finished() && tokio::time::timeout(limits::END_TIME, beyond).await.is_err() {
            tracing::warn!("not everything was published in time; the next start goes on from there");
        }
        watching.await.context("watching the content")?;
        // Also ends a pipeline that waits for space on the disk.
        let closed = tokio::task::spawn_blocking(move || store.close()).await.context("closing the store")?;
        finished.and(Ok(closed?))
    }
}

pub fn not_listening(address: SocketAddr) -> String {
    format!("listening on {address} (choose another address with --listen)")
}

/// What is told to end, in this order; all at once when starting fails half-way.
#[derive(Default)]
struct Ends {
    sources: CancellationToken,
    api: CancellationToken,
    hands: CancellationToken,
    pipeline: CancellationToken,
    beyond: CancellationToken,
}

impl Drop for Ends {
    fn drop(&mut self) {
        // Or whoever waits for the threads of the runtime would wait for ever.
        [&self.sources, &self.api, &self.hands, &self.pipeline, &self.beyond]
            .into_iter()
            .for_each(CancellationToken::cancel);
    }
}

/// How it came to the end.
enum Ended {
    /// As it was told to; the pipeline still runs.
    Told(JoinHandle<Result<()>>),
    /// Because something failed.
    Failed(anyhow::Error),
}

impl Ended {
    async fn finish(self) -> Result<()> {
        match self {
            Ended::Told(judging) => match tokio::time::timeout(limits::END_TIME, judging).await {
                Ok(judged) => judged.context("judging")?,
                Err(_) => {
                    tracing::warn!("not all of the log was judged in time; the next start goes on from there");
                    Ok(())
                }
            },
            Ended::Failed(error) => Err(error),
        }
    }
}

async fn until_the_end(
    told: impl Future<Output = ()>,
    store: &Store,
    mut judging: JoinHandle<Result<()>>,
    serving: &mut JoinHandle<()>,
    beyond: &mut JoinHandle<Result<()>>,
) -> Ended {
    let mut failed = store.failed();
    tokio::select! {
        () = told => Ended::Told(judging),
        ended = &mut judging => Ended::Failed(match ended {
            Ok(Ok(())) => anyhow!("judging ended by itself"),
            Ok(Err(error)) => error,
            Err(panicked) => anyhow!("judging failed: {panicked}"),
        }),
        ended = serving => Ended::Failed(ended.map_or_else(
            |panicked| anyhow!("serving failed: {panicked}"),
            |()| anyhow!("serving ended by itself"),
        )),
        ended = beyond => Ended::Failed(match ended {
            Ok(Ok(())) => anyhow!("Kafka ended by itself"),
            Ok(Err(error)) => error,
            Err(panicked) => anyhow!("Kafka failed: {panicked}"),
        }),
        // Waiting fails only once the store is gone, which ends judging as well.
        Ok(stopped) = failed.wait_for(Option::is_some) => {
            Ended::Failed(stopped.clone().map_or_else(|| anyhow!("the store stopped"), anyhow::Error::new))
        }
    }
}

/// What goes on beyond this machine; it ends once it is told to, or because it is configured wrongly.
fn beyond(
    config: &Config,
    rim: &Rim,
    clock: &Arc<Clock>,
    reloading: &Reload,
    ends: &Ends,
) -> Result<JoinHandle<Result<()>>> {
    let stop_publishing = ends.beyond.clone();
    if !config.stream.kafka.is_on() {
        return Ok(tokio::spawn(async move {
            stop_publishing.cancelled().await;
            Ok(())
        }));
    }
    #[cfg(feature = "kafka")]
    {
        let (config, rim, clock) = (config.stream.kafka.clone(), rim.clone(), Arc::clone(clock));
        let content = reloading.in_force.subscribe();
        crate::kafka::start(crate::kafka::Parts { config, rim, clock, content, stop_publishing })
    }
    #[cfg(not(feature = "kafka"))]
    {
        let _ = (rim, clock, reloading);
        Err(anyhow!("[stream.kafka] names brokers, and this program was built without the feature kafka"))
    }
}

/// Comes to its end with SIGTERM or SIGINT.
pub fn told_to_stop() -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn open(config: &Config, clock: &Arc<Clock>) -> Result<Store> {
    let now = Arc::clone(clock);
    let store = Store::open(&config.data.dir, Arc::new(move || now.now()), Options::default())?;
    clock.not_before(last_time(&store)?);
    tracing::info!(data = %config.data.dir.display(), log_end = %store.log_end(), "the store is open");
    Ok(store)
}

/// Gathers and compiles the content, and says what was refused of it.
pub fn load(config: &Config) -> Result<Content> {
    let files = files(config)?;
    for told in content::nothing_in(&config.content.dirs, &config.content.rules, &files) {
        tracing::warn!("{}", plain(&told));
    }
    let content = Content::compile(files);
    for error in &content.refused {
        tracing::warn!("refused: {}", plain(&error.to_string()));
    }
    tracing::info!(rules = content.rules.set().len(), refused = content.refused.len(), "content is loaded");
    Ok(content)
}

/// The files that content is made of, and the policy that the configuration makes.
pub fn files(config: &Config) -> Result<Vec<ContentFile>> {
    let mut files = content::gather(&config.content.dirs, &config.content.rules)?;
    files.push(protect::policy(&config.response, config.sentinel.ask, Path::new("/"))?);
    Ok(files)
}

/// How the API asks for the content to be read again.
pub fn asked_to_reload(reloading: &Arc<Reload>) -> vertice_api::Reload {
    let reloading = Arc::clone(reloading);
    Arc::new(move |why| {
        let reloading = Arc::clone(&reloading);
        Box::pin(async move { reloading.reload(&why).await })
    })
}

/// Makes an API key at the first start, or takes the one that the environment has, and shows a new one once.
pub fn first_key(store: &Store) -> Result<()> {
    if let Some(given) = std::env::var("VERTICE_API_KEY").ok().filter(|k| !k.is_empty()) {
        let hash = vertice_api::digest(&given);
        if !store.api_keys()?.iter().any(|k| k.hash == hash) {
            store.remove_api_key("environment")?;
            store.add_api_key("environment", hash)?;
        }
        return Ok(());
    }
    if store.api_keys()?.is_empty() {
        let key = NewKey::draw().map_err(|e| anyhow!("drawing an API key: {e}"))?;
        if !store.add_api_key(FIRST_KEY, key.hash)? {
            // Another instance was quicker, and has shown its key.
            return Ok(());
        }
        let mut stderr = std::io::stderr().lock();
        writeln!(
            stderr,
            "\nThe API key for answers, verdicts and releases, shown only now:\n\n  export VERTICE_API_KEY={}\n",
            key.secret
        )?;
    }
    Ok(())
}

pub fn access(server: &Server, address: SocketAddr, keys: &[ApiKey]) -> Access {
    let policy = match server.key_required {
        KeyRequired::Decisions => KeyPolicy::Decisions,
        KeyRequired::Always => KeyPolicy::Always,
    };
    let access = Access::new(address, policy, keys);
    if server.open_probes { access.with_open_probes() } else { access }
}

/// Looks for local logs and says what was found.
pub fn find_local() -> Discovered {
    let found = vertice_stream::discover(Path::new("/"));
    for local in &found.sources {
        match local {
            vertice_stream::Local::File { what, path } => tracing::info!("following {} ({what})", path.display()),
            vertice_stream::Local::Journal { program } => {
                tracing::info!("following the journal ({})", program.display())
            }
        }
    }
    for missing in &found.missing {
        tracing::debug!("not following {} ({}): {}", missing.path.display(), missing.what, missing.reason);
    }
    if found.sources.is_empty() {
        tracing::info!(
            "no local log can be read here; `vertice doctor` says why, `vertice demo` plays an attack without any"
        );
    }
    found
}

/// Where what the engine wants of the world goes.
pub struct Rest {
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
    /// Where orders go.
    pub jobs: mpsc::UnboundedSender<Job>,
    /// Where questions go that approvers are told of.
    pub asker: Option<mpsc::Sender<Question>>,
    /// Where consultations go.
    pub sentinel: Option<Arc<Sentinel>>,
    /// How many threads screen.
    pub threads: usize,
}

impl Rest {
    fn tell(&self, question: &Question) {
        let Some(asker) = self.asker.as_ref().filter(|_| !question.simulated) else { return };
        if asker.try_send(question.clone()).is_err() {
            tracing::warn!(question = %question.question_id, "approvers were not told: too many questions wait to be");
        }
    }

    fn consult(&self, consult: &Consult) {
        if let Some(sentinel) = &self.sentinel {
            sentinel.take(Box::new(consult.clone()));
        }
    }
}

/// The pipeline, with its metrics, until it is told to stop.
///
/// # Errors
/// When the log is damaged or the store has stopped.
pub fn judge(
    store: &Store,
    content: &Ready,
    clock: &Clock,
    recovered: Recovered,
    rest: Rest,
    stop: CancellationToken,
) -> Result<()> {
    let Recovered { mut engine, audit } = recovered;
    let told_to = store.judged_to();
    let mut intake = Intake::new(&engine, store, rest.jobs.clone());
    let metrics = &*rest.metrics;
    intake.settle(&engine);
    let mut standing = Standing::of(&engine, &rest.metrics);
    let mut observe = |judged: Judged<'_>| {
        let now = clock.now();
        metrics.step(judged.took);
        metrics.forgotten(judged.engine.forgotten());
        for effect in &judged.effects {
            let is_new = effect.id.position > told_to;
            match &effect.kind {
                EffectKind::Publish(record) => {
                    standing.see(record);
                    if is_new {
                        count(metrics, now, record);
                    }
                }
                EffectKind::Ask(question) if is_new => rest.tell(question),
                EffectKind::Consult(consult) if is_new => rest.consult(consult),
                EffectKind::Ask(_) | EffectKind::Consult(_) | EffectKind::Act(_) | EffectKind::Tell(_) => {}
            }
        }
        intake.take(judged.effects, judged.engine);
    };
    stand_back();
    Pipeline { store, content, clock, threads: rest.threads, screeners: Vec::new(), audit, observe: &mut observe, stop }
        .run(&mut engine)
}

/// Gives this thread, and those that it starts, what the others leave of the processors: what was sent must be
/// accepted or it may be lost, and what was accepted can be judged a moment later.
fn stand_back() {
    if let Err(error) = rustix::process::nice(limits::JUDGING_NICE) {
        tracing::debug!(%error, "judging does not stand back behind accepting");
    }
}

fn count(metrics: &Metrics, now: Timestamp, record: &Record) {
    match record {
        Record::Detection(d) => metrics.detection(d.severity, Duration::from_micros(now.micros_since(d.accepted_at))),
        Record::Run(run) => {
            // A run is published again with every change; a step is counted with the change that simulated it.
            let now_simulated =
                run.steps.iter().filter(|s| s.state == StepState::Simulated && run.timestamp == run.planned_at);
            now_simulated.for_each(|step| metrics.action_simulated(&step.action_type));
        }
        Record::Refused(_) => metrics.event_unreadable(),
        Record::Consultation(consultation) => metrics.consultation(consultation),
        Record::Threat(_) | Record::Question(_) | Record::Containment(_) | Record::Suppression(_) => {}
    }
}

/// The stream crate's way of splitting bodies, as the API knows it.
pub fn split(
    bytes: &[u8],
    content_type: Option<&str>,
    content_encoding: Option<&str>,
    origin: &Arc<str>,
) -> Result<SplitBody, SplitError> {
    let body = vertice_stream::split_body(bytes, content_type, content_encoding, origin).map_err(|e| {
        let text = e.to_string();
        match e {
            BodyError::TooLarge | BodyError::TooMany => SplitError::TooLarge(text),
            BodyError::UnknownEncoding(_) => SplitError::UnknownEncoding(text),
            BodyError::BadGzip(_) | BodyError::TornGzip => SplitError::BadEncoding(text),
        }
    })?;
    let refused = body.refused.into_iter().map(|r| RefusedLine { number: r.number, reason: r.reason }).collect();
    Ok(SplitBody { events: body.events, numbers: body.numbers, refused })
}

/// The one line on standard output.
pub fn announce(line: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}
