//! What waits for the writer.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use vertice_model::{OrderId, Position};

use crate::chunk::Chunk;
use crate::concern::Concern;
use crate::error::{Stopped, SubmitError};
use crate::record::RecordRow;
use crate::stats::StoreStats;
use crate::{Accepted, Cursor, Idempotency, limits};

/// Something the writer is asked to keep.
#[derive(Debug)]
pub(crate) enum Command {
    /// Inputs, at the end of the log.
    Append(Append, oneshot::Sender<Result<Accepted, SubmitError>>),
    /// Derived rows. Never given up while there is hope.
    Project(Projection, oneshot::Sender<Result<(), Stopped>>),
    /// Anything else; the answer is whether it changed something.
    Keep(Keep, oneshot::Sender<Result<bool, SubmitError>>),
    /// What others have left for this log.
    Inbox,
}

#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) kind: InputKind,
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) cursors: Vec<Cursor>,
    pub(crate) idempotency: Option<Idempotency>,
    /// What it is about, for finding the shard that it is for.
    pub(crate) about: Concern,
}

/// Whether chunks hold events or another input.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum InputKind {
    Events,
    Other,
}

impl InputKind {
    /// The number that stands for it in a row of the log. Never changes.
    pub(crate) const fn code(self) -> i64 {
        match self {
            InputKind::Events => 0,
            InputKind::Other => 1,
        }
    }

    pub(crate) const fn from_code(code: i64) -> InputKind {
        if code == 0 { InputKind::Events } else { InputKind::Other }
    }
}

#[derive(Debug)]
pub(crate) struct Projection {
    pub(crate) up_to: Position,
    pub(crate) rows: Vec<RecordRow>,
    pub(crate) telling: Vec<Telling>,
}

/// What other shards are to know, as an input for each of them.
#[derive(Clone, Debug)]
pub(crate) struct Telling {
    /// The input that it comes from.
    pub(crate) position: Position,
    /// The how manieth it is that comes from there: whatever else comes of that input, this stays.
    pub(crate) index: u32,
    pub(crate) chunk: Chunk,
}

#[derive(Debug)]
pub(crate) enum Keep {
    Snapshot {
        position: Position,
        version: u32,
        blob: Vec<u8>,
    },
    AddApiKey {
        name: String,
        hash: [u8; 32],
    },
    RemoveApiKey {
        name: String,
    },
    Meta {
        key: String,
        value: String,
        /// Whether one that is there stays.
        once: bool,
    },
    /// The right to carry out an order; whether it is had.
    Claim {
        order: OrderId,
    },
}

impl Append {
    pub(crate) fn positions(&self) -> u64 {
        self.chunks.iter().map(|c| u64::from(c.positions)).sum()
    }
}

impl Command {
    fn positions(&self) -> u64 {
        match self {
            Command::Append(append, _) => append.positions(),
            Command::Project(..) | Command::Keep(..) | Command::Inbox => 0,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Command::Append(append, _) => {
                let cursors: usize = append.cursors.iter().map(|c| c.source.len() + c.value.len()).sum();
                let answer = append.idempotency.as_ref().map_or(0, |i| i.answer.len());
                append.chunks.iter().map(|c| c.bytes.len()).sum::<usize>() + cursors + answer
            }
            // Bounded by their number.
            Command::Project(..) | Command::Inbox => 0,
            Command::Keep(Keep::Snapshot { blob, .. }, _) => blob.len(),
            Command::Keep(..) => 0,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    projected: Condvar,
    stats: Arc<StoreStats>,
}

#[derive(Debug, Default)]
struct State {
    commands: VecDeque<Command>,
    bytes: usize,
    /// Projections that were taken in and are not yet kept.
    projections: usize,
    stopped: Option<Stopped>,
    /// Whether the database can not be reached, so that nothing more is taken in.
    away: bool,
}

impl Queue {
    pub(crate) fn new(stats: Arc<StoreStats>) -> Queue {
        Queue { state: Mutex::default(), filled: Condvar::new(), projected: Condvar::new(), stats }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can leave it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what may be refused.
    pub(crate) fn push(&self, command: Command) -> Result<(), SubmitError> {
        let state = self.lock();
        if let Some(stopped) = &state.stopped {
            return Err(stopped.clone().into());
        }
        let bytes = command.bytes();
        let full = state.away
            || state.commands.len() >= limits::QUEUE_SUBMISSIONS_MAX
            || (state.bytes > 0 && state.bytes + bytes > limits::QUEUE_BYTES_MAX);
        if full {
            self.stats.busy.fetch_add(1, Ordering::Relaxed);
            return Err(SubmitError::Busy { retry_after: limits::BUSY_RETRY });
        }
        self.put(state, command, bytes);
        Ok(())
    }

    /// Takes in a projection; waits while too many are on their way.
    pub(crate) fn push_projection(&self, command: Command) -> Result<(), Stopped> {
        let full = |s: &mut State| s.stopped.is_none() && s.projections >= limits::QUEUE_PROJECTIONS_MAX;
        let mut state = self.projected.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner);
        if let Some(stopped) = &state.stopped {
            return Err(stopped.clone());
        }
        state.projections += 1;
        self.put(state, command, 0);
        Ok(())
    }

    fn put(&self, mut state: MutexGuard<'_, State>, command: Command, bytes: usize) {
        state.bytes += bytes;
        state.commands.push_back(command);
        self.show(&state);
        drop(state);
        self.filled.notify_all();
    }

    fn show(&self, state: &State) {
        self.stats.queue_commands.store(state.commands.len() as u64, Ordering::Relaxed);
        self.stats.queue_bytes.store(state.bytes as u64, Ordering::Relaxed);
    }

    /// The next group, in order. Waits for its first member, at most for `wait` if that is given, and then
    /// a moment for as many as there were the last time. Empty when nothing came in time; `None` when the
    /// queue is stopped and drained.
    pub(crate) fn take(&self, wait: Option<Duration>, likely: usize) -> Option<Vec<Command>> {
        let idle = |s: &mut State| s.commands.is_empty() && s.stopped.is_none();
        let state = self.lock();
        let state = match wait {
            Some(wait) => self.filled.wait_timeout_while(state, wait, idle).unwrap_or_else(PoisonError::into_inner).0,
            None => self.filled.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner),
        };
        if state.commands.is_empty() {
            return state.stopped.is_none().then(Vec::new);
        }
        let few = |s: &mut State| s.commands.len() < likely && s.stopped.is_none();
        let mut state = self
            .filled
            .wait_timeout_while(state, limits::GROUP_WAIT_MAX, few)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        let group = state.take_group();
        self.show(&state);
        Some(group)
    }

    /// Puts in that others have left something, unless that is known.
    pub(crate) fn look_into_inbox(&self) {
        let state = self.lock();
        if state.stopped.is_none() && !state.commands.iter().any(|c| matches!(c, Command::Inbox)) {
            self.put(state, Command::Inbox, 0);
        }
    }

    /// Takes nothing more in until it is called again; what was taken in and can be sent again comes out.
    pub(crate) fn set_away(&self, away: bool) -> Vec<Command> {
        let mut state = self.lock();
        state.away = away;
        if !away {
            return Vec::new();
        }
        let (stay, out): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut state.commands).into_iter().partition(|c| matches!(c, Command::Project(..)));
        state.commands = stay;
        state.bytes = 0;
        self.show(&state);
        out.into()
    }

    /// Waits for so long, or until it is stopped; whether it is.
    pub(crate) fn wait_stopped(&self, at_most: Duration) -> bool {
        let going = |s: &mut State| s.stopped.is_none();
        let waited = self.filled.wait_timeout_while(self.lock(), at_most, going);
        waited.unwrap_or_else(PoisonError::into_inner).0.stopped.is_some()
    }

    /// Waits for so long, stopped or not.
    pub(crate) fn rest(&self, at_most: Duration) {
        let waited = self.filled.wait_timeout_while(self.lock(), at_most, |_| true);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Says that projections were kept.
    pub(crate) fn projections_done(&self, count: usize) {
        self.lock().projections -= count;
        self.projected.notify_all();
    }

    /// Refuses everything from now on. What was taken in is still there to be taken out.
    pub(crate) fn stop(&self, stopped: Stopped) {
        let mut state = self.lock();
        // A failure is worth more than that somebody closed it meanwhile.
        if state.stopped.as_ref().is_none_or(|known| stopped.fatal && !known.fatal) {
            state.stopped = Some(stopped);
        }
        drop(state);
        self.filled.notify_all();
        self.projected.notify_all();
    }

    /// Why it stopped, if it did.
    pub(crate) fn stopped(&self) -> Option<Stopped> {
        self.lock().stopped.clone()
    }
}

impl State {
    fn take_group(&mut self) -> Vec<Command> {
        let mut group = Vec::new();
        let mut events = 0;
        while let Some(next) = self.commands.front() {
            let positions = next.positions();
            let enough = events + positions > limits::GROUP_EVENTS_MAX || group.len() >= limits::GROUP_COMMANDS_MAX;
            if enough && !group.is_empty() {
                break;
            }
            events += positions;
            self.bytes -= next.bytes();
            group.extend(self.commands.pop_front());
        }
        group
    }
}
