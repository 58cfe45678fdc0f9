//! `http_request`: calls another system.
//!
//! Only hosts of the configuration's list are called, by https unless the list says otherwise. A playbook may fill a
//! path or a body from an attacker's words, so the rest is closed: the name is resolved once, every address that it
//! has must be public or be on the list itself, and the connection goes to exactly those ([`Guarded`]); redirects are
//! answers and not followed; credentials in a URL are refused.
//!
//! GET, PUT and DELETE are idempotent (RFC 9110, section 9.2.2): one that may have arrived is repeated. A POST that
//! may have arrived is unknown and waits for a person. All carry the order's id as `Idempotency-Key`.

use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use vertice_model::HttpRequest;

use crate::http::{Unanswered, refused};
use crate::settings::AllowedHost;
use crate::{Failure, Hand, Seen, address, http, limits, once};

#[cfg(test)]
mod tests;

pub(crate) fn apply(hand: &Hand<'_>, action: &HttpRequest) -> Result<String, Failure> {
    call(hand, action, &action.url, DefaultResolver::default())
}

pub(crate) fn observe(hand: &Hand<'_>, action: &HttpRequest) -> Result<Seen, Failure> {
    once::seen(hand, is_idempotent(action), "request_accepted")
}

pub(crate) fn undo(hand: &Hand<'_>, action: &HttpRequest) -> Result<String, Failure> {
    match &action.undo_url {
        Some(url) => call(hand, action, url, DefaultResolver::default()),
        None => Err(Failure::Final("the playbook gives no undo_url for it".to_owned())),
    }
}

fn is_idempotent(action: &HttpRequest) -> bool {
    matches!(action.method.as_str(), "GET" | "PUT" | "DELETE")
}

fn call(hand: &Hand<'_>, action: &HttpRequest, url: &str, resolver: impl Resolver) -> Result<String, Failure> {
    let settings = &hand.settings.http_request;
    let (uri, host) = target(url, &settings.hosts)?;
    let body = body(action)?;
    let kind = body.map(|body| match serde_json::from_str::<serde::de::IgnoredAny>(body) {
        Ok(_) => "application/json",
        Err(_) => "text/plain; charset=utf-8",
    });
    let mut headers = vec![("idempotency-key", hand.order.order_id.to_string())];
    headers.extend(kind.map(|kind| ("content-type", kind.to_owned())));
    once::send(hand, is_idempotent(action), || {
        let request = http::Request {
            method: &action.method,
            uri: &uri,
            headers,
            body: body.map(|body| body.as_bytes().to_vec()),
            time: Duration::from_secs(hand.order.timeout_s.max(1)),
            ca_file: settings.ca_file.as_deref(),
        };
        let resolver = Guarded { inner: resolver, hosts: settings.hosts.clone() };
        judged(http::status(request, resolver), is_idempotent(action), &format!("{} {host}", action.method))
    })
}

/// What an answer means for the order.
fn judged(answer: Result<u16, Unanswered>, is_idempotent: bool, what: &str) -> Result<String, Failure> {
    let said = |status: u16| format!("{what} answered {status}");
    match answer {
        Ok(status @ 200..=299) => Ok(said(status)),
        Ok(status @ 300..=399) => Err(Failure::Final(format!("{}, and redirects are not followed", said(status)))),
        // It was turned away before it was looked at (RFC 9110, sections 15.5.9 and 15.6.4; RFC 6585; RFC 8470).
        Ok(status @ (408 | 425 | 429 | 503)) => Err(Failure::Retry(said(status))),
        Ok(status @ (500 | 502 | 504 | 505..)) if is_idempotent => Err(Failure::Retry(said(status))),
        // Something broke on the way, and how far it had come by then is not known.
        Ok(status @ (500 | 502 | 504 | 506..)) => Err(Failure::Unknown(said(status))),
        Ok(status) => Err(Failure::Final(said(status))),
        Err(Unanswered::NotSent(Failure::Retry(reason))) => Err(Failure::Retry(format!("{what}: {reason}"))),
        Err(Unanswered::NotSent(failure)) => Err(Failure::Final(format!("{what}: {failure}"))),
        Err(Unanswered::Sent(reason)) if is_idempotent => Err(Failure::Retry(format!("{what}: {reason}"))),
        Err(Unanswered::Sent(reason)) => Err(Failure::Unknown(format!("{what}: it was sent, and {reason}"))),
    }
}

/// The URL, if its host may be called.
fn target(url: &str, hosts: &[AllowedHost]) -> Result<(Uri, AllowedHost), Failure> {
    let wrong = |what: &str| Failure::Final(format!("the url {what}"));
    let uri: Uri = url.parse().map_err(|_| wrong("can not be read"))?;
    let tls = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        Some(_) | None => return Err(wrong("begins neither with https:// nor with http://")),
    };
    let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("holds a user name, which is sent nowhere"));
    }
    let host = AllowedHost::new(tls, authority.host(), authority.port_u16()).ok_or_else(|| wrong("names no host"))?;
    if !hosts.contains(&host) {
        return Err(Failure::Final(format!("{host} is not among response.http_request.hosts")));
    }
    Ok((uri, host))
}

fn body(action: &HttpRequest) -> Result<Option<&str>, Failure> {
    match (action.method.as_str(), action.body.as_deref()) {
        ("GET" | "DELETE", None) => Ok(None),
        // What a body means there is defined nowhere (RFC 9110, sections 9.3.1 and 9.3.5).
        ("GET" | "DELETE", Some(_)) => Err(Failure::Final(format!("a {} carries no body", action.method))),
        ("POST" | "PUT", body) if body.unwrap_or_default().len() > limits::BODY_BYTES_MAX => {
            Err(Failure::Final(format!("the body is over {} bytes", limits::BODY_BYTES_MAX)))
        }
        ("POST" | "PUT", body) => Ok(Some(body.unwrap_or_default())),
        (method, _) => Err(Failure::Final(format!("the method is {method:?}, and is GET, POST, PUT or DELETE"))),
    }
}

/// Resolves a name, once for the one connection there is, and refuses it if any of its addresses may not be reached.
#[derive(Debug)]
struct Guarded<R> {
    inner: R,
    hosts: Vec<AllowedHost>,
}

impl<R: Resolver> Resolver for Guarded<R> {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        for at in &found {
            let ip = at.ip().to_canonical();
            let is_named = self.hosts.iter().any(|h| h.address() == Some(ip) && h.port() == at.port());
            if !is_named && !address::is_public(ip) {
                return Err(refused(format!(
                    "its address is {ip}, which is not of the public Internet, and response.http_request.hosts does \
                     not name it"
                )));
            }
        }
        Ok(found)
    }
}
