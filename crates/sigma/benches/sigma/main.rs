//! Events per second of processor time, beside a peer in the same run.
//!
//! `cargo xtask bench sigma [--peer RSIGMA] [--events N] [--data DIR]`: real Windows events,
//! repeated with changed hosts, users and dates, and the same with every text made unique, against SigmaHQ's rules.
//! Each contender is a process that reads the file, and whose time over an empty file is taken off. With `--vertice BINARY`
//! also the whole program beside the peer's daemon.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement tells the time and prints what it measured"
)]

mod events;
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use vertice_sigma::json::JsonEvent;
use vertice_sigma::{Event, Matcher, RuleSet, Source, Value};

use events::Files;
use process::Run;

type Anything<T> = Result<T, Box<dyn std::error::Error>>;

/// Where log sources stand in the events made for the measurement.
const FIELDS: [&str; 3] = ["sigma_product", "sigma_service", "sigma_category"];

fn main() -> Anything<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [mode, rules, events, routed, threads] = arguments.as_slice()
        && mode == "match"
    {
        return match_all(Path::new(rules), Path::new(events), routed == "routed", threads.parse()?);
    }
    let option = |name: &str| arguments.iter().position(|a| a == name).and_then(|i| arguments.get(i + 1));
    let data = option("--data")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")), PathBuf::from);
    let count = option("--events").map_or(Ok(500_000), |n| n.parse())?;
    if !data.is_dir() {
        return Err(
            format!("{} is no folder; `--data` names one with sigma/ and security-datasets/", data.display()).into()
        );
    }
    let folder = tempfile::tempdir()?;
    let contest = Contest {
        files: events::make(&data.join("security-datasets"), count, folder.path())?,
        rules: data.join("sigma/rules"),
        count,
        me: std::env::current_exe()?,
        peer: option("--peer").map(PathBuf::from),
    };
    contest.matching()?;
    contest.counts()?;
    option("--vertice").map_or(Ok(()), |vertice| contest.whole_path(Path::new(vertice)))
}

/// What is measured, and who takes part.
struct Contest {
    files: Files,
    rules: PathBuf,
    count: usize,
    me: PathBuf,
    peer: Option<PathBuf>,
}

impl Contest {
    fn matching(&self) -> Anything<()> {
        let loaded = self.ours(&self.files.empty, true, "1")?;
        let bytes = self.files.bytes / self.count as u64;
        println!("{} events of {bytes} bytes; rules: {}", self.count, self.rules.display());
        println!("the rules are loaded in {:.2} s of processor, {:.2} s in all\n", loaded.cpu_s, loaded.seconds);
        println!("| texts | rules | events/CPU-s | memory | peer, events/CPU-s | memory | ratio |");
        println!("|---|---|---|---|---|---|---|");
        for (name, file) in [("repeating", &self.files.varied), ("all unique", &self.files.unique)] {
            for (way, routed) in [("by log source", true), ("all", false)] {
                let (own, memory) = self.rate(&self.ours(file, routed, "1")?, &loaded);
                let row = match (self.theirs(file, routed)?, self.theirs(&self.files.empty, routed)?) {
                    (Some(run), Some(empty)) => {
                        let (peer, memory) = self.rate(&run, &empty);
                        format!("{peer:.0} | {memory} MB | {:.2}", own / peer)
                    }
                    _ => "- | - | -".to_owned(),
                };
                println!("| {name} | {way} | {own:.0} | {memory} MB | {row} |");
            }
        }
        let of = |threads| self.ours(&self.files.varied, true, threads).map(|run| run.seconds - loaded.seconds);
        let (one, two) = (of("1")?, of("2")?);
        println!("\ntwo threads are {:.2} times as fast as one ({one:.2} s, {two:.2} s)", one / two);
        Ok(())
    }

    /// Prints the rules that match the recordings not as often here as with the peer.
    fn counts(&self) -> Anything<()> {
        let Some(peer) = &self.peer else { return Ok(()) };
        let events = format!("@{}", self.files.base.display());
        for routed in [true, false] {
            let mut theirs = Command::new(peer);
            theirs.args(["--output-format", "ndjson", "engine", "eval", "-q", "-e", &events, "-r"]).arg(&self.rules);
            theirs.args(routing().iter().filter(|_| routed));
            let mut ours = Command::new(&self.me);
            ours.arg("match").arg(&self.rules).arg(&self.files.base).args([if routed { "routed" } else { "all" }, "1"]);
            let (ours, theirs) = (tally(&mut ours)?, tally(&mut theirs)?);
            let ids: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
            let of = |counts: &BTreeMap<String, usize>, id: &String| counts.get(id).copied().unwrap_or(0);
            let differ: Vec<_> = ids.iter().filter(|id| of(&ours, id) != of(&theirs, id)).collect();
            let (way, total) = (if routed { "by log source" } else { "all" }, ours.values().sum::<usize>());
            println!("\n{way}: {} rules match, {total} times; {} differ from the peer", ids.len(), differ.len());
            for id in differ {
                println!("  {id}: {} here, {} there", of(&ours, id), of(&theirs, id));
            }
        }
        Ok(())
    }

    /// The whole program, with its durable log and its store, beside the peer's.
    fn whole_path(&self, vertice: &Path) -> Anything<()> {
        let own = |events: &Path| {
            let [replay, rules, out, ndjson] = ["replay", "--rules", "-o", "ndjson"].map(Path::new);
            Run::of(vertice, &[replay, events, rules, &self.rules, out, ndjson], None)
        };
        let (own, memory) = self.rate(&own(&self.files.varied)?, &own(&self.files.empty)?);
        println!("\n`vertice replay`, log, store and shipped rules too: {own:.0} events/CPU-s, {memory} MB");
        let Some(peer) = &self.peer else { return Ok(()) };
        let routing = routing();
        let their = |events: &Path| {
            let mut arguments = ["engine", "daemon", "-q", "--api-addr", "127.0.0.1:0", "-r"].map(Path::new).to_vec();
            arguments.push(&self.rules);
            arguments.extend(routing.iter().map(Path::new));
            Run::of(peer, &arguments, Some(events))
        };
        let (peer, memory) = self.rate(&their(&self.files.varied)?, &their(&self.files.empty)?);
        println!("the peer's daemon from standard input: {peer:.0} events/CPU-s, {memory} MB; ratio {:.2}", own / peer);
        Ok(())
    }

    fn ours(&self, events: &Path, routed: bool, threads: &str) -> Anything<Run> {
        let way = Path::new(if routed { "routed" } else { "all" });
        Run::of(&self.me, &[Path::new("match"), &self.rules, events, way, Path::new(threads)], None)
    }

    fn theirs(&self, events: &Path, routed: bool) -> Anything<Option<Run>> {
        let Some(peer) = &self.peer else { return Ok(None) };
        let (events, routing) = (format!("@{}", events.display()), routing());
        let mut arguments = ["engine", "eval", "-q", "-e", &events, "-r"].map(Path::new).to_vec();
        arguments.push(&self.rules);
        arguments.extend(routing.iter().filter(|_| routed).map(Path::new));
        Run::of(peer, &arguments, None).map(Some)
    }

    /// Events per second of processor time, loading left out, and the most memory in MB.
    fn rate(&self, run: &Run, empty: &Run) -> (f64, u64) {
        (self.count as f64 / (run.cpu_s - empty.cpu_s).max(0.01), run.memory_kb / 1024)
    }
}

/// How the peer is told where log sources stand.
fn routing() -> [String; 3] {
    let map = format!("product={},service={},category={}", FIELDS[0], FIELDS[1], FIELDS[2]);
    ["--logsource-routing".to_owned(), "--logsource-field-map".to_owned(), map]
}

/// Reads a file of JSON lines and prints a line for each match, as the peer does.
fn match_all(rules: &Path, events: &Path, routed: bool, threads: usize) -> Anything<()> {
    let start = Instant::now();
    let mut files = Vec::new();
    events::rule_files(rules, &mut files)?;
    let (set, _) = RuleSet::compile(files.iter().map(|(path, text)| (path.as_str(), text.as_str())));
    drop(files);
    eprintln!("{} rules in {:.2} s", set.len(), start.elapsed().as_secs_f64());
    let chunks = Mutex::new(Chunks { file: std::fs::File::open(events)?, rest: Vec::new() });
    std::thread::scope(|scope| {
        let work = || -> Result<(), String> {
            let mut matcher = Matcher::new(&set);
            let mut out = BufWriter::new(std::io::stdout());
            let mut chunk = Vec::new();
            while chunks.lock().map_err(|e| e.to_string())?.next(&mut chunk).map_err(|e| e.to_string())? {
                match_chunk(&mut matcher, &chunk, routed, &mut out)?;
            }
            out.flush().map_err(|e| e.to_string())
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().try_for_each(|one| one.join().map_err(|_| "a thread failed".to_owned())?)
    })?;
    Ok(())
}

fn match_chunk(
    matcher: &mut Matcher<&RuleSet>,
    chunk: &[u8],
    routed: bool,
    out: &mut impl Write,
) -> Result<(), String> {
    let text = std::str::from_utf8(chunk).map_err(|e| e.to_string())?;
    let mut event = JsonEvent::default();
    let mut rest = text;
    while let Some(end) = memchr::memchr(b'\n', rest.as_bytes()) {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        event.read(line).map_err(|e| e.to_string())?;
        let mut parts = [None; 3];
        event.each(&mut |name, value| {
            if let (Some(i), Value::Text(text)) = (FIELDS.iter().position(|field| *field == name), value) {
                parts[i] = Some(text);
            }
        });
        let [product, service, category] = parts;
        let matched = if routed {
            matcher.matches(&event, [Source { category, product, service }])
        } else {
            matcher.matches_any_source(&event)
        };
        let matched = matched.to_vec();
        for index in matched {
            let rule = matcher.rules().rule(index);
            writeln!(out, r#"{{"rule_title":{:?},"rule_id":{:?}}}"#, rule.title, rule.key())
                .map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

/// A file in pieces of whole lines.
struct Chunks {
    file: std::fs::File,
    rest: Vec<u8>,
}

impl Chunks {
    fn next(&mut self, chunk: &mut Vec<u8>) -> std::io::Result<bool> {
        const BYTES: usize = 1 << 20;
        chunk.clear();
        chunk.append(&mut self.rest);
        loop {
            let read = Read::by_ref(&mut self.file).take(BYTES as u64).read_to_end(chunk)?;
            match memchr::memrchr(b'\n', chunk) {
                Some(end) => {
                    self.rest = chunk.split_off(end + 1);
                    return Ok(true);
                }
                None if read == 0 => return Ok(!chunk.is_empty()),
                None => {}
            }
        }
    }
}

/// How often each rule is named in what a program prints.
fn tally(command: &mut Command) -> Anything<BTreeMap<String, usize>> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut counts = BTreeMap::new();
    for line in BufReader::new(child.stdout.take().ok_or("no output")?).lines() {
        let line: serde_json::Value = serde_json::from_str(&line?)?;
        let id = line["rule_id"].as_str().or(line["rule_title"].as_str()).unwrap_or_default();
        *counts.entry(id.to_owned()).or_default() += 1;
    }
    child.wait()?;
    Ok(counts)
}
