//! Moving the write-ahead log into the file beside the writer, which goes on committing meanwhile: most of a
//! checkpoint is waiting for the disk, and nobody who sends events has to.
//!
//! What the writer commits while one is under way is not part of it. The writer moves that by itself afterwards, which
//! is little, and then the log begins anew at its front.

use std::path::Path;
use std::thread::JoinHandle;

use crate::sqlite;

/// A checkpoint beside the writer, if one is under way.
#[derive(Debug, Default)]
pub(crate) struct Beside(Option<JoinHandle<Result<(), rusqlite::Error>>>);

impl Beside {
    /// Begins one, or says how the last one ended; `None` while one is under way.
    pub(crate) fn turn(&mut self, file: &Path) -> Option<Result<(), rusqlite::Error>> {
        match self.0.take() {
            None => {
                let file = file.to_owned();
                let thread = std::thread::Builder::new().name("store-checkpoint".to_owned());
                // Where the system has no thread for it, the writer moves all of it.
                self.0 = thread.spawn(move || move_all(&file)).ok();
                if self.0.is_some() { None } else { Some(Ok(())) }
            }
            Some(running) if !running.is_finished() => {
                self.0 = Some(running);
                None
            }
            Some(ended) => Some(ended.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
        }
    }

    /// Waits until none is under way. How it ended shows to whoever moves the rest.
    pub(crate) fn end(&mut self) {
        if let Some(running) = self.0.take() {
            let _known_later = running.join();
        }
    }
}

fn move_all(file: &Path) -> Result<(), rusqlite::Error> {
    let db = rusqlite::Connection::open(file)?;
    sqlite::as_the_writer(&db)?;
    db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}
