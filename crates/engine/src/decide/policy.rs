//! Do no harm: what no action may touch, and how much may be touched in an hour.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use vertice_model::{Entity, EntityKind};

use super::verb::Verb;
use crate::limits;

/// What the people who run Vertice allow it. Part of what a run depends on, so a change of it is an input.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Never touched, beside what nobody ever may touch: our own addresses, gateways, resolvers, the
    /// management plane, the operator's sessions and accounts.
    pub protected: Vec<Protected>,
    /// How many different entities may be touched within an hour without a person's word.
    pub entities_per_hour_max: u32,
    /// The longest lease, in seconds.
    pub lease_s_max: u64,
    /// The verbs that really act. All others, and all where it is empty, are only recorded.
    pub live: BTreeSet<Verb>,
    /// How many hosts there are to be known; 0 where nobody said.
    pub assets: u32,
    /// The share of them that may be touched within an hour without a person's word, in percent.
    pub assets_percent_max: u32,
    /// How many different people must say yes to an action of the highest risk that is really carried out.
    pub approvals_high: u32,
    /// Who may answer questions; empty: everybody whose key may decide.
    pub approvers: BTreeSet<String>,
    /// Who may answer too once nobody did in time.
    pub escalate_to: BTreeSet<String>,
    /// Whether a language model is asked about threats. What it answers changes no response.
    pub consult: bool,
}

/// Something that is never touched.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Protected {
    /// Whom.
    #[serde(flatten)]
    pub whom: Whom,
    /// Why, to be read after "for it is": "the default gateway".
    pub why: String,
}

/// Who is never touched.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Whom {
    /// An address, or all of a range.
    Net(IpNet),
    /// A host by name. Without a domain it means the host of that name in every domain.
    Host(String),
    /// This machine by its name: never a target, and yet a place within which a process may be ended.
    Here(String),
    /// An account by name. Without a domain it means the account of that name in every domain.
    User(String),
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            protected: Vec::new(),
            entities_per_hour_max: limits::ENTITIES_PER_HOUR,
            lease_s_max: limits::LEASE_S_MAX,
            live: BTreeSet::new(),
            assets: 0,
            assets_percent_max: limits::ASSETS_PERCENT,
            approvals_high: limits::APPROVALS_HIGH,
            approvers: BTreeSet::new(),
            escalate_to: BTreeSet::new(),
            consult: false,
        }
    }
}

impl Policy {
    /// Whether this person may answer a question, of which `urgent` says that it was asked twice.
    #[must_use]
    pub fn may_answer(&self, who: &str, urgent: bool) -> bool {
        // A signed link answers for the approver that it was sent to.
        let who = who.strip_suffix(" (link)").unwrap_or(who);
        self.approvers.is_empty() || self.approvers.contains(who) || (urgent && self.escalate_to.contains(who))
    }

    /// Why this may not be touched; `None` if it may.
    #[must_use]
    pub fn forbids(&self, entity: &Entity) -> Option<String> {
        let name = entity.name();
        if let Ok(address) = name.parse::<IpAddr>() {
            return self.forbids_address(address);
        }
        if let Some(why) = never_by_name(entity.kind(), name) {
            return Some(format!("{} {name} is never touched, for {why}", entity.kind()));
        }
        let same = |protected: &&Protected| match (&protected.whom, entity.kind()) {
            (Whom::Host(host) | Whom::Here(host), EntityKind::Host) => same_host(host, name),
            (Whom::User(user), EntityKind::User) => same_user(user, name),
            (
                Whom::Net(_) | Whom::Host(_) | Whom::Here(_) | Whom::User(_),
                EntityKind::Ip | EntityKind::Host | EntityKind::User,
            ) => false,
        };
        let found = self.protected.iter().find(same)?;
        Some(format!("{} {name} is protected, for it is {}", entity.kind(), found.why))
    }

    /// Why nothing may be done within this host, for an action that does not touch the host itself; `None` if it may.
    #[must_use]
    pub fn forbids_within(&self, host: &Entity) -> Option<String> {
        let same = |p: &&Protected| matches!(&p.whom, Whom::Host(name) if same_host(name, host.name()));
        let found = self.protected.iter().find(same)?;
        Some(format!("host {} is protected, for it is {}", host.name(), found.why))
    }

    fn forbids_address(&self, address: IpAddr) -> Option<String> {
        let address = address.to_canonical();
        let inner = embedded(address);
        for candidate in [Some(address), inner].into_iter().flatten() {
            if let Some(why) = never(candidate) {
                return Some(format!("address {address} is never touched, for {why}"));
            }
            let covers = |p: &&Protected| matches!(&p.whom, Whom::Net(net) if net.contains(&candidate));
            if let Some(found) = self.protected.iter().find(covers) {
                return Some(format!("address {address} is protected, for it is {}", found.why));
            }
        }
        None
    }
}

/// Why nobody may ever touch this address; `None` if it is an ordinary one.
pub(super) fn never(address: IpAddr) -> Option<&'static str> {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let no_host = matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.octets()[0] >= 240);
    if address.is_loopback() {
        Some("it is this host itself")
    } else if address.is_unspecified() {
        Some("it stands for all addresses")
    } else if address.is_multicast() {
        Some("it is a multicast group")
    } else if address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        Some("it is the broadcast address")
    } else if link_local {
        Some("it is link-local, where neighbours and cloud metadata live")
    } else if no_host {
        Some("it is reserved and belongs to no host")
    } else {
        None
    }
}

/// The IPv4 address within an IPv6 one that carries it: NAT64 (RFC 6052), 6to4 (RFC 3056), IPv4-compatible.
fn embedded(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = address else { return None };
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    };
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        // `::1` and `::` are loopback and unspecified, and are known as such.
        [0, 0, 0, 0, 0, 0, high, low] if v6 != Ipv6Addr::LOCALHOST && !v6.is_unspecified() => v4(high, low),
        _ => None,
    }
}

/// Hosts and accounts that a system can not be without.
fn never_by_name(kind: EntityKind, name: &str) -> Option<&'static str> {
    match kind {
        EntityKind::Ip => None,
        EntityKind::Host => {
            let local = ["localhost", "ip6-localhost", "ip6-loopback"].contains(&first_label(name));
            local.then_some("it is this host itself")
        }
        EntityKind::User => {
            let own = ["root", "system", "local service", "network service", "localsystem"];
            own.contains(&bare_user(name)).then_some("the system itself runs as it")
        }
    }
}

fn first_label(host: &str) -> &str {
    host.split('.').next().unwrap_or(host)
}

/// The same host: the same name, or the same first label where one of the two has no domain.
fn same_host(protected: &str, name: &str) -> bool {
    let protected = protected.trim_end_matches('.').to_lowercase();
    let name = name.trim_end_matches('.').to_lowercase();
    let short = !protected.contains('.') || !name.contains('.');
    protected == name || (short && first_label(&protected) == first_label(&name))
}

/// An account's name without its domain: of `corp\ana` and `ana@corp.example`, `ana`.
fn bare_user(name: &str) -> &str {
    let name = name.rsplit_once('\\').map_or(name, |(_, user)| user);
    name.split_once('@').map_or(name, |(user, _)| user)
}

fn same_user(protected: &str, name: &str) -> bool {
    let (protected, name) = (protected.to_lowercase(), name.to_lowercase());
    let short = bare_user(&protected) == protected || bare_user(&name) == name;
    protected == name || (short && bare_user(&protected) == bare_user(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        let net = |net: &str, why: &str| Protected { whom: Whom::Net(net.parse().unwrap()), why: why.into() };
        let protected = vec![
            net("192.0.2.1/32", "the default gateway"),
            net("10.9.0.0/16", "management"),
            net("2001:db8:9::/48", "management"),
            Protected { whom: Whom::Host("DC1.example.org".into()), why: "domain controller".into() },
            Protected { whom: Whom::Host("fw1".into()), why: "firewall".into() },
            Protected { whom: Whom::User("Ana".into()), why: "operator".into() },
            Protected { whom: Whom::User("corp\\bob".into()), why: "operator".into() },
        ];
        Policy { protected, ..Policy::default() }
    }

    #[test]
    fn nobody_touches_what_is_no_ordinary_host() {
        for (text, why) in [
            ("127.0.0.1", "this host itself"),
            ("127.9.9.9", "this host itself"),
            ("::1", "this host itself"),
            ("0.0.0.0", "stands for all"),
            ("::", "stands for all"),
            ("224.0.0.1", "multicast"),
            ("ff02::1", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("169.254.169.254", "link-local"),
            ("fe80::1", "link-local"),
            ("0.1.2.3", "reserved"),
            ("240.0.0.1", "reserved"),
            ("::ffff:127.0.0.1", "this host itself"),
            ("64:ff9b::7f00:1", "this host itself"),
            ("2002:7f00:1::1", "this host itself"),
            ("::7f00:1", "this host itself"),
        ] {
            let reason = Policy::default().forbids(&Entity::ip(text).unwrap()).expect(text);
            assert!(reason.contains(why), "{text}: {reason}");
        }
        for text in ["203.0.113.9", "10.0.0.1", "2001:db8::1", "fd00::1", "64:ff9b::cb00:7109"] {
            assert_eq!(Policy::default().forbids(&Entity::ip(text).unwrap()), None, "{text}");
        }
    }

    #[test]
    fn the_protected_are_found_however_they_are_written() {
        let policy = policy();
        let host = |name: &str| policy.forbids(&Entity::host(name).unwrap());
        let user = |name: &str| policy.forbids(&Entity::user(name).unwrap());
        let ip = |text: &str| policy.forbids(&Entity::ip(text).unwrap());
        assert_eq!(ip("192.0.2.1").unwrap(), "address 192.0.2.1 is protected, for it is the default gateway");
        assert!(ip("10.9.1.2").is_some() && ip("2001:db8:9::7").is_some() && ip("64:ff9b::10.9.1.2").is_some());
        assert!(ip("192.0.2.2").is_none() && ip("2001:db8:8::7").is_none());
        for name in ["dc1", "DC1.example.org", "dc1.example.org.", "fw1", "fw1.example.org", "localhost", "10.9.1.2"] {
            assert!(host(name).is_some(), "{name}");
        }
        let here = Policy {
            protected: vec![Protected { whom: Whom::Here("web7".into()), why: "this machine".into() }],
            ..policy.clone()
        };
        let web7 = Entity::host("web7.example.org").unwrap();
        assert!(here.forbids(&web7).is_some() && here.forbids_within(&web7).is_none());
        assert!(policy.forbids_within(&Entity::host("dc1").unwrap()).is_some());
        for name in ["dc1.example.com", "dc10", "fw10.example.org", "web1", "203.0.113.9"] {
            assert!(host(name).is_none(), "{name}");
        }
        for name in ["ana", "CORP\\ana", "ana@corp.example", "bob", "corp\\bob", "root", "nt authority\\system"] {
            assert!(user(name).is_some(), "{name}");
        }
        for name in ["anna", "other\\bob", "fw1", "toor"] {
            assert!(user(name).is_none(), "{name}");
        }
    }

    #[test]
    fn is_read_from_a_configuration() {
        let text = r#"{"protected": [{"net": "10.0.0.0/8", "why": "management"}, {"host": "a", "why": "b"}], "lease_s_max": 60}"#;
        let policy: Policy = serde_json::from_str(text).unwrap();
        assert_eq!((policy.protected.len(), policy.lease_s_max), (2, 60));
        assert_eq!(policy.entities_per_hour_max, limits::ENTITIES_PER_HOUR);
        assert_eq!(serde_json::from_str::<Policy>(&serde_json::to_string(&policy).unwrap()).unwrap(), policy);
        assert!(serde_json::from_str::<Policy>(r#"{"protect": []}"#).is_err());
    }
}
