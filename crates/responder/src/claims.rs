//! Several actions that ask for one element of a set: two rates for one address, a host that is cut off by its name
//! and by its address. The strictest holds; when it is taken back, the next one does.
//!
//! The kernel knows the element only, so who asks for it is kept beside it, one small file for each element. It is
//! written before the kernel is told of a new claim, and after it was told that one is gone: after a kill in between,
//! doing the same again leads to the same.

use std::collections::BTreeMap;
use std::fs::File;

use serde::{Deserialize, Serialize};
use vertice_model::{Task, Timestamp};

use crate::keep::name_of;
use crate::nft::{self, Hold, Key, Limit, Place, Standing};
use crate::{Failure, Hand};

/// What one action asks of an element.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Claim {
    limit: Option<Limit>,
    until: Timestamp,
}

/// By the name of the action.
type Claims = BTreeMap<String, Claim>;

/// Makes the action's claim, and the element what the strictest claim asks.
pub(crate) fn make(hand: &Hand<'_>, place: Place, key: &Key, limit: Option<Limit>) -> Result<(), Failure> {
    let (until, _) = hand.lease()?;
    change(hand, place, key, |claims| {
        claims.insert(own(hand), Claim { limit, until });
    })
}

/// Takes the action's claim back; where it was the last one, the element goes.
pub(crate) fn withdraw(hand: &Hand<'_>, place: Place, key: &Key) -> Result<(), Failure> {
    change(hand, place, key, |claims| {
        claims.remove(&own(hand));
    })
}

/// Whether the action's claim is there and the element is at least as strict as it asks, for as long as the strictest
/// claim asks. An element is not there, either, whose rules are missing.
pub(crate) fn is_met(hand: &Hand<'_>, place: Place, key: &Key) -> Result<bool, Failure> {
    let mut claims: Claims = hand.keep.get(&name(place, key))?.unwrap_or_default();
    let standing = nft::standing(hand.settings, place, key)?;
    let Some(own) = claims.get(&own(hand)).copied() else { return Ok(false) };
    // A claim that is to be prolonged is not met by what it was before.
    if hand.order.task == Task::Apply && hand.order.until.is_some_and(|until| until > own.until) {
        return Ok(false);
    }
    claims.retain(|_, claim| claim.until > hand.now);
    let Standing::Held { limit, remaining_ms } = standing else { return Ok(false) };
    let strict_enough = match (limit, own.limit) {
        (Some(there), Some(asked)) => there.is_within(asked),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    let until = strictest(&claims).map_or(own.until, |claim| claim.until);
    Ok(strict_enough && nft::lasts(remaining_ms, until, hand.now))
}

fn change(hand: &Hand<'_>, place: Place, key: &Key, change: impl FnOnce(&mut Claims)) -> Result<(), Failure> {
    let name = name(place, key);
    let _lock = lock(hand)?;
    let mut claims: Claims = hand.keep.get(&name)?.unwrap_or_default();
    claims.retain(|_, claim| claim.until > hand.now);
    let count = claims.len();
    change(&mut claims);
    let withdrawn = claims.len() < count;
    if !withdrawn && !claims.is_empty() {
        hand.keep.put(&name, &claims)?;
    }
    match strictest(&claims) {
        Some(claim) => {
            let lasts_s = claim.until.micros_since(hand.now).div_ceil(1_000_000);
            nft::hold(hand.settings, &Hold { place, key: *key, limit: claim.limit, lasts_s }, hand.order.timeout_s)?;
        }
        None => nft::let_go(hand.settings, place, key, hand.order.timeout_s)?,
    }
    match (claims.is_empty(), withdrawn) {
        (true, _) => hand.keep.forget(&name),
        (false, true) => hand.keep.put(&name, &claims),
        (false, false) => Ok(()),
    }
}

/// Of two that are equally strict, the one that lasts longer.
fn strictest(claims: &Claims) -> Option<Claim> {
    let mut all = claims.values();
    let first = *all.next()?;
    Some(all.fold(first, |best, claim| {
        let within = |a: &Claim, b: &Claim| match (a.limit, b.limit) {
            (Some(a), Some(b)) => a.is_within(b),
            (None, None | Some(_)) => true,
            (Some(_), None) => false,
        };
        match (within(claim, &best), within(&best, claim)) {
            (true, false) => *claim,
            (true, true) if claim.until > best.until => *claim,
            (true | false, _) => best,
        }
    }))
}

fn own(hand: &Hand<'_>) -> String {
    name_of("action", &hand.order.action)
}

fn name(place: Place, key: &Key) -> String {
    name_of("claims", &(place.name(), key.text()))
}

/// Held while claims are read and changed: two orders may be about one element.
fn lock(hand: &Hand<'_>) -> Result<File, Failure> {
    let path = hand.keep.folder("claims")?.join("lock");
    let locked = || -> std::io::Result<File> {
        let file = File::options().create(true).append(true).open(&path)?;
        file.lock()?;
        Ok(file)
    };
    locked().map_err(|e| Failure::Retry(format!("locking {}: {e}", path.display())))
}
