//! Containments as the decisions of CrowdSec's local API, so that every bouncer there is enforces them.
//!
//! # What a decision is
//! A bouncer knows one thing of an address: what becomes of it, and for how long. Any number of containments may hold
//! one address, so a decision is what they come to together: the strongest remedy, for as long as the longest lease
//! with it. It is taken back when none of them holds any more, and not when the first of them ends.
//!
//! Only what is really in force is told: never what is `simulated`, and no rule that a bouncer could not keep to. One
//! that knows nothing of ports would block all of an address where a port of it was meant.
//!
//! # How each bouncer is told everything, once
//! Containments lie in the read model in the order of their last change. A bouncer has a place in that order
//! ([`places`]), and is told what changed after it, as it stands now. The place moves once the answer is handed over,
//! and is durable: what is told twice does no harm, and nothing is left out, whatever is restarted in between.

pub(crate) mod asked;
mod duration;
pub(crate) mod places;
pub(crate) mod pull;
mod standing;

use std::net::IpAddr;

use serde::Serialize;
use vertice_model::Timestamp;

pub(crate) use standing::{Held, Remedy, Standing};

/// Where every decision comes from, as bouncers know the word: what an engine here decided, not a list from elsewhere.
/// Some are set up to heed nothing but `crowdsec` and `cscli`.
pub(crate) const ORIGIN: &str = "crowdsec";

/// What every decision is about. Bouncers compare it as it is written.
pub(crate) const SCOPE: &str = "Ip";

/// A decision, as the local API of CrowdSec writes it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct Decision {
    /// A number that is the same for the same address and type.
    pub(crate) id: u64,
    /// The containment that holds longest.
    pub(crate) uuid: String,
    /// Always `crowdsec`: decided here, and not taken from a list.
    pub(crate) origin: &'static str,
    /// `vertice/` and the playbook.
    pub(crate) scenario: String,
    /// Always `Ip`.
    pub(crate) scope: &'static str,
    /// What becomes of it.
    #[serde(rename = "type")]
    pub(crate) remedy: Remedy,
    /// The address.
    #[schema(value_type = String)]
    pub(crate) value: IpAddr,
    /// How long it is yet to last; not above zero of one that was taken back.
    #[schema(example = "3h59m58.5s")]
    pub(crate) duration: String,
}

impl Decision {
    fn new(address: IpAddr, remedy: Remedy, held: &Held, us: i64) -> Decision {
        Decision {
            id: number(address, remedy),
            uuid: held.containment.to_string(),
            origin: ORIGIN,
            scenario: format!("vertice/{}", held.playbook),
            scope: SCOPE,
            remedy,
            value: address,
            duration: duration::written(us),
        }
    }

    /// One that holds.
    pub(crate) fn held(address: IpAddr, held: &Held, now: Timestamp) -> Decision {
        Decision::new(address, held.remedy, held, held.until.as_micros().saturating_sub(now.as_micros()))
    }

    /// One that was taken back.
    pub(crate) fn gone(address: IpAddr, remedy: Remedy, held: &Held, now: Timestamp) -> Decision {
        let over_us = held.until.as_micros().saturating_sub(now.as_micros());
        Decision::new(address, remedy, held, over_us.min(0))
    }
}

/// A number of 48 bits, which every language that reads JSON keeps exactly. Not 0, which some take for none.
fn number(address: IpAddr, remedy: Remedy) -> u64 {
    let hash = blake3::hash(format!("{address}|{remedy:?}").as_bytes());
    let mut first = [0; 8];
    first[..6].copy_from_slice(&hash.as_bytes()[..6]);
    u64::from_le_bytes(first).max(1)
}
