//! What the running binary does with a real topic of Kafka, beside kcat reading the same topic in the same run.
//!
//! Run: `cargo xtask bench kafka`, or `cargo bench --profile quick -p vertice --bench kafka -- [throughput|latency]`.
//! Needs Java, Maven for the first run, and kcat.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use vertice_stream::kafka::{Consumer, Next, OutRecord, Patience, Publisher, Settings, Wanted, check};
use vertice_testkit::kafka::{Cluster, missing};
use vertice_testkit::{Random, known_answers};

/// Size of an event, in bytes.
const EVENT_BYTES: usize = 1_024;
/// Events of the topic that is read.
const EVENTS: u64 = 400_000;
/// Partitions of each topic.
const PARTITIONS: i32 = 4;
/// How often each is measured, alternating; the median is printed.
const ROUNDS: usize = 3;

fn main() {
    if let Some(missing) = missing() {
        return println!("{missing}");
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let dir = tempfile::tempdir().expect("a directory to write to");
    let cluster = Cluster::start(1);
    let scene = Scene { brokers: cluster.brokers(), dir: dir.path().to_owned() };
    for (name, part) in [("throughput", throughput as fn(&Scene)), ("latency", latency)] {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            part(&scene);
        }
    }
}

struct Scene {
    brokers: String,
    dir: PathBuf,
}

impl Scene {
    fn settings(&self, group: &str) -> Settings {
        Settings::new(&self.brokers, group)
    }

    /// Makes the topics of a name.
    fn topics(&self, name: &str) {
        let wanted = |what: &str| Wanted {
            topic: format!("{name}-{what}"),
            partitions: PARTITIONS,
            replication: 1,
            create: true,
        };
        let wanted = ["events", "detections", "threats", "responses", "deadletter"].map(wanted);
        check(&self.settings("topics"), &wanted, Patience::default()).expect("topics are made");
    }

    /// A `vertice up` that reads the topics of a name in a group of its own.
    fn start(&self, name: &str, group: &str, rules: Option<&Path>) -> Server {
        let config = self.dir.join(format!("{group}.toml"));
        let text = format!(
            "[stream.kafka]\nbrokers = [\"{}\"]\ngroup = \"{group}\"\n[stream.kafka.topics]\nevents = \"{name}-events\"\n\
             detections = \"{name}-detections\"\nthreats = \"{name}-threats\"\nresponses = \"{name}-responses\"\n\
             deadletter = \"{name}-deadletter\"\n",
            self.brokers
        );
        File::create(&config).and_then(|mut file| file.write_all(text.as_bytes())).expect("a configuration");
        let mut command = Command::new(env!("CARGO_BIN_EXE_vertice"));
        command.args(["up", "--no-local-sources", "--listen", "127.0.0.1:0", "--config"]).arg(config);
        command.arg("--data").arg(self.dir.join(group)).env("VERTICE_LOG", "error");
        if let Some(rules) = rules {
            command.arg("--rules").arg(rules);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it says that it is ready");
        let url = line.split_whitespace().find(|w| w.starts_with("http://")).expect("an address").to_owned();
        Server { child, url }
    }
}

struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// How far the log reaches, and how far it is judged.
    fn reached(&self) -> (u64, u64) {
        let status: serde_json::Value = ureq::get(format!("{}/api/v1/status", self.url))
            .call()
            .and_then(|mut answer| answer.body_mut().read_json())
            .expect("it answers");
        (status["log_end"].as_u64().unwrap_or(0), status["judged_to"].as_u64().unwrap_or(0))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits on a channel that nobody sends on.
fn pause(time: Duration) {
    let (_keep, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(time);
}

/// A process start as Sysmon writes it, of [`EVENT_BYTES`], on one of 500 hosts.
fn event(random: &mut Random) -> String {
    let (a, b) = (random.number(), random.number());
    let mut line = format!(
        r#"{{"EventID":1,"Channel":"Microsoft-Windows-Sysmon/Operational","Hostname":"ws{:03}.corp.example","EventTime":"2026-03-01 10:{:02}:{:02}","ProcessGuid":"{{{a:016x}-{b:016x}}}","ProcessId":"{}","Image":"C:\\Program Files\\App{:02}\\app{:02}.exe","CommandLine":"app{:02}.exe --job {a:x}","ParentImage":"C:\\Windows\\explorer.exe","User":"CORP\\u{:03}","Hashes":"SHA256={a:016X}{b:016X}{a:016X}{b:016X},MD5={b:016X}{a:016X}","RuleName":""#,
        a % 500,
        a / 500 % 60,
        b % 60,
        b % 60_000,
        a % 40,
        b % 40,
        b % 40,
        a % 300,
    );
    while line.len() < EVENT_BYTES - 2 {
        write!(line, "{:x}", random.number()).expect("writing to a string does not fail");
    }
    line.truncate(EVENT_BYTES - 2);
    line.push_str("\"}");
    line
}

fn record(topic: &str, key: String, value: String) -> OutRecord {
    OutRecord {
        topic: topic.into(),
        key: Some(key.into_bytes()),
        value: Some(value.into_bytes()),
        ..OutRecord::default()
    }
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// How fast a topic that is full is read: by kcat to nowhere, by us into the log, and until it is judged.
fn throughput(scene: &Scene) {
    scene.topics("full");
    let publisher = Publisher::open(&scene.settings("fill")).expect("a producer");
    let mut random = Random(1);
    let mut sent = 0;
    while sent < EVENTS {
        let share: Vec<OutRecord> = (0..1_000_u64.min(EVENTS - sent))
            .map(|_| record("full-events", format!("ws{}", random.below(500)), event(&mut random)))
            .collect();
        sent += share.len() as u64;
        publisher.send_blocking(share).expect("it is delivered");
    }
    println!(
        "\n{EVENTS} events of {EVENT_BYTES} B from a topic of {PARTITIONS} partitions, events/s, median of {ROUNDS}"
    );
    let sigma = known_answers("sigma/rules");
    let mut figures: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for round in 0..ROUNDS {
        figures.entry("1 kcat, to nowhere").or_default().push(kcat(&scene.brokers));
        let (taken, judged) = ours(scene, &format!("shipped-{round}"), None);
        figures.entry("2 in the log, durable, shipped rules behind").or_default().push(taken);
        figures.entry("3 judged, shipped rules").or_default().push(judged);
        if let Some(rules) = &sigma {
            let (taken, judged) = ours(scene, &format!("sigma-{round}"), Some(rules));
            figures.entry("4 in the log, durable, SigmaHQ rules behind").or_default().push(taken);
            figures.entry("5 judged, SigmaHQ and shipped rules").or_default().push(judged);
        }
    }
    let beside = median(figures["1 kcat, to nowhere"].clone());
    for (what, rounds) in figures {
        let rate = median(rounds);
        println!("{:<48} {rate:>10.0} {:>6.2}", &what[2..], rate / beside);
    }
}

fn kcat(brokers: &str) -> f64 {
    let start = Instant::now();
    let mut kcat = Command::new("kcat");
    kcat.args(["-C", "-e", "-q", "-o", "beginning", "-b", brokers, "-t", "full-events"]).stdout(Stdio::null());
    assert!(kcat.status().expect("kcat is installed").success(), "kcat reads the topic");
    EVENTS as f64 / start.elapsed().as_secs_f64()
}

/// From the first event in the log: until all are, and until all are judged.
fn ours(scene: &Scene, group: &str, rules: Option<&Path>) -> (f64, f64) {
    let server = scene.start("full", group, rules);
    let begun = loop {
        let (end, _) = server.reached();
        if end > 1 {
            break (Instant::now(), end);
        }
        pause(Duration::from_millis(1));
    };
    let mut taken = None;
    loop {
        let (end, judged) = server.reached();
        let all = |to: u64| to > EVENTS;
        if all(end) && taken.is_none() {
            taken = Some((EVENTS - begun.1) as f64 / begun.0.elapsed().as_secs_f64());
        }
        if let Some(taken) = taken.filter(|_| all(judged)) {
            return (taken, (EVENTS - begun.1) as f64 / begun.0.elapsed().as_secs_f64());
        }
        pause(Duration::from_millis(5));
    }
}

/// From the sending of an event to its detection on the topic, at 5,000 events/s.
fn latency(scene: &Scene) {
    const RATE: usize = 5_000;
    scene.topics("live");
    let server = scene.start("live", "latency", None);
    pause(Duration::from_secs(5));
    let stop = AtomicBool::new(false);
    let (sent, heard) = std::thread::scope(|scope| {
        let hearing = scope.spawn(|| hear(scene, &stop));
        pause(Duration::from_secs(3));
        let sent = drive(scene, RATE);
        pause(Duration::from_secs(3));
        stop.store(true, Ordering::Relaxed);
        (sent, hearing.join().expect("the listener"))
    });
    drop(server);
    let mut took: Vec<f64> =
        sent.iter().filter_map(|(id, at)| Some(heard.get(id)?.duration_since(*at).as_secs_f64() * 1e3)).collect();
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took.get((took.len().saturating_sub(1) as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    let late = sent.len() - took.len();
    println!("\nfrom the producer to the detection on the topic, ms, {RATE} events/s for 20 s, all shipped rules");
    println!("{:>11} {:>8} {:>8} {:>8} {:>8}", "detections", "p50", "p99", "max", "late");
    println!("{:>11} {:>8.1} {:>8.1} {:>8.1} {late:>8}", took.len(), at(0.5), at(0.99), at(1.0));
}

/// Sends for 20 s, a batch each 10 ms, one event of each to be detected. When each was handed to the producer.
fn drive(scene: &Scene, rate: usize) -> BTreeMap<String, Instant> {
    let publisher = Publisher::open(&scene.settings("drive")).expect("a producer");
    let malware = |id: &str| {
        format!(
            r#"{{"event_id":"{id}","timestamp":"2026-03-01T10:00:00Z","source":"endpoint","event_type":"malware_detected","source_ip":"203.0.113.7"}}"#
        )
    };
    // One goes the whole way before, so that no producer's first connection is measured.
    let first = record("live-events", "203.0.113.7".to_owned(), malware("first"));
    publisher.send_blocking(vec![first]).expect("the broker takes it");
    pause(Duration::from_secs(2));
    let (mut random, mut sent, start) = (Random(2), BTreeMap::new(), Instant::now());
    for n in 0..2_000_u32 {
        let id = format!("lat-{n}");
        let mut batch: Vec<OutRecord> = (1..rate / 100)
            .map(|_| record("live-events", format!("ws{}", random.below(500)), event(&mut random)))
            .collect();
        batch.push(record("live-events", "203.0.113.7".to_owned(), malware(&id)));
        let due = start + Duration::from_millis(10) * n;
        pause(due.saturating_duration_since(Instant::now()));
        sent.insert(id, Instant::now());
        // Its fate is of no interest here: what is not delivered is late for ever.
        drop(publisher.begin_blocking(batch).expect("there is room"));
    }
    sent
}

/// Reads the topic of detections. When each was first there, by event id.
fn hear(scene: &Scene, stop: &AtomicBool) -> BTreeMap<String, Instant> {
    let mut consumer = Consumer::open(&scene.settings("hear"), &["live-detections"]).expect("a consumer");
    let mut heard = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        let Next::Records(batch) = consumer.next(Duration::from_millis(20)).expect("it is a member") else { continue };
        for record in batch.iter() {
            let text = String::from_utf8_lossy(record.value.unwrap_or_default());
            if let Some(id) = text.split("\"event_id\":\"").nth(1).and_then(|rest| rest.split('"').next()) {
                heard.entry(id.to_owned()).or_insert_with(Instant::now);
            }
        }
    }
    heard
}
