//! Events in, and events as they stand in the log.

use std::sync::Arc;

use axum::extract::{Path, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use vertice_engine::{Content, Input, RefusedEvent, Stamp};
use vertice_model::{Event, Position, RawEvent, Timestamp};
use vertice_store::{
    Accepted, Filter, Idempotency, PackedEvents, ReadError, RecordKind, Store, Submission, SubmitError, Submitted,
};

use crate::ahead::{Ahead, ORIGIN};
use crate::extract::{NoParams, Query, Received, Receiving};
use crate::guard::Caller;
use crate::intake::{RefusedLine, Split, SplitBody, SplitError};
use crate::problem::{Kind, Problem};
use crate::read::{Order, Page, Part, Shared, json, limit};
use crate::{Inner, Producing, limits};

/// What was accepted of a body. It is durable.
#[derive(Clone, Debug, Deserialize, Serialize, utoipa::ToSchema)]
pub(crate) struct Receipt {
    /// How many events.
    accepted: u64,
    /// The log position of the first; each further one has the next. 0 where many instances share the work: then the events
    /// are in Kafka, and are judged where what they are about is judged.
    first_position: Position,
    /// The lines that were refused; at most the first 1,000.
    refused: Vec<RefusedLine>,
    /// How many lines were refused in all.
    refused_total: u64,
}

/// What is kept under an idempotency key: enough to give the same answer again.
#[derive(Deserialize, Serialize)]
struct Kept {
    /// Digest of the body, so that another body under the same key is noticed.
    body: String,
    refused: Vec<RefusedLine>,
    refused_total: u64,
    /// How many events, where the log does not say it.
    #[serde(default)]
    produced: u64,
}

/// Events that were read, and what was refused.
#[derive(Default)]
struct Checked {
    events: Vec<RawEvent>,
    /// Those that are packed already.
    packed: PackedEvents,
    refused: Vec<RefusedLine>,
    refused_total: u64,
}

impl Checked {
    /// All of a body, packed.
    fn all(packed: PackedEvents) -> Checked {
        Checked { packed, ..Checked::default() }
    }
}

/// Accepts events: a JSON array, one JSON object, NDJSON, or lines of text, packed with gzip or not.
///
/// Each is recognised by itself: the contract's own event, Suricata EVE, Zeek, Windows events, auditd,
/// sshd, sudo, access logs. What can not be read is refused by its number, and the rest is kept.
#[utoipa::path(post, path = "/api/v1/events", operation_id = "accept_events", tag = "events",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "A request with the key and body of an earlier \
            one gets the same answer, and nothing is added. Kept for 24 hours."),
        ("Content-Encoding" = Option<String>, Header, description = "`gzip` or `identity`"),
    ),
    request_body(content(
        (serde_json::Value = "application/json"),
        (String = "application/x-ndjson"),
        (String = "text/plain"),
    )),
    responses(
        (status = ACCEPTED, body = Receipt, description = "Durable"),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = REQUEST_TIMEOUT, body = Problem, content_type = "application/problem+json"),
        (status = PAYLOAD_TOO_LARGE, body = Problem, content_type = "application/problem+json"),
        (status = UNSUPPORTED_MEDIA_TYPE, body = Problem, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json",
            description = "Every line was refused, or the idempotency key came with another body"),
        (status = SERVICE_UNAVAILABLE, body = Problem, content_type = "application/problem+json",
            description = "With Retry-After, unless only a restart helps"),
    ))]
pub(crate) async fn accept(
    api: Shared,
    caller: Option<Caller>,
    _: Query<NoParams>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let key = idempotency_key(&parts.headers, caller.as_ref())?;
    let kind = readable_type(&parts.headers)?;
    let encoding = text_of(&parts.headers, header::CONTENT_ENCODING)?;
    let content = api.api.content.borrow().clone();
    // Every event is read as the engine will read it, as far as that can refuse it: its sender hears now what is wrong.
    let stamp = Stamp { position: Position(1), now: (api.api.clock)() };
    // What is produced goes event by event, and is not packed.
    let packs = encoding.is_none() && api.api.produce.is_none();
    let mut ahead = packs.then(|| Ahead::new(Arc::clone(&content), stamp, &api.workers, &api.api.store));
    let receiving = Receiving::new(limits::EVENT_BODY_BYTES_MAX).within(&api.bodies).from(&parts.headers);
    let received = receiving.receive_ahead(body, ahead.as_mut()).await?;
    if received.len() == 0 {
        return Err(Problem::bad_request("the body is empty; send events as JSON, NDJSON or lines of text"));
    }
    let body_digest = key.map(|_| digest(&received));
    if let (Some(key), Some(digest)) = (key, &body_digest)
        && let Some(known) = api.read(move |store| store.idempotent(&key)).await?
    {
        return again(known.accepted.first, known.accepted.count, &known.answer, digest);
    }
    let large = received.len() > limits::INLINE_BODY_BYTES || encoding.is_some();
    if large
        && let Some(ahead) = &mut ahead
        && let Some(packed) = ahead.done().await?
    {
        drop(received);
        return keep(&api, begin(&api, Checked::all(packed), key, body_digest)?).await;
    }
    let work = Work { split: api.api.split, content, stamp, kind, encoding };
    let begun = if large {
        let worker = Arc::clone(&api.workers).acquire_owned().await;
        let worker = worker.map_err(|e| Problem::internal("waiting for a worker", &e))?;
        let api = Arc::clone(&api);
        // What is taken goes along, for the work goes on when its client is gone.
        let work = move || {
            let (_worker, received) = (worker, received);
            begin(&api, work.check(&received.whole())?, key, body_digest)
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|e| Problem::internal("splitting a body", &e))??
    } else {
        begin(&api, work.check(&received.whole())?, key, body_digest)?
    };
    keep(&api, begun).await
}

/// What a body is told from others by.
fn digest(received: &Received) -> String {
    let mut hasher = blake3::Hasher::new();
    received.pieces().for_each(|piece| _ = hasher.update(piece));
    hasher.finalize().to_hex().to_string()
}

/// Events on their way.
struct Begun {
    way: Way,
    count: u64,
    refused: Vec<RefusedLine>,
    refused_total: u64,
    body_digest: Option<String>,
}

/// Where events are on their way to.
enum Way {
    /// The log.
    Log(Result<Submitted, SubmitError>),
    /// Where instances take them from; and what is kept of the request once they are there.
    Produced(Producing, Option<Idempotency>),
}

/// Packs the events that are not packed yet and hands them to the store.
fn begin(api: &Inner, checked: Checked, key: Option<[u8; 32]>, body_digest: Option<String>) -> Result<Begun, Problem> {
    let Checked { events, packed, refused, refused_total } = checked;
    api.api.metrics.events_refused("http", refused_total);
    let count = packed.count() + events.len() as u64;
    if count == 0 {
        let problem = match refused.first() {
            None => return Err(Problem::bad_request("the body has no events")),
            Some(only) if refused_total == 1 => format!("the event was refused: {}", only.reason),
            Some(first) => {
                format!("all {refused_total} events were refused; number {}: {}", first.number, first.reason)
            }
        };
        let list = serde_json::to_value(&refused).unwrap_or_default();
        return Err(Problem::new(Kind::Unprocessable, problem)
            .with("refused", list)
            .with("refused_total", refused_total));
    }
    let idempotency = key.zip(body_digest.clone()).map(|(key, body)| Idempotency {
        key,
        answer: Kept { body, refused: refused.clone(), refused_total, produced: count }.encode(),
    });
    let way = match &api.api.produce {
        Some(produce) => Way::Produced(produce(events), idempotency),
        None => Way::Log(api.api.store.begin(Submission { events, packed, cursors: Vec::new(), idempotency })),
    };
    Ok(Begun { way, count, refused, refused_total, body_digest })
}

/// Waits until the events are durable and says so.
async fn keep(api: &Inner, begun: Begun) -> Result<Response, Problem> {
    let Begun { way, count, refused, refused_total, body_digest } = begun;
    let accepted = match way {
        Way::Log(Ok(submitted)) => submitted.done().await,
        Way::Log(Err(error)) => Err(error),
        Way::Produced(producing, idempotency) => produced(api, producing, idempotency).await,
    };
    let accepted = api.kept(accepted)?;
    if let (Some(answer), Some(digest)) = (&accepted.repeated, &body_digest) {
        return again(accepted.first, accepted.count, answer, digest);
    }
    api.api.metrics.events_accepted("http", count);
    let receipt = Receipt { accepted: count, first_position: accepted.first, refused, refused_total };
    Ok(json(StatusCode::ACCEPTED, &receipt))
}

/// Waits until events are where instances take them from. That their request was answered is kept after that, and as well
/// as may be: who comes again may be answered anew, and their events have the same ids again if they brought them.
async fn produced(
    api: &Inner,
    producing: Producing,
    idempotency: Option<Idempotency>,
) -> Result<Accepted, SubmitError> {
    producing.await?;
    if idempotency.is_some() {
        let kept = api.api.store.submit(Submission { idempotency, ..Submission::default() }).await;
        if let Err(error) = kept {
            tracing::debug!(%error, "that a request was answered is not kept");
        }
    }
    Ok(Accepted { shard: 0, first: Position(0), count: 0, at: (api.api.clock)(), repeated: None })
}

/// The answer to a request that was answered before.
fn again(first: Position, count: u64, answer: &[u8], body: &str) -> Result<Response, Problem> {
    let kept: Kept = serde_json::from_slice(answer).map_err(|e| Problem::internal("reading a kept answer", &e))?;
    if kept.body != body {
        let detail = "this Idempotency-Key came before with another body; use a new key for a new request";
        return Err(Problem::new(Kind::Unprocessable, detail));
    }
    let Kept { refused, refused_total, produced, .. } = kept;
    // Of what was produced nothing is in the log but the answer.
    let (count, first) = if count == 0 { (produced, Position(0)) } else { (count, first) };
    Ok(json(StatusCode::ACCEPTED, &Receipt { accepted: count, first_position: first, refused, refused_total }))
}

impl Kept {
    /// As many of the refused lines as fit.
    fn encode(mut self) -> Vec<u8> {
        loop {
            let json = serde_json::to_vec(&self).expect("a kept answer has text keys");
            if json.len() <= vertice_store::limits::IDEMPOTENCY_ANSWER_BYTES_MAX {
                return json;
            }
            self.refused.truncate(self.refused.len() / 2);
        }
    }
}

/// What it takes to make events of a body.
struct Work {
    split: Split,
    content: Arc<Content>,
    stamp: Stamp,
    kind: Option<String>,
    encoding: Option<String>,
}

impl Work {
    fn check(self, bytes: &[u8]) -> Result<Checked, Problem> {
        let origin: Arc<str> = ORIGIN.into();
        let body = (self.split)(bytes, self.kind.as_deref(), self.encoding.as_deref(), &origin);
        let SplitBody { events, numbers, refused } = body.map_err(|e| match e {
            SplitError::TooLarge(detail) => Problem::new(Kind::TooLarge, detail),
            SplitError::UnknownEncoding(detail) => Problem::new(Kind::UnsupportedMedia, detail),
            SplitError::BadEncoding(detail) => Problem::bad_request(detail),
        })?;
        let mut checked = Checked { events: Vec::with_capacity(events.len()), refused, ..Checked::default() };
        let check = |raw: &RawEvent| self.content.mappings.check(self.stamp, raw).err();
        let refusals = vertice_store::in_shares(&events, |share| share.iter().map(check).collect());
        for ((raw, refusal), number) in
            events.into_iter().zip(refusals).zip(numbers.into_iter().chain(std::iter::repeat(0)))
        {
            match refusal {
                None => checked.events.push(raw),
                Some(refusal) => checked.refused.push(RefusedLine { number, reason: refusal.reason }),
            }
        }
        checked.refused_total = checked.refused.len() as u64;
        checked.refused.sort_by_key(|line| line.number);
        checked.refused.truncate(limits::REFUSED_SHOWN_MAX);
        for line in &mut checked.refused {
            if line.reason.chars().nth(limits::REASON_CHARS_MAX).is_some() {
                line.reason = line.reason.chars().take(limits::REASON_CHARS_MAX).collect::<String>().into();
            }
        }
        Ok(checked)
    }
}

fn text_of(headers: &HeaderMap, name: header::HeaderName) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(&name) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Problem::bad_request(format!("{name} is no text")))?;
    Ok(Some(text.to_owned()))
}

/// The content type, unless it is one that can not hold events.
fn readable_type(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let kind = text_of(headers, header::CONTENT_TYPE)?;
    let top = kind.as_deref().and_then(|k| k.split('/').next()).unwrap_or_default().trim().to_ascii_lowercase();
    if ["multipart", "image", "audio", "video", "font", "model"].contains(&top.as_str()) {
        let detail = format!("{top} bodies hold no events; send application/json, application/x-ndjson or text/plain");
        return Err(Problem::new(Kind::UnsupportedMedia, detail));
    }
    Ok(kind)
}

/// The digest of the `Idempotency-Key` and whose it is: two people may choose the same.
fn idempotency_key(headers: &HeaderMap, caller: Option<&Caller>) -> Result<Option<[u8; 32]>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let bytes = value.as_bytes();
    if bytes.is_empty() || bytes.len() > limits::IDEMPOTENCY_KEY_BYTES_MAX {
        let max = limits::IDEMPOTENCY_KEY_BYTES_MAX;
        return Err(Problem::bad_request(format!("Idempotency-Key has from 1 to {max} bytes, not {}", bytes.len())));
    }
    let mut hasher = blake3::Hasher::new();
    let whose = caller.map(|c| c.0.0.as_str()).unwrap_or_default();
    for part in ["POST /api/v1/events", whose] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.update(bytes);
    Ok(Some(*hasher.finalize().as_bytes()))
}

/// An event as it stands in the log.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct LoggedEvent {
    /// Its place in the log.
    position: Position,
    /// When it was accepted.
    received: Timestamp,
    /// What the sensor wrote.
    raw: RawEvent,
    /// What its mapping makes of it, by the mappings in force now; `null` if none can read it.
    event: Option<Event>,
    /// Why it can not be read, if it can not.
    refused: Option<String>,
}

impl LoggedEvent {
    pub(crate) fn read(content: &Content, stamp: Stamp, raw: RawEvent) -> LoggedEvent {
        let (event, refused) = match content.mappings.normalize(stamp, &raw) {
            Ok(event) => (Some(event), None),
            Err(refusal) => (None, Some(refusal.to_string())),
        };
        LoggedEvent { position: stamp.position, received: stamp.now, raw, event, refused }
    }

    pub(crate) fn event(&self) -> Option<&Event> {
        self.event.as_ref()
    }
}

/// Events of the log, in order.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct EventPage {
    /// The events.
    items: Vec<LoggedEvent>,
    /// Give this as `from` for the next page; `null` when the log is at its end for now.
    next_from: Option<Position>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventParams {
    /// The first log position wanted; 1 unless given.
    #[param(value_type = Option<u64>)]
    from: Option<u64>,
    /// Items of a page, from 1 to 1,000; 100 unless given.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<usize>,
}

/// Events as they stand in the log, in order. What people decided stands there too, and is left out here.
#[utoipa::path(get, path = "/api/v1/events", operation_id = "list_events", tag = "events", params(EventParams), responses(
    (status = OK, body = EventPage),
    (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn list(api: Shared, Query(params): Query<EventParams>) -> Result<Response, Problem> {
    let wanted = limit(params.limit)?;
    let from = Position(params.from.unwrap_or(1).max(1));
    let content = api.api.content.borrow().clone();
    let page = api.read(move |store| events_from(store, &content, from, wanted)).await?;
    Ok(json(StatusCode::OK, &page))
}

fn events_from(store: &Store, content: &Content, from: Position, wanted: usize) -> Result<EventPage, ReadError> {
    let (mut items, mut bytes, mut at) = (Vec::new(), 0, from);
    let end = store.log_end();
    let stop = Position(from.0.saturating_add(limits::EVENTS_SCANNED_MAX));
    while at <= end && at < stop && items.len() < wanted && bytes < limits::EVENT_PAGE_BYTES {
        let inputs = store.read(at, (wanted - items.len()) as u64)?;
        if inputs.is_empty() {
            break;
        }
        for (stamp, input) in inputs {
            let next = stamp.position.plus(input.positions());
            let events: Vec<(Timestamp, RawEvent)> = match input {
                Input::Events(events) => events.into_iter().map(|event| (stamp.now, event)).collect(),
                // They are read as of their logical time.
                Input::Routed(routed) => routed.into_iter().map(|routed| (routed.at, routed.event)).collect(),
                _ => {
                    at = at.max(next);
                    continue;
                }
            };
            for (i, (now, raw)) in events.into_iter().enumerate() {
                let position = stamp.position.plus(i as u64);
                if position < at {
                    continue;
                }
                if items.len() == wanted || bytes >= limits::EVENT_PAGE_BYTES {
                    break;
                }
                bytes += raw.line.len();
                items.push(LoggedEvent::read(content, Stamp { position, now }, raw));
                at = position.plus(1);
            }
        }
    }
    Ok(EventPage { items, next_from: (at <= end).then_some(at) })
}

/// One event of the log.
#[utoipa::path(get, path = "/api/v1/events/{position}", operation_id = "get_event", tag = "events",
    params(("position" = u64, Path, description = "Its log position")),
    responses(
        (status = OK, body = LoggedEvent),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn get(api: Shared, Path(position): Path<String>, _: Query<NoParams>) -> Result<Response, Problem> {
    let at: u64 = position.parse().map_err(|_| Problem::bad_request("a log position is a whole number from 1 on"))?;
    let found = api.read(move |store| store.event(0, Position(at))).await?;
    let (stamp, raw) = found.ok_or_else(|| Problem::not_found(format!("there is no event at log position {at}")))?;
    let content = api.api.content.borrow().clone();
    Ok(json(StatusCode::OK, &LoggedEvent::read(&content, stamp, raw)))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct LetterParams {
    /// Items of a page, from 1 to 1,000; 100 unless given.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// `asc` is the order of the log; `desc` is the latest first.
    order: Option<Order>,
}

/// Events that were accepted and could not be read: the dead letters. Their bytes stay in the log.
#[utoipa::path(get, path = "/api/v1/deadletter", operation_id = "list_dead_letters", tag = "events", params(LetterParams), responses(
    (status = OK, body = Page<RefusedEvent>),
    (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn deadletter(api: Shared, Query(p): Query<LetterParams>) -> Result<Response, Problem> {
    let part = Part { limit: p.limit, cursor: p.cursor, order: p.order };
    api.page(RecordKind::Refused, Filter::default(), &part).await
}
