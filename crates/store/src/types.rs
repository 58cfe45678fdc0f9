//! What goes in and what comes out.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use vertice_model::{EffectId, Position, RawEvent, Severity, ThreatId, Timestamp};

use crate::chunk::PackedEvents;
use crate::limits;
use crate::record::RecordKind;

/// Tells the time. The log's times never go backwards, whatever the clock does.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What is looked at before anything is relied on.
    pub check: Check,
    /// The size of the write-ahead log from which it is moved into the file; [`limits::WAL_BYTES`].
    pub wal_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { check: Check::default(), wal_bytes: limits::WAL_BYTES }
    }
}

/// What is looked at when a store is opened. Rows are checked whenever they are read, in any case.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Check {
    /// The structure of the whole file, unless it was closed properly the last time.
    #[default]
    AfterCrash,
    /// Everything: the structure, every index, every checksum.
    Everything,
    /// Only how far the log reaches.
    Ends,
}

/// Events to be kept, and what is kept with them or not at all.
#[derive(Clone, Debug, Default)]
pub struct Submission {
    /// The events, in their order. May be empty.
    pub events: Vec<RawEvent>,
    /// Events that are packed already; they come before the others.
    pub packed: PackedEvents,
    /// How far their sources have been read.
    pub cursors: Vec<Cursor>,
    /// The request they came with.
    pub idempotency: Option<Idempotency>,
}

/// How far a source has been read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cursor {
    /// The source's name, such as a file's path.
    pub source: String,
    /// What the source makes of it.
    pub value: Vec<u8>,
}

/// A request that is answered once, however often it comes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Idempotency {
    /// Digest of whatever tells it from other requests.
    pub key: [u8; 32],
    /// The answer to give when it comes again.
    pub answer: Vec<u8>,
}

/// What was accepted: it is durable.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Accepted {
    /// In which shard's log; 0 where there is one log.
    pub shard: u32,
    /// The position of the first; each further event has the next. Without events, the position that
    /// the next event will have.
    pub first: Position,
    /// How many positions it takes.
    pub count: u64,
    /// When it was accepted.
    pub at: Timestamp,
    /// The answer that was kept, when the request came before: then nothing was added now.
    pub repeated: Option<Vec<u8>>,
}

/// What was answered under an idempotency key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Remembered {
    /// What was accepted then.
    pub accepted: Accepted,
    /// The answer.
    pub answer: Vec<u8>,
}

/// An API key, as it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApiKey {
    /// Whose it is.
    pub name: String,
    /// Its digest. The key itself is not kept.
    pub hash: [u8; 32],
    /// When it was added.
    pub created: Timestamp,
}

/// The engine's state after a position.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Snapshot {
    /// The last position that it has seen. The log goes on after it.
    pub position: Position,
    /// What was saved.
    pub bytes: Vec<u8>,
}

/// Which records of a kind are wanted; what is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// At least this bad; a threat also if an opinion raised it so far. Runs, containments, suppressions and refused
    /// events count as `info`.
    pub severity_min: Option<Severity>,
    /// In this state: `open`, `quiet`, `judged`, `merged` of threats; `refused`, `waiting`, `ended`, `rolled_back`
    /// of runs; `pending`, `approved`, `denied`, `expired`, `superseded`, `cancelled` of questions; `active`, `releasing`, `expired`,
    /// `released` of containments; `asked`, `answered`, `refused`, `hijacked`, `skipped`, `expired` of consultations;
    /// `proposed`, `refused`, `applied`, `removed`, `expired` of suppressions.
    pub state: Option<String>,
    /// About this address, host or account, in any role; upper and lower case are one.
    pub entity: Option<String>,
    /// Detections of this rule.
    pub rule_id: Option<String>,
    /// Belonging to this threat.
    pub threat_id: Option<ThreatId>,
    /// Not before: the event's time of detections, the last event's of threats, the last change of runs,
    /// the asking of questions, the beginning of containments.
    pub since: Option<Timestamp>,
}

/// Which part of a list.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Beyond this record, in the direction of the list; `None` begins at its front.
    pub after: Option<EffectId>,
    /// How many at most; never more than [`limits::PAGE_ROWS_MAX`].
    pub limit: usize,
    /// Latest first.
    pub descending: bool,
}

impl Default for Page {
    fn default() -> Page {
        Page { after: None, limit: 100, descending: false }
    }
}

/// Which part of the list of threats by priority.
#[derive(Clone, Debug)]
pub struct RankedPage {
    /// Beyond this threat, in the direction of the list; `None` begins at its front.
    pub after: Option<Rank>,
    /// How many at most; never more than [`limits::PAGE_ROWS_MAX`].
    pub limit: usize,
    /// The most urgent first.
    pub descending: bool,
}

/// A threat's place in the list of threats by priority: by that, then by when it was opened, then by its id. It changes
/// with the priority alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rank {
    pub(crate) rank: i64,
    pub(crate) shard: u32,
    pub(crate) threat: ThreatId,
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.rank, self.shard, self.threat)
    }
}

impl FromStr for Rank {
    type Err = NoRank;

    /// Reads what it is written as, and nothing else.
    fn from_str(text: &str) -> Result<Rank, NoRank> {
        let mut parts = text.splitn(3, '.');
        let mut part = || parts.next().ok_or(NoRank);
        let rank = Rank {
            rank: part()?.parse().map_err(|_| NoRank)?,
            shard: part()?.parse().map_err(|_| NoRank)?,
            threat: part()?.parse().map_err(|_| NoRank)?,
        };
        if rank.to_string() == text { Ok(rank) } else { Err(NoRank) }
    }
}

/// A text that is no [`Rank`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("this is no place in the list of threats by priority")]
pub struct NoRank;

/// A record of the read model.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredRecord {
    /// Whose it is; 0 where there is one log. Positions that the record names are of this shard's log.
    pub shard: u32,
    /// Its place in every list, and its cursor: the effect that published it. Over all shards it is its place in the
    /// order in which they projected, with index 0.
    pub effect: EffectId,
    /// Its kind.
    pub kind: RecordKind,
    /// Its id.
    pub key: String,
    /// The record, in JSON, as it was published.
    pub json: String,
    /// Its place in the list by priority, of threats.
    pub rank: Option<Rank>,
}

/// How far a shard has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ShardState {
    /// Which.
    pub shard: u32,
    /// How often it was taken.
    pub epoch: u64,
    /// The last position of its log.
    pub log_end: Position,
    /// Up to where that was judged.
    pub judged: Position,
}

/// What was looked at and found whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Verified {
    /// Positions of the log.
    pub positions: u64,
    /// Records of the read model.
    pub records: u64,
}
