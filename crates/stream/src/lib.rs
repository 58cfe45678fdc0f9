//! Events in: bodies, files, archives, sockets and processes become raw events.
//!
//! Nothing here interprets an event; that is its mapping's work, in the engine. What is done here is
//! what needs the bytes: framing (lines, JSON arrays, pretty-printed JSON, syslog frames, EVTX records),
//! decoding (gzip, zip, tar, UTF-16) and refusing what can not be an event, with its number and the reason.
//!
//! A source is a function. It owns its socket, file or process, puts batches into the queue that it was
//! handed, and returns when it is told to stop. It does not restart itself.

mod body;
mod discover;
mod files;
pub mod follow;
pub mod journal;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod limits;
mod records;
mod source;
pub mod syslog;

pub use body::{Body, BodyError, split_body};
pub use discover::{Discovered, Local, Missing, discover};
pub use files::{Found, Item, LeftOut, Progress, find, read, read_stream};
pub use records::{Line, Records, Refused};
pub use source::{Batch, Counts, Cursor, SourceError};
