//! Whether much is being brought: judging gives way to accepting then, for what was sent must be accepted or it may be
//! lost, and what was accepted can be judged a moment later.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many large submissions are being made ready or kept.
#[derive(Debug, Default)]
pub(crate) struct Bulk {
    count: Mutex<usize>,
    ended: Condvar,
}

/// A large submission from when it begins to be received until this goes.
#[derive(Debug)]
pub struct UnderWay(Arc<Bulk>);

impl Bulk {
    pub(crate) fn begin(self: &Arc<Bulk>) -> UnderWay {
        *self.lock() += 1;
        UnderWay(Arc::clone(self))
    }

    /// Waits until none is under way, and not longer than this; whether none is.
    pub(crate) fn wait(&self, at_most: Duration) -> bool {
        let under_way = |count: &mut usize| *count > 0;
        let waited = self.ended.wait_timeout_while(self.lock(), at_most, under_way);
        *waited.unwrap_or_else(PoisonError::into_inner).0 == 0
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_goes_on_when_the_last_has_ended_or_has_taken_too_long() {
        let bulk = Arc::new(Bulk::default());
        assert!(bulk.wait(Duration::ZERO), "nothing is under way");
        let (one, two) = (bulk.begin(), bulk.begin());
        drop(one);
        assert!(!bulk.wait(Duration::from_millis(1)), "the second takes too long");
        let waiting = Arc::clone(&bulk);
        let waited = std::thread::spawn(move || waiting.wait(Duration::from_secs(3_600)));
        drop(two);
        assert!(waited.join().unwrap());
    }
}
