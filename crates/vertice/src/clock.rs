//! The one place that reads the clock.
//!
//! The machine's wall clock can be set back or forth by a day while we run; leases, approvals and
//! windows must neither expire at once nor stand still because of it. So the time that the engine
//! sees moves with the monotonic clock and only leans towards the wall clock: at most twice as fast
//! when it is behind, at half speed when it is ahead. It never goes back.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use vertice_model::Timestamp;

/// Differences up to this are what synchronised clocks show; they are taken over at once, forwards only.
const STEP_US: i64 = 250_000;

/// A clock that does not jump.
#[derive(Debug)]
pub struct Clock {
    last: Mutex<Reading>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    told: Timestamp,
    monotonic: Instant,
}

impl Clock {
    /// Starts at the wall clock's time.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn start() -> Clock {
        Clock { last: Mutex::new(Reading { told: wall(), monotonic: Instant::now() }) }
    }

    /// Goes on from the log's last time, if the wall clock was set back behind it while nothing ran: the log
    /// never goes back, and time would stand still in it until the wall clock is there again.
    pub fn not_before(&self, time: Timestamp) {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        last.told = last.told.max(time);
    }

    /// The time now. Never earlier than what it said before.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now(&self) -> Timestamp {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let monotonic = Instant::now();
        let told = lean(last.told, wall(), monotonic.duration_since(last.monotonic));
        *last = Reading { told, monotonic };
        told
    }
}

impl vertice_llm::Clock for Clock {
    fn now(&self) -> Timestamp {
        Clock::now(self)
    }
}

/// The wall clock's time, which may jump.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// The time to tell after `told`, when `elapsed` has passed and the wall clock shows `wall`.
fn lean(told: Timestamp, wall: Timestamp, elapsed: Duration) -> Timestamp {
    let told = told.as_micros();
    let elapsed = i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX);
    let ahead = wall.as_micros().saturating_sub(told.saturating_add(elapsed));
    let step = match ahead {
        0..=STEP_US => elapsed.saturating_add(ahead),
        ..0 => elapsed - (elapsed / 2).min(-ahead),
        _ => elapsed.saturating_add(elapsed.min(ahead)),
    };
    Timestamp::from_micros(told.saturating_add(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_US: i64 = 86_400_000_000;

    /// Runs for `seconds` of real time while the wall clock is off by `off_us`; returns how far the
    /// told time has moved, in microseconds.
    fn moved(off_us: i64, seconds: i64) -> i64 {
        let start = 1_000_000 * DAY_US / 1_000;
        let mut told = Timestamp::from_micros(start);
        for s in 1..=seconds {
            let wall = Timestamp::from_micros(start + off_us + s * 1_000_000);
            let next = lean(told, wall, Duration::from_secs(1));
            assert!(next >= told, "never back");
            told = next;
        }
        told.as_micros() - start
    }

    #[test]
    fn follows_a_true_wall_clock() {
        assert_eq!(moved(0, 60), 60_000_000);
        assert_eq!(moved(100_000, 60), 60_100_000);
    }

    #[test]
    fn a_step_of_a_day_forth_is_no_day_for_a_lease() {
        assert_eq!(moved(DAY_US, 60), 120_000_000);
    }

    #[test]
    fn a_step_of_a_day_back_does_not_stop_time() {
        assert_eq!(moved(-DAY_US, 60), 30_000_000);
    }

    #[test]
    fn both_steps_are_made_good_in_the_end() {
        assert_eq!(moved(10_000_000, 60), 70_000_000);
        assert_eq!(moved(-10_000_000, 60), 50_000_000);
    }

    #[test]
    fn a_clock_starts_no_earlier_than_told() {
        let future = wall().plus_seconds(3_600);
        let clock = Clock::start();
        assert!(clock.now() < future);
        clock.not_before(future);
        let now = clock.now();
        assert!(now >= future && now < future.plus_seconds(3_600));
        clock.not_before(wall());
        assert!(clock.now() >= now, "what is behind it changes nothing");
    }
}
