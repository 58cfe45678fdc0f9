//! `vertice bouncers`: who enforces containments elsewhere, and with which key.

use anyhow::Result;
use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Client, segment};
use super::output::{Format, Out, Table, Tint};
use super::records::{cell, short_time, text, time_cell};

const PATH: &str = "/api/v1/bouncers";

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Add a bouncer and show its key, once
    #[command(after_help = "Example:\n  vertice bouncers add edge-firewall\n\n\
        The key reads decisions and nothing else. It goes into the bouncer's own configuration, with the address of \
        this server:\n  api_url: http://127.0.0.1:8000/\n  api_key: vk_…")]
    Add {
        /// What to call it: letters, digits, `.`, `_` and `-`
        name: String,
    },
    /// List the bouncers, and when each last asked
    List,
    /// Remove a bouncer: its key is no longer one
    Remove {
        /// Its name
        name: String,
    },
}

pub fn run(verb: Verb, client: &Client, out: &mut Out) -> Result<()> {
    match verb {
        Verb::Add { name } => {
            let added = client.post(PATH, &json!({ "name": name }))?;
            match out.format {
                Format::Json | Format::Ndjson => out.json(&added),
                Format::Table => {
                    out.line(&format!("The key of the bouncer {}, shown only now:", text(&added, "/name")))?;
                    out.line("")?;
                    out.line(&format!("  api_url: {}/", client.base()))?;
                    out.line(&format!("  api_key: {}", text(&added, "/key")))
                }
            }
        }
        Verb::List => {
            let bouncers = client.page(PATH, &[])?.items;
            match out.format {
                Format::Json | Format::Ndjson => out.json_list(&bouncers),
                Format::Table if bouncers.is_empty() => {
                    out.line("There is no bouncer. `vertice bouncers add NAME` makes a key for one.")
                }
                Format::Table => out.table(&table(&bouncers)),
            }
        }
        Verb::Remove { name } => {
            let removed = client.delete(&format!("{PATH}/{}", segment(&name)), &[])?;
            match out.format {
                Format::Json | Format::Ndjson => out.json(&removed),
                Format::Table => {
                    out.line(&format!("The bouncer {name} is removed. What it was told holds with it until it ends."))
                }
            }
        }
    }
}

fn table(bouncers: &[Value]) -> Table {
    let mut table = Table::new(&["NAME", "ADDED (UTC)", "LAST ASKED (UTC)", "CALLS ITSELF…"]);
    for bouncer in bouncers {
        let last = text(bouncer, "/last_pull");
        let last = if last.is_empty() { "not since the start".to_owned() } else { short_time(&last) };
        table.row(vec![
            cell(bouncer, "/name"),
            time_cell(bouncer, "/created"),
            (Tint::None, last),
            cell(bouncer, "/agent"),
        ]);
    }
    table
}
