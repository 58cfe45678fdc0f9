//! A bounded number of connections, opened when they are needed.

use std::fmt;
use std::sync::{Condvar, Mutex, PoisonError};

/// Connections that are lent one at a time.
pub(crate) struct Pool<C> {
    max: usize,
    idle: Mutex<Idle<C>>,
    returned: Condvar,
}

struct Idle<C> {
    connections: Vec<C>,
    lent: usize,
}

impl<C> fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("max", &self.max).finish_non_exhaustive()
    }
}

impl<C> Pool<C> {
    /// Of so many connections at most.
    pub(crate) fn new(max: usize) -> Pool<C> {
        Pool { max: max.max(1), idle: Mutex::new(Idle { connections: Vec::new(), lent: 0 }), returned: Condvar::new() }
    }

    /// Takes out those that are not lent.
    pub(crate) fn drain(&self) -> Vec<C> {
        std::mem::take(&mut self.idle.lock().unwrap_or_else(PoisonError::into_inner).connections)
    }

    /// Lends a connection; waits when all are lent. It is kept for the next one if the work says so.
    pub(crate) fn with<T, E>(
        &self,
        open: impl FnOnce() -> Result<C, E>,
        work: impl FnOnce(&mut C) -> (Result<T, E>, bool),
    ) -> Result<T, E> {
        let all_lent = |idle: &mut Idle<C>| idle.lent >= self.max;
        let lock = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut idle = self.returned.wait_while(lock, all_lent).unwrap_or_else(PoisonError::into_inner);
        idle.lent += 1;
        let connection = idle.connections.pop();
        drop(idle);
        // Given back even when the work panics.
        let mut lent = Lent { pool: self, connection };
        let connection = match &mut lent.connection {
            Some(connection) => connection,
            none @ None => none.insert(open()?),
        };
        let (done, keep) = work(connection);
        if !keep {
            lent.connection = None;
        }
        done
    }
}

struct Lent<'a, C> {
    pool: &'a Pool<C>,
    connection: Option<C>,
}

impl<C> Drop for Lent<'_, C> {
    fn drop(&mut self) {
        let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.lent -= 1;
        idle.connections.extend(self.connection.take());
        drop(idle);
        self.pool.returned.notify_one();
    }
}
