//! Changed records, live (Server-Sent Events).
//!
//! A stream holds no queue of what happened: it reads the store from where its client is, whenever the
//! store has something new. So a client that was away resumes without a gap by `Last-Event-ID`, and one
//! that is slow costs no more memory than one that is not. It sees a record as it is now, not each of
//! its changes.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use vertice_model::EffectId;
use vertice_store::{RecordKind, StoredRecord};

use crate::extract::Query;
use crate::guard::Reader;
use crate::problem::{Kind, Problem};
use crate::read::{Shared, cursor, quiet};
use crate::{Inner, limits};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Params {
    /// Begin after this record: the `id` of an earlier one. `Last-Event-ID` goes before it; without either the
    /// stream begins now.
    cursor: Option<String>,
}

/// Records as they change: `event` is the kind (`detection`, `threat`, `run`, `question`, `containment`,
/// `refused`), `id` its place in the log, `data` the record. A stream that a key opened ends, with what comes next, once that
/// key was removed.
#[utoipa::path(get, path = "/api/v1/stream", operation_id = "stream_records", tag = "defense",
    params(Params, ("Last-Event-ID" = Option<String>, Header, description = "Resume after this record")),
    responses(
        (status = OK, body = String, content_type = "text/event-stream"),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = SERVICE_UNAVAILABLE, body = Problem, content_type = "application/problem+json",
            description = "Too many streams"),
    ))]
pub(crate) async fn stream(
    api: Shared,
    reader: Option<Extension<Reader>>,
    headers: HeaderMap,
    Query(params): Query<Params>,
) -> Result<Response, Problem> {
    let last = headers.get("last-event-id").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let after = match last.or(params.cursor) {
        Some(text) => Some(
            cursor(&text).ok_or_else(|| Problem::bad_request("cursor: this is not the `id` of an earlier record"))?,
        ),
        None => api.read(|store| store.latest_change()).await?,
    };
    let Ok(place) = api.streams.clone().try_acquire_owned() else {
        let problem = Problem::new(Kind::Unavailable, "there are too many live streams; try again later");
        return Err(problem.retry_after(Duration::from_secs(5)));
    };
    let (records, waiting) = mpsc::channel(limits::STREAM_BATCH);
    let stalled = Arc::new(AtomicBool::new(false));
    let key = reader.map(|Extension(reader)| reader.key);
    tokio::spawn(follow(api.0.clone(), key, after, records, stalled.clone()));
    api.api.metrics.streams.inc();
    let live = Live { waiting, stalled, inner: api.0.clone(), _place: place };
    let mut response = Sse::new(live).keep_alive(KeepAlive::new().interval(limits::STREAM_BEAT)).into_response();
    // Buffering proxies would hold a live stream back.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// Hands over what changes, until the client is gone, is too slow, has no key any more, or the process stops.
async fn follow(
    inner: Arc<Inner>,
    key: Option<blake3::Hash>,
    mut after: Option<EffectId>,
    records: mpsc::Sender<StoredRecord>,
    stalled: Arc<AtomicBool>,
) {
    let mut judged = inner.api.store.judged();
    loop {
        judged.mark_unchanged();
        let batch = match inner.read(move |store| store.changes(after, limits::STREAM_BATCH)).await {
            Ok(batch) => batch,
            Err(_) => return,
        };
        if key.is_some_and(|key| !inner.api.access.keys.has(key)) {
            return;
        }
        let full = batch.len() == limits::STREAM_BATCH;
        for record in batch {
            after = Some(record.effect);
            match tokio::time::timeout(limits::STREAM_STALL, records.send(record)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => return stalled.store(true, Relaxed),
            }
        }
        if full {
            continue;
        }
        let news = tokio::select! {
            news = judged.changed() => news.is_ok(),
            () = inner.api.stop.cancelled() => false,
            () = records.closed() => false,
        };
        if !news {
            return;
        }
        tokio::time::sleep(limits::STREAM_PAUSE).await;
    }
}

/// The stream of one client.
struct Live {
    waiting: mpsc::Receiver<StoredRecord>,
    stalled: Arc<AtomicBool>,
    inner: Arc<Inner>,
    /// Its place among the streams, given back when it ends.
    _place: OwnedSemaphorePermit,
}

impl Stream for Live {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.waiting.poll_recv(cx).map(|next| match next {
            Some(record) => Some(Ok(event(&record))),
            None if self.stalled.swap(false, Relaxed) => {
                Some(Ok(Event::default().comment("cut off: too slow; resume with Last-Event-ID")))
            }
            None => None,
        })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.inner.api.metrics.streams.dec();
    }
}

fn event(record: &StoredRecord) -> Event {
    let kind = match record.kind {
        RecordKind::Detection => "detection",
        RecordKind::Threat => "threat",
        RecordKind::Run => "run",
        RecordKind::Question => "question",
        RecordKind::Containment => "containment",
        RecordKind::Refused => "refused",
        RecordKind::Consultation => "consultation",
        RecordKind::Suppression => "suppression",
    };
    Event::default().event(kind).id(record.effect.to_string()).data(quiet(record.json.clone()))
}
