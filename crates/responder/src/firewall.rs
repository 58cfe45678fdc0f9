//! `firewall_rule`: an address's traffic is dropped, or what it begins is let through at a limited rate.
//!
//! A block is one element of a set of its own kind and touches no file: equal actions are one element, and different
//! ones never share one. A rate may be asked for twice with different numbers, so its element is claimed ([`claims`]).
//! What is already established is dropped like anything else; see [`nft`] for where.

use std::collections::BTreeMap;

use vertice_model::{FirewallRule, FirewallVerdict, Protocol, Task};

use crate::nft::{self, Ends, Hold, Key, Kind, Limit, Place, Standing, Wish};
use crate::{Failure, Hand, Held, Seen, claims};

pub(crate) fn apply(hand: &Hand<'_>, action: &FirewallRule) -> Result<String, Failure> {
    let (place, key) = element(action)?;
    let (until, lasts_s) = hand.lease()?;
    match action.rule {
        FirewallVerdict::Block => {
            let hold = Hold { place, key, limit: None, lasts_s };
            nft::change(hand.settings, &[Wish::Held(hold)], hand.order.timeout_s)?;
            Ok(format!("{} is blocked until {until}", key.text()))
        }
        FirewallVerdict::RateLimit { count, per_s } => {
            claims::make(hand, &[(place, key)], Some(Limit::packets(count, per_s)?))?;
            Ok(format!("{} may begin {count} in {per_s} s until {until}", key.text()))
        }
    }
}

pub(crate) fn observe(hand: &Hand<'_>, action: &FirewallRule) -> Result<Seen, Failure> {
    let (place, key) = element(action)?;
    let (applied, mut note) = match action.rule {
        FirewallVerdict::Block => stands(hand, place, &key)?,
        FirewallVerdict::RateLimit { .. } => {
            let met = claims::is_met(hand, place, &key)?;
            (met, if met { "its limit stands".to_owned() } else { "its limit is not there".to_owned() })
        }
    };
    // A drop is final in nftables: no rule of anybody else's lets through what ours drop.
    let mut stopped = applied && action.rule == FirewallVerdict::Block;
    if stopped && nft::has_flowtables()? {
        stopped = false;
        note.push_str("; a flowtable may carry established flows past it");
    }
    let criteria = BTreeMap::from([("rule_applied", applied), ("traffic_stopped", stopped)]);
    Ok(Seen { held: if applied { Held::Yes } else { Held::No }, criteria, note })
}

pub(crate) fn undo(hand: &Hand<'_>, action: &FirewallRule) -> Result<String, Failure> {
    let (place, key) = element(action)?;
    match action.rule {
        FirewallVerdict::Block => nft::change(hand.settings, &[Wish::Gone(place, key)], hand.order.timeout_s)?,
        FirewallVerdict::RateLimit { .. } => claims::withdraw(hand, &[(place, key)])?,
    }
    Ok(format!("{} is let through", key.text()))
}

/// Whether an element that nobody else claims stands for as long as the order asks, and how it stands.
pub(crate) fn stands(hand: &Hand<'_>, place: Place, key: &Key) -> Result<(bool, String), Failure> {
    Ok(match nft::standing(hand.settings, place, key)? {
        Standing::Held { remaining_ms, .. } => {
            let until = hand.order.until.filter(|_| hand.order.task == Task::Apply).unwrap_or(hand.now);
            (nft::lasts(remaining_ms, until, hand.now), format!("it stands for {} s more", remaining_ms / 1_000))
        }
        Standing::Absent => (false, "the kernel does not hold it".to_owned()),
        Standing::Broken => (false, "rules of our table are missing".to_owned()),
    })
}

/// The element that an action is.
fn element(action: &FirewallRule) -> Result<(Place, Key), Failure> {
    let canonical = |address: Option<std::net::IpAddr>| address.map(|a| a.to_canonical());
    let (ends, address, to) = match (canonical(action.source_ip), canonical(action.destination_ip)) {
        (Some(from), None) => (Ends::Source, from, None),
        (None, Some(to)) => (Ends::Destination, to, None),
        (Some(from), Some(to)) if from.is_ipv6() == to.is_ipv6() => (Ends::Both, from, Some(to)),
        (Some(from), Some(to)) => {
            return Err(Failure::Final(format!("{from} and {to} are of different families: no packet has both")));
        }
        (None, None) => return Err(Failure::Final("neither a source nor a destination is given".to_owned())),
    };
    if action.protocol == Some(Protocol::Icmp) && action.port.is_some() {
        return Err(Failure::Final("icmp has no ports".to_owned()));
    }
    let kind = match action.rule {
        FirewallVerdict::Block => Kind::Block,
        FirewallVerdict::RateLimit { .. } => Kind::RateLimit,
    };
    let (protocol, port) = (action.protocol, action.port);
    let place = Place { kind, ends, protocol: protocol.is_some(), port: port.is_some(), v6: address.is_ipv6() };
    Ok((place, Key { address, to, protocol, port }))
}

#[cfg(test)]
mod tests;
