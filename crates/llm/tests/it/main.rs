//! Models against a local server that answers as providers do, well and badly.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy does not see")]
#![expect(clippy::print_stdout, reason = "a test that leaves something out says so")]

mod caches;
mod guards;
mod providers;
mod real;
mod recordings;
mod redaction;
mod schemas;
mod secrets;
mod server;
mod settings;
mod tls;
mod world;
