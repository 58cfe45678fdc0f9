//! Every bound of the language and of its state, with how its number was found.

/// Longest rule file, in bytes. The longest of SigmaHQ has 30 KiB; collections are some ten times that.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Deepest nesting of a rule's YAML. A rule needs 6; custom attributes are no deeper.
pub const YAML_DEPTH_MAX: usize = 32;

/// Most YAML nodes of one file after its aliases are followed, so that an alias bomb ends early.
/// The largest file of SigmaHQ has some 1,500.
pub const YAML_NODES_MAX: usize = 100_000;

/// Most documents of one file.
pub const DOCUMENTS_MAX: usize = 1_000;

/// Most rules of one set: thirty times SigmaHQ, which is what the largest collections offer together.
pub const RULES_MAX: usize = 100_000;

/// Most transformations of one pipeline. The largest of pySigma's own have some 100.
pub const TRANSFORMATIONS_MAX: usize = 1_000;

/// Longest condition, in bytes. The longest of SigmaHQ has 400.
pub const CONDITION_BYTES_MAX: usize = 16 * 1024;

/// Deepest nesting of a condition. People write 4.
pub const CONDITION_DEPTH_MAX: usize = 32;

/// Longest value of a detection, in bytes. The longest of SigmaHQ has 700.
pub const PATTERN_BYTES_MAX: usize = 16 * 1024;

/// Most patterns that one written value may become, by placeholders, by the five dashes of `windash` and by the
/// three offsets of `base64offset` together. 5 dashes at 4 places are 625.
pub const EXPANSIONS_MAX: usize = 1_024;

/// Most patterns that all values of one document may become together, at some 300 bytes each. The longest list of
/// SigmaHQ has some 1,000 values; under `windash` they are 5,000.
pub const PATTERNS_MAX: usize = 65_536;

/// Compiled size of one regular expression, in bytes. The largest of SigmaHQ takes some 200 KiB.
pub const REGEX_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Cache of one lazily built regex automaton, in bytes; the default of the `regex` crate.
pub const REGEX_CACHE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Deepest nesting of groups in a regular expression. The `regex` crate's own default is 250.
pub const REGEX_DEPTH_MAX: u32 = 100;

/// Longest value that an explanation shows, in characters.
pub const EXPLAINED_CHARS_MAX: usize = 512;

/// Most conditions that an explanation names. A person reads no more than a screen.
pub const EXPLAINED_MAX: usize = 64;

/// Most correlations of one set. A hundred is a large collection of them.
pub const CORRELATIONS_MAX: usize = 256;

/// Deepest nesting of correlations over correlations. The specification's examples have 2.
pub const CORRELATION_DEPTH_MAX: usize = 8;

/// Longest window, in seconds: 92 days, a quarter of a year. Anything longer is a report and not a detection.
pub const TIMESPAN_S_MAX: i64 = 92 * 86_400;

/// How much later than a newer event of its group an event may come and still find its window whole, in
/// microseconds. An hour covers a sensor that was cut off and caught up; see [`late_us`].
pub const LATE_US: i64 = 3_600 * 1_000_000;

/// The same, in timespans of the correlation, if that is less: what a late event costs grows with the number of
/// windows that can have fired after it. Of a timespan of a minute or more an hour counts, of one of 10 s some 10
/// minutes.
pub const LATE_TIMESPANS: i64 = 64;

/// How late an event of a correlation of this timespan may come: [`LATE_US`], or [`LATE_TIMESPANS`] timespans if that
/// is less.
#[must_use]
pub const fn late_us(timespan_us: i64) -> i64 {
    let timespans_us = timespan_us.saturating_mul(LATE_TIMESPANS);
    if timespans_us < LATE_US { timespans_us } else { LATE_US }
}

/// How long a match waits for those before it, in microseconds, where it must be seen in order: see
/// [`crate::Waiting`]. Most sensors that stand side by side differ by less, and a detection still comes within the
/// 5 s that are promised.
pub const WAIT_US: i64 = 2_000_000;

/// Most matches that wait. At 10,000 matches a second of such correlations, which is a flood, some 1.6 s.
pub const WAITING_MAX: usize = 16_384;

/// Most fields that a correlation groups by. Four are much.
pub const GROUP_FIELDS_MAX: usize = 8;

/// Longest value that a group or a count keeps, in bytes; of a longer one the start and a digest are kept. Windows
/// paths, the longest values that rules count, end at 260 characters.
pub const STATE_VALUE_BYTES_MAX: usize = 256;

/// Most groups of one correlation: one for each host and account of a large network.
pub const GROUPS_MAX: usize = 16_384;

/// Most events of one group; also the highest count that a condition can ask for.
pub const GROUP_EVENTS_MAX: usize = 1_048_576;

/// Most events of all correlations together. At some 200 bytes each, where events are counted, to 350, where values
/// are, they take 300 to 550 MB at most. What is too much is taken from the correlation that holds most.
pub const CORRELATED_EVENTS_MAX: usize = 1_572_864;

/// Most firings that a group remembers, so that a late match does not fire anew what has fired: four times as many
/// as there are timespans within the lateness bound. Only streams that jump in time by more than that have more.
pub const CHAIN_MAX: usize = 256;

/// Most positions that a firing names; the newest are kept.
pub const FIRED_POSITIONS_MAX: usize = 1_000;

/// Shortest text, in bytes, that is looked for before a regular expression is tried: a shorter one is nearly
/// everywhere.
pub const GATE_BYTES_MIN: usize = 2;

/// Most texts that are looked for before one regular expression is tried. An expression that needs one of more is
/// tried on every value, which is right and slower.
pub const GATES_MAX: usize = 64;

/// Sets of a matcher's memory of values, a power of two. With [`MEMO_WAYS`] it holds 65,536 values; with all of
/// SigmaHQ's rules and half a million recorded events a process has 74 MB.
pub const MEMO_SETS: usize = 16_384;

/// Values of one set.
pub const MEMO_WAYS: usize = 4;

/// Longest value that is remembered, in bytes. Most command lines end before it. Full of the longest values
/// the memory takes 70 MB.
pub const MEMO_VALUE_BYTES_MAX: usize = 1_024;

/// Most combinations of log sources whose rules a matcher remembers. Each takes a bit for each rule and a byte for each
/// field that rules read, 2 KB with SigmaHQ's.
pub const LIVE_SETS_MAX: usize = 1_024;

/// Deepest nesting of a JSON event: where `serde_json` ends too, and one bit each fits a number.
pub const JSON_DEPTH_MAX: usize = 127;

/// Most values of a JSON event, lists counted value by value: at 56 bytes each, 3.5 MiB. The richest real events
/// (CloudTrail, Exchange audit) have some 2,000.
pub const JSON_VALUES_MAX: usize = 65_536;

/// Most conditions that a verdict shows of one rule. The longest rule of SigmaHQ has 1,200 values; a person reads
/// the first hundred.
pub const VERDICTS_MAX: usize = 4_096;

/// Most values of one field that a verdict shows where none of them decided.
pub const FOUND_MAX: usize = 8;
