//! `vertice rules|mappings|playbooks`: what is in force on the server, and checking files before they are.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Subcommand;
use serde_json::{Value, json};
use vertice_engine::{Content, ContentFile};

use super::Failure;
use super::client::{Client, segment};
use super::output::{Format, Out, Table, Tint};
use super::records::{List, Paging, cell, facts, severity_cell, show, text, words};
use crate::content::of_kind;

/// One of the three kinds of content, by the name of its folder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Rules,
    Mappings,
    Playbooks,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List those in force
    List {
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one of those in force
    Show {
        /// Its id
        id: String,
    },
    /// Compile files and name what is refused, with line and reason
    #[command(after_help = "Needs no server. Exit code 6 when any file is refused.")]
    Check {
        /// The files and directories to check; a directory is walked
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
}

/// Lists, shows or checks one kind of content.
pub fn run(kind: Kind, verb: Verb, client: &Client, out: &mut Out) -> Result<()> {
    match verb {
        Verb::List { paging } => kind.list(paging, client, out),
        Verb::Show { id } => kind.show(&id, client, out),
        Verb::Check { paths } => kind.check(&paths, out),
    }
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Kind::Rules => "rules",
            Kind::Mappings => "mappings",
            Kind::Playbooks => "playbooks",
        }
    }

    fn table(self) -> fn(&[Value]) -> Table {
        match self {
            Kind::Rules => rules,
            Kind::Mappings => mappings,
            Kind::Playbooks => playbooks,
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Kind::Rules => "/api/v1/rules",
            Kind::Mappings => "/api/v1/mappings",
            Kind::Playbooks => "/api/v1/playbooks",
        }
    }

    /// Lists or shows what is in force.
    pub fn list(self, paging: Paging, client: &Client, out: &mut Out) -> Result<()> {
        let empty = format!("No {} are in force. `vertice doctor` says what was refused.", self.word());
        List::new(self.path(), self.table(), &empty).print(client, paging, out)
    }

    /// Shows one of those in force.
    pub fn show(self, id: &str, client: &Client, out: &mut Out) -> Result<()> {
        show(&client.get(&format!("{}/{}", self.path(), segment(id)), &[])?, out, print)
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

fn rules(rules: &[Value]) -> Table {
    let mut table = Table::new(&["SEVERITY", "TECHNIQUES…", "TITLE…", "ID"]);
    for r in rules {
        let severity = if r.get("severity").is_some() { "/severity" } else { "/level" };
        table.row(vec![severity_cell(r, severity), cell(r, "/techniques"), cell(r, "/title"), cell(r, "/id")]);
    }
    table
}

fn mappings(mappings: &[Value]) -> Table {
    any(mappings, &["name", "description"])
}

fn playbooks(playbooks: &[Value]) -> Table {
    any(playbooks, &["id", "name", "version", "condition", "severity_threshold"])
}

/// A table of the members that all have, for what has few and short ones.
fn any(items: &[Value], known: &[&'static str]) -> Table {
    let present = |name: &&&'static str| items.iter().any(|item| item.get(**name).is_some());
    let names: Vec<&'static str> = known.iter().filter(present).copied().collect();
    let mut table = Table::new(&names);
    for item in items {
        table.row(names.iter().map(|name| (Tint::None, words(&item[*name]))).collect());
    }
    table
}

/// A rule or a playbook: what is known of it, then the file as it is written.
fn print(item: &Value, out: &mut Out) -> Result<()> {
    let source = ["source", "text", "yaml"].into_iter().find(|name| item.get(*name).is_some_and(Value::is_string));
    let Some(members) = item.as_object() else { return out.json(item) };
    let known: Vec<(&str, String)> = members
        .iter()
        .filter(|(name, _)| Some(name.as_str()) != source)
        .map(|(name, value)| (name.as_str(), words(value)))
        .collect();
    facts(out, &known)?;
    match source {
        Some(name) => out.line("").and_then(|()| out.text(&text(item, &format!("/{name}")))),
        None => Ok(()),
    }
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
        assert!(text.starts_with("refused  b.yml:1: "), "{text}");
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
        let rule = json!({"id": "r-1", "title": "Guessing", "level": "high", "techniques": ["T1110"]});
        let text = printed(Format::Table, |out| out.table(&rules(&[rule])));
        assert_eq!(text, "SEVERITY  TECHNIQUES  TITLE     ID\nhigh      T1110       Guessing  r-1\n");
        let playbook = json!({"id": "p", "name": "P", "version": "1.0", "source": "name: P\nactions: []"});
        let text = printed(Format::Table, |out| out.table(&playbooks(std::slice::from_ref(&playbook))));
        assert_eq!(text, "ID  NAME  VERSION\np   P     1.0\n");
        let text = printed(Format::Table, |out| print(&playbook, out));
        assert_eq!(text, "id       p\nname     P\nversion  1.0\n\nname: P\nactions: []\n");
        assert_eq!(printed(Format::Table, |out| out.table(&mappings(&[json!({"name": "sshd"})]))), "NAME\nsshd\n");
    }
}
