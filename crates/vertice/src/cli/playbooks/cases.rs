//! `vertice playbooks test`: the cases beside playbook files.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use vertice_engine::decide::{Playbook, cases};
use vertice_engine::{ContentError, ContentFile};

use super::super::Failure;
use super::super::output::{Format, Out, Tint};
use super::super::rules::{beside, content_files, shown_path};
use super::refused;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vertice playbook test my-playbooks
  vertice playbook test my-playbooks/block.yml

The cases of my-playbooks/block.yml are in my-playbooks/cases/block.yml: threats in short form, and what becomes of
each step:

  - title: A guesser is blocked once a person said so
    threat: brute_force_detected high 0.9 ip=203.0.113.9 detections=40
    expect:
      - block is asked on 203.0.113.9 for 3600 s
      - \"block asks: Block 203.0.113.9?\"
  - title: A scan is no guessing
    threat: port_scan_detected high 0.9 ip=203.0.113.9
    expect: []

There must be a threat for which the playbook runs and one for which it does not. Needs no server.

Exit codes:
  0  every case holds                          3  there is no such file, no playbook, or no case at all
  1  a case does not hold                      6  a playbook is refused
  2  the command line is wrong")]
pub struct Arguments {
    /// The playbook files and directories whose cases are played; a directory is walked
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

pub fn run(arguments: &Arguments, out: &mut Out) -> Result<()> {
    let mut without = Vec::new();
    let (mut held, mut failed, mut files) = (0, 0, Vec::new());
    for file in content_files("playbooks", &arguments.paths)? {
        let file = ContentFile { path: shown_path(&file.path).to_owned(), ..file };
        refused(&Playbook::read(&file).err().unwrap_or_default())?;
        let Some(cases) = beside(Path::new(&file.path))? else {
            without.push(file.path);
            continue;
        };
        let errors = match cases::check(&file, &cases) {
            Ok(count) => {
                held += count;
                Vec::new()
            }
            Err(errors) => errors,
        };
        failed += errors.len();
        let record = json!({"path": cases.path, "holds": errors.is_empty(), "refused": errors});
        match out.format {
            Format::Table => errors.iter().try_for_each(|error| told(error, out))?,
            Format::Ndjson => out.json(&record)?,
            Format::Json => files.push(record),
        }
    }
    end(&without, held, failed, &files, out)
}

/// A case that does not hold: its place, and what came instead, which has several lines.
fn told(error: &ContentError, out: &mut Out) -> Result<()> {
    let place = format!("{}:{}: ", error.path, error.line);
    let mut lines = error.reason.lines();
    let first = lines.next().unwrap_or_default();
    out.parts(&[(Tint::Bold, &place), (Tint::Bad, "does not hold: "), (Tint::None, first)])?;
    lines.try_for_each(|line| out.line(&format!("  {line}")))
}

fn end(without: &[String], held: usize, failed: usize, files: &[Value], out: &mut Out) -> Result<()> {
    match out.format {
        Format::Json => out.json_list(files)?,
        Format::Ndjson => {}
        Format::Table => {
            for path in without {
                out.parts(&[(Tint::Warn, "without cases: "), (Tint::None, path)])?;
            }
            out.line(&told_of(held, failed))?;
        }
    }
    match (held, failed) {
        (0, 0) => {
            let none = "there is no case; those of DIR/NAME.yml are looked for in DIR/cases/NAME.yml";
            Err(Failure::NotFound(none.to_owned()).into())
        }
        (_, 0) => Ok(()),
        (_, 1) => Err(Failure::Failed("cases: 1 does not hold".to_owned()).into()),
        (_, failed) => Err(Failure::Failed(format!("cases: {failed} do not hold")).into()),
    }
}

/// A file of cases of which one does not hold counts for none.
fn told_of(held: usize, failed: usize) -> String {
    match failed {
        0 => format!("cases: {held} hold."),
        _ => format!("cases: {failed} not as they say; of the files without a fault {held} hold."),
    }
}
