//! `vertice status|deadletter`: how the server is.

use anyhow::Result;
use clap::Subcommand;
use serde_json::Value;

use super::client::Client;
use super::output::{Format, Out, Table, Tint};
use super::records::{List, Order, Paging, cell, facts, short_time, words};

#[derive(Debug, Subcommand)]
pub enum DeadletterVerb {
    /// List the events that were accepted and could not be read, with the reason of each
    List {
        #[command(flatten)]
        order: Order,
        #[command(flatten)]
        paging: Paging,
    },
}

pub fn deadletter(verb: &DeadletterVerb, client: &Client, out: &mut Out) -> Result<()> {
    let DeadletterVerb::List { order, paging } = verb;
    let empty = "Every event could be read.";
    List::new("/api/v1/deadletter", refused, empty).ordered(*order).print(client, *paging, out)
}

fn refused(events: &[Value]) -> Table {
    let mut table = Table::new(&["POSITION", "CAME FROM", "REASON…"]);
    for e in events {
        table.row(vec![cell(e, "/position"), cell(e, "/origin"), cell(e, "/reason")]);
    }
    table
}

/// How the server is, in numbers.
pub fn status(client: &Client, out: &mut Out) -> Result<()> {
    let status = client.get("/api/v1/status", &[])?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&status),
        Format::Table => {
            out.parts(&[(Tint::Bold, client.base())])?;
            members(&status, out)
        }
    }
}

/// The members of a document, each part of it under its own heading.
fn members(document: &Value, out: &mut Out) -> Result<()> {
    let Some(members) = document.as_object() else { return out.json(document) };
    let simple: Vec<(&str, String)> = members
        .iter()
        .filter(|(_, value)| !is_part(value))
        .map(|(name, value)| (name.as_str(), short_time(&words(value))))
        .collect();
    facts(out, &named(&simple).iter().map(|(n, v)| (n.as_str(), v.clone())).collect::<Vec<_>>())?;
    for (name, part) in members.iter().filter(|(_, value)| is_part(value)) {
        out.line("")?;
        out.parts(&[(Tint::Bold, &name.replace('_', " "))])?;
        match part {
            Value::Array(rows) => out.table(&rows_of(rows))?,
            Value::Object(_) => members_of(part, out)?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    Ok(())
}

/// The members of a part, which has no parts worth a heading of their own.
fn members_of(part: &Value, out: &mut Out) -> Result<()> {
    let all: Vec<(&str, String)> = part
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), short_time(&words(value))))
        .collect();
    facts(out, &named(&all).iter().map(|(n, v)| (n.as_str(), v.clone())).collect::<Vec<_>>())
}

fn named(members: &[(&str, String)]) -> Vec<(String, String)> {
    members.iter().map(|(name, value)| (name.replace('_', " "), value.clone())).collect()
}

/// A part is an object, or a list of objects.
fn is_part(value: &Value) -> bool {
    match value {
        Value::Object(object) => !object.is_empty(),
        Value::Array(items) => items.first().is_some_and(Value::is_object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A table of a list of objects, a column for each member of the first.
fn rows_of(rows: &[Value]) -> Table {
    let names: Vec<String> =
        rows.first().and_then(Value::as_object).into_iter().flatten().map(|(n, _)| n.clone()).collect();
    let headings: Vec<String> = names.iter().map(|n| format!("{}…", n.replace('_', " ").to_uppercase())).collect();
    let mut table = Table::new(&headings);
    for row in rows {
        table.row(names.iter().map(|name| (Tint::None, row.get(name).map(words).unwrap_or_default())).collect());
    }
    table
}
