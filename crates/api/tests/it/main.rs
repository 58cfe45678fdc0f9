//! The API against a real store and a real engine, in one process.

#[allow(dead_code, reason = "its users are being written")]
mod harness;
mod intake;
