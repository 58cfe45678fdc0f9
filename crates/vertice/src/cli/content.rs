//! `vertice playbooks`, and what the kinds of content have in common.

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use serde_json::Value;

use super::client::{Client, segment};
use super::output::{Out, Table, Tint};
use super::records::{List, Paging, cell, facts, items, severity_cell, show, text, words};
use super::rules::checked;

#[derive(Debug, Subcommand)]
pub enum PlaybooksVerb {
    /// List the playbooks in force
    List,
    /// Show one of the playbooks in force: when it is due, and what it does
    Show {
        /// Its id: the name of its file without the ending
        id: String,
    },
    #[command(flatten)]
    Check(CheckVerb),
}

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

pub fn playbooks(verb: PlaybooksVerb, client: &Client, out: &mut Out) -> Result<()> {
    const PATH: &str = "/api/v1/playbooks";
    match verb {
        PlaybooksVerb::List => {
            let empty = "No playbooks are in force. `vertice doctor` says what was refused.";
            List::new(PATH, playbook_table, empty).whole().print(client, Paging::ALL, out)
        }
        PlaybooksVerb::Show { id } => show(&client.get(&format!("{PATH}/{}", segment(&id)), &[])?, out, playbook),
        PlaybooksVerb::Check(check) => check.run("playbooks", out),
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

fn playbook_table(playbooks: &[Value]) -> Table {
    let mut table = Table::new(&["ID", "VERSION", "FROM", "SURE", "DUE ON…", "DOES…"]);
    for p in playbooks {
        let actions: Vec<String> = items(p, "/actions").iter().map(|a| text(a, "/action_id")).collect();
        table.row(vec![
            cell(p, "/playbook_id"),
            cell(p, "/version"),
            severity_cell(p, "/severity_threshold"),
            (Tint::None, format!("{} %", text(p, "/confidence_threshold_percent"))),
            cell(p, "/condition"),
            (Tint::None, actions.join(", ")),
        ]);
    }
    table
}

fn playbook(p: &Value, out: &mut Out) -> Result<()> {
    out.parts(&[(Tint::Bold, &text(p, "/name")), (Tint::None, &format!("  {}", text(p, "/version")))])?;
    out.text(&text(p, "/description"))?;
    facts(
        out,
        &[
            ("playbook", text(p, "/playbook_id")),
            ("due on", text(p, "/condition")),
            (
                "from",
                format!("{}, {} % sure", text(p, "/severity_threshold"), text(p, "/confidence_threshold_percent")),
            ),
            ("must know", text(p, "/context_requirements")),
        ],
    )?;
    for (i, action) in items(p, "/actions").iter().enumerate() {
        out.line("")?;
        out.parts(&[
            (Tint::Bold, &format!("{}. {}", i + 1, text(action, "/action_id"))),
            (Tint::Faint, &format!("  {}", text(action, "/action_type"))),
        ])?;
        let rest: Vec<(String, String)> = action
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| !["action_id", "action_type"].contains(&name.as_str()))
            .map(|(name, value)| (format!("   {}", name.replace('_', " ")), words(value)))
            .collect();
        facts(out, &rest.iter().map(|(n, v)| (n.as_str(), v.clone())).collect::<Vec<_>>())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::output::Format;
    use crate::cli::output::tests::printed;

    #[test]
    fn what_is_in_force_is_shown_by_what_is_known_of_it() {
        let p = json!({"playbook_id": "p", "name": "P", "version": "1.0", "condition": "malware_detected", "severity_threshold": "high",
            "confidence_threshold_percent": 80, "actions": [{"action_id": "a", "action_type": "notify", "depends_on": ["b"]}]});
        let text = printed(Format::Table, |out| out.table(&playbook_table(std::slice::from_ref(&p))));
        assert_eq!(
            text,
            "ID  VERSION  FROM  SURE  DUE ON            DOES\np   1.0      high  80 %  malware_detected  a\n"
        );
        let text = printed(Format::Table, |out| playbook(&p, out));
        assert!(text.contains("high, 80 % sure") && text.contains("1. a  notify\n   depends on  b\n"), "{text}");
        let text = printed(Format::Table, |out| out.table(&mapping_table(&[json!({"name": "sshd"})])));
        assert_eq!(text, "TRIED  NAME\n1      sshd\n");
    }
}
