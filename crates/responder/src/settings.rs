//! What each verb is configured with: the sections `[response.VERB]` of the configuration. Each has `enabled`, the
//! second of the two switches to go live (the first is `response.mode`).

mod outward;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::Failure;

pub(crate) use outward::is_host_name;
pub use outward::{
    AllowedHost, Command, Email, Hidden, HostKey, MailAddress, Notification, Receiver, Remote, RemoteHost, Request,
    Security, Slack, Smtp, Webhook,
};

/// What each verb is configured with.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `firewall_rule`.
    pub firewall_rule: Firewall,
    /// `honeypot_deployment`.
    pub honeypot_deployment: Decoy,
    /// `zone_isolation`.
    pub zone_isolation: Isolation,
    /// `traffic_shaping`.
    pub traffic_shaping: Shaping,
    /// `traffic_capture`.
    pub traffic_capture: Capture,
    /// `kill_process`.
    pub kill_process: Switch,
    /// `quarantine`.
    pub quarantine: Switch,
    /// `revoke_credentials`.
    pub revoke_credentials: Accounts,
    /// `session_termination`.
    pub session_termination: Switch,
    /// `collect_forensics`.
    pub collect_forensics: Forensics,
    /// `notification`.
    pub notification: Notification,
    /// `http_request`.
    pub http_request: Request,
    /// `remote_command`.
    pub remote_command: Remote,
}

impl Settings {
    /// The words of the verbs whose switch is on.
    #[must_use]
    pub fn enabled(&self) -> Vec<&'static str> {
        let switches = [
            ("firewall_rule", self.firewall_rule.enabled),
            ("honeypot_deployment", self.honeypot_deployment.enabled),
            ("zone_isolation", self.zone_isolation.enabled),
            ("traffic_shaping", self.traffic_shaping.enabled),
            ("traffic_capture", self.traffic_capture.enabled),
            ("kill_process", self.kill_process.enabled),
            ("quarantine", self.quarantine.enabled),
            ("revoke_credentials", self.revoke_credentials.enabled),
            ("session_termination", self.session_termination.enabled),
            ("collect_forensics", self.collect_forensics.enabled),
            ("notification", self.notification.enabled),
            ("http_request", self.http_request.enabled),
            ("remote_command", self.remote_command.enabled),
        ];
        switches.into_iter().filter(|(_, on)| *on).map(|(verb, _)| verb).collect()
    }

    /// Whether all that is configured of other systems can be used, as far as that can be told without asking them
    /// and without opening what secrets are taken from.
    ///
    /// # Errors
    /// The first thing that can not be used, by its key.
    pub fn check(&self) -> Result<(), Failure> {
        crate::message::check(self)?;
        crate::command::check(&self.remote_command)
    }
}

/// A verb that needs nothing but its switch.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switch {
    /// Whether it may act once the mode is live.
    pub enabled: bool,
}

/// `firewall_rule`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Firewall {
    /// Whether it may act once the mode is live.
    pub enabled: bool,
    /// The nft program.
    pub nft: PathBuf,
}

impl Default for Firewall {
    fn default() -> Firewall {
        Firewall { enabled: false, nft: PathBuf::from("nft") }
    }
}

/// `honeypot_deployment`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decoy {
    /// Whether it may act once the mode is live.
    pub enabled: bool,
    /// Where the SSH decoy listens, such as "192.0.2.10:2222" and "[2001:db8::10]:2222": the first of the attacker's
    /// family is taken. "0.0.0.0:2222" and "[::]:2222" are a decoy on this host that listens on all its addresses; one
    /// on loopback can not be reached from outside. A decoy elsewhere must send its answers back by way of this host,
    /// which must forward. Empty: there is none, and the verb is refused.
    pub ssh: Vec<SocketAddr>,
    /// Where the HTTP decoy listens.
    pub http: Vec<SocketAddr>,
}

/// `zone_isolation`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Isolation {
    /// Whether it may act once the mode is live.
    pub enabled: bool,
    /// The addresses of hosts by name, for playbooks that name a host: `web1 = ["192.0.2.7", "2001:db8::7"]`.
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
    /// The networks of the management plane, which a host that is cut off still reaches. Empty: the verb is refused,
    /// for nobody could let the host in again.
    pub management: Vec<IpNet>,
}

/// `traffic_shaping`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shaping {
    /// Whether it may act once the mode is live.
    pub enabled: bool,
}

/// `traffic_capture`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capture {
    /// Whether it may act once the mode is live.
    pub enabled: bool,
    /// The tcpdump program.
    pub tcpdump: PathBuf,
    /// The interface that is recorded on.
    pub interface: String,
    /// The most that one recording keeps, in bytes; older packets make room.
    pub bytes_max: u64,
    /// The most that all recordings take together, in bytes, those that ended included: beyond it none is begun.
    pub total_bytes_max: u64,
}

impl Default for Capture {
    fn default() -> Capture {
        Capture {
            enabled: false,
            tcpdump: PathBuf::from("tcpdump"),
            interface: "any".to_owned(),
            bytes_max: 100_000_000,
            total_bytes_max: 1_000_000_000,
        }
    }
}

/// `revoke_credentials`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Accounts {
    /// Whether it may act once the mode is live.
    pub enabled: bool,
    /// The usermod program.
    pub usermod: PathBuf,
    /// Where the system lies whose accounts are meant: `/`, or the root of a container.
    pub root: PathBuf,
}

impl Default for Accounts {
    fn default() -> Accounts {
        Accounts { enabled: false, usermod: PathBuf::from("/usr/sbin/usermod"), root: PathBuf::from("/") }
    }
}

/// `collect_forensics`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Forensics {
    /// Whether it may act once the mode is live.
    pub enabled: bool,
    /// The most that one bundle takes, in bytes.
    pub bytes_max: u64,
}

impl Default for Forensics {
    fn default() -> Forensics {
        Forensics { enabled: false, bytes_max: 100_000_000 }
    }
}
