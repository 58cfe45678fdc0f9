//! Reading the file.

use std::path::PathBuf;

use vertice_engine::{Input, Stamp};
use vertice_model::{EffectId, Position, Timestamp};

use super::opening::examine;
use super::{head, keep, log, records};
use crate::error::{FindError, ReadError};
use crate::readers::Readers;
use crate::reads::Reads;
use crate::{ApiKey, Filter, Page, RankedPage, RecordKind, Remembered, StoredRecord, Verified};

impl Reads for Readers {
    fn whereabouts(&self) -> PathBuf {
        self.place("").file.to_owned()
    }

    /// A file has one log, whose end the writer knows.
    fn end_of(&self, _: u32) -> Result<Position, ReadError> {
        Ok(Position(0))
    }

    fn read(
        &self,
        _: u32,
        from: Position,
        end: Position,
        positions_max: u64,
    ) -> Result<Vec<(Stamp, Input)>, ReadError> {
        self.with(|db| log::read(db, self.place("log"), from, end, positions_max))
    }

    fn snapshots(&self) -> Result<Vec<(Position, u32)>, ReadError> {
        self.with(|db| keep::snapshots(db, self.place("snapshot")))
    }

    fn snapshot(&self, position: Position, version: u32) -> Result<Vec<u8>, ReadError> {
        self.with(|db| keep::snapshot(db, self.place("snapshot"), position, version))
    }

    fn list(&self, kind: Option<RecordKind>, filter: &Filter, page: Page) -> Result<Vec<StoredRecord>, ReadError> {
        self.with(|db| records::list(db, self.place("record"), kind, filter, page))
    }

    fn ranked(&self, filter: &Filter, page: &RankedPage) -> Result<Vec<StoredRecord>, ReadError> {
        self.with(|db| records::ranked(db, self.place("record"), filter, page))
    }

    fn about(&self, kind: RecordKind, entity: &str, state: &str) -> Result<Vec<StoredRecord>, ReadError> {
        self.with(|db| records::about(db, self.place("record"), kind, entity, state))
    }

    fn count(&self, kind: RecordKind, filter: &Filter) -> Result<u64, ReadError> {
        self.with(|db| records::count(db, self.place("record"), kind, filter))
    }

    fn find(&self, kind: RecordKind, prefix: &str) -> Result<StoredRecord, FindError> {
        self.with(|db| records::find(db, self.place("record"), kind, prefix))
    }

    fn latest(&self) -> Result<Option<EffectId>, ReadError> {
        self.with(|db| records::latest(db, self.place("record")))
    }

    fn cursor(&self, source: &str) -> Result<Option<Vec<u8>>, ReadError> {
        self.with(|db| keep::cursor(db, self.place("cursor"), source))
    }

    fn is_claimed(&self, _order: &str) -> Result<bool, ReadError> {
        Ok(false)
    }

    fn remembered(&self, key: &[u8; 32], now: Timestamp) -> Result<Option<Remembered>, ReadError> {
        self.with(|db| keep::remembered(db, self.place("idempotency"), key, now))
    }

    fn api_keys(&self) -> Result<Vec<ApiKey>, ReadError> {
        self.with(|db| keep::api_keys(db, self.place("api_key")))
    }

    fn meta(&self, key: &str) -> Result<Option<String>, ReadError> {
        self.with(|db| keep::meta(db, self.place("meta"), key))
    }

    fn verify(&self) -> Result<Verified, ReadError> {
        self.with(|db| {
            let place = self.place("head");
            // One state of the file for all that is compared.
            let tx = db.unchecked_transaction().map_err(|e| place.error("reading", "its only row", e))?;
            let head = head::read(&tx, place)?;
            examine(&tx, place.file, &head)
        })
    }
}
