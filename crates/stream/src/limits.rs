//! Every bound of the sources, with how its number was found.

use std::time::Duration;

/// How much is read at once, in bytes: large enough that the call does not matter, small enough for a
/// first-level cache.
pub const READ_BYTES: usize = 64 * 1024;

/// Longest JSON value as it was written, in bytes, before its indentation is taken out: four times the
/// longest event, for pretty-printing rarely triples a text.
pub const JSON_WRITTEN_BYTES_MAX: usize = 4 * vertice_model::limits::RAW_EVENT_BYTES_MAX;

/// Largest HTTP body, unpacked, in bytes: 32 batches of 1,024 events of 1 KiB.
pub const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Most events and refused lines of one body. The largest body of events of 256 bytes, about the shortest
/// that any sensor writes; a body of one-byte lines would otherwise take a hundred times its size.
pub const BODY_EVENTS_MAX: usize = BODY_BYTES_MAX / 256;

/// Most containers within each other: a gzip of a tar within a zip.
pub const CONTAINERS_MAX: u32 = 3;

/// Most members of one archive; the largest known collection of logs has some 20,000.
pub const ARCHIVE_MEMBERS_MAX: usize = 100_000;

/// Largest EVTX file or zip archive within an archive, in bytes: these can only be read with a seek, so
/// they are held in memory. Windows' own default for its logs is 20 MiB.
pub const HELD_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// How many times its size an archive may grow before it is taken for a bomb. Logs pack 10 to 50 times, one
/// line over and over about 200 times, zeros 1,000 times.
pub const EXPANSION_MAX: u64 = 400;

/// What an archive may unpack to regardless of [`EXPANSION_MAX`], in bytes.
pub const EXPANSION_FREE_BYTES: u64 = 64 * 1024 * 1024;

/// Deepest directory that a walk enters; beyond is a loop of mounts, not a collection of logs.
pub const WALK_DEPTH_MAX: usize = 32;

/// Most files of one walk, 200 MB of paths.
pub const WALK_FILES_MAX: usize = 1_000_000;

/// How many bytes at its start decide what a file is: a tar's mark stands at 257, and a binary file shows
/// itself within a block.
pub const SNIFF_BYTES: usize = 4 * 1024;

/// Longest name of an archive's member that is repeated, in characters; Linux allows 255 bytes.
pub const MEMBER_NAME_CHARS_MAX: usize = 255;

/// Most events of one batch: what the store commits at once.
pub const BATCH_EVENTS_MAX: usize = 1_024;

/// Bytes at which a batch is full, so that a queue of batches stays in the tens of megabytes.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// How much of a followed file's beginning is its fingerprint, in bytes: several lines, so that two files
/// of one sensor differ.
pub const FINGERPRINT_BYTES: u64 = 1024;

/// How many looks at a rotated file must find nothing new before it is left for its successor. A sensor that
/// was told of the rotation reopens within the second.
pub const ROTATED_LOOKS: u32 = 8;

/// Longest syslog frame, in bytes: the largest UDP datagram. RFC 5425 asks for 8 KiB at least.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;

/// Most syslog connections at once: 64 KiB each makes 32 MiB.
pub const CONNECTIONS_MAX: usize = 512;

/// How long to wait before accepting again when the system has no more file descriptors. Connections end at about that
/// rate on a machine that is so busy.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a syslog connection may say nothing. Senders that are idle by nature open a new one.
pub const CONNECTION_IDLE: Duration = Duration::from_secs(600);

/// Most datagrams that wait for a full queue; further ones are dropped and counted.
pub const DATAGRAMS_WAITING_MAX: usize = 8 * BATCH_EVENTS_MAX;

/// Those of Kafka.
#[cfg(feature = "kafka")]
pub mod kafka {
    use std::time::Duration;

    /// After which silence a member of a group is given up: librdkafka's own default. Shorter finds a dead instance
    /// sooner, and takes a busy machine for one more often.
    pub const SESSION_TIMEOUT: Duration = Duration::from_secs(45);

    /// How long one batch may take. A batch takes milliseconds; a store that is away is waited for longer than this
    /// only by an instance whose partitions others should have.
    pub const WORK_TIMEOUT: Duration = Duration::from_secs(300);

    /// After which time a record that is not acknowledged counts as not delivered: long enough for a new leader
    /// (10 s by Kafka's defaults) and one retry, short enough for who waits for the answer.
    pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

    /// Longest wait between two attempts to reach a broker.
    pub const RECONNECT_MAX: Duration = Duration::from_secs(10);

    /// How often the broker's idea of where a partition ends is taken over, for the lag.
    pub const STATISTICS_EVERY: Duration = Duration::from_secs(5);

    /// How long a question to the broker may take.
    pub const ASK: Duration = Duration::from_secs(5);

    /// How long leaving a group may hold up whoever leaves. With a broker that answers it takes milliseconds.
    pub const LEAVE: Duration = Duration::from_secs(5);

    /// Most that is read ahead, in KiB, over all partitions of a consumer: a second of 32,000 events of 1 KiB.
    pub const QUEUED_KBYTES_MAX: usize = 32 * 1024;

    /// How many records of a partition are read ahead at least, memory permitting: ten batches, so that the broker
    /// answers while the last ones are worked on.
    pub const QUEUED_RECORDS_MIN: usize = 100_000;

    /// How long nothing is asked for when enough is read ahead. librdkafka's own second is longer than what is read
    /// ahead lasts, so that a consumer which catches up would wait half of its time.
    pub const FETCH_AGAIN: Duration = Duration::from_millis(5);

    /// Largest answer to one fetch, in bytes. With three brokers 24 MiB may arrive above what is read ahead.
    pub const FETCH_BYTES_MAX: usize = 8 * 1024 * 1024;

    /// Most of one partition in one answer, in bytes. A single larger record still comes.
    pub const FETCH_PARTITION_BYTES_MAX: usize = 4 * 1024 * 1024;

    /// Largest answer of any kind, in bytes: a fetch, and room for what surrounds it.
    pub const RECEIVE_BYTES_MAX: usize = FETCH_BYTES_MAX + 1024 * 1024;

    /// Largest record that is written, in bytes. What brokers take as they are shipped is 1 MiB with its frame; the
    /// longest raw event, escaped once more, is below.
    pub const RECORD_BYTES_MAX: usize = 1_000_000;

    /// Most records that wait for their acknowledgement, over all batches: 32 batches.
    pub const OUT_RECORDS_MAX: usize = 32 * super::BATCH_EVENTS_MAX;

    /// Most bytes that wait for their acknowledgement, over all batches: as many of them full.
    pub const OUT_BYTES_MAX: usize = 32 * super::BATCH_BYTES_MAX;

    /// What a record costs beside its bytes while it waits.
    pub const RECORD_OVERHEAD_BYTES: usize = 256;

    /// How long a record waits for company. At a few thousand records a second a batch is tens of records; for
    /// detection it is a two-hundredth of the latency promised.
    pub const LINGER: Duration = Duration::from_millis(1);

    /// How long a topic that the broker does not know may still appear before a record for it is refused. Topics are
    /// looked for at the start; this is for one that was created a moment ago.
    pub const TOPIC_APPEARS: Duration = Duration::from_secs(5);

    /// How often a producer that is given up is looked at, every 10 ms, until it handed back what it had: 5 s.
    pub const GIVE_UP_LOOKS: u32 = 500;

    /// Most headers of a record that are kept. CloudEvents has seven attributes, tracing three.
    pub const HEADERS_MAX: usize = 32;

    /// Most bytes of a record's headers, names and values.
    pub const HEADER_BYTES_MAX: usize = 8 * 1024;

    /// Most settings of librdkafka beside ours.
    pub const FURTHER_MAX: usize = 64;

    /// Longest reason of librdkafka that is repeated, in characters.
    pub const REASON_CHARS_MAX: usize = 300;

    /// How long the same trouble is not said again, at first and at most.
    pub const SAY_AGAIN: Duration = Duration::from_secs(60);
    /// The longest of these silences.
    pub const SAY_AGAIN_MAX: Duration = Duration::from_secs(3600);

    /// Most kinds of trouble that are told apart.
    pub const KINDS_MAX: usize = 64;

    /// How often the broker and the topics are looked for at the start, and how long between: a minute in all, which
    /// is what a broker needs to start.
    pub const LOOKS_MAX: u32 = 12;
    /// How long between two looks.
    pub const LOOK_AGAIN: Duration = Duration::from_secs(5);
}
