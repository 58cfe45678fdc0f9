//! `honeypot_deployment`: an attacker's TCP flows are led to a decoy, whatever port they were meant for.
//!
//! The decoy runs at a configured address. New flows get there by destination NAT; flows that the address had before
//! are reset, so that its next attempt meets the decoy (see `nft/shape.rs`). After the undo, flows that are in the decoy
//! stay there until they end, and new ones reach the real host.
//!
//! A decoy on this host is named by "0.0.0.0:PORT" or "[::]:PORT" and must listen on all addresses: the flow is
//! redirected to the address of the interface that it came in by. A decoy that listens on loopback only is refused: the
//! kernel drops what comes from outside for 127.0.0.0/8 unless `route_localnet` is set, which would open everything on
//! loopback to the network, and for ::1 there is no such switch.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use vertice_model::{HoneypotDeployment, Task};

use crate::firewall::stands;
use crate::limits::DECOY_CONNECT_S_MAX;
use crate::nft::{self, Hold, Key, Kind, Place, Wish};
use crate::{Failure, Hand, Held, Seen};

pub(crate) fn apply(hand: &Hand<'_>, action: &HoneypotDeployment) -> Result<String, Failure> {
    let (until, lasts_s) = hand.lease()?;
    let (place, key) = element(action)?;
    let decoy = decoy(hand, action)?;
    let hold = Hold { place, key, limit: None, lasts_s };
    nft::change(hand.settings, &[Wish::Held(hold)], hand.order.timeout_s)?;
    Ok(format!("{} is led to the {} decoy at {decoy} until {until}", key.address, action.honeypot_type))
}

pub(crate) fn observe(hand: &Hand<'_>, action: &HoneypotDeployment) -> Result<Seen, Failure> {
    let (place, key) = element(action)?;
    let (element_stands, note) = stands(hand, place, &key)?;
    let decoy = decoy(hand, action);
    // Without a decoy in the settings the rules that lead there are gone, whatever the set holds.
    let redirected = element_stands && decoy.is_ok();
    let mut criteria = BTreeMap::from([("traffic_redirected", redirected)]);
    if hand.order.task == Task::Apply {
        criteria.insert("honeypot_running", decoy.is_ok_and(|decoy| answers(decoy, hand.order.timeout_s)));
    }
    Ok(Seen { held: if redirected { Held::Yes } else { Held::No }, criteria, note })
}

pub(crate) fn undo(hand: &Hand<'_>, action: &HoneypotDeployment) -> Result<String, Failure> {
    let (place, key) = element(action)?;
    nft::change(hand.settings, &[Wish::Gone(place, key)], hand.order.timeout_s)?;
    Ok(format!("{} is led nowhere any more", key.address))
}

fn element(action: &HoneypotDeployment) -> Result<(Place, Key), Failure> {
    let address = action.target_ip.to_canonical();
    let kind = match action.honeypot_type.as_str() {
        "ssh" => Kind::LeadSsh,
        "http" => Kind::LeadHttp,
        other => return Err(Failure::Final(format!("there is no {other} decoy: ssh and http are the two"))),
    };
    Ok((Place::of(kind, address.is_ipv6()), Key::of(address)))
}

/// Where the decoy is that an address of this family is led to.
fn decoy(hand: &Hand<'_>, action: &HoneypotDeployment) -> Result<SocketAddr, Failure> {
    let settings = &hand.settings.honeypot_deployment;
    let (name, all) = match action.honeypot_type.as_str() {
        "ssh" => ("ssh", &settings.ssh),
        _ => ("http", &settings.http),
    };
    let v6 = action.target_ip.to_canonical().is_ipv6();
    let family = if v6 { "IPv6" } else { "IPv4" };
    let Some(decoy) = all.iter().find(|decoy| decoy.is_ipv6() == v6) else {
        let why =
            format!("no {family} address of an {name} decoy is set: name one in response.honeypot_deployment.{name}");
        return Err(Failure::Final(why));
    };
    if decoy.ip().is_loopback() {
        let any = SocketAddr::new(any_of(v6), decoy.port());
        let why = format!("the decoy at {decoy} can not be reached from outside: let it listen on {any} and name that");
        return Err(Failure::Final(why));
    }
    Ok(*decoy)
}

/// Whether something accepts connections there.
fn answers(decoy: SocketAddr, limit_s: u64) -> bool {
    let loopback = if decoy.is_ipv6() { IpAddr::V6(Ipv6Addr::LOCALHOST) } else { IpAddr::V4(Ipv4Addr::LOCALHOST) };
    let ip = if decoy.ip().is_unspecified() { loopback } else { decoy.ip() };
    let limit = Duration::from_secs(limit_s.clamp(1, DECOY_CONNECT_S_MAX));
    TcpStream::connect_timeout(&SocketAddr::new(ip, decoy.port()), limit).is_ok()
}

const fn any_of(v6: bool) -> IpAddr {
    if v6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
}

#[cfg(test)]
mod tests;
