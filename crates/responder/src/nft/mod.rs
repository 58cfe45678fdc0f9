//! The one nftables table of ours, `inet vertice`: its shape, and how elements come into it and leave it.
//!
//! Everything that is done to an address is an element of a set, with a timeout: when the lease ends the kernel lets
//! go, whether we live or not. The rules are the same however many addresses are held, and nothing outside the table is
//! ever named. Each change is one `nft -f -`, which the kernel takes as a whole or not at all; where a rule is missing
//! (the first time, after somebody flushed it, after the settings changed) the whole table is brought into shape in
//! the same transaction as the element.
//!
//! # Where traffic is met
//! - `prerouting` and `output` at priority raw, before connection tracking: blocks and rate limits, on the addresses
//!   that are on the wire. Packets of established connections are dropped like any other, for a host itself as for a
//!   router; a dropped flood leaves no trace in the connection table.
//! - `forward` at priority mangle: blocks again, where a destination that was translated has its real address.
//! - `input` and `postrouting` at priority mangle: isolation and speed limits. Each packet passes one of the two, once,
//!   and both its addresses are the real ones there.
//! - `cut` and `lead` (prerouting, priority mangle and just before dstnat): decoys. They exist only where a decoy is
//!   configured, because a NAT chain turns connection tracking on.
//!
//! A flowtable (hardware or software offload of forwarded flows) carries established flows past all hooks. Where
//! somebody configured one, a block stops new connections, and `traffic_stopped` is not said to be met.
//!
//! # Why nft's own language, and not its JSON
//! The JSON input of nft 1.0.6 (Debian 12) drops an element's own limit without a word, so that every rate would be
//! the set's. The text is made of constants, [`IpAddr`]s and integers, and of nothing else. It goes to nft by standard
//! input, without a shell. What stands is read from the kernel itself ([`netlink`]).

use std::net::IpAddr;
use std::time::Duration;

use vertice_model::Timestamp;

use crate::limits::{
    LEASE_SLACK_MS, NFT_S_MAX, RATE_COUNT_MAX, RATE_PERIOD_S_MAX, SHAPE_BIT_S_MAX, SHAPE_BIT_S_MIN, SHAPE_BURST_BYTES,
};
use crate::netlink::{self, Found, FoundLimit};
use crate::settings::Settings;
use crate::{Failure, program};

mod shape;

pub(crate) use shape::{Ends, Key, Kind, Place};

/// The name of the table.
pub(crate) const TABLE: &str = "vertice";

/// What is asked of the kernel: an element, until it lets go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    /// Which set.
    pub(crate) place: Place,
    /// Which element of it.
    pub(crate) key: Key,
    /// Its own limit, in a set of limits.
    pub(crate) limit: Option<Limit>,
    /// How long it stays, in seconds.
    pub(crate) lasts_s: u64,
}

/// How much an element lets through.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Limit {
    /// So many packets in so many seconds.
    Packets { count: u64, per_s: u64 },
    /// So many bytes a second.
    Bytes { per_s: u64 },
}

/// How an element stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// It and all rules that act on it are there, with this limit, for so many milliseconds.
    Held { limit: Option<Limit>, remaining_ms: u64 },
    /// It is not there.
    Absent,
    /// A rule is missing, or is not what it should be.
    Broken,
}

/// What an element is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wish {
    /// There, and just so.
    Held(Hold),
    /// Not there.
    Gone(Place, Key),
}

/// Makes elements what they are to be, all in one transaction; nothing is done where they are so already.
///
/// # Errors
/// When nft fails and the kernel does not hold what it should afterwards. The kernel is then as it was before.
pub(crate) fn change(settings: &Settings, wishes: &[Wish], limit_s: u64) -> Result<(), Failure> {
    let (mut script, mut broken) = (String::new(), false);
    for wish in wishes {
        let (Wish::Held(Hold { place, key, .. }) | Wish::Gone(place, key)) = wish;
        let standing = standing(settings, *place, key)?;
        if !is_met(wish, standing, *place, key)? {
            broken |= standing == Standing::Broken && matches!(wish, Wish::Held(_));
            script.push_str(&lines(wish, standing));
        }
    }
    if script.is_empty() {
        return Ok(());
    }
    if broken {
        script.insert_str(0, &shape::script(settings)?);
    }
    let Err(failure) = nft(settings, &script, limit_s) else { return Ok(()) };
    // It may have been killed after the kernel had taken the transaction.
    for wish in wishes {
        let (Wish::Held(Hold { place, key, .. }) | Wish::Gone(place, key)) = wish;
        if !is_met(wish, standing(settings, *place, key)?, *place, key)? {
            return Err(failure);
        }
    }
    Ok(())
}

fn is_met(wish: &Wish, standing: Standing, place: Place, key: &Key) -> Result<bool, Failure> {
    Ok(match (wish, standing) {
        (Wish::Held(hold), Standing::Held { limit, remaining_ms }) => {
            let wanted_ms = hold.lasts_s.saturating_mul(1_000);
            limit == hold.limit && remaining_ms.abs_diff(wanted_ms) <= LEASE_SLACK_MS
        }
        (Wish::Held(_), Standing::Absent | Standing::Broken) | (Wish::Gone(..), Standing::Held { .. }) => false,
        (Wish::Gone(..), Standing::Absent) => true,
        // It may lie in its set though no rule asks for it.
        (Wish::Gone(..), Standing::Broken) => netlink::element(TABLE, &place.name(), &key.bytes())?.is_none(),
    })
}

/// What nft is told for one element.
fn lines(wish: &Wish, standing: Standing) -> String {
    let (Wish::Held(Hold { place, key, .. }) | Wish::Gone(place, key)) = wish;
    let (set, key) = (place.name(), key.text());
    let mut lines = String::new();
    if standing != Standing::Absent {
        // Kernels before 6.12 do not change the end of an element that is there, so it is deleted first; and it is
        // added before, or the deletion would fail where it just expired.
        lines.push_str(&format!("add element inet {TABLE} {set} {{ {key} }}\n"));
        lines.push_str(&format!("delete element inet {TABLE} {set} {{ {key} }}\n"));
    }
    if let Wish::Held(hold) = wish {
        let limit = hold.limit.map(Limit::text).unwrap_or_default();
        lines.push_str(&format!("add element inet {TABLE} {set} {{ {key} {limit} timeout {}s }}\n", hold.lasts_s));
    }
    lines
}

/// Whether what remains of an element reaches to an instant.
pub(crate) fn lasts(remaining_ms: u64, until: Timestamp, now: Timestamp) -> bool {
    remaining_ms.saturating_add(LEASE_SLACK_MS) >= until.micros_since(now) / 1_000
}

/// How an element stands, read from the kernel.
pub(crate) fn standing(settings: &Settings, place: Place, key: &Key) -> Result<Standing, Failure> {
    for chain in shape::chains_of(settings, place)? {
        if netlink::comments(TABLE, &chain.name)? != chain.comments() {
            return Ok(Standing::Broken);
        }
    }
    let Some(found) = netlink::element(TABLE, &place.name(), &key.bytes())? else { return Ok(Standing::Absent) };
    Ok(Standing::Held {
        limit: found.limit.and_then(limit_found),
        remaining_ms: found.remaining_ms.unwrap_or(u64::MAX),
    })
}

/// Everything that a table of ours may hold and does.
pub(crate) fn all() -> Result<Vec<(Place, Key, Found)>, Failure> {
    let mut all = Vec::new();
    for place in Place::all() {
        for found in netlink::elements(TABLE, &place.name())? {
            all.extend(place.read(&found.key).map(|key| (place, key, found)));
        }
    }
    Ok(all)
}

/// Takes every element that names an address out, in one transaction. Says how many there were.
pub(crate) fn release(settings: &Settings, address: IpAddr) -> Result<usize, Failure> {
    let mut named = all()?;
    named.retain(|(_, key, _)| key.names(address));
    let gone: Vec<Wish> = named.iter().map(|(place, key, _)| Wish::Gone(*place, *key)).collect();
    change(settings, &gone, NFT_S_MAX)?;
    Ok(gone.len())
}

/// Whether some established flows may be carried past all rules: a flowtable does that, whoever's it is.
pub(crate) fn has_flowtables() -> Result<bool, Failure> {
    netlink::has_flowtables()
}

impl Limit {
    /// A limit of packets.
    pub(crate) fn packets(count: u64, per_s: u64) -> Result<Limit, Failure> {
        if count == 0 || count > RATE_COUNT_MAX || per_s == 0 || per_s > RATE_PERIOD_S_MAX {
            return Err(Failure::Final(format!(
                "a limit of {count} in {per_s} s: between 1 and {RATE_COUNT_MAX} in up to {RATE_PERIOD_S_MAX} s is possible"
            )));
        }
        if in_units(count, per_s).is_none() {
            return Err(Failure::Final(format!(
                "a limit of {count} in {per_s} s is no whole number in any of nft's units"
            )));
        }
        Ok(Limit::Packets { count, per_s })
    }

    /// A limit of bits per second.
    pub(crate) fn bits(per_s: u64) -> Result<Limit, Failure> {
        if !(SHAPE_BIT_S_MIN..=SHAPE_BIT_S_MAX).contains(&per_s) {
            return Err(Failure::Final(format!(
                "a limit of {per_s} bit/s: between {SHAPE_BIT_S_MIN} and {SHAPE_BIT_S_MAX} is possible"
            )));
        }
        Ok(Limit::Bytes { per_s: per_s / 8 })
    }

    /// Whether it lets no more through than another of its kind.
    pub(crate) fn is_within(self, other: Limit) -> bool {
        match (self, other) {
            (Limit::Packets { count, per_s }, Limit::Packets { count: count_max, per_s: per_s_max }) => {
                u128::from(count) * u128::from(per_s_max) <= u128::from(count_max) * u128::from(per_s)
            }
            (Limit::Bytes { per_s }, Limit::Bytes { per_s: max }) => per_s <= max,
            (Limit::Packets { .. }, Limit::Bytes { .. }) | (Limit::Bytes { .. }, Limit::Packets { .. }) => false,
        }
    }

    /// In nft's words: what is over it is matched. The kernel's bucket of packets holds `burst`; that of bytes holds a
    /// second's worth and `burst`.
    fn text(self) -> String {
        match self {
            Limit::Packets { count, per_s } => {
                let (rate, unit) = in_units(count, per_s).unwrap_or((1, "week"));
                format!("limit rate over {rate}/{unit} burst {count} packets")
            }
            Limit::Bytes { per_s } => format!("limit rate over {per_s} bytes/second burst {SHAPE_BURST_BYTES} bytes"),
        }
    }
}

/// nft's units of time.
const UNITS: [(u64, &str); 5] =
    [(1, "second"), (60, "minute"), (3_600, "hour"), (86_400, "day"), (RATE_PERIOD_S_MAX, "week")];

/// A rate in the smallest of nft's units in which it is a whole number; `None` where it is in none.
fn in_units(count: u64, per_s: u64) -> Option<(u64, &'static str)> {
    let (unit_s, unit) = UNITS.iter().find(|(unit_s, _)| (count * unit_s).is_multiple_of(per_s))?;
    Some((count * unit_s / per_s, unit))
}

/// The limit that we would have asked for, to be found as the kernel has it. A foreign one is none of ours.
fn limit_found(found: FoundLimit) -> Option<Limit> {
    if found.bytes {
        return (found.unit_s == 1 && found.burst == SHAPE_BURST_BYTES).then_some(Limit::Bytes { per_s: found.rate });
    }
    // Of the period we know but the rate in nft's unit and how many may come at once.
    let per_s = found.burst.checked_mul(found.unit_s)?.checked_div(found.rate)?;
    Some(Limit::Packets { count: found.burst, per_s })
}

fn nft(settings: &Settings, script: &str, limit_s: u64) -> Result<(), Failure> {
    let mut command = program::command(&settings.firewall_rule.nft);
    command.args(["-f", "-"]);
    program::run(command, script, Duration::from_secs(limit_s.min(NFT_S_MAX)))?;
    Ok(())
}

#[cfg(test)]
mod tests;
