//! Every bound of the responder, with how its number was found.

/// The longest time that one order may take, in seconds: an hour, for a bundle of evidence or a large file on a slow
/// disk. Whoever wants an order to take longer wants another kind of order.
pub const ORDER_S_MAX: u64 = 3600;

/// Processes that one order ends. By its name a program may run once per core and connection, and more is a word that
/// meant something else, such as `sh`.
pub const VICTIMS: usize = 4_096;

/// Processes that are held open at once while they are ended: a quarter of the 1,024 descriptors that a process may
/// have by default.
pub const PIDFDS: usize = 256;

/// How often what a session starts anew is ended too. Each round is faster than a person and as fast as a script; one
/// that survives ten has its parent elsewhere.
pub const ROUNDS: usize = 10;

/// Files that are taken from one path, each after another appeared in its place. Something writes it anew each time,
/// and is to be ended instead; until then each costs its size on the disk.
pub const GENERATIONS: usize = 8;

/// The largest file that is taken, in bytes. Its content is read twice, which at 500 MB/s is a minute.
pub const FILE_BYTES: u64 = 16 << 30;

/// How much of a file is in memory at once, in bytes: large enough that the calls cost nothing beside the hashing.
pub const BUFFER_BYTES: usize = 64 << 10;

/// The most that the names of a file's attributes, or the value of one, can have (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
pub const ATTRIBUTE_BYTES: usize = 64 << 10;

/// What is read of the table of logins, in bytes: 10,000 of its records.
pub const LOGINS_BYTES: u64 = 10_000 * 384;

/// Bundles of evidence of one kind that are kept: at the default of 100 MB for each this is 6.4 GB at most, and one that
/// is not made is told of, while one that is thrown away would be missed later.
pub const BUNDLES: usize = 64;

/// The end of a log that goes into a bundle, in bytes: the last hours of a busy server.
pub const TAIL_BYTES: u64 = 1 << 20;

/// Files that a bundle lists. A home folder or `/usr/bin` has some thousands of them, and few are new.
pub const LISTED: usize = 20_000;

/// Files that are looked at to find those: a second or two where the names are in memory.
pub const LOOKED_AT: usize = 500_000;

/// How deep folders are followed for that. What starts by itself lies at most this deep below a home folder.
pub const DEPTH: usize = 8;

/// Files that changed within so many seconds count as recently changed: a week, for intruders stay for days.
pub const RECENT_S: u64 = 7 * 24 * 3600;

/// The largest file whose hash goes into a bundle, in bytes. Malware that is larger is rare, and still listed.
pub const HASHED_BYTES: u64 = 64 << 20;

/// What is kept of a command line in a bundle, in bytes: a whole one-line script.
pub const TITLE_BYTES: usize = 4_096;
use std::time::Duration;

// ---- Messages, requests and commands: what talks to other systems ----

/// Most characters of a message; the rest is cut off and the cut is shown. Slack takes 3,000 in one block, and a
/// message that no phone shows whole is read by nobody.
pub const MESSAGE_CHARS_MAX: usize = 2_000;

/// Most characters of a title: a subject line that mail programs show, and below Slack's 150 for a header.
pub const TITLE_CHARS_MAX: usize = 120;

/// Most bytes of one of Slack's texts once it is escaped; Slack refuses a block of more than 3,000 characters.
pub const SLACK_BYTES_MAX: usize = 2_900;

/// Most bytes of a link to answer by: what every browser and proxy takes.
pub const LINK_BYTES_MAX: usize = 2_048;

/// How long a question to one person may take to send. Approvers are told one after the other, and a question
/// stands open for minutes.
pub const ASK_TIME: Duration = Duration::from_secs(10);

/// Most bytes of a file that a secret or a URL is taken from.
pub const SECRET_BYTES_MAX: u64 = 4_096;

/// Fewest bytes of a key that webhooks are signed with: half of what HMAC-SHA256 can use (RFC 2104, section 3).
pub const KEY_BYTES_MIN: usize = 16;

/// Most bytes of a file with certificates: some hundred of them.
pub const CERTIFICATE_BYTES_MAX: u64 = 1_048_576;

/// Most bytes of a request's body; a playbook's whole file is no longer.
pub const BODY_BYTES_MAX: usize = 65_536;

/// Most bytes of an answer's status line and header. What follows is not read.
pub const ANSWER_BYTES_MAX: usize = 65_536;

/// Most files that remember what was sent. Each is needed until its order's receipt is in the log, some minutes at
/// most; at the 300 bytes of one this is 3 MB.
pub const SENT_FILES_MAX: usize = 10_000;

/// How long a connection to another host may take to come up. A host that is up answers within a round trip; this
/// leaves room for two lost packets.
pub const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Most bytes that are kept of what a command says; the rest is read and thrown away, for a command that can not
/// write does not end.
pub const OUTPUT_BYTES_MAX: u64 = 16_384;

/// Most characters of a command's or a server's words in a receipt or an error.
pub const WORDS_CHARS_MAX: usize = 300;
// Programs that are run (`program.rs`).

/// The most that is kept of what a program writes, in bytes: some hours of a journal; nft names at most some hundred
/// failing lines.
pub const PROGRAM_OUTPUT_BYTES_MAX: u64 = 4 << 20;

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

/// The most elements that are read of one set: ten times the 10,000 live containments that are measured.
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
