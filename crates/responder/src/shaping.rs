//! `traffic_shaping`: an address's traffic is held to a speed.
//!
//! It is policed: the kernel counts bytes in the address's own element and drops what is over the limit, and TCP slows
//! down to it by itself. Nothing is queued; a queue would need tc, and with it an interface and someone to take it away.
//! A second's worth and 64 KiB may come at once, after which it is the limit. Of two limits for one address and
//! direction the lower one holds. With direction `both`, both ways share one limit.

use std::collections::BTreeMap;

use vertice_model::{Direction, TrafficShaping};

use crate::nft::{Key, Kind, Limit, Place};
use crate::{Failure, Hand, Held, Seen, claims};

pub(crate) fn apply(hand: &Hand<'_>, action: &TrafficShaping) -> Result<String, Failure> {
    let (until, _) = hand.lease()?;
    let (place, key) = element(action);
    claims::make(hand, &[(place, key)], Some(Limit::bits(action.limit_bit_s)?))?;
    Ok(format!("{} has {} bit/s until {until}", key.address, action.limit_bit_s))
}

pub(crate) fn observe(hand: &Hand<'_>, action: &TrafficShaping) -> Result<Seen, Failure> {
    let (place, key) = element(action);
    let applied = claims::is_met(hand, place, &key)?;
    let criteria = BTreeMap::from([("limit_applied", applied)]);
    let note = if applied { "its limit stands" } else { "its limit is not there" };
    Ok(Seen { held: if applied { Held::Yes } else { Held::No }, criteria, note: note.to_owned() })
}

pub(crate) fn undo(hand: &Hand<'_>, action: &TrafficShaping) -> Result<String, Failure> {
    let (place, key) = element(action);
    claims::withdraw(hand, &[(place, key)])?;
    Ok(format!("the limit is off {}", key.address))
}

fn element(action: &TrafficShaping) -> (Place, Key) {
    let address = action.target_ip.to_canonical();
    let kind = match action.direction {
        Direction::Inbound => Kind::ShapeInbound,
        Direction::Outbound => Kind::ShapeOutbound,
        Direction::Both => Kind::ShapeBoth,
    };
    (Place::of(kind, address.is_ipv6()), Key::of(address))
}

#[cfg(test)]
mod tests;
