//! What the writer writes to. There are two: a SQLite file, and a shard in PostgreSQL.

use std::time::Duration;

use vertice_model::Timestamp;

use crate::error::Stopped;
use crate::head::Head;
use crate::queue::{Keep, Telling};
use crate::record::RecordRow;
use crate::row::NewRow;
use crate::{Accepted, Cursor, Idempotency, Remembered};

/// Why a transaction did not come about.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no space. Nothing of it was kept, and the next may succeed.
    NoSpace(String),
    /// The database can not be reached. Nothing of it was kept, and it may be back soon.
    Away(String),
    /// Nothing more may be written.
    Stop(Stopped),
}

/// What is done in a transaction. Done again from its beginning where nothing of it was kept.
pub(crate) type Work<'a> = dyn FnMut(&mut dyn Tx) -> Result<Head, Failure> + 'a;

/// A database with one log.
pub(crate) trait Database: Send {
    /// Does work in one transaction that goes on from a head, and returns the head that the work came to.
    fn write(&mut self, head: &Head, work: &mut Work<'_>) -> Result<Head, Failure>;

    /// Told of each transaction that was committed, before anybody is answered.
    fn committed(&mut self, head: &Head);

    /// Does what is due between transactions.
    fn upkeep(&mut self) -> Result<(), Stopped>;

    /// Ends it properly.
    fn close(&mut self, head: &Head) -> Result<(), Stopped>;

    /// How soon others must be able to see up to where the log was judged, when nothing else is written; `None` if
    /// nobody looks.
    fn judged_within(&self) -> Option<Duration>;
}

/// A transaction.
pub(crate) trait Tx {
    /// Appends a row to the log.
    fn append(&mut self, row: &NewRow<'_>) -> Result<(), Failure>;

    /// Projects records. Doing it again changes nothing.
    fn project(&mut self, rows: &[RecordRow]) -> Result<(), Failure>;

    /// Tells other logs. Doing it again changes nothing.
    fn tell(&mut self, telling: &[Telling]) -> Result<(), Failure>;

    /// What was answered under a key, if it is remembered.
    fn remembered(&mut self, key: &[u8; 32], now: Timestamp) -> Result<Option<Remembered>, Failure>;

    /// Remembers an answer.
    fn remember(&mut self, idempotency: &Idempotency, accepted: &Accepted) -> Result<(), Failure>;

    /// Moves a cursor.
    fn set_cursor(&mut self, cursor: &Cursor) -> Result<(), Failure>;

    /// Keeps something; whether it changed anything.
    fn keep(&mut self, keep: &Keep, now: Timestamp) -> Result<bool, Failure>;

    /// What others have left for this log, in its order, and what other logs told it since it heard the last of them.
    ///
    /// Whatever was told before something was left is there too, or nothing that was left is.
    fn inbox(&mut self) -> Result<Inbox, Failure>;

    /// Notes what was heard.
    fn heard(&mut self, letter: &Letter) -> Result<(), Failure>;

    /// Notes what was accepted of the inbox.
    fn taken(&mut self, letter: &Letter, accepted: &Accepted) -> Result<(), Failure>;
}

/// What came from elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// What other logs told.
    pub(crate) told: Vec<Letter>,
    /// What was left for this log.
    pub(crate) left: Vec<Letter>,
    /// Whether more was told than is given at once. What was left waits for it.
    pub(crate) more: bool,
}

/// An input that somebody else has left for this log.
#[derive(Debug)]
pub(crate) struct Letter {
    /// Its number.
    pub(crate) id: i64,
    /// What is to be appended.
    pub(crate) append: crate::queue::Append,
}
