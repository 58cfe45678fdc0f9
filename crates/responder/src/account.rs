//! `revoke_credentials`: a local account is locked and expired, by the system's own `usermod`, in one step.
//!
//! A lock (`!` before the password's hash) stops passwords only. Keys of SSH, tokens and everything else that is checked
//! elsewhere stop by the account being expired: sshd and every other program that asks PAM refuses an expired account,
//! and sshd without PAM looks at the date itself. The date is the first day of 1970 but one, for 0 is ambiguous
//! (shadow(5)). Sessions that are open stay open: that is `session_termination`.
//!
//! How the account stood is remembered before, so that one that was locked before stays locked, and a date that was
//! there before is there again. An account without any password is only expired, for taking such a lock back is refused
//! by `usermod`; nobody logs into it all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde::{Deserialize, Serialize};
use vertice_model::RevokeCredentials;

use crate::deadline::Deadline;
use crate::keep::name_of;
use crate::machine::is_here;
use crate::program::said;
use crate::steps::between;
use crate::{Failure, Hand, Held, Seen};

/// The day on which a revoked account expired, counted from 1970-01-01.
const LONG_AGO: &str = "1";

/// How an account stands.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct State {
    password: Password,
    /// The day on which it expires, as the file has it; empty: never.
    expires: String,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Password {
    Open,
    Locked,
    /// There is none, and none is asked for.
    Empty,
}

/// An account that is locked by us.
#[derive(Debug, Deserialize, Serialize)]
struct Kept {
    before: State,
    /// The actions that it is locked for: one account may be asked for by several names of this host.
    holders: BTreeSet<String>,
}

pub(crate) fn apply(hand: &Hand<'_>, action: &RevokeCredentials) -> Result<String, Failure> {
    is_here(action.target_host.as_deref())?;
    let user = action.user.as_str();
    let Some(now) = state(hand, user)? else {
        let what = "is no local account of this machine: one of a directory is locked there, by remote_command";
        return Err(Failure::Final(format!("{user:?} {what}")));
    };
    let name = name_of("account", &action.user);
    let mut kept = match hand.keep.get::<Kept>(&name)? {
        Some(kept) if now.revoked() => kept,
        // It was opened again by somebody, or was never locked: it is as it is now that it is to be again.
        Some(kept) => Kept { before: now.clone(), ..kept },
        None => Kept { before: now.clone(), holders: BTreeSet::new() },
    };
    kept.holders.insert(name_of("by", action));
    hand.keep.put(&name, &kept)?;
    between("remembering");
    if !now.revoked() {
        let lock = if now.password == Password::Open { &["--lock"][..] } else { &[] };
        usermod(hand, &[lock, &["--expiredate", LONG_AGO]].concat(), user)?;
        between("locking");
    }
    Ok(match kept.before.password {
        Password::Open => format!("{user} is locked and expired"),
        Password::Locked => format!("{user} was locked before, and is expired"),
        Password::Empty => format!("{user} has no password to lock, and is expired"),
    })
}

pub(crate) fn observe(hand: &Hand<'_>, action: &RevokeCredentials) -> Result<Seen, Failure> {
    is_here(action.target_host.as_deref())?;
    let kept: Option<Kept> = hand.keep.get(&name_of("account", &action.user))?;
    let ours = kept.is_some_and(|kept| kept.holders.contains(&name_of("by", action)));
    let (locked, note) = match state(hand, &action.user)? {
        Some(now) => (now.revoked(), format!("password {:?}, expires on day {:?}", now.password, now.expires)),
        None => (false, "there is no such account".to_owned()),
    };
    let criteria = BTreeMap::from([("account_locked", locked)]);
    Ok(Seen { held: if locked && ours { Held::Yes } else { Held::No }, criteria, note })
}

pub(crate) fn undo(hand: &Hand<'_>, action: &RevokeCredentials) -> Result<String, Failure> {
    is_here(action.target_host.as_deref())?;
    let (user, name) = (action.user.as_str(), name_of("account", &action.user));
    let Some(mut kept) = hand.keep.get::<Kept>(&name)? else { return Ok("it was not locked by us".to_owned()) };
    kept.holders.remove(&name_of("by", action));
    if !kept.holders.is_empty() {
        return hand.keep.put(&name, &kept).map(|()| "it stays locked for another containment".to_owned());
    }
    // Only what is as we left it is taken back: what a person has set since is theirs.
    let mut arguments = Vec::new();
    if let Some(now) = state(hand, user)? {
        if now.password == Password::Locked && kept.before.password == Password::Open {
            arguments.push("--unlock");
        }
        if now.expires == LONG_AGO && kept.before.expires != LONG_AGO {
            arguments.extend(["--expiredate", kept.before.expires.as_str()]);
        }
    }
    if !arguments.is_empty() {
        usermod(hand, &arguments, user)?;
        between("unlocking");
    }
    hand.keep.forget(&name)?;
    between("forgetting");
    Ok(format!("{user} is as it was"))
}

impl State {
    fn revoked(&self) -> bool {
        self.password != Password::Open && self.expires == LONG_AGO
    }
}

/// How an account stands; `None` if there is no local one.
fn state(hand: &Hand<'_>, user: &str) -> Result<Option<State>, Failure> {
    let read = |name: &str| {
        let path = hand.settings.revoke_credentials.root.join("etc").join(name);
        fs::read_to_string(&path).map_err(|e| Failure::Final(format!("reading {}: {e}", path.display())))
    };
    let Some(number) = number_of(&read("passwd")?, user) else { return Ok(None) };
    if number == 0 || number == rustix::process::getuid().as_raw() {
        return Err(Failure::Final(format!("{user:?} is never locked, for the system or Vertice runs as it")));
    }
    Ok(state_in(&read("shadow")?, user))
}

/// The account's number, in the text of passwd(5).
fn number_of(passwd: &str, user: &str) -> Option<u32> {
    let mut lines = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    lines.find(|words| words.first() == Some(&user))?.get(2)?.parse().ok()
}

/// How it stands, in the text of shadow(5).
fn state_in(shadow: &str, user: &str) -> Option<State> {
    let mut lines = shadow.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let words = lines.find(|words| words.first() == Some(&user))?;
    let password = match *words.get(1)? {
        "" => Password::Empty,
        locked if locked.starts_with('!') => Password::Locked,
        _ => Password::Open,
    };
    Some(State { password, expires: (*words.get(7)?).to_owned() })
}

fn usermod(hand: &Hand<'_>, arguments: &[&str], user: &str) -> Result<(), Failure> {
    let settings = &hand.settings.revoke_credentials;
    let root = settings.root.to_string_lossy();
    let elsewhere = if root == "/" { &[][..] } else { &["--root", &root] };
    let all = [elsewhere, arguments, &["--", user]].concat();
    let said = said(&settings.usermod, &all, &Deadline::after(hand.order.timeout_s)?)?;
    let text = format!("{} {}: {}", settings.usermod.display(), all.join(" "), said.text);
    match said.code {
        Some(0) => Ok(()),
        // "Can't update the password file": another program has locked it.
        Some(1) | None => Err(Failure::Retry(text)),
        Some(_) => Err(Failure::Final(text)),
    }
}

#[cfg(test)]
mod tests;
