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
        let bytes = Receiving::new(limits::BODY_BYTES_MAX).receive(request.into_body()).await?.bytes;
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
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    /// Given back when this goes.
    memory: Option<OwnedSemaphorePermit>,
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
        let whole = tokio::time::timeout(limits::BODY_TIME, self.frames(body));
        whole.await.unwrap_or_else(|_| Err(too_slow(limits::BODY_TIME)))
    }

    async fn frames(self, mut body: Body) -> Result<Received, Problem> {
        if body.size_hint().lower() > self.max as u64 {
            self.drop_rest(&mut body, 0).await;
            return Err(self.too_large());
        }
        let mut received = Received { bytes: Vec::new(), memory: None };
        let mut held = 0;
        loop {
            let Some(data) = data_of(&mut body).await? else { return Ok(received) };
            if received.bytes.len() + data.len() > self.max {
                let read = received.bytes.len() + data.len();
                drop(received);
                self.drop_rest(&mut body, read).await;
                return Err(self.too_large());
            }
            received.bytes.extend_from_slice(&data);
            let wanted = received.bytes.len().div_ceil(1_024);
            if let Some(memory) = &self.memory {
                let more = u32::try_from(wanted - held).unwrap_or(u32::MAX);
                let permit = Arc::clone(memory).try_acquire_many_owned(more).map_err(|_| no_memory())?;
                held = wanted;
                match &mut received.memory {
                    Some(all) => all.merge(permit),
                    none @ None => *none = Some(permit),
                }
            }
        }
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
        assert_eq!(receive(3_072).await.unwrap().bytes.len(), 3_072);
        assert_eq!(memory.available_permits(), 3);
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_refused() {
        let problem = Receiving::new(10).receive(Body::from(vec![0; 11])).await.unwrap_err();
        assert_eq!((problem.status, problem.more["bytes_max"].as_u64()), (413, Some(10)));
    }
}
