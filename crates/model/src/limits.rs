//! Every bound of the vocabulary, with how its number was found.

/// Longest raw event, in bytes. The longest that Windows writes is a PowerShell script block of 64 KiB
/// in UTF-16, four times that once it is escaped JSON; twice that leaves room for what surrounds it.
pub const RAW_EVENT_BYTES_MAX: usize = 512 * 1024;

/// Deepest nesting of a JSON event. CloudTrail, the deepest known sensor, reaches 12.
pub const JSON_DEPTH_MAX: usize = 64;

/// Most fields of one event. Exchange audit records, the widest known, have some 200.
pub const EVENT_FIELDS_MAX: usize = 2_048;

/// Longest `event_id` a sender may give, in bytes; a UUID has 36.
pub const EVENT_ID_BYTES_MAX: usize = 256;

/// First and last year of an event that is believed. Sensors did not exist before the first, and a
/// time after the last is a broken clock or an attempt to stay at the top of every list.
pub const EVENT_YEARS: std::ops::RangeInclusive<i16> = 1990..=2199;

/// Most techniques that opinions add to a threat: two opinions' worth of what a long incident shows.
pub const RAISED_TECHNIQUES_MAX: usize = 32;

/// Most playbooks that opinions propose for a threat; a person reads no more than a screenful.
pub const RAISED_PLAYBOOKS_MAX: usize = 16;

/// Most opinions remembered of a threat by their consultations: a threat is asked about four times, and may have
/// absorbed others.
pub const RAISED_OPINIONS_MAX: usize = 16;

/// Longest route key, in bytes. An entity's name has at most 253 characters as a host and 256 as Windows writes
/// accounts; what is longer is cut, and a digest keeps it apart from others.
pub const ROUTE_KEY_BYTES_MAX: usize = 320;

/// Longest name of a topic, in bytes: Kafka's own bound.
pub const TOPIC_BYTES_MAX: usize = 249;
