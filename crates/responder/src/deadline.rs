//! A time limit as something to wait on beside what is waited for, so that no clock is read.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};

use crate::{Failure, limits};

/// A timer of the kernel that runs out once.
#[derive(Debug)]
pub(crate) struct Deadline(OwnedFd);

impl Deadline {
    /// One that runs out in so many seconds, at least 1 and at most [`limits::ORDER_S_MAX`].
    pub(crate) fn after(seconds: u64) -> Result<Deadline, Failure> {
        let seconds = seconds.clamp(1, limits::ORDER_S_MAX);
        let made = || -> Result<OwnedFd, Errno> {
            let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
            let never = Timespec { tv_sec: 0, tv_nsec: 0 };
            let once = Itimerspec { it_interval: never, it_value: Timespec { tv_sec: seconds as i64, tv_nsec: 0 } };
            timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once)?;
            Ok(timer)
        };
        made().map(Deadline).map_err(|e| Failure::Retry(format!("setting a timer: {e}")))
    }

    /// Whether it has run out.
    pub(crate) fn over(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
    }

    /// Waits until `fd` can be read, which of a pidfd means that the process has ended. False when the time is over.
    pub(crate) fn wait(&self, fd: BorrowedFd<'_>) -> bool {
        loop {
            let mut both = [PollFd::from_borrowed_fd(fd, PollFlags::IN), PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut both, None) {
                Ok(_) if !both[0].revents().is_empty() => return true,
                Ok(_) if !both[1].revents().is_empty() => return false,
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }
}
