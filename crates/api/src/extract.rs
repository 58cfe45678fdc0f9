//! What handlers take from a request: checked query parameters and small JSON bodies.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa::IntoParams;

use crate::ahead::Ahead;
use crate::limits;
use crate::problem::{Kind, Problem};

/// Query parameters. Unknown ones, and ones given twice, are refused by name.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + IntoParams> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query<T>, Problem> {
        let bad = |e: axum::extract::rejection::QueryRejection| Problem::bad_request(e.body_text());
        let given = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map_err(bad)?.0;
        let known: Vec<String> = T::into_params(|| None).into_iter().map(|p| p.name).collect();
        for (i, (name, _)) in given.iter().enumerate() {
            if !known.contains(name) {
                return Err(unknown(name, &known));
            }
            if given[..i].iter().any(|(n, _)| n == name) {
                return Err(Problem::bad_request(format!("the query parameter {name} is given twice")));
            }
        }
        let read = axum::extract::Query::<T>::try_from_uri(&parts.uri).map(|q| Query(q.0));
        read.map_err(|e| Problem::bad_request(plainly(&e.body_text(), &given)))
    }
}

/// Why a value can not be read, in the words of whoever gave it. Comes as `Failed to …: NAME: REASON`.
fn plainly(text: &str, given: &[(String, String)]) -> String {
    let reason = |(name, value): &(String, String)| {
        let (_, reason) = text.split_once(&format!(": {name}: "))?;
        let shown: String = value.chars().take(40).collect();
        Some(match reason {
            "invalid digit found in string"
            | "cannot parse integer from empty string"
            | "number too large to fit in target type" => format!("{name}: {shown:?} is no whole number"),
            "provided string was not `true` or `false`" => format!("{name}: {shown:?} is neither true nor false"),
            other => match other.split_once(", expected ") {
                Some((_, words)) if other.starts_with("unknown variant ") => {
                    let words = words.trim_start_matches("one of ").replace('`', "");
                    format!("{name}: {shown:?} is not known here; there are {words}")
                }
                Some(_) | None => format!("{name}: {other}"),
            },
        })
    };
    given.iter().find_map(reason).unwrap_or_else(|| text.to_owned())
}

/// For calls without query parameters.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct NoParams {}

impl IntoParams for NoParams {
    fn into_params(
        _: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
    ) -> Vec<utoipa::openapi::path::Parameter> {
        Vec::new()
    }
}

fn unknown(name: &str, known: &[String]) -> Problem {
    let shown: String = name.chars().take(40).collect();
    let near = known.iter().map(|k| (distance(&shown, k), k)).min().filter(|(d, k)| *d <= k.len().div_ceil(2));
    let advice = match near {
        Some((_, near)) => format!("did you mean {near}?"),
        None if known.is_empty() => "this call has none".to_owned(),
        None => format!("there are {}", known.join(", ")),
    };
    let problem = Problem::bad_request(format!("unknown query parameter {shown:?}; {advice}"));
    near.map(|(_, k)| k.clone()).into_iter().fold(problem, |p, k| p.with("suggestion", k))
}

/// Edits that make one word of another (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let change = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = change.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// A small JSON body.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Json<T>, Problem> {
        if !is_json(request.headers()) {
            let detail = "the body must be JSON, with `Content-Type: application/json`";
            return Err(Problem::new(Kind::UnsupportedMedia, detail));
        }
        let bytes = Receiving::new(limits::BODY_BYTES_MAX).receive(request.into_body()).await?.whole().into_owned();
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|e| Problem::bad_request(format!("the body is no JSON: {e}")))?;
        serde_json::from_value(value)
            .map(Json)
            .map_err(|e| Problem::new(Kind::Unprocessable, format!("the body does not say what is needed: {e}")))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// How a body is received: how much of it, and from which store of memory.
#[derive(Debug)]
pub(crate) struct Receiving {
    max: usize,
    memory: Option<Arc<Semaphore>>,
    /// Whether the client waits for a word before it sends the body.
    asks_first: bool,
}

/// A body, and the memory it stands for.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// The shares that were handed on, in order.
    shares: Vec<Bytes>,
    /// What is behind them.
    rest: Vec<u8>,
    /// How many bytes all of it has.
    length: usize,
    /// Given back when this and whoever else holds it goes.
    memory: Vec<Arc<OwnedSemaphorePermit>>,
    /// KiB of it.
    memory_kib: usize,
}

impl Received {
    /// How long it is.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Each of its pieces.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.shares.iter().map(|share| &**share).chain([&*self.rest])
    }

    /// All of it in one piece.
    pub(crate) fn whole(&self) -> std::borrow::Cow<'_, [u8]> {
        if self.shares.is_empty() {
            return (&*self.rest).into();
        }
        self.pieces().collect::<Vec<_>>().concat().into()
    }

    fn put(&mut self, data: &[u8], memory: Option<&Arc<Semaphore>>) -> Result<(), Problem> {
        self.length += data.len();
        self.rest.extend_from_slice(data);
        let Some(memory) = memory else { return Ok(()) };
        let wanted = self.length.div_ceil(1_024);
        let more = u32::try_from(wanted - self.memory_kib).unwrap_or(u32::MAX);
        let permit = Arc::clone(memory).try_acquire_many_owned(more).map_err(|_| no_memory())?;
        self.memory_kib = wanted;
        match self.memory.last_mut().and_then(Arc::get_mut) {
            Some(own) => own.merge(permit),
            None => self.memory.push(Arc::new(permit)),
        }
        Ok(())
    }

    /// Hands on the whole lines of what is there.
    async fn hand_on(&mut self, ahead: &mut Ahead, all: bool) -> Result<(), Problem> {
        let end = if all { self.rest.len() } else { memchr::memrchr(b'\n', &self.rest).map_or(0, |at| at + 1) };
        if end == 0 {
            return Ok(());
        }
        let mut after = Vec::with_capacity(if all { 0 } else { 2 * limits::SHARE_BYTES });
        after.extend_from_slice(&self.rest[end..]);
        self.rest.truncate(end);
        let share = Bytes::from(std::mem::replace(&mut self.rest, after));
        self.shares.push(share.clone());
        ahead.take(share, self.memory.last().cloned()).await
    }
}

impl Receiving {
    pub(crate) fn new(max: usize) -> Receiving {
        Receiving { max, memory: None, asks_first: false }
    }

    /// Takes a permit for each KiB that came, so that many clients together can not take all memory.
    pub(crate) fn within(self, memory: &Arc<Semaphore>) -> Receiving {
        Receiving { memory: Some(Arc::clone(memory)), ..self }
    }

    /// Takes note of how the client sends: one that asks before it does is refused without its body.
    pub(crate) fn from(self, headers: &HeaderMap) -> Receiving {
        Receiving { asks_first: headers.contains_key(header::EXPECT), ..self }
    }

    /// Receives a whole body.
    ///
    /// # Errors
    /// When it is too large, too slow, or cut off, or when there is no memory for it now.
    pub(crate) async fn receive(self, body: Body) -> Result<Received, Problem> {
        self.receive_ahead(body, None).await
    }

    /// As [`Receiving::receive`]; of a large body each share is handed on as it comes.
    ///
    /// # Errors
    /// As [`Receiving::receive`].
    pub(crate) async fn receive_ahead(self, body: Body, ahead: Option<&mut Ahead>) -> Result<Received, Problem> {
        let whole = tokio::time::timeout(limits::BODY_TIME, self.frames(body, ahead));
        whole.await.unwrap_or_else(|_| Err(too_slow(limits::BODY_TIME)))
    }

    async fn frames(self, mut body: Body, mut ahead: Option<&mut Ahead>) -> Result<Received, Problem> {
        if body.size_hint().lower() > self.max as u64 {
            self.drop_rest(&mut body, 0).await;
            return Err(self.too_large());
        }
        let mut received = Received::default();
        let expected = usize::try_from(body.size_hint().lower()).unwrap_or(0);
        received.rest.reserve(expected.min(2 * limits::SHARE_BYTES));
        loop {
            let Some(data) = data_of(&mut body).await? else { break };
            if received.len() + data.len() > self.max {
                let read = received.len() + data.len();
                drop(received);
                self.drop_rest(&mut body, read).await;
                return Err(self.too_large());
            }
            received.put(&data, self.memory.as_ref())?;
            // Of a long line that comes in small pieces only the new one is looked through.
            if let Some(ahead) = &mut ahead
                && received.rest.len() >= limits::SHARE_BYTES
                && memchr::memchr(b'\n', &data).is_some()
            {
                received.hand_on(ahead, false).await?;
            }
        }
        if let Some(ahead) = ahead
            && received.len() > limits::INLINE_BODY_BYTES
        {
            received.hand_on(ahead, true).await?;
        }
        Ok(received)
    }

    /// Reads what is left of a body that is too large, and drops it: a client that is still sending when the
    /// connection closes never reads why.
    async fn drop_rest(&self, body: &mut Body, mut read: usize) {
        let most = self.max * limits::DROPPED_FACTOR;
        if self.asks_first || body.size_hint().lower() > most as u64 {
            return;
        }
        while read <= most
            && let Ok(Some(data)) = data_of(body).await
        {
            read += data.len();
        }
    }

    fn too_large(&self) -> Problem {
        Problem::new(Kind::TooLarge, format!("the body is larger than {} bytes; send it in parts", self.max))
            .with("bytes_max", self.max)
    }
}

/// The next piece of a body; `None` at its end.
async fn data_of(body: &mut Body) -> Result<Option<Bytes>, Problem> {
    loop {
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
        let frame = tokio::time::timeout(limits::BODY_PAUSE, frame).await;
        let Some(frame) = frame.map_err(|_| too_slow(limits::BODY_PAUSE))? else { return Ok(None) };
        let frame = frame.map_err(|_| Problem::bad_request("the body was cut off"))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}

fn too_slow(limit: Duration) -> Problem {
    Problem::new(Kind::Timeout, format!("the body did not come within {} s", limit.as_secs()))
}

fn no_memory() -> Problem {
    Problem::new(Kind::Unavailable, "too many large bodies are being received; try again in 1 s")
        .retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        let known = ["limit".to_owned(), "cursor".to_owned()];
        assert!(unknown("limt", &known).detail.contains("did you mean limit?"));
        assert!(unknown("zzzzzzzz", &known).detail.contains("there are limit, cursor"));
        assert!(unknown("x", &[]).detail.contains("this call has none"));
    }

    #[tokio::test]
    async fn memory_is_taken_and_given_back() {
        let memory = Arc::new(Semaphore::new(3));
        let receive = |n: usize| Receiving::new(1 << 20).within(&memory).receive(Body::from(vec![0; n]));
        let held = receive(2_000).await.unwrap();
        assert_eq!(memory.available_permits(), 1);
        assert_eq!(receive(2_000).await.unwrap_err().status, 503);
        drop(held);
        assert_eq!(receive(3_072).await.unwrap().len(), 3_072);
        assert_eq!(memory.available_permits(), 3);
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_refused() {
        let problem = Receiving::new(10).receive(Body::from(vec![0; 11])).await.unwrap_err();
        assert_eq!((problem.status, problem.more["bytes_max"].as_u64()), (413, Some(10)));
    }
}
