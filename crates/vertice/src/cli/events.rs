//! `vertice events`: what the sensors wrote, as their mappings read it.

use anyhow::Result;
use clap::Subcommand;
use serde_json::Value;

use super::client::Client;
use super::output::{Out, Table, Tint};
use super::records::{List, Paging, cut, entity, facts, show, text, time, time_cell, words};
use super::rules::source_words;
use super::{inject, tail};
use crate::clock;
use crate::config::Config;

const PATH: &str = "/api/v1/events";

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List events, in the order of the log
    List {
        /// From this position of the log on
        #[arg(long, value_name = "POSITION")]
        from: Option<u64>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one event with all its fields
    Show {
        /// Its position in the log
        position: u64,
    },
    /// Send one event, a file of them or a scenario, to the server or to Kafka
    Inject(Box<inject::Arguments>),
    /// Follow what happens: the live stream of the server, or a topic of Kafka
    Tail(tail::Arguments),
}

pub fn run(verb: Verb, client: &Client, config: impl FnOnce() -> Result<Config>, out: &mut Out) -> Result<()> {
    match verb {
        Verb::Inject(arguments) => inject::run(&arguments, client, config, clock::wall(), out),
        Verb::Tail(arguments) => tail::run(&arguments, client, config, out),
        Verb::List { from, paging } => {
            let empty = "No events. `vertice doctor` says where they come from; `vertice demo` brings its own.";
            List { cursor: Some("from"), ..List::new(PATH, table, empty) }.starting(from).print(client, paging, out)
        }
        Verb::Show { position } => show(&client.get(&format!("{PATH}/{position}"), &[])?, out, print),
    }
}

/// An event may come by itself or as `event` beside the raw one.
fn read(record: &Value) -> &Value {
    record.get("event").filter(|e| e.is_object()).unwrap_or(record)
}

/// A field by its name, which has dots of its own.
fn field(event: &Value, name: &str) -> String {
    event.get("fields").and_then(|f| f.get(name)).map(words).unwrap_or_default()
}

/// What an event says, in a line: the action, and whatever is most telling beside it.
pub fn summary(event: &Value) -> String {
    const TELLING: [&str; 12] = [
        "rule.name",
        "user.name",
        "process.command_line",
        "process.executable",
        "http.request.method",
        "url.original",
        "http.response.status_code",
        "dns.question.name",
        "destination.ip",
        "destination.port",
        "file.path",
        "host.name",
    ];
    let mut parts = vec![field(event, "event.action")];
    parts.extend(TELLING.iter().map(|name| field(event, name)));
    parts.retain(|p| !p.is_empty());
    parts.truncate(5);
    parts.iter().map(|part| cut(part)).collect::<Vec<_>>().join("  ")
}

fn table(events: &[Value]) -> Table {
    let mut table = Table::new(&["POSITION", "TIME (UTC)", "READ BY", "ABOUT", "WHAT…"]);
    for record in events {
        let e = read(record);
        let refused = text(record, "/refused");
        let what = if refused.is_empty() { summary(e) } else { format!("not read: {refused}") };
        table.row(vec![
            (Tint::None, text(e, "/position")),
            time_cell(e, "/timestamp"),
            (Tint::None, text(e, "/mapping")),
            (Tint::None, entity(e)),
            (Tint::None, what),
        ]);
    }
    table
}

/// An event with all its fields.
pub fn print(record: &Value, out: &mut Out) -> Result<()> {
    let e = read(record);
    facts(
        out,
        &[
            ("event", text(e, "/event_id")),
            ("position", text(e, "/position")),
            ("happened", time(e, "/timestamp")),
            ("accepted", time(e, "/received")),
            ("came from", text(e, "/origin")),
            ("read by", text(e, "/mapping")),
            ("log sources", log_sources(e)),
            ("about", entity(e)),
        ],
    )?;
    fields(e, "  ", out)?;
    let raw = [text(record, "/raw/line"), text(record, "/raw"), text(record, "/line")];
    match raw.iter().find(|r| !r.is_empty()) {
        Some(raw) => out.parts(&[(Tint::Faint, "as it came  "), (Tint::None, raw)]),
        None => Ok(()),
    }
}

/// Sigma log sources in a line, such as `windows/sysmon registry_set`.
pub fn log_sources(event: &Value) -> String {
    let one = |s: &Value| {
        let parts = ["/product", "/service", "/category"].map(|part| text(s, part));
        source_words(parts.each_ref().map(String::as_str))
    };
    super::records::items(event, "/log_sources").iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The fields of an event under each other.
pub fn fields(event: &Value, indent: &str, out: &mut Out) -> Result<()> {
    let Some(fields) = event.get("fields").and_then(Value::as_object) else { return Ok(()) };
    let named: Vec<(String, String)> =
        fields.iter().map(|(name, value)| (format!("{indent}{name}"), words(value))).collect();
    // A name longer than this goes beside its value without making all others stand apart.
    let width = named.iter().map(|(name, _)| name.chars().count()).filter(|n| *n <= 40).max().unwrap_or(0);
    named
        .iter()
        .try_for_each(|(name, value)| out.parts(&[(Tint::Faint, &format!("{name:<width$}  ")), (Tint::None, value)]))
}
