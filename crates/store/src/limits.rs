//! Every bound of the store, with how its number was found.

use std::time::Duration;

/// Most events of one row of the log, and of one group commit unless a single submission is larger.
/// At 1 KiB an event it is about 1 MiB: large enough that the sync is a small part of the cost, small
/// enough that reading one event back costs about a millisecond.
pub const GROUP_EVENTS_MAX: u64 = 1_024;

/// Longest that a group waits for submissions that are likely to come. The cheapest disks that keep
/// their promise sync in about that time, so waiting longer gains nothing.
pub const GROUP_WAIT_MAX: Duration = Duration::from_millis(2);

/// Most uncompressed bytes of one chunk of events before a further one is begun. Four times the size of
/// [`GROUP_EVENTS_MAX`] ordinary events; a chunk is decompressed whole.
pub const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of events from which a further thread helps to check or to pack them. As many take half a millisecond,
/// starting a thread a thirtieth of that.
pub const SHARE_BYTES: usize = 256 * 1024;

/// Most uncompressed bytes that a stored chunk may claim, so that a damaged length can not ask for all
/// memory: a chunk that was begun below [`CHUNK_BYTES`], the longest event, and room for its framing.
/// Content, the largest other input, is bounded by the same: SigmaHQ's 3,000 rules are 6 MiB.
pub const CHUNK_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most compressed bytes of one row of the log before a further one is begun.
pub const ROW_BYTES: usize = 4 * 1024 * 1024;

/// Most submissions that wait for the writer: four groups of single events. The queue is then some
/// milliseconds deep; more would only be latency.
pub const QUEUE_SUBMISSIONS_MAX: usize = 4 * GROUP_EVENTS_MAX as usize;

/// Most encoded bytes that wait for the writer. One request's body is at most 64 MiB; this is one of
/// the largest beside others of ordinary size. A single larger submission is taken when the queue is empty.
pub const QUEUE_BYTES_MAX: usize = 96 * 1024 * 1024;

/// Most projections that wait for the writer: the engine may be this many stretches ahead of the disk.
pub const QUEUE_PROJECTIONS_MAX: usize = 4;

/// Most group members in one transaction beside their events: bounds the memory of a group of
/// submissions without events.
pub const GROUP_COMMANDS_MAX: usize = QUEUE_SUBMISSIONS_MAX;

/// The oldest PostgreSQL that is used, as it writes its version: 14, the oldest that is maintained.
pub const POSTGRES_VERSION_MIN: u32 = 140_000;

/// Longest that is waited for a connection to a server: three tries of TCP.
pub const POSTGRES_CONNECT_WAIT: Duration = Duration::from_secs(5);

/// From when on a silent connection is asked whether it is there, and how long an answer may take.
pub const POSTGRES_SILENCE: Duration = Duration::from_secs(10);

/// Most statements that a connection remembers. There are some sixty, and lists with different filters.
pub const POSTGRES_STATEMENTS_MAX: usize = 256;

/// How often a transaction is tried that is known not to have come about, before whoever submitted is told to come again:
/// one for a connection that died while it was idle, one for a deadlock.
pub const POSTGRES_TRIES: u32 = 2;

/// How long is waited before connecting again, the first time. A server that was restarted is back within a second.
pub const POSTGRES_PAUSE_MIN: Duration = Duration::from_millis(50);

/// How long is waited before connecting again at most. A hundred shards then ask a server fifty times a second.
pub const POSTGRES_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Rows of the log that are read at once: about as many events as a stretch that is judged.
pub const POSTGRES_LOG_ROWS: i64 = 8;

/// How soon it is written up to where a log was judged, when nothing else is written: whoever gave an answer elsewhere
/// waits for that.
pub const POSTGRES_JUDGED_WITHIN: Duration = Duration::from_millis(20);

/// Most inputs that are moved from the inbox to the log at once.
pub const INBOX_ROWS: i64 = 256;

/// How long the inbox is listened to at once, and so how long closing may take.
pub const INBOX_WAIT: Duration = Duration::from_millis(100);

/// Every how many times it is looked into although nobody said anything: once a second.
pub const INBOX_LOOK_EVERY: u32 = 10;

/// How long it is remembered where an input of the inbox stands: many times [`INBOX_ANSWER_WAIT`].
pub const INBOX_KEPT_MINUTES: i32 = 60;

/// Longest that is waited until a shard's owner has taken an input. It takes milliseconds where there is an owner, and a
/// rebalance some seconds.
pub const INBOX_ANSWER_WAIT: Duration = Duration::from_secs(10);

/// How often an overview looks whether what it left was taken.
pub const OVERVIEW_ASK: Duration = Duration::from_millis(5);

/// How often an overview looks how far the shards are: a person sees no difference.
pub const OVERVIEW_LOOK: Duration = Duration::from_millis(50);

/// How long it is remembered who claimed an order. It is asked again within minutes, or never.
pub const CLAIM_DAYS: i32 = 30;

/// How soon to try again when the queue is full: some hundred group commits.
pub const BUSY_RETRY: Duration = Duration::from_secs(1);

/// How soon a client may try again when the disk is full. Somebody has to free space first.
pub const DISK_FULL_RETRY: Duration = Duration::from_secs(5);

/// How often the writer itself tries again to keep projections while the disk is full.
pub const DISK_FULL_PROBE: Duration = Duration::from_millis(250);

/// Size of the write-ahead log from which its content is moved into the file and its blocks are used
/// again. 16 MiB is some ten groups of the largest size: often enough that the blocks stay in the
/// disk's cache, seldom enough that the two extra syncs do not show.
pub const WAL_BYTES: u64 = 16 * 1024 * 1024;

/// Size of the write-ahead log, as a multiple of the configured one, from which the writer waits for
/// readers to let go of it.
pub const WAL_FORCE_FACTOR: u64 = 8;

/// Longest that the writer waits for readers then. Every read is bounded, so they end soon.
pub const WAL_FORCE_WAIT: Duration = Duration::from_millis(200);

/// Most read-only connections. Readers are short; more than the cores of a large machine only wait.
pub const READERS_MAX: usize = 8;

/// Longest that a read waits for a lock of the file. Readers never wait for the writer in WAL mode,
/// only for the recovery of another connection.
pub const READ_LOCK_WAIT: Duration = Duration::from_secs(5);

/// Most bytes of stored rows that one read of the log returns, unless its first row is longer.
pub const READ_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most rows of one page of a list.
pub const PAGE_ROWS_MAX: usize = 1_000;

/// What a point of a threat's priority is worth beside the second in which it was opened: more than there are seconds. It
/// stands in the tables' own making too, so it never changes.
pub const RANK_STEP: i64 = 100_000_000_000;

/// Snapshots that are kept: the latest, and the one before in case it is damaged.
pub const SNAPSHOTS_KEPT: usize = 2;

/// Most bytes of a snapshot, compressed. SQLite's own limit for a value is 10^9.
pub const SNAPSHOT_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Most bytes of a snapshot, uncompressed.
pub const SNAPSHOT_RAW_BYTES_MAX: usize = 2 * 1024 * 1024 * 1024;

/// How long an idempotency key is remembered, in microseconds: 24 hours, as is customary.
pub const IDEMPOTENCY_US: i64 = 24 * 60 * 60 * 1_000_000;

/// Most idempotency keys remembered; the oldest goes first. At one request a second it is a day.
pub const IDEMPOTENCY_KEYS_MAX: u64 = 100_000;

/// Most bytes of an answer kept under an idempotency key; a longer one is not kept, and the key has no effect.
pub const IDEMPOTENCY_ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Shortest prefix of an id that finds it: four hexadecimal digits tell 65,536 apart.
pub const PREFIX_CHARS_MIN: usize = 4;

/// Most candidates named when a prefix fits several ids.
pub const CANDIDATES_MAX: usize = 5;

/// Upper bounds of the buckets of commit durations, in microseconds: from a kind disk's sync to one in trouble.
pub const COMMIT_BUCKETS_US: [u64; 12] =
    [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 250_000, 1_000_000, 5_000_000];

/// Every how many entries of the audit one is a checkpoint. What is between two checkpoints of a damaged file is chained
/// and not signed, so fewer is better; one costs about 600 bytes and 30 us, a hundredth of the entries before it.
pub const AUDIT_CHECKPOINT_EVERY: u64 = 256;

/// Most bytes of a record in the audit; of a longer one the digest is entered, and the log has it. A playbook's file has at
/// most 1 MiB, and a run is its steps with their parameters filled; the shipped ones come to 4 KiB.
pub const AUDIT_RECORD_BYTES_MAX: usize = 1024 * 1024;

/// Most bytes of a line of the audit: the longest record, as many of names of those that it touches, and the rest.
pub const AUDIT_LINE_BYTES_MAX: usize = 3 * AUDIT_RECORD_BYTES_MAX;

/// Most characters of whoever did something in the audit: names of API keys are words.
pub const AUDIT_ACTOR_CHARS_MAX: usize = 256;

/// From how many bytes lines of the audit are written before more are made, so that a stretch of many entries, as when
/// all is made again from the log, is not held twice.
pub const AUDIT_WRITE_BYTES: usize = 1024 * 1024;

/// Lines of the audit of a shard that are read at once: about a megabyte.
pub const AUDIT_ROWS: i64 = 512;

/// Bytes of the audit that are read at once. More is not faster.
pub const AUDIT_READ_BYTES: usize = 128 * 1024;
