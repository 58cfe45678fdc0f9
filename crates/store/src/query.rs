//! Questions to the read model, in the SQL that both databases speak.

use vertice_model::EffectId;

use crate::concern::HOME;
use crate::error::{FindError, ReadError};
use crate::place::Place;
use crate::record::{RecordKind, RecordRow};
use crate::{Filter, Page, Rank, RankedPage, StoredRecord, limits, sums};

/// What a condition compares with.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Number(i64),
    Text(String),
}

/// Which records a question is about, in what order they come, and how a database writes that.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope {
    /// All of a file, in the order of their effects.
    File,
    /// Those of a shard, in the order of their effects.
    Shard(u32),
    /// Those of all shards, in the order in which they were projected.
    All,
}

impl Scope {
    /// How the place of the nth value is written.
    fn place(self, n: usize) -> String {
        match self {
            Scope::File => "?".to_owned(),
            Scope::Shard(_) | Scope::All => format!("${n}"),
        }
    }
}

/// Conditions of a query and what they are compared with.
pub(crate) struct Conditions {
    scope: Scope,
    pub(crate) sql: String,
    pub(crate) values: Vec<Value>,
}

impl Conditions {
    pub(crate) fn new(scope: Scope) -> Conditions {
        let mut c = Conditions { scope, sql: "TRUE".to_owned(), values: Vec::new() };
        match scope {
            Scope::File => {}
            Scope::Shard(shard) => c.and("shard = ?", Value::Number(i64::from(shard))),
            // Every shard has a copy of a suppression, of which the one that decides about it stands for all.
            Scope::All => {
                c.and(&format!("(shard = {HOME} OR kind <> ?)"), Value::Number(RecordKind::Suppression.code()));
            }
        }
        c
    }

    pub(crate) fn of(scope: Scope, kind: Option<RecordKind>, filter: &Filter) -> Conditions {
        let mut c = Conditions::new(scope);
        if let Some(kind) = kind {
            c.and("kind = ?", Value::Number(kind.code()));
        }
        if let Some(severity) = filter.severity_min {
            c.and("severity >= ?", Value::Number(severity as i64));
        }
        if let Some(state) = &filter.state {
            c.and("state = ?", Value::Text(state.clone()));
        }
        if let Some(rule) = &filter.rule_id {
            c.and("rule_id = ?", Value::Text(rule.clone()));
        }
        if let Some(threat) = &filter.threat_id {
            c.and("threat_id = ?", Value::Text(threat.to_string()));
        }
        if let Some(since) = filter.since {
            c.and("at_us >= ?", Value::Number(since.as_micros()));
        }
        if let Some(entity) = &filter.entity {
            let same_shard = if matches!(scope, Scope::File) { "" } else { "a.shard = record.shard AND " };
            let exists = format!(
                "EXISTS (SELECT 1 FROM about a WHERE a.entity = ? AND {same_shard}a.kind = record.kind AND a.key = record.key)"
            );
            c.and(&exists, Value::Text(entity.to_lowercase()));
        }
        c
    }

    /// A further condition, with one place for a value, written `?`.
    pub(crate) fn and(&mut self, condition: &str, value: Value) {
        self.sql.push_str(" AND ");
        self.values.push(value);
        self.sql.push_str(&condition.replacen('?', &self.scope.place(self.values.len()), 1));
    }

    fn beyond(&mut self, after: EffectId, descending: bool) {
        // A cursor comes from outside; beyond what a database can count there is nothing.
        let position = Value::Number(i64::try_from(after.position.0).unwrap_or(i64::MAX));
        match self.scope {
            Scope::File | Scope::Shard(_) => {
                self.behind("position, idx", vec![position, Value::Number(i64::from(after.index))], descending);
            }
            Scope::All => self.behind("seq", vec![position], descending),
        }
    }

    /// Only what comes after a place, of which the columns are compared in their order.
    fn behind(&mut self, columns: &str, place: Vec<Value>, descending: bool) {
        let than = if descending { "<" } else { ">" };
        let places: Vec<String> = (self.values.len() + 1..).take(place.len()).map(|n| self.scope.place(n)).collect();
        self.sql.push_str(&format!(" AND ({columns}) {than} ({})", places.join(", ")));
        self.values.extend(place);
    }

    fn order(&self, descending: bool) -> &'static str {
        match (self.scope, descending) {
            (Scope::All, false) => "seq ASC",
            (Scope::All, true) => "seq DESC",
            (Scope::File | Scope::Shard(_), false) => "position ASC, idx ASC",
            (Scope::File | Scope::Shard(_), true) => "position DESC, idx DESC",
        }
    }
}

/// The records of a kind, or of all, in their order: what comes after FROM, and what it compares with.
pub(crate) fn list(scope: Scope, kind: Option<RecordKind>, filter: &Filter, page: Page) -> (String, Vec<Value>) {
    let mut conditions = Conditions::of(scope, kind, filter);
    if let Some(after) = page.after {
        conditions.beyond(after, page.descending);
    }
    let order = conditions.order(page.descending);
    let limit = page.limit.min(limits::PAGE_ROWS_MAX);
    (format!("record WHERE {} ORDER BY {order} LIMIT {limit}", conditions.sql), conditions.values)
}

/// Threats by their priority.
pub(crate) fn ranked(scope: Scope, filter: &Filter, page: &RankedPage) -> (String, Vec<Value>) {
    let mut conditions = Conditions::of(scope, Some(RecordKind::Threat), filter);
    // As the index says it, or it is not used.
    conditions.sql.push_str(" AND rank >= 0");
    // A shard has each of its threats once; of all shards, several may have one.
    let columns: &[&str] = if matches!(scope, Scope::All) { &["rank", "key", "shard"] } else { &["rank", "key"] };
    if let Some(Rank { rank, shard, threat }) = page.after {
        let place = [Value::Number(rank), Value::Text(threat.to_string()), Value::Number(i64::from(shard))];
        conditions.behind(&columns.join(", "), place.into_iter().take(columns.len()).collect(), page.descending);
    }
    let way = if page.descending { "DESC" } else { "ASC" };
    let order: Vec<String> = columns.iter().map(|column| format!("{column} {way}")).collect();
    let limit = page.limit.min(limits::PAGE_ROWS_MAX);
    (format!("record WHERE {} ORDER BY {} LIMIT {limit}", conditions.sql, order.join(", ")), conditions.values)
}

/// The latest of all records.
pub(crate) fn latest(scope: Scope) -> (String, Vec<Value>) {
    let page = Page { after: None, limit: 1, descending: true };
    list(scope, None, &Filter::default(), page)
}

/// The record of an id or of the beginning of one, by whatever answers questions.
pub(crate) fn find(
    scope: Scope,
    kind: RecordKind,
    prefix: &str,
    select: impl Fn(&str, Vec<Value>) -> Result<Vec<StoredRecord>, ReadError>,
) -> Result<StoredRecord, FindError> {
    let by = |compared: &[(&str, &str)], limit: usize| {
        let mut c = Conditions::new(scope);
        c.and("kind = ?", Value::Number(kind.code()));
        compared.iter().for_each(|(condition, text)| c.and(condition, Value::Text((*text).to_owned())));
        // Where several shards have a key, the one of the first stands for them.
        let order = if matches!(scope, Scope::All) { "key, shard" } else { "key" };
        select(&format!("record WHERE {} ORDER BY {order} LIMIT {limit}", c.sql), c.values)
    };
    let prefix = prefix.to_ascii_lowercase();
    if let Some(record) = by(&[("key = ?", &prefix)], 1)?.into_iter().next() {
        return Ok(record);
    }
    if prefix.chars().count() < limits::PREFIX_CHARS_MIN {
        return Err(FindError::TooShort { prefix, min: limits::PREFIX_CHARS_MIN });
    }
    let end = format!("{prefix}\u{10ffff}");
    let mut found = by(&[("key >= ?", &prefix), ("key < ?", &end)], limits::CANDIDATES_MAX)?;
    // In several shards, it is one.
    found.dedup_by(|a, b| a.key == b.key);
    match found.len() {
        0 => Err(FindError::NotFound { kind: kind.as_str(), prefix }),
        1 => Ok(found.swap_remove(0)),
        _ => Err(FindError::Ambiguous { prefix, candidates: found.into_iter().map(|r| r.key).collect() }),
    }
}

/// Whether threats stand where they belong when they are sorted by priority: no checksum covers that, for what they are
/// tells it.
pub(crate) fn ranks_hold(records: &[StoredRecord], place: Place<'_>) -> Result<(), ReadError> {
    for record in records.iter().filter(|record| record.kind == RecordKind::Threat) {
        let threat = serde_json::from_str(&record.json);
        let wanted = threat.map(|threat| crate::record::rank(&threat));
        let wanted = wanted.map_err(|e| place.damage(format!("threat {}", record.key), e.to_string()))?;
        if record.rank.is_none_or(|found| found.rank != wanted) {
            return Err(place.damage(format!("threat {}", record.key), "its rank is wrong").into());
        }
    }
    Ok(())
}

/// A record as it was read, if its checksum is right.
pub(crate) fn checked(row: RecordRow, state: &str, stored: i64, place: Place<'_>) -> Result<StoredRecord, ReadError> {
    if sums::record(&row, state) != stored {
        return Err(place.damage(format!("{} {}", row.kind.as_str(), row.key), "its checksum is wrong").into());
    }
    let rank = match row.key.parse() {
        Ok(threat) if row.rank >= 0 => Some(Rank { rank: row.rank, shard: 0, threat }),
        Ok(_) | Err(_) => None,
    };
    Ok(StoredRecord { shard: 0, effect: row.effect, kind: row.kind, key: row.key, json: row.json, rank })
}
