//! Every bound of this crate, with how its number was found.

use std::time::Duration;

/// Most bytes of a request's texts together: 256 KiB are some 60,000 tokens, half of what the smallest model worth
/// asking can read, and a hundred times what one threat has to say.
pub const REQUEST_BYTES_MAX: usize = 256 << 10;

/// Most bytes of a schema as JSON. One of an opinion is 2 KiB.
pub const SCHEMA_BYTES_MAX: usize = 32 << 10;

/// How deep a schema may go, and so a value that is held against it.
pub const SCHEMA_DEPTH_MAX: usize = 16;

/// Most tokens that may be asked for in one answer. Prose of a page has 1,000; those that think first need more.
pub const OUTPUT_TOKENS_MAX: u32 = 32_768;

/// Most bytes of a provider's answer: [`OUTPUT_TOKENS_MAX`] tokens of four bytes, each escaped to six at worst in
/// JSON, and what is around them.
pub const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Most bytes of an answer's status line and header.
pub const HEADER_BYTES_MAX: usize = 32 << 10;

/// Most bytes that are read of an error's body. Providers say what is wrong in a sentence.
pub const ERROR_BYTES_MAX: u64 = 16 << 10;

/// Most characters of a provider's own words in an error: three lines of a terminal.
pub const WORDS_CHARS_MAX: usize = 300;

/// Most tokens that an answer is believed to have cost. A provider that claims more is wrong, and would spend the
/// budget of a year with one answer.
pub const CLAIMED_TOKENS_MAX: u64 = 1_000_000;

/// The longest that one question may take from being asked to being answered. A large model on a processor writes two
/// tokens a second: 600 in five minutes.
pub const DEADLINE_MAX: Duration = Duration::from_secs(300);

/// How long a connection may take to come up: a host that is up answers within a round trip, and this leaves room for
/// two lost packets.
pub const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Most attempts at one question that may be configured. Beyond that the provider is down, which the breaker says.
pub const ATTEMPTS_MAX: u32 = 10;

/// The longest first wait before another attempt: half of it on average, which is what a dropped connection needs.
pub const BACKOFF: Duration = Duration::from_millis(500);

/// The longest wait before any attempt that nobody asked for: above it, half a minute has been spent on one question.
pub const BACKOFF_MAX: Duration = Duration::from_secs(15);

/// Failures in a row that open the breaker. Four can be a bad second; five were never seen to be one.
pub const FAILURES: u32 = 5;

/// How long the breaker stays open at first; it doubles each time the attempt that follows fails too.
pub const OPEN: Duration = Duration::from_secs(30);

/// The longest that the breaker stays open: how late, at most, a provider that came back is noticed.
pub const OPEN_MAX: Duration = Duration::from_secs(600);

/// How long the one attempt of a half-open breaker may stay unheard of before another is let through.
pub const PROBE: Duration = DEADLINE_MAX;

/// Most questions that may be in flight to one model at once.
pub const CONCURRENCY_MAX: u32 = 64;

/// Most answers that may be kept in memory.
pub const CACHE_ENTRIES_MAX: usize = 100_000;

/// How long Redis may take for anything. It answers in under a millisecond or is not worth waiting for.
pub const REDIS_TIME: Duration = Duration::from_millis(250);

/// How long Redis is left alone after it failed.
pub const REDIS_REST: Duration = Duration::from_secs(30);

/// Most bytes of one answer as it is kept, in Redis or in a recording: twice an answer, for it is JSON within JSON.
pub const KEPT_BYTES_MAX: u64 = 2 * ANSWER_BYTES_MAX;

/// Most bytes of a file that a key is taken from.
pub const KEY_BYTES_MAX: u64 = 4_096;

/// Most bytes of a file with certificates: some hundred of them.
pub const CERTIFICATE_BYTES_MAX: u64 = 1 << 20;

/// Most models that may be configured.
pub const MODELS_MAX: usize = 32;

/// Most texts of the configuration's own that are taken out of every question.
pub const WORDS_MAX: usize = 1_000;

/// Bytes of one token at least, on average, in what we send: plain English has four, logs with addresses and hashes
/// two and a half. What is reserved of a budget is reckoned with this, and then set right by what the answer says.
pub const TOKEN_BYTES: u64 = 2;

/// What a million tokens in and out are taken to cost, in millionths of a dollar, where no price is configured: the
/// dearest that was on any public list. A budget in money then errs towards spending less.
pub const PRICE_UNKNOWN: (u64, u64) = (30_000_000, 180_000_000);
