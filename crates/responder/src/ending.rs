//! Ending processes for certain: by a descriptor of the process, never by its number alone, and waited for.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::deadline::Deadline;
use crate::processes::Process;
use crate::steps::between;
use crate::{Failure, limits};

/// One certain process: its number, and when it began, in ticks since the machine started.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct Victim {
    pub(crate) pid: u32,
    pub(crate) started: u64,
}

impl Victim {
    pub(crate) fn of(process: &Process) -> Victim {
        Victim { pid: process.pid, started: process.started }
    }

    /// Whether it still runs. Of one that ended, and whose parent was not told yet, nothing runs any more.
    pub(crate) fn alive(self) -> bool {
        Process::read(self.pid).is_some_and(|now| now.started == self.started && !now.dead)
    }

    /// A descriptor of exactly this process; `None` if it has ended.
    fn open(self) -> Result<Option<OwnedFd>, Failure> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(Errno::SRCH) => return Ok(None),
            Err(e) => return Err(Failure::Final(format!("opening process {pid}: {e}", pid = self.pid))),
        };
        // The descriptor holds whoever had the number a moment ago. Only if that is still the one that was meant does
        // the signal, which goes by the descriptor, reach it and nobody else.
        Ok(self.alive().then_some(fd))
    }
}

/// Kills these and waits until all of them have ended.
pub(crate) fn end(victims: &[Victim], deadline: &Deadline) -> Result<(), Failure> {
    for some in victims.chunks(limits::PIDFDS) {
        let mut open = Vec::new();
        for victim in some {
            let Some(fd) = victim.open()? else { continue };
            match pidfd_send_signal(&fd, Signal::KILL) {
                Ok(()) => open.push((victim, fd)),
                Err(Errno::SRCH) => {}
                Err(Errno::PERM) => {
                    let why = "it belongs to another account, and Vertice may not end it: it needs CAP_KILL";
                    return Err(Failure::Final(format!("ending process {}: {why}", victim.pid)));
                }
                Err(e) => return Err(Failure::Retry(format!("ending process {}: {e}", victim.pid))),
            }
            between("a signal");
        }
        for (victim, fd) in open {
            if !deadline.wait(fd.as_fd()) {
                return Err(Failure::Retry(format!("process {} did not end in time", victim.pid)));
            }
        }
    }
    Ok(())
}
