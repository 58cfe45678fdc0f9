//! What every source that runs has in common.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use vertice_model::RawEvent;

use crate::records::Refused;

/// What a source delivers at once; at most [`BATCH_EVENTS_MAX`](crate::limits::BATCH_EVENTS_MAX) events.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Batch {
    /// The events, in order.
    pub events: Vec<RawEvent>,
    /// What was refused. The number is where in the file the line begins, in bytes; 0 from a socket.
    pub refused: Vec<Refused>,
    /// Where the source goes on after a restart, once this batch is kept. Kept with the events in one
    /// transaction, it makes a restart neither repeat nor lose any.
    pub cursor: Option<Cursor>,
}

/// Where a source goes on after a restart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cursor {
    /// Which source, such as `file:/var/log/auth.log`.
    pub source: Arc<str>,
    /// A word of its own, which it is handed again.
    pub value: String,
}

/// Why a source stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The operating system would not. Trying again helps once the cause is gone.
    #[error("{doing}: {cause}")]
    Io {
        /// What was being done, to what.
        doing: String,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// The program that is read from ended by itself. Starting it again helps.
    #[error("{program} ended by itself: {status}")]
    Ended {
        /// Which.
        program: String,
        /// How.
        status: String,
    },
}

impl SourceError {
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> SourceError {
        move |cause| SourceError::Io { doing: doing.into(), cause }
    }
}

/// What a listener did so far; shared with whoever shows it.
#[derive(Debug, Default)]
pub struct Counts {
    /// Events handed on.
    pub events: AtomicU64,
    /// Frames refused.
    pub refused: AtomicU64,
    /// Datagrams dropped because the queue was full.
    pub dropped: AtomicU64,
    /// Connections turned away because there were too many.
    pub turned_away: AtomicU64,
}
