//! `vertice rules backtest`: rules asked of the events that the log already has.
//!
//! The log is read and never written. One pass, a stretch at a time, so its length costs time and no memory.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use vertice_engine::detect::Findings;
use vertice_engine::{Content, Input, Stamp};
use vertice_model::{Detection, Position, RawEvent, Timestamp};
use vertice_store::Store;

use super::super::Failure;
use super::super::client::Client;
use super::super::content::counted;
use super::super::events::summary;
use super::super::output::{Format, Out, Table, Tint};
use super::super::records::short_time;
use super::explain::{open, read_logged};
use super::{loaded, rule_files, with_mappings};
use crate::cli::arguments::ContentArguments;
use crate::config::Config;
use crate::{clock, limits};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vertice rules backtest my-rules/whoami.yml --since 7d
  vertice rules backtest my-rules --since 2026-01-01T00:00:00Z --data /srv/vertice
  vertice rules backtest my-rules --since all -o ndjson > hits.ndjson

Asks the rules of PATH, and no others, of the events that the log took in since then. Without --data the server is
asked for them; if none runs, the data directory of the configuration is read. Nothing is written, and no playbook
considers what is found. Days are those of the events' own times, in UTC. `-o json` is the summary, `-o ndjson`
every hit as a detection, a line each. Exits with 0 whether or not anything was hit; 6: a rule is refused.")]
pub struct Arguments {
    /// The rule files and directories that are asked; a directory is walked
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// From when on: a time such as 2026-01-02T03:04:05Z, or how long ago: 90m, 24h, 7d, 2w; or `all`
    #[arg(long, value_name = "SINCE", default_value = "7d", value_parser = since)]
    since: Since,
    /// The data directory whose log is read; no server may have it open
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How many hits of each rule are shown, up to 1000; `-o ndjson` has them all
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u16).range(0..=1_000))]
    examples: u16,
    /// A directory with mappings/ of your own, beside the built-in ones; may be given several times
    #[arg(long, value_name = "DIR")]
    content: Vec<PathBuf>,
}

/// From when on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Since {
    At(Timestamp),
    Ago { seconds: u64 },
}

fn since(text: &str) -> Result<Since, String> {
    if text == "all" {
        return Ok(Since::At(Timestamp::default()));
    }
    if let Ok(at) = text.parse() {
        return Ok(Since::At(at));
    }
    let meant = || format!("{text:?} is no time such as 2026-01-02T03:04:05Z, and not how long ago, such as 24h or 7d");
    let unit_s = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        Some('w') => 7 * 86_400,
        Some(_) | None => return Err(meant()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| meant())?;
    number.checked_mul(unit_s).map(|seconds| Since::Ago { seconds }).ok_or_else(meant)
}

impl Since {
    fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Since::At(at) => at,
            Since::Ago { seconds } => {
                let us = i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
                Timestamp::from_micros(now.as_micros().saturating_sub(us).max(0))
            }
        }
    }
}

pub fn run(arguments: &Arguments, client: &Client, config: &Config, out: &mut Out) -> Result<()> {
    let mappings = loaded(config, &ContentArguments { rules: Vec::new(), content: arguments.content.clone() })?;
    let content = with_mappings(rule_files(&arguments.paths)?, mappings)?;
    let log = Log::open(arguments.data.as_deref(), client, config)?;
    let from = arguments.since.at(clock::wall());
    let end = log.end()?;
    let begin = log.first_since(from, end)?;
    let bar = bar(begin, end);
    let mut test =
        Test { content: &content, findings: Findings::default(), tally: Tally::new(usize::from(arguments.examples)) };
    let mut at = begin;
    while at <= end {
        let stretch = log.read(at)?;
        for (stamp, raw) in stretch.events {
            test.event(stamp, &raw, out)?;
        }
        bar.set_position(stretch.next.0 - begin.0);
        at = stretch.next;
    }
    bar.finish_and_clear();
    log.close()?;
    test.tally.print(&content, from, out)
}

fn bar(begin: Position, end: Position) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} {per_sec} {eta}");
    ProgressBar::new(end.0 + 1 - begin.0.min(end.0)).with_style(style.expect("the template names known keys"))
}

/// Where the events are read from.
enum Log<'c> {
    Data(Store),
    Server(&'c Client),
}

/// A part of the log, and where the next begins.
struct Stretch {
    events: Vec<(Stamp, RawEvent)>,
    next: Position,
}

impl<'c> Log<'c> {
    fn open(data: Option<&std::path::Path>, client: &'c Client, config: &Config) -> Result<Log<'c>> {
        if let Some(dir) = data {
            return open(dir).map(Log::Data);
        }
        match client.get("/health", &[]) {
            Err(Failure::Unreachable(_)) if config.data.dir.join("vertice.db").is_file() => {
                open(&config.data.dir).map(Log::Data)
            }
            Err(failure) => Err(failure.into()),
            Ok(_) => Ok(Log::Server(client)),
        }
    }

    /// The last position there is.
    fn end(&self) -> Result<Position> {
        match self {
            Log::Data(store) => Ok(store.log_end()),
            Log::Server(client) => {
                let status = client.get("/api/v1/status", &[])?;
                Ok(Position(status.get("log_end").and_then(Value::as_u64).unwrap_or_default()))
            }
        }
    }

    /// The first position that was taken in at this time or later; the one after the end if there is none. Times
    /// never fall along the log.
    fn first_since(&self, since: Timestamp, end: Position) -> Result<Position> {
        let (mut low, mut high) = (1, end.0 + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.time_from(Position(middle))? {
                Some(at) if at < since => low = middle + 1,
                Some(_) | None => high = middle,
            }
        }
        Ok(Position(low))
    }

    /// When the first event from this position on was taken in.
    fn time_from(&self, at: Position) -> Result<Option<Timestamp>> {
        match self {
            Log::Data(store) => Ok(store.read(at, 1)?.first().map(|(stamp, _)| stamp.now)),
            Log::Server(client) => {
                let page = client.page(EVENTS, &[("from", &at.to_string()), ("limit", "1")])?;
                page.items.first().map(|item| read_logged(item).map(|(at, _)| at)).transpose()
            }
        }
    }

    fn read(&self, at: Position) -> Result<Stretch> {
        match self {
            Log::Data(store) => {
                let mut stretch = Stretch { events: Vec::new(), next: at.plus(1) };
                for (stamp, input) in store.read(at, limits::STRETCH_POSITIONS).context("reading the log")? {
                    stretch.next = stretch.next.max(stamp.position.plus(input.positions()));
                    let Input::Events(events) = input else { continue };
                    let numbered = (0..).zip(events).map(|(i, raw)| {
                        let position = stamp.position.plus(i);
                        (Stamp { position, now: stamp.now }, raw)
                    });
                    stretch.events.extend(numbered.filter(|(stamp, _)| stamp.position >= at));
                }
                Ok(stretch)
            }
            Log::Server(client) => {
                let limit = limits::PAGE_ITEMS.to_string();
                let page = client.page(EVENTS, &[("from", &at.to_string()), ("limit", &limit)])?;
                let read = |item: &Value| {
                    let (now, raw) = read_logged(item).context("reading the server's answer")?;
                    let position = Position(item.get("position").and_then(Value::as_u64).unwrap_or_default());
                    Ok((Stamp { position, now }, raw))
                };
                let events = page.items.iter().map(read).collect::<Result<Vec<_>>>()?;
                let next = page.next.and_then(|next| next.parse().ok()).map_or(Position(u64::MAX), Position);
                // A server that does not move on would be asked for ever.
                Ok(Stretch { events, next: next.max(at.plus(1)) })
            }
        }
    }

    fn close(self) -> Result<()> {
        match self {
            Log::Data(store) => Ok(store.close()?),
            Log::Server(_) => Ok(()),
        }
    }
}

const EVENTS: &str = "/api/v1/events";

/// The rules, asked of one event after the other.
struct Test<'c> {
    content: &'c Content,
    findings: Findings,
    tally: Tally,
}

impl Test<'_> {
    fn event(&mut self, stamp: Stamp, raw: &RawEvent, out: &mut Out) -> Result<()> {
        let Ok(reading) = self.content.mappings.read(stamp, raw) else {
            self.tally.unread += 1;
            return Ok(());
        };
        self.tally.events += 1;
        let hits = self.content.rules.screen(&reading, &reading.sources());
        if hits.is_empty() {
            return Ok(());
        }
        let event = reading.event();
        for finding in self.findings.judge(&self.content.rules, stamp.now, &event, &hits) {
            if out.format == Format::Ndjson {
                out.json(&serde_json::to_value(&finding.detection)?)?;
            }
            self.tally.detection(&finding.detection, || serde_json::to_value(&event).unwrap_or_default());
        }
        Ok(())
    }
}

/// What was hit.
struct Tally {
    events: u64,
    unread: u64,
    hits: u64,
    examples: usize,
    /// By day of the events.
    days: BTreeMap<String, u64>,
    /// By rule.
    rules: BTreeMap<String, OfRule>,
}

/// What a rule hit.
#[derive(Default)]
struct OfRule {
    title: String,
    hits: u64,
    days: BTreeMap<String, u64>,
    examples: Vec<Value>,
}

impl Tally {
    fn new(examples: usize) -> Tally {
        Tally { events: 0, unread: 0, hits: 0, examples, days: BTreeMap::new(), rules: BTreeMap::new() }
    }

    fn detection(&mut self, detection: &Detection, event: impl FnOnce() -> Value) {
        self.hits += 1;
        let mut day: String = detection.timestamp.to_string().chars().take(10).collect();
        if self.days.len() >= limits::BACKTEST_DAYS_MAX && !self.days.contains_key(&day) {
            "other days".clone_into(&mut day);
        }
        let rule = self.rules.entry(detection.rule_id.clone()).or_default();
        rule.title.clone_from(&detection.rule_title);
        rule.hits += 1;
        *rule.days.entry(day.clone()).or_default() += 1;
        *self.days.entry(day).or_default() += 1;
        if rule.examples.len() < self.examples {
            rule.examples.push(json!({
                "position": detection.position, "timestamp": detection.timestamp, "entity": detection.entity.name(),
                "matched": detection.matched, "what": summary(&event()),
            }));
        }
    }

    fn print(&self, content: &Content, since: Timestamp, out: &mut Out) -> Result<()> {
        match out.format {
            Format::Ndjson => Ok(()),
            Format::Json => out.json(&self.document(content, since)),
            Format::Table => self.table(content, since, out),
        }
    }

    fn document(&self, content: &Content, since: Timestamp) -> Value {
        let rules: Vec<Value> = content
            .rules
            .set()
            .iter()
            .map(|(_, rule)| match self.rules.get(rule.key()) {
                Some(of) => json!({"rule_id": rule.key(), "title": rule.title, "hits": of.hits, "days": of.days,
                    "examples": of.examples}),
                None => json!({"rule_id": rule.key(), "title": rule.title, "hits": 0, "days": {}, "examples": []}),
            })
            .collect();
        json!({"since": since, "events": self.events, "not_read": self.unread, "hits": self.hits, "days": self.days,
            "rules": rules})
    }

    fn table(&self, content: &Content, since: Timestamp, out: &mut Out) -> Result<()> {
        let all = content.rules.set().len();
        if self.hits > 0 {
            let mut table = Table::new(&["HITS", "A DAY", "RULE…"]);
            for of in self.rules.values() {
                let a_day = of.hits.div_ceil(of.days.len().max(1) as u64);
                table.row(vec![
                    (Tint::None, of.hits.to_string()),
                    (Tint::None, a_day.to_string()),
                    (Tint::None, of.title.clone()),
                ]);
            }
            out.table(&table)?;
            out.line("")?;
            let mut table = Table::new(&["DAY (UTC)", "HITS"]);
            for (day, hits) in &self.days {
                table.row(vec![(Tint::None, day.clone()), (Tint::None, hits.to_string())]);
            }
            out.table(&table)?;
            out.line("")?;
            self.examples(out)?;
            out.line("")?;
        }
        let unread =
            if self.unread == 0 { String::new() } else { format!(" ({} more that no mapping reads)", self.unread) };
        let events = counted(usize::try_from(self.events).unwrap_or(usize::MAX), "event");
        let since = short_time(&since.to_string());
        out.line(&format!(
            "{events}{unread} since {since}, {}: {} by {} of them.",
            counted(all, "rule"),
            counted(usize::try_from(self.hits).unwrap_or(usize::MAX), "hit"),
            self.rules.len()
        ))
    }

    fn examples(&self, out: &mut Out) -> Result<()> {
        let mut table = Table::new(&["POSITION", "TIME (UTC)", "ABOUT", "RULE…", "WHAT…"]);
        for of in self.rules.values() {
            for example in &of.examples {
                let text = |pointer: &str| super::super::records::text(example, pointer);
                table.row(vec![
                    (Tint::None, text("/position")),
                    (Tint::None, short_time(&text("/timestamp"))),
                    (Tint::None, text("/entity")),
                    (Tint::None, of.title.clone()),
                    (Tint::None, text("/what")),
                ]);
            }
        }
        out.table(&table)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use vertice_store::{Options, Submission};

    use super::*;
    use crate::cli::output::tests::printed;

    const RULE: &str = "title: Root guessed\nid: 5e1f8a4e-6c1f-4a53-9a0c-0d4b9c7d1a11\n\
        logsource: {category: authentication}\n\
        detection: {failed: {event.action: failed_login, user.name: root}, condition: failed}\n";

    /// A data directory whose log took in an event on each of ten days, and one that can not be read.
    fn data() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let now = Arc::new(AtomicI64::new(0));
        let clock = Arc::clone(&now);
        let tell = Arc::new(move || Timestamp::from_micros(clock.load(Ordering::SeqCst)));
        let store = Store::open(dir.path(), tell, Options::default()).unwrap();
        for day in 1..=10 {
            let at: Timestamp = format!("2026-03-{day:02}T12:00:00Z").parse().unwrap();
            now.store(at.as_micros(), Ordering::SeqCst);
            let user = if day % 2 == 0 { "root" } else { "ana" };
            let line = format!(
                "2026-03-{day:02}T11:59:59Z web1 sshd[1]: Failed password for {user} from 203.0.113.9 port 1 ssh2"
            );
            let events = vec![RawEvent { origin: "a.log".into(), line }; 2];
            store.submit_blocking(Submission { events, ..Submission::default() }).unwrap();
            store.append_blocking(Input::Tick).unwrap();
        }
        let events = vec![RawEvent { origin: "a.log".into(), line: "\0".into() }];
        store.submit_blocking(Submission { events, ..Submission::default() }).unwrap();
        store.close().unwrap();
        let rule = dir.path().join("r.yml");
        std::fs::File::create(&rule).unwrap().write_all(RULE.as_bytes()).unwrap();
        (dir, rule)
    }

    fn backtest(format: Format, since_text: &str) -> String {
        let (dir, rule) = data();
        let arguments = Arguments {
            paths: vec![rule],
            since: since(since_text).unwrap(),
            data: Some(dir.path().to_owned()),
            examples: 1,
            content: Vec::new(),
        };
        let config = crate::config::load(None, |_| None).unwrap();
        let client = Client::new("http://127.0.0.1:1", None).unwrap();
        printed(format, |out| run(&arguments, &client, &config, out))
    }

    #[test]
    fn hits_are_counted_by_day_with_their_positions() {
        let expected = "\
HITS  A DAY  RULE
4     2      Root guessed

DAY (UTC)   HITS
2026-03-08  2
2026-03-10  2

POSITION  TIME (UTC)           ABOUT        RULE          WHAT
22        2026-03-08 11:59:59  203.0.113.9  Root guessed  failed_login  root  web1

8 events (1 more that no mapping reads) since 2026-03-07 00:00:00, 1 rule: 4 hits by 1 of them.
";
        assert_eq!(backtest(Format::Table, "2026-03-07T00:00:00Z"), expected);
    }

    #[test]
    fn the_whole_log_and_none_of_it() {
        let all: Value = serde_json::from_str(&backtest(Format::Json, "all")).unwrap();
        assert_eq!((&all["events"], &all["hits"], &all["not_read"]), (&json!(20), &json!(10), &json!(1)));
        assert_eq!(
            (&all["rules"][0]["days"]["2026-03-02"], &all["rules"][0]["examples"][0]["position"]),
            (&json!(2), &json!(4))
        );
        let lines = backtest(Format::Ndjson, "all");
        assert_eq!(lines.lines().count(), 10);
        assert!(lines.starts_with('{') && lines.contains("\"rule_title\":\"Root guessed\""), "{lines}");
        let none: Value = serde_json::from_str(&backtest(Format::Json, "2030-01-01T00:00:00Z")).unwrap();
        assert_eq!((&none["events"], &none["hits"], &none["rules"][0]["hits"]), (&json!(0), &json!(0), &json!(0)));
    }

    #[test]
    fn since_when_is_a_time_or_how_long_ago() {
        assert_eq!(since("7d"), Ok(Since::Ago { seconds: 604_800 }));
        assert_eq!(since("90m"), Ok(Since::Ago { seconds: 5_400 }));
        assert_eq!(since("all"), Ok(Since::At(Timestamp::default())));
        assert!(matches!(since("2026-01-02T03:04:05Z"), Ok(Since::At(_))));
        for wrong in ["", "d", "7", "7y", "-1d", "yesterday", "99999999999999999999d", "7é"] {
            assert!(since(wrong).unwrap_err().contains("no time such as"), "{wrong}");
        }
        let now: Timestamp = "2026-01-08T00:00:00Z".parse().unwrap();
        assert_eq!(Since::Ago { seconds: 604_800 }.at(now).to_string(), "2026-01-01T00:00:00Z");
        assert_eq!(Since::Ago { seconds: u64::MAX }.at(now), Timestamp::default());
    }
}
