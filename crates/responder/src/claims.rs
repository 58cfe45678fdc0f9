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
use crate::nft::{self, Hold, Key, Limit, Place, Standing, Wish};
use crate::{Failure, Hand};

/// What one action asks of an element.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Claim {
    limit: Option<Limit>,
    until: Timestamp,
}

/// By the name of the action.
type Claims = BTreeMap<String, Claim>;

/// Makes the action's claim on each element, and each what its strictest claim asks; all in one transaction.
pub(crate) fn make(hand: &Hand<'_>, elements: &[(Place, Key)], limit: Option<Limit>) -> Result<(), Failure> {
    let (until, _) = hand.lease()?;
    let _lock = lock(hand)?;
    let (mut wishes, mut before) = (Vec::new(), Vec::new());
    for (place, key) in elements {
        let mut claims = live(hand, *place, key)?;
        before.push((name(*place, key), claims.clone()));
        claims.insert(own(hand), Claim { limit, until });
        hand.keep.put(&name(*place, key), &claims)?;
        wishes.push(wish(hand, *place, key, &claims));
    }
    // What did not come about is not claimed, or it would make the next claim stricter than it asks to be.
    nft::change(hand.settings, &wishes, hand.order.timeout_s).or_else(|failure| {
        keep_all(hand, before)?;
        Err(failure)
    })
}

/// Takes the action's claim on each element back; one that it was the last claim on goes.
pub(crate) fn withdraw(hand: &Hand<'_>, elements: &[(Place, Key)]) -> Result<(), Failure> {
    let _lock = lock(hand)?;
    let (mut wishes, mut left) = (Vec::new(), Vec::new());
    for (place, key) in elements {
        let mut claims = live(hand, *place, key)?;
        claims.remove(&own(hand));
        wishes.push(wish(hand, *place, key, &claims));
        left.push((name(*place, key), claims));
    }
    nft::change(hand.settings, &wishes, hand.order.timeout_s)?;
    keep_all(hand, left)
}

fn keep_all(hand: &Hand<'_>, all: Vec<(String, Claims)>) -> Result<(), Failure> {
    for (name, claims) in all {
        if claims.is_empty() { hand.keep.forget(&name)? } else { hand.keep.put(&name, &claims)? }
    }
    Ok(())
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

/// The claims that are not over.
fn live(hand: &Hand<'_>, place: Place, key: &Key) -> Result<Claims, Failure> {
    let mut claims: Claims = hand.keep.get(&name(place, key))?.unwrap_or_default();
    claims.retain(|_, claim| claim.until > hand.now);
    Ok(claims)
}

fn wish(hand: &Hand<'_>, place: Place, key: &Key, claims: &Claims) -> Wish {
    let Some(claim) = strictest(claims) else { return Wish::Gone(place, *key) };
    let lasts_s = claim.until.micros_since(hand.now).div_ceil(1_000_000);
    Wish::Held(Hold { place, key: *key, limit: claim.limit, lasts_s })
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
