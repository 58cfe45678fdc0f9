//! Says each kind of trouble once, and again only after ever longer silences.
//!
//! librdkafka repeats what it has to say for as long as a broker is away: several times a second, for every connection.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::limits::kafka as limits;

/// What was said, and when it may be said again.
#[derive(Debug, Default)]
pub(super) struct Noise {
    said: Mutex<BTreeMap<String, Said>>,
}

#[derive(Debug)]
struct Said {
    again: Instant,
    gap: Duration,
    kept_back: u64,
}

impl Noise {
    /// Warns of something, unless this kind of it was warned of lately.
    #[expect(clippy::disallowed_methods, reason = "only how often a warning is repeated depends on it")]
    pub(super) fn warn(&self, kind: &str, text: &str) {
        if let Some(kept_back) = self.due(kind, Instant::now()) {
            let again = if kept_back == 0 { String::new() } else { format!(" ({kept_back} more times since)") };
            tracing::warn!("Kafka: {text}{again}");
        }
    }

    /// How often it was kept back since it was last said, if it is to be said now.
    fn due(&self, kind: &str, now: Instant) -> Option<u64> {
        let mut all = self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(said) = all.get_mut(kind) {
            if now < said.again {
                said.kept_back += 1;
                return None;
            }
            // Quiet for as long again as it was to be silent: a new story.
            let fresh = now.saturating_duration_since(said.again) > said.gap;
            let gap = if fresh { limits::SAY_AGAIN } else { (said.gap * 2).min(limits::SAY_AGAIN_MAX) };
            let kept_back = said.kept_back;
            *said = Said { again: now + gap, gap, kept_back: 0 };
            return Some(kept_back);
        }
        // Kinds are librdkafka's own words, of which there are a few dozen; this is for the day it invents them.
        if all.len() >= limits::KINDS_MAX {
            all.pop_first();
        }
        all.insert(kind.to_owned(), Said { again: now + limits::SAY_AGAIN, gap: limits::SAY_AGAIN, kept_back: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant to count from; none can be made otherwise")]
    fn the_same_is_said_ever_more_rarely_and_afresh_after_a_silence() {
        let (noise, start) = (Noise::default(), Instant::now());
        let at = |s: u64| start + Duration::from_secs(s);
        let said: Vec<(u64, Option<u64>)> =
            [0, 1, 59, 60, 100, 179, 180, 1000].into_iter().map(|s| (s, noise.due("FAIL", at(s)))).collect();
        let expected = [
            (0, Some(0)),
            (1, None),
            (59, None),
            (60, Some(2)),
            (100, None),
            (179, None),
            (180, Some(2)),
            (1000, Some(0)),
        ];
        assert_eq!(said, expected);
        assert_eq!(noise.due("ERROR", at(1)), Some(0), "another kind is another story");
        for kind in 0..10 * limits::KINDS_MAX {
            noise.due(&kind.to_string(), at(2));
        }
        assert!(noise.said.lock().unwrap().len() <= limits::KINDS_MAX);
    }
}
