//! A threat in short form.

use vertice_model::{Threat, ThreatId, Timestamp};

use crate::decide::cases;

/// The time at which every story begins.
pub(in crate::decide) fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// The threat of a case, and beside it `id=` and `reopened=`.
pub(in crate::decide) fn threat(text: &str) -> Threat {
    let own = |word: &&str| word.starts_with("id=") || word.starts_with("reopened=");
    let (ours, theirs): (Vec<&str>, Vec<&str>) = text.split_whitespace().partition(own);
    let mut threat = cases::threat(&theirs.join(" ")).unwrap();
    threat.threat_id = ThreatId::derive("1");
    for word in ours {
        match word.split_once('=').unwrap() {
            ("id", name) => threat.threat_id = ThreatId::derive(name),
            (_, times) => threat.reopened = times.parse().unwrap(),
        }
    }
    threat
}
