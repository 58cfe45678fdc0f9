//! `vertice rules|mappings|playbooks check`: what is wrong in files, with its place.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use vertice_engine::{Compiled, Content, ContentError, ContentFile};
use vertice_sigma::LogSource;

use super::super::Failure;
use super::super::content::counted;
use super::super::output::{Format, Out, Tint};
use super::{content_files, of_kind, shown_path};
use crate::content;

/// A field is taken for a slip of another only when that one is this many times as usual.
const USUAL_TIMES: usize = 5;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vertice rules check sigma/rules
  vertice rules check my-rules --strict && echo ready
  vertice rules check my-rules -o ndjson | jq -r .reason

A finding is FILE:LINE:COLUMN, what is wrong, and what was meant. `refused` can not be used, and the rule is
left out wherever it is loaded; `warning` is used as it is written and hardly meant. A correlation and the rules
it counts are checked together: name all their files. Needs no server.

Exit codes:
  0  every file can be used                    3  there is no such file, or no rule file in the directory
  1  there are warnings, and --strict is given 6  something is refused
  2  the command line is wrong")]
pub struct Arguments {
    /// The files and directories to check; a directory is walked
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Warnings are failures too
    #[arg(long)]
    strict: bool,
    /// No warnings, only what is refused
    #[arg(long, conflicts_with = "strict")]
    quiet: bool,
}

/// Something that was found.
#[derive(Debug)]
struct Finding {
    refused: bool,
    error: ContentError,
}

/// Checks rule files.
pub fn run(arguments: &Arguments, out: &mut Out) -> Result<()> {
    let files = content_files("rules", &arguments.paths)?;
    let content = Content::compile(files.clone());
    let mut findings = refusals(&content);
    if !arguments.quiet {
        findings.extend(warnings(&files, &content).into_iter().map(|error| Finding { refused: false, error }));
    }
    tell("rules", files.len(), findings, arguments.strict, out)
}

/// Checks files of another kind.
pub fn checked(kind: &str, paths: &[PathBuf], out: &mut Out) -> Result<()> {
    let files = content_files(kind, paths)?;
    let count = files.len();
    tell(kind, count, refusals(&Content::compile(files)), false, out)
}

fn refusals(content: &Compiled) -> Vec<Finding> {
    content.refused.iter().map(|error| Finding { refused: true, error: error.clone() }).collect()
}

fn tell(kind: &str, files: usize, mut findings: Vec<Finding>, strict: bool, out: &mut Out) -> Result<()> {
    findings.sort_by(|a, b| {
        let place = |f: &Finding| (f.error.line, f.error.column);
        (&a.error.path, place(a), &a.error.reason).cmp(&(&b.error.path, place(b), &b.error.reason))
    });
    let mut refused_files: Vec<&str> = findings.iter().filter(|f| f.refused).map(|f| f.error.path.as_str()).collect();
    refused_files.dedup();
    let (refused, warnings) = (refused_files.len(), findings.iter().filter(|f| !f.refused).count());
    match out.format {
        Format::Table => {
            for finding in &findings {
                let (tint, word) = if finding.refused { (Tint::Bad, "refused: ") } else { (Tint::Warn, "warning: ") };
                let told = finding.error.to_string();
                let place = told.strip_suffix(&finding.error.reason).unwrap_or(&told);
                out.parts(&[(Tint::Bold, place), (tint, word), (Tint::None, &finding.error.reason)])?;
            }
            let warned = if warnings == 0 { String::new() } else { format!("; {}", counted(warnings, "warning")) };
            out.line(&format!("{kind}: {} of {} can be used{warned}.", files - refused, counted(files, "file")))?;
        }
        Format::Json => {
            let of = |refused: bool| -> Vec<&ContentError> {
                findings.iter().filter(|f| f.refused == refused).map(|f| &f.error).collect()
            };
            out.json(&json!({"files": files, "refused": of(true), "warnings": of(false)}))?;
        }
        Format::Ndjson => {
            for finding in &findings {
                let mut line = json!(finding.error);
                line["level"] = Value::from(if finding.refused { "refused" } else { "warning" });
                out.json(&line)?;
            }
        }
    }
    if refused > 0 {
        return Err(Failure::Content(format!("refused: {}", counted(refused, "file"))).into());
    }
    if strict && warnings > 0 {
        return Err(Failure::Failed(format!("{} with --strict", counted(warnings, "warning"))).into());
    }
    Ok(())
}

/// What is hardly meant, over all files.
fn warnings(files: &[ContentFile], content: &Compiled) -> Vec<ContentError> {
    let mut found = Vec::new();
    for file in files {
        let path = shown_path(&file.path);
        found.extend(vertice_sigma::lint(path, &file.text).into_iter().map(|w| ContentError {
            path: w.path,
            line: u64::from(w.line),
            column: u64::from(w.column),
            reason: w.reason,
        }));
    }
    let built_in = Content::compile(of_kind(content::gather(&[], &[]).unwrap_or_default(), "rules").collect());
    found.extend(idle_selections(content));
    found.extend(taken_ids(content, &built_in));
    found.extend(odd_fields(content, &built_in));
    found
}

/// A warning about a rule as a whole.
fn about(rule: &vertice_sigma::Rule, reason: String) -> ContentError {
    ContentError { path: shown_path(&rule.path).to_owned(), line: u64::from(rule.line), column: 1, reason }
}

fn idle_selections(content: &Compiled) -> Vec<ContentError> {
    let rules = content.rules.set().iter().map(|(_, rule)| rule);
    rules
        .flat_map(|rule| {
            let told = |name| about(rule, format!("selection `{name}` is not asked for by the condition"));
            rule.idle_selections().into_iter().map(told)
        })
        .collect()
}

/// Ids that a built-in rule has: beside it, the rule would be refused. The built-in rule's own file is no other rule.
fn taken_ids(content: &Compiled, built_in: &Compiled) -> Vec<ContentError> {
    let taken: BTreeMap<&str, &str> =
        built_in.rules.set().iter().filter_map(|(_, r)| Some((r.id.as_deref()?, r.path.as_str()))).collect();
    let rules = content.rules.set().iter().map(|(_, rule)| rule);
    rules
        .filter_map(|rule| {
            let by = taken.get(rule.id.as_deref()?).filter(|by| !rule.path.ends_with(**by))?;
            Some(about(rule, format!("`id`: it is also that of the built-in {by}, beside which this rule is refused")))
        })
        .collect()
}

/// Fields that differ only in case or separators from one that rules of the same log source usually ask for. Names
/// of fields are compared as they are written, so such a rule never matches.
fn odd_fields(content: &Compiled, built_in: &Compiled) -> Vec<ContentError> {
    let plain = |field: &str| field.to_ascii_lowercase().replace(['_', '-', '.', ' '], "");
    let mut uses: BTreeMap<(&LogSource, String), BTreeMap<&str, usize>> = BTreeMap::new();
    for (_, rule) in content.rules.set().iter().chain(built_in.rules.set().iter()) {
        for field in rule.asked_fields() {
            *uses.entry((&rule.log_source, plain(field))).or_default().entry(field).or_default() += 1;
        }
    }
    let mut found = Vec::new();
    for (_, rule) in content.rules.set().iter() {
        for field in rule.asked_fields() {
            let Some(written) = uses.get(&(&rule.log_source, plain(field))) else { continue };
            let Some((usual, times)) = written.iter().max_by_key(|(_, times)| **times) else { continue };
            if *usual != field && *times >= USUAL_TIMES * written[field] {
                let reason = format!("field `{field}`; rules of this log source ask for `{usual}`, and case counts");
                found.push(about(rule, reason));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::cli::failure::exit_code;
    use crate::cli::output::tests::printed;

    const GOOD: &str = "title: A\nid: 5e1f8a4e-6c1f-4a53-9a0c-0d4b9c7d1a11\nstatus: test\ndescription: d\n\
        logsource: {category: dns}\ndetection: {sel: {query: x}, condition: sel}\nlevel: low\n";

    fn check(format: Format, strict: bool, files: &[(&str, &str)]) -> (String, Option<Failure>) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::File::create(dir.path().join(name)).unwrap().write_all(text.as_bytes()).unwrap();
        }
        let mut failure = None;
        let text = printed(format, |out| {
            let arguments = Arguments { paths: vec![dir.path().to_owned()], strict, quiet: false };
            failure = run(&arguments, out).err().map(|e| e.downcast().unwrap());
            Ok(())
        });
        (text.replace(&format!("{}/", dir.path().display()), ""), failure)
    }

    #[test]
    fn a_refused_file_is_named_with_its_place_and_the_others_are_counted() {
        let bad = "title: B\nid: 5e1f8a4e-6c1f-4a53-9a0c-0d4b9c7d1a12\nstatus: test\ndescription: d\nlevel: low\n\
                   logsource: {category: dns}\ndetection: {sel: {query|contain: x}, condition: sel}\n";
        let (text, failure) = check(Format::Table, false, &[("a.yml", GOOD), ("b.yml", bad)]);
        let wanted = "b.yml:7:19: refused: `sel`, field `query|contain`: unknown modifier `contain`; `contains` is meant?\n\
                      rules: 1 of 2 files can be used.\n";
        assert_eq!(text, wanted);
        assert_eq!(failure, Some(Failure::Content("refused: 1 file".to_owned())));
        let (text, _) = check(Format::Ndjson, false, &[("b.yml", bad)]);
        let error: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!((&error["line"], &error["column"], &error["level"]), (&json!(7), &json!(19), &json!("refused")));
    }

    #[test]
    fn good_files_are_no_failure() {
        let (text, failure) = check(Format::Table, true, &[("a.yml", GOOD)]);
        assert_eq!((text.as_str(), failure), ("rules: 1 of 1 file can be used.\n", None));
        let (text, _) = check(Format::Json, false, &[("a.yml", GOOD)]);
        let found: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(found, json!({"files": 1, "refused": [], "warnings": []}));
    }

    #[test]
    fn warnings_fail_only_a_strict_check() {
        let odd = "title: B\nid: 5e1f8a4e-6c1f-4a53-9a0c-0d4b9c7d1a12\nstatus: test\ndescription: d\nlevel: low\n\
                   logsource: {category: dns}\ndetection: {sel: {Query: x}, left: {query: y}, condition: sel}\n";
        let rules: Vec<(String, String)> =
            (0..9).map(|n| (format!("{n}.yml"), GOOD.replace("1a11", &format!("1a2{n}")))).collect();
        let mut files: Vec<(&str, &str)> = rules.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        files.push(("b.yml", odd));
        let (text, failure) = check(Format::Table, false, &files);
        let wanted = "b.yml:1:1: warning: field `Query`; rules of this log source ask for `query`, and case counts\n\
                      b.yml:1:1: warning: selection `left` is not asked for by the condition\n\
                      rules: 10 of 10 files can be used; 2 warnings.\n";
        assert_eq!((text.as_str(), failure), (wanted, None));
        let (_, failure) = check(Format::Json, true, &files);
        assert_eq!(failure, Some(Failure::Failed("2 warnings with --strict".to_owned())));
    }

    #[test]
    fn what_is_not_there_is_not_found_and_said() {
        let (_, failure) = check(Format::Table, false, &[("README.md", "")]);
        let Some(Failure::NotFound(told)) = failure else { panic!("{failure:?}") };
        assert!(told.ends_with(": there is no file that ends with .yml or .yaml"), "{told}");
        let mut out = Out::new(Box::new(std::io::sink()), Format::Table, None, false);
        let missing = checked("mappings", &[PathBuf::from("no/such")], &mut out).unwrap_err();
        assert_eq!(exit_code(&missing), 3);
        let (text, failure) = check(Format::Table, false, &[("a.yml", &GOOD.replace("level", "levle"))]);
        assert!(text.contains("a.yml:7:1: warning: `levle` is not read; `level` is meant?"), "{text}");
        assert!(text.contains("a.yml:1:1: warning: `level` is missing") && failure.is_none(), "{text}");
    }
}
