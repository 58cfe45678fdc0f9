//! `vertice mappings`: how each log source becomes fields, and trying it on lines of one's own.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use vertice_engine::{Content, Stamp};
use vertice_model::{Position, RawEvent, Timestamp};
use vertice_stream::{Item, Progress};

use super::Failure;
use super::client::Client;
use super::content::{self, CheckVerb};
use super::events::{fields, log_sources};
use super::output::{Format, Out, Tint};
use super::records::{entity, facts, text, time};
use crate::limits;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List the mappings in force, in the order in which they are tried
    List,
    #[command(flatten)]
    Check(CheckVerb),
    /// Read lines and show how each is understood: mapping, time, entity, log sources, fields
    Try(TryArguments),
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tail -3 /var/log/auth.log | vertice mappings try
  vertice mappings try --file eve.json -o ndjson
  vertice mappings try --file my.log --content my-content     with a mapping of your own

Needs no server. Exit code 1 when a line could not be read.")]
pub struct TryArguments {
    /// The file to read, of any form that `vertice replay` reads; without it, standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A directory with mappings/ of your own, beside the built-in ones; may be given several times
    #[arg(long, value_name = "DIR")]
    content: Vec<PathBuf>,
}

/// Runs what needs no configuration. `now` is when lines count as received.
pub fn run(verb: Verb, client: &Client, now: Timestamp, out: &mut Out) -> Result<()> {
    match verb {
        Verb::List => content::mappings(client, out),
        Verb::Check(check) => check.run("mappings", out),
        Verb::Try(arguments) => attempt(&arguments, now, &mut std::io::stdin().lock(), out),
    }
}

fn attempt(arguments: &TryArguments, now: Timestamp, input: &mut dyn Read, out: &mut Out) -> Result<()> {
    let mut files = crate::content::gather(&arguments.content, &[])?;
    // Rules take a while to compile and are not needed here.
    files.retain(|f| f.path.starts_with("mappings"));
    let content = Content::compile(files);
    if let Some(error) = content.refused.first() {
        return Err(Failure::Content(error.to_string()).into());
    }
    let mut trial = Trial {
        content: &content,
        now,
        out,
        read: BTreeMap::new(),
        tried: 0,
        unread: 0,
        listed: Vec::new(),
        failed: None,
    };
    let mut each = |item| trial.item(item);
    // Whether it came to its end or was broken off shows in `failed`.
    let _ = match &arguments.file {
        Some(path) if !path.exists() => {
            return Err(Failure::NotFound(format!("{}: there is no such file", path.display())).into());
        }
        Some(path) => vertice_stream::read(path, &Progress::new(0), &mut each),
        None => vertice_stream::read_stream("stdin", input, &mut each),
    };
    trial.end()
}

/// Lines being tried.
struct Trial<'a> {
    content: &'a Content,
    now: Timestamp,
    out: &'a mut Out,
    /// How many each mapping read.
    read: BTreeMap<String, u64>,
    tried: u64,
    unread: u64,
    /// For `-o json`, which is one document at the end.
    listed: Vec<Value>,
    failed: Option<anyhow::Error>,
}

impl Trial<'_> {
    fn item(&mut self, item: Item) -> ControlFlow<()> {
        self.tried += 1;
        let told = match item {
            Item::Event(raw, _) => self.event(&raw),
            Item::Refused { number, reason, .. } => self.unread(&format!("record {number}: {reason}"), ""),
            Item::LeftOut(left_out) => self.unread(&format!("{}: {}", left_out.file, left_out.reason), ""),
        };
        match told {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn event(&mut self, raw: &RawEvent) -> Result<()> {
        let stamp = Stamp { position: Position(self.tried), now: self.now };
        let event = match self.content.mappings.normalize(stamp, raw) {
            Ok(event) => serde_json::to_value(event)?,
            Err(refusal) => return self.unread(&refusal.to_string(), &raw.line),
        };
        let mapping = text(&event, "/mapping");
        *self.read.entry(mapping.clone()).or_default() += 1;
        if self.out.format != Format::Table {
            return self.json(event);
        }
        self.out.parts(&[
            (Tint::Bold, &format!("{}. ", self.tried)),
            (Tint::Good, "read by "),
            (Tint::Bold, &mapping),
        ])?;
        facts(
            self.out,
            &[
                ("   happened", time(&event, "/timestamp")),
                ("   about", entity(&event)),
                ("   log sources", log_sources(&event)),
            ],
        )?;
        fields(&event, "   ", self.out)?;
        self.out.line("")
    }

    fn unread(&mut self, reason: &str, line: &str) -> Result<()> {
        self.unread += 1;
        if self.out.format != Format::Table {
            return self.json(json!({"refused": reason, "line": line}));
        }
        self.out.parts(&[
            (Tint::Bold, &format!("{}. ", self.tried)),
            (Tint::Bad, "not read: "),
            (Tint::None, reason),
        ])?;
        facts(self.out, &[("   as it came", line.to_owned())])?;
        self.out.line("")
    }

    fn json(&mut self, value: Value) -> Result<()> {
        if self.out.format == Format::Ndjson {
            return self.out.json(&value);
        }
        if self.listed.len() >= limits::LIST_ITEMS_MAX {
            return Err(Failure::Failed("too many lines for one document; `-o ndjson` has no bound".to_owned()).into());
        }
        self.listed.push(value);
        Ok(())
    }

    fn end(self) -> Result<()> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.out.format {
            Format::Json => self.out.json_list(&self.listed)?,
            Format::Ndjson => {}
            Format::Table => {
                let by: Vec<String> = self.read.iter().map(|(mapping, n)| format!("{n} by {mapping}")).collect();
                let by = if by.is_empty() { String::new() } else { format!(": {}", by.join(", ")) };
                self.out.line(&format!("{} of {} could be read{by}.", self.tried - self.unread, self.tried))?;
            }
        }
        if self.unread == 0 {
            return Ok(());
        }
        Err(Failure::Failed(format!("{} of {} could not be read", self.unread, self.tried)).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::printed;

    fn tried(format: Format, lines: &str) -> (String, Option<String>) {
        let arguments = TryArguments { file: None, content: Vec::new() };
        let mut failure = None;
        let text = printed(format, |out| {
            let now = "2026-01-02T03:04:05Z".parse().unwrap();
            failure = attempt(&arguments, now, &mut lines.as_bytes(), out).err().map(|e| e.to_string());
            Ok(())
        });
        (text, failure)
    }

    const LINE: &str = "Jan  2 03:04:05 web1 sshd[123]: Failed password for root from 203.0.113.9 port 4711 ssh2\n";

    #[test]
    fn a_line_is_shown_as_it_is_read() {
        let (text, failure) = tried(Format::Table, LINE);
        for wanted in [
            "1. read by sshd",
            "2026-01-02 03:04:05",
            "ip 203.0.113.9",
            "event.action",
            "failed_login",
            "1 of 1 could be read: 1 by sshd.",
        ] {
            assert!(text.contains(wanted), "{wanted} is not in {text}");
        }
        assert_eq!(failure, None);
    }

    #[test]
    fn what_can_not_be_read_is_named_and_the_rest_is_read() {
        let (text, failure) = tried(Format::Table, &format!("gibberish \x1b[31m\n{LINE}"));
        assert!(text.contains("1. not read: ") && text.contains("2. read by sshd"), "{text}");
        assert!(!text.contains('\x1b'));
        assert_eq!(failure.as_deref(), Some("1 of 2 could not be read"));
    }

    #[test]
    fn as_json_each_line_is_an_event_or_a_refusal() {
        let (text, _) = tried(Format::Ndjson, &format!("gibberish\n{LINE}"));
        let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert!(lines[0]["refused"].is_string() && lines[1]["mapping"] == "sshd", "{text}");
        let (text, _) = tried(Format::Json, LINE);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()[0]["entity"], "203.0.113.9");
    }
}
