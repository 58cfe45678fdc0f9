//! `vertice audit`: whether what was decided and done is as it was written, and what it was.
//!
//! Needs nothing but the file: no server, no data directory, no other file.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use vertice_model::Timestamp;
use vertice_store::PostgresSettings;
use vertice_store::audit::{self, Anchor, AuditError, Digest, Line, PublicKey, Tail, Trust, Verified};

use super::failure::Failure;
use super::migrate::Database;
use super::output::{Format, Out, Table, Tint};
use super::records::{facts, short, short_time, state, text, words};
use crate::config::Config;
use crate::limits;

const EXIT_CODES: &str = "
Exits with 0 when all of it is whole and sealed, 7 when it was changed, cut, or is not the one that is trusted,
8 when all is well up to where it is sealed and something comes after, which proves nothing.";

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Say whether the audit is as it was written, and where it is not
    #[command(after_help = format!("\
Examples:
  vertice audit verify
  vertice audit verify evidence/audit.ndjson --signed-by 3d40…660c
  vertice audit verify --at-least 1234 --head 9b1c…04fe     it once was this; it must go on from there
  vertice audit verify --shard 3                            of a shard in PostgreSQL, which DATABASE_URL names

Of a FILE without --signed-by the file's own key is believed, which finds accidents and whoever has not thought of it.
Keep the key that `vertice audit key` shows, and what this prints, where the machine can not change them.
{EXIT_CODES}"))]
    Verify(Known),
    /// Print what was decided and done
    #[command(after_help = format!("\
Examples:
  vertice audit export -o ndjson > audit-export.ndjson
  vertice audit export -o csv --since 2026-11-01T00:00:00Z --until 2026-12-01T00:00:00Z
  vertice audit export --entity 203.0.113.9
  vertice audit export evidence/audit.ndjson --threat 1f3a

It is verified first; of a file that is not whole nothing is printed. -o ndjson prints lines as they are in the
file, each with its hash. What belongs to what was selected is printed too: answers to a question, receipts of
an order.
{EXIT_CODES}"))]
    Export(Export),
    /// Show the public key that the audit of this machine is signed with
    Key,
}

/// Which file, and what is known of it from elsewhere.
#[derive(Args, Clone, Debug)]
pub struct Known {
    /// The file, or the directory that it lies in; without it, the configured data directory, and its key
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The audit of this shard in PostgreSQL, in place of a file
    #[arg(long, value_name = "N", conflicts_with = "file")]
    shard: Option<u32>,
    #[command(flatten)]
    database: Database,
    /// Believe only this key
    #[arg(long, value_name = "PUBLIC_KEY")]
    signed_by: Option<PublicKey>,
    /// There must be at least so many entries
    #[arg(long, value_name = "N")]
    at_least: Option<u64>,
    /// The hash that entry N must have
    #[arg(long, value_name = "HASH", requires = "at_least")]
    head: Option<Digest>,
}

/// What is printed.
#[derive(Args, Clone, Debug)]
pub struct Export {
    #[command(flatten)]
    known: Known,
    /// Only what was accepted at this time or later, such as 2026-01-02T03:04:05Z
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only what was accepted before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Only what belongs to this threat; the beginning of its id is enough
    #[arg(long, value_name = "ID")]
    threat: Option<String>,
    /// Only what touches this address, host or account
    #[arg(long, value_name = "NAME")]
    entity: Option<String>,
}

pub fn run(verb: Verb, load: impl FnOnce() -> Result<Config>, out: &mut Out) -> Result<()> {
    match verb {
        Verb::Verify(known) => verify(&known, load, out),
        Verb::Export(export) => export.print(load, out),
        Verb::Key => {
            let dir = load()?.data.dir;
            let none =
                || Failure::NotFound(format!("there is no audit in {} yet; `vertice up` makes it", dir.display()));
            let key = audit::public_key(&dir).map_err(failed)?.ok_or_else(none)?;
            match out.format {
                Format::Table => out.line(&key.to_string()),
                Format::Json | Format::Ndjson => out.json(&json!({"key": key})),
            }
        }
    }
}

/// Where an audit is, and what is trusted of it.
struct Place {
    file: PathBuf,
    /// Where it is a shard's, and no file.
    shard: Option<(PostgresSettings, u32)>,
    trust: Trust,
    /// Where the key comes from, in words.
    believed: &'static str,
}

impl Known {
    fn place(&self, load: impl FnOnce() -> Result<Config>) -> Result<Place> {
        let anchor = self.at_least.map(|entries| Anchor { entries, head: self.head });
        if let Some(shard) = self.shard {
            let dir = load()?.data.dir;
            let settings = self.database.settings(&dir)?;
            let own = audit::public_key(&dir).map_err(failed)?;
            let believed = believed(self.signed_by, own, "of the audit itself");
            let file = format!("shard {shard}").into();
            let trust = Trust { key: self.signed_by.or(own), anchor };
            return Ok(Place { file, shard: Some((settings, shard)), trust, believed });
        }
        let (file, own) = match &self.file {
            Some(dir) if dir.is_dir() => (audit::file_of(dir), None),
            Some(file) => (file.clone(), None),
            None => {
                let dir = load()?.data.dir;
                (audit::file_of(&dir), audit::public_key(&dir).map_err(failed)?)
            }
        };
        let believed = believed(self.signed_by, own, "of the file itself");
        Ok(Place { file, shard: None, trust: Trust { key: self.signed_by.or(own), anchor }, believed })
    }
}

/// Where the key comes from, in words.
fn believed(given: Option<PublicKey>, own: Option<PublicKey>, neither: &'static str) -> &'static str {
    match (given, own) {
        (Some(_), _) => "given",
        (None, Some(_)) => "of the data directory",
        (None, None) => neither,
    }
}

impl Place {
    fn verify<E: From<AuditError>>(&self, show: impl FnMut(&str) -> Result<(), E>) -> Result<Verified, E> {
        match &self.shard {
            Some((settings, shard)) => audit::verify_shard(settings, *shard, &self.trust, show),
            None => audit::verify(&self.file, &self.trust, show),
        }
    }
}

fn verify(known: &Known, load: impl FnOnce() -> Result<Config>, out: &mut Out) -> Result<()> {
    let place = known.place(load)?;
    let found = place.verify(|_| Ok(())).map_err(|error: AuditError| {
        let told = if out.format == Format::Table { Ok(()) } else { out.json(&broken(&error)) };
        told.err().unwrap_or_else(|| failed(error))
    })?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&whole(&found, place.believed))?,
        Format::Table => print(&found, place.believed, out)?,
    }
    sealed(&place.file, found.tail)
}

/// An error when something comes after what is sealed.
fn sealed(file: &std::path::Path, tail: Tail) -> Result<()> {
    if tail.is_empty() {
        return Ok(());
    }
    let Tail { entries, bytes } = tail;
    let behind = match (entries, bytes) {
        (entries, 0) => format!("{entries} entries"),
        (0, bytes) => format!("{bytes} bytes"),
        (entries, bytes) => format!("{entries} entries and {bytes} further bytes"),
    };
    Err(Failure::Unsealed(format!(
        "{}: {behind} behind what is sealed prove nothing: written by somebody else, or by a process that was killed \
         before it could seal them; the next start of `vertice up` makes that part again from the log",
        file.display()
    ))
    .into())
}

fn failed(error: AuditError) -> anyhow::Error {
    match &error {
        AuditError::Io { source, path, .. } if source.kind() == ErrorKind::NotFound => {
            Failure::NotFound(format!("there is no audit {}; `vertice up` makes it", path.display())).into()
        }
        AuditError::Broken { .. } | AuditError::Other { .. } => Failure::Audit(error.to_string()).into(),
        AuditError::Io { .. } | AuditError::NoSpace { .. } | AuditError::Away { .. } => error.into(),
    }
}

fn whole(found: &Verified, believed: &str) -> Value {
    let Verified { entries, checkpoints, bytes, judged, head, key, times, tail } = found;
    json!({
        "whole": true, "entries": entries, "checkpoints": checkpoints, "bytes": bytes, "judged": judged, "head": head,
        "key": key, "key_is": believed, "first": times.map(|t| t.0), "last": times.map(|t| t.1),
        "unsealed": {"entries": tail.entries, "bytes": tail.bytes},
    })
}

fn broken(error: &AuditError) -> Value {
    let (line, signed) = match error {
        AuditError::Broken { line, signed, .. } => (Some(line), Some(signed)),
        AuditError::Io { .. } | AuditError::NoSpace { .. } | AuditError::Away { .. } | AuditError::Other { .. } => {
            (None, None)
        }
    };
    json!({"whole": false, "reason": error.to_string(), "line": line, "signed": signed})
}

fn print(found: &Verified, believed: &str, out: &mut Out) -> Result<()> {
    let Verified { entries, checkpoints, bytes, judged, head, key, times, .. } = found;
    out.parts(&[
        (Tint::Good, "whole"),
        (Tint::None, &format!("  {entries} entries, {checkpoints} checkpoints, {bytes} bytes")),
    ])?;
    let at = |t: &Timestamp| short_time(&t.to_string());
    let span = times.map(|(first, last)| format!("{} to {}", at(&first), at(&last)));
    facts(
        out,
        &[
            ("accepted (UTC)", span.unwrap_or_default()),
            ("judged up to", format!("log position {judged}")),
            ("key", format!("{key} ({believed})")),
            ("head", head.to_string()),
        ],
    )?;
    out.line("")?;
    out.line("Hold on to this elsewhere. It finds an older copy, and a file that was made anew:")?;
    out.line(&format!("  vertice audit verify --signed-by {key} --at-least {entries} --head {head}"))
}

impl Export {
    fn print(self, load: impl FnOnce() -> Result<Config>, out: &mut Out) -> Result<()> {
        let verified = self.verified(load)?;
        let tail = match out.format {
            Format::Ndjson => self.each(&verified, |line, _| out.line(line))?,
            Format::Json => {
                out.line("[")?;
                let mut comma = "";
                let tail = self.each(&verified, |line, _| {
                    out.line(&format!("{comma}{line}"))?;
                    comma = ",";
                    Ok(())
                })?;
                out.line("]")?;
                tail
            }
            Format::Table => {
                let mut table = Table::new(&["N", "TIME (UTC)", "KIND", "WHO", "ABOUT", "WHAT…"]);
                let mut rows = 0;
                let tail = self.each(&verified, |_, line| {
                    rows += 1;
                    if rows > limits::LIST_ITEMS_MAX {
                        let more = format!("more than {} entries; -o ndjson prints them all", limits::LIST_ITEMS_MAX);
                        return Err(Failure::Usage(more).into());
                    }
                    table.row(row(line));
                    Ok(())
                })?;
                out.table(&table)?;
                tail
            }
        };
        sealed(&verified.file, tail)
    }

    /// Prints comma-separated values (RFC 4180), each row on a line of its own.
    pub fn csv(self, load: impl FnOnce() -> Result<Config>, out: &mut Out) -> Result<()> {
        let verified = self.verified(load)?;
        out.line("n,time,of,kind,actor,threat,entities,record,hash")?;
        let tail = self.each(&verified, |_, line| {
            let Line { n, at, of, kind, actor, threat, entities, record, hash, .. } = line;
            let (entities, record) = (entities.join(" "), record.to_string());
            let (n, at, hash) = (n.to_string(), at.to_string(), hash.to_string());
            let threat = threat.as_deref().unwrap_or_default();
            let cells: [&str; 9] = [&n, &at, of, kind, actor, threat, &entities, &record, &hash];
            out.line(&cells.map(csv_cell).join(","))
        })?;
        sealed(&verified.file, tail)
    }

    /// The file, once it is known to be whole: nothing is printed of another.
    fn verified(&self, load: impl FnOnce() -> Result<Config>) -> Result<Place> {
        let place = self.known.place(load)?;
        place.verify(|_| Ok::<_, AuditError>(())).map_err(failed)?;
        Ok(place)
    }

    /// Shows what is selected.
    fn each(self, verified: &Place, mut show: impl FnMut(&str, &Line<'_, Value>) -> Result<()>) -> Result<Tail> {
        let mut selection = Selection { asked: self, ids: BTreeSet::new() };
        let found = verified.verify(|text| {
            let line: Line<'_, Value> = serde_json::from_str(text)?;
            if selection.takes(&line)? { show(text, &line) } else { Ok(()) }
        });
        let found = found.map_err(|error: anyhow::Error| error.downcast().map_or_else(|other| other, failed))?;
        Ok(found.tail)
    }
}

/// What is selected, and what belongs to it.
struct Selection {
    asked: Export,
    /// Runs, questions, containments and orders of what was selected. An entry that only names one of them, such as an
    /// answer, comes after the one that introduced it.
    ids: BTreeSet<String>,
}

impl Selection {
    fn takes(&mut self, line: &Line<'_, Value>) -> Result<bool> {
        let Export { since, until, threat, entity, .. } = &self.asked;
        let of_time = since.is_none_or(|since| line.at >= since) && until.is_none_or(|until| line.at < until);
        if threat.is_none() && entity.is_none() {
            return Ok(of_time);
        }
        let names = |wanted: &String| line.entities.iter().any(|name| name.eq_ignore_ascii_case(wanted));
        let begins = |id: &String| line.threat.as_ref().is_some_and(|t| t.starts_with(&id.to_ascii_lowercase()));
        let said = threat.as_ref().is_none_or(begins) && entity.as_ref().is_none_or(names);
        let ids = ["run_id", "question_id", "containment_id", "order_id"];
        let ids = ids.iter().filter_map(|name| line.record.get(name)?.as_str());
        if !said && !ids.clone().any(|id| self.ids.contains(id)) {
            return Ok(false);
        }
        self.ids.extend(ids.map(str::to_owned));
        if self.ids.len() > limits::AUDIT_IDS_MAX {
            let told = format!("more than {} things belong to it; select less", limits::AUDIT_IDS_MAX);
            return Err(Failure::Usage(told).into());
        }
        Ok(of_time)
    }
}

fn row(line: &Line<'_, Value>) -> Vec<(Tint, String)> {
    let about = match (&line.entities[..], &line.threat) {
        ([], Some(threat)) => format!("threat {}", short(threat)),
        ([], None) => String::new(),
        (names, _) => names.join(" "),
    };
    vec![
        (Tint::Faint, line.n.to_string()),
        (Tint::None, short_time(&line.at.to_string())),
        (Tint::Bold, line.kind.to_string()),
        (Tint::None, line.actor.to_string()),
        (Tint::None, about),
        (Tint::None, what(&line.record)),
    ]
}

/// A record in a few words: of what is there, what a person asks for first.
fn what(record: &Value) -> String {
    let named =
        ["/playbook_id", "/action_id", "/action/verb", "/verdict", "/reason", "/note", "/happened", "/operators"];
    let mut parts: Vec<String> = named.iter().map(|pointer| text(record, pointer)).collect();
    parts.insert(3, state(record, "/state"));
    parts.push(record.get("approve").map_or(String::new(), |a| if a == true { "yes".into() } else { "no".into() }));
    parts.push(record.get("outcome").map(words).unwrap_or_default());
    let digest = record.get("digest").and_then(Value::as_str).map(|d| format!("content {}", short(d)));
    parts.extend(digest);
    let steps = record.get("steps").and_then(Value::as_array).into_iter().flatten();
    parts.extend(steps.map(|step| format!("{} {}", text(step, "/action_id"), state(step, "/state"))));
    parts.retain(|part| !part.is_empty());
    parts.join("; ")
}

/// A cell of comma-separated values. One that a spreadsheet would take for a formula is made text: an attacker chooses
/// names of accounts.
fn csv_cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    format!("\"{}{}\"", if formula { "'" } else { "" }, text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_text_whatever_it_begins_with() {
        for (text, cell) in [
            ("a", "\"a\""),
            ("a,\"b\"", "\"a,\"\"b\"\"\""),
            ("=HYPERLINK(1)", "\"'=HYPERLINK(1)\""),
            ("-1", "\"'-1\""),
            ("@x", "\"'@x\""),
            ("", "\"\""),
        ] {
            assert_eq!(csv_cell(text), cell);
        }
    }

    #[test]
    fn what_belongs_to_what_was_selected_is_selected() {
        let export = |threat: Option<&str>, entity: Option<&str>, since: Option<&str>| Export {
            known: Known {
                file: None,
                shard: None,
                database: Database::default(),
                signed_by: None,
                at_least: None,
                head: None,
            },
            since: since.map(|s| s.parse().unwrap()),
            until: None,
            threat: threat.map(str::to_owned),
            entity: entity.map(str::to_owned),
        };
        let line = |n: u64, rest: &str, record: &str| {
            let zeros = "0".repeat(64);
            format!(
                r#"{{"n":{n},"at":"2026-03-0{n}T00:00:00Z","of":"{n}","kind":"k","actor":"a"{rest},"record":{record},"before":"{zeros}","hash":"{zeros}"}}"#
            )
        };
        let lines = [
            line(1, "", r#"{"digest":"d"}"#),
            line(2, r#","threat":"ab12","entities":["Web-1"]"#, r#"{"run_id":"r1"}"#),
            line(3, r#","threat":"ab12""#, r#"{"run_id":"r1","question_id":"q1"}"#),
            line(4, "", r#"{"question_id":"q1"}"#),
            line(5, r#","threat":"cd34""#, r#"{"run_id":"r2"}"#),
            line(6, "", r#"{"question_id":"q2"}"#),
        ];
        let selected = |asked: Export| -> Vec<u64> {
            let mut selection = Selection { asked, ids: BTreeSet::new() };
            let lines = lines.iter().map(|l| serde_json::from_str::<Line<'_, Value>>(l).unwrap());
            lines.filter(|l| selection.takes(l).unwrap()).map(|l| l.n).collect()
        };
        assert_eq!(selected(export(None, None, None)), [1, 2, 3, 4, 5, 6]);
        assert_eq!(selected(export(None, None, Some("2026-03-05T00:00:00Z"))), [5, 6]);
        assert_eq!(selected(export(Some("AB"), None, None)), [2, 3, 4]);
        assert_eq!(selected(export(None, Some("web-1"), None)), [2, 3, 4]);
        assert_eq!(selected(export(None, Some("web-1"), Some("2026-03-03T00:00:00Z"))), [3, 4]);
        assert_eq!(selected(export(Some("cd"), Some("web-1"), None)), [] as [u64; 0]);
    }

    #[test]
    fn a_record_is_told_in_a_few_words() {
        let run = json!({"playbook_id": "p", "state": "ended", "steps": [
            {"action_id": "block", "state": {"is": "simulated"}}, {"action_id": "tell", "state": "done"}]});
        assert_eq!(what(&run), "p; ended; block simulated; tell done");
        assert_eq!(what(&json!({"question_id": "q", "approve": false})), "no");
        assert_eq!(what(&json!({"outcome": {"failed": {"reason": "r", "retry": true}}})), "failed reason r, retry yes");
        assert_eq!(what(&json!({"digest": "0123456789"})), "content 01234567");
    }
}
