//! The input log, snapshots and the read model: in one data directory, one SQLite file; or shared by many instances, in
//! shards of a PostgreSQL.
//!
//! The log is the system of record and the engine's queue. Whatever is submitted is written by one
//! thread, many submissions in one transaction, and acknowledged only when it would survive a loss of
//! power. The engine reads the log from where it was, and projects its effects into the read model,
//! which can be made again from the log at any time.
//!
//! What is damaged is found and named, never skipped: every row has a checksum, the log has no gaps, and
//! a witness beside the database knows how many transactions there must be.
//!
//! Beside it lies the [`audit`]: what was decided and done, in a file, or in rows, that prove themselves.
//!
//! [`Store`] is the seam, and both databases are held to the same conformance suite. The writer is one
//! (`writer.rs`); what it writes to are two (`database.rs`), as is what is read from (`reads.rs`). Reading
//! functions block for as long as a disk or a server takes, so async code calls them through `spawn_blocking`.

pub mod audit;
mod beside;
mod bulk;
mod chunk;
mod concern;
mod database;
mod directory;
mod error;
mod head;
pub mod limits;
mod news;
mod place;
mod pool;
pub mod postgres;
mod query;
mod queue;
mod readers;
mod reads;
mod record;
mod row;
mod sqlite;
mod stats;
mod store;
mod sums;
mod types;
mod writer;

pub use bulk::UnderWay;
pub use chunk::{PackedEvents, in_shares};
pub use error::{Damage, DatabaseError, FindError, OpenError, ReadError, Stopped, SubmitError};
pub use postgres::PostgresSettings;
pub use record::RecordKind;
pub use stats::{Histogram, StoreStats};
pub use store::{Projecting, Store, Submitted};
pub use types::{
    Accepted, ApiKey, Check, Clock, Cursor, Filter, Idempotency, NoRank, Options, Page, Rank, RankedPage, Remembered,
    ShardState, Snapshot, StoredRecord, Submission, Verified,
};
