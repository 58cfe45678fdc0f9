//! The shape of the table: its sets, its chains, its rules.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use vertice_model::Protocol;

use super::TABLE;
use crate::Failure;
use crate::limits::MANAGEMENT_NETS_MAX;
use crate::settings::Settings;

/// What being in a set means.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    /// Its traffic is dropped.
    Block,
    /// What it begins over its own rate is dropped.
    RateLimit,
    /// What goes to it over its own speed is dropped.
    ShapeInbound,
    /// What comes from it over its own speed is dropped.
    ShapeOutbound,
    /// What goes to it and comes from it over its own speed, together, is dropped.
    ShapeBoth,
    /// It reaches the management plane only.
    Isolate,
    /// Its TCP flows are led to the SSH decoy.
    LeadSsh,
    /// Its TCP flows are led to the HTTP decoy.
    LeadHttp,
}

/// Which of a packet's addresses a set is about.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Ends {
    /// The source, or, where the kind says more, whichever it means.
    Source,
    /// The destination.
    Destination,
    /// Both together.
    Both,
}

/// One set of the table. What an element is about is told by its set, so that no two different actions are one
/// element: "port 22" and "port 22 of TCP" lie in different ones.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) ends: Ends,
    pub(crate) protocol: bool,
    pub(crate) port: bool,
    pub(crate) v6: bool,
}

/// An element: one or two addresses of one family, and the protocol and port that its set asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Key {
    pub(crate) address: IpAddr,
    /// The destination, where both ends are meant.
    pub(crate) to: Option<IpAddr>,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) port: Option<u16>,
}

impl Kind {
    const ALL: [Kind; 8] = [
        Kind::Block,
        Kind::RateLimit,
        Kind::ShapeInbound,
        Kind::ShapeOutbound,
        Kind::ShapeBoth,
        Kind::Isolate,
        Kind::LeadSsh,
        Kind::LeadHttp,
    ];

    const fn word(self) -> &'static str {
        match self {
            Kind::Block => "block",
            Kind::RateLimit => "rate",
            Kind::ShapeInbound => "shape_in",
            Kind::ShapeOutbound => "shape_out",
            Kind::ShapeBoth => "shape_both",
            Kind::Isolate => "isolate",
            Kind::LeadSsh => "lead_ssh",
            Kind::LeadHttp => "lead_http",
        }
    }

    /// What makes a set keep a limit for each element. The set's own is never used.
    const fn statement(self) -> &'static str {
        match self {
            Kind::RateLimit => " limit rate over 1/second burst 5 packets;",
            Kind::ShapeInbound | Kind::ShapeOutbound | Kind::ShapeBoth => {
                " limit rate over 1 bytes/second burst 65536 bytes;"
            }
            Kind::Block | Kind::Isolate | Kind::LeadSsh | Kind::LeadHttp => "",
        }
    }

    /// The chain that its rules are in, without the family.
    const fn chain(self) -> &'static str {
        match self {
            Kind::Block => "block",
            Kind::RateLimit => "rate",
            Kind::ShapeInbound | Kind::ShapeOutbound | Kind::ShapeBoth => "shape",
            Kind::Isolate => "isolate",
            Kind::LeadSsh | Kind::LeadHttp => "lead",
        }
    }

    /// The chains through which packets come to it.
    const fn hooks(self) -> &'static [&'static str] {
        match self {
            Kind::Block => &["prerouting", "output", "forward"],
            Kind::RateLimit => &["prerouting", "output"],
            Kind::ShapeInbound | Kind::ShapeOutbound | Kind::ShapeBoth | Kind::Isolate => &["input", "postrouting"],
            Kind::LeadSsh | Kind::LeadHttp => &["cut"],
        }
    }
}

impl Place {
    /// Every set that a table of ours may have.
    pub(crate) fn all() -> Vec<Place> {
        let mut all = Vec::new();
        for (kind, v6) in Kind::ALL.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
            match kind {
                Kind::Block | Kind::RateLimit => {
                    for ends in [Ends::Source, Ends::Destination, Ends::Both] {
                        for (protocol, port) in [(false, false), (true, false), (false, true), (true, true)] {
                            all.push(Place { kind, ends, protocol, port, v6 });
                        }
                    }
                }
                Kind::ShapeInbound
                | Kind::ShapeOutbound
                | Kind::ShapeBoth
                | Kind::Isolate
                | Kind::LeadSsh
                | Kind::LeadHttp => all.push(Place::of(kind, v6)),
            }
        }
        all
    }

    /// The set of a kind that is about nothing but an address.
    pub(crate) const fn of(kind: Kind, v6: bool) -> Place {
        Place { kind, ends: Ends::Source, protocol: false, port: false, v6 }
    }

    pub(crate) fn name(self) -> String {
        let ends = match self.ends {
            Ends::Source => "",
            Ends::Destination => "_to",
            Ends::Both => "_pair",
        };
        let protocol = if self.protocol { "_protocol" } else { "" };
        let port = if self.port { "_port" } else { "" };
        format!("{}{ends}{protocol}{port}{}", self.kind.word(), if self.v6 { 6 } else { 4 })
    }

    fn family(self) -> &'static str {
        if self.v6 { "ip6" } else { "ip" }
    }

    fn declaration(self) -> String {
        let address = if self.v6 { "ipv6_addr" } else { "ipv4_addr" };
        let mut parts = vec![address];
        parts.extend((self.ends == Ends::Both).then_some(address));
        parts.extend(self.protocol.then_some("inet_proto"));
        parts.extend(self.port.then_some("inet_service"));
        let (name, statement) = (self.name(), self.kind.statement());
        format!("add set inet {TABLE} {name} {{ type {}; flags timeout;{statement} }}\n", parts.join(" . "))
    }

    /// What of a packet is looked up in it.
    fn lookup(self) -> String {
        let (family, name) = (self.family(), self.name());
        let mut parts = match self.ends {
            Ends::Source => vec![format!("{family} saddr")],
            Ends::Destination => vec![format!("{family} daddr")],
            Ends::Both => vec![format!("{family} saddr"), format!("{family} daddr")],
        };
        parts.extend(self.protocol.then(|| "meta l4proto".to_owned()));
        parts.extend(self.port.then(|| "th dport".to_owned()));
        let first = if self.port && !self.protocol { "meta l4proto { tcp, udp } " } else { "" };
        format!("{first}{} @{name}", parts.join(" . "))
    }

    /// The key that bytes of the kernel's are; `None` of what is none of ours.
    pub(crate) fn read(self, bytes: &[u8]) -> Option<Key> {
        let mut rest = bytes;
        let mut address = || {
            let (address, after) = if self.v6 {
                let (octets, after) = rest.split_first_chunk::<16>()?;
                (IpAddr::V6(Ipv6Addr::from(*octets)), after)
            } else {
                let (octets, after) = rest.split_first_chunk::<4>()?;
                (IpAddr::V4(Ipv4Addr::from(*octets)), after)
            };
            rest = after;
            Some(address)
        };
        let first = address()?;
        let to = if self.ends == Ends::Both { Some(address()?) } else { None };
        let mut word = || {
            let (word, after) = rest.split_first_chunk::<4>()?;
            rest = after;
            Some(*word)
        };
        let protocol = if self.protocol { Some(protocol_of(word()?[0])?) } else { None };
        let port = if self.port { Some(word()?).map(|w| u16::from_be_bytes([w[0], w[1]])) } else { None };
        Some(Key { address: first, to, protocol, port })
    }
}

impl Key {
    /// One that is nothing but an address.
    pub(crate) const fn of(address: IpAddr) -> Key {
        Key { address, to: None, protocol: None, port: None }
    }

    pub(crate) fn names(&self, address: IpAddr) -> bool {
        self.address == address || self.to == Some(address)
    }

    /// In nft's words.
    pub(crate) fn text(&self) -> String {
        let mut parts = vec![self.address.to_string()];
        parts.extend(self.to.map(|to| to.to_string()));
        parts.extend(self.protocol.map(|protocol| number_of(protocol, self.address).to_string()));
        parts.extend(self.port.map(|port| port.to_string()));
        parts.join(" . ")
    }

    /// As the kernel keeps it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for address in [Some(self.address), self.to].into_iter().flatten() {
            match address {
                IpAddr::V4(v4) => bytes.extend(v4.octets()),
                IpAddr::V6(v6) => bytes.extend(v6.octets()),
            }
        }
        bytes.extend(self.protocol.into_iter().flat_map(|protocol| [number_of(protocol, self.address), 0, 0, 0]));
        bytes.extend(self.port.into_iter().flat_map(|port| [port.to_be_bytes(), [0, 0]].concat()));
        bytes
    }
}

/// IANA's number. ICMP of IPv6 is a protocol of its own.
const fn number_of(protocol: Protocol, address: IpAddr) -> u8 {
    match (protocol, address) {
        (Protocol::Tcp, _) => 6,
        (Protocol::Udp, _) => 17,
        (Protocol::Icmp, IpAddr::V4(_)) => 1,
        (Protocol::Icmp, IpAddr::V6(_)) => 58,
    }
}

const fn protocol_of(number: u8) -> Option<Protocol> {
    match number {
        6 => Some(Protocol::Tcp),
        17 => Some(Protocol::Udp),
        1 | 58 => Some(Protocol::Icmp),
        _ => None,
    }
}

/// A chain of the table.
pub(super) struct Chain {
    pub(super) name: String,
    /// Where the kernel calls it; `None` of one that others jump to.
    hook: Option<&'static str>,
    rules: Vec<String>,
}

impl Chain {
    /// Each rule's comment is a digest of its text, so that a look at the comments tells whether it stands as meant.
    pub(super) fn comments(&self) -> Vec<String> {
        self.rules.iter().map(|rule| blake3::hash(rule.as_bytes()).to_hex()[..16].to_owned()).collect()
    }
}

/// The chains that an element of a set needs to have its effect.
pub(super) fn chains_of(settings: &Settings, place: Place) -> Result<Vec<Chain>, Failure> {
    let family = if place.v6 { "6" } else { "4" };
    let own = match place.kind {
        Kind::LeadSsh | Kind::LeadHttp => "lead".to_owned(),
        kind => format!("{}{family}", kind.chain()),
    };
    let mut chains = chains(settings)?;
    chains.retain(|chain| chain.name == own || place.kind.hooks().contains(&chain.name.as_str()));
    Ok(chains)
}

/// What brings the whole table into shape, whatever it was before; its elements stay.
pub(super) fn script(settings: &Settings) -> Result<String, Failure> {
    let chains = chains(settings)?;
    let mut script = format!("add table inet {TABLE}\n");
    script.extend(Place::all().into_iter().map(Place::declaration));
    for chain in &chains {
        let hook = chain.hook.map(|hook| format!(" {{ type {hook}; policy accept; }}")).unwrap_or_default();
        script.push_str(&format!("add chain inet {TABLE} {name}{hook}\n", name = chain.name));
        script.push_str(&format!("flush chain inet {TABLE} {}\n", chain.name));
    }
    for chain in &chains {
        for (rule, comment) in chain.rules.iter().zip(chain.comments()) {
            script.push_str(&format!("add rule inet {TABLE} {} {rule} comment \"{comment}\"\n", chain.name));
        }
    }
    Ok(script)
}

fn chains(settings: &Settings) -> Result<Vec<Chain>, Failure> {
    let mut chains = vec![
        hooked("prerouting", "filter hook prerouting priority -300", &["block", "rate"]),
        hooked("output", "filter hook output priority -300", &["block", "rate"]),
        hooked("forward", "filter hook forward priority -150", &["block"]),
        hooked("input", "filter hook input priority -150", &["isolate", "shape"]),
        hooked("postrouting", "filter hook postrouting priority -150", &["isolate", "shape"]),
    ];
    for v6 in [false, true] {
        let family = if v6 { 6 } else { 4 };
        for (word, rules) in [
            ("block", drops(Kind::Block, v6)),
            ("rate", [spared_from_rates(v6), drops(Kind::RateLimit, v6)].concat()),
            ("isolate", isolation(&settings.zone_isolation.management, v6)?),
            ("shape", shaping(v6)),
        ] {
            chains.push(Chain { name: format!("{word}{family}"), hook: None, rules });
        }
    }
    if !settings.honeypot_deployment.ssh.is_empty() || !settings.honeypot_deployment.http.is_empty() {
        let (lead, cut) = decoys(settings);
        let hook = Some("filter hook prerouting priority -150");
        chains.push(Chain { name: "cut".to_owned(), hook, rules: cut });
        let hook = Some("nat hook prerouting priority -110");
        chains.push(Chain { name: "lead".to_owned(), hook, rules: lead });
    }
    Ok(chains)
}

fn hooked(name: &str, hook: &'static str, to: &[&str]) -> Chain {
    let jumps = |word: &&str| [format!("meta nfproto ipv4 jump {word}4"), format!("meta nfproto ipv6 jump {word}6")];
    Chain { name: name.to_owned(), hook: Some(hook), rules: to.iter().flat_map(jumps).collect() }
}

fn drops(kind: Kind, v6: bool) -> Vec<String> {
    let sets = Place::all().into_iter().filter(|place| place.kind == kind && place.v6 == v6);
    sets.map(|place| format!("{} drop", place.lookup())).collect()
}

/// What finds neighbours and routers. Without it an address on our own network could be reached by nobody, the
/// management plane included, and a rate would be used up by it.
const NEIGHBOURS: &str =
    "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } return";

/// Of TCP, beginnings of connections are counted and nothing else: a rate is told in attempts, and one attempt is any
/// number of packets. The flag is looked at, and not the tracked connection, so that no connection needs to be tracked.
/// What has no connections is counted by packets.
fn spared_from_rates(v6: bool) -> Vec<String> {
    let mut rules = vec!["meta l4proto tcp tcp flags & (syn | ack) != syn return".to_owned()];
    rules.extend(v6.then(|| NEIGHBOURS.to_owned()));
    rules
}

fn isolation(management: &[IpNet], v6: bool) -> Result<Vec<String>, Failure> {
    if management.len() > MANAGEMENT_NETS_MAX {
        return Err(Failure::Final(format!(
            "{} management networks are configured; {MANAGEMENT_NETS_MAX} are possible",
            management.len()
        )));
    }
    let place = Place::of(Kind::Isolate, v6);
    let (family, name) = (place.family(), place.name());
    let nets: Vec<IpNet> = management.iter().filter(|net| net.addr().is_ipv6() == v6).map(IpNet::trunc).collect();
    // Joined, for nft takes no two that overlap.
    let nets: Vec<String> = IpNet::aggregate(&nets).iter().map(ToString::to_string).collect();
    let mut rules = Vec::new();
    rules.extend(v6.then(|| NEIGHBOURS.to_owned()));
    if !nets.is_empty() {
        let nets = nets.join(", ");
        rules.push(format!("{family} saddr @{name} {family} daddr {{ {nets} }} return"));
        rules.push(format!("{family} daddr @{name} {family} saddr {{ {nets} }} return"));
    }
    rules.push(format!("{family} saddr @{name} drop"));
    rules.push(format!("{family} daddr @{name} drop"));
    Ok(rules)
}

/// Policing: what is over the limit is dropped, and TCP slows down by itself. A queue (tc) would be gentler, and would
/// need an interface, a class for each address and someone to take it away, where this is an element with a timeout.
fn shaping(v6: bool) -> Vec<String> {
    let rule = |kind, end| {
        let place = Place::of(kind, v6);
        format!("{} {end} @{} drop", place.family(), place.name())
    };
    let mut rules = Vec::new();
    rules.extend(v6.then(|| NEIGHBOURS.to_owned()));
    rules.push(rule(Kind::ShapeInbound, "daddr"));
    rules.push(rule(Kind::ShapeOutbound, "saddr"));
    rules.push(rule(Kind::ShapeBoth, "daddr"));
    rules.push(rule(Kind::ShapeBoth, "saddr"));
    rules
}

/// The rules that lead flows to decoys, and those that cut flows that go elsewhere.
///
/// A NAT rule sees the first packet of a flow and no other, so flows that were there before would go on to the real
/// host: they are ended with a reset, whoever began them, and the attacker's next attempt is in the decoy. While an
/// address is led, no TCP flow of its own goes anywhere else.
fn decoys(settings: &Settings) -> (Vec<String>, Vec<String>) {
    let settings = &settings.honeypot_deployment;
    let (mut first, mut lead, mut pass, mut cut) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for v6 in [false, true] {
        for (kind, addresses) in [(Kind::LeadSsh, &settings.ssh), (Kind::LeadHttp, &settings.http)] {
            let usable = |decoy: &&SocketAddr| decoy.is_ipv6() == v6 && !decoy.ip().is_loopback();
            let Some(decoy) = addresses.iter().find(usable) else { continue };
            let place = Place::of(kind, v6);
            let (family, led) = (place.family(), place.lookup());
            let port = decoy.port();
            let verdict = match decoy {
                // A decoy on all addresses of this host gets the flow on the one that it came in by.
                decoy if decoy.ip().is_unspecified() => format!("redirect to :{port}"),
                SocketAddr::V4(decoy) => format!("dnat ip to {decoy}"),
                SocketAddr::V6(decoy) => format!("dnat ip6 to [{}]:{port}", decoy.ip()),
            };
            // Where both decoys are asked for, the web's ports go to that of the web and the rest to the other.
            if kind == Kind::LeadHttp {
                first.push(format!("{led} tcp dport {{ 80, 443, 8000, 8080, 8443 }} {verdict}"));
            }
            lead.push(format!("{led} meta l4proto tcp {verdict}"));
            let there = match decoy {
                decoy if decoy.ip().is_unspecified() => "ct status dnat".to_owned(),
                decoy => format!("ct reply {family} saddr {}", decoy.ip()),
            };
            pass.push(format!("{led} meta l4proto tcp {there} ct reply proto-src {port} return"));
            cut.push(format!("{led} meta l4proto tcp reject with tcp reset"));
        }
    }
    // A new flow has not been led yet where these rules see it.
    pass.insert(0, "ct state new return".to_owned());
    ([first, lead].concat(), [pass, cut].concat())
}
