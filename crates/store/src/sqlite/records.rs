//! The read model.

use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, ToSql, params_from_iter};
use vertice_model::{EffectId, Position, Severity, Timestamp};

use super::{Place, signed};
use crate::error::{FindError, ReadError};
use crate::limits;
use crate::query::{self, Conditions, Scope, Value};
use crate::record::{RecordKind, RecordRow};
use crate::{Filter, Page, RankedPage, StoredRecord, sums};

impl ToSql for Value {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>, rusqlite::Error> {
        match self {
            Value::Number(number) => number.to_sql(),
            Value::Text(text) => text.to_sql(),
        }
    }
}

/// The columns of a record, of which its checksum covers all but the last.
const COLUMNS: &str = "kind, key, position, idx, severity, state, rule_id, threat_id, at_us, checksum, json, rank";

/// Projects a record. Doing it again changes nothing.
pub(crate) fn project(db: &Connection, row: &RecordRow) -> Result<(), rusqlite::Error> {
    let sql = if row.kind.first_stands() {
        "INSERT INTO record (kind, key, position, idx, severity, state, rule_id, threat_id, at_us, checksum, json, rank)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (kind, key) DO NOTHING"
    } else {
        "INSERT INTO record (kind, key, position, idx, severity, state, rule_id, threat_id, at_us, checksum, json, rank)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET
             position = excluded.position, idx = excluded.idx, severity = excluded.severity, state = excluded.state,
             rule_id = excluded.rule_id, threat_id = excluded.threat_id, at_us = excluded.at_us,
             checksum = excluded.checksum, json = excluded.json, rank = excluded.rank
         WHERE (excluded.position, excluded.idx) > (record.position, record.idx)"
    };
    let changed = db.prepare_cached(sql)?.execute((
        row.kind.code(),
        &row.key,
        signed(row.effect.position.0),
        row.effect.index,
        row.severity as i64,
        row.state,
        &row.rule_id,
        &row.threat_id,
        row.at.as_micros(),
        sums::record(row, row.state),
        &row.json,
        row.rank,
    ))?;
    if changed > 0 {
        // What a record is about only grows, so nothing has to be taken away.
        let mut about = db.prepare_cached("INSERT OR IGNORE INTO about (entity, kind, key) VALUES (?, ?, ?)")?;
        for entity in &row.entities {
            about.execute((entity, row.kind.code(), &row.key))?;
        }
    }
    Ok(())
}

/// The records of a kind, or of all, in the order of their effects.
pub(crate) fn list(
    db: &Connection,
    place: Place<'_>,
    kind: Option<RecordKind>,
    filter: &Filter,
    page: Page,
) -> Result<Vec<StoredRecord>, ReadError> {
    let (from, values) = query::list(Scope::File, kind, filter, page);
    select(db, place, &format!("SELECT {COLUMNS} FROM {from}"), values)
}

/// Threats by their priority.
pub(crate) fn ranked(
    db: &Connection,
    place: Place<'_>,
    filter: &Filter,
    page: &RankedPage,
) -> Result<Vec<StoredRecord>, ReadError> {
    let (from, values) = query::ranked(Scope::File, filter, page);
    select(db, place, &format!("SELECT {COLUMNS} FROM {from}"), values)
}

/// The records of a kind in a state that are about an entity, by their id.
pub(crate) fn about(
    db: &Connection,
    place: Place<'_>,
    kind: RecordKind,
    entity: &str,
    state: &str,
) -> Result<Vec<StoredRecord>, ReadError> {
    // From what is about the entity to its records, and never the other way round.
    let sql = "SELECT r.kind, r.key, r.position, r.idx, r.severity, r.state, r.rule_id, r.threat_id, r.at_us,
                   r.checksum, r.json, r.rank
               FROM about a CROSS JOIN record r ON r.kind = a.kind AND r.key = a.key
               WHERE a.entity = ? AND a.kind = ? AND r.state = ? ORDER BY a.key LIMIT ?";
    let limit = signed(limits::PAGE_ROWS_MAX as u64);
    let values = vec![
        Value::Text(entity.to_lowercase()),
        Value::Number(kind.code()),
        Value::Text(state.to_owned()),
        Value::Number(limit),
    ];
    select(db, place, sql, values)
}

fn select(db: &Connection, place: Place<'_>, sql: &str, values: Vec<Value>) -> Result<Vec<StoredRecord>, ReadError> {
    let mut after: Option<EffectId> = None;
    let at = |after: Option<EffectId>| match after {
        Some(id) => format!("after effect {id}"),
        None => "the first row".to_owned(),
    };
    let error = |e| place.error("reading records", "a list", e);
    let mut statement = db.prepare_cached(sql).map_err(error)?;
    let mut rows = statement.query(params_from_iter(values)).map_err(error)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next().map_err(|e| place.error("reading records", at(after), e))? {
        let record = checked(row, place, || at(after))?;
        after = Some(record.effect);
        records.push(record);
    }
    Ok(records)
}

fn checked(row: &SqlRow<'_>, place: Place<'_>, at: impl Fn() -> String) -> Result<StoredRecord, ReadError> {
    let parts = || -> Result<(RecordRow, String, i64), rusqlite::Error> {
        let severity = usize::try_from(row.get::<_, i64>(4)?).ok().and_then(|s| Severity::ALL.get(s).copied());
        let out_of_range = |column, value| rusqlite::Error::IntegralValueOutOfRange(column, value);
        let found = RecordRow {
            effect: EffectId { position: Position(row.get::<_, i64>(2)? as u64), index: row.get(3)? },
            kind: RecordKind::from_code(row.get(0)?).ok_or_else(|| out_of_range(0, 0))?,
            key: row.get(1)?,
            severity: severity.ok_or_else(|| out_of_range(4, 0))?,
            state: "",
            rule_id: row.get(6)?,
            threat_id: row.get(7)?,
            at: Timestamp::from_micros(row.get(8)?),
            entities: Default::default(),
            json: row.get(10)?,
            rank: row.get(11)?,
        };
        Ok((found, row.get(5)?, row.get(9)?))
    };
    let (row, state, stored) = parts().map_err(|e| place.error("reading records", at(), e))?;
    query::checked(row, &state, stored, place)
}

/// How many records of a kind a filter finds.
pub(crate) fn count(db: &Connection, place: Place<'_>, kind: RecordKind, filter: &Filter) -> Result<u64, ReadError> {
    let conditions = Conditions::of(Scope::File, Some(kind), filter);
    let sql = format!("SELECT count(*) FROM record WHERE {}", conditions.sql);
    db.prepare_cached(&sql)
        .and_then(|mut s| s.query_row(params_from_iter(conditions.values), |row| row.get::<_, i64>(0)))
        .map(|n| n as u64)
        .map_err(|e| place.error("counting records", "all rows", e))
}

/// The record of an id or of the beginning of one.
pub(crate) fn find(
    db: &Connection,
    place: Place<'_>,
    kind: RecordKind,
    prefix: &str,
) -> Result<StoredRecord, FindError> {
    query::find(Scope::File, kind, prefix, |from, values| {
        select(db, place, &format!("SELECT {COLUMNS} FROM {from}"), values)
    })
}

/// The id of the latest effect that was projected.
pub(crate) fn latest(db: &Connection, place: Place<'_>) -> Result<Option<EffectId>, ReadError> {
    db.prepare_cached("SELECT position, idx FROM record ORDER BY position DESC, idx DESC LIMIT 1")
        .and_then(|mut s| {
            s.query_row([], |row| Ok(EffectId { position: Position(row.get::<_, i64>(0)? as u64), index: row.get(1)? }))
                .optional()
        })
        .map_err(|e| place.error("looking for the latest record", "the last row", e))
}
