//! One HTTP request to a provider: to the configured host and no other, within a time, with a bounded answer.
//!
//! No redirect is followed, for the key would go along; no proxy of the environment is used. Errors are put into words
//! of our own: the library's may hold a URL or a header.

use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::time::Duration;

use ureq::Agent;
use ureq::http::{HeaderMap, HeaderValue, StatusCode};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use crate::error::{Broken, Why};
use crate::limits;
use crate::secret::Secret;

/// A connection to one provider.
#[derive(Debug)]
pub(crate) struct Http {
    agent: Agent,
    url: String,
}

/// An answer of whatever status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Http {
    /// For so many connections that are kept for the next question.
    pub(crate) fn new(url: String, ca_file: Option<&Path>, connections: usize) -> Result<Http, String> {
        let roots = ca_file.map(certificates).transpose()?.unwrap_or(RootCerts::WebPki);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_connect(Some(limits::CONNECT_TIME))
            .max_response_header_size(limits::HEADER_BYTES_MAX)
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections)
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .user_agent(concat!("vertice/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Http { agent: config.new_agent(), url })
    }

    /// Sends JSON and reads the whole answer, all within the time.
    pub(crate) fn post(&self, headers: &[(&'static str, Secret)], body: &[u8], time: Duration) -> Result<Answer, Why> {
        let mut request = self.agent.post(&self.url).config().timeout_global(Some(time)).build();
        request = request.header("content-type", "application/json").header("accept", "application/json");
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(value.reveal()).map_err(|_| Why::Denied(0))?;
            value.set_sensitive(true);
            request = request.header(*name, value);
        }
        let mut answer = request.send(body).map_err(|e| broken(&e, false))?;
        let status = answer.status();
        let limit = if status.is_success() { limits::ANSWER_BYTES_MAX } else { limits::ERROR_BYTES_MAX };
        let read = answer.body_mut().with_config().limit(limit).read_to_vec();
        let body = match read {
            Ok(body) => body,
            // What is wrong is in the status; the words are only for people.
            Err(_) if !status.is_success() => Vec::new(),
            Err(error) => return Err(broken(&error, true)),
        };
        Ok(Answer { status, headers: answer.headers().clone(), body })
    }
}

/// What an error means. Once an answer began, the question was certainly received.
fn broken(error: &ureq::Error, answered: bool) -> Why {
    let cut = |otherwise| Why::Connection(if answered { Broken::Cut } else { otherwise });
    match error {
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => Why::Connection(Broken::NotMade),
        ureq::Error::Timeout(_) => Why::Late,
        ureq::Error::HostNotFound => Why::Connection(Broken::UnknownHost),
        ureq::Error::BodyExceedsLimit(_) | ureq::Error::LargeResponseHeader(..) => Why::TooLarge,
        ureq::Error::Io(e) => match e.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Why::Late,
            ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::AddrNotAvailable => Why::Connection(Broken::NotMade),
            // So comes what rustls says of a certificate.
            ErrorKind::InvalidData => cut(Broken::Untrusted),
            _ => Why::Connection(Broken::Cut),
        },
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) | ureq::Error::Pem(_) => Why::Connection(Broken::Untrusted),
        ureq::Error::ConnectionFailed => Why::Connection(Broken::NotMade),
        _ => cut(Broken::Cut),
    }
}

fn certificates(path: &Path) -> Result<RootCerts, String> {
    let mut pem = Vec::new();
    let read = std::fs::File::open(path).and_then(|f| f.take(limits::CERTIFICATE_BYTES_MAX).read_to_end(&mut pem));
    read.map_err(|e| format!("reading {}: {e}", path.display()))?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(_) => return Err(format!("{} is not PEM", path.display())),
        }
    }
    if found.is_empty() { Err(format!("{} has no certificate", path.display())) } else { Ok(found.into_iter().into()) }
}
