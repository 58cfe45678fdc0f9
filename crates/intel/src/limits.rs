//! Every bound of this crate, with how its number was found.

/// Most parent techniques. ATT&CK has some 220 in 2025 and has gained about ten a year.
pub const TECHNIQUES_MAX: usize = 1_024;

/// Most groups, campaigns and pieces of software. ATT&CK has 1,008 in 2025; four times that.
pub const ACTORS_MAX: usize = 4_096;

/// Most recorded incidents. The corpus has 24 with techniques.
pub const FLOWS_MAX: usize = 1_024;

/// Most steps of one recorded incident. The longest known has 39.
pub const STEPS_MAX: usize = 1_024;

/// Most techniques of a threat that a prediction looks at, the latest. What lies further back weighs less than
/// 0.7 to the 64th, which is nothing.
pub const SEEN_MAX: usize = 64;

/// Most predictions that are given; a person reads no longer list.
pub const PREDICTIONS_MAX: usize = 20;

/// Most bases given with one prediction; the others add no reason that a person would read.
pub const BASES_MAX: usize = 6;

/// Most groups, and most pieces of software, that a profile names.
pub const PROFILE_NAMES_MAX: usize = 5;

/// Longest text that the mapper reads, in bytes; the rest is left out and the mapping says so. Windows command lines
/// end at 32,767 characters; this is that in UTF-8 of two bytes.
pub const MAPPED_BYTES_MAX: usize = 64 * 1024;

/// Most rules of the mapper. The shipped file has some 440.
pub const MAPPER_RULES_MAX: usize = 4_096;

/// Most tokens of one mapper rule; the longest shipped one has six.
pub const MAPPER_TOKENS_MAX: usize = 16;

/// Most techniques that one text is mapped to. A script of a page rarely shows more than ten.
pub const MAPPED_MAX: usize = 32;

/// Longest narrative that is checked, in bytes. A paragraph has under 4 KiB; this leaves room for a long one.
pub const NARRATIVE_BYTES_MAX: usize = 64 * 1024;

/// Most sentences of a narrative.
pub const SENTENCES_MAX: usize = 256;

/// Most citations of one sentence.
pub const CITATIONS_MAX: usize = 64;

/// Most faults that the checker reports; the first says enough to refuse it.
pub const FAULTS_MAX: usize = 64;

/// Most techniques, rules and detections that a written narrative names, so that it stays a paragraph.
pub const NARRATED_MAX: usize = 8;
