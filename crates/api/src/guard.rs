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
use crate::keys::{KeyPolicy, is_loopback};
use crate::problem::{Kind, Problem};

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

fn key_needed() -> Problem {
    let detail = "this call needs an API key: send it as `Authorization: Bearer vk_…` or `X-Api-Key: vk_…`";
    Problem::new(Kind::Unauthorized, detail)
}

/// Lets a request in or not.
pub(crate) async fn admit(State(inner): State<Arc<Inner>>, mut request: Request, next: Next) -> Response {
    match judge(&inner, &request) {
        Ok(caller) => {
            if let Some(principal) = caller {
                request.extensions_mut().insert(Caller(principal));
            }
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

fn judge(inner: &Inner, request: &Request) -> Result<Option<Principal>, Problem> {
    let access = &inner.api.access;
    if access.loopback {
        from_this_machine(request)?;
    }
    let caller = match presented(request.headers())? {
        Some(secret) => match access.whose(secret) {
            Some(principal) => Some(principal),
            None => return Err(wrong_key(inner)),
        },
        None => None,
    };
    let public = request.uri().path() == "/health";
    if caller.is_none() && access.policy == KeyPolicy::Always && !public {
        inner.api.metrics.auth_failed("missing");
        return Err(key_needed());
    }
    Ok(caller)
}

fn wrong_key(inner: &Inner) -> Problem {
    inner.api.metrics.auth_failed("wrong");
    if inner.api.access.failed((inner.api.clock)()) {
        Problem::new(Kind::Unauthorized, "this API key is not known here")
    } else {
        Problem::new(Kind::TooMany, "too many requests with unknown API keys").retry_after(Duration::from_secs(1))
    }
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
