//! `vertice rules`: what is looked for, and the tools of whoever writes it.

mod backtest;
mod cases;
mod check;
mod coverage;
mod explain;
mod told;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Subcommand;
use serde_json::Value;
use vertice_engine::{Content, ContentFile};
use vertice_model::Severity;

use super::Failure;
use super::arguments::ContentArguments;
use super::client::{Client, segment};
use super::output::{Format, Out, Table, Tint};
use super::records::{List, Paging, cell, confidence, confidence_cell, facts, items, severity_cell, show, text};
use crate::config::Config;
use crate::content;

pub use cases::beside;
pub use check::checked;
pub use told::source_words;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List the rules in force
    #[command(
        after_help = "Examples:\n  vertice rules list --technique T1110\n  vertice rules list --title powershell --all"
    )]
    List {
        /// Only those at least this bad: info, low, medium, high, critical
        #[arg(long)]
        severity: Option<Severity>,
        /// Only those of this class, such as brute_force_detected
        #[arg(long)]
        class: Option<String>,
        /// Only those with this ATT&CK technique, or a sub-technique of it
        #[arg(long, value_name = "ID")]
        technique: Option<String>,
        /// Only those with this in their title
        #[arg(long, value_name = "TEXT")]
        title: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one of the rules in force
    Show {
        /// Its id, or at least four characters of its beginning
        id: String,
    },
    /// Find what is wrong in rule files, and what is probably not meant
    Check(check::Arguments),
    /// Play the cases beside rule files, and say which do not hold
    Test(cases::Arguments),
    /// Why a rule matches an event, or does not: every condition with the value that decided it
    Explain(explain::Arguments),
    /// Which ATT&CK techniques there are rules for: a table, or a layer for the ATT&CK Navigator
    Coverage(coverage::Arguments),
    /// Which events of the log new rules would have hit
    Backtest(backtest::Arguments),
    /// Have the server read its rules, mappings and playbooks again
    #[command(after_help = "\
Examples:
  vertice rules reload
  kill -HUP $(pidof vertice)        the same, and the answer is in the server's log

All or nothing: when any file is newly refused, the set in force stays as it is and the answer says why
(exit code 6). The server also looks for changed files by itself, every few seconds.")]
    Reload,
}

pub fn run(verb: Verb, client: &Client, config: impl FnOnce() -> Result<Config>, out: &mut Out) -> Result<()> {
    match verb {
        Verb::List { severity, class, technique, title, paging } => {
            let empty = "No such rules are in force. `vertice doctor` says what was refused.";
            let list = List::new("/api/v1/rules", table, empty)
                .only("severity", severity)
                .only("class", class)
                .only("technique", technique)
                .only("title", title);
            list.print(client, paging, out)?;
            if out.format == Format::Table { last_reload(client, out) } else { Ok(()) }
        }
        Verb::Show { id } => show(&client.get(&format!("/api/v1/rules/{}", segment(&id)), &[])?, out, print),
        Verb::Check(arguments) => check::run(&arguments, out),
        Verb::Test(arguments) => cases::run(&arguments, out),
        Verb::Explain(arguments) => explain::run(&arguments, client, &config()?, out),
        Verb::Coverage(arguments) => coverage::run(&arguments, &config()?, out),
        Verb::Backtest(arguments) => backtest::run(&arguments, client, &config()?, out),
        Verb::Reload => reload(client, out),
    }
}

/// What would be in force with these arguments: what is built in, what the configuration names, and what they add.
pub fn loaded(config: &Config, more: &ContentArguments) -> Result<Vec<ContentFile>> {
    let mut config = config.clone();
    more.over(&mut config);
    content::gather(&config.content.dirs, &config.content.rules)
}

/// The rule files of these paths, of which there must be one.
fn rule_files(paths: &[PathBuf]) -> Result<Vec<ContentFile>> {
    content_files("rules", paths)
}

/// The files of a kind below these paths, of which there must be one.
pub fn content_files(kind: &str, paths: &[PathBuf]) -> Result<Vec<ContentFile>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.exists() {
            return Err(Failure::NotFound(format!("{}: there is no such file or directory", path.display())).into());
        }
        let found = content::of_kind(kind, path)?;
        if found.is_empty() {
            let nothing = format!("{}: there is no file that ends with .yml or .yaml", path.display());
            return Err(Failure::NotFound(nothing).into());
        }
        files.extend(found);
    }
    Ok(files)
}

/// Those of the files that are of this kind.
pub fn of_kind(files: Vec<ContentFile>, kind: &str) -> impl Iterator<Item = ContentFile> {
    files.into_iter().filter(move |file| file.path.split(['/', ':']).next() == Some(kind))
}

/// Rule files with the mappings that are loaded, and nothing else; an error if any rule is refused.
fn with_mappings(rules: Vec<ContentFile>, loaded: Vec<ContentFile>) -> Result<Content> {
    let files = rules.into_iter().chain(of_kind(loaded, "mappings")).collect();
    let content = Content::compile(files);
    match content.refused.as_slice() {
        [] => Ok(content),
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!("\nand {} more", rest.len()) };
            Err(Failure::Content(format!("{first}{more}\n`vertice rules check` names all")).into())
        }
    }
}

/// A path as a person knows it, without the kind before it.
pub fn shown_path(path: &str) -> &str {
    path.split_once(':').map_or(path, |(_, path)| path)
}

fn is_there(path: &str) -> bool {
    Path::new(path).exists()
}

fn reload(client: &Client, out: &mut Out) -> Result<()> {
    let answer = client.post("/api/v1/content/reload", &Value::Null)?;
    show(&answer, out, |answer, out| {
        let changed = answer.get("changed").and_then(Value::as_bool).unwrap_or_default();
        let what = if changed { "in force: " } else { "nothing changed: " };
        let count = |name: &str| text(answer, &format!("/{name}"));
        out.parts(&[
            (Tint::Good, what),
            (
                Tint::None,
                &format!("{} rules, {} mappings, {} playbooks", count("rules"), count("mappings"), count("playbooks")),
            ),
        ])?;
        items(answer, "/refused").iter().try_for_each(|refused| left_out(refused, out))
    })
}

fn left_out(refused: &Value, out: &mut Out) -> Result<()> {
    let place = ["/path", "/line", "/column"].map(|name| text(refused, name)).join(":");
    out.parts(&[(Tint::Warn, "left out  "), (Tint::None, &format!("{place}: {}", text(refused, "/reason")))])
}

/// Says below a list that files were changed and refused since. A server of before says nothing of it.
fn last_reload(client: &Client, out: &mut Out) -> Result<()> {
    let Ok(content) = client.get("/api/v1/content", &[]) else { return Ok(()) };
    let reason = text(&content, "/last_reload/problem");
    if reason.is_empty() {
        return Ok(());
    }
    out.line("")?;
    let at = super::records::time(&content, "/last_reload/at");
    out.parts(&[(Tint::Bad, &format!("Not the latest: a reload at {at} was refused. ")), (Tint::None, &reason)])
}

fn table(rules: &[Value]) -> Table {
    let mut table = Table::new(&["SEVERITY", "SURE", "TECHNIQUES…", "TITLE…", "ID"]);
    for r in rules {
        table.row(vec![
            severity_cell(r, "/severity"),
            confidence_cell(r, "/confidence"),
            cell(r, "/mitre_techniques"),
            cell(r, "/title"),
            cell(r, "/rule_id"),
        ]);
    }
    table
}

fn print(r: &Value, out: &mut Out) -> Result<()> {
    let severity = text(r, "/severity");
    out.parts(&[(Tint::of_severity(&severity), &severity), (Tint::Bold, &format!("  {}", text(r, "/title")))])?;
    let source = ["product", "service", "category"].map(|name| text(r, &format!("/log_source/{name}")));
    facts(
        out,
        &[
            ("rule", text(r, "/rule_id")),
            ("file", format!("{}:{}", text(r, "/path"), text(r, "/line"))),
            ("looks at", source.into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join(" ")),
            ("class", text(r, "/class")),
            ("sure", confidence(r, "/confidence")),
            ("techniques", text(r, "/mitre_techniques")),
            ("tactics", text(r, "/mitre_tactics")),
            ("counts others", text(r, "/correlation")),
            ("only counted", text(r, "/silent")),
            ("status", text(r, "/status")),
            ("author", text(r, "/author")),
            ("gets wrong", text(r, "/falsepositives")),
            ("see", text(r, "/references")),
        ],
    )?;
    out.text(&text(r, "/description"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::output::tests::printed;

    #[test]
    fn a_rule_is_shown_by_what_is_known_of_it() {
        let r = json!({"rule_id": "r-1", "title": "Guessing", "severity": "high", "confidence": 0.85, "mitre_techniques": ["T1110"],
            "log_source": {"product": "linux", "service": "sshd"}, "path": "rules/a.yml", "line": 3, "description": "It guesses."});
        let shown = printed(Format::Table, |out| out.table(&table(std::slice::from_ref(&r))));
        assert_eq!(shown, "SEVERITY  SURE  TECHNIQUES  TITLE     ID\nhigh      85 %  T1110       Guessing  r-1\n");
        let shown = printed(Format::Table, |out| print(&r, out));
        assert!(shown.starts_with("high  Guessing\n") && shown.ends_with("It guesses.\n"), "{shown}");
        assert!(
            shown.contains("rules/a.yml:3") && shown.contains("linux sshd") && !shown.contains("author"),
            "{shown}"
        );
    }
}
