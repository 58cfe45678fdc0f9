//! `kill_process`: ends exactly the process that was seen.
//!
//! A number may have been given to another process since. So the process must have begun before it was last seen, its
//! executable or name must be the one that is told where one is told, and it is signalled through a pidfd, which can
//! not come to mean another one. When a process began is known to a hundredth of a second, and by the clock on the
//! wall: an event whose time was cut to the second, or a clock that was set back since, makes a process look too young,
//! and it is left alone.
//!
//! Which ones are to be ended is remembered before the first signal, so that after a crash exactly these are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vertice_model::KillProcess;

use crate::deadline::Deadline;
use crate::ending::{Victim, end};
use crate::keep::name_of;
use crate::machine::is_here;
use crate::processes::{Process, boot, never_ended};
use crate::steps::between;
use crate::{Failure, Hand, Held, Seen, limits};

/// What the kernel keeps of a process's name (`TASK_COMM_LEN`, without the zero at the end).
const KERNEL_NAME_BYTES: usize = 15;

/// The processes that are to be ended.
#[derive(Debug, Deserialize, Serialize)]
struct Chosen {
    /// The start of the machine that the start times count from.
    boot: String,
    victims: Vec<Victim>,
}

pub(crate) fn apply(hand: &Hand<'_>, action: &KillProcess) -> Result<String, Failure> {
    is_here(Some(&action.target_host))?;
    let deadline = Deadline::after(hand.order.timeout_s)?;
    let name = name_of("kill", action);
    let chosen = match remembered(hand, action)? {
        Some(chosen) => chosen,
        None => {
            let chosen = Chosen { boot: boot(), victims: choose(action)? };
            hand.keep.put(&name, &chosen)?;
            between("remembering");
            chosen
        }
    };
    end(&chosen.victims, &deadline)?;
    between("ending");
    // What has ended stays so, and what has the same name later is another process.
    hand.keep.forget(&name)?;
    between("forgetting");
    let pids: Vec<String> = chosen.victims.iter().map(|v| v.pid.to_string()).collect();
    Ok(match pids.as_slice() {
        [] => "no such process was left".to_owned(),
        [pid] => format!("process {pid} was ended"),
        pids => format!("{} processes were ended: {}", pids.len(), pids.join(" ")),
    })
}

pub(crate) fn observe(hand: &Hand<'_>, action: &KillProcess) -> Result<Seen, Failure> {
    is_here(Some(&action.target_host))?;
    let (alive, note) = match remembered(hand, action)? {
        Some(chosen) => (chosen.victims.iter().filter(|v| v.alive()).count(), None),
        None => match choose(action) {
            Ok(victims) => (victims.len(), None),
            // Whether that is the process which was meant is not for an observer to say; it runs.
            Err(Failure::Final(why)) => (usize::from(!was_replaced(action)), Some(why)),
            Err(failure) => return Err(failure),
        },
    };
    let gone = alive == 0;
    let note = note.unwrap_or_else(|| if gone { "it runs no more".into() } else { format!("{alive} still run") });
    let criteria = BTreeMap::from([("process_gone", gone)]);
    Ok(Seen { held: if gone { Held::Yes } else { Held::No }, criteria, note })
}

/// What was chosen before, if it was in this start of the machine.
fn remembered(hand: &Hand<'_>, action: &KillProcess) -> Result<Option<Chosen>, Failure> {
    let chosen: Option<Chosen> = hand.keep.get(&name_of("kill", action))?;
    Ok(chosen.filter(|chosen| chosen.boot == boot()))
}

fn choose(action: &KillProcess) -> Result<Vec<Victim>, Failure> {
    match (action.pid, &action.process) {
        (Some(pid), name) => by_number(action, pid, name.as_deref()),
        (None, Some(name)) => by_name(action, name),
        (None, None) => Err(Failure::Final("neither a process nor its number is told".to_owned())),
    }
}

fn by_number(action: &KillProcess, pid: u32, name: Option<&str>) -> Result<Vec<Victim>, Failure> {
    let Some(process) = Process::read(pid).filter(|p| !p.dead) else { return Ok(Vec::new()) };
    if let Some(why) = never_ended(&process) {
        return Err(Failure::Final(format!("process {pid} is never ended, for {why}")));
    }
    if process.started_at() > action.seen_at {
        return Err(Failure::Final(format!(
            "process {pid} began at {}, after what was seen at {}: the number was given to another process, {:?}, which is left alone",
            process.started_at(),
            action.seen_at,
            process.name
        )));
    }
    if let Some(name) = name.filter(|name| !goes_by(&process, name)) {
        let runs = process.executable().map_or_else(|| process.name.clone(), |path| path.display().to_string());
        return Err(Failure::Final(format!("process {pid} is not {name:?} but {runs:?}, and is left alone")));
    }
    Ok(vec![Victim::of(&process)])
}

fn by_name(action: &KillProcess, name: &str) -> Result<Vec<Victim>, Failure> {
    let mut all = Process::all();
    all.retain(|p| !p.dead && goes_by(p, name) && p.started_at() <= action.seen_at);
    // Of those that are never ended, all others of the name still are.
    let victims: Vec<Victim> = all.iter().filter(|p| never_ended(p).is_none()).map(Victim::of).collect();
    match (all.first().and_then(never_ended), victims.len()) {
        (Some(why), 0) => Err(Failure::Final(format!("{name:?} is never ended, for {why}"))),
        (_, n) if n > limits::VICTIMS => Err(Failure::Final(format!(
            "{n} processes are called {name:?}, and no more than {} are ended",
            limits::VICTIMS
        ))),
        _ => Ok(victims),
    }
}

/// Whether the process that was seen is gone for certain, because its number belongs to a younger one.
fn was_replaced(action: &KillProcess) -> bool {
    let process = action.pid.and_then(Process::read);
    process.is_some_and(|p| p.started_at() > action.seen_at && never_ended(&p).is_none())
}

/// By its executable, with or without the folders, or by the name that the kernel has for it. Of that it keeps 15 bytes,
/// so of a longer one, such as a script's, the rest is looked for in what it was started with.
fn goes_by(process: &Process, name: &str) -> bool {
    let executable = process.executable();
    if name.contains('/') {
        return executable.is_some_and(|path| path.as_os_str() == name);
    }
    if executable.is_some_and(|path| path.file_name().is_some_and(|file| file == name)) {
        return true;
    }
    match name.as_bytes().get(..KERNEL_NAME_BYTES) {
        Some(kept) if name.len() > KERNEL_NAME_BYTES => {
            let started_with = |word: &str| word.rsplit('/').next() == Some(name);
            process.name.as_bytes() == kept && process.title().split(' ').take(2).any(started_with)
        }
        Some(_) | None => process.name == name,
    }
}

#[cfg(test)]
mod tests;
