//! What is done in the world: actions with every parameter typed, orders to carry them out, and their receipts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{ContainmentId, Entity, OrderId, RunId, ThreatId, Timestamp};

/// A change of the world. Two equal actions are one change: what several containments ask for alike is held once,
/// and given back when the last of them ends.
///
/// No variant can name a network range: every address is that of one host.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", tag = "verb")]
pub enum Action {
    /// Blocks traffic, or lets it through at a limited rate.
    FirewallRule(FirewallRule),
    /// Starts a decoy and leads an address's flows to it.
    HoneypotDeployment(HoneypotDeployment),
    /// Cuts a host off from everything but the management plane.
    ZoneIsolation(ZoneIsolation),
    /// Slows the traffic of an address down.
    TrafficShaping(TrafficShaping),
    /// Records the traffic of an address.
    TrafficCapture(TrafficCapture),
    /// Ends a process.
    KillProcess(KillProcess),
    /// Moves a file to where it can not be run.
    Quarantine(Quarantine),
    /// Locks an account.
    RevokeCredentials(RevokeCredentials),
    /// Ends sessions.
    SessionTermination(SessionTermination),
    /// Collects evidence.
    CollectForensics(CollectForensics),
    /// Tells people.
    Notification(Notification),
    /// Calls another system.
    HttpRequest(HttpRequest),
    /// Runs an allowed command on a named host.
    RemoteCommand(RemoteCommand),
}

/// Traffic of an address that is dropped, or let through at a limited rate.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
pub struct FirewallRule {
    /// What becomes of the traffic.
    pub rule: FirewallVerdict,
    /// From this address; at least one of the two addresses is given.
    #[schema(value_type = Option<String>)]
    pub source_ip: Option<IpAddr>,
    /// To this address.
    #[schema(value_type = Option<String>)]
    pub destination_ip: Option<IpAddr>,
    /// To this port only.
    pub port: Option<u16>,
    /// Of this protocol only: `tcp`, `udp` or `icmp`.
    pub protocol: Option<Protocol>,
}

/// What becomes of traffic.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FirewallVerdict {
    /// It is dropped.
    Block,
    /// New connections, or packets where there are none, are let through up to a rate; the rest is dropped.
    RateLimit {
        /// How many …
        count: u64,
        /// … in this many seconds.
        per_s: u64,
    },
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP, and ICMPv6 for IPv6 addresses.
    Icmp,
}

/// A decoy that an address is led to.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
pub struct HoneypotDeployment {
    /// Which: `ssh` or `http`.
    pub honeypot_type: String,
    /// Whose flows are led there.
    #[schema(value_type = String)]
    pub target_ip: IpAddr,
}

/// A host that is cut off. At least one of the two is given.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
pub struct ZoneIsolation {
    /// The host by name, looked up in the configured inventory.
    pub target_host: Option<String>,
    /// The host by address.
    #[schema(value_type = Option<String>)]
    pub target_ip: Option<IpAddr>,
    /// The zone that it is put into, by its name in the configuration.
    pub zone: Option<String>,
}

/// A limit on an address's traffic.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
pub struct TrafficShaping {
    /// Whose.
    #[schema(value_type = String)]
    pub target_ip: IpAddr,
    /// The limit.
    pub limit_bit_s: u64,
    /// Which way.
    pub direction: Direction,
}

/// Which way traffic goes, as the address sees it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To the address.
    Inbound,
    /// From the address.
    Outbound,
    /// Both.
    #[default]
    Both,
}

/// A recording of an address's traffic.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
pub struct TrafficCapture {
    /// Whose.
    #[schema(value_type = String)]
    pub target_ip: IpAddr,
    /// The most that is kept; older packets make room. `None`: as much as the configuration says.
    pub bytes_max: Option<u64>,
}

/// A process that is ended.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
pub struct KillProcess {
    /// On which host.
    pub target_host: String,
    /// By its executable or name; at least one of the two is given.
    pub process: Option<String>,
    /// By its number.
    pub pid: Option<u32>,
    /// When it was last seen doing what it is ended for: a process that began later is another one that was given
    /// the same number.
    pub seen_at: Timestamp,
}

/// A file that is moved away.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
pub struct Quarantine {
    /// On which host.
    pub target_host: String,
    /// The file, by its whole path.
    pub file_path: String,
}

/// An account that is locked.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
pub struct RevokeCredentials {
    /// Which.
    pub user: String,
    /// On which host; `None`: this one.
    pub target_host: Option<String>,
}

/// Sessions that are ended. At least one of `user` and `source_ip` is given.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
pub struct SessionTermination {
    /// Whose.
    pub user: Option<String>,
    /// From where.
    #[schema(value_type = Option<String>)]
    pub source_ip: Option<IpAddr>,
    /// On which host; `None`: this one.
    pub target_host: Option<String>,
}

/// Evidence that is collected.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
pub struct CollectForensics {
    /// From which host.
    pub target_host: String,
    /// What: `processes`, `network`, `logins`, `files`, `logs`, `memory`. Empty: all but memory.
    pub artifacts: Vec<String>,
}

/// A message.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
pub struct Notification {
    /// How: `slack`, `webhook` or `email`.
    pub channel: String,
    /// To whom, by a name of the configuration; `None`: whoever is configured for the channel.
    pub to: Option<String>,
    /// What.
    pub message: String,
}

/// A call of another system.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
pub struct HttpRequest {
    /// Where; its host is one of the allowed ones.
    pub url: String,
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub method: String,
    /// What is sent.
    pub body: Option<String>,
    /// What is called, with the same method and body, to undo it.
    pub undo_url: Option<String>,
}

/// A command on another host, by its name in the configuration.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
pub struct RemoteCommand {
    /// Where.
    pub target_host: String,
    /// Which.
    pub command: String,
    /// Which one undoes it.
    pub undo_command: Option<String>,
}

impl Action {
    /// Its word in playbooks.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Action::FirewallRule(_) => "firewall_rule",
            Action::HoneypotDeployment(_) => "honeypot_deployment",
            Action::ZoneIsolation(_) => "zone_isolation",
            Action::TrafficShaping(_) => "traffic_shaping",
            Action::TrafficCapture(_) => "traffic_capture",
            Action::KillProcess(_) => "kill_process",
            Action::Quarantine(_) => "quarantine",
            Action::RevokeCredentials(_) => "revoke_credentials",
            Action::SessionTermination(_) => "session_termination",
            Action::CollectForensics(_) => "collect_forensics",
            Action::Notification(_) => "notification",
            Action::HttpRequest(_) => "http_request",
            Action::RemoteCommand(_) => "remote_command",
        }
    }

    /// The host that it happens within, where it names one that it does not itself touch.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        match self {
            Action::KillProcess(a) => Some(&a.target_host),
            Action::Quarantine(a) => Some(&a.target_host),
            Action::RevokeCredentials(a) => a.target_host.as_deref(),
            Action::SessionTermination(a) => a.target_host.as_deref(),
            Action::CollectForensics(a) => Some(&a.target_host),
            Action::FirewallRule(_)
            | Action::HoneypotDeployment(_)
            | Action::ZoneIsolation(_)
            | Action::TrafficShaping(_)
            | Action::TrafficCapture(_)
            | Action::Notification(_)
            | Action::HttpRequest(_)
            | Action::RemoteCommand(_) => None,
        }
    }

    /// Whom it touches: checked against the protected set when it is planned, and again when it is carried out.
    #[must_use]
    pub fn touches(&self) -> Vec<Entity> {
        let ip = |address: &IpAddr| Entity::ip(&address.to_string());
        let found = match self {
            Action::FirewallRule(a) => vec![a.source_ip.as_ref().and_then(ip), a.destination_ip.as_ref().and_then(ip)],
            Action::HoneypotDeployment(a) => vec![ip(&a.target_ip)],
            Action::ZoneIsolation(a) => {
                vec![a.target_ip.as_ref().and_then(ip), a.target_host.as_deref().and_then(Entity::host)]
            }
            Action::TrafficShaping(a) => vec![ip(&a.target_ip)],
            Action::TrafficCapture(a) => vec![ip(&a.target_ip)],
            Action::KillProcess(a) => vec![Entity::host(&a.target_host)],
            Action::Quarantine(a) => vec![Entity::host(&a.target_host)],
            Action::RevokeCredentials(a) => {
                vec![Entity::user(&a.user), a.target_host.as_deref().and_then(Entity::host)]
            }
            Action::SessionTermination(a) => vec![
                a.user.as_deref().and_then(Entity::user),
                a.source_ip.as_ref().and_then(ip),
                a.target_host.as_deref().and_then(Entity::host),
            ],
            Action::CollectForensics(a) => vec![Entity::host(&a.target_host)],
            Action::RemoteCommand(a) => vec![Entity::host(&a.target_host)],
            Action::Notification(_) | Action::HttpRequest(_) => Vec::new(),
        };
        found.into_iter().flatten().collect()
    }
}

/// One thing to be done in the world, once.
///
/// An order is carried out at most once without being looked at: its beginning is in the log before anything is
/// touched, and one that began and has no receipt is first observed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Order {
    /// Derived from the run, the action, and how many orders came before.
    pub order_id: OrderId,
    /// The run that it belongs to.
    pub run_id: RunId,
    /// The threat that the run is for.
    pub threat_id: ThreatId,
    /// The action's id in the playbook.
    pub action_id: String,
    /// The containment that the action keeps up, if it is a lasting one.
    pub containment_id: Option<ContainmentId>,
    /// What to do with the action.
    pub task: Task,
    /// The action.
    pub action: Action,
    /// When the world is to let go by itself, should we be gone; `None` of what does not last.
    pub until: Option<Timestamp>,
    /// The criteria that an [`Task::Apply`] is to be observed to meet.
    pub success_criteria: Vec<String>,
    /// Seconds within which it must have shown its effect.
    pub timeout_s: u64,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// When it was given.
    pub ordered_at: Timestamp,
}

impl Order {
    /// Whether this order must not be begun before an earlier one has its receipt: both are about one action, or about
    /// one run that is being taken back, the latest first. All others may be carried out side by side.
    #[must_use]
    pub fn waits_for(&self, earlier: &Order) -> bool {
        let taken_back = self.task == Task::Undo || earlier.task == Task::Undo;
        self.action == earlier.action || (taken_back && self.run_id == earlier.run_id)
    }
}

/// What to do with an action.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Make it so; where it is so already, prolong it to the order's `until`.
    Apply,
    /// Take it back; where nothing is left of it, that is well.
    Undo,
}

/// What became of an order.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Receipt {
    /// Which.
    pub order_id: OrderId,
    /// What became of it.
    pub outcome: Outcome,
    /// For each criterion that was observed, whether it was met.
    pub criteria: BTreeMap<String, bool>,
    /// What was done and seen, in a few words for people: a path, a hash, a count.
    pub note: String,
}

/// What became of an order. Tagged from outside, for the log's encoding can not read a tag within.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done, and what can be observed of it was.
    Done,
    /// Nothing had to be done: it was so already.
    Already,
    /// It was not done, and the world is as before.
    Failed {
        /// Why.
        reason: String,
        /// Whether trying again may help.
        retry: bool,
    },
    /// It began, and nobody can tell whether it happened. It is never repeated by itself.
    Unknown {
        /// Why.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::too_many_lines, reason = "one of each verb")]
    fn an_action_says_its_verb_and_whom_it_touches() {
        let ip: IpAddr = "203.0.113.9".parse().unwrap();
        let host = || "web1".to_owned();
        let end = SessionTermination { user: Some("Ana".into()), source_ip: Some(ip), target_host: Some(host()) };
        let rule = FirewallRule {
            rule: FirewallVerdict::RateLimit { count: 5, per_s: 60 },
            source_ip: Some(ip),
            destination_ip: None,
            port: None,
            protocol: None,
        };
        let all = [
            (Action::FirewallRule(rule), "203.0.113.9"),
            (
                Action::HoneypotDeployment(HoneypotDeployment { honeypot_type: "ssh".into(), target_ip: ip }),
                "203.0.113.9",
            ),
            (
                Action::ZoneIsolation(ZoneIsolation {
                    target_host: Some(host()),
                    target_ip: Some(ip),
                    zone: Some("q".into()),
                }),
                "203.0.113.9 web1",
            ),
            (
                Action::TrafficShaping(TrafficShaping {
                    target_ip: ip,
                    limit_bit_s: 1,
                    direction: Direction::default(),
                }),
                "203.0.113.9",
            ),
            (Action::TrafficCapture(TrafficCapture { target_ip: ip, bytes_max: None }), "203.0.113.9"),
            (
                Action::KillProcess(KillProcess {
                    target_host: host(),
                    process: None,
                    pid: Some(7),
                    seen_at: Timestamp::default(),
                }),
                "web1",
            ),
            (Action::Quarantine(Quarantine { target_host: host(), file_path: "/x".into() }), "web1"),
            (
                Action::RevokeCredentials(RevokeCredentials { user: "ana".into(), target_host: Some(host()) }),
                "ana web1",
            ),
            (Action::SessionTermination(end), "ana 203.0.113.9 web1"),
            (Action::CollectForensics(CollectForensics { target_host: host(), artifacts: Vec::new() }), "web1"),
            (Action::Notification(Notification { channel: "slack".into(), to: None, message: "m".into() }), ""),
            (
                Action::HttpRequest(HttpRequest {
                    url: "https://h/".into(),
                    method: "POST".into(),
                    body: None,
                    undo_url: None,
                }),
                "",
            ),
            (
                Action::RemoteCommand(RemoteCommand { target_host: host(), command: "c".into(), undo_command: None }),
                "web1",
            ),
        ];
        for (action, touches) in all {
            let names: Vec<_> = action.touches().iter().map(|e| e.name().to_owned()).collect();
            assert_eq!(names.join(" "), touches, "{action:?}");
            let json = serde_json::to_value(&action).unwrap();
            assert_eq!(json["verb"], action.verb());
            assert_eq!(serde_json::from_value::<Action>(json).unwrap(), action);
        }
    }
}
