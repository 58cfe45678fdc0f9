//! Integration tests of what is known of attackers.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking, too")]

mod intent;
mod labelled;
mod mapping;
mod narrative;
