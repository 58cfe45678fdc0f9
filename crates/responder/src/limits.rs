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

/// What is read of a program's output, in bytes: a thousand times what `usermod` says, and some hours of a journal.
pub const OUTPUT_BYTES: usize = 4 << 20;

/// For how long what the guard has seen of logins counts, in milliseconds. The kernel walks its whole table of
/// connections to show it, which took 10 ms for each of its two tables where it has 262,144 places. A hundred orders a
/// second would keep two processors busy with that; four readings a second take a twelfth of one. Whoever logs in is
/// protected a quarter of a second later at the latest.
pub const LOGINS_FRESH_MS: u64 = 250;

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
