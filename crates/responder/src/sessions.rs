//! `session_termination`: ends the sessions of an account, or those from an address.
//!
//! A session is all that belongs to a login: the processes of sshd that hold the connection, what they started, what
//! shares its session number or its systemd scope (`session-N.scope`), which a process keeps that left its parent. A
//! login at a terminal is found in the table of logins. Everything is ended by pidfds and looked for again until
//! nothing is left, for a session may start something while it is being ended. Whom a round ends is remembered before:
//! once its sshd is gone, nothing leads to what else belonged to a session. `loginctl` is not asked: it would know
//! the same scopes, and only where it runs.
//!
//! Without systemd, what left its session's processes and number behind before (a daemon) is not found.
//!
//! The session that Vertice itself was started from is refused before anything is touched. The account's other
//! processes (services, jobs) are no sessions. With an address, connections where nobody has logged in yet end too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use vertice_model::SessionTermination;

use crate::deadline::Deadline;
use crate::ending::{Victim, end};
use crate::keep::name_of;
use crate::logins::{Connection, blind, connections, present};
use crate::machine::is_here;
use crate::processes::{Process, boot, directory, line_of, lossy};
use crate::steps::between;
use crate::{Failure, Hand, Held, Seen, limits};

/// The processes that are to be ended.
#[derive(Debug, Deserialize, Serialize)]
struct Chosen {
    /// The start of the machine that the start times count from.
    boot: String,
    victims: BTreeSet<Victim>,
}

pub(crate) fn apply(hand: &Hand<'_>, action: &SessionTermination) -> Result<String, Failure> {
    is_here(action.target_host.as_deref())?;
    if blind() {
        let why =
            "Vertice may not see other accounts' processes: it needs to run as root, or CAP_SYS_PTRACE and CAP_KILL";
        return Err(Failure::Final(why.to_owned()));
    }
    let deadline = Deadline::after(hand.order.timeout_s)?;
    let name = name_of("sessions", action);
    let mut chosen = remembered(hand, action)?;
    for _ in 0..limits::ROUNDS {
        let found = left(&chosen, action)?;
        if found.is_empty() {
            hand.keep.forget(&name)?;
            return Ok(match chosen.len() {
                0 => "there was no such session".to_owned(),
                n => format!("{n} processes of sessions were ended"),
            });
        }
        let ours = line_of(std::process::id());
        if found.iter().any(|victim| ours.contains(&victim.pid)) {
            return Err(Failure::Final(
                "Vertice itself was started from such a session, which is not ended".to_owned(),
            ));
        }
        chosen.extend(&found);
        hand.keep.put(&name, &Chosen { boot: boot(), victims: chosen.clone() })?;
        between("remembering");
        end(&found, &deadline)?;
        between("a round");
    }
    Err(Failure::Retry(format!("after {} rounds there are still such sessions", limits::ROUNDS)))
}

/// The processes that were chosen before, if it was in this start of the machine.
fn remembered(hand: &Hand<'_>, action: &SessionTermination) -> Result<BTreeSet<Victim>, Failure> {
    let chosen: Option<Chosen> = hand.keep.get(&name_of("sessions", action))?;
    Ok(chosen.filter(|chosen| chosen.boot == boot()).map(|chosen| chosen.victims).unwrap_or_default())
}

/// What is still there of those that were chosen before, and of the sessions that are there now.
fn left(chosen: &BTreeSet<Victim>, action: &SessionTermination) -> Result<Vec<Victim>, Failure> {
    let mut left: BTreeSet<Victim> = chosen.iter().copied().filter(|victim| victim.alive()).collect();
    left.extend(find(action)?);
    Ok(left.into_iter().collect())
}

pub(crate) fn observe(hand: &Hand<'_>, action: &SessionTermination) -> Result<Seen, Failure> {
    is_here(action.target_host.as_deref())?;
    if blind() {
        return Err(Failure::Final("Vertice may not see other accounts' processes".to_owned()));
    }
    let left = left(&remembered(hand, action)?, action)?.len();
    let note = if left == 0 { "there is no such session".to_owned() } else { format!("{left} of its processes run") };
    let criteria = BTreeMap::from([("sessions_ended", left == 0)]);
    Ok(Seen { held: if left == 0 { Held::Yes } else { Held::No }, criteria, note })
}

/// All processes of the sessions that are meant.
fn find(action: &SessionTermination) -> Result<Vec<Victim>, Failure> {
    if action.user.is_none() && action.source_ip.is_none() {
        return Err(Failure::Final("neither an account nor an address is told".to_owned()));
    }
    let peers = action.source_ip.map(|ip| [ip.to_canonical()]);
    let meant = |c: &Connection| action.user.is_none() || c.user == action.user;
    let found = connections(peers.as_ref().map(<[_; 1]>::as_slice));
    let mut roots: BTreeSet<u32> = found.iter().filter(|c| meant(c)).flat_map(|c| c.servers.iter().copied()).collect();
    let from_there = |address| peers.is_none_or(|peers| Some(peers[0]) == address);
    let records = present(Path::new("/")).into_iter().filter(|r| from_there(r.address));
    roots.extend(records.filter(|r| action.user.as_ref().is_none_or(|user| *user == r.user)).map(|r| r.pid));
    let all = Process::all();
    let members = members(&all, roots, |p| scope(&lossy(&directory(p.pid).join("cgroup")).unwrap_or_default()));
    Ok(all.iter().filter(|p| members.contains(&p.pid) && !p.dead && !p.kernel).map(Victim::of).collect())
}

/// What belongs to the same sessions as these: their children, whatever has a session number that one of them leads,
/// and whatever is in the same scope.
fn members(all: &[Process], roots: BTreeSet<u32>, scope: impl Fn(&Process) -> Option<String>) -> BTreeSet<u32> {
    let mut members = roots;
    // The first process is nobody's session, whatever a table of logins says.
    members.remove(&1);
    let scopes: BTreeSet<String> = all.iter().filter(|p| members.contains(&p.pid)).filter_map(&scope).collect();
    if !scopes.is_empty() {
        members.extend(all.iter().filter(|p| scope(p).is_some_and(|s| scopes.contains(&s))).map(|p| p.pid));
    }
    loop {
        let belongs = |p: &&Process| members.contains(&p.parent) || members.contains(&p.session);
        let more: Vec<u32> = all.iter().filter(belongs).map(|p| p.pid).filter(|pid| !members.contains(pid)).collect();
        if more.is_empty() {
            return members;
        }
        members.extend(more);
    }
}

/// The systemd scope of a session that a process is in, by `/proc/PID/cgroup`.
fn scope(cgroup: &str) -> Option<String> {
    let path = cgroup.lines().find_map(|line| line.split("::").nth(1))?;
    let end = path.find(".scope")? + ".scope".len();
    path[..end].rsplit('/').next()?.starts_with("session-").then(|| path[..end].to_owned())
}

#[cfg(test)]
mod tests;
