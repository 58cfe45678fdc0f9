//! What the store counts, for whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits;

/// Counters and gauges of a store since it was opened. Every field may be read at any time.
#[derive(Debug, Default)]
pub struct StoreStats {
    /// Group commits that succeeded.
    pub commits: AtomicU64,
    /// Events that were accepted.
    pub events: AtomicU64,
    /// Bytes of the log rows that were written, compressed.
    pub log_bytes: AtomicU64,
    /// Records that were projected; a record that stood already is counted too.
    pub records: AtomicU64,
    /// How long group commits took, with their sync.
    pub commit_duration: Histogram,
    /// Commands that wait for the writer now.
    pub queue_commands: AtomicU64,
    /// Encoded bytes that wait for the writer now.
    pub queue_bytes: AtomicU64,
    /// Submissions that were refused because the queue was full.
    pub busy: AtomicU64,
    /// Group commits that failed because the disk was full.
    pub disk_full: AtomicU64,
    /// Snapshots that were found damaged and passed over for an older one.
    pub snapshots_damaged: AtomicU64,
    /// Checkpoints of the write-ahead log.
    pub checkpoints: AtomicU64,
    /// Bytes of the write-ahead log now.
    pub wal_bytes: AtomicU64,
    /// Entries of the audit that were made durable.
    pub audit_entries: AtomicU64,
    /// Attempts to enter something in the audit that failed because the disk was full.
    pub audit_no_space: AtomicU64,
    /// Whether the writer has stopped because the disk failed: 1 if so.
    pub fatal: AtomicU64,
}

/// A histogram of durations, in buckets of [`limits::COMMIT_BUCKETS_US`] and one beyond.
#[derive(Debug, Default)]
pub struct Histogram {
    /// How many durations fell into each bucket, not added up; the last is for those beyond all bounds.
    pub counts: [AtomicU64; limits::COMMIT_BUCKETS_US.len() + 1],
    /// Sum of all durations, in microseconds.
    pub sum_us: AtomicU64,
}

impl Histogram {
    pub(crate) fn observe(&self, us: u64) {
        let bucket = limits::COMMIT_BUCKETS_US.partition_point(|bound| *bound < us);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// How many durations were observed.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|c| c.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_their_bucket() {
        let h = Histogram::default();
        for us in [0, 250, 251, 5_000_000, u64::from(u32::MAX)] {
            h.observe(us);
        }
        let counts: Vec<u64> = h.counts.iter().map(|c| c.load(Ordering::Relaxed)).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(h.count(), 5);
    }
}
