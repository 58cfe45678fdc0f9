//! The connections that only read.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

use rusqlite::Connection;

use crate::error::ReadError;
use crate::limits;
use crate::sqlite::{Place, file_of, open_reader};

/// A bounded number of read-only connections, opened when they are needed.
#[derive(Debug)]
pub(crate) struct Readers {
    file: PathBuf,
    idle: Mutex<Idle>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct Idle {
    connections: Vec<Connection>,
    lent: usize,
}

impl Readers {
    pub(crate) fn new(dir: &Path) -> Readers {
        Readers { file: file_of(dir), idle: Mutex::default(), returned: Condvar::new() }
    }

    /// Where a table is, for saying what is wrong with it.
    pub(crate) fn place(&self, table: &'static str) -> Place<'_> {
        Place { file: &self.file, table }
    }

    /// Lends a connection; waits when all are lent.
    pub(crate) fn with<T, E: From<ReadError>>(&self, read: impl FnOnce(&Connection) -> Result<T, E>) -> Result<T, E> {
        let all_lent = |idle: &mut Idle| idle.lent >= limits::READERS_MAX;
        let lock = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut idle = self.returned.wait_while(lock, all_lent).unwrap_or_else(PoisonError::into_inner);
        idle.lent += 1;
        let connection = idle.connections.pop();
        drop(idle);
        // Given back even when the read panics.
        let mut lent = Lent { readers: self, connection };
        let connection =
            match &mut lent.connection {
                Some(connection) => connection,
                none @ None => none.insert(open_reader(&self.file).map_err(|e| {
                    self.place("the whole file").error("opening it for reading", "while it was opened", e)
                })?),
            };
        read(connection)
    }
}

struct Lent<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut idle = self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.lent -= 1;
        idle.connections.extend(self.connection.take());
        drop(idle);
        self.readers.returned.notify_one();
    }
}
