//! The API against a real store and a real engine, in one process.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy does not see")]

mod access;
mod approve;
mod bouncers;
mod decisions;
mod document;
mod errors;
mod firewall;
mod harness;
mod intake;
mod keys;
mod lists;
mod live;
mod mutated;
mod playbooks;
mod serving;
mod standing;
mod suppressions;
