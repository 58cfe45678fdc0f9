//! What the sources make of bytes, files, archives and bodies.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests, which clippy does not see")]

mod body;
mod contract;
mod discover;
mod files;
mod follow;
mod journal;
#[cfg(feature = "kafka")]
mod kafka;
mod mutation;
mod real;
mod records;
mod support;
mod syslog;
