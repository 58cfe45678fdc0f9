//! `vertice migrate`: moves the data directory of one machine to where many instances share it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::json;
use vertice_store::postgres::{MoveError, Moved, migrate};
use vertice_store::{OpenError, PostgresSettings};

use super::failure::Failure;
use super::output::{Format, Out};
use crate::clock;
use crate::config::Config;

/// Where a data directory can be moved to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum To {
    /// A shard in PostgreSQL.
    Postgres,
}

/// Where PostgreSQL is.
#[derive(Args, Clone, Debug, Default)]
pub struct Database {
    /// Where PostgreSQL is. Better given by the environment: other users of the machine can see arguments
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database: Option<String>,
    /// The certificate, in PEM, of whoever vouches for the server; without it the public ones count
    #[arg(long, value_name = "FILE")]
    database_ca: Option<PathBuf>,
}

impl Database {
    /// How to come to it, with the key of audits in a directory.
    pub fn settings(&self, key_dir: &std::path::Path) -> Result<PostgresSettings> {
        let missing = || {
            let text =
                "where PostgreSQL is, is said by DATABASE_URL or --database: postgres://USER:PASSWORD@HOST:PORT/NAME";
            Failure::Usage(text.into())
        };
        let url = self.database.as_deref().ok_or_else(missing)?;
        let mut settings =
            PostgresSettings::from_url(url, key_dir).map_err(|error| Failure::Usage(error.to_string()))?;
        settings.ca_file.clone_from(&self.database_ca);
        Ok(settings)
    }
}

/// Move the data directory to PostgreSQL, where many instances share it
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  DATABASE_URL=postgres://vertice:…@db/vertice?sslmode=verify-full vertice migrate --to postgres

No server may run on the data directory. The log, records, snapshots, cursors, answered requests, API keys, settings and
the audit are copied, and compared row for row at the end; only then can the shard be taken. After a kill the same again
goes on where it was. The shard must be empty. Nothing of the data directory is changed but that it remembers the move.
Give every instance the same `audit.key`, which signs the audit of all shards; it is not in the database.")]
pub struct Arguments {
    /// Where to
    #[arg(long, value_enum)]
    to: To,
    /// Which shard becomes what the directory was
    #[arg(long, default_value_t = 0, value_name = "N")]
    shard: u32,
    /// The data directory; without it, the configured one
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    database: Database,
}

pub fn run(arguments: Arguments, load: impl FnOnce() -> Result<Config>, out: &mut Out) -> Result<()> {
    let To::Postgres = arguments.to;
    let dir = match arguments.data {
        Some(dir) => dir,
        None => load()?.data.dir,
    };
    if !dir.join("vertice.db").is_file() {
        return Err(Failure::NotFound(format!("there is no data of Vertice in {}", dir.display())).into());
    }
    let settings = arguments.database.settings(&dir)?;
    let mut last = "";
    let mut progress = |table: &'static str, rows: u64| {
        if table != last {
            last = table;
            tracing::info!(rows, "moving {table}");
        }
    };
    let moved = migrate(&dir, (&settings, arguments.shard), Arc::new(clock::wall), &mut progress).map_err(failed)?;
    tell(&moved, &settings, arguments.shard, out)
}

fn tell(moved: &Moved, settings: &PostgresSettings, shard: u32, out: &mut Out) -> Result<()> {
    let Moved { rows, audit, positions } = moved;
    if out.format != Format::Table {
        return out.json(&json!({
            "moved_to": settings.whereabouts(), "shard": shard, "rows": rows, "audit_entries": audit,
            "positions": positions,
        }));
    }
    let where_ = settings.whereabouts();
    out.line(&format!("Moved to {where_}, shard {shard}, and compared: {rows} rows, {audit} entries of the audit."))?;
    out.line(&format!(
        "The log ends at position {positions}. The data directory is as it was; keep it until all is well."
    ))
}

/// What came of it, by exit code.
fn failed(error: MoveError) -> anyhow::Error {
    match &error {
        MoveError::Refused { .. } | MoveError::Suppressions { .. } | MoveError::Open(OpenError::InUse { .. }) => {
            Failure::Usage(error.to_string()).into()
        }
        MoveError::Server { .. } | MoveError::Open(OpenError::Server { .. }) => {
            Failure::Unreachable(error.to_string()).into()
        }
        MoveError::Open(_)
        | MoveError::Read(_)
        | MoveError::Submit(_)
        | MoveError::Audit(_)
        | MoveError::Different { .. } => Failure::Failed(error.to_string()).into(),
    }
}
