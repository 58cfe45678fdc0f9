//! The audit: what was planned, asked, answered, ordered, done and taken back, in a file that proves itself.
//!
//! `audit.ndjson` in the data directory has one JSON object a line. The first line is the *seal*; each further line is
//! an *entry* ([`Entry`]) with the hash of the line before it and its own (`format.rs` has every byte). Each
//! [`limits::AUDIT_CHECKPOINT_EVERY`]th entry is a *checkpoint*: a signature of everything up to it. The seal says how
//! many entries there are and ends with a signature too; it is written again, in its place, after whatever was appended.
//!
//! - A changed, dropped, doubled or moved line breaks the chain; one that was made to fit has no valid signature.
//! - A file that was cut, at the end of a line as well, does not reach as far as its seal says.
//! - A line behind what the seal says was not written by us, or we were killed before we could seal it. Nobody can tell,
//!   so it proves nothing: it is told as not sealed, and the next start cuts it off.
//!
//! **The audit is a function of the log** ([`entries`]), and the log is the system of record. So nothing has to be
//! atomic with anything: entries are durable here before the log counts as judged and before a snapshot is saved, what
//! a crash cut off is made again when the log is judged again, and what is there already is passed over by its place in
//! the log. The seal says up to where the log was judged for it; a snapshot that lies beyond is not used. A file that is
//! lost altogether is made again from the whole log, line by line the same.

mod entry;
mod format;
mod key;
mod rows;
mod verify;
mod writer;

use std::path::{Path, PathBuf};

pub use entry::{Entry, Kind, Origin, entries};
pub use format::{Digest, Hex, HexError, Line, PublicKey};
pub use key::{make_key, public_key};
pub(crate) use verify::seal_of;
pub use verify::{Anchor, Tail, Trust, Verified, verify, verify_shard};
pub use writer::Audit;

#[cfg(doc)]
use crate::limits;

const FILE: &str = "audit.ndjson";

/// Where the audit of a data directory lies.
#[must_use]
pub fn file_of(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// What can go wrong with an audit file, and whether trying again helps.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// There is no space for further entries. Nothing of them was kept, and trying again helps once there is.
    #[error("there is no space for the audit {}", path.display())]
    NoSpace {
        /// The file.
        path: PathBuf,
    },
    /// The database can not be reached. Nothing of it counts, and trying again helps once it is back.
    #[error("{}: {what}", path.display())]
    Away {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        what: String,
    },
    /// A file could not be made, read, written or synced. Of a write nobody knows what became of it, so the process
    /// must end.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not as it was written.
    #[error("{}:{line}: {what}{}", path.display(), Whole(*line, *signed))]
    Broken {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
        /// How many entries the last checkpoint before it has signed.
        signed: u64,
    },
    /// It is whole, and it is not the one that is wanted.
    #[error("{}: {what}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What was expected.
        what: String,
    },
}

struct Whole(u64, u64);

impl std::fmt::Display for Whole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Whole(line, signed) = self;
        match line.saturating_sub(2) {
            0 => Ok(()),
            whole => write!(f, "; the {whole} entries before it are chained, {signed} of them signed"),
        }
    }
}
