//! `zone_isolation`: a host reaches the management plane and nothing else, and nothing else reaches it.
//!
//! It acts on what passes this machine, as a router or as the host's neighbour. What two hosts of one switch say to each
//! other passes nobody, and is not stopped.
//!
//! A host is cut off under every address that the inventory gives it, and under the one that the action names. They are
//! remembered before anything is done, so that the same addresses are let in again whatever the inventory says then.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use vertice_engine::decide::Policy;
use vertice_model::{Entity, ZoneIsolation};

use crate::keep::name_of;
use crate::nft::{Key, Kind, Place};
use crate::settings::Settings;
use crate::{Failure, Hand, Held, Seen, claims};

pub(crate) fn apply(hand: &Hand<'_>, action: &ZoneIsolation) -> Result<String, Failure> {
    let (until, _) = hand.lease()?;
    let management = &hand.settings.zone_isolation.management;
    let mut all = resolved(hand.settings, action);
    if all.is_empty() {
        let host = action.target_host.as_deref().unwrap_or("the host");
        return Err(Failure::Final(format!("no address of {host} is known: name it in response.zone_isolation.hosts")));
    }
    for address in &all {
        if !management.iter().any(|net| net.addr().is_ipv6() == address.is_ipv6()) {
            let why = "nobody could let it in again: name one in response.zone_isolation.management";
            return Err(Failure::Final(format!("no management network of the family of {address} is known, so {why}")));
        }
        if let Some(net) = management.iter().find(|net| net.contains(address)) {
            return Err(Failure::Final(format!("{address} is part of the management network {net}")));
        }
    }
    // Those of an earlier attempt too, or a change of the inventory in between would leave one behind.
    let before = remembered(hand, action)?;
    all.extend(before.iter().copied());
    hand.keep.put(&name(action), &all)?;
    if let Err(failure) = claims::make(hand, &elements(&all), None) {
        if before.is_empty() {
            hand.keep.forget(&name(action))?
        } else {
            hand.keep.put(&name(action), &before)?
        }
        return Err(failure);
    }
    Ok(format!("{} cut off until {until}", list(&all)))
}

pub(crate) fn observe(hand: &Hand<'_>, action: &ZoneIsolation) -> Result<Seen, Failure> {
    let all = addresses(hand, action)?;
    let mut met = Vec::new();
    for (place, key) in elements(&all) {
        met.push(claims::is_met(hand, place, &key)?);
    }
    let isolated = !met.is_empty() && met.iter().all(|met| *met);
    // The rules that let the management plane through are part of what stands or does not.
    let criteria = BTreeMap::from([("host_isolated", isolated), ("management_reachable", isolated)]);
    let note = match (isolated, met.contains(&true)) {
        (true, _) => format!("{} cut off", list(&all)),
        (false, true) => format!("not all of {} cut off", list(&all)),
        (false, false) => "it is not cut off".to_owned(),
    };
    Ok(Seen { held: if isolated { Held::Yes } else { Held::No }, criteria, note })
}

pub(crate) fn undo(hand: &Hand<'_>, action: &ZoneIsolation) -> Result<String, Failure> {
    let all = addresses(hand, action)?;
    claims::withdraw(hand, &elements(&all))?;
    hand.keep.forget(&name(action))?;
    Ok(format!("{} let in again", list(&all)))
}

/// Why a host may not be cut off: an address that the inventory gives it is protected.
pub(crate) fn forbids(policy: &Policy, settings: &Settings, action: &ZoneIsolation) -> Option<String> {
    let entities = resolved(settings, action).into_iter().filter_map(|address| Entity::ip(&address.to_string()));
    entities.filter_map(|entity| policy.forbids(&entity)).next()
}

fn addresses(hand: &Hand<'_>, action: &ZoneIsolation) -> Result<BTreeSet<IpAddr>, Failure> {
    let remembered = remembered(hand, action)?;
    Ok(if remembered.is_empty() { resolved(hand.settings, action) } else { remembered })
}

fn remembered(hand: &Hand<'_>, action: &ZoneIsolation) -> Result<BTreeSet<IpAddr>, Failure> {
    Ok(hand.keep.get(&name(action))?.unwrap_or_default())
}

fn resolved(settings: &Settings, action: &ZoneIsolation) -> BTreeSet<IpAddr> {
    let named = |host: &String| {
        let known = settings.zone_isolation.hosts.iter().filter(|(name, _)| name.eq_ignore_ascii_case(host));
        known.flat_map(|(_, addresses)| addresses.iter().copied()).collect::<Vec<_>>()
    };
    let all = action.target_host.iter().flat_map(named).chain(action.target_ip);
    all.map(|address| address.to_canonical()).collect()
}

fn elements(all: &BTreeSet<IpAddr>) -> Vec<(Place, Key)> {
    all.iter().map(|address| (Place::of(Kind::Isolate, address.is_ipv6()), Key::of(*address))).collect()
}

fn name(action: &ZoneIsolation) -> String {
    name_of("isolation", action)
}

fn list(all: &BTreeSet<IpAddr>) -> String {
    let names: Vec<String> = all.iter().map(ToString::to_string).collect();
    format!("{} {}", names.join(", "), if names.len() == 1 { "is" } else { "are" })
}

#[cfg(test)]
mod tests;
