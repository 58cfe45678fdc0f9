//! `vertice playbooks`: what is done about threats, and the tools of whoever writes it.

mod cases;
mod exchange;
mod graph;
mod plan;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use vertice_engine::decide::schema;
use vertice_engine::{Content, ContentFile};

use super::Failure;
use super::arguments::ContentArguments;
use super::client::{Client, segment};
use super::output::{Out, Table, Tint};
use super::records::{List, Paging, cell, facts, items, severity_cell, show, text, words};
use super::responses;
use super::rules::{checked, content_files, loaded, of_kind, shown_path};
use crate::config::Config;
use crate::limits;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List the playbooks in force
    List,
    /// Show one of the playbooks in force: when it is due, and what it does
    Show {
        /// Its id: the name of its file without the ending
        id: String,
    },
    /// Find what is wrong in playbook files
    Check(CheckArguments),
    /// What a playbook would do for a threat: filled, in order, with what stands against it
    Plan(plan::Arguments),
    /// Have the server start a playbook for a threat, whether it is due or not
    Run(RunArguments),
    /// Play the cases beside playbook files, and say which do not hold
    Test(cases::Arguments),
    /// What waits for what in a playbook, and where a person is asked
    Graph(graph::Arguments),
    /// Print the JSON Schema of playbook files, for editors
    #[command(after_help = "\
Examples:
  vertice playbook schema > playbook.schema.json

An editor with a YAML language server checks and completes a playbook that begins with this line:
  # yaml-language-server: $schema=playbook.schema.json")]
    Schema,
    /// Make a playbook file of a CACAO 2.0 playbook, without loss
    Import(exchange::ImportArguments),
    /// Make a CACAO 2.0 playbook of a playbook file, without loss
    Export(exchange::ExportArguments),
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vertice playbook check my-playbooks
  vertice playbook check my-playbooks/block.yml -o ndjson | jq -r .reason

A finding is FILE:LINE, what is wrong, and what was meant. Needs no server.

Exit codes:
  0  every file can be used                    3  there is no such file, or no playbook in the directory
  2  the command line is wrong                 6  something is refused")]
pub struct CheckArguments {
    /// The files and directories to check; a directory is walked
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vertice playbook run malware_containment 1f3a
  vertice playbook plan malware_containment 1f3a      what it would do

What the playbook asks is asked as ever, and whoever starts it can not answer. What may not be touched is not
touched. A playbook that runs for the threat and waits already is not started again.

Exit codes:
  0  it runs, or is recorded as refused: the answer says which
  1  it was not started, and why               4  the server can not be reached
  2  the command line is wrong                 5  the API key is missing or not good enough
  3  there is no such playbook or threat")]
pub struct RunArguments {
    /// The playbook's id: the name of its file without the ending
    playbook: String,
    /// The threat's id, or at least four characters of its beginning
    threat: String,
}

pub fn run(verb: Verb, client: &Client, config: impl FnOnce() -> Result<Config>, out: &mut Out) -> Result<()> {
    const PATH: &str = "/api/v1/playbooks";
    match verb {
        Verb::List => {
            let empty = "No playbooks are in force. `vertice doctor` says what was refused.";
            List::new(PATH, playbook_table, empty).whole().print(client, Paging::ALL, out)
        }
        Verb::Show { id } => show(&client.get(&format!("{PATH}/{}", segment(&id)), &[])?, out, playbook),
        Verb::Check(arguments) => checked("playbooks", &arguments.paths, out),
        Verb::Plan(arguments) => plan::run(&arguments, client, &config()?, out),
        Verb::Run(arguments) => start(&arguments, client, out),
        Verb::Test(arguments) => cases::run(&arguments, out),
        Verb::Graph(arguments) => graph::run(&arguments, &config()?, out),
        Verb::Schema => out.text(&schema::text()),
        Verb::Import(arguments) => exchange::import(&arguments, out),
        Verb::Export(arguments) => exchange::export(&arguments, &config()?, out),
    }
}

fn start(arguments: &RunArguments, client: &Client, out: &mut Out) -> Result<()> {
    let path = format!("/api/v1/defense/playbooks/{}/run", segment(&arguments.playbook));
    let answer = client.post(&path, &json!({"threat_id": arguments.threat}))?;
    show(&answer, out, |answer, out| match answer.get("run").filter(|run| run.is_object()) {
        Some(run) => responses::print(run, out),
        None => out.line("It is kept, and the engine has yet to come to it: `vertice responses list` shows its run."),
    })
}

/// The file of a playbook: the one at this path, or the one of this name that would be in force.
fn named(which: &Path, config: &Config, more: &ContentArguments) -> Result<ContentFile> {
    if which.is_dir() {
        bail!(Failure::Usage(format!("{}: it is a directory; name one playbook", which.display())));
    }
    if which.is_file() {
        let file = content_files("playbooks", &[which.to_owned()])?.remove(0);
        return Ok(ContentFile { path: shown_path(&file.path).to_owned(), ..file });
    }
    let stem = |path: &str| Path::new(shown_path(path)).file_stem().map(|s| s.to_string_lossy().into_owned());
    let known: Vec<ContentFile> = of_kind(loaded(config, more)?, "playbooks").collect();
    let wanted = which.to_string_lossy();
    // Of two of one name the first is in force.
    match known.iter().find(|file| stem(&file.path).is_some_and(|stem| stem == wanted)) {
        Some(file) => Ok(file.clone()),
        None => {
            let names: Vec<String> = known.iter().filter_map(|file| stem(&file.path)).collect();
            let reason =
                format!("{wanted}: there is no such file, and no playbook of that id; there are {}", names.join(", "));
            bail!(Failure::NotFound(reason))
        }
    }
}

/// A playbook that is compiled, with the policy if one counts, and its id. It must not be refused.
fn compiled(playbook: ContentFile, policy: Option<ContentFile>) -> Result<(Content, String)> {
    let path = playbook.path.clone();
    let playbook = ContentFile { path: format!("playbooks:{path}"), ..playbook };
    let content = Content::compile(std::iter::once(playbook).chain(policy).collect());
    refused(&content.refused)?;
    let id = content.playbooks.iter().next().map(|playbook| playbook.id().to_owned());
    match id {
        Some(id) => Ok((content, id)),
        None => bail!(Failure::Content(format!("{path}: what lies in a folder `cases` is no playbook"))),
    }
}

/// A failure that names all that was refused.
fn refused(errors: &[vertice_engine::ContentError]) -> Result<()> {
    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    if all.is_empty() { Ok(()) } else { bail!(Failure::Content(all.join("\n"))) }
}

/// A file of this size at most, as text; `-` is standard input.
fn read(path: &Path) -> Result<String> {
    use std::io::Read as _;
    let max = limits::CONTENT_FILE_BYTES_MAX;
    let mut text = String::new();
    let told = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => {
            anyhow::Error::from(Failure::NotFound(format!("{}: there is no such file", path.display())))
        }
        _ => anyhow::Error::from(e).context(format!("reading {}", path.display())),
    };
    if path == Path::new("-") {
        std::io::stdin().lock().take(max + 1).read_to_string(&mut text).map_err(told)?;
    } else {
        std::fs::File::open(path).map_err(told)?.take(max + 1).read_to_string(&mut text).map_err(told)?;
    }
    if text.len() as u64 > max {
        bail!(Failure::Content(format!("{}: more than {max} bytes are not read", path.display())));
    }
    Ok(text)
}

/// Says something beside the result, which may go into a file.
fn remark(text: &str) {
    use std::io::Write as _;
    // Nobody to tell if it fails.
    let _ = writeln!(std::io::stderr().lock(), "vertice: {}", super::plain(text));
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
mod tests;
