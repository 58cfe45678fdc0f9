//! `vertice containments`: what holds somebody, and taking it back.

use anyhow::Result;
use clap::Subcommand;
use serde_json::Value;

use super::client::{Client, segment};
use super::output::{Format, Out, Table, Tint};
use super::records::{List, Order, Paging, entity, facts, id_cell, show, state, state_reason, text, time, time_cell};

const PATH: &str = "/api/v1/defense/containments";

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List containments; those that hold unless told otherwise
    List {
        /// Also those that ended
        #[arg(long)]
        ended: bool,
        #[command(flatten)]
        order: Order,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one containment
    Show {
        /// Its id, or the beginning of it
        id: String,
    },
    /// Take a containment back
    #[command(after_help = "Example:\n  vertice containments release 77ab01ff --reason \"that is our backup server\"")]
    Release {
        /// Its id, or the beginning of it
        id: String,
        /// Why, in your words
        #[arg(long)]
        reason: String,
    },
}

pub fn run(verb: Verb, client: &Client, out: &mut Out) -> Result<()> {
    match verb {
        Verb::List { ended, order, paging } => {
            let empty =
                if ended { "There was no containment yet." } else { "Nobody is contained. `--ended` shows who was." };
            List::new(PATH, table, empty)
                .only("active", (!ended).then_some(true))
                .ordered(order)
                .print(client, paging, out)
        }
        Verb::Show { id } => show(&client.get(&format!("{PATH}/{}", segment(&id)), &[])?, out, print),
        Verb::Release { id, reason } => {
            let containment = client.get(&format!("{PATH}/{}", segment(&id)), &[])?;
            let id = text(&containment, "/containment_id");
            let answer = client.delete(&format!("{PATH}/{}", segment(&id)), &[("reason", &reason)])?;
            match out.format {
                Format::Json | Format::Ndjson => out.json(&answer),
                Format::Table => out.line(&format!("{} is released.", entity(&containment))),
            }
        }
    }
}

fn table(containments: &[Value]) -> Table {
    let mut table = Table::new(&["ID", "SINCE (UTC)", "UNTIL (UTC)", "WHO", "BY", "STAGE", "STATE", "REAL"]);
    for c in containments {
        table.row(vec![
            id_cell(c, "/containment_id"),
            time_cell(c, "/since"),
            time_cell(c, "/lease_until"),
            (Tint::None, entity(c)),
            (Tint::None, text(c, "/action_type")),
            (Tint::None, state(c, "/stage")),
            (Tint::None, state(c, "/state")),
            (Tint::None, real(c).to_owned()),
        ]);
    }
    table
}

fn real(containment: &Value) -> &'static str {
    match containment.get("simulated").and_then(Value::as_bool) {
        Some(false) => "yes",
        Some(true) | None => "simulated",
    }
}

fn print(c: &Value, out: &mut Out) -> Result<()> {
    out.parts(&[(Tint::Bold, &entity(c)), (Tint::None, &format!("  {}", state(c, "/state")))])?;
    facts(
        out,
        &[
            ("containment", text(c, "/containment_id")),
            ("threat", text(c, "/threat_id")),
            ("playbook", text(c, "/playbook_id")),
            ("action", format!("{} ({})", text(c, "/action_id"), text(c, "/action_type"))),
            ("real", real(c).to_owned()),
            ("stage", state(c, "/stage")),
            ("since", time(c, "/since")),
            ("until", time(c, "/lease_until")),
            ("released by", text(c, "/state/by")),
            ("because", if text(c, "/state/reason").is_empty() { String::new() } else { state_reason(c, "/state") }),
        ],
    )
}
