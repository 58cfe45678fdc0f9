//! What all lists and records have in common.
//!
//! Records stay JSON here: `-o json` and `-o ndjson` give them exactly as the server did, and a table
//! shows what it knows of them, also when a newer server says more.

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use super::Failure;
use super::client::Client;
use super::output::{Format, Out, Table, Tint};
use crate::limits;

/// How much of a list is wanted.
#[derive(Args, Clone, Copy, Debug)]
pub struct Paging {
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// All that are asked for, however many: page by page
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
}

impl Paging {
    /// Everything.
    pub const ALL: Paging = Paging { limit: 50, all: true };
}

/// In which direction a list is read.
#[derive(Args, Clone, Copy, Debug)]
pub struct Order {
    /// The oldest first, instead of the latest
    #[arg(long)]
    pub oldest_first: bool,
}

/// A list that the server can give.
pub struct List<'a> {
    /// Where it is.
    pub path: &'a str,
    /// What of it is wanted.
    pub query: Vec<(&'a str, String)>,
    /// The name of the parameter that says where a page begins; `None` of a list that comes as a whole.
    pub cursor: Option<&'a str>,
    /// Where it begins, if not at its front.
    pub start: Option<String>,
    /// How a table shows it.
    pub table: fn(&[Value]) -> Table,
    /// What to say when it is empty, and what to do next.
    pub empty: &'a str,
}

impl<'a> List<'a> {
    /// A list with a `cursor` and nothing left out.
    pub fn new(path: &'a str, table: fn(&[Value]) -> Table, empty: &'a str) -> List<'a> {
        List { path, query: Vec::new(), cursor: Some("cursor"), start: None, table, empty }
    }

    /// Only what has this property, if one is given.
    pub fn only(mut self, name: &'a str, value: Option<impl ToString>) -> List<'a> {
        self.query.extend(value.map(|v| (name, v.to_string())));
        self
    }

    /// A list that comes as a whole.
    pub fn whole(self) -> List<'a> {
        List { cursor: None, ..self }
    }

    /// In this direction.
    pub fn ordered(self, order: Order) -> List<'a> {
        self.only("order", Some(if order.oldest_first { "asc" } else { "desc" }))
    }

    /// From a cursor on, if one is given.
    pub fn starting(self, at: Option<impl ToString>) -> List<'a> {
        List { start: at.map(|at| at.to_string()), ..self }
    }

    /// Reads and prints it.
    pub fn print(&self, client: &Client, paging: Paging, out: &mut Out) -> Result<()> {
        let mut items = Vec::new();
        let mut wanted = if paging.all { usize::MAX } else { paging.limit as usize };
        let mut next = self.start.clone();
        loop {
            let page = self.page(client, wanted, next.as_deref())?;
            wanted = wanted.saturating_sub(page.items.len());
            // Page by page, so that a list of any length can be piped on.
            match out.format {
                Format::Ndjson => out.json_list(&page.items)?,
                Format::Table | Format::Json => items.extend(page.items),
            }
            if items.len() > limits::LIST_ITEMS_MAX {
                let text = format!("there are more than {}; `-o ndjson` can give them all", limits::LIST_ITEMS_MAX);
                return Err(Failure::Failed(text).into());
            }
            if page.next.is_none() || page.next == next || wanted == 0 {
                next = page.next;
                break;
            }
            next = page.next;
        }
        match out.format {
            Format::Ndjson => Ok(()),
            Format::Json => out.json_list(&items),
            Format::Table if items.is_empty() => out.text(self.empty),
            Format::Table => {
                out.table(&(self.table)(&items))?;
                if next.is_some() && wanted == 0 {
                    out.parts(&[(Tint::Faint, "There are more: --limit and --all show them.")])?;
                }
                Ok(())
            }
        }
    }

    fn page(&self, client: &Client, wanted: usize, from: Option<&str>) -> Result<super::client::Page, Failure> {
        let limit = wanted.min(limits::PAGE_ITEMS).to_string();
        let mut query: Vec<(&str, &str)> = self.query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if let Some(cursor) = self.cursor {
            query.push(("limit", &limit));
            query.extend(from.map(|from| (cursor, from)));
        }
        client.page(self.path, &query)
    }
}

/// Prints one record: as a person reads it, or as it is.
pub fn show(record: &Value, out: &mut Out, people: impl Fn(&Value, &mut Out) -> Result<()>) -> Result<()> {
    match out.format {
        Format::Table => people(record, out),
        Format::Json | Format::Ndjson => out.json(record),
    }
}

/// The text at a JSON pointer, numbers and truth values as people write them; empty where nothing is.
pub fn text(record: &Value, pointer: &str) -> String {
    record.pointer(pointer).map(words).unwrap_or_default()
}

/// Characters that are shown of a long text in a line; `-o json` has all of it.
pub const SHOWN_CHARS: usize = 140;

/// As much of a text as it takes to recognise it.
pub fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// A value in words.
pub fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(n) => n.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(", "),
        Value::Object(members) => {
            let named = members.iter().map(|(name, value)| format!("{} {}", name.replace('_', " "), words(value)));
            named.collect::<Vec<_>>().join(", ")
        }
    }
}

/// The elements at a JSON pointer.
pub fn items<'a>(record: &'a Value, pointer: &str) -> &'a [Value] {
    record.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A cell of a table.
pub fn cell(record: &Value, pointer: &str) -> (Tint, String) {
    (Tint::None, text(record, pointer))
}

/// The first eight characters of an id, which the server takes for the whole.
pub fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// A cell with the beginning of an id.
pub fn id_cell(record: &Value, pointer: &str) -> (Tint, String) {
    (Tint::None, short(&text(record, pointer)).to_owned())
}

/// A cell with a severity.
pub fn severity_cell(record: &Value, pointer: &str) -> (Tint, String) {
    let word = text(record, pointer);
    (Tint::of_severity(&word), word)
}

/// A cell with a confidence in hundredths.
pub fn confidence_cell(record: &Value, pointer: &str) -> (Tint, String) {
    (Tint::None, confidence(record, pointer))
}

/// A confidence in hundredths.
pub fn confidence(record: &Value, pointer: &str) -> String {
    record.pointer(pointer).and_then(Value::as_f64).map(|c| format!("{:.0} %", c * 100.0)).unwrap_or_default()
}

/// A cell with a time.
pub fn time_cell(record: &Value, pointer: &str) -> (Tint, String) {
    (Tint::None, time(record, pointer))
}

/// A time in UTC, to the second.
pub fn time(record: &Value, pointer: &str) -> String {
    short_time(&text(record, pointer))
}

/// An RFC 3339 time in UTC as `2026-01-02 03:04:05`; anything else as it is.
pub fn short_time(written: &str) -> String {
    match (written.get(..10), written.get(10..11), written.get(11..19)) {
        (Some(day), Some("T"), Some(time)) if written.ends_with('Z') => format!("{day} {time}"),
        (_, _, _) => written.to_owned(),
    }
}

/// A state, which is a word or an object with the word under `is` and more beside it.
pub fn state(record: &Value, pointer: &str) -> String {
    match record.pointer(pointer) {
        Some(Value::Object(object)) => words(object.get("is").unwrap_or(&Value::Null)).replace('_', " "),
        Some(other) => words(other).replace('_', " "),
        None => String::new(),
    }
}

/// What a state gives as its reason, or who brought it about.
pub fn state_reason(record: &Value, pointer: &str) -> String {
    ["reason", "into", "by"]
        .iter()
        .map(|name| text(record, &format!("{pointer}/{name}")))
        .find(|t| !t.is_empty())
        .unwrap_or_default()
}

/// An entity with its kind, such as `ip 203.0.113.9`.
pub fn entity(record: &Value) -> String {
    format!("{} {}", text(record, "/entity_kind"), text(record, "/entity")).trim().to_owned()
}

/// A duration in the largest unit that fits, such as `90 min`.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Prints names and values under each other; a name without a value is left out.
pub fn facts(out: &mut Out, facts: &[(&str, String)]) -> Result<()> {
    let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        out.parts(&[(Tint::Faint, &format!("{name:<width$}  ")), (Tint::None, value)])?;
    }
    Ok(())
}
