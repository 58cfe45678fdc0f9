//! The HTTP API: events in, records out, decisions of people, metrics.
//!
//! Every answer that is no success is a problem document ([`Problem`], RFC 9457). The OpenAPI document
//! is made from the same annotations as the routes ([`openapi`]), so that the two can not differ.
//!
//! Nothing here changes the world or the engine's state: a handler reads the store, or appends an
//! [`vertice_engine::Input`] to its log and waits until the engine has judged it.

mod ahead;
mod crowdsec;
mod extract;
mod guard;
mod intake;
mod keyring;
mod keys;
pub mod limits;
mod links;
mod metrics;
mod page;
mod problem;
mod read;
mod routes;
mod serve;
mod standing;

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::middleware;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use vertice_engine::{Content, ContentError};
use vertice_intel::Intent;
use vertice_model::{RawEvent, Timestamp};
use vertice_store::{Clock, Store, SubmitError};

pub use intake::{RefusedLine, Split, SplitBody, SplitError};
pub use keyring::{Held, KeyError, KeyOf, Keyring};
pub use keys::{Access, KeyPolicy, LinkSecretError, NewKey, digest, link_secret};
pub use links::{Link, LinkError, Links};
pub use metrics::Metrics;
pub use problem::Problem;
pub use read::Page;
pub use serve::{Serving, serve};
pub use standing::Standing;

/// What the API works with.
pub struct Api {
    /// The log and the read model.
    pub store: Store,
    /// The content in force; changes when the binary changes it.
    pub content: watch::Receiver<Arc<Content>>,
    /// What is known of attackers.
    pub intent: Arc<Intent>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Who may do what.
    pub access: Access,
    /// Knows the links by which questions are answered without a key.
    pub links: Links,
    /// Where events go that are not put into the log at once; `None` where they are.
    pub produce: Option<Produce>,
    /// Tells the time.
    pub clock: Clock,
    /// Splits bodies into events.
    pub split: Split,
    /// The sources of events as they stand.
    pub sources: Arc<dyn Fn() -> Vec<Source> + Send + Sync>,
    /// Reads the content again.
    pub reload: Reload,
    /// What came of the last time that it was read again; `None` since the start.
    pub last_reload: watch::Receiver<Option<LastReload>>,
    /// The version of the program.
    pub version: &'static str,
    /// Ends live streams.
    pub stop: CancellationToken,
}

/// A source of events.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Source {
    /// Its name: a path, an address.
    pub name: String,
    /// What kind it is: `file`, `journal`, `syslog_udp`, …
    pub kind: String,
    /// How it is, in words.
    pub state: String,
    /// Events accepted from it.
    pub events: u64,
    /// Events refused of it.
    pub refused: u64,
}

/// Hands events to where instances take them from. What comes of it says that they are durable there.
pub type Produce = Arc<dyn Fn(Vec<RawEvent>) -> Producing + Send + Sync>;

/// What comes of a [`Produce`].
pub type Producing = Pin<Box<dyn Future<Output = Result<(), SubmitError>> + Send>>;

/// Reads the content again, and puts it in force if all of it can be used. Given who asks for it.
pub type Reload = Arc<dyn Fn(String) -> Reloading + Send + Sync>;

/// What comes of a [`Reload`].
pub type Reloading = Pin<Box<dyn Future<Output = Result<Reloaded, ReloadError>> + Send>>;

/// Content that was read again.
#[derive(Debug)]
pub struct Reloaded {
    /// Whether it says something else than before.
    pub changed: bool,
    /// It, as it is in force now.
    pub content: Arc<Content>,
}

/// Why content is not in force that was read again. What was in force still is.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// Files that could be used before, or are new, can not be.
    #[error("{}", first_of(.0))]
    Refused(Vec<ContentError>),
    /// It could not be read.
    #[error("{0}")]
    Failed(String),
    /// The log could not take it.
    #[error("writing it to the log: {0}")]
    Log(SubmitError),
}

fn first_of(errors: &[ContentError]) -> String {
    match errors {
        [] => "nothing is refused".to_owned(),
        [one] => one.to_string(),
        [first, rest @ ..] => format!("{first}; and {} more", rest.len()),
    }
}

/// The last time that the content was read again.
#[derive(Clone, Debug, Deserialize, Serialize, utoipa::ToSchema)]
pub struct LastReload {
    /// When.
    pub at: Timestamp,
    /// Why it was refused, if it was; then what was in force before still is.
    pub problem: Option<String>,
}

/// What all requests share.
pub(crate) struct Inner {
    pub(crate) api: Api,
    /// KiB of event bodies that may yet be received.
    pub(crate) bodies: Arc<Semaphore>,
    /// Large bodies that may be worked on at once.
    pub(crate) workers: Arc<Semaphore>,
    pub(crate) reads: Arc<Semaphore>,
    pub(crate) streams: Arc<Semaphore>,
    /// How far each bouncer has read.
    pub(crate) places: crowdsec::places::Places,
    /// When the disk was last found to be full; `None` since something was kept again.
    pub(crate) disk_full: Mutex<Option<Timestamp>>,
}

/// The routes of the API, ready to be served.
pub fn router(api: Api) -> Router {
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let inner = Arc::new(Inner {
        api,
        bodies: Arc::new(Semaphore::new(limits::EVENT_BODIES_BYTES_MAX / 1_024)),
        workers: Arc::new(Semaphore::new(workers)),
        reads: Arc::new(Semaphore::new(limits::READS_MAX)),
        streams: Arc::new(Semaphore::new(limits::STREAMS_MAX)),
        places: crowdsec::places::Places::default(),
        disk_full: Mutex::default(),
    });
    let (router, _) = routes::all().split_for_parts();
    router
        .with_state(inner.clone())
        .layer(middleware::from_fn_with_state(inner.clone(), guard::admit))
        .layer(middleware::from_fn(problem::render))
        .layer(middleware::from_fn_with_state(inner, count))
}

async fn count(
    State(inner): State<Arc<Inner>>,
    request: axum::extract::Request,
    next: middleware::Next,
) -> axum::response::Response {
    let response = next.run(request).await;
    inner.api.metrics.request(response.status().as_u16());
    response
}

/// The OpenAPI 3.1 document of the API, as JSON.
#[must_use]
pub fn openapi() -> String {
    let mut json = routes::all().into_openapi().to_pretty_json().expect("an OpenAPI document has text keys");
    json.push('\n');
    json
}
