//! Every bound of the responder, with how its number was found.

// Programs that are run (`program.rs`).

/// The most that is kept of what a program writes, in bytes: nft names at most some hundred failing lines.
pub const PROGRAM_OUTPUT_BYTES_MAX: u64 = 1 << 20;

/// The most that is shown of what a failing program says, in characters: three lines of a terminal.
pub const PROGRAM_ERROR_CHARS_MAX: usize = 300;

/// The longest that nft may take, in seconds, where the order gives it more. It takes 2 to 20 ms; under a load that
/// makes it a hundred times slower it still ends.
pub const NFT_S_MAX: u64 = 10;

// The kernel's answers (`netlink.rs`).

/// The largest datagram that is read, in bytes: the kernel fills at most 32 KiB of a dump at once (`NLMSG_GOODSIZE`
/// of the largest page that it tries).
pub const NETLINK_BYTES_MAX: usize = 32 * 1_024;

/// How long an answer of the kernel is waited for, in seconds. It comes within microseconds, or within a transaction
/// of someone else's.
pub const NETLINK_S_MAX: u64 = 5;

/// How often a dump is begun anew because the table changed under it. Ten changes within ten dumps of some
/// milliseconds each would be a storm.
pub const NETLINK_DUMPS_MAX: u32 = 10;

/// The most elements of one set: ten times the 10,000 live containments that are measured. The kernel refuses more.
pub const SET_ELEMENTS_MAX: usize = 100_000;

// The firewall (`firewall.rs`, `shaping.rs`, `isolation.rs`).

/// The most connections or packets of one period of a rate limit: a million a second limits nobody.
pub const RATE_COUNT_MAX: u64 = 1_000_000;

/// The longest period of a rate limit, in seconds: a week, which is nft's longest unit and the longest lease.
pub const RATE_PERIOD_S_MAX: u64 = 7 * 24 * 3_600;

/// What may pass at once above a speed limit, in bytes: the largest packet that the kernel joins from several (GSO,
/// 64 KiB), for one that is larger than the bucket would never pass.
pub const SHAPE_BURST_BYTES: u64 = 65_536;

/// The lowest speed limit, in bits per second: one byte a second, which is what nft counts in.
pub const SHAPE_BIT_S_MIN: u64 = 8;

/// The highest speed limit, in bits per second. Above 147 Gbit/s the kernel's arithmetic (nanoseconds times bytes per
/// second, in 64 bits) would overflow.
pub const SHAPE_BIT_S_MAX: u64 = 100_000_000_000;

/// The most networks of the management plane: a line of the rules names them all, and nft's input stays below 64 KiB.
pub const MANAGEMENT_NETS_MAX: usize = 256;

/// How far, in milliseconds, the end of an element may lie from what was asked for without being set anew: the kernel
/// counts from when it was told, in ticks of up to 10 ms, and we in whole seconds.
pub const LEASE_SLACK_MS: u64 = 2_000;

/// The longest that a decoy is waited for when it is asked whether it is there, in seconds: it is in our own network.
pub const DECOY_CONNECT_S_MAX: u64 = 3;

// Recordings (`capture.rs`).

/// The least that a recording keeps, in bytes: two files of tcpdump's smallest size, so that one is whole while the
/// other is begun anew.
pub const CAPTURE_BYTES_MIN: u64 = 2_000_000;

/// How many files the ring of one recording has at most: a tenth is lost when the oldest makes room.
pub const CAPTURE_FILES_MAX: u64 = 10;

/// What the kernel gathers for one recording, in KiB: 30 ms of a gigabit per second, in which tcpdump gets its turn.
pub const CAPTURE_BUFFER_KIB: u64 = 4_096;

/// How many recordings run at once: each is a process that sees every packet of the interface.
pub const CAPTURES_MAX: usize = 16;

/// How long a recording is waited for to begin or to end, in milliseconds at a time, and how often.
pub const CAPTURE_STEP_MS: u64 = 20;
/// See [`CAPTURE_STEP_MS`]: together 10 s, while tcpdump begins and ends within 100 ms.
pub const CAPTURE_STEPS_MAX: u32 = 500;
