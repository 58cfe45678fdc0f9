//! The hands: the only crate that changes the world, and only with an [`Approved`] order, which the engine alone
//! can make.
//!
//! Every verb is three functions in a file of its own: `apply` makes it so and is idempotent, `observe` says how the
//! world stands, `undo` takes it back and is content where nothing is left. [`Responder::carry_out`] composes them:
//!
//! 1. the protected set is checked once more, against this machine as it is now ([`guard`]); what a process that died
//!    half-way may have done of an order that is forbidden now is taken back;
//! 2. an order that began before (the process died, or was killed) is observed first: what is so already is not done
//!    again, what can not be observed is [`Outcome::Unknown`] and waits for a person;
//! 3. it is done, and its success criteria are observed.
//!
//! What a verb must remember to undo what it did (a file's owner, an account's state) it writes to its own file in
//! the data directory before it acts ([`keep`]), so that a kill in between loses nothing.

mod account;
mod address;
mod capture;
mod claims;
mod command;
mod deadline;
mod decoy;
mod ending;
mod failure;
mod file;
mod firewall;
mod forensics;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod guard;
mod http;
mod isolation;
mod keep;
#[cfg(test)]
mod kills;
pub mod limits;
mod logins;
pub mod machine;
mod message;
mod netlink;
mod nft;
mod once;
mod process;
mod processes;
mod program;
mod release;
mod request;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod servers;
mod sessions;
pub mod settings;
mod shaping;
mod steps;
#[cfg(test)]
mod testing;
mod text;

use std::collections::BTreeMap;
use std::path::Path;

use vertice_engine::decide::{Approved, Policy};
use vertice_model::{Action, Order, Outcome, Receipt, Task, Timestamp};

pub use failure::Failure;
use guard::Guard;
pub use keep::Keep;
pub use message::{Told, ask, receivers};
pub use release::{HeldElement, held, release_address};
pub use settings::Settings;

/// How the world stands with an action.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// Whether the action's effect is there.
    pub held: Held,
    /// Each success criterion that could be observed, and whether it is met.
    pub criteria: BTreeMap<&'static str, bool>,
    /// What was seen, for people.
    pub note: String,
}

/// Whether an action's effect is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Held {
    /// All of it.
    Yes,
    /// Nothing of it, or not all.
    No,
    /// Nothing in the world tells: a message that may have been delivered.
    Unknowable,
}

/// What a verb's functions are given beside the action.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hand<'a> {
    pub(crate) order: &'a Order,
    pub(crate) settings: &'a Settings,
    pub(crate) keep: &'a Keep,
    /// The time, for leases: read once when the order was taken up.
    pub(crate) now: Timestamp,
    /// Whether another process may have been at it whose files are not ours.
    pub(crate) elsewhere: bool,
}

/// Whether an order was taken up before, by a process that may have died half-way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Begun {
    /// It was not.
    No,
    /// By one that kept what it knew where we keep it.
    Here,
    /// Perhaps by one that kept what it knew elsewhere: that nothing is known here does not say that nothing was sent.
    Elsewhere,
}

impl Hand<'_> {
    /// When the world is to let go by itself, and in how many whole seconds that is.
    ///
    /// # Errors
    /// Where the order has no lease, or it is over: nothing that lasts is done without one.
    pub(crate) fn lease(&self) -> Result<(Timestamp, u64), Failure> {
        let Some(until) = self.order.until else {
            return Err(Failure::Final(format!("{} lasts, and its order has no end", self.order.action.verb())));
        };
        match until.micros_since(self.now).div_ceil(1_000_000) {
            0 => Err(Failure::Final(format!("its lease was over at {until}"))),
            lasts_s => Ok((until, lasts_s)),
        }
    }
}

/// What carries orders out on this machine.
#[derive(Debug)]
pub struct Responder {
    settings: Settings,
    keep: Keep,
    guard: Guard,
}

impl Responder {
    /// One that keeps what it must remember below `dir`, which is made if it is missing.
    ///
    /// # Errors
    /// When the directory can not be made.
    pub fn open(settings: Settings, dir: &Path) -> std::io::Result<Responder> {
        Ok(Responder { settings, keep: Keep::open(dir)?, guard: Guard::default() })
    }

    /// Carries an order out. Blocks until it is done or its time is over.
    ///
    /// `policy` is the one in force now, which may forbid what was allowed when the order was given.
    #[must_use]
    pub fn carry_out(&self, order: Approved<Order>, begun: Begun, policy: &Policy, now: Timestamp) -> Receipt {
        self.carry(&order.into_inner(), begun, policy, now)
    }

    fn carry(&self, order: &Order, begun: Begun, policy: &Policy, now: Timestamp) -> Receipt {
        let elsewhere = begun == Begun::Elsewhere;
        let hand = Hand { order, settings: &self.settings, keep: &self.keep, now, elsewhere };
        let (outcome, seen) = match self.done(&hand, begun != Begun::No, policy) {
            Ok((outcome, seen)) => (outcome, Some(seen)),
            Err(failure) => (failure.outcome(), None),
        };
        let seen = seen.unwrap_or_else(|| Seen { held: Held::No, criteria: BTreeMap::new(), note: String::new() });
        let criteria = seen.criteria.into_iter().map(|(name, met)| (name.to_owned(), met)).collect();
        Receipt { order_id: order.order_id, outcome, criteria, note: seen.note }
    }

    /// How the world stands with an action, without touching anything.
    ///
    /// # Errors
    /// When it can not be looked at.
    pub fn observe(&self, order: &Order, now: Timestamp) -> Result<Seen, Failure> {
        observe(&Hand { order, settings: &self.settings, keep: &self.keep, now, elsewhere: false })
    }

    fn done(&self, hand: &Hand<'_>, begun: bool, policy: &Policy) -> Result<(Outcome, Seen), Failure> {
        match hand.order.task {
            Task::Apply => {
                let action = &hand.order.action;
                let forbids = || self.guard.forbids(policy, action).or_else(|| inventory_forbids(hand, policy));
                if let Some(why) = forbids() {
                    return Err(if begun { taken_back(hand, why)? } else { Failure::Final(why) });
                }
                if begun {
                    let seen = observe(hand)?;
                    match seen.held {
                        Held::Yes => {
                            // What the kernel lets go of by itself may be there with an older end, and is prolonged.
                            if ends_by_itself(action) {
                                apply(hand)?;
                            }
                            return Ok((Outcome::Already, seen));
                        }
                        Held::No => {}
                        Held::Unknowable => return Err(Failure::Unknown(seen.note)),
                    }
                }
                let note = apply(hand)?;
                let mut seen = observe(hand)?;
                if seen.held == Held::No {
                    return Err(Failure::Retry(format!("it was done and is not to be seen: {}", seen.note)));
                }
                seen.note = note;
                Ok((Outcome::Done, seen))
            }
            Task::Undo => {
                if begun && observe(hand)?.held == Held::Unknowable {
                    return Err(Failure::Unknown("whether it was undone can not be seen".to_owned()));
                }
                let note = undo(hand)?;
                let seen = observe(hand)?;
                if seen.held == Held::Yes {
                    return Err(Failure::Retry(format!("it was undone and is still to be seen: {}", seen.note)));
                }
                Ok((Outcome::Done, Seen { note, ..seen }))
            }
        }
    }
}

/// Takes back what an order may have done before its process died, for it may not be done any longer: an operator has
/// logged in from the address that was just blocked. Returns the failure that tells of it.
fn taken_back(hand: &Hand<'_>, why: String) -> Result<Failure, Failure> {
    match observe(hand)?.held {
        Held::Unknowable => Ok(Failure::Unknown(format!("{why}; whether it was done before can not be seen"))),
        Held::Yes | Held::No => {
            undo(hand)?;
            Ok(Failure::Final(why))
        }
    }
}

/// Why an action may not be carried out because of whom the settings say that it means: a host named in an action has
/// the addresses that the inventory gives it.
fn inventory_forbids(hand: &Hand<'_>, policy: &Policy) -> Option<String> {
    match &hand.order.action {
        Action::ZoneIsolation(a) => isolation::forbids(policy, hand.settings, a),
        Action::FirewallRule(_)
        | Action::HoneypotDeployment(_)
        | Action::TrafficShaping(_)
        | Action::TrafficCapture(_)
        | Action::KillProcess(_)
        | Action::Quarantine(_)
        | Action::RevokeCredentials(_)
        | Action::SessionTermination(_)
        | Action::CollectForensics(_)
        | Action::Notification(_)
        | Action::HttpRequest(_)
        | Action::RemoteCommand(_) => None,
    }
}

/// Whether the world lets go of an action at its order's `until`, should we be gone; to apply it again prolongs it.
fn ends_by_itself(action: &Action) -> bool {
    match action {
        Action::FirewallRule(_)
        | Action::HoneypotDeployment(_)
        | Action::ZoneIsolation(_)
        | Action::TrafficShaping(_)
        | Action::TrafficCapture(_) => true,
        Action::KillProcess(_)
        | Action::Quarantine(_)
        | Action::RevokeCredentials(_)
        | Action::SessionTermination(_)
        | Action::CollectForensics(_)
        | Action::Notification(_)
        | Action::HttpRequest(_)
        | Action::RemoteCommand(_) => false,
    }
}

fn apply(hand: &Hand<'_>) -> Result<String, Failure> {
    match &hand.order.action {
        Action::FirewallRule(a) => firewall::apply(hand, a),
        Action::HoneypotDeployment(a) => decoy::apply(hand, a),
        Action::ZoneIsolation(a) => isolation::apply(hand, a),
        Action::TrafficShaping(a) => shaping::apply(hand, a),
        Action::TrafficCapture(a) => capture::apply(hand, a),
        Action::KillProcess(a) => process::apply(hand, a),
        Action::Quarantine(a) => file::apply(hand, a),
        Action::RevokeCredentials(a) => account::apply(hand, a),
        Action::SessionTermination(a) => sessions::apply(hand, a),
        Action::CollectForensics(a) => forensics::apply(hand, a),
        Action::Notification(a) => message::apply(hand, a),
        Action::HttpRequest(a) => request::apply(hand, a),
        Action::RemoteCommand(a) => command::apply(hand, a),
    }
}

fn observe(hand: &Hand<'_>) -> Result<Seen, Failure> {
    match &hand.order.action {
        Action::FirewallRule(a) => firewall::observe(hand, a),
        Action::HoneypotDeployment(a) => decoy::observe(hand, a),
        Action::ZoneIsolation(a) => isolation::observe(hand, a),
        Action::TrafficShaping(a) => shaping::observe(hand, a),
        Action::TrafficCapture(a) => capture::observe(hand, a),
        Action::KillProcess(a) => process::observe(hand, a),
        Action::Quarantine(a) => file::observe(hand, a),
        Action::RevokeCredentials(a) => account::observe(hand, a),
        Action::SessionTermination(a) => sessions::observe(hand, a),
        Action::CollectForensics(a) => forensics::observe(hand, a),
        Action::Notification(a) => message::observe(hand, a),
        Action::HttpRequest(a) => request::observe(hand, a),
        Action::RemoteCommand(a) => command::observe(hand, a),
    }
}

fn undo(hand: &Hand<'_>) -> Result<String, Failure> {
    match &hand.order.action {
        Action::FirewallRule(a) => firewall::undo(hand, a),
        Action::HoneypotDeployment(a) => decoy::undo(hand, a),
        Action::ZoneIsolation(a) => isolation::undo(hand, a),
        Action::TrafficShaping(a) => shaping::undo(hand, a),
        Action::TrafficCapture(a) => capture::undo(hand, a),
        Action::KillProcess(_) | Action::SessionTermination(_) => Ok("nothing brings it back".to_owned()),
        Action::Quarantine(a) => file::undo(hand, a),
        Action::RevokeCredentials(a) => account::undo(hand, a),
        Action::CollectForensics(a) => forensics::undo(hand, a),
        Action::Notification(a) => message::undo(hand, a),
        Action::HttpRequest(a) => request::undo(hand, a),
        Action::RemoteCommand(a) => command::undo(hand, a),
    }
}
