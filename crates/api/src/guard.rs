//! Who is let in: keys, and protection of a loopback listener against web pages.
//!
//! A page that a person on this machine looks at can make their browser send requests to loopback. It
//! gives itself away by its `Origin`, or, when it has turned its own name into 127.0.0.1 (DNS
//! rebinding), by the `Host`. Both are checked.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, OptionalFromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use vertice_model::Principal;

use crate::Inner;
use crate::keyring::Holder;
use crate::keys::{KeyPolicy, is_loopback};
use crate::problem::{Kind, Problem};
use crate::routes::agent;

/// Who makes a request; taken from it by handlers that need to know.
#[derive(Clone, Debug)]
pub(crate) struct Caller(pub(crate) Principal);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, Problem> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(key_needed)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Caller {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Caller>, Self::Rejection> {
        Ok(parts.extensions.get::<Caller>().cloned())
    }
}

/// Who reads decisions; taken from a request by handlers that keep a place for each key.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    /// The digest of the key.
    pub(crate) key: blake3::Hash,
    /// Whose it is, in words.
    pub(crate) name: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Reader, Problem> {
        parts.extensions.get::<Reader>().cloned().ok_or_else(no_bouncer)
    }
}

/// What CrowdSec says to a missing and to a wrong key alike.
fn no_bouncer() -> Problem {
    Problem::new(Kind::Forbidden, "access forbidden")
}

/// Who makes a request, as far as it says.
#[derive(Debug, Default)]
struct Admitted {
    caller: Option<Caller>,
    reader: Option<Reader>,
}

fn key_needed() -> Problem {
    let detail = "this call needs an API key: send it as `Authorization: Bearer vk_…` or `X-Api-Key: vk_…`";
    Problem::new(Kind::Unauthorized, detail)
}

/// Lets a request in or not.
pub(crate) async fn admit(State(inner): State<Arc<Inner>>, mut request: Request, next: Next) -> Response {
    match judge(&inner, &request) {
        Ok(Admitted { caller, reader }) => {
            let extensions = request.extensions_mut();
            caller.map(|caller| extensions.insert(caller));
            reader.map(|reader| extensions.insert(reader));
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

fn judge(inner: &Inner, request: &Request) -> Result<Admitted, Problem> {
    let access = &inner.api.access;
    let path = request.uri().path();
    // A link is followed from anywhere, through a proxy too; a page that could misuse it would need its token.
    if access.loopback && !is_link(path) {
        from_this_machine(request)?;
    }
    let for_bouncers = is_for_bouncers(path);
    let holder = match presented(request.headers()) {
        Err(problem) => return Err(if for_bouncers { no_bouncer() } else { problem }),
        Ok(None) => None,
        Ok(Some(secret)) => match access.keys.whose(secret) {
            Some(found) => Some(found),
            None => return Err(wrong_key(inner, request, for_bouncers)),
        },
    };
    match holder {
        Some((key, Holder::Bouncer(name))) if for_bouncers => {
            Ok(Admitted { caller: None, reader: Some(Reader { key, name: format!("the bouncer {name}") }) })
        }
        Some((_, Holder::Bouncer(name))) => Err(decisions_only(&name)),
        Some((key, Holder::Person(principal))) => {
            let reader = Reader { key, name: format!("{principal}, with a key that is no bouncer's,") };
            Ok(Admitted { caller: Some(Caller(principal)), reader: Some(reader) })
        }
        None if for_bouncers => {
            inner.api.metrics.auth_failed("missing");
            Err(no_bouncer())
        }
        None if access.policy == KeyPolicy::Always
            && !needs_no_key(path)
            && !(access.open_probes && is_probe(path)) =>
        {
            inner.api.metrics.auth_failed("missing");
            Err(key_needed())
        }
        None => Ok(Admitted::default()),
    }
}

/// Whether a path is one of CrowdSec's local API, where bouncers ask, and errors are written as it does.
pub(crate) fn is_for_bouncers(path: &str) -> bool {
    path == "/v1" || path.starts_with("/v1/")
}

/// What even those without a key may ask for everywhere: whether the process lives, and what a link leads to, whose
/// token is a key by itself.
fn needs_no_key(path: &str) -> bool {
    path == "/health" || is_link(path)
}

/// What probes and Prometheus ask for beside whether the process lives.
fn is_probe(path: &str) -> bool {
    matches!(path, "/ready" | "/metrics")
}

fn is_link(path: &str) -> bool {
    path.starts_with("/approve/")
}

fn decisions_only(name: &str) -> Problem {
    let detail = format!("the key of the bouncer {name} reads decisions at /v1/decisions, and nothing else");
    Problem::new(Kind::Forbidden, detail)
}

fn wrong_key(inner: &Inner, request: &Request, for_bouncers: bool) -> Problem {
    inner.api.metrics.auth_failed("wrong");
    if !inner.api.access.failed((inner.api.clock)()) {
        let detail = "too many requests with unknown API keys";
        return Problem::new(Kind::TooMany, detail).retry_after(Duration::from_secs(1));
    }
    if for_bouncers {
        let agent = agent(request.headers());
        tracing::warn!(
            agent,
            "a bouncer was refused: its API key is not known here; `vertice bouncers list` has those"
        );
        return no_bouncer();
    }
    Problem::new(Kind::Unauthorized, "this API key is not known here")
}

/// The key that a request brings, if any.
fn presented(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let bad = |detail: &str| Problem::new(Kind::Unauthorized, detail);
    if let Some(value) = headers.get("x-api-key") {
        return value.to_str().map(|key| Some(key.trim())).map_err(|_| bad("X-Api-Key is no text"));
    }
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().map_err(|_| bad("Authorization is no text"))?;
    match text.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(key.trim())),
        Some(_) | None => Err(bad("Authorization must be `Bearer` and an API key")),
    }
}

/// Refuses what a web page of somebody else would send.
fn from_this_machine(request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let forbidden = |detail: String| Problem::new(Kind::Forbidden, detail);
    let named = headers.get(header::HOST).map(|h| h.to_str().unwrap_or("?").to_owned());
    let host = request.uri().authority().map(|a| a.as_str().to_owned()).or(named);
    if let Some(host) = &host
        && !is_loopback_name(host)
    {
        let detail = format!("this listener is for this machine only and does not answer for the host {}", cut(host));
        return Err(forbidden(detail));
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or("?");
        let same = host.as_deref().is_some_and(|h| {
            ["http://", "https://"].iter().any(|s| origin.strip_prefix(s).is_some_and(|o| o.eq_ignore_ascii_case(h)))
        });
        // What only looks is refused too: a page could read the answers once it has rebound its name.
        if !same {
            return Err(forbidden(format!("requests from pages of {} are not allowed", cut(origin))));
        }
    }
    if request.method() == Method::CONNECT {
        return Err(forbidden("this is no proxy".to_owned()));
    }
    Ok(())
}

fn cut(text: &str) -> String {
    format!("{:?}", text.chars().take(80).collect::<String>())
}

/// Whether a host, with or without a port, names this machine by its loopback.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if port.is_empty() || port.starts_with(':') => address,
            Some(_) | None => return false,
        },
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_several_names() {
        for name in ["localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:8000"] {
            assert!(is_loopback_name(name), "{name}");
        }
        for name in [
            "",
            "example.org",
            "localhost.example.org",
            "127.0.0.1.example.org",
            "[::2]",
            "[::1",
            "[::1]x",
            "10.0.0.1",
            "0.0.0.0",
        ] {
            assert!(!is_loopback_name(name), "{name}");
        }
    }

    #[test]
    fn a_key_comes_in_one_of_two_headers() {
        let of = |name: &'static str, value: &'static str| {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
            presented(&headers).map(|k| k.map(str::to_owned)).map_err(|p| p.detail)
        };
        assert_eq!(of("x-api-key", " vk_1 "), Ok(Some("vk_1".into())));
        assert_eq!(of("authorization", "bearer vk_1"), Ok(Some("vk_1".into())));
        assert_eq!(of("cookie", "a=b"), Ok(None));
        assert!(of("authorization", "Basic YTpi").unwrap_err().contains("Bearer"));
        assert!(of("authorization", "vk_1").is_err());
    }
}
