//! `vertice bouncers`: who enforces containments elsewhere, and with which key.

use anyhow::Result;
use clap::Subcommand;
use serde_json::Value;

use super::client::Client;
use super::keys::{Kind, Wanted};
use super::output::{Out, Table, Tint};
use super::records::{cell, short_time, text, time_cell};

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

const BOUNCERS: Kind = Kind {
    path: "/api/v1/bouncers",
    none: "There is no bouncer. `vertice bouncers add NAME` makes a key for one.",
    added: |added, base| {
        vec![
            format!("The key of the bouncer {}, shown only now:", text(added, "/name")),
            String::new(),
            format!("  api_url: {base}/"),
            format!("  api_key: {}", text(added, "/key")),
        ]
    },
    table,
    removed: |name| format!("The bouncer {name} is removed. What it was told holds with it until it ends."),
};

pub fn run(verb: Verb, client: &Client, out: &mut Out) -> Result<()> {
    let wanted = match verb {
        Verb::Add { name } => Wanted::Add(name),
        Verb::List => Wanted::List,
        Verb::Remove { name } => Wanted::Remove(name),
    };
    let answer = BOUNCERS.ask(&wanted, client)?;
    BOUNCERS.tell(&wanted, &answer, client.base(), out)
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
