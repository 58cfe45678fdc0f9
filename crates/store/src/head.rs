//! How far everything has come.

use vertice_model::{Position, Timestamp};

use crate::sums;

/// How far a log and what was derived from it have come. Written in every transaction.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Head {
    /// How many transactions were committed.
    pub(crate) commits: u64,
    /// The last position of the log; 0 when it is empty.
    pub(crate) log_end: Position,
    /// When the last row of the log was accepted.
    pub(crate) at: Timestamp,
    /// Up to where the log was judged and its effects were projected.
    pub(crate) judged: Position,
    /// Whether the store was closed, and not merely left.
    pub(crate) clean: bool,
}

impl Head {
    pub(crate) fn checksum(&self) -> i64 {
        sums::head([self.commits, self.log_end.0, self.at.as_micros() as u64, self.judged.0, u64::from(self.clean)])
    }
}
