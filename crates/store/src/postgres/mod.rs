//! PostgreSQL as the store of many shards: every row has the number of its shard, every shard has one owner at a time.
//!
//! - Taking a shard raises its *epoch*. Every transaction of its writer begins by locking the shard's row and comparing
//!   the epoch, so whoever was superseded writes nothing more, however late it wakes up.
//! - The shard's row counts its transactions. A connection that breaks while a commit is under way leaves it unknown
//!   whether it came about; the lock waits for the other end to have made up its mind, and the count tells.
//! - What is projected is numbered over all shards (`seq`), under a lock that is held until the commit. So whoever reads
//!   in that order never passes over a record that another shard was about to commit.
//! - What concerns a shard and comes from elsewhere is left in its `inbox`, and its owner moves it to the log.

mod copies;
pub(crate) mod inbox;
mod keep;
mod migrate;
pub(crate) mod opening;
pub(crate) mod overview;
mod reading;
mod schema;
pub(crate) mod session;
mod settings;
mod writing;

pub use migrate::{MoveError, Moved, migrate};
pub use opening::look;
pub use settings::{PostgresSettings, SettingsError};
