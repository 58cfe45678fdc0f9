//! Mail, by SMTP. A server that takes a message (250 after its last line) has delivered it as far as we can tell.
//!
//! The conversation is held on a thread of its own, so that a server that dawdles can be left: whoever comes first,
//! the thread that is about to hand the message over or we who wait no longer, decides ([`Stage`]) whether it was
//! sent. What is left dies at its next time-out, and hands nothing over any more.
//!
//! Headers can not be injected: texts go into them on one line and encoded, addresses are parsed.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use lettre::message::header::{ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0};
use lettre::message::{Mailbox, Message as Mail};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, CertificateStore, SmtpConnection, TlsParameters};
use lettre::transport::smtp::commands;
use lettre::transport::smtp::extension::ClientId;

use super::{Message, shown};
use crate::settings::{MailAddress, Notification, Security, Smtp, is_host_name};
use crate::{Failure, http, limits, text};

/// Sends, within a time.
pub(super) fn send(
    settings: &Notification,
    to: &MailAddress,
    message: &Message,
    time: Duration,
) -> Result<(), Failure> {
    check(settings)?;
    let smtp = server(settings)?;
    let letter = Letter {
        mail: written(smtp, to, message)?,
        tls: tls(settings, smtp)?,
        login: login(smtp)?,
        smtp: smtp.clone(),
        time,
    };
    let stage = Arc::new(Stage(AtomicU8::new(BEFORE)));
    let (answers, answer) = mpsc::sync_channel(1);
    let theirs = Arc::clone(&stage);
    let thread = std::thread::Builder::new().name("smtp".to_owned()).spawn(move || letter.hand_over(&theirs, &answers));
    thread.map_err(|e| Failure::Retry(format!("starting a thread: {e}")))?;
    let at = format!("the mail server {}", smtp.host);
    match answer.recv_timeout(time) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failure)) => Err(failure),
        Err(_) if stage.leave() => Err(Failure::Retry(format!("{at} was not ready in time"))),
        Err(_) => Err(Failure::Unknown(format!("{at} was sent it, and there was no answer in time"))),
    }
}

/// Whether mail can be sent, as far as that can be seen without sending any.
pub(super) fn check(settings: &Notification) -> Result<(), Failure> {
    let smtp = server(settings)?;
    let key = "response.notification.smtp.password";
    match (&smtp.user, &smtp.password) {
        (Some(_), Some(password)) => password.is_kept_elsewhere(key),
        (None, None) => Ok(()),
        (Some(_), None) => Err(Failure::Final(format!("{key} is missing beside user"))),
        (None, Some(_)) => Err(Failure::Final(format!("{key} is set, and user is not"))),
    }
}

fn server(settings: &Notification) -> Result<&Smtp, Failure> {
    let wrong = |what: &str| Failure::Final(what.to_owned());
    let smtp = settings.smtp.as_ref();
    let smtp = smtp.ok_or_else(|| wrong("no mail server is configured: set [response.notification.smtp]"))?;
    if smtp.hello.as_deref().is_some_and(|name| !is_host_name(name)) {
        return Err(wrong("response.notification.smtp.hello is no name of a host"));
    }
    Ok(smtp)
}

const BEFORE: u8 = 0;
const HANDED_OVER: u8 = 1;
const LEFT: u8 = 2;

/// How far a message is: nothing of it was handed over; it is being handed over; or it was given up before that.
struct Stage(AtomicU8);

impl Stage {
    /// Begins to hand over; `false` if nobody waits for it any more.
    fn begin(&self) -> bool {
        self.0.compare_exchange(BEFORE, HANDED_OVER, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Gives it up; `false` if it is being handed over.
    fn leave(&self) -> bool {
        self.0.compare_exchange(BEFORE, LEFT, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// A message and the way to its server.
struct Letter {
    mail: Mail,
    tls: TlsParameters,
    login: Option<Credentials>,
    smtp: Smtp,
    time: Duration,
}

impl Letter {
    fn hand_over(&self, stage: &Stage, answers: &mpsc::SyncSender<Result<(), Failure>>) {
        let (mut server, answer) = match self.ready() {
            Ok(mut server) if stage.begin() => {
                let taken = server.message(&self.mail.formatted()).map(drop);
                let answer = taken.map_err(|e| match e.status() {
                    Some(_) => self.refused(&e, "the message"),
                    None => Failure::Unknown(format!(
                        "the mail server {} was sent it, and there was no proper answer",
                        self.smtp.host
                    )),
                });
                (Some(server), answer)
            }
            Ok(server) => (Some(server), Err(Failure::Retry("it was given up".to_owned()))),
            Err(failure) => (None, Err(failure)),
        };
        // Nobody receives it where it came too late; then whoever waited has given its own answer.
        let _ = answers.send(answer);
        if let Some(server) = &mut server {
            server.abort();
        }
    }

    /// A connection on which all is said but the message itself.
    fn ready(&self) -> Result<SmtpConnection, Failure> {
        let smtp = &self.smtp;
        let addresses = self.addresses()?;
        let hello = smtp.hello.clone().map_or_else(ClientId::default, ClientId::Domain);
        let first = (smtp.security == Security::Tls).then_some(&self.tls);
        let time = Some(self.time.min(limits::CONNECT_TIME));
        let connected = SmtpConnection::connect(&addresses[..], time, &hello, first, None);
        let mut server = connected.map_err(|e| self.refused(&e, "the connection"))?;
        server.set_timeout(Some(self.time)).map_err(|e| Failure::Retry(format!("{}: {e}", smtp.host)))?;
        if smtp.security == Security::StartTls {
            if !server.can_starttls() {
                return Err(Failure::Final(format!(
                    "the mail server {} offers no STARTTLS, so nothing is said to it: see \
                     response.notification.smtp.security",
                    smtp.host
                )));
            }
            server.starttls(&self.tls, &hello).map_err(|e| self.refused(&e, "STARTTLS"))?;
        }
        if let Some(login) = &self.login {
            let ways = [Mechanism::Plain, Mechanism::Login];
            server.auth(&ways, login).map_err(|e| self.refused(&e, "the login"))?;
        }
        let envelope = self.mail.envelope();
        let from = commands::Mail::new(envelope.from().cloned(), Vec::new());
        server.command(from).map_err(|e| self.refused(&e, "the sender"))?;
        for to in envelope.to() {
            let to = commands::Rcpt::new(to.clone(), Vec::new());
            server.command(to).map_err(|e| self.refused(&e, "the recipient"))?;
        }
        server.command(commands::Data).map_err(|e| self.refused(&e, "the message"))?;
        Ok(server)
    }

    fn addresses(&self) -> Result<Vec<SocketAddr>, Failure> {
        let smtp = &self.smtp;
        let port = smtp.port.unwrap_or(match smtp.security {
            Security::StartTls => 587,
            Security::Tls => 465,
            Security::Plain => 25,
        });
        let found = (smtp.host.as_str(), port).to_socket_addrs();
        let found: Vec<_> =
            found.map_err(|e| Failure::Retry(format!("resolving the mail server {}: {e}", smtp.host)))?.collect();
        let is_here = found.iter().all(|at| at.ip().to_canonical().is_loopback());
        if smtp.security == Security::Plain && !smtp.allow_plain && !is_here {
            return Err(Failure::Final(format!(
                "the mail server {} is reached over a network, which others can read: set security to \"starttls\" or \
                 \"tls\" in [response.notification.smtp], or allow_plain",
                smtp.host
            )));
        }
        Ok(found)
    }

    /// Before the message is handed over, nothing has happened. The server's words are shown, but not those to a
    /// login, which might repeat it.
    fn refused(&self, error: &Error, what: &str) -> Failure {
        let said = match error.status() {
            Some(code) if what == "the login" => format!("answered {code} to {what}"),
            Some(_) => format!("refused {what}: {error}"),
            None if error.is_timeout() => format!("did not answer in time to {what}"),
            None if what == "the login" && error.is_client() => format!("has no way for {what} that we know"),
            None => format!("failed at {what}: {error}"),
        };
        let said = text::line(&format!("the mail server {} {said}", self.smtp.host), limits::WORDS_CHARS_MAX);
        let is_final = error.is_permanent() || error.is_tls() || error.is_client();
        if is_final { Failure::Final(said) } else { Failure::Retry(said) }
    }
}

fn written(smtp: &Smtp, to: &MailAddress, message: &Message) -> Result<Mail, Failure> {
    let (title, mut body) = shown(message);
    if let Some(link) = &message.link {
        body = format!("{body}\n\nAnswer: {link}");
    }
    let subject = text::line(&format!("{title}: {}", message.text), limits::TITLE_CHARS_MAX);
    let from = smtp.from.get();
    let seconds = u64::try_from(message.at.as_micros()).unwrap_or_default() / 1_000_000;
    // No machine is to answer it (RFC 3834).
    let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    let mail = Mail::builder()
        .from(Mailbox::new(Some("Vertice".to_owned()), from.clone()))
        .to(Mailbox::new(None, to.get().clone()))
        .subject(subject)
        .message_id(Some(format!("<{}@{}>", message.id, from.domain())))
        .date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        .raw_header(automatic)
        .header(MIME_VERSION_1_0)
        .header(ContentType::TEXT_PLAIN)
        .body(body);
    mail.map_err(|e| Failure::Final(format!("writing the mail: {e}")))
}

fn tls(settings: &Notification, smtp: &Smtp) -> Result<TlsParameters, Failure> {
    let mut tls = TlsParameters::builder(smtp.host.clone());
    if let Some(path) = &settings.ca_file {
        let certificate = http::pem(path).map_err(Failure::Final)?;
        let certificate = Certificate::from_pem(&certificate)
            .map_err(|_| Failure::Final(format!("{} has no certificate", path.display())))?;
        tls = tls.certificate_store(CertificateStore::None).add_root_certificate(certificate);
    }
    tls.build_rustls().map_err(|e| Failure::Final(format!("response.notification.smtp.host: {e}")))
}

fn login(smtp: &Smtp) -> Result<Option<Credentials>, Failure> {
    let (Some(user), Some(password)) = (&smtp.user, &smtp.password) else { return Ok(None) };
    let password = password.read_secret("response.notification.smtp.password")?;
    Ok(Some(Credentials::new(user.clone(), password)))
}
