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

/// Longest condition, in bytes. The longest of SigmaHQ has 400.
pub const CONDITION_BYTES_MAX: usize = 16 * 1024;

/// Deepest nesting of a condition. People write 4.
pub const CONDITION_DEPTH_MAX: usize = 32;

/// Longest value of a detection, in bytes. The longest of SigmaHQ has 700.
pub const PATTERN_BYTES_MAX: usize = 16 * 1024;

/// Most patterns that one written value may become, by placeholders, by the five dashes of `windash` and by the
/// three offsets of `base64offset` together. 5 dashes at 4 places are 625.
pub const EXPANSIONS_MAX: usize = 1_024;

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
/// microseconds. An hour covers a sensor that was cut off and caught up.
pub const LATE_US: i64 = 3_600 * 1_000_000;

/// Most fields that a correlation groups by. Four are much.
pub const GROUP_FIELDS_MAX: usize = 8;

/// Longest value that a group or a count keeps, in bytes; of a longer one the start and a digest are kept. Windows
/// paths, the longest values that rules count, end at 260 characters.
pub const STATE_VALUE_BYTES_MAX: usize = 256;

/// Most groups of one correlation: one for each host and account of a large network.
pub const GROUPS_MAX: usize = 16_384;

/// Most events of one group; also the highest count that a condition can ask for.
pub const GROUP_EVENTS_MAX: usize = 16_384;

/// Most events of one correlation over all its groups. At some 300 bytes each, two thirds of which are for
/// counting quickly, one flooded correlation takes 20 MB; all correlations at their limit would take 5 GB.
pub const CORRELATION_EVENTS_MAX: usize = 65_536;

/// Most firings that a group remembers so that it stays quiet after them.
pub const FIRINGS_MAX: usize = 16;

/// Most positions that a firing names; the newest are kept.
pub const FIRED_POSITIONS_MAX: usize = 1_000;

/// Most steps of the search for the windows that a match completed. Of a condition with one bound, such as `gte: 10`,
/// it takes some 60 for each of the firings remembered; only one such as `eq: 10` may need more, after a late
/// match among thousands. It ends there, after some 50 microseconds.
pub const WINDOW_STEPS_MAX: usize = 4_096;

/// Shortest text, in bytes, that is looked for before a regular expression is tried: a shorter one is nearly
/// everywhere.
pub const GATE_BYTES_MIN: usize = 2;

/// Most texts that are looked for before one regular expression is tried. The longest list of SigmaHQ has some 40.
pub const GATES_MAX: usize = 64;

/// Sets of a matcher's memory of values, a power of two. With [`MEMO_WAYS`] it holds 65,536 values: real telemetry
/// of a day has some 20,000 that rules read, which take 15 MB.
pub const MEMO_SETS: usize = 16_384;

/// Values of one set.
pub const MEMO_WAYS: usize = 4;

/// Longest value that is remembered, in bytes. Command lines end before it; scripts seldom come twice. Full of the
/// longest values the memory takes 70 MB.
pub const MEMO_VALUE_BYTES_MAX: usize = 1_024;

/// Most combinations of log sources whose rules a matcher remembers. Our mappings make some 200; each takes 2 KB.
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
