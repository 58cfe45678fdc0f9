//! The connections that only read the file.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::error::ReadError;
use crate::limits;
use crate::place::Place;
use crate::pool::Pool;
use crate::sqlite::{file_of, open_reader};

/// A bounded number of read-only connections, opened when they are needed.
#[derive(Debug)]
pub(crate) struct Readers {
    file: PathBuf,
    pool: Pool<Connection>,
}

impl Readers {
    pub(crate) fn new(dir: &Path) -> Readers {
        Readers { file: file_of(dir), pool: Pool::new(limits::READERS_MAX) }
    }

    /// Where a table is, for saying what is wrong with it.
    pub(crate) fn place(&self, table: &'static str) -> Place<'_> {
        Place { file: &self.file, table }
    }

    /// Lends a connection; waits when all are lent.
    pub(crate) fn with<T, E: From<ReadError>>(&self, read: impl FnOnce(&Connection) -> Result<T, E>) -> Result<T, E> {
        let open = || {
            let place = self.place("the whole file");
            open_reader(&self.file).map_err(|e| place.error("opening it for reading", "while it was opened", e).into())
        };
        self.pool.with(open, |db| (read(db), true))
    }
}
