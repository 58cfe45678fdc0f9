//! Growing files, line by line, through rotation, truncation and restarts.
//!
//! The file is looked at, not listened to: a look costs one call when nothing happened, and works on every file
//! system. A line that has no end yet waits for it. What was written to a file before it was rotated away is read
//! to its end first. What a writer adds and cuts away between two looks (`copytruncate`) is lost, as with any reader.

mod place;
mod tail;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use self::tail::Tail;
use crate::source::{Batch, SourceError};

/// Which file to follow, and how.
#[derive(Clone, Debug)]
pub struct Follow {
    /// The file. It need not exist yet.
    pub path: PathBuf,
    /// Where to begin when there is no cursor.
    pub begin: Begin,
    /// The value of the last cursor that was kept.
    pub cursor: Option<String>,
    /// How often to look, when the last look showed nothing.
    pub poll: Duration,
}

/// Where to begin in a file that was never followed before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Begin {
    /// At its first line.
    Start,
    /// At the line that is written next.
    End,
}

impl Follow {
    /// The name of this source in cursors.
    #[must_use]
    pub fn source(&self) -> Arc<str> {
        format!("file:{}", self.path.display()).into()
    }
}

/// Follows a file until told to stop, or until nobody takes the batches any more.
///
/// # Errors
/// If the file is there and can not be read.
pub async fn run(config: Follow, queue: mpsc::Sender<Batch>, stop: CancellationToken) -> Result<(), SourceError> {
    let (path, poll) = (config.path.display().to_string(), config.poll);
    let mut tail = Tail::new(config);
    loop {
        let looked = tokio::task::spawn_blocking(move || {
            let batch = tail.look();
            (tail, batch)
        });
        let batch = match looked.await {
            Ok((again, batch)) => {
                tail = again;
                batch.map_err(SourceError::io(format!("following {path}")))?
            }
            // The runtime is being shut down.
            Err(_) => return Ok(()),
        };
        match batch {
            Some(batch) => tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                sent = queue.send(batch) => if sent.is_err() { return Ok(()) },
            },
            None => tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(poll) => {}
            },
        }
    }
}
