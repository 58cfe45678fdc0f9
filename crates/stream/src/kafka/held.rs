//! Partitions that are ours for a while.

use std::fmt;
use std::sync::Arc;

/// A partition of a topic.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Partition {
    /// The topic.
    pub topic: Arc<str>,
    /// Its number, from 0.
    pub number: i32,
}

impl Partition {
    /// This partition.
    pub fn new(topic: impl Into<Arc<str>>, number: i32) -> Partition {
        Partition { topic: topic.into(), number }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.number)
    }
}

/// Which of the times that a partition was given to this consumer.
///
/// Rises with each assignment. What carries an older one than the partition has now was read before the partition
/// was taken away, and is to be dropped: another instance reads it again.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Epoch(pub(super) u64);

/// A partition, and the time that we hold it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Held {
    /// Which partition.
    pub partition: Partition,
    /// Which time.
    pub epoch: Epoch,
}

/// Where to begin in a partition that was just assigned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Begin {
    /// Where the group last committed; without a commit as [`Settings::from_newest`](super::Settings::from_newest) says.
    Committed,
    /// At this offset.
    At(i64),
    /// At the oldest record.
    Oldest,
}

/// How far a partition is behind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lag {
    /// Which partition.
    pub partition: Partition,
    /// The offset that is handed out next, once known.
    pub next: Option<i64>,
    /// The offset that the next record written will have, as of the last look (every
    /// [`STATISTICS_EVERY`](crate::limits::kafka::STATISTICS_EVERY)), once known.
    pub end: Option<i64>,
}

impl Lag {
    /// How many records are still to be handed out, if that is known.
    #[must_use]
    pub fn records(&self) -> Option<i64> {
        Some((self.end? - self.next?).max(0))
    }
}
