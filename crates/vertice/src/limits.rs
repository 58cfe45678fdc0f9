//! Every bound of the binary, with how its number was found.

/// Most content files. SigmaHQ's three rule folders have 3,800.
pub const CONTENT_FILES_MAX: usize = 20_000;

/// Longest content file, in bytes. The longest of SigmaHQ's rules has 20 KiB.
pub const CONTENT_FILE_BYTES_MAX: u64 = 1024 * 1024;
