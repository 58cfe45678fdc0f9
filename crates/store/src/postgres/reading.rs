//! Reading one shard, or all of them.

use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::path::PathBuf;

use postgres::Row;
use postgres::types::ToSql;
use vertice_engine::{Input, Stamp};
use vertice_model::{EffectId, Position, Severity, Suppression, Timestamp};

use super::inbox;
use super::keep::{self, reading};
use super::session::{Means, Session, means};
use super::settings::PostgresSettings;
use crate::concern::HOME;
use crate::error::{DatabaseError, FindError, ReadError};
use crate::head::Head;
use crate::place::Place;
use crate::pool::Pool;
use crate::query::{self, Conditions, Scope, Value};
use crate::queue::InputKind;
use crate::reads::Reads;
use crate::record::{RecordKind, RecordRow};
use crate::row::{LogRow, Stretch};
use crate::sums::signed;
use crate::{ApiKey, Filter, Page, Rank, RankedPage, Remembered, StoredRecord, Verified, limits};

/// The columns of a record, of which its checksum covers all but the last three.
const COLUMNS: &str =
    "kind, key, position, idx, severity, state, rule_id, threat_id, at_us, checksum, json, shard, seq, rank";

/// A bounded number of connections that read what one store is of.
#[derive(Debug)]
pub(crate) struct Reading {
    settings: PostgresSettings,
    place: PathBuf,
    scope: Scope,
    pool: Pool<Session>,
}

impl Reading {
    pub(crate) fn new(settings: &PostgresSettings, scope: Scope) -> Reading {
        let place = match scope {
            Scope::Shard(shard) => format!("{}, shard {shard}", settings.whereabouts()),
            Scope::All | Scope::File => settings.whereabouts(),
        };
        Reading { settings: settings.clone(), place: place.into(), scope, pool: Pool::new(settings.readers_max) }
    }

    fn place(&self, table: &'static str) -> Place<'_> {
        Place { file: &self.place, table }
    }

    /// Whose things are meant that are kept by name.
    fn shard(&self) -> u32 {
        match self.scope {
            Scope::Shard(shard) => shard,
            Scope::All | Scope::File => 0,
        }
    }

    /// Lends a connection; waits when all are lent. One that broke while it was idle is replaced, once.
    pub(crate) fn with<T>(&self, read: impl Fn(&mut Session) -> Result<T, ReadError>) -> Result<T, ReadError> {
        let open = || {
            Session::open(&self.settings, "reading")
                .map_err(|e| ReadError::Database { doing: "connecting", source: DatabaseError::Server(e.to_string()) })
        };
        let once = || {
            self.pool.with(open, |session| {
                let done = read(session);
                (done, !session.client.is_closed())
            })
        };
        match once() {
            Err(ReadError::Database { source: DatabaseError::Postgres(e), .. }) if means(&e) == Means::Away => once(),
            other => other,
        }
    }

    fn select(&self, session: &mut Session, from: &str, values: &[Value]) -> Result<Vec<StoredRecord>, ReadError> {
        let mut records = self.rows(session, from, &params(values))?;
        if let Scope::All = self.scope {
            self.count_all(session, &mut records)?;
        }
        Ok(records)
    }

    fn rows(
        &self,
        session: &mut Session,
        from: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<StoredRecord>, ReadError> {
        let sql = format!("SELECT {COLUMNS} FROM {from}");
        let rows = session.rows(&sql, params).map_err(reading("reading records"))?;
        rows.iter().map(|row| self.record(row)).collect()
    }

    /// Has each suppression say what all shards counted: in each of them it keeps threats from being opened.
    fn count_all(&self, session: &mut Session, records: &mut [StoredRecord]) -> Result<(), ReadError> {
        let ours = records.iter_mut().filter(|record| record.kind == RecordKind::Suppression);
        let mut ours: HashMap<String, &mut StoredRecord> = ours.map(|record| (record.key.clone(), record)).collect();
        if ours.is_empty() {
            return Ok(());
        }
        let keys: Vec<String> = ours.keys().cloned().collect();
        let from = format!("record WHERE kind = $1 AND key = ANY ($2) AND shard <> {HOME}");
        let copies = self.rows(session, &from, &[&RecordKind::Suppression.code(), &keys])?;
        for copy in copies {
            let Some(record) = ours.get_mut(&copy.key) else { continue };
            let read = |json: &str| serde_json::from_str::<Suppression>(json);
            let both = read(&record.json).and_then(|mut ours| {
                ours.suppressed += read(&copy.json)?.suppressed;
                serde_json::to_string(&ours)
            });
            record.json = both.map_err(|e| self.place("record").damage(copy.key, e.to_string()))?;
        }
        Ok(())
    }

    fn record(&self, row: &Row) -> Result<StoredRecord, ReadError> {
        let place = self.place("record");
        let (code, severity): (i64, i64) = (row.get(0), row.get(4));
        let (key, position): (String, i64) = (row.get(1), row.get(2));
        let severity = usize::try_from(severity).ok().and_then(|s| Severity::ALL.get(s).copied());
        let bad = || place.damage(key.clone(), "its kind or its severity is none");
        let found = RecordRow {
            effect: EffectId { position: Position(position as u64), index: row.get::<_, i64>(3) as u32 },
            kind: RecordKind::from_code(code).ok_or_else(bad)?,
            severity: severity.ok_or_else(bad)?,
            key,
            state: "",
            rule_id: row.get(6),
            threat_id: row.get(7),
            at: Timestamp::from_micros(row.get(8)),
            entities: Default::default(),
            json: row.get(10),
            rank: row.get(13),
        };
        let mut record = query::checked(found, row.get(5), row.get(9), place)?;
        record.shard = row.get::<_, i64>(11) as u32;
        record.rank = record.rank.map(|rank| Rank { shard: record.shard, ..rank });
        if let Scope::All = self.scope {
            record.effect = EffectId { position: Position(row.get::<_, i64>(12) as u64), index: 0 };
        }
        Ok(record)
    }

    fn read_log(
        &self,
        session: &mut Session,
        shard: u32,
        (from, end): (Position, Position),
        positions_max: u64,
    ) -> Result<Vec<(Stamp, Input)>, ReadError> {
        let mut stretch = Stretch::new(self.place("log"), from, end, positions_max);
        let sql = "SELECT seq_first, n, kind, at_us, checksum, blob FROM log WHERE shard = $1 AND seq_first >=
                coalesce((SELECT max(seq_first) FROM log WHERE shard = $1 AND seq_first <= $2), $2)
                AND seq_first <= $3 ORDER BY seq_first LIMIT $4";
        while stretch.wants_more() {
            // A row has at most as many bytes as a few of them may have together.
            let params: [&(dyn ToSql + Sync); 4] =
                [&i64::from(shard), &signed(stretch.next().0), &signed(end.0), &limits::POSTGRES_LOG_ROWS];
            let rows = session.rows(sql, &params).map_err(reading("reading the log"))?;
            if rows.is_empty() {
                stretch.take(None::<LogRow<Vec<u8>>>)?;
            }
            for row in &rows {
                if stretch.wants_more() {
                    stretch.take(Some(log_row(row)))?;
                }
            }
        }
        Ok(stretch.inputs())
    }

    fn verified(&self, session: &mut Session) -> Result<Verified, ReadError> {
        let shards = match self.scope {
            Scope::Shard(shard) => vec![shard],
            Scope::All | Scope::File => heads(session, self.place("shard"))?.iter().map(|(shard, ..)| *shard).collect(),
        };
        let mut verified = Verified { positions: 0, records: 0 };
        for shard in shards {
            let head = head(session, self.place("shard"), shard)?.map_or_else(Head::default, |(head, _)| head);
            ends(session, self.place("log"), shard, &head)?;
            let mut next = Position(1);
            while next <= head.log_end {
                let inputs = self.read_log(session, shard, (next, head.log_end), limits::GROUP_EVENTS_MAX)?;
                next = inputs.iter().fold(next, |n, (_, input)| n.plus(input.positions()));
            }
            verified.positions += head.log_end.0;
            for (position, version) in keep::snapshots(session, shard)? {
                keep::snapshot(session, self.place("snapshot"), shard, (position, version))?;
            }
            self.verify_names(session, shard)?;
        }
        let mut page = Page { limit: limits::PAGE_ROWS_MAX, ..Page::default() };
        loop {
            let (from, values) = query::list(self.scope, None, &Filter::default(), page);
            let records = self.select(session, &from, &values)?;
            let Some(last) = records.last() else { break };
            query::ranks_hold(&records, self.place("record"))?;
            verified.records += records.len() as u64;
            page.after = Some(last.effect);
        }
        if let Scope::All = self.scope {
            self.verify_told(session)?;
        }
        keep::api_keys(session, self.place("api_key")).map(|_| verified)
    }

    fn verify_told(&self, session: &mut Session) -> Result<(), ReadError> {
        let mut after = 0;
        loop {
            let told = inbox::said(session, after).map_err(reading("reading what shards told"))?;
            let Some(last) = told.last() else { return Ok(()) };
            after = last.number;
            for said in &told {
                self.place("told").unless_damaged((), said.is_whole(), format!("number {}", said.number))?;
            }
        }
    }

    fn verify_names(&self, session: &mut Session, shard: u32) -> Result<(), ReadError> {
        let failed = reading("reading what was kept");
        let number = i64::from(shard);
        for row in session.rows("SELECT source FROM cursor WHERE shard = $1", &[&number]).map_err(&failed)? {
            keep::cursor(session, self.place("cursor"), shard, row.get(0))?;
        }
        for row in session.rows("SELECT key FROM meta WHERE shard = $1", &[&number]).map_err(&failed)? {
            keep::meta(session, self.place("meta"), shard, row.get(0))?;
        }
        for row in session.rows("SELECT key FROM idempotency WHERE shard = $1", &[&number]).map_err(&failed)? {
            let key: Vec<u8> = row.get(0);
            let place = self.place("idempotency");
            let key = key.try_into().map_err(|_| place.damage("a key", "it has another length"))?;
            keep::remembered(session, place, (shard, &key), Timestamp::default())?;
        }
        Ok(())
    }
}

impl Drop for Reading {
    /// Closing a connection blocks, which async code must not, and the last clone of a store may go there.
    fn drop(&mut self) {
        let idle = self.pool.drain();
        if !idle.is_empty() {
            // Where the system has no thread for it, they are closed with the process.
            let idle = ManuallyDrop::new(idle);
            let close = move || drop(ManuallyDrop::into_inner(idle));
            let closing = std::thread::Builder::new().name("store-closing".to_owned()).spawn(close);
            let _closed = closing.map(std::thread::JoinHandle::join);
        }
    }
}

fn params(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(param).collect()
}

fn param(value: &Value) -> &(dyn ToSql + Sync) {
    match value {
        Value::Number(number) => number,
        Value::Text(text) => text,
    }
}

fn log_row(row: &Row) -> LogRow<Vec<u8>> {
    LogRow {
        first: Position(row.get::<_, i64>(0) as u64),
        n: row.get::<_, i64>(1) as u64,
        kind: InputKind::from_code(row.get(2)),
        at: Timestamp::from_micros(row.get(3)),
        checksum: row.get(4),
        blob: row.get(5),
    }
}

const HEAD: &str = "SELECT shard, epoch, commits, log_end, at_us, judged, checksum FROM shard";

fn head_of(row: &Row, place: Place<'_>) -> Result<(u32, Head, u64), ReadError> {
    let shard = row.get::<_, i64>(0) as u32;
    let head = Head {
        commits: row.get::<_, i64>(2) as u64,
        log_end: Position(row.get::<_, i64>(3) as u64),
        at: Timestamp::from_micros(row.get(4)),
        judged: Position(row.get::<_, i64>(5) as u64),
        clean: false,
    };
    let ok = head.checksum() == row.get::<_, i64>(6);
    place.unless_damaged((shard, head, row.get::<_, i64>(1) as u64), ok, format!("shard {shard}"))
}

/// How far each shard has come, and its epoch.
pub(crate) fn heads(session: &mut Session, place: Place<'_>) -> Result<Vec<(u32, Head, u64)>, ReadError> {
    let rows =
        session.rows(&format!("{HEAD} ORDER BY shard"), &[]).map_err(reading("reading how far the shards are"))?;
    rows.iter().map(|row| head_of(row, place)).collect()
}

/// How far a shard has come, and its epoch; `None` if there is none.
pub(crate) fn head(session: &mut Session, place: Place<'_>, shard: u32) -> Result<Option<(Head, u64)>, ReadError> {
    let row = session.row(&format!("{HEAD} WHERE shard = $1"), &[&i64::from(shard)]);
    let row = row.map_err(reading("reading how far a shard is"))?;
    row.map(|row| head_of(&row, place).map(|(_, head, epoch)| (head, epoch))).transpose()
}

/// The log's rows must reach exactly as far as the head says.
pub(crate) fn ends(session: &mut Session, place: Place<'_>, shard: u32, head: &Head) -> Result<(), ReadError> {
    let sql = "SELECT seq_first + n - 1 FROM log WHERE shard = $1 ORDER BY seq_first DESC LIMIT 1";
    let last = session.row(sql, &[&i64::from(shard)]).map_err(reading("looking for the end of the log"))?;
    let last = last.map_or(0, |row| row.get::<_, i64>(0) as u64);
    if last == head.log_end.0 {
        return Ok(());
    }
    let what = format!("the log ends at position {last}, and {} were accepted", head.log_end);
    Err(place.damage("its end", what).into())
}

impl Reads for Reading {
    fn whereabouts(&self) -> PathBuf {
        self.place.clone()
    }

    fn end_of(&self, shard: u32) -> Result<Position, ReadError> {
        self.with(|s| Ok(head(s, self.place("shard"), shard)?.map_or(Position(0), |(head, _)| head.log_end)))
    }

    fn read(
        &self,
        shard: u32,
        from: Position,
        end: Position,
        positions_max: u64,
    ) -> Result<Vec<(Stamp, Input)>, ReadError> {
        self.with(|s| self.read_log(s, shard, (from, end), positions_max))
    }

    fn snapshots(&self) -> Result<Vec<(Position, u32)>, ReadError> {
        self.with(|s| keep::snapshots(s, self.shard()))
    }

    fn snapshot(&self, position: Position, version: u32) -> Result<Vec<u8>, ReadError> {
        self.with(|s| keep::snapshot(s, self.place("snapshot"), self.shard(), (position, version)))
    }

    fn list(&self, kind: Option<RecordKind>, filter: &Filter, page: Page) -> Result<Vec<StoredRecord>, ReadError> {
        let (from, values) = query::list(self.scope, kind, filter, page);
        self.with(|s| self.select(s, &from, &values))
    }

    fn ranked(&self, filter: &Filter, page: &RankedPage) -> Result<Vec<StoredRecord>, ReadError> {
        let (from, values) = query::ranked(self.scope, filter, page);
        self.with(|s| self.select(s, &from, &values))
    }

    fn about(&self, kind: RecordKind, entity: &str, state: &str) -> Result<Vec<StoredRecord>, ReadError> {
        let filter = Filter { entity: Some(entity.to_owned()), state: Some(state.to_owned()), ..Filter::default() };
        let conditions = Conditions::of(self.scope, Some(kind), &filter);
        let from = format!("record WHERE {} ORDER BY key LIMIT {}", conditions.sql, limits::PAGE_ROWS_MAX);
        self.with(|s| self.select(s, &from, &conditions.values))
    }

    fn count(&self, kind: RecordKind, filter: &Filter) -> Result<u64, ReadError> {
        let conditions = Conditions::of(self.scope, Some(kind), filter);
        let sql = format!("SELECT count(*) FROM record WHERE {}", conditions.sql);
        self.with(|s| {
            let row = s.row(&sql, &params(&conditions.values)).map_err(reading("counting records"))?;
            Ok(row.map_or(0, |row| row.get::<_, i64>(0) as u64))
        })
    }

    fn find(&self, kind: RecordKind, prefix: &str) -> Result<StoredRecord, FindError> {
        query::find(self.scope, kind, prefix, |from, values| self.with(|s| self.select(s, from, &values)))
    }

    fn latest(&self) -> Result<Option<EffectId>, ReadError> {
        let (from, values) = query::latest(self.scope);
        self.with(|s| Ok(self.select(s, &from, &values)?.first().map(|record| record.effect)))
    }

    fn cursor(&self, source: &str) -> Result<Option<Vec<u8>>, ReadError> {
        self.with(|s| keep::cursor(s, self.place("cursor"), self.shard(), source))
    }

    fn is_claimed(&self, order: &str) -> Result<bool, ReadError> {
        self.with(|s| {
            let found = s.row("SELECT 1 FROM claim WHERE order_id = $1", &[&order]);
            Ok(found.map_err(reading("looking for a claim"))?.is_some())
        })
    }

    fn remembered(&self, key: &[u8; 32], now: Timestamp) -> Result<Option<Remembered>, ReadError> {
        self.with(|s| keep::remembered(s, self.place("idempotency"), (self.shard(), key), now))
    }

    fn api_keys(&self) -> Result<Vec<ApiKey>, ReadError> {
        self.with(|s| keep::api_keys(s, self.place("api_key")))
    }

    fn meta(&self, key: &str) -> Result<Option<String>, ReadError> {
        self.with(|s| keep::meta(s, self.place("meta"), self.shard(), key))
    }

    fn verify(&self) -> Result<Verified, ReadError> {
        self.with(|s| {
            // One state of the database for all that is compared.
            s.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").map_err(reading("reading"))?;
            let verified = self.verified(s);
            let ended = s.batch("ROLLBACK").map_err(reading("reading"));
            verified.and_then(|v| ended.map(|()| v))
        })
    }
}
