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

/// How long a syslog connection may say nothing. Senders that are idle by nature open a new one.
pub const CONNECTION_IDLE: Duration = Duration::from_secs(600);

/// Most datagrams that wait for a full queue; further ones are dropped and counted.
pub const DATAGRAMS_WAITING_MAX: usize = 8 * BATCH_EVENTS_MAX;
