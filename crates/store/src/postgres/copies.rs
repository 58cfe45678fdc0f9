//! Rows as they are in both databases, for moving them from one to the other and comparing them.

use std::collections::HashMap;

use postgres::Error;
use postgres::types::ToSql;
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::session::Session;
use crate::sums::signed;

/// What a column has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Of {
    Number,
    Text,
    Bytes,
}

/// A table that both databases have, with columns of the same names.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// In the order in which rows are copied, the key's first.
    pub(crate) columns: &'static [(&'static str, Of)],
    /// How many of them are the key.
    pub(crate) key: usize,
    /// Rows of one step: few where they are large.
    pub(crate) step: u64,
    /// Whether it is one of all shards.
    pub(crate) shared: bool,
    /// Whether its rows are numbered over all shards.
    pub(crate) numbered: bool,
}

use Of::{Bytes, Number, Text};

/// Every table. Records come in the order of their effects, in which they are numbered.
pub(crate) const TABLES: &[Table] = &[
    Table {
        name: "log",
        columns: &[
            ("seq_first", Number),
            ("n", Number),
            ("kind", Number),
            ("at_us", Number),
            ("checksum", Number),
            ("blob", Bytes),
        ],
        key: 1,
        step: 16,
        shared: false,
        numbered: false,
    },
    Table {
        name: "snapshot",
        columns: &[("position", Number), ("version", Number), ("checksum", Number), ("blob", Bytes)],
        key: 1,
        step: 1,
        shared: false,
        numbered: false,
    },
    Table {
        name: "record",
        columns: &[
            ("position", Number),
            ("idx", Number),
            ("kind", Number),
            ("key", Text),
            ("severity", Number),
            ("state", Text),
            ("rule_id", Text),
            ("threat_id", Text),
            ("at_us", Number),
            ("checksum", Number),
            ("json", Text),
            ("rank", Number),
        ],
        key: 4,
        step: 1_000,
        shared: false,
        numbered: true,
    },
    Table {
        name: "about",
        columns: &[("entity", Text), ("kind", Number), ("key", Text)],
        key: 3,
        step: 1_000,
        shared: false,
        numbered: false,
    },
    Table {
        name: "cursor",
        columns: &[("source", Text), ("value", Bytes), ("checksum", Number)],
        key: 1,
        step: 1_000,
        shared: false,
        numbered: false,
    },
    Table {
        name: "idempotency",
        columns: &[
            ("key", Bytes),
            ("first", Number),
            ("count", Number),
            ("at_us", Number),
            ("answer", Bytes),
            ("checksum", Number),
        ],
        key: 1,
        step: 1_000,
        shared: false,
        numbered: false,
    },
    Table {
        name: "api_key",
        columns: &[("name", Text), ("hash", Bytes), ("created_us", Number), ("checksum", Number)],
        key: 1,
        step: 1_000,
        shared: true,
        numbered: false,
    },
    Table {
        name: "meta",
        columns: &[("key", Text), ("value", Bytes), ("checksum", Number)],
        key: 1,
        step: 1_000,
        shared: false,
        numbered: false,
    },
];

/// A value of a row.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Cell {
    Number(i64),
    Text(Option<String>),
    Bytes(Vec<u8>),
}

/// A row, in the order of its table's columns.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Copied(Vec<Cell>);

impl Copied {
    /// What tells it from others.
    pub(crate) fn key(&self, table: &Table) -> Vec<Cell> {
        self.0[..table.key].to_vec()
    }

    /// The same, in words.
    pub(crate) fn name(&self, table: &Table) -> String {
        let word = |cell: &Cell| match cell {
            Cell::Number(number) => number.to_string(),
            Cell::Text(text) => text.clone().unwrap_or_default(),
            Cell::Bytes(bytes) => bytes.iter().map(|b| format!("{b:02x}")).collect(),
        };
        self.0[..table.key].iter().map(word).collect::<Vec<_>>().join(" ")
    }
}

fn names(table: &Table) -> String {
    table.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

fn key_names(table: &Table) -> String {
    table.columns[..table.key].iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// The next rows of a file's table after one.
pub(crate) fn page(db: &Connection, table: &Table, after: Option<&[Cell]>) -> Result<Vec<Copied>, rusqlite::Error> {
    let (columns, key) = (names(table), key_names(table));
    let beyond = match after {
        Some(_) => format!("WHERE ({key}) > ({})", vec!["?"; table.key].join(", ")),
        None => String::new(),
    };
    let sql = format!("SELECT {columns} FROM {} {beyond} ORDER BY {key} LIMIT {}", table.name, table.step);
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map(rusqlite::params_from_iter(after.unwrap_or_default()), |row| {
        let cell = |(at, (_, of)): (usize, &(&str, Of))| -> Result<Cell, rusqlite::Error> {
            Ok(match (of, row.get_ref(at)?) {
                (Number, value) => Cell::Number(value.as_i64()?),
                (Text, ValueRef::Null) => Cell::Text(None),
                // PostgreSQL has no text with NUL; names are written as the writer of a shard would.
                (Text, value) => Cell::Text(Some(value.as_str()?.replace('\0', "\u{fffd}"))),
                (Bytes, ValueRef::Text(text)) => Cell::Bytes(text.to_vec()),
                (Bytes, value) => Cell::Bytes(value.as_blob()?.to_vec()),
            })
        };
        table.columns.iter().enumerate().map(cell).collect::<Result<_, _>>().map(Copied)
    })?;
    rows.collect()
}

impl rusqlite::ToSql for Cell {
    fn to_sql(&self) -> Result<rusqlite::types::ToSqlOutput<'_>, rusqlite::Error> {
        match self {
            Cell::Number(number) => rusqlite::ToSql::to_sql(number),
            Cell::Text(text) => rusqlite::ToSql::to_sql(text),
            Cell::Bytes(bytes) => rusqlite::ToSql::to_sql(bytes),
        }
    }
}

/// The key of a shard's last row that is there. Of a table of all shards it is not known which of them were copied.
pub(crate) fn last(session: &mut Session, shard: u32, table: &Table) -> Result<Option<Vec<Cell>>, Error> {
    if table.shared {
        return Ok(None);
    }
    let order: Vec<String> = table.columns[..table.key].iter().map(|(name, _)| format!("{name} DESC")).collect();
    let (key, order) = (key_names(table), order.join(", "));
    let sql = format!("SELECT {key} FROM {} WHERE shard = $1 ORDER BY {order} LIMIT 1", table.name);
    let row = session.row(&sql, &[&i64::from(shard)])?;
    Ok(row.map(|row| table.columns[..table.key].iter().enumerate().map(|column| cell(&row, column)).collect()))
}

fn cell(row: &postgres::Row, (at, (_, of)): (usize, &(&str, Of))) -> Cell {
    match of {
        Number => Cell::Number(row.get(at)),
        Text => Cell::Text(row.get(at)),
        Bytes => Cell::Bytes(row.get(at)),
    }
}

/// How many rows of a shard are there already. Of a table of all shards it is not known which of them were copied.
pub(crate) fn count(session: &mut Session, shard: u32, table: &Table) -> Result<u64, Error> {
    if table.shared {
        return Ok(0);
    }
    let sql = format!("SELECT count(*) FROM {} WHERE shard = $1", table.name);
    Ok(session.row(&sql, &[&i64::from(shard)])?.map_or(0, |row| row.get::<_, i64>(0) as u64))
}

/// Values of a column, as an array.
fn array(rows: &[Copied], at: usize, of: Of) -> Box<dyn ToSql + Sync> {
    let cells = rows.iter().map(|row| row.0[at].clone());
    match of {
        Number => Box::new(cells.map(|c| if let Cell::Number(n) = c { n } else { 0 }).collect::<Vec<i64>>()),
        Text => Box::new(cells.map(|c| if let Cell::Text(t) = c { t } else { None }).collect::<Vec<Option<String>>>()),
        Bytes => Box::new(cells.map(|c| if let Cell::Bytes(b) = c { b } else { Vec::new() }).collect::<Vec<Vec<u8>>>()),
    }
}

fn array_type(of: Of) -> &'static str {
    match of {
        Number => "bigint[]",
        Text => "text[]",
        Bytes => "bytea[]",
    }
}

/// Writes rows; how many of them were not there.
pub(crate) fn put(session: &mut Session, shard: u32, table: &Table, rows: &[Copied]) -> Result<u64, Error> {
    let mut names = names(table);
    let mut arrays: Vec<Box<dyn ToSql + Sync>> =
        table.columns.iter().enumerate().map(|(at, (_, of))| array(rows, at, *of)).collect();
    let mut types: Vec<&str> = table.columns.iter().map(|(_, of)| array_type(*of)).collect();
    if table.numbered {
        let count = signed(rows.len() as u64);
        let sql = "UPDATE sequence SET seq = seq + $1 WHERE id = 1 RETURNING seq";
        let last: i64 = session.row(sql, &[&count])?.map_or(0, |row| row.get(0));
        names += ", seq";
        arrays.push(Box::new((last - count + 1..=last).collect::<Vec<i64>>()));
        types.push("bigint[]");
    }
    let shard = i64::from(shard);
    let first = usize::from(!table.shared);
    let places: Vec<String> = types.iter().enumerate().map(|(at, of)| format!("${}::{of}", at + 1 + first)).collect();
    let (into, select, rest) = if table.shared {
        (names.clone(), "*".to_owned(), " ON CONFLICT DO NOTHING")
    } else {
        (format!("shard, {names}"), "$1, *".to_owned(), "")
    };
    let sql = format!("INSERT INTO {} ({into}) SELECT {select} FROM unnest({}){rest}", table.name, places.join(", "));
    let shard: &(dyn ToSql + Sync) = &shard;
    let own = (!table.shared).then_some(shard);
    let params: Vec<&(dyn ToSql + Sync)> = own.into_iter().chain(arrays.iter().map(|a| &**a)).collect();
    session.execute(&sql, &params)
}

/// The rows of a shard that have the keys of these.
pub(crate) fn page_there(
    session: &mut Session,
    shard: u32,
    table: &Table,
    ours: &[Copied],
) -> Result<HashMap<Vec<Cell>, Copied>, Error> {
    let keys = &table.columns[..table.key];
    let arrays: Vec<Box<dyn ToSql + Sync>> =
        keys.iter().enumerate().map(|(at, (_, of))| array(ours, at, *of)).collect();
    let places: Vec<String> =
        keys.iter().enumerate().map(|(at, (_, of))| format!("${}::{}", at + 2, array_type(*of))).collect();
    let own = if table.shared { "$1::bigint >= 0" } else { "shard = $1" };
    let sql = format!(
        "SELECT {} FROM {} WHERE {own} AND ({}) IN (SELECT * FROM unnest({}))",
        names(table),
        table.name,
        key_names(table),
        places.join(", ")
    );
    let shard = i64::from(shard);
    let shard: &(dyn ToSql + Sync) = &shard;
    let params: Vec<&(dyn ToSql + Sync)> = std::iter::once(shard).chain(arrays.iter().map(|a| &**a)).collect();
    let rows = session.rows(&sql, &params)?;
    let copied = |row: &postgres::Row| Copied(table.columns.iter().enumerate().map(|c| cell(row, c)).collect());
    Ok(rows.iter().map(copied).map(|row| (row.key(table), row)).collect())
}
