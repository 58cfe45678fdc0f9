//! `vertice playbooks import` and `export`: CACAO 2.0.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;
use vertice_engine::ContentFile;
use vertice_engine::decide::cacao::{self, Imported};

use super::super::Failure;
use super::super::arguments::ContentArguments;
use super::super::content::counted;
use super::super::output::{Format, Out, Tint};
use super::{named, read, refused, remark};
use crate::config::Config;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vertice playbook import theirs.json > my-playbooks/theirs.yml
  vertice playbook import theirs.json --to my-playbooks        under the name that it has
  vertice playbook import theirs.json -o json | jq .unmapped

What was exported here comes back as it was. Of others, each step becomes an action without a verb: the playbook is
refused when it is loaded until a person has chosen a verb of ours for each, with its parameters, and has said when it
is due. What their steps would run (shells, requests, with passwords of their own) is never run. What CACAO said is
kept in the file and exported again. Needs no server; see docs/playbooks.md.

Exit codes:
  0  it is read whole                          3  there is no such file
  2  the command line is wrong                 6  it is refused: what is wrong, by its JSON path")]
pub struct ImportArguments {
    /// The CACAO document; `-` for standard input
    file: PathBuf,
    /// Write the playbook into this directory; a file that is there is left alone
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vertice playbook export brute_force_response > theirs.json
  vertice playbook export my-playbooks/block.yml

Importing it gives an equal playbook. What CACAO has no word for stands in an extension; what was imported and not
changed since is given back as it came. Needs no server.

Exit codes:
  0  it is written                             3  there is no such playbook
  2  the command line is wrong                 6  the playbook is refused")]
pub struct ExportArguments {
    /// The playbook: its file, or the id of one that is built in or configured
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    content: ContentArguments,
}

pub fn import(arguments: &ImportArguments, out: &mut Out) -> Result<()> {
    let file = ContentFile { path: arguments.file.display().to_string(), text: read(&arguments.file)? };
    let imported = match cacao::import(&file) {
        Ok(imported) => imported,
        Err(errors) => return refused(&errors),
    };
    if let Some(dir) = &arguments.to {
        return kept(dir, &imported, out);
    }
    match out.format {
        Format::Json | Format::Ndjson => out.json(&json!({
            "file_name": imported.file_name,
            "text": imported.text,
            "unmapped": imported.unmapped,
            "remarks": imported.remarks,
        })),
        Format::Table => {
            out.text(&imported.text)?;
            told(&imported).iter().for_each(|line| remark(line));
            Ok(())
        }
    }
}

fn kept(dir: &Path, imported: &Imported, out: &mut Out) -> Result<()> {
    let path = dir.join(&imported.file_name);
    let mut file = match std::fs::File::create_new(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!(Failure::Failed(format!("{}: it is there already, and is left alone", path.display())))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            bail!(Failure::NotFound(format!("{}: there is no such directory", dir.display())))
        }
        Err(e) => return Err(e).with_context(|| format!("writing {}", path.display())),
    };
    file.write_all(imported.text.as_bytes()).with_context(|| format!("writing {}", path.display()))?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&json!({
            "path": path.display().to_string(),
            "unmapped": imported.unmapped,
            "remarks": imported.remarks,
        })),
        Format::Table => {
            out.line(&path.display().to_string())?;
            told(imported).iter().try_for_each(|line| out.parts(&[(Tint::Warn, line)]))
        }
    }
}

/// What a person should know about what was imported.
fn told(imported: &Imported) -> Vec<String> {
    let mut lines = imported.remarks.clone();
    if !imported.unmapped.is_empty() {
        let count = counted(imported.unmapped.len(), "action");
        let names = imported.unmapped.join(", ");
        lines.push(format!("it is refused until a verb is chosen for {count} ({names}) and a condition is written"));
    }
    lines
}

pub fn export(arguments: &ExportArguments, config: &Config, out: &mut Out) -> Result<()> {
    let file = named(&arguments.file, config, &arguments.content)?;
    let exported = match cacao::export(&file) {
        Ok(exported) => exported,
        Err(errors) => return refused(&errors),
    };
    match out.format {
        Format::Ndjson => out.json(&exported.document)?,
        Format::Table | Format::Json => out.text(&exported.text())?,
    }
    exported.remarks.iter().for_each(|line| remark(line));
    Ok(())
}
