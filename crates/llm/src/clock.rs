//! What is not ours to make: time and chance.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use vertice_model::Timestamp;

/// Time, as the caller keeps it.
pub trait Clock: Send + Sync {
    /// The time now. It does not go back.
    fn now(&self) -> Timestamp;

    /// Returns after so long.
    fn wait(&self, time: Duration) {
        // A channel on which nothing comes.
        let (_open, never) = mpsc::channel::<()>();
        let _ = never.recv_timeout(time);
    }
}

/// Time and chance.
#[derive(Clone)]
pub struct World {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Any number, each as likely: what waits are spread with.
    pub random: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl World {
    /// How long it is until then; nothing when it is past.
    pub(crate) fn until(&self, then: Timestamp) -> Duration {
        Duration::from_micros(then.micros_since(self.clock.now()))
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

/// That time and a duration more.
pub(crate) fn after(time: Timestamp, duration: Duration) -> Timestamp {
    let us = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(time.as_micros().saturating_add(us))
}
