//! The sections of the verbs that talk to other systems: `[response.notification]`, `[response.http_request]` and
//! `[response.remote_command]`. No secret is ever shown: neither by `Debug`, nor by `Serialize`, nor in an error.
//!
//! An example of each:
#![doc = concat!("```toml\n", include_str!("outward.toml"), "```")]

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

use crate::{Failure, limits};

/// `notification`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notification {
    /// Whether it may act once the mode is live.
    pub enabled: bool,
    /// A PEM file of certificates that are trusted, instead of the usual ones.
    pub ca_file: Option<PathBuf>,
    /// How mail is sent.
    pub smtp: Option<Smtp>,
    /// Who can be told, by name.
    pub to: BTreeMap<String, Receiver>,
}

/// Someone who can be told.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Receiver {
    /// A webhook that takes messages in Slack's shape.
    Slack(Slack),
    /// A webhook that takes signed JSON.
    Webhook(Webhook),
    /// A mailbox.
    Email(Email),
}

/// A webhook that takes messages in Slack's shape.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Slack {
    /// Where; whoever knows it can write there.
    pub url: Hidden,
    /// Whether it is told what names nobody.
    #[serde(default)]
    pub default: bool,
    /// Whether `http://` is allowed to where others can listen.
    #[serde(default)]
    pub allow_plain: bool,
}

/// A webhook that takes signed JSON.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where.
    pub url: Hidden,
    /// What messages are signed with, from an environment variable or a file: a text, or base64 after `whsec_`.
    pub secret: Hidden,
    /// Whether the receiver drops a message whose `webhook-id` it had before. Then one that may have been delivered
    /// when we were killed is sent once more.
    #[serde(default)]
    pub honours_key: bool,
    /// Whether it is told what names nobody.
    #[serde(default)]
    pub default: bool,
    /// Whether `http://` is allowed to where others can listen.
    #[serde(default)]
    pub allow_plain: bool,
}

/// A mailbox.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Email {
    /// Whose.
    pub address: MailAddress,
    /// Whether it is told what names nobody.
    #[serde(default)]
    pub default: bool,
}

/// How mail is sent.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    /// The server.
    pub host: String,
    /// Its port; by default 587, 465 or 25, as the security has it.
    pub port: Option<u16>,
    /// How the connection is protected.
    #[serde(default)]
    pub security: Security,
    /// Whether `plain` is allowed to where others can listen.
    #[serde(default)]
    pub allow_plain: bool,
    /// Whom mail is from.
    pub from: MailAddress,
    /// The account, if the server wants one.
    pub user: Option<String>,
    /// Its password, from an environment variable or a file.
    pub password: Option<Hidden>,
    /// What we call ourselves to the server.
    pub hello: Option<String>,
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// It begins in the open and is encrypted before anything is said; without that, nothing is sent.
    #[default]
    StartTls,
    /// It is encrypted from the first byte.
    Tls,
    /// Not at all: to a loopback address, or where `allow_plain` is set.
    Plain,
}

/// An address of mail.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(into = "String", try_from = "String")]
pub struct MailAddress(lettre::Address);

impl MailAddress {
    pub(crate) fn get(&self) -> &lettre::Address {
        &self.0
    }
}

impl TryFrom<String> for MailAddress {
    type Error = String;

    fn try_from(text: String) -> Result<MailAddress, String> {
        let address = text.parse().map_err(|_| format!("{text:?} is no mail address such as ana@example.org"))?;
        Ok(MailAddress(address))
    }
}

impl From<MailAddress> for String {
    fn from(address: MailAddress) -> String {
        address.0.to_string()
    }
}

/// A text that is never shown: written out, or where it is taken from when it is needed.
#[derive(Clone, Deserialize, Eq, PartialEq)]
#[serde(expecting = "a text, { env = \"NAME\" } or { file = \"PATH\" }", untagged)]
pub enum Hidden {
    /// Written out.
    Text(String),
    /// In an environment variable.
    Env {
        /// Its name.
        env: String,
    },
    /// In a file.
    File {
        /// Its path.
        file: PathBuf,
    },
}

impl Hidden {
    /// What it is. `key` names it in errors.
    pub fn read(&self, key: &str) -> Result<String, Failure> {
        let wrong = |what: String| Failure::Final(format!("{key}: {what}"));
        let text = match self {
            Hidden::Text(text) => text.clone(),
            Hidden::Env { env } => {
                std::env::var(env).map_err(|_| wrong(format!("the environment variable {env} is not set")))?
            }
            Hidden::File { file } => {
                let mut text = String::new();
                let read =
                    File::open(file).and_then(|f| f.take(limits::SECRET_BYTES_MAX + 1).read_to_string(&mut text));
                read.map_err(|e| wrong(format!("reading {}: {e}", file.display())))?;
                if text.len() as u64 > limits::SECRET_BYTES_MAX {
                    return Err(wrong(format!("{} is over {} bytes", file.display(), limits::SECRET_BYTES_MAX)));
                }
                text
            }
        };
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(wrong("it is empty".to_owned())),
            text => Ok(text.to_owned()),
        }
    }

    /// What it is, of something that must not stand in the configuration itself.
    pub(crate) fn read_secret(&self, key: &str) -> Result<String, Failure> {
        self.is_kept_elsewhere(key)?;
        self.read(key)
    }

    /// Whether it does not stand in the configuration itself.
    pub(crate) fn is_kept_elsewhere(&self, key: &str) -> Result<(), Failure> {
        match self {
            Hidden::Text(_) => Err(Failure::Final(format!(
                "{key} is written out; a secret is {{ env = \"NAME\" }} or {{ file = \"PATH\" }}"
            ))),
            Hidden::Env { .. } | Hidden::File { .. } => Ok(()),
        }
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hidden::Text(_) => f.write_str("(hidden)"),
            Hidden::Env { env } => write!(f, "(hidden, from the environment variable {env})"),
            Hidden::File { file } => write!(f, "(hidden, from {})", file.display()),
        }
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Hidden::Text(_) => serializer.serialize_str("(hidden)"),
            Hidden::Env { env } => BTreeMap::from([("env", env)]).serialize(serializer),
            Hidden::File { file } => BTreeMap::from([("file", file)]).serialize(serializer),
        }
    }
}

/// `http_request`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// Whether it may act once the mode is live.
    pub enabled: bool,
    /// The hosts that may be called.
    pub hosts: Vec<AllowedHost>,
    /// A PEM file of certificates that are trusted, instead of the usual ones.
    pub ca_file: Option<PathBuf>,
}

/// A host that may be called: `host` or `host:port`, by https; by http only where it is written `http://host:port`.
///
/// Invariant: the host is in lower case, and an address in its canonical form.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(into = "String", try_from = "String")]
pub struct AllowedHost {
    tls: bool,
    host: String,
    port: u16,
}

impl AllowedHost {
    /// From its parts; `None` if the host is neither a name nor an address. An IPv6 address may be in brackets.
    pub(crate) fn new(tls: bool, host: &str, port: Option<u16>) -> Option<AllowedHost> {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let host = match bare.parse::<IpAddr>() {
            Ok(ip) => ip.to_canonical().to_string(),
            Err(_) if bare == host && is_host_name(bare) => bare.to_ascii_lowercase(),
            Err(_) => return None,
        };
        Some(AllowedHost { tls, host, port: port.unwrap_or(if tls { 443 } else { 80 }) })
    }

    /// The address that it names, if it names one.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

/// Whether it is made of what names of hosts are made of. One that begins with `-` would be an option to a program.
pub(crate) fn is_host_name(text: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    (1..=253).contains(&text.len()) && text.bytes().all(fine) && !text.starts_with(['-', '.'])
}

impl FromStr for AllowedHost {
    type Err = String;

    fn from_str(text: &str) -> Result<AllowedHost, String> {
        let wrong =
            || format!("{text:?} is no host such as api.example.org, api.example.org:8443 or http://192.0.2.7:80");
        let (tls, rest) = match text.strip_prefix("http://") {
            Some(rest) => (false, rest),
            None => (true, text.strip_prefix("https://").unwrap_or(text)),
        };
        if rest.parse::<std::net::Ipv6Addr>().is_ok() {
            return AllowedHost::new(tls, rest, None).ok_or_else(wrong);
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse::<u16>().map_err(|_| wrong())?)),
            Some(_) | None => (rest, None),
        };
        AllowedHost::new(tls, host, port).ok_or_else(wrong)
    }
}

impl TryFrom<String> for AllowedHost {
    type Error = String;

    fn try_from(text: String) -> Result<AllowedHost, String> {
        text.parse()
    }
}

impl From<AllowedHost> for String {
    fn from(host: AllowedHost) -> String {
        host.to_string()
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        match self.address() {
            Some(IpAddr::V6(ip)) => write!(f, "{scheme}://[{ip}]:{}", self.port),
            Some(IpAddr::V4(_)) | None => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

/// `remote_command`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Remote {
    /// Whether it may act once the mode is live.
    pub enabled: bool,
    /// The ssh program.
    pub ssh: PathBuf,
    /// The hosts that commands may be run on, by name.
    pub hosts: BTreeMap<String, RemoteHost>,
    /// The commands that may be run, by name.
    pub commands: BTreeMap<String, Command>,
}

impl Default for Remote {
    fn default() -> Remote {
        let ssh = PathBuf::from("ssh");
        Remote { enabled: false, ssh, hosts: BTreeMap::new(), commands: BTreeMap::new() }
    }
}

/// A host that commands may be run on.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteHost {
    /// Its address, or its name in the DNS.
    pub address: String,
    /// The port of its sshd.
    #[serde(default = "ssh_port")]
    pub port: u16,
    /// The account.
    pub user: String,
    /// Our private key, which has no passphrase and nobody else can read.
    pub key_file: PathBuf,
    /// The host's public key: no other host is spoken to.
    pub host_key: HostKey,
}

fn ssh_port() -> u16 {
    22
}

/// A command that may be run.
///
/// One that fails (an exit status other than 0) must have left everything as it was.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program by its whole path, and its words. Nothing is filled in.
    pub run: Vec<String>,
    /// The hosts that it may be run on.
    pub hosts: Vec<String>,
    /// Whether running it twice is the same as running it once. Otherwise one that may have run is never repeated.
    #[serde(default)]
    pub idempotent: bool,
}

/// A host's public key, as in `/etc/ssh/ssh_host_ed25519_key.pub`: its kind, and its base64. A comment is dropped.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(into = "String", try_from = "String")]
pub struct HostKey(String);

impl HostKey {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for HostKey {
    type Error = String;

    fn try_from(text: String) -> Result<HostKey, String> {
        let mut words = text.split_whitespace();
        let is_kind = |kind: &&str| {
            let kinds = ["ssh-ed25519", "ssh-rsa", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"];
            kinds.contains(kind) || kind.starts_with("ecdsa-sha2-nistp")
        };
        let is_base64 = |key: &&str| key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
        match (words.next().filter(is_kind), words.next().filter(is_base64)) {
            (Some(kind), Some(key)) => Ok(HostKey(format!("{kind} {key}"))),
            _ => Err(format!("{text:?} is no public key of a host such as \"ssh-ed25519 AAAAC3Nz…\"")),
        }
    }
}

impl From<HostKey> for String {
    fn from(key: HostKey) -> String {
        key.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    #[derive(Debug, Deserialize)]
    struct Whole {
        response: Settings,
    }

    #[test]
    fn the_example_is_valid() {
        let example: Whole = toml::from_str(include_str!("outward.toml")).unwrap();
        example.response.check().unwrap();
        let settings = example.response;
        assert_eq!((settings.notification.to.len(), settings.http_request.hosts.len()), (3, 3));
        assert_eq!(settings.notification.smtp.unwrap().security, Security::StartTls);
        assert_eq!(settings.remote_command.hosts["web1"].port, 22);
    }

    #[test]
    fn what_is_written_wrongly_is_refused_with_what_was_meant() {
        for (text, wanted) in [
            (
                "notification.to.a = {kind = \"pager\"}",
                "unknown variant `pager`, expected one of `slack`, `webhook`, `email`",
            ),
            ("notification.to.a = {kind = \"slack\", url = 1}", "a text, { env = \"NAME\" } or { file = \"PATH\" }"),
            ("notification.to.a = {kind = \"slack\", url = \"x\", port = 1}", "unknown field `port`"),
            ("notification.to.a = {kind = \"email\", address = \"ana\"}", "is no mail address such as ana@example.org"),
            ("http_request.hosts = [\"a/b\"]", "\"a/b\" is no host such as"),
            ("remote_command.host = {}", "unknown field `host`"),
        ] {
            let error = toml::from_str::<Settings>(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text} gave {error}");
        }
        let url = "notification.to.a = {kind = \"slack\", url = \"https://a/\", default = true}";
        let plain = "notification.to.a = {kind = \"slack\", url = \"http://a/\"}";
        let mail = "notification.to.a = {kind = \"email\", address = \"a@example.org\"}";
        let key = "notification.to.a = {kind = \"webhook\", url = \"https://a/\", secret = \"0123456789abcdef\"}";
        for (text, wanted) in [
            (format!("{url}\n{}", url.replace(".a", ".b")), "several are configured for slack"),
            (plain.to_owned(), "response.notification.to.a.url begins with http://"),
            (mail.to_owned(), "set [response.notification.smtp]"),
            (key.to_owned(), "response.notification.to.a.secret is written out"),
            (
                "remote_command.commands.c = {run = [\"a\"], hosts = []}".into(),
                "commands.c.run does not begin with the whole path",
            ),
            (
                "remote_command.commands.c = {run = [\"/a\"], hosts = [\"b\"]}".into(),
                "there is no [response.remote_command.hosts.b]",
            ),
        ] {
            let error = toml::from_str::<Settings>(&text).unwrap().check().unwrap_err().to_string();
            assert!(error.contains(wanted), "{text} gave {error}");
        }
    }

    #[test]
    fn hosts_are_read_and_written() {
        for (text, written) in [
            ("API.example.org", "https://api.example.org:443"),
            ("api.example.org:8443", "https://api.example.org:8443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://127.0.0.1", "http://127.0.0.1:80"),
            ("::1", "https://[::1]:443"),
            ("[::ffff:192.0.2.7]:9", "https://192.0.2.7:9"),
            ("[2001:db8::7]", "https://[2001:db8::7]:443"),
        ] {
            assert_eq!(text.parse::<AllowedHost>().unwrap().to_string(), written, "{text}");
        }
        for text in
            ["", "a b", "ftp://a", "a/b", "a@b", "a:b", "a:99999", "*", "*.example.org", "-a", "10.0.0.0/8", "[a]"]
        {
            let wrong = text.parse::<AllowedHost>().unwrap_err();
            assert!(wrong.contains("is no host such as"), "{wrong}");
        }
    }

    #[test]
    fn a_hidden_text_is_read_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        std::io::Write::write_all(&mut File::create(&file).unwrap(), b"s3cr3t\n").unwrap();
        let (text, env) = (Hidden::Text("s3cr3t".into()), Hidden::Env { env: "CARGO_PKG_NAME".into() });
        let file = Hidden::File { file };
        assert_eq!((text.read("k").unwrap(), file.read("k").unwrap()), ("s3cr3t".into(), "s3cr3t".into()));
        assert_eq!(env.read_secret("k").unwrap(), "vertice-responder");
        for hidden in [&text, &file, &env] {
            let shown = format!("{hidden:?} {}", serde_json::to_string(hidden).unwrap());
            assert!(!shown.contains("s3cr3t"), "{shown}");
        }
        assert!(text.read_secret("a.key").unwrap_err().to_string().starts_with("a.key is written out"));
        let unset = Hidden::Env { env: "VERTICE_TEST_IS_NOT_SET".into() };
        assert_eq!(
            unset.read("a.key").unwrap_err().to_string(),
            "a.key: the environment variable VERTICE_TEST_IS_NOT_SET is not set"
        );
        let missing = Hidden::File { file: dir.path().join("no") };
        assert!(missing.read("a.key").unwrap_err().to_string().starts_with("a.key: reading "));
    }

    #[test]
    fn a_key_of_a_host_has_a_kind_and_base64() {
        let key = HostKey::try_from("ssh-ed25519 AAAAC3Nz+/= root@web1".to_owned()).unwrap();
        assert_eq!(key.as_str(), "ssh-ed25519 AAAAC3Nz+/=");
        for text in ["", "ssh-ed25519", "@cert-authority * ssh-rsa AAAA", "ssh-dss AAAA", "ssh-rsa AA,AA"] {
            assert!(HostKey::try_from(text.to_owned()).unwrap_err().contains("is no public key"), "{text}");
        }
    }
}
