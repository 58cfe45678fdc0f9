//! `vertice rules explain`: a rule asked of an event, condition by condition.

use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};
use vertice_engine::{Content, Stamp};
use vertice_model::{Event, Position, RawEvent, Timestamp};
use vertice_sigma::{Rule, RuleIndex};
use vertice_store::{Check, OpenError, Options, Store};
use vertice_stream::{Item, Progress};

use super::super::Failure;
use super::super::arguments::ContentArguments;
use super::super::client::Client;
use super::super::output::{Format, Out, Tint};
use super::super::tree::Node;
use super::told::{Nearness, Told};
use super::{is_there, loaded, rule_files, shown_path, with_mappings};
use crate::clock;
use crate::config::Config;

/// Least characters of an id's beginning: fewer would name another rule tomorrow.
const ID_CHARS_MIN: usize = 4;

/// Rules of one file that are explained; a person reads no more.
const RULES_SHOWN: usize = 20;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vertice rules explain my-rules/whoami.yml evidence.evtx
  vertice rules explain c89cca8b auth.log --nth 3
  tail -1 eve.json | vertice rules explain 4c77fb6b -
  vertice rules explain 4c77fb6b 1842                  the event at position 1842 of the server's log
  vertice rules explain 4c77fb6b 1842 --data DIR       the same, of a data directory that no server has open

Of a file with several events the nearest is explained: one that matches, else one of the rule's log source of
which most holds; --nth takes another. Exits with 0 whether or not the rule matches; `-o json` says it as
`matches`. Exit code 3: no such rule or event; 6: the rule is refused.")]
pub struct Arguments {
    /// A rule file, or the id of a loaded rule, or at least four characters of its beginning
    rule: String,
    /// A file of any form that `vertice replay` reads, `-` for standard input, or a position of the log
    event: String,
    /// The event of this number in the file, from 1
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    nth: Option<u64>,
    /// The data directory whose log is meant by a position; without it the server is asked
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    content: ContentArguments,
}

/// An event to be explained, and which of how many it is.
struct Found {
    event: Event,
    number: u64,
    of: u64,
}

pub fn run(arguments: &Arguments, client: &Client, config: &Config, out: &mut Out) -> Result<()> {
    let (content, rules) = rule(&arguments.rule, config, &arguments.content)?;
    let found = match position(&arguments.event) {
        Some(position) => logged(&content, position, arguments.data.as_deref(), client)?,
        None => nearest(&content, &rules, &arguments.event, arguments.nth, &mut std::io::stdin().lock())?,
    };
    print(&content, &rules, &found, out)
}

/// A position of the log, unless there is a file of that name.
fn position(event: &str) -> Option<Position> {
    event.parse().ok().filter(|_| !is_there(event)).map(Position)
}

/// The rules that are meant, and the content that they are in.
fn rule(named: &str, config: &Config, more: &ContentArguments) -> Result<(Content, Vec<RuleIndex>)> {
    let loaded = loaded(config, more)?;
    if is_there(named) {
        let content = with_mappings(rule_files(&[PathBuf::from(named)])?, loaded)?;
        let rules = content.rules.set().iter().map(|(index, _)| index).take(RULES_SHOWN).collect();
        return Ok((content, rules));
    }
    let content = Content::compile(loaded);
    let set = content.rules.set();
    let by = |is: &dyn Fn(&Rule) -> bool| -> Vec<RuleIndex> {
        set.iter().filter(|(_, rule)| is(rule)).map(|(index, _)| index).collect()
    };
    let mut found = by(&|rule| rule.key() == named || rule.title.eq_ignore_ascii_case(named));
    if found.is_empty() && named.len() >= ID_CHARS_MIN {
        found = by(&|rule| rule.key().starts_with(named));
    }
    match found.as_slice() {
        [_] => Ok((content, found)),
        [] => {
            let told = format!(
                "{named}: there is no such file, and none of the {} rules that are loaded has this id or begins so; \
                 --rules DIR loads more",
                set.len()
            );
            Err(Failure::NotFound(told).into())
        }
        several => {
            let names: Vec<&str> = several.iter().take(5).map(|index| set.rule(*index).key()).collect();
            Err(Failure::Usage(format!("{named}: {} rules begin so: {}", several.len(), names.join(", "))).into())
        }
    }
}

/// The event at a position of a log.
fn logged(content: &Content, at: Position, data: Option<&Path>, client: &Client) -> Result<Found> {
    let missing = || Failure::NotFound(format!("there is no event at log position {at}"));
    let (received, raw) = match data {
        Some(dir) => {
            let store = open(dir)?;
            let found = store.event(0, at)?;
            store.close()?;
            let (stamp, raw) = found.ok_or_else(missing)?;
            (stamp.now, raw)
        }
        None => {
            let answer = client.get(&format!("/api/v1/events/{at}"), &[])?;
            read_logged(&answer).context("reading the server's answer")?
        }
    };
    let event = content.mappings.normalize(Stamp { position: at, now: received }, &raw);
    let event = event.map_err(|refusal| Failure::Failed(format!("the event at log position {at}: {refusal}")))?;
    Ok(Found { event, number: 1, of: 1 })
}

/// The log of a data directory that no server has open.
pub fn open(dir: &Path) -> Result<Store> {
    if !dir.join("vertice.db").is_file() {
        return Err(Failure::NotFound(format!("{}: there is no log", dir.display())).into());
    }
    let options = Options { check: Check::AfterCrash, ..Options::default() };
    Store::open(dir, Arc::new(clock::wall), options).map_err(|error| match error {
        OpenError::InUse { .. } => Failure::Usage(format!("{error}; without --data it is asked")).into(),
        error => error.into(),
    })
}

/// When a logged event was received, and what it says, from the API's answer.
pub fn read_logged(answer: &Value) -> Result<(Timestamp, RawEvent)> {
    let member = |name: &str| answer.get(name).cloned().unwrap_or(Value::Null);
    Ok((serde_json::from_value(member("received"))?, serde_json::from_value(member("raw"))?))
}

/// The event of a file that is explained.
fn nearest(
    content: &Content,
    rules: &[RuleIndex],
    file: &str,
    nth: Option<u64>,
    input: &mut dyn Read,
) -> Result<Found> {
    let now = clock::wall();
    let (mut number, mut refused) = (0_u64, None);
    let mut best: Option<(Option<Nearness>, Event, u64)> = None;
    let mut each = |item| {
        number += 1;
        if nth.is_some_and(|nth| number < nth) {
            return ControlFlow::Continue(());
        }
        let read = match item {
            Item::Event(raw, _) => {
                let stamp = Stamp { position: Position(number), now };
                content.mappings.normalize(stamp, &raw).map_err(|refusal| refusal.to_string())
            }
            Item::Refused { reason, .. } => Err(reason.to_string()),
            Item::LeftOut(left_out) => Err(format!("{}: {}", left_out.file, left_out.reason)),
        };
        match read {
            Ok(event) => {
                let near = rules.iter().map(|rule| Told::of(content, *rule, &event).nearness()).max();
                if best.as_ref().is_none_or(|(nearest, ..)| near > *nearest) {
                    best = Some((near, event, number));
                }
            }
            Err(reason) => refused = refused.take().or(Some((number, reason))),
        }
        if nth.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let _ = match file {
        "-" => vertice_stream::read_stream("stdin", input, &mut each),
        path if !is_there(path) => {
            let told = format!("{path}: there is no such file; a position of the log is a whole number");
            return Err(Failure::NotFound(told).into());
        }
        path => {
            let files = vertice_stream::find(&[PathBuf::from(path)]).files;
            files.iter().try_for_each(|path| vertice_stream::read(path, &Progress::new(0), &mut each))
        }
    };
    match (best, refused) {
        (Some((_, event, at)), _) => Ok(Found { event, number: at, of: number }),
        (None, Some((at, reason))) => {
            Err(Failure::Failed(format!("{file}: record {at} can not be read: {reason}")).into())
        }
        (None, None) => Err(Failure::NotFound(format!("{file}: it has {number} events")).into()),
    }
}

fn print(content: &Content, rules: &[RuleIndex], found: &Found, out: &mut Out) -> Result<()> {
    let list: Vec<Value> = rules.iter().map(|rule| document(content, *rule, &found.event)).collect();
    match (out.format, list.as_slice()) {
        (Format::Json, [one]) => return out.json(one),
        (Format::Json | Format::Ndjson, list) => return out.json_list(list),
        (Format::Table, _) => {}
    }
    let event = &found.event;
    let which = if found.of > 1 { format!("{} of {}, ", found.number, found.of) } else { String::new() };
    let entity = event.entity.as_ref().map(|e| format!(", about {}", e.name())).unwrap_or_default();
    out.parts(&[
        (Tint::Bold, "event  "),
        (Tint::None, &format!("{which}{}, read by {}{entity}", event.timestamp, event.mapping)),
    ])?;
    rules.iter().try_for_each(|rule| tree(content, *rule, event, 0).print(out))
}

fn document(content: &Content, index: RuleIndex, event: &Event) -> Value {
    let set = content.rules.set();
    let rule = set.rule(index);
    let mut json = Told::of(content, index, event).json();
    json["rule_id"] = json!(rule.key());
    json["title"] = json!(rule.title);
    json["path"] = json!(shown_path(&rule.path));
    json["line"] = json!(rule.line);
    if rule.is_correlation() {
        json["counts"] = set.counted(index).iter().map(|rule| document(content, *rule, event)).collect();
    }
    json
}

/// A rule with what it says of the event; of a correlation, the rules that it counts.
fn tree(content: &Content, index: RuleIndex, event: &Event, depth: usize) -> Node {
    let set = content.rules.set();
    let rule = set.rule(index);
    let told = Told::of(content, index, event);
    let (tint, word) = match (rule.is_correlation(), told.matches) {
        (true, _) => (Tint::Warn, "counts matches of other rules"),
        (false, true) => (Tint::Good, "matches"),
        (false, false) => (Tint::Bad, "does not match"),
    };
    let mut node = Node::new(vec![
        (Tint::Bold, format!("{}  ", rule.title)),
        (tint, word.to_owned()),
        (Tint::Faint, format!("   {}:{}", shown_path(&rule.path), rule.line)),
    ]);
    if rule.is_correlation() && depth <= vertice_sigma::limits::CORRELATION_DEPTH_MAX {
        node.extend(set.counted(index).iter().map(|rule| tree(content, *rule, event, depth + 1)));
    } else {
        node.extend(told.nodes());
    }
    node
}

#[cfg(test)]
mod tests {
    use vertice_engine::ContentFile;

    use super::*;
    use crate::cli::output::tests::printed;

    const RULE: &str = "title: Root guessed\nid: 5e1f8a4e-6c1f-4a53-9a0c-0d4b9c7d1a11\n\
        logsource: {category: authentication}\ndetection:\n  failed: {event.action: failed_login, user.name: [root, admin]}\n  \
        filter_inside: {source.ip|cidr: 10.0.0.0/8}\n  condition: failed and not 1 of filter_*\n";

    fn content(rule: &str) -> (Content, Vec<RuleIndex>) {
        let mut files = crate::content::gather(&[], &[]).unwrap();
        files.retain(|file| file.path.starts_with("mappings"));
        files.push(ContentFile { path: "rules:r.yml".into(), text: rule.into() });
        let content = Content::compile(files);
        assert!(content.refused.is_empty(), "{:?}", content.refused);
        let rules = content.rules.set().iter().map(|(index, _)| index).collect();
        (content, rules)
    }

    fn line(user: &str, address: &str) -> String {
        format!("2026-01-02T03:04:05Z web1 sshd[1]: Failed password for {user} from {address} port 1 ssh2\n")
    }

    fn explained(format: Format, rule: &str, lines: &str, nth: Option<u64>) -> String {
        let (content, rules) = content(rule);
        let found = nearest(&content, &rules, "-", nth, &mut lines.as_bytes()).unwrap();
        printed(format, |out| print(&content, &rules, &found, out))
    }

    #[test]
    fn each_condition_is_shown_with_the_value_that_decided_it() {
        let expected = "\
event  2026-01-02T03:04:05Z, read by sshd, about 10.1.2.3
Root guessed  does not match   r.yml:1
├─ yes  log source: the rule is for authentication   the event is linux/sshd authentication, linux/auth authentication, linux/syslog authentication
└─ no   all of this
   ├─ no   failed
   │  ├─ yes  event.action: failed_login   in: failed_login
   │  └─ no   user.name: none of root | admin   the event has: ana
   └─ no   must not hold
      └─ yes  1 of these selections
         └─ yes  filter_inside
            └─ yes  source.ip|cidr: 10.0.0.0/8   in: 10.1.2.3
";
        assert_eq!(explained(Format::Table, RULE, &line("ana", "10.1.2.3"), None), expected);
    }

    #[test]
    fn the_nearest_event_is_taken_unless_another_is_asked_for() {
        let lines = [line("ana", "10.1.2.3"), line("root", "203.0.113.9"), line("bob", "203.0.113.9")].concat();
        let text = explained(Format::Table, RULE, &lines, None);
        assert!(text.starts_with("event  2 of 3, ") && text.contains("Root guessed  matches   r.yml:1\n"), "{text}");
        let text = explained(Format::Table, RULE, &lines, Some(3));
        assert!(text.contains("the event has: bob"), "{text}");
        let (content, rules) = content(RULE);
        let beyond = nearest(&content, &rules, "-", Some(4), &mut lines.as_bytes()).err().unwrap();
        assert_eq!(crate::cli::failure::exit_code(&beyond), 3);
        let unread = nearest(&content, &rules, "-", None, &mut "gibberish\n".as_bytes()).err().unwrap();
        assert!(unread.to_string().starts_with("-: record 1 can not be read: "), "{unread}");
    }

    #[test]
    fn another_log_source_is_why_not() {
        let rule = RULE.replace("{category: authentication}", "{product: windows, category: process_creation}");
        let text = explained(Format::Table, &rule, &line("root", "203.0.113.9"), None);
        assert!(
            text.contains("does not match")
                && text
                    .contains("├─ no   log source: the rule is for windows process_creation   the event is linux/sshd"),
            "{text}"
        );
        let json: Value = serde_json::from_str(&explained(Format::Json, &rule, &line("root", "::1"), None)).unwrap();
        assert_eq!((&json["matches"], &json["log_source"]["holds"]), (&json!(false), &json!(false)));
        assert_eq!((&json["condition"]["holds"], &json["condition"]["asked"]), (&json!(true), &json!("all")));
    }

    #[test]
    fn a_correlation_shows_the_rules_that_it_counts() {
        let rule = RULE.replace("title: Root", "name: one\ntitle: Root");
        let rule = format!(
            "{rule}---\ntitle: Many\ncorrelation: {{type: event_count, rules: [one], group-by: [source.ip], timespan: 1m, condition: {{gte: 2}}}}\n"
        );
        let text = explained(Format::Table, &rule, &line("root", "203.0.113.9"), None);
        assert!(text.contains("Many  counts matches of other rules"), "{text}");
        assert_eq!(text.matches("Root guessed  matches").count(), 2, "{text}");
        let list: Value = serde_json::from_str(&explained(Format::Json, &rule, &line("root", "::1"), None)).unwrap();
        assert_eq!(list[1]["counts"][0]["matches"], true);
    }

    #[test]
    fn a_rule_is_found_by_its_file_or_the_beginning_of_its_id() {
        let config = crate::config::load(None, |_| None).unwrap();
        let none = ContentArguments::default();
        let code = |named: &str| crate::cli::failure::exit_code(&rule(named, &config, &none).err().unwrap());
        assert_eq!((code("ffffffff-0"), code("4")), (3, 3));
        let (content, rules) = rule("74f20f13", &config, &none).unwrap();
        assert_eq!(content.rules.set().rule(rules[0]).title, "Repeated uploads to one address");
        assert!(rule("repeated uploads TO one address", &config, &none).is_ok());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.yml");
        std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), RULE.as_bytes()).unwrap();
        assert_eq!(rule(path.to_str().unwrap(), &config, &none).unwrap().1.len(), 1);
        std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), b"title: [").unwrap();
        assert_eq!(code(path.to_str().unwrap()), 6);
        assert_eq!((position("17"), position("x")), (Some(Position(17)), None));
    }
}
