//! Events per second of processor time, beside a peer in the same run.
//!
//! `cargo xtask bench sigma [--peer RSIGMA] [--data DIR] [--events N]`: real Windows events,
//! repeated with changed hosts, users and dates, and the same with every text made unique, against SigmaHQ's rules.
//! Each contender is a process that reads the file, and whose time over an empty file is taken off.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement tells the time and prints what it measured"
)]

mod events;
mod process;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use vertice_sigma::json::JsonEvent;
use vertice_sigma::{Event, Matcher, RuleSet, Source, Value};

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
    compare(&data, count, option("--peer").map(Path::new))
}

fn compare(data: &Path, count: usize, peer: Option<&Path>) -> Anything<()> {
    let folder = tempfile::tempdir()?;
    let rules = data.join("sigma/rules");
    let files = events::make(&data.join("security-datasets"), count, folder.path())?;
    let me = std::env::current_exe()?;
    let ours = |events: &Path, way: &str, threads: &str| {
        Run::of(&me, &[Path::new("match"), &rules, events, Path::new(way), Path::new(threads)])
    };
    println!("{} events, {} bytes each; rules: {}", count, files.bytes / count as u64, rules.display());
    let loaded = ours(&files.empty, "routed", "1")?;
    println!("loading the rules: {:.2} s of processor, {:.2} s", loaded.cpu_s, loaded.seconds);
    let their = |events: &Path, routed: bool| -> Anything<Option<Run>> {
        let Some(peer) = peer else { return Ok(None) };
        let events = PathBuf::from(format!("@{}", events.display()));
        let map = format!("product={},service={},category={}", FIELDS[0], FIELDS[1], FIELDS[2]);
        let mut arguments = vec![Path::new("engine"), Path::new("eval"), Path::new("-q"), Path::new("-r"), &rules];
        arguments.extend([Path::new("-e"), &events]);
        if routed {
            arguments.extend([Path::new("--logsource-routing"), Path::new("--logsource-field-map"), Path::new(&map)]);
        }
        Ok(Some(Run::of(peer, &arguments)?))
    };
    println!(
        "\n| events | rules | ours, events/CPU-s | memory | peer, events/CPU-s | memory | ratio |\n|---|---|---|---|---|---|---|"
    );
    for (name, file, routed) in [
        ("repeating", &files.varied, true),
        ("repeating", &files.varied, false),
        ("all unique", &files.unique, true),
        ("all unique", &files.unique, false),
    ] {
        let way = if routed { "routed" } else { "all" };
        let own = rate(count, &ours(file, way, "1")?, &loaded);
        let row = match (their(file, routed)?, their(&files.empty, routed)?) {
            (Some(run), Some(empty)) => {
                let peer = rate(count, &run, &empty);
                format!("{:.0} | {} MB | {:.2}", peer.0, peer.1, own.0 / peer.0)
            }
            _ => "- | - | -".to_owned(),
        };
        println!("| {name} | {way} | {:.0} | {} MB | {row} |", own.0, own.1);
    }
    let of = |threads: &str| ours(&files.varied, "routed", threads).map(|run| run.seconds - loaded.seconds);
    let (one, two) = (of("1")?, of("2")?);
    println!("\ntwo threads are {:.2} times as fast as one ({one:.2} s, {two:.2} s)", one / two);
    if let Some(peer) = peer {
        events::counts(&me, peer, &rules, &files, &FIELDS)?;
    }
    Ok(())
}

/// Events per second of processor time, loading left out, and the most memory in MB.
fn rate(count: usize, run: &Run, empty: &Run) -> (f64, u64) {
    (count as f64 / (run.cpu_s - empty.cpu_s).max(0.01), run.memory_kb / 1024)
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

/// How often each rule is named in a stream of JSON lines.
fn tally(stream: impl Read) -> Anything<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    for line in BufReader::new(stream).lines() {
        let line: serde_json::Value = serde_json::from_str(&line?)?;
        let id = line["rule_id"].as_str().or(line["rule_title"].as_str()).unwrap_or_default();
        *counts.entry(id.to_owned()).or_default() += 1;
    }
    Ok(counts)
}
