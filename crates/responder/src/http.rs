//! One HTTP request, to exactly the host that was asked for: no proxy of the environment, no redirect followed, no
//! connection used twice, within a time, and with an answer of which only the status is wanted.
//!
//! What matters most about a request that failed is whether the other side may have had it. The connection is
//! watched for that: until the first byte of the request goes out (the TLS handshake is over by then), nothing can
//! have happened.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;
use ureq::http::{self, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::Resolver;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport};

use crate::{Failure, limits};

/// What is sent.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) time: Duration,
    pub(crate) ca_file: Option<&'a Path>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The request did not leave us.
    NotSent(Failure),
    /// It may have arrived.
    Sent(String),
}

/// Sends, and gives the status of the answer.
pub(crate) fn status(request: Request<'_>, resolver: impl Resolver) -> Result<u16, Unanswered> {
    let not_sent = |reason: String| Unanswered::NotSent(Failure::Final(reason));
    let roots = request.ca_file.map(certificates).transpose().map_err(not_sent)?.unwrap_or(RootCerts::WebPki);
    let config = Config::builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_global(Some(request.time))
        .max_response_header_size(limits::ANSWER_BYTES_MAX)
        .max_idle_connections(0)
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .user_agent(concat!("vertice/", env!("CARGO_PKG_VERSION")))
        .build();
    let sent = Arc::new(AtomicBool::new(false));
    let agent = Agent::with_parts(config, DefaultConnector::default().chain(Watch(Arc::clone(&sent))), resolver);
    let mut built = http::Request::builder().method(request.method).uri(request.uri);
    for (name, value) in request.headers {
        built = built.header(name, value);
    }
    let answer = match request.body {
        Some(body) => built.body(body).map_err(ureq::Error::Http).and_then(|r| agent.run(r)),
        None => built.body(()).map_err(ureq::Error::Http).and_then(|r| agent.run(r)),
    };
    answer.map(|answer| answer.status().as_u16()).map_err(|e| match (sent.load(Ordering::Acquire), why(&e)) {
        (true, (reason, _)) => Unanswered::Sent(reason),
        (false, (reason, true)) => Unanswered::NotSent(Failure::Retry(reason)),
        (false, (reason, false)) => Unanswered::NotSent(Failure::Final(reason)),
    })
}

/// What an error says, and whether trying again may help. The library's own words are not used: they may hold the
/// URL, and who knows a webhook's URL can write there.
fn why(error: &ureq::Error) -> (String, bool) {
    match error {
        ureq::Error::Timeout(_) => ("there was no answer in time".to_owned(), true),
        ureq::Error::HostNotFound => ("the host's name is not known".to_owned(), true),
        ureq::Error::Io(e) => match e.kind() {
            // Only our own resolvers say this.
            ErrorKind::PermissionDenied => (e.to_string(), false),
            // So comes what rustls says of a certificate.
            ErrorKind::InvalidData => (format!("the connection can not be trusted: {e}"), false),
            _ => (e.to_string(), true),
        },
        ureq::Error::Rustls(e) => (format!("the connection can not be trusted: {e}"), false),
        ureq::Error::Http(_) | ureq::Error::BadUri(_) => ("it can not be written as a request".to_owned(), false),
        _ => ("there was no proper HTTP answer".to_owned(), true),
    }
}

fn certificates(path: &Path) -> Result<RootCerts, String> {
    let pem = pem(path)?;
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

/// The bytes of a file of certificates.
pub(crate) fn pem(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|f| f.take(limits::CERTIFICATE_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|e| format!("reading {}: {e}", path.display()))?;
    if bytes.len() as u64 > limits::CERTIFICATE_BYTES_MAX {
        return Err(format!("{} is over {} bytes", path.display(), limits::CERTIFICATE_BYTES_MAX));
    }
    Ok(bytes)
}

/// A refusal of our own resolvers, which [`why`] passes on.
pub(crate) fn refused(reason: String) -> ureq::Error {
    ureq::Error::Io(io::Error::new(ErrorKind::PermissionDenied, reason))
}

/// Notes when the first byte of a request goes out.
#[derive(Debug)]
struct Watch(Arc<AtomicBool>);

impl<In: Transport> Connector<In> for Watch {
    type Out = Watched<In>;

    fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Watched<In>>, ureq::Error> {
        Ok(chained.map(|inner| Watched { inner, sent: Arc::clone(&self.0) }))
    }
}

#[derive(Debug)]
struct Watched<T> {
    inner: T,
    sent: Arc<AtomicBool>,
}

impl<T: Transport> Transport for Watched<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.sent.store(true, Ordering::Release);
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
