//! `vertice rules|mappings|playbooks`: what is in force on the server, and checking files before they are.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Subcommand;
use serde_json::{Value, json};
use vertice_engine::{Content, ContentFile};
use vertice_model::Severity;

use super::Failure;
use super::client::{Client, segment};
use super::output::{Format, Out, Table, Tint};
use super::records::{List, Paging, cell, confidence, confidence_cell, facts, items, severity_cell, show, text, words};
use crate::content::of_kind;

/// One of the three kinds of content, by the name of its folder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Rules,
    Mappings,
    Playbooks,
}

#[derive(Debug, Subcommand)]
pub enum RulesVerb {
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
        /// Its id
        id: String,
    },
    #[command(flatten)]
    Check(CheckVerb),
}

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

/// What can be done with each kind without a server.
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
    pub fn run(&self, kind: Kind, out: &mut Out) -> Result<()> {
        let CheckVerb::Check { paths } = self;
        kind.check(paths, out)
    }
}

pub fn rules(verb: RulesVerb, client: &Client, out: &mut Out) -> Result<()> {
    match verb {
        RulesVerb::List { severity, class, technique, title, paging } => List::new(
            "/api/v1/rules",
            rule_table,
            "No such rules are in force. `vertice doctor` says what was refused.",
        )
        .only("severity", severity)
        .only("class", class)
        .only("technique", technique)
        .only("title", title)
        .print(client, paging, out),
        RulesVerb::Show { id } => show(&client.get(&format!("/api/v1/rules/{}", segment(&id)), &[])?, out, rule),
        RulesVerb::Check(check) => check.run(Kind::Rules, out),
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
        PlaybooksVerb::Check(check) => check.run(Kind::Playbooks, out),
    }
}

/// Lists the mappings in force.
pub fn mappings(client: &Client, out: &mut Out) -> Result<()> {
    let empty = "No mappings are in force. `vertice doctor` says what was refused.";
    List::new("/api/v1/mappings", mapping_table, empty).whole().print(client, Paging::ALL, out)
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Kind::Rules => "rules",
            Kind::Mappings => "mappings",
            Kind::Playbooks => "playbooks",
        }
    }

    /// Compiles files by themselves and says which are refused.
    pub fn check(self, paths: &[PathBuf], out: &mut Out) -> Result<()> {
        let mut files: Vec<ContentFile> = Vec::new();
        for path in paths {
            files.extend(self.files(path)?);
        }
        if files.is_empty() {
            let places = paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
            return Err(Failure::NotFound(format!("{places}: there is no file that ends with .yml or .yaml")).into());
        }
        let count = files.len();
        let content = Content::compile(files);
        let refused = &content.refused;
        match out.format {
            Format::Table => {
                for error in refused {
                    out.parts(&[(Tint::Bad, "refused  "), (Tint::None, &error.to_string())])?;
                }
                let kind = self.word();
                out.line(&format!(
                    "{kind}: {} of {} can be used.",
                    count - files_refused(&content),
                    counted(count, "file")
                ))?;
            }
            Format::Json => out.json(&json!({"files": count, "refused": refused}))?,
            Format::Ndjson => {
                let errors: Vec<Value> = refused.iter().map(|e| json!(e)).collect();
                out.json_list(&errors)?;
            }
        }
        if refused.is_empty() {
            return Ok(());
        }
        Err(Failure::Content(format!("refused: {}", counted(files_refused(&content), "file"))).into())
    }

    fn files(self, path: &Path) -> Result<Vec<ContentFile>> {
        if !path.exists() {
            return Err(Failure::NotFound(format!("{}: there is no such file or directory", path.display())).into());
        }
        of_kind(self.word(), path)
    }
}

/// A file may be refused for several reasons and is one file all the same.
fn files_refused(content: &Content) -> usize {
    content.refused.iter().map(|e| &e.path).collect::<std::collections::BTreeSet<_>>().len()
}

/// A number with its noun.
pub fn counted(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

fn rule_table(rules: &[Value]) -> Table {
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

fn rule(r: &Value, out: &mut Out) -> Result<()> {
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
    use std::io::Write as _;

    use super::*;
    use crate::cli::output::tests::printed;

    fn checked(kind: Kind, format: Format, files: &[(&str, &str)]) -> (String, Option<Failure>) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::File::create(dir.path().join(name)).unwrap().write_all(text.as_bytes()).unwrap();
        }
        let mut failure = None;
        let text = printed(format, |out| {
            failure = kind.check(&[dir.path().to_owned()], out).err().map(|e| e.downcast().unwrap());
            Ok(())
        });
        (text.replace(&format!("{}/", dir.path().display()), ""), failure)
    }

    const GOOD: &str = "title: A\nid: 5e1f8a4e-6c1f-4a53-9a0c-0d4b9c7d1a11\nlogsource: {category: dns}\n\
        detection: {sel: {query: x}, condition: sel}\nlevel: low\n";

    #[test]
    fn a_refused_file_is_named_with_its_line_and_the_others_are_counted() {
        let (text, failure) =
            checked(Kind::Rules, Format::Table, &[("a.yml", GOOD), ("b.yml", "title: B\ndetection: {}\n")]);
        assert!(text.starts_with("refused  b.yml:1:1: "), "{text}");
        assert!(text.ends_with("rules: 1 of 2 files can be used.\n"), "{text}");
        assert_eq!(failure, Some(Failure::Content("refused: 1 file".to_owned())));
        let (text, _) = checked(Kind::Rules, Format::Ndjson, &[("b.yml", "title: B\n")]);
        let error: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!((&error["path"], &error["line"]), (&json!("b.yml"), &json!(1)));
    }

    #[test]
    fn good_files_are_no_failure() {
        assert_eq!(
            checked(Kind::Rules, Format::Table, &[("a.yml", GOOD)]),
            ("rules: 1 of 1 file can be used.\n".into(), None)
        );
        let (text, failure) = checked(Kind::Rules, Format::Json, &[("a.yml", GOOD)]);
        assert_eq!(failure, None);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!({"files": 1, "refused": []}));
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let (_, failure) = checked(Kind::Playbooks, Format::Table, &[("README.md", "")]);
        assert!(matches!(failure, Some(Failure::NotFound(_))), "{failure:?}");
        let missing = Kind::Mappings
            .check(&[PathBuf::from("no/such")], &mut Out::new(Box::new(std::io::sink()), Format::Table, None, false));
        assert_eq!(super::super::failure::exit_code(&missing.unwrap_err()), 3);
    }

    #[test]
    fn what_is_in_force_is_shown_by_what_is_known_of_it() {
        let r = json!({"rule_id": "r-1", "title": "Guessing", "severity": "high", "confidence": 0.85, "mitre_techniques": ["T1110"],
            "log_source": {"product": "linux", "service": "sshd"}, "path": "rules/a.yml", "line": 3, "description": "It guesses."});
        let text = printed(Format::Table, |out| out.table(&rule_table(std::slice::from_ref(&r))));
        assert_eq!(text, "SEVERITY  SURE  TECHNIQUES  TITLE     ID\nhigh      85 %  T1110       Guessing  r-1\n");
        let text = printed(Format::Table, |out| rule(&r, out));
        assert!(text.starts_with("high  Guessing\n") && text.ends_with("It guesses.\n"), "{text}");
        assert!(text.contains("rules/a.yml:3") && text.contains("linux sshd") && !text.contains("author"), "{text}");
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
