//! What the firewall holds, and how an address is let go, without the engine: for `vertice release ADDRESS` while the
//! daemon is stopped. Letting go needs no approval; holding always does.

use std::fmt;
use std::net::IpAddr;

use vertice_model::Protocol;

use crate::nft::{self, Ends, Key, Kind, Place};
use crate::settings::Settings;
use crate::{Failure, netlink};

/// An address that the kernel holds for us.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeldElement {
    /// Which.
    pub address: IpAddr,
    /// What is done to it, in a few words: "blocked", "limited".
    pub what: &'static str,
    /// Which of its traffic is meant, for people: "from it to port 22 of tcp".
    pub traffic: String,
    /// When the kernel lets go by itself, in seconds from now; `None`: never, which is not of our making.
    pub remaining_s: Option<u64>,
}

impl fmt::Display for HeldElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, {}", self.address, self.what, self.traffic)?;
        self.remaining_s.map_or(Ok(()), |s| write!(f, ", for {s} s more"))
    }
}

/// Everything that our table holds now, by address.
///
/// # Errors
/// When the kernel can not be asked, which takes CAP_NET_ADMIN.
pub fn held(_settings: &Settings) -> Result<Vec<HeldElement>, Failure> {
    let mut all: Vec<HeldElement> = nft::all()?.iter().map(|(place, key, found)| shown(*place, key, found)).collect();
    all.sort_by(|a, b| (a.address, a.what, &a.traffic).cmp(&(b.address, b.what, &b.traffic)));
    Ok(all)
}

/// Takes an address out of every set of ours, whatever it is in there for. Says out of how many.
///
/// # Errors
/// When nft fails; the kernel then holds what it held.
pub fn release_address(settings: &Settings, address: IpAddr) -> Result<usize, Failure> {
    nft::release(settings, address.to_canonical())
}

fn shown(place: Place, key: &Key, found: &netlink::Found) -> HeldElement {
    let what = match place.kind {
        Kind::Block => "blocked",
        Kind::RateLimit => "limited in what it begins",
        Kind::ShapeInbound | Kind::ShapeOutbound | Kind::ShapeBoth => "slowed down",
        Kind::Isolate => "cut off from all but management",
        Kind::LeadSsh => "led to the SSH decoy",
        Kind::LeadHttp => "led to the HTTP decoy",
    };
    let ends = match (place.kind, place.ends, key.to) {
        (Kind::ShapeInbound, ..) => "to it".to_owned(),
        (Kind::ShapeBoth | Kind::Isolate, ..) => "from and to it".to_owned(),
        (_, _, Some(to)) => format!("from it to {to}"),
        (_, Ends::Destination, None) => "to it".to_owned(),
        (_, Ends::Source | Ends::Both, None) => "from it".to_owned(),
    };
    let port = key.port.map(|port| format!(", to port {port}")).unwrap_or_default();
    let protocol = key.protocol.map(|p| format!(", {}", word(p))).unwrap_or_default();
    let remaining_s = found.remaining_ms.map(|ms| ms.div_ceil(1_000));
    HeldElement { address: key.address, what, traffic: format!("{ends}{port}{protocol}"), remaining_s }
}

const fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Icmp => "icmp",
    }
}
