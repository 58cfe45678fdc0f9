//! `notification`: tells people, and asks them.
//!
//! Receivers have names in the configuration (`[response.notification.to.NAME]`) and are of three kinds: a webhook
//! that takes Slack's shape ([`slack`]), one that takes signed JSON ([`webhook`]), and a mailbox ([`email`]). What is
//! told may hold an attacker's words, so each makes them harmless in its own way.
//!
//! A message can not be observed. What the server answered is kept ([`once`](crate::once)): it was delivered when the
//! server accepted it. One that was being sent when we were killed is unknown, unless its receiver drops repeats.

mod email;
mod slack;
#[cfg(test)]
mod tests;
mod webhook;

use std::time::Duration;

use ureq::http::Uri;
use ureq::unversioned::resolver::DefaultResolver;
use vertice_model::{Notification, Task, Timestamp};

use crate::http::{self, Unanswered};
use crate::keep::name_of;
use crate::settings::{AllowedHost, Hidden, Receiver};
use crate::{Failure, Hand, Seen, Settings, limits, once, text};

/// What is told.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Message {
    /// The same for a repeat of the same message: receivers may drop what they had before.
    id: String,
    kind: Kind,
    title: String,
    text: String,
    /// Where it is answered.
    link: Option<Uri>,
    at: Timestamp,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Notification,
    TakenBack,
    Question,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Kind::Notification => "notification",
            Kind::TakenBack => "taken_back",
            Kind::Question => "question",
        }
    }
}

/// Someone who can be told, as the configuration has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Told {
    /// The name.
    pub name: String,
    /// `slack`, `webhook` or `email`.
    pub channel: &'static str,
    /// Whether it is told what the channel is told without a name.
    pub is_default: bool,
}

/// Everybody who can be told, by name.
#[must_use]
pub fn receivers(settings: &Settings) -> Vec<Told> {
    let told = |(name, receiver): (&String, &Receiver)| Told {
        name: name.clone(),
        channel: receiver.channel(),
        is_default: default_of(settings, receiver.channel()).is_ok_and(|(default, _)| default == name),
    };
    settings.notification.to.iter().map(told).collect()
}

/// Asks one person, by a receiver's name, with the link to answer by. The same question at the same link has the
/// same id, so that a receiver can drop a repeat.
///
/// # Errors
/// When there is no such receiver, the link is none, or the server did not take it. [`Failure::Unknown`] says that
/// it may have arrived.
pub fn ask(settings: &Settings, to: &str, title: &str, text: &str, link: &str, now: Timestamp) -> Result<(), Failure> {
    let receiver = named(settings, to)?;
    let message = Message {
        id: name_of("question", &(to, title, text, link)),
        kind: Kind::Question,
        title: title.to_owned(),
        text: text.to_owned(),
        link: Some(answered_at(link)?),
        at: now,
    };
    tell(settings, (to, receiver), &message, limits::ASK_TIME).map(drop)
}

/// Whether everybody who is configured can be told, as far as that can be seen without telling them.
pub(crate) fn check(settings: &Settings) -> Result<(), Failure> {
    for (name, receiver) in &settings.notification.to {
        let section = format!("response.notification.to.{name}");
        match receiver {
            Receiver::Slack(to) => written_out(&to.url, to.allow_plain, &section)?,
            Receiver::Webhook(to) => {
                written_out(&to.url, to.allow_plain, &section)?;
                to.secret.is_kept_elsewhere(&format!("{section}.secret"))?;
            }
            Receiver::Email(_) => email::check(&settings.notification)?,
        }
        if receiver.is_default() {
            default_of(settings, receiver.channel())?;
        }
    }
    Ok(())
}

fn written_out(url: &Hidden, allow_plain: bool, section: &str) -> Result<(), Failure> {
    match url {
        Hidden::Text(_) => webhook_url(url, allow_plain, section).map(drop),
        Hidden::Env { .. } | Hidden::File { .. } => Ok(()),
    }
}

pub(crate) fn apply(hand: &Hand<'_>, action: &Notification) -> Result<String, Failure> {
    let (name, receiver) = receiver(hand.settings, action)?;
    if action.to.is_none() {
        // Whoever is told first is told later that it was taken back, whatever the configuration says by then.
        once::beside(hand)?.put(&name_of("told", action), &name)?;
    }
    carry(hand, action, (name, receiver))
}

pub(crate) fn observe(hand: &Hand<'_>, action: &Notification) -> Result<Seen, Failure> {
    let receiver = match hand.order.task {
        Task::Apply => receiver(hand.settings, action),
        Task::Undo => told_before(hand, action),
    };
    once::seen(hand, receiver.is_ok_and(|(_, receiver)| receiver.drops_repeats()), "message_delivered")
}

pub(crate) fn undo(hand: &Hand<'_>, action: &Notification) -> Result<String, Failure> {
    carry(hand, action, told_before(hand, action)?)
}

fn carry(hand: &Hand<'_>, action: &Notification, to: (&str, &Receiver)) -> Result<String, Failure> {
    let (kind, title, said) = match hand.order.task {
        Task::Apply => (Kind::Notification, "Vertice", action.message.clone()),
        Task::Undo => (Kind::TakenBack, "Vertice: taken back", format!("Taken back: {}", action.message)),
    };
    let message = Message {
        id: hand.order.order_id.to_string(),
        kind,
        title: title.to_owned(),
        text: said,
        link: None,
        at: hand.now,
    };
    let time = Duration::from_secs(hand.order.timeout_s.max(1));
    once::send(hand, to.1.drops_repeats(), || tell(hand.settings, to, &message, time))
}

impl Receiver {
    const fn channel(&self) -> &'static str {
        match self {
            Receiver::Slack(_) => "slack",
            Receiver::Webhook(_) => "webhook",
            Receiver::Email(_) => "email",
        }
    }

    const fn is_default(&self) -> bool {
        match self {
            Receiver::Slack(r) => r.default,
            Receiver::Webhook(r) => r.default,
            Receiver::Email(r) => r.default,
        }
    }

    const fn drops_repeats(&self) -> bool {
        match self {
            Receiver::Webhook(r) => r.honours_key,
            Receiver::Slack(_) | Receiver::Email(_) => false,
        }
    }
}

fn named<'a>(settings: &'a Settings, name: &str) -> Result<&'a Receiver, Failure> {
    settings.notification.to.get(name).ok_or_else(|| {
        let names: Vec<_> = settings.notification.to.keys().map(String::as_str).collect();
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Failure::Final(format!("there is no [response.notification.to.{name}] in the configuration; there is {known}"))
    })
}

/// The one of a channel that is marked as its default, or its only one.
fn default_of<'a>(settings: &'a Settings, channel: &str) -> Result<(&'a str, &'a Receiver), Failure> {
    let all = || settings.notification.to.iter().filter(|(_, r)| r.channel() == channel);
    let marked: Vec<_> = all().filter(|(_, r)| r.is_default()).collect();
    let found = if marked.is_empty() { all().collect() } else { marked };
    match found[..] {
        [(name, receiver)] => Ok((name, receiver)),
        [] => Err(Failure::Final(format!(
            "nobody is configured for {channel}: set [response.notification.to.NAME] with kind = \"{channel}\""
        ))),
        _ => Err(Failure::Final(format!(
            "several are configured for {channel}: set default = true in one [response.notification.to.NAME]"
        ))),
    }
}

fn receiver<'a>(settings: &'a Settings, action: &'a Notification) -> Result<(&'a str, &'a Receiver), Failure> {
    let Some(name) = action.to.as_deref() else { return default_of(settings, &action.channel) };
    let found = named(settings, name)?;
    if found.channel() == action.channel {
        return Ok((name, found));
    }
    let (is, wanted) = (found.channel(), &action.channel);
    Err(Failure::Final(format!("[response.notification.to.{name}] is of kind {is}, and the playbook says {wanted}")))
}

/// Whoever was told first.
fn told_before<'a>(hand: &Hand<'a>, action: &'a Notification) -> Result<(&'a str, &'a Receiver), Failure> {
    if action.to.is_none()
        && let Some(name) = once::beside(hand)?.get::<String>(&name_of("told", action))?
        && let Some((name, receiver)) = hand.settings.notification.to.get_key_value(&name)
    {
        return Ok((name, receiver));
    }
    receiver(hand.settings, action)
}

/// A link that is made of nothing that means something else where it is shown.
fn answered_at(link: &str) -> Result<Uri, Failure> {
    let wrong = || Failure::Final("the link to answer by is no URL".to_owned());
    let is_fine = |b: u8| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'|' | b'"' | b'\\');
    if link.len() > limits::LINK_BYTES_MAX || !link.bytes().all(is_fine) {
        return Err(wrong());
    }
    let uri: Uri = link.parse().map_err(|_| wrong())?;
    let is_web = matches!(uri.scheme_str(), Some("https" | "http"));
    if is_web && uri.host().is_some() { Ok(uri) } else { Err(wrong()) }
}

fn tell(
    settings: &Settings,
    (name, receiver): (&str, &Receiver),
    message: &Message,
    time: Duration,
) -> Result<String, Failure> {
    let section = format!("response.notification.to.{name}");
    match receiver {
        Receiver::Slack(to) => {
            let uri = webhook_url(&to.url, to.allow_plain, &section)?;
            let headers = vec![("content-type", "application/json".to_owned())];
            post(settings, name, &uri, headers, slack::body(message), time)
        }
        Receiver::Webhook(to) => {
            let uri = webhook_url(&to.url, to.allow_plain, &section)?;
            let secret = to.secret.read_secret(&format!("{section}.secret"))?;
            let body = webhook::body(message);
            let headers = webhook::headers(message, &body, &secret, &section)?;
            post(settings, name, &uri, headers, body, time)
        }
        Receiver::Email(to) => email::send(&settings.notification, &to.address, message, time)
            .map(|()| format!("the mail server took it for {name}")),
    }
}

/// The URL of a webhook. It is a secret, so errors name its key and not itself.
fn webhook_url(url: &Hidden, allow_plain: bool, section: &str) -> Result<Uri, Failure> {
    let wrong = |what: &str| Failure::Final(format!("{section}.url {what}"));
    let uri: Uri = url.read(&format!("{section}.url"))?.parse().map_err(|_| wrong("is no URL"))?;
    let host = uri.host().ok_or_else(|| wrong("names no host"))?;
    let is_loopback = AllowedHost::new(false, host, None).and_then(|h| h.address()).is_some_and(|ip| ip.is_loopback());
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if is_loopback || allow_plain => Ok(uri),
        Some("http") => Err(wrong("begins with http://, which others can read: use https://, or set allow_plain")),
        Some(_) | None => Err(wrong("does not begin with https://")),
    }
}

fn post(
    settings: &Settings,
    name: &str,
    uri: &Uri,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    time: Duration,
) -> Result<String, Failure> {
    let ca_file = settings.notification.ca_file.as_deref();
    let request = http::Request { method: "POST", uri, headers, body: Some(body), time, ca_file };
    match http::status(request, DefaultResolver::default()) {
        Ok(status @ 200..=299) => Ok(format!("{name} answered {status}")),
        Ok(status @ (408 | 425 | 429 | 500..)) => Err(Failure::Retry(format!("{name} answered {status}"))),
        Ok(status) => Err(Failure::Final(format!("{name} answered {status}"))),
        Err(Unanswered::NotSent(Failure::Retry(reason))) => Err(Failure::Retry(format!("telling {name}: {reason}"))),
        Err(Unanswered::NotSent(failure)) => Err(Failure::Final(format!("telling {name}: {failure}"))),
        Err(Unanswered::Sent(reason)) => Err(Failure::Unknown(format!("{name} was sent it, and {reason}"))),
    }
}

/// The title and the text, harmless to show.
fn shown(message: &Message) -> (String, String) {
    (text::line(&message.title, limits::TITLE_CHARS_MAX), text::plain(&message.text, limits::MESSAGE_CHARS_MAX))
}
