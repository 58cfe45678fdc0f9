//! The API, as the commands ask it.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read as _};
use std::time::Duration;

use serde_json::Value;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use super::failure::Failure;
use crate::limits;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take; the server's own limit is shorter.
const ANSWER: Duration = Duration::from_secs(60);

/// One server, and the key for it.
pub struct Client {
    agent: Agent,
    base: String,
    key: Option<String>,
}

/// One page of a list.
pub struct Page {
    /// The records.
    pub items: Vec<Value>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<String>,
}

impl Client {
    /// A client of the server at `url`.
    ///
    /// # Errors
    /// When the URL is none of a server, or holds a password, which an error message would show.
    pub fn new(url: &str, key: Option<String>) -> Result<Client, Failure> {
        Client::within(url, key, None)
    }

    /// As [`Client::new`], with a limit to the time that a whole call may take.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn within(url: &str, key: Option<String>, limit: Option<Duration>) -> Result<Client, Failure> {
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let host = rest.unwrap_or_default().split(['/', '?', '#']).next().unwrap_or_default();
        if host.contains('@') {
            return Err(Failure::Usage("--url names a server only; the key goes into VERTICE_API_KEY".to_owned()));
        }
        if host.is_empty() {
            return Err(Failure::Usage(format!("--url {url:?} is no server such as http://127.0.0.1:8000")));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect would carry the key to wherever it points, and a proxy would see it.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .timeout_global(limit)
            .user_agent(concat!("vertice/", env!("CARGO_PKG_VERSION")))
            .build();
        let key = key.filter(|k| !k.is_empty());
        if key.as_ref().is_some_and(|k| !k.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(Failure::Usage("the API key has characters that no key has".to_owned()));
        }
        Ok(Client { agent: config.new_agent(), base: url.trim_end_matches('/').to_owned(), key })
    }

    /// The server's address.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Reads one document.
    pub fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
        self.answer(path, self.asked(path, query)?)
    }

    /// Sends a document.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let mut request = self.agent.post(self.url(path)).header("accept", "application/json");
        if let Some(key) = &self.key {
            request = request.header(KEY, format!("Bearer {key}"));
        }
        self.answer(path, request.send_json(body).map_err(|e| self.unreachable(&e))?)
    }

    /// Sends a body as it is.
    pub fn send(&self, path: &str, content_type: &str, body: &str) -> Result<Value, Failure> {
        let mut request = self.agent.post(self.url(path)).header("accept", "application/json");
        if let Some(key) = &self.key {
            request = request.header(KEY, format!("Bearer {key}"));
        }
        let sent = request.header("content-type", content_type).send(body);
        self.answer(path, sent.map_err(|e| self.unreachable(&e))?)
    }

    /// Takes something back.
    pub fn delete(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
        let mut request = self.agent.delete(self.url(path)).header("accept", "application/json");
        if let Some(key) = &self.key {
            request = request.header(KEY, format!("Bearer {key}"));
        }
        self.answer(path, request.query_pairs(query.iter().copied()).call().map_err(|e| self.unreachable(&e))?)
    }

    /// A stream of lines that ends when the server ends it.
    pub fn lines(&self, path: &str) -> Result<impl BufRead + use<>, Failure> {
        let response = self.asked(path, &[])?;
        let status = response.status();
        if !status.is_success() {
            let body = self.body(response)?;
            return Err(refusal(path, status, None, &body));
        }
        Ok(BufReader::new(response.into_body().into_reader()))
    }

    /// One page of a list.
    pub fn page(&self, path: &str, query: &[(&str, &str)]) -> Result<Page, Failure> {
        let mut answer = self.get(path, query)?;
        if let Value::Array(items) = answer {
            return Ok(Page { items, next: None });
        }
        let next = ["next_cursor", "next_from", "next"].iter().find_map(|name| match answer.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(n) => Some(n.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        });
        match answer.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(Page { items, next }),
            Some(_) | None => Err(Failure::Failed(format!("{}{path} answered with no list", self.base))),
        }
    }

    fn asked(&self, path: &str, query: &[(&str, &str)]) -> Result<Response<Body>, Failure> {
        let mut request = self.agent.get(self.url(path)).header("accept", "application/json, text/event-stream, */*");
        if let Some(key) = &self.key {
            request = request.header(KEY, format!("Bearer {key}"));
        }
        request.query_pairs(query.iter().copied()).call().map_err(|e| self.unreachable(&e))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn answer(&self, path: &str, response: Response<Body>) -> Result<Value, Failure> {
        let status = response.status();
        let retry = response.headers().get("retry-after").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let body = self.body(response)?;
        if !status.is_success() {
            return Err(refusal(path, status, retry.as_deref(), &body));
        }
        if body.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&body).map_err(|_| {
            Failure::Failed(format!("{}{path} answered with something else than JSON: is it Vertice?", self.base))
        })
    }

    fn body(&self, response: Response<Body>) -> Result<String, Failure> {
        let mut bytes = Vec::new();
        let body = response.into_body().into_reader();
        body.take(limits::ANSWER_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| Failure::Unreachable(format!("{} broke off in the middle of its answer: {e}", self.base)))?;
        if bytes.len() as u64 > limits::ANSWER_BYTES_MAX {
            return Err(Failure::Failed(format!(
                "{} answered with more than {} bytes; ask for less with --limit",
                self.base,
                limits::ANSWER_BYTES_MAX
            )));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let why = match error {
            ureq::Error::Io(e) => match e.kind() {
                std::io::ErrorKind::ConnectionRefused => "nothing listens there".to_owned(),
                _ => e.to_string(),
            },
            other => other.to_string(),
        };
        Failure::Unreachable(format!(
            "{} can not be reached: {why}.\nIs `vertice up` running? --url or VERTICE_URL names another server.",
            self.base
        ))
    }
}

/// The kind of problem that refused content is.
const CONTENT_REFUSED: &str = "urn:vertice:problem:content-refused";

/// The header that the key goes into.
const KEY: &str = "authorization";

/// What an answer that is no success means. Its body is a problem document (RFC 9457), if it is ours.
fn refusal(path: &str, status: StatusCode, retry_after: Option<&str>, body: &str) -> Failure {
    let problem: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    let member = |name: &str| problem.get(name).and_then(Value::as_str).filter(|t| !t.is_empty());
    let title = member("title").or(status.canonical_reason()).unwrap_or("the server said no");
    let mut text = match member("detail") {
        Some(detail) if detail != title => format!("{title}: {detail}"),
        Some(_) | None => title.to_owned(),
    };
    if problem.is_null() {
        let _ = write!(text, " ({} for {path}); is it Vertice?", status.as_u16());
    }
    if let Some(seconds) = retry_after {
        let _ = write!(text, " (try again in {seconds} s)");
    }
    match status {
        StatusCode::NOT_FOUND => Failure::NotFound(text),
        _ if member("type") == Some(CONTENT_REFUSED) => Failure::Content(text),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::Refused(format!(
            "{text}\nThe key of the first start, or one of `vertice keys add`, goes into VERTICE_API_KEY."
        )),
        _ => Failure::Failed(text),
    }
}

/// A text as one segment of a path, with everything else than unreserved characters encoded (RFC 3986).
pub fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') || (byte == b'.' && text.len() > 2) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
