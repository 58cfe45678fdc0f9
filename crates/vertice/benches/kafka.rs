//! What the running binary does with a real topic of Kafka, beside kcat reading the same topic in the same run.
//!
//! Run: `cargo xtask bench kafka`, or `cargo bench --profile quick -p vertice --bench kafka -- [throughput|latency|many]`.
//! Needs Java, Maven for the first run, and kcat; `many`, where instances share the work, PostgreSQL.

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
use vertice_testkit::postgres::Postgres;
use vertice_testkit::{Random, known_answers};

/// Size of an event, in bytes.
const EVENT_BYTES: usize = 1_024;
/// Events of the topic that is read.
const EVENTS: u64 = 400_000;
/// Events of the topic that instances share.
const SHARED_EVENTS: u64 = 200_000;
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
    for (name, part) in [("throughput", throughput as fn(&Scene)), ("latency", latency), ("many", many)] {
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
        let wanted = ["events", "detections", "threats", "responses", "deadletter", "hits"].map(wanted);
        check(&self.settings("topics"), &wanted, Patience::default()).expect("topics are made");
    }

    /// A `vertice up` that reads the topics of a name in a group of its own.
    fn start(&self, name: &str, group: &str, rules: Option<&Path>) -> Server {
        self.start_sharing((name, group), (0, ""), rules)
    }

    /// As [`Scene::start`], one of several by its number, with further settings.
    fn start_sharing(&self, (name, group): (&str, &str), (n, further): (usize, &str), rules: Option<&Path>) -> Server {
        let config = self.dir.join(format!("{group}.toml"));
        let text = format!(
            "{further}[stream.kafka]\nbrokers = [\"{}\"]\ngroup = \"{group}\"\n[stream.kafka.topics]\n\
             events = \"{name}-events\"\ndetections = \"{name}-detections\"\nthreats = \"{name}-threats\"\n\
             responses = \"{name}-responses\"\ndeadletter = \"{name}-deadletter\"\nhits = \"{group}-hits\"\n",
            self.brokers
        );
        File::create(&config).and_then(|mut file| file.write_all(text.as_bytes())).expect("a configuration");
        let mut command = Command::new(env!("CARGO_BIN_EXE_vertice"));
        command.args(["up", "--no-local-sources", "--listen", "127.0.0.1:0", "--config"]).arg(config);
        command.arg("--data").arg(self.dir.join(format!("{group}-{n}"))).env("VERTICE_LOG", "error");
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
    fn status(&self) -> serde_json::Value {
        let asked = ureq::get(format!("{}/api/v1/status", self.url)).call();
        asked.and_then(|mut answer| answer.body_mut().read_json()).expect("it answers")
    }

    /// How far the log reaches, and how far it is judged.
    fn reached(&self) -> (u64, u64) {
        let status = self.status();
        (status["log_end"].as_u64().unwrap_or(0), status["judged_to"].as_u64().unwrap_or(0))
    }

    /// How many detections there are, of all shards where there are several.
    fn detections(&self) -> u64 {
        self.status()["counts"]["detections"].as_u64().unwrap_or(0)
    }

    /// How many events of Kafka it has screened and handed on.
    fn screened(&self) -> u64 {
        let asked = ureq::get(format!("{}/metrics", self.url)).call();
        let text = asked.and_then(|mut answer| answer.body_mut().read_to_string()).expect("it answers");
        let of = |line: &str| line.strip_prefix("vertice_events_accepted_total{source=\"kafka\"} ")?.parse().ok();
        text.lines().find_map(of).unwrap_or(0)
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

/// An event that a shipped rule detects.
fn malware(id: &str, address: &str) -> String {
    format!(
        r#"{{"event_id":"{id}","timestamp":"2026-03-01T10:00:00Z","source":"endpoint","event_type":"malware_detected","source_ip":"{address}"}}"#
    )
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
    scene.topics("live");
    let _server = scene.start("live", "latency", None);
    pause(Duration::from_secs(5));
    println!("\nfrom the producer to the detection on the topic, ms, all shipped rules");
    println!(
        "{:>9} {:>9} {:>11} {:>8} {:>8} {:>8} {:>8}",
        "instances", "events/s", "detections", "p50", "p99", "max", "late"
    );
    time(scene, "live", 1, 5_000);
}

/// Measures for 20 s at a rate how long detections of one of a hundredth of a second take.
fn time(scene: &Scene, name: &str, instances: usize, rate: usize) {
    let stop = AtomicBool::new(false);
    let (sent, heard) = std::thread::scope(|scope| {
        let hearing = scope.spawn(|| hear(scene, name, &stop));
        pause(Duration::from_secs(3));
        let sent = drive(scene, name, rate);
        pause(Duration::from_secs(3));
        stop.store(true, Ordering::Relaxed);
        (sent, hearing.join().expect("the listener"))
    });
    let mut took: Vec<f64> =
        sent.iter().filter_map(|(id, at)| Some(heard.get(id)?.duration_since(*at).as_secs_f64() * 1e3)).collect();
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took.get((took.len().saturating_sub(1) as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    let late = sent.len() - took.len();
    println!(
        "{instances:>9} {rate:>9} {:>11} {:>8.1} {:>8.1} {:>8.1} {late:>8}",
        took.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

/// One instance and three that share the work over PostgreSQL: how fast they judge a topic that is full, of which each
/// hundredth event is detected, and how long detections take at a rate that leaves them time.
fn many(scene: &Scene) {
    let Some(postgres) = Postgres::start(&scene.dir, "instances that share the work") else { return };
    scene.topics("shared");
    let (publisher, mut random) = (Publisher::open(&scene.settings("fill")).expect("a producer"), Random(3));
    for share in 0..SHARED_EVENTS / 1_000 {
        let one = |n: u64| match n % 100 {
            0 => {
                let address = format!("10.0.{}.{}", share % 250, n / 100);
                let line = malware(&format!("full-{share}-{n}"), &address);
                record("shared-events", address, line)
            }
            _ => record("shared-events", format!("ws{}", random.below(500)), event(&mut random)),
        };
        publisher.send_blocking((0..1_000).map(one).collect()).expect("it is delivered");
    }
    println!("\n{SHARED_EVENTS} events of {EVENT_BYTES} B, one in 100 detected, {PARTITIONS} partitions and shards");
    println!("{:>9} {:>14} {:>14}", "instances", "screened/s", "judged/s");
    for count in [1, 3] {
        let group = format!("full{count}");
        let (screened, judged) = rates(&sharing(scene, &postgres, ("shared", &group), count));
        println!("{count:>9} {screened:>14.0} {judged:>14.0}");
    }
    println!("\nfrom the producer to the detection on the topic, ms, all shipped rules");
    println!(
        "{:>9} {:>9} {:>11} {:>8} {:>8} {:>8} {:>8}",
        "instances", "events/s", "detections", "p50", "p99", "max", "late"
    );
    for count in [1, 3] {
        let name = format!("live{count}");
        let _servers = sharing(scene, &postgres, (&name, &name), count);
        pause(Duration::from_secs(10));
        time(scene, &name, count, 1_000);
    }
}

/// Instances with a database and a topic of hits of their own.
fn sharing(scene: &Scene, postgres: &Postgres, (name, group): (&str, &str), count: usize) -> Vec<Server> {
    postgres.database(group);
    scene.topics(group);
    let further = format!(
        "[store.postgres]\nhost = {:?}\nport = {}\ndb = {group:?}\naudit_dir = {:?}\n",
        postgres.socket(),
        postgres.port(),
        scene.dir.join(format!("{group}-key"))
    );
    (0..count).map(|n| scene.start_sharing((name, group), (n, &further), None)).collect()
}

/// From the first event that was screened by any of them: until all are, and until all that matched are detected.
fn rates(servers: &[Server]) -> (f64, f64) {
    let screened = || servers.iter().map(Server::screened).sum::<u64>();
    let mut begun = None;
    let mut all = None;
    loop {
        let now = screened();
        if now > 0 && begun.is_none() {
            begun = Some((Instant::now(), now));
        }
        let rate = |(since, first): (Instant, u64)| (SHARED_EVENTS - first) as f64 / since.elapsed().as_secs_f64();
        if now >= SHARED_EVENTS && all.is_none() {
            all = begun.map(rate);
        }
        let detected = all.is_some() && servers[0].detections() >= SHARED_EVENTS / 100;
        if let Some((screened, judged)) = all.zip(begun.filter(|_| detected).map(rate)) {
            return (screened, judged);
        }
        pause(Duration::from_millis(5));
    }
}

/// Sends for 20 s, a batch each 10 ms, one event of each to be detected. When each was handed to the producer.
fn drive(scene: &Scene, name: &str, rate: usize) -> BTreeMap<String, Instant> {
    let publisher = Publisher::open(&scene.settings("drive")).expect("a producer");
    let (topic, address) = (format!("{name}-events"), "203.0.113.7");
    // One goes the whole way before, so that no producer's first connection is measured.
    let first = record(&topic, address.to_owned(), malware("first", address));
    publisher.send_blocking(vec![first]).expect("the broker takes it");
    pause(Duration::from_secs(2));
    let (mut random, mut sent, start) = (Random(2), BTreeMap::new(), Instant::now());
    for n in 0..2_000_u32 {
        let id = format!("lat-{n}");
        let mut batch: Vec<OutRecord> =
            (1..rate / 100).map(|_| record(&topic, format!("ws{}", random.below(500)), event(&mut random))).collect();
        batch.push(record(&topic, address.to_owned(), malware(&id, address)));
        let due = start + Duration::from_millis(10) * n;
        pause(due.saturating_duration_since(Instant::now()));
        sent.insert(id, Instant::now());
        // Its fate is of no interest here: what is not delivered is late for ever.
        drop(publisher.begin_blocking(batch).expect("there is room"));
    }
    sent
}

/// Reads the topic of detections. When each was first there, by event id.
fn hear(scene: &Scene, name: &str, stop: &AtomicBool) -> BTreeMap<String, Instant> {
    let topic = format!("{name}-detections");
    let mut consumer = Consumer::open(&scene.settings("hear"), &[&topic]).expect("a consumer");
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
