//! Every bound of the engine, with how its number was found.

/// Most threats kept to be joined or opened again. A threat of ordinary size takes 4 KiB, so this is
/// 40 MiB at the most; a small network has tens at a time. Beyond it the one that changed longest ago
/// is closed for quiet and no longer opened again.
pub const THREATS_MAX: usize = 10_000;

/// Most entities of one threat: what an attacker holds of a network of the size we are made for.
pub const THREAT_ENTITIES_MAX: usize = 64;

/// Most rules remembered of one threat. A noisy day with 3,000 rules loaded shows some 60.
pub const THREAT_RULES_MAX: usize = 128;

/// Most techniques remembered of one threat; the longest recorded incidents have 60.
pub const THREAT_TECHNIQUES_MAX: usize = 128;

/// Most classes remembered of one threat; there are some twenty.
pub const THREAT_CLASSES_MAX: usize = 64;

/// Most ids of latest detections in a threat's record.
pub const THREAT_LATEST_MAX: usize = 64;

/// Most absorbed threats named in a threat's record: no more than it may have entities.
pub const THREAT_ABSORBED_MAX: usize = THREAT_ENTITIES_MAX;

/// Seconds without a detection after which a threat is closed for quiet: one day, so that work
/// that goes on in the same hours of the next day is still the same case.
pub const THREAT_QUIET_S: u64 = 24 * 3_600;

/// Seconds within which a further detection opens a quiet threat again, rather than a new one: a week.
pub const THREAT_REOPEN_S: u64 = 7 * 24 * 3_600;
