//! What the running binary does: how fast it accepts, how soon a detection is published, what it holds.
//!
//! Run: `cargo xtask bench pipeline`, or `cargo bench --profile quick -p vertice --bench pipeline -- [accept|latency|million|stages]`.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use vertice_engine::{Content, ContentFile, Engine, Input, Screener, Stamp};
use vertice_model::{Position, Timestamp};
use vertice_store::{Options, Store, Submission};
use vertice_stream::{Item, Progress};
use vertice_testkit::{files_below, known_answers, root};

/// Size of an event, in bytes.
const EVENT_BYTES: usize = 1_024;
/// How often each of the two is measured, alternating; the median is printed.
const ROUNDS: usize = 3;
/// How long a round takes.
const ROUND: Duration = Duration::from_secs(4);

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let dir = tempfile::tempdir().expect("a directory to write to");
    for (name, part) in
        [("accept", accept as fn(&Path)), ("latency", latency), ("million", million), ("stages", stages)]
    {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            part(dir.path());
        }
    }
}

/// A `vertice up` on a free port.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(data: &Path) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_vertice"))
            .args(["up", "--no-local-sources", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .env("VERTICE_LOG", "error")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it says that it is ready");
        let url = line.split_whitespace().find_map(|w| w.strip_prefix("http://")).expect("an address");
        Server { address: url.to_owned(), child }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        stream
    }

    /// A number of `/proc/PID/status`, in KiB.
    fn memory_kib(&self, key: &str) -> u64 {
        memory_kib(self.child.id(), key).unwrap_or(0)
    }

    fn lag(&self) -> u64 {
        let mut stream = self.connect();
        stream
            .write_all(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers");
        let after = text.split("\"lag\":").nth(1).expect("a status has a lag");
        after.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a number")
    }

    fn settled(&self) {
        while self.lag() > 0 {
            pause(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn memory_kib(pid: u32, key: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|l| l.strip_prefix(key)?.trim_start_matches(':').split_whitespace().next()?.parse().ok())
}

/// Waits on a channel that nobody sends on.
fn pause(time: Duration) {
    let (_keep, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(time);
}

/// Numbers that are the same in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// A process start as Sysmon writes it, of [`EVENT_BYTES`], on one of 500 hosts.
fn event(random: &mut Random) -> String {
    let (a, b) = (random.next(), random.next());
    let mut line = format!(
        r#"{{"EventID":1,"Channel":"Microsoft-Windows-Sysmon/Operational","Hostname":"ws{:03}.corp.example","EventTime":"2026-03-01 10:{:02}:{:02}","ProcessGuid":"{{{a:016x}-{b:016x}}}","ProcessId":"{}","Image":"C:\\Program Files\\App{:02}\\app{:02}.exe","CommandLine":"app{:02}.exe --job {a:x} --out C:\\Users\\u{:03}\\AppData\\Local\\App\\{b:x}.dat","ParentImage":"C:\\Windows\\explorer.exe","User":"CORP\\u{:03}","Hashes":"SHA256={a:016X}{b:016X}{a:016X}{b:016X},MD5={b:016X}{a:016X}","RuleName":""#,
        a % 500,
        a / 500 % 60,
        b % 60,
        b % 60_000,
        a % 40,
        b % 40,
        b % 40,
        a % 300,
        a % 300,
    );
    while line.len() < EVENT_BYTES - 2 {
        write!(line, "{:x}", random.next()).expect("writing to a string does not fail");
    }
    line.truncate(EVENT_BYTES - 2);
    line.push_str("\"}");
    line
}

/// Whole requests of `batch` events each.
fn requests(batch: usize, count: usize, random: &mut Random) -> Vec<Vec<u8>> {
    let request = |_| {
        let body = (0..batch).map(|_| event(random) + "\n").collect::<String>();
        post(&body)
    };
    (0..count).map(request).collect()
}

fn post(body: &str) -> Vec<u8> {
    let head = format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// Sends a request and reads the answer; its status.
fn exchange(stream: &mut BufReader<TcpStream>, request: &[u8]) -> u16 {
    stream.get_mut().write_all(request).expect("it reads");
    let (mut status, mut length) = (0, 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).expect("it answers");
        if status == 0 {
            status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status line");
        }
        if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = n.trim().parse().expect("a length");
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("it answers whole");
    status
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// Durable accept over HTTP beside a bare append-and-fdatasync loop.
fn accept(dir: &Path) {
    println!("durable accept, events/s of {EVENT_BYTES} B, median of {ROUNDS} rounds of {} s", ROUND.as_secs());
    println!("{:>6} {:>12} {:>12} {:>12} {:>6}", "batch", "connections", "bare file", "over HTTP", "ratio");
    let mut random = Random(1);
    for (batch, connections) in [(64, 1), (64, 16), (1_024, 1), (1_024, 4)] {
        let requests = requests(batch, 4_096 / batch.min(4_096) * 4, &mut random);
        let (mut bare, mut http) = (Vec::new(), Vec::new());
        for n in 0..ROUNDS {
            bare.push(bare_file(dir, &requests, batch));
            let server = Server::start(&dir.join(format!("accept-{batch}-{connections}-{n}")));
            server.settled();
            http.push(over_http(&server, &requests, batch, connections));
        }
        let (bare, http) = (median(bare), median(http));
        println!("{batch:>6} {connections:>12} {bare:>12.0} {http:>12.0} {:>6.2}", http / bare);
    }
}

fn bare_file(dir: &Path, requests: &[Vec<u8>], batch: usize) -> f64 {
    let path = dir.join("bare");
    let mut file = File::create(&path).expect("a file");
    let start = Instant::now();
    let mut events = 0;
    for request in requests.iter().cycle() {
        // The body alone: what a log must keep.
        file.write_all(&request[request.len() - batch * (EVENT_BYTES + 1)..]).expect("space on the disk");
        file.sync_data().expect("a disk");
        events += batch;
        if start.elapsed() >= ROUND {
            break;
        }
    }
    let rate = events as f64 / start.elapsed().as_secs_f64();
    std::fs::remove_file(path).expect("it is there");
    rate
}

fn over_http(server: &Server, requests: &[Vec<u8>], batch: usize, connections: usize) -> f64 {
    let start = Instant::now();
    let sent: usize = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..connections)
            .map(|n| {
                let mut stream = BufReader::new(server.connect());
                scope.spawn(move || {
                    let mut accepted = 0;
                    for request in requests.iter().cycle().skip(n * 7) {
                        match exchange(&mut stream, request) {
                            202 => accepted += batch,
                            503 => pause(Duration::from_millis(5)),
                            status => panic!("answered with {status}"),
                        }
                        if start.elapsed() >= ROUND {
                            break;
                        }
                    }
                    accepted
                })
            })
            .collect();
        senders.into_iter().map(|s| s.join().expect("a sender")).sum()
    });
    sent as f64 / start.elapsed().as_secs_f64()
}

/// From sending an event to hearing of its detection on the live stream.
fn latency(dir: &Path) {
    println!("\nsent to detection heard on the live stream, ms, all shipped rules, 20 s each");
    println!("{:>9} {:>11} {:>8} {:>8} {:>8} {:>8}", "events/s", "detections", "p50", "p99", "max", "late");
    for rate in [1_000, 5_000] {
        let server = Server::start(&dir.join(format!("latency-{rate}")));
        server.settled();
        let stop = AtomicBool::new(false);
        let (sent, heard) = std::thread::scope(|scope| {
            let hearing = scope.spawn(|| hear(&server, &stop));
            let sent = drive(&server, rate);
            server.settled();
            pause(Duration::from_secs(1));
            stop.store(true, Ordering::Relaxed);
            // One more, so that the listener wakes and sees that it is over.
            exchange(&mut BufReader::new(server.connect()), &post(&malware("end")));
            (sent, hearing.join().expect("the listener"))
        });
        let mut took: Vec<f64> =
            sent.iter().filter_map(|(id, at)| Some(heard.get(id)?.duration_since(*at).as_secs_f64() * 1e3)).collect();
        took.sort_by(f64::total_cmp);
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
        let missed = sent.len() - took.len();
        println!("{rate:>9} {:>11} {:>8.1} {:>8.1} {:>8.1} {missed:>8}", took.len(), at(0.5), at(0.99), at(1.0));
    }
}

fn malware(id: &str) -> String {
    format!(
        r#"{{"event_id":"{id}","timestamp":"2026-03-01T10:00:00Z","source":"endpoint","event_type":"malware_detected","source_ip":"203.0.113.7"}}"#
    )
}

/// Sends `rate` events a second for 20 s, a batch each 10 ms, one event of each to be detected. When each was sent.
fn drive(server: &Server, rate: usize) -> BTreeMap<String, Instant> {
    let mut random = Random(2);
    let mut stream = BufReader::new(server.connect());
    let mut sent = BTreeMap::new();
    let start = Instant::now();
    for n in 0..2_000_u32 {
        let id = format!("lat-{n}");
        let body = (1..rate / 100).map(|_| event(&mut random) + "\n").collect::<String>() + &malware(&id);
        let due = start + Duration::from_millis(10) * n;
        pause(due.saturating_duration_since(Instant::now()));
        sent.insert(id, Instant::now());
        let status = exchange(&mut stream, &post(&body));
        assert_eq!(status, 202);
    }
    sent
}

/// Listens to the live stream. When each detection was first heard of, by event id.
fn hear(server: &Server, stop: &AtomicBool) -> BTreeMap<String, Instant> {
    let mut stream = server.connect();
    stream.write_all(b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
    let mut heard = BTreeMap::new();
    for line in BufReader::new(stream).lines() {
        let line = line.expect("the stream stays open");
        if let Some(id) = line.split("\"event_id\":\"").nth(1).and_then(|rest| rest.split('"').next()) {
            heard.entry(id.to_owned()).or_insert_with(Instant::now);
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    heard
}

/// A million events: replayed from a file, and sent to a server; what both hold at the end.
fn million(dir: &Path) {
    let path = dir.join("million.ndjson");
    let mut random = Random(3);
    let mut file = std::io::BufWriter::new(File::create(&path).expect("a file"));
    for _ in 0..1_000_000 {
        writeln!(file, "{}", event(&mut random)).expect("space on the disk");
    }
    file.flush().expect("space on the disk");
    let start = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_vertice"))
        .args(["replay", "-o", "ndjson", "--data"])
        .arg(dir.join("replayed"))
        .arg(&path)
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut most_kib = 0;
    while child.try_wait().expect("a child").is_none() {
        most_kib = most_kib.max(memory_kib(child.id(), "VmHWM").unwrap_or(0));
        pause(Duration::from_millis(100));
    }
    let took = start.elapsed().as_secs_f64();
    println!("\na million events of {EVENT_BYTES} B, all shipped rules");
    println!("replay: {took:.1} s, {:.0} events/s, at most {} MiB resident", 1e6 / took, most_kib / 1024);
    let server = Server::start(&dir.join("replayed"));
    server.settled();
    println!("a server started on that data: {} MiB resident", server.memory_kib("VmRSS") / 1024);
    drop(server);

    let server = Server::start(&dir.join("sent"));
    let requests = requests(1_000, 100, &mut random);
    let mut stream = BufReader::new(server.connect());
    for request in requests.iter().cycle().take(1_000) {
        while exchange(&mut stream, request) == 503 {
            pause(Duration::from_millis(5));
        }
    }
    server.settled();
    let (now, most) = (server.memory_kib("VmRSS") / 1024, server.memory_kib("VmHWM") / 1024);
    println!("a server that a million events were sent to: {now} MiB resident, at most {most} MiB");
}

/// Where the time of a replay goes: each stage by itself, one after the other, over recorded Windows events.
fn stages(dir: &Path) {
    let (Some(rules), Some(recordings)) = (known_answers("sigma/rules"), known_answers("security-datasets")) else {
        println!("\nstages: left out, for the recordings are not there");
        return;
    };
    let shipped = root().join("content");
    let mut files = Vec::new();
    for (kind, folder) in [("mappings", shipped.join("mappings")), ("rules", shipped.join("rules")), ("rules", rules)] {
        for path in files_below(&folder, ".yml").into_iter().filter(|path| !path.to_string_lossy().contains("/cases/"))
        {
            let text = std::fs::read_to_string(&path).expect("a content file");
            files.push(ContentFile { path: format!("{kind}:{}", path.display()), text });
        }
    }
    let content = Arc::new(Content::compile(files));
    let now: Timestamp = "2026-03-01T12:00:00Z".parse().expect("a time");
    let store = Store::open(&dir.join("stages"), Arc::new(move || now), Options::default()).expect("a store");
    let mut engine = Engine::default();
    put(&store, &mut engine, &content, now);
    let mut times = Times { last_s: cpu_s(), stages: Vec::new() };

    let mut events = Vec::new();
    let found = vertice_stream::find(&[recordings]);
    for path in &found.files {
        let mut take = |item| {
            if let Item::Event(event, _) = item {
                events.push(event);
            }
            ControlFlow::Continue(())
        };
        let _ = vertice_stream::read(path, &Progress::new(found.bytes), &mut take);
    }
    times.end("unzip and split");
    for batch in events.chunks(1_024) {
        let submission = Submission { events: batch.to_vec(), ..Submission::default() };
        store.submit_blocking(submission).expect("space on the disk");
    }
    times.end("log");
    let inputs = store.read(engine.next(), events.len() as u64).expect("a log");
    times.end("read the log");
    for (stamp, input) in &inputs {
        let Input::Events(events) = input else { continue };
        events.iter().for_each(|raw| _ = black_box(content.mappings.read(*stamp, raw)));
    }
    times.end("parse");
    let mut screener = Screener::new(&content);
    let screen = |(stamp, input): &(Stamp, Input)| match input {
        Input::Events(events) => (*stamp, screener.screen(*stamp, events)),
        _ => unreachable!("only events were put into the log"),
    };
    let screened: Vec<_> = inputs.iter().map(screen).collect();
    times.end("screen");
    let effects: Vec<_> = screened.into_iter().flat_map(|(stamp, screened)| engine.judge(stamp, screened)).collect();
    times.end("judge");
    let up_to = Position(engine.next().0 - 1);
    store.project(up_to, &effects).expect("a store").wait().expect("space on the disk");
    times.end("project");
    times.print(events.len());
}

/// Puts the content into force.
fn put(store: &Store, engine: &mut Engine, content: &Arc<Content>, now: Timestamp) {
    let accepted = store.append_blocking(Input::Content(Arc::clone(content))).expect("space on the disk");
    engine.apply(Stamp { position: accepted.first, now }, &Input::Content(Arc::clone(content)));
}

/// What each stage took of the processor, in seconds.
struct Times {
    last_s: f64,
    stages: Vec<(&'static str, f64)>,
}

impl Times {
    fn end(&mut self, stage: &'static str) {
        let now_s = cpu_s();
        self.stages.push((stage, now_s - self.last_s));
        self.last_s = now_s;
    }

    /// Screening reads each event too, so what reading takes is taken off it.
    fn print(mut self, events: usize) {
        let parse_s = self.stages.iter().find(|(stage, _)| *stage == "parse").map_or(0.0, |(_, s)| *s);
        self.stages.iter_mut().filter(|(stage, _)| *stage == "screen").for_each(|(_, s)| *s -= parse_s);
        let all_s: f64 = self.stages.iter().map(|(_, s)| s).sum();
        println!(
            "\nstages of a replay of {events} recorded Windows events\n\n| stage | us an event | share |\n|---|---|---|"
        );
        for (stage, s) in self.stages {
            println!("| {stage} | {:.2} | {:.0} % |", s * 1e6 / events as f64, s * 100.0 / all_s);
        }
    }
}

/// Processor time of all threads that run, in seconds.
fn cpu_s() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").expect("proc(5)");
    let of = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("schedstat")).ok();
    let ns = |text: String| text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok());
    threads.flatten().filter_map(of).filter_map(ns).sum::<f64>() / 1e9
}
