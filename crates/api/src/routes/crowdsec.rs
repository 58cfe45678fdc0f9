//! The decision endpoints of CrowdSec's local API, at their own paths, for the bouncers that already ask there.
//!
//! What is answered is what bouncers were seen to rely on: `null` for an empty list, but empty lists within the stream;
//! 403 with `{"message": …}` for a key that is none; parameters that are not known here are passed over.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde::Serialize;
use vertice_store::{Cursor, Store, Submission};

use crate::crowdsec::asked::{ListParams, StreamParams, list, stream};
use crate::crowdsec::places::{Place, kept_as};
use crate::crowdsec::pull::{News, Pull, all_standing, decisions, standing_of};
use crate::crowdsec::{Decision, asked};
use crate::guard::Reader;
use crate::problem::Problem;
use crate::read::{Shared, raw};
use crate::{Inner, limits};

/// An error, as CrowdSec's local API writes it.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Refusal {
    /// What went wrong.
    message: String,
}

/// What changed since this key last asked: for bouncers that keep a copy.
#[utoipa::path(get, path = "/v1/decisions/stream", operation_id = "stream_decisions", tag = "bouncers",
    security(("key" = [])), params(StreamParams),
    responses(
        (status = OK, body = News, description = "What holds no more, and what holds"),
        (status = BAD_REQUEST, body = Refusal),
        (status = FORBIDDEN, body = Refusal),
    ))]
pub(crate) async fn news(api: Shared, reader: Reader, headers: HeaderMap, uri: Uri) -> Result<Response, Problem> {
    let (startup, wanted) = stream(&uri)?;
    let agent = agent(&headers);
    let now = (api.api.clock)();
    note(&api, &reader, &agent);
    let known = api.places.of(&reader.key).and_then(|seen| seen.place);
    let replaces = replaces(&agent);
    let (mut news, before, place) = api
        .read(move |store| {
            let before = match known {
                Some(place) => Some(place),
                None => store.cursor(&kept_as(&reader.key))?.and_then(|bytes| Place::read(&bytes)),
            };
            let (news, place) = Pull { place: before, startup, replaces, now }.answer(store)?;
            Ok::<_, Problem>((news, before, place))
        })
        .await?;
    news.deleted.retain(|decision| wanted.takes(decision));
    news.new.retain(|decision| wanted.takes(decision));
    let text = serde_json::to_string(&news).map_err(|e| Problem::internal("writing an answer", &e))?;
    if before.is_none_or(|before| before.effect > place.effect) {
        keep_first(&api, &reader, place).await;
    }
    if before.is_some_and(|before| before.heard && before.effect == place.effect) {
        // Nothing changed, or only what is told at every startup: the place and its time stand.
        return Ok(raw(text));
    }
    Ok(Telling::new(text, reader.key, place, api.0.clone()).into_response())
}

/// Keeps that a reader is told for the first time, before it is. Without that, what it was told of and what ended around
/// a crash would never be told as ended: nobody would know that it had been told of it.
async fn keep_first(api: &Inner, reader: &Reader, place: Place) {
    let value = Place { heard: false, ..place }.written();
    let cursor = Cursor { source: kept_as(&reader.key), value };
    let kept = api.api.store.submit(Submission { cursors: vec![cursor], ..Submission::default() }).await;
    // What holds is told all the same: a full disk must not keep it from being enforced.
    if let Err(error) = kept {
        tracing::warn!(%error, "that {} was told what holds is not kept; after a crash it may hold too long", reader.name);
    }
}

/// Whether the stream can be read with this key; moves nothing.
#[utoipa::path(head, path = "/v1/decisions/stream", operation_id = "check_stream_of_decisions", tag = "bouncers",
    security(("key" = [])), params(StreamParams),
    responses((status = OK, description = "It can"), (status = FORBIDDEN, description = "It can not")))]
pub(crate) async fn news_head(api: Shared, reader: Reader, headers: HeaderMap) -> StatusCode {
    note(&api, &reader, &agent(&headers));
    StatusCode::OK
}

/// The decisions that hold: for bouncers that ask about each address. `null` when there are none.
#[utoipa::path(get, path = "/v1/decisions", operation_id = "list_decisions", tag = "bouncers",
    security(("key" = [])), params(ListParams),
    responses(
        (status = OK, body = Option<Vec<Decision>>),
        (status = BAD_REQUEST, body = Refusal),
        (status = FORBIDDEN, body = Refusal),
    ))]
pub(crate) async fn held(api: Shared, reader: Reader, headers: HeaderMap, uri: Uri) -> Result<Response, Problem> {
    let wanted = list(&uri)?;
    note(&api, &reader, &agent(&headers));
    let now = (api.api.clock)();
    let found = api.read(move |store| find(store, &wanted, now)).await?;
    let text = if found.is_empty() { "null".to_owned() } else { written(&found)? };
    Ok(raw(text))
}

/// Whether decisions can be read with this key.
#[utoipa::path(head, path = "/v1/decisions", operation_id = "check_decisions", tag = "bouncers",
    security(("key" = [])), params(ListParams),
    responses((status = OK, description = "They can"), (status = FORBIDDEN, description = "They can not")))]
pub(crate) async fn held_head(api: Shared, reader: Reader, headers: HeaderMap) -> StatusCode {
    note(&api, &reader, &agent(&headers));
    StatusCode::OK
}

fn find(store: &Store, wanted: &asked::Wanted, now: vertice_model::Timestamp) -> Result<Vec<Decision>, Problem> {
    let standing = match wanted.address() {
        Some(address) => standing_of(store, std::iter::once(address), now)?,
        None => all_standing(store, now)?,
    };
    Ok(decisions(&standing, now).into_iter().filter(|decision| wanted.takes(decision)).collect())
}

fn written(value: &impl Serialize) -> Result<String, Problem> {
    serde_json::to_string(value).map_err(|e| Problem::internal("writing an answer", &e))
}

/// What a client calls itself.
pub(crate) fn agent(headers: &HeaderMap) -> String {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    agent.chars().take(limits::AGENT_CHARS_MAX).collect()
}

/// Whether a bouncer passes over a decision about an address that it has one about, so that a lease which was made
/// longer would end early. Those that do take deletions first. Others take them last, or in any order, and a decision
/// that is deleted and told again at once would be lost to them.
fn replaces(agent: &str) -> bool {
    ["crowdsec-firewall-bouncer/", "cs-firewall-bouncer/"].iter().any(|name| agent.starts_with(name))
}

fn note(api: &Inner, reader: &Reader, agent: &str) {
    if api.places.asked(reader.key, (api.api.clock)(), agent) {
        tracing::info!(agent, "{} reads decisions", reader.name);
    }
}

/// An answer that moves its reader on once the last of it was taken by the connection.
struct Telling {
    pieces: VecDeque<Bytes>,
    key: blake3::Hash,
    /// `None` once it was moved there.
    place: Option<Place>,
    inner: Arc<Inner>,
}

impl Telling {
    fn new(text: String, key: blake3::Hash, place: Place, inner: Arc<Inner>) -> Telling {
        let mut rest = Bytes::from(text);
        let mut pieces = VecDeque::new();
        while !rest.is_empty() {
            pieces.push_back(rest.split_to(rest.len().min(limits::DECISION_PIECE_BYTES)));
        }
        Telling { pieces, key, place: Some(place), inner }
    }

    /// Moves the reader on, at once in memory and soon on disk: it can not ask again before it has the end of the
    /// answer, and after a crash in between it is told the same once more.
    fn told(&self, place: Place) {
        self.inner.places.told(self.key, place);
        let store = self.inner.api.store.clone();
        let cursor = Cursor { source: kept_as(&self.key), value: place.written() };
        tokio::spawn(async move {
            if let Err(error) = store.submit(Submission { cursors: vec![cursor], ..Submission::default() }).await {
                tracing::debug!(%error, "how far a bouncer has read is not kept; after a restart it is told some twice");
            }
        });
    }
}

impl Stream for Telling {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.pieces.pop_front() {
            Some(piece) => Poll::Ready(Some(Ok(piece))),
            None => {
                if let Some(place) = self.place.take() {
                    self.told(place);
                }
                Poll::Ready(None)
            }
        }
    }
}

impl IntoResponse for Telling {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from_stream(self));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}
