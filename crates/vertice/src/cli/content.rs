//! What the kinds of content have in common.

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use serde_json::Value;

use super::client::Client;
use super::output::{Out, Table, Tint};
use super::records::{List, Paging, cell};
use super::rules::checked;

/// What can be done without a server.
#[derive(Debug, Subcommand)]
pub enum CheckVerb {
    /// Compile files and name what is refused, with line and reason
    #[command(after_help = "Needs no server. Exit code 6 when any file is refused.")]
    Check {
        /// The files and directories to check; a directory is walked
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
}

impl CheckVerb {
    /// Checks files of a kind.
    pub fn run(&self, kind: &str, out: &mut Out) -> Result<()> {
        let CheckVerb::Check { paths } = self;
        checked(kind, paths, out)
    }
}

/// Lists the mappings in force.
pub fn mappings(client: &Client, out: &mut Out) -> Result<()> {
    let empty = "No mappings are in force. `vertice doctor` says what was refused.";
    List::new("/api/v1/mappings", mapping_table, empty).whole().print(client, Paging::ALL, out)
}

/// A number with its noun.
pub fn counted(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

fn mapping_table(mappings: &[Value]) -> Table {
    let mut table = Table::new(&["TRIED", "NAME"]);
    for (i, m) in mappings.iter().enumerate() {
        table.row(vec![(Tint::None, (i + 1).to_string()), cell(m, "/name")]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::output::Format;
    use crate::cli::output::tests::printed;

    #[test]
    fn what_is_in_force_is_shown_by_what_is_known_of_it() {
        let text = printed(Format::Table, |out| out.table(&mapping_table(&[json!({"name": "sshd"})])));
        assert_eq!(text, "TRIED  NAME\n1      sshd\n");
    }
}
