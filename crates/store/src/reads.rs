//! Reading a store. Every function blocks for as long as a disk or a server takes. Of PostgreSQL none may be called on a
//! thread that drives async code, where waiting for a server is not possible: `spawn_blocking` is the way.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use vertice_engine::{Input, Stamp};
use vertice_model::{EffectId, OrderId, Position, RawEvent, Timestamp};

use crate::error::{Damage, FindError, ReadError};
use crate::store::{Form, Store};
use crate::types::{ApiKey, Filter, Page, RankedPage, Remembered, Snapshot, StoredRecord, Verified};
use crate::{RecordKind, row};

#[cfg(doc)]
use crate::{Rank, limits};

/// What is read from. There are two: a SQLite file, and PostgreSQL, of which one shard is seen or all.
pub(crate) trait Reads: Send + Sync {
    /// Where it is, for saying what is wrong with it.
    fn whereabouts(&self) -> PathBuf;
    /// The last position of a shard's log, as it is kept; 0 when there is none.
    fn end_of(&self, shard: u32) -> Result<Position, ReadError>;
    /// Reads a shard's log from `from` to `end` at most.
    fn read(
        &self,
        shard: u32,
        from: Position,
        end: Position,
        positions_max: u64,
    ) -> Result<Vec<(Stamp, Input)>, ReadError>;
    /// The positions and versions of the snapshots, latest first.
    fn snapshots(&self) -> Result<Vec<(Position, u32)>, ReadError>;
    /// A snapshot, compressed.
    fn snapshot(&self, position: Position, version: u32) -> Result<Vec<u8>, ReadError>;
    fn list(&self, kind: Option<RecordKind>, filter: &Filter, page: Page) -> Result<Vec<StoredRecord>, ReadError>;
    fn ranked(&self, filter: &Filter, page: &RankedPage) -> Result<Vec<StoredRecord>, ReadError>;
    fn about(&self, kind: RecordKind, entity: &str, state: &str) -> Result<Vec<StoredRecord>, ReadError>;
    fn count(&self, kind: RecordKind, filter: &Filter) -> Result<u64, ReadError>;
    fn find(&self, kind: RecordKind, prefix: &str) -> Result<StoredRecord, FindError>;
    fn latest(&self) -> Result<Option<EffectId>, ReadError>;
    fn cursor(&self, source: &str) -> Result<Option<Vec<u8>>, ReadError>;
    fn is_claimed(&self, order: &str) -> Result<bool, ReadError>;
    fn remembered(&self, key: &[u8; 32], now: Timestamp) -> Result<Option<Remembered>, ReadError>;
    fn api_keys(&self) -> Result<Vec<ApiKey>, ReadError>;
    fn meta(&self, key: &str) -> Result<Option<String>, ReadError>;
    fn verify(&self) -> Result<Verified, ReadError>;
}

impl Store {
    /// Reads the log from a position, which may lie within a batch of events, on: whole inputs until
    /// they take `positions_max` positions or [`limits::READ_BYTES_MAX`], at least one. Empty beyond the end. An overview
    /// reads the log of shard 0.
    ///
    /// # Errors
    /// When a row is damaged or missing.
    pub fn read(&self, from: Position, positions_max: u64) -> Result<Vec<(Stamp, Input)>, ReadError> {
        let from = from.max(Position(1));
        let end = self.end_of(self.shard())?;
        if from > end {
            return Ok(Vec::new());
        }
        self.0.reads.read(self.shard(), from, end, positions_max.max(1))
    }

    /// One event of a shard's log and when it was accepted; `None` if there is another input at that position, or
    /// nothing. Where there is one log, it is shard 0.
    ///
    /// # Errors
    /// When its row is damaged.
    pub fn event(&self, shard: u32, at: Position) -> Result<Option<(Stamp, RawEvent)>, ReadError> {
        if at == Position(0) || at > self.end_of(shard)? {
            return Ok(None);
        }
        Ok(row::event_of(self.0.reads.read(shard, at, at, 1)?))
    }

    /// The last position of a shard's log; 0 when there is none.
    fn end_of(&self, shard: u32) -> Result<Position, ReadError> {
        match self.0.form {
            Form::File { .. } | Form::Shard { .. } if shard == self.shard() => Ok(self.log_end()),
            Form::File { .. } | Form::Shard { .. } | Form::Overview => self.0.reads.end_of(shard),
        }
    }

    /// The latest snapshot of a form that is whole and lies within the log. One that is damaged is passed
    /// over for an older one, loudly: nothing is lost by it, for the log has everything.
    ///
    /// # Errors
    /// When the database can not be read.
    pub fn load_snapshot(&self, version: u32) -> Result<Option<Snapshot>, ReadError> {
        let reads = &self.0.reads;
        let known = match reads.snapshots() {
            Err(ReadError::Damaged(damage)) => return Ok(self.pass_over(&damage)),
            other => other?,
        };
        let end = self.end_of(self.shard())?;
        for (position, form) in known.into_iter().filter(|(p, v)| *v == version && *p <= end) {
            let bytes = reads.snapshot(position, form).and_then(|blob| {
                let bad = |e| Damage {
                    file: reads.whereabouts(),
                    table: "snapshot",
                    place: format!("the snapshot at position {position}"),
                    what: format!("{e}"),
                };
                unpack(&blob).map_err(|e| bad(e).into())
            });
            match bytes {
                Ok(bytes) => return Ok(Some(Snapshot { position, bytes })),
                Err(ReadError::Damaged(damage)) => self.pass_over(&damage),
                Err(e @ ReadError::Database { .. }) => return Err(e),
            };
        }
        Ok(None)
    }

    fn pass_over(&self, damage: &Damage) -> Option<Snapshot> {
        self.0.stats.snapshots_damaged.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%damage, "a snapshot is damaged; an older one or the whole log is used");
        None
    }

    /// The records of a kind, in the order of their effects.
    ///
    /// # Errors
    /// When a row is damaged.
    pub fn list(&self, kind: RecordKind, filter: &Filter, page: Page) -> Result<Vec<StoredRecord>, ReadError> {
        self.0.reads.list(Some(kind), filter, page)
    }

    /// Threats by their priority: see [`Rank`]. Each has its own.
    ///
    /// # Errors
    /// When a row is damaged.
    pub fn ranked(&self, filter: &Filter, page: &RankedPage) -> Result<Vec<StoredRecord>, ReadError> {
        self.0.reads.ranked(filter, page)
    }

    /// The records of a kind in a state that are about an entity, by their id; at most [`limits::PAGE_ROWS_MAX`]. Takes
    /// as long as there are records of that kind about it, however many others there are.
    ///
    /// # Errors
    /// When a row is damaged.
    pub fn about(&self, kind: RecordKind, entity: &str, state: &str) -> Result<Vec<StoredRecord>, ReadError> {
        self.0.reads.about(kind, entity, state)
    }

    /// How many records of a kind there are.
    ///
    /// # Errors
    /// When the database can not be read.
    pub fn count(&self, kind: RecordKind, filter: &Filter) -> Result<u64, ReadError> {
        self.0.reads.count(kind, filter)
    }

    /// The record of an id, or of the beginning of one.
    ///
    /// # Errors
    /// When there is none, when there are several, or when it is damaged.
    pub fn find(&self, kind: RecordKind, id_or_prefix: &str) -> Result<StoredRecord, FindError> {
        self.0.reads.find(kind, id_or_prefix)
    }

    /// Records of all kinds that changed after an effect, in order. A record that changed several times
    /// comes once, as it is now, at the place of its last change.
    ///
    /// # Errors
    /// When a row is damaged.
    pub fn changes(&self, after: Option<EffectId>, limit: usize) -> Result<Vec<StoredRecord>, ReadError> {
        self.0.reads.list(None, &Filter::default(), Page { after, limit, descending: false })
    }

    /// The latest effect that was projected: where a live stream begins.
    ///
    /// # Errors
    /// When the database can not be read.
    pub fn latest_change(&self) -> Result<Option<EffectId>, ReadError> {
        self.0.reads.latest()
    }

    /// How far a source has been read, as of the events that are kept.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn cursor(&self, source: &str) -> Result<Option<Vec<u8>>, ReadError> {
        self.0.reads.cursor(source)
    }

    /// Whether an order was claimed, by whoever had the shard then. Never in a data directory, which has one owner.
    ///
    /// # Errors
    /// When the database can not be read.
    pub fn is_claimed(&self, order: OrderId) -> Result<bool, ReadError> {
        self.0.reads.is_claimed(&order.to_string())
    }

    /// What was answered under an idempotency key in the last 24 hours.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn idempotent(&self, key: &[u8; 32]) -> Result<Option<Remembered>, ReadError> {
        self.0.reads.remembered(key, (self.0.clock)())
    }

    /// Every API key, by name.
    ///
    /// # Errors
    /// When one is damaged.
    pub fn api_keys(&self) -> Result<Vec<ApiKey>, ReadError> {
        self.0.reads.api_keys()
    }

    /// A setting that is kept with the data.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn meta(&self, key: &str) -> Result<Option<String>, ReadError> {
        self.0.reads.meta(key)
    }

    /// Looks at everything: the structure of the file, every index, every checksum. Takes as long as
    /// reading it all. Of a database it is what this store reads.
    ///
    /// # Errors
    /// With the first damage that is found.
    pub fn verify(&self) -> Result<Verified, ReadError> {
        self.0.reads.verify()
    }
}

fn unpack(blob: &[u8]) -> Result<Vec<u8>, lz4_flex::block::DecompressError> {
    let (bytes, body) = lz4_flex::block::uncompressed_size(blob)?;
    // The checksum was right, so the length is what was written.
    lz4_flex::block::decompress(body, bytes)
}
