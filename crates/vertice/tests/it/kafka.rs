//! Kafka beside the embedded store, against a real broker: events in, detections out, whatever is killed.

mod disk;
#[cfg(feature = "kafka-tls")]
mod guarded;
mod lag;
mod pressure;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};
use vertice_stream::kafka::{Consumer, Next, OutRecord, Patience, Publisher, Settings, Wanted, check};
use vertice_testkit::kafka::{Cluster, PASSWORD, USER, missing, shared};
use vertice_testkit::{Random, long};

use crate::process::{KEY, Server, until, vertice};

const PARTITIONS: i32 = 4;

/// Topics and a group of a test's own, a store, and the configuration for them.
struct Scene {
    brokers: String,
    prefix: String,
    dir: tempfile::TempDir,
}

/// A record of a topic.
#[derive(Clone, Debug)]
struct Told {
    key: String,
    headers: BTreeMap<String, String>,
    value: Value,
}

impl Scene {
    /// One with the broker that all share; `None`, having said so, where there is no Kafka.
    fn here() -> Option<Scene> {
        match missing() {
            Some(missing) => {
                println!("{missing}");
                None
            }
            None => Some(Scene::new(shared())),
        }
    }

    fn new(cluster: &Cluster) -> Scene {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("t{}-{count}-", std::process::id());
        let scene = Scene { brokers: cluster.brokers(), prefix, dir: tempfile::tempdir().unwrap() };
        scene.write("vertice.toml", &scene.config());
        let names = ["events", "detections", "threats", "responses", "deadletter"];
        let wanted =
            |name: &str| Wanted { topic: scene.topic(name), partitions: PARTITIONS, replication: 1, create: true };
        check(&scene.settings(), &names.map(wanted), Patience::default()).unwrap();
        scene
    }

    fn config(&self) -> String {
        let Scene { brokers, prefix, .. } = self;
        format!(
            "[stream.kafka]\nbrokers = [\"{brokers}\"]\ngroup = \"{prefix}group\"\n\
             [stream.kafka.topics]\n\
             events = \"{prefix}events\"\ndetections = \"{prefix}detections\"\nthreats = \"{prefix}threats\"\n\
             responses = \"{prefix}responses\"\ndeadletter = \"{prefix}deadletter\"\n"
        )
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        path
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn start(&self) -> Server {
        let config = self.dir.path().join("vertice.toml").display().to_string();
        Server::start_with(&self.data(), &["--config", &config])
    }

    fn command(&self, arguments: &[&str]) -> std::process::Output {
        let config = self.dir.path().join("vertice.toml");
        vertice().args(arguments).arg("--config").arg(config).env("VERTICE_API_KEY", KEY).output().unwrap()
    }

    fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn settings(&self) -> Settings {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let group = format!("{}reader{}", self.prefix, COUNT.fetch_add(1, Ordering::Relaxed));
        Settings { headers: true, ..Settings::new(&self.brokers, group) }
    }

    fn publisher(&self) -> Publisher {
        Publisher::open(&self.settings()).unwrap()
    }

    /// Everything that a topic has now.
    fn read(&self, name: &str) -> Vec<Told> {
        let mut consumer = Consumer::open(&self.settings(), &[&self.topic(name)]).unwrap();
        let (mut told, mut ended) = (Vec::new(), BTreeSet::new());
        while ended.len() < PARTITIONS as usize {
            match consumer.next(Duration::from_millis(100)).unwrap() {
                Next::Records(batch) => {
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    told.extend(batch.iter().map(|r| {
                        Told {
                            key: r.key.map(text).unwrap_or_default(),
                            headers: r
                                .headers
                                .iter()
                                .map(|(name, value)| (name.to_owned(), text(value.unwrap_or_default())))
                                .collect(),
                            value: r
                                .value
                                .map(|v| serde_json::from_slice(v).unwrap_or_else(|_| text(v).into()))
                                .unwrap(),
                        }
                    }));
                }
                Next::End { held, .. } => _ = ended.insert(held.partition.number),
                Next::Assigned(_) | Next::Revoked { .. } | Next::Quiet => {}
            }
        }
        told
    }

    /// Waits until everything that the topic of events has is in the log, judged and published.
    fn wait(&self, server: &Server, events: usize) {
        until("everything is in the log", || {
            let metrics = metrics(server);
            metric(&metrics, "vertice_log_lag_positions") == Some(0.0)
                && metric(&metrics, "vertice_events_accepted_total") >= Some(events as f64)
        });
    }
}

fn metrics(server: &Server) -> String {
    server.text("/metrics")
}

/// The sum of a metric's series.
fn metric(text: &str, name: &str) -> Option<f64> {
    let of = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        (series.split('{').next() == Some(name)).then(|| value.parse::<f64>().unwrap())
    };
    text.lines().filter_map(of).reduce(|a, b| a + b)
}

/// A failed login with an id that says who made it.
fn login(id: &str, address: &str, second: usize) -> Value {
    json!({"event_id": id, "timestamp": format!("2026-03-01T10:{:02}:{:02}Z", second / 60 % 60, second % 60),
        "source": "endpoint", "event_type": "failed_login", "source_ip": address, "payload": {"user": "root"}})
}

fn record(topic: &str, key: &str, value: impl Into<Vec<u8>>) -> OutRecord {
    let (key, value) = (Some(key.as_bytes().to_vec()), Some(value.into()));
    OutRecord { topic: topic.into(), key, value, ..OutRecord::default() }
}

/// The senders' ids of all events in the log, and how often each is there.
fn ids_in_log(server: &Server) -> BTreeMap<String, usize> {
    let (mut ids, mut from) = (BTreeMap::new(), 1);
    loop {
        let page = server.get(&format!("/api/v1/events?limit=1000&from={from}"));
        for event in page["items"].as_array().expect("a list has items") {
            if let Some(id) = event["event"]["event_id"].as_str() {
                *ids.entry(id.to_owned()).or_default() += 1;
            }
        }
        match page["next_from"].as_u64() {
            Some(next) => from = next,
            None => return ids,
        }
    }
}

/// Detections by id, as the API has them.
fn detections(server: &Server) -> BTreeMap<String, Value> {
    let all = server.all("/api/v1/defense/detections");
    all.into_iter().map(|d| (d["detection_id"].as_str().unwrap().to_owned(), d)).collect()
}

/// The topic says what the API says: every detection, each under one id.
fn same_on_the_topic(scene: &Scene, server: &Server) -> usize {
    let ids = |told: &[Told]| -> BTreeSet<String> {
        told.iter().map(|t| t.value["detection_id"].as_str().unwrap().to_owned()).collect()
    };
    let (mut here, mut there) = (BTreeMap::new(), Vec::new());
    until("the topic has the detections that the API has, and no others", || {
        server.settled();
        (here, there) = (detections(server), scene.read("detections"));
        here.keys().cloned().collect::<BTreeSet<_>>() == ids(&there)
    });
    let mut by_what: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for told in there {
        let text = |name: &str| told.value[name].as_str().unwrap().to_owned();
        let id = text("detection_id");
        assert_eq!(told.headers["ce_id"], id);
        by_what.entry((text("event_id"), text("rule_id"))).or_default().insert(id);
    }
    for (what, ids) in &by_what {
        assert_eq!(ids.len(), 1, "{what:?} is a detection with several ids: {ids:?}");
    }
    here.len()
}

#[test]
fn events_come_in_and_what_comes_of_them_goes_out() {
    let Some(scene) = Scene::here() else { return };
    let server = scene.start();
    let topic = scene.topic("events");
    let publisher = scene.publisher();
    let mut records: Vec<OutRecord> = Vec::new();
    for i in 0..60 {
        records.push(record(&topic, "203.0.113.9", login(&format!("e{i}"), "203.0.113.9", i).to_string()));
    }
    let own = "Mar  2 09:00:00 web-01 sshd[4410]: Failed password for root from 203.0.113.10 port 51544 ssh2";
    records.push(record(&topic, "203.0.113.10", own));
    records.push(record(&topic, "k", "{\"no\": \"event\""));
    records.push(record(&topic, "k", vec![0xff, 0xfe]));
    publisher.send_blocking(records).unwrap();
    scene.wait(&server, 61);
    assert!(same_on_the_topic(&scene, &server) > 0, "guessing is detected");

    let told = scene.read("detections");
    for name in ["detection_id", "event_id", "is_threat", "confidence", "severity", "mitre_techniques", "timestamp"] {
        assert!(told[0].value.get(name).is_some(), "{name} of {:#}", told[0].value);
    }
    let headers = &told[0].headers;
    assert_eq!((headers["ce_specversion"].as_str(), headers["ce_type"].as_str()), ("1.0", "vertice.detection"));
    assert_eq!((headers["content-type"].as_str(), told[0].key.as_str()), ("application/json", "203.0.113.9"));
    until("the threat is on its topic", || !scene.read("threats").is_empty());
    let threat = scene.read("threats").pop().unwrap();
    assert!((1..=10).contains(&threat.value["severity"].as_u64().unwrap()), "{:#}", threat.value);
    assert_eq!((&threat.value["threat_actor"], threat.key.as_str()), (&Value::Null, "203.0.113.9"));
    // A run that waits for a person is not over.
    assert!(scene.read("responses").is_empty());
    for question in server.all("/api/v1/defense/approvals") {
        let path = format!("/api/v1/defense/approvals/{}", question["question_id"].as_str().unwrap());
        let no = json!({"approve": false, "plan_digest": question["plan_digest"]});
        server.post_json(&path, &no).expect("it answers");
    }
    until("the response is on its topic", || !scene.read("responses").is_empty());
    assert_eq!(scene.read("responses")[0].value["playbook_id"], "brute_force_response");

    let mut letters = Vec::new();
    until("what can not be read is on its topic", || {
        letters = scene.read("deadletter");
        letters.len() >= 2
    });
    assert_eq!(letters.len(), 2, "{letters:#?}");
    for letter in &letters {
        assert_eq!((letter.key.as_str(), &letter.value["topic"]), ("k", &json!(topic)));
        for name in ["reason", "topic", "partition", "offset"] {
            let value = &letter.value[name];
            assert_eq!(letter.headers[name], value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned));
        }
    }
    assert!(letters.iter().any(|l| l.value["value"] == "{\"no\": \"event\""));
    assert!(letters.iter().any(|l| l.value["value_base64"] == "//4="));
    until("the lag is told, and none", || metric(&metrics(&server), "vertice_kafka_lag_records") == Some(0.0));
    assert_eq!(metric(&metrics(&server), "vertice_kafka_deadletter_total"), Some(2.0));

    // A stop that is asked for leaves nothing to repeat.
    let before = ["detections", "threats", "responses"].map(|name| scene.read(name).len());
    assert_eq!(server.stop(), Some(0));
    let server = scene.start();
    publisher.send_blocking(vec![record(&topic, "x", login("last", "203.0.113.9", 0).to_string())]).unwrap();
    until("it goes on", || ids_in_log(&server).contains_key("last"));
    let ids = ids_in_log(&server);
    assert_eq!((ids.len(), ids.values().max()), (62, Some(&1)), "every offset once");
    let after = ["detections", "threats", "responses"].map(|name| scene.read(name).len());
    assert!(after[0] == before[0] && after[2] == before[2], "{before:?} became {after:?}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn events_are_injected_and_topics_followed() {
    let Some(scene) = Scene::here() else { return };
    let server = scene.start();
    let one = ["events", "inject", "--kafka", "--event-type", "failed_login", "--source-ip", "203.0.113.7"];
    let done = scene.command(&[&one[..], &["--event-id", "mine", "-o", "json"]].concat());
    assert_eq!(serde_json::from_slice::<Value>(&done.stdout).unwrap(), json!({"accepted": 1, "refused": []}));
    until("it is in the log", || ids_in_log(&server).contains_key("mine"));
    let tail = scene.command(&[
        "events",
        "tail",
        "--topic",
        &scene.topic("events"),
        "--from-beginning",
        "--count",
        "1",
        "-o",
        "ndjson",
    ]);
    let told: Value = serde_json::from_slice(&tail.stdout).unwrap();
    assert_eq!((&told["key"], &told["value"]["event_id"]), (&json!("203.0.113.7"), &json!("mine")));

    let done = scene.command(&["events", "inject", "--demo", "--url", &server.url]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    server.settled();
    assert!(!detections(&server).is_empty(), "the attack of the demonstration is detected");

    let bad = scene.write("bad.log", "this is no event\n");
    for (arguments, code, wanted) in [
        (vec!["events", "tail", "--topic", "no.such.topic"], 3, "Kafka has no topic no.such.topic"),
        (vec!["events", "inject", "--kafka", bad.to_str().unwrap()], 1, "1 event refused"),
        (vec!["events", "inject", "--event-type", "failed_login"], 2, "--source-ip"),
        (vec!["events", "inject", "--event-typ", "x"], 2, "--event-type"),
        (vec!["events", "inject"], 2, "nothing to inject"),
        (vec!["events", "inject", "no.such.file"], 3, "there is no such file"),
    ] {
        let done = scene.command(&arguments);
        let text = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.code() == Some(code) && text.contains(wanted), "{arguments:?}: {:?} {text}", done.status);
    }
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn ten_thousand_malformed_values_hold_nobody_up() {
    let Some(scene) = Scene::here() else { return };
    let server = scene.start();
    let (topic, publisher, mut random) = (scene.topic("events"), scene.publisher(), Random(5));
    let (mut bad, mut good) = (BTreeSet::new(), BTreeSet::new());
    for n in 0..31 {
        let batch: Vec<OutRecord> = (0..400)
            .map(|i| {
                let key = format!("198.51.100.{}", random.below(40));
                match i % 6 {
                    0 => {
                        let id = format!("g{n}-{i}");
                        good.insert(id.clone());
                        record(&topic, &key, login(&id, &key, i).to_string())
                    }
                    1 => record(&topic, &key, login("cut", &key, i).to_string().into_bytes()[..40].to_vec()),
                    2 => record(&topic, &key, vec![0xc3, 0x28, random.below(256) as u8]),
                    3 => record(&topic, &key, Vec::new()),
                    4 => record(&topic, &key, json!({"timestamp": "never"}).to_string()),
                    _ => {
                        record(&topic, &key, random.mutated(b"{\"a\":1").iter().map(|b| b | 0x80).collect::<Vec<u8>>())
                    }
                }
            })
            .collect();
        let bad_ones: Vec<bool> = (0..400).map(|i| i % 6 != 0).collect();
        let delivered = publisher.send_blocking(batch).unwrap();
        let spots = delivered.spots.iter().zip(bad_ones).filter(|(_, bad)| *bad);
        bad.extend(spots.map(|(spot, _)| (i64::from(spot.partition), spot.offset)));
    }
    assert!(bad.len() >= 10_000, "{}", bad.len());
    scene.wait(&server, good.len());
    until("every good one is in the log", || {
        let ids = ids_in_log(&server);
        good.iter().all(|id| ids.get(id) == Some(&1))
    });
    until("every bad one is a dead letter", || scene.read("deadletter").len() >= bad.len());
    let letters = scene.read("deadletter");
    let told: BTreeSet<(i64, i64)> =
        letters.iter().map(|l| (l.value["partition"].as_i64().unwrap(), l.value["offset"].as_i64().unwrap())).collect();
    assert_eq!(told, bad);
    assert!(letters.iter().all(|l| !l.value["reason"].as_str().unwrap().is_empty()));
    assert_eq!(letters.len(), bad.len(), "none twice");
    assert_eq!(server.stop(), Some(0));
}

/// Produces batches until told to stop, and notes the ids of those that were acknowledged.
fn produce(scene: &Scene, stop: &AtomicBool, who: &str, kept: &Mutex<BTreeSet<String>>) {
    let (topic, publisher) = (scene.topic("events"), scene.publisher());
    let (_keep, pause) = mpsc::channel::<()>();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let ids: Vec<String> = (0..32).map(|i| format!("{who}-{n}-{i}")).collect();
        let make = |(i, id): (usize, &String)| {
            let key = format!("198.51.{}.{}", n % 200, i / 8);
            record(&topic, &key, login(id, &key, i).to_string())
        };
        let batch = ids.iter().enumerate().map(make).collect();
        // What is not known to be there may be there, once.
        if publisher.send_blocking(batch).is_ok() {
            kept.lock().unwrap().extend(ids);
        }
        let _ = pause.recv_timeout(Duration::from_millis(5));
    }
}

/// Every acknowledged event is in the log exactly once, and the topic of detections says what the API says.
fn nothing_lost_and_nothing_twice(scene: &Scene, server: &Server, kept: &BTreeSet<String>) {
    let on_topic: BTreeMap<String, usize> = scene.read("events").iter().fold(BTreeMap::new(), |mut all, told| {
        *all.entry(told.value["event_id"].as_str().unwrap().to_owned()).or_default() += 1;
        all
    });
    until("every acknowledged event is in the log", || {
        let ids = ids_in_log(server);
        kept.iter().all(|id| ids.contains_key(id))
    });
    until("every value of the topic is in the log", || ids_in_log(server).len() >= on_topic.len());
    assert_eq!(ids_in_log(server), on_topic, "the log has each offset once");
    server.settled();
    let found = same_on_the_topic(scene, server);
    assert!(found > 0, "guessing is detected");
    println!("{} acknowledged, {} on the topic, {found} detections", kept.len(), on_topic.len());
}

#[test]
fn nothing_is_lost_or_twice_whenever_the_process_is_killed() {
    if let Some(missing) = missing() {
        return println!("{missing}");
    }
    let kills = if long() { 500 } else { 10 };
    let scene = Scene::new(shared());
    let server = scene.start();
    server.kill();
    let (stop, kept, mut random) = (AtomicBool::new(false), Mutex::default(), Random(11));
    let (_keep, never) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(|| produce(&scene, &stop, "a", &kept));
        for _ in 0..kills {
            let server = scene.start();
            let _ = never.recv_timeout(Duration::from_millis(200 + random.below(1_800) as u64));
            server.kill();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let server = scene.start();
    nothing_lost_and_nothing_twice(&scene, &server, &kept.into_inner().unwrap());
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_broker_that_dies_or_stands_still_stalls_nothing_else() {
    if let Some(missing) = missing() {
        return println!("{missing}");
    }
    let times = if long() { 200 } else { 10 };
    let cluster = Cluster::start(1);
    let scene = Scene::new(&cluster);
    let server = scene.start();
    let (stop, kept, mut random) = (AtomicBool::new(false), Mutex::default(), Random(13));
    let (_keep, never) = mpsc::channel::<()>();
    let slowest = std::thread::scope(|scope| {
        scope.spawn(|| produce(&scene, &stop, "b", &kept));
        // Meanwhile events come by HTTP, are accepted, and are judged.
        let asking = scope.spawn(|| asks(&server, &stop));
        for n in 0..times {
            let _ = never.recv_timeout(Duration::from_millis(200 + random.below(800) as u64));
            if n % 2 == 0 {
                cluster.nodes()[0].kill();
                let _ = never.recv_timeout(Duration::from_millis(random.below(500) as u64));
                cluster.nodes()[0].restart();
            } else {
                cluster.nodes()[0].pause();
                let _ = never.recv_timeout(Duration::from_millis(500 + random.below(1_500) as u64));
                cluster.nodes()[0].resume();
            }
        }
        let _ = never.recv_timeout(Duration::from_secs(2));
        stop.store(true, Ordering::Relaxed);
        asking.join().unwrap()
    });
    let kept = kept.into_inner().unwrap();
    until("every acknowledged event is in the log", || {
        let ids = ids_in_log(&server);
        kept.iter().all(|id| ids.get(id) == Some(&1))
    });
    same_on_the_topic(&scene, &server);
    let memory = server.memory_peak_mib();
    println!("{} acknowledged by Kafka; the slowest answer took {slowest:?}; {memory} MiB at the most", kept.len());
    assert!(memory < 300, "{memory} MiB");
    assert_eq!(server.stop(), Some(0));
}

/// Sends events by HTTP, and waits until each is judged. The longest that took.
#[expect(clippy::disallowed_methods, reason = "what is measured is how long a caller waits")]
fn asks(server: &Server, stop: &AtomicBool) -> Duration {
    let mut slowest = Duration::ZERO;
    let mut n = 0;
    let (_keep, pause) = mpsc::channel::<()>();
    while !stop.load(Ordering::Relaxed) {
        let begun = std::time::Instant::now();
        let event = login(&format!("h{n}"), &format!("192.0.2.{}", n % 200), n);
        let (status, answer) = server.post("/api/v1/events", event.to_string().as_bytes()).expect("it answers");
        assert_eq!(status, 202, "{answer}");
        let position = answer["first_position"].as_u64().unwrap();
        until("it is judged", || server.get("/api/v1/status")["judged_to"].as_u64().unwrap() >= position);
        slowest = slowest.max(begun.elapsed());
        n += 1;
        let _ = pause.recv_timeout(Duration::from_millis(20));
    }
    slowest
}

#[test]
fn what_is_configured_wrongly_is_told_with_what_to_do() {
    if let Some(missing) = missing() {
        return println!("{missing}");
    }
    let cluster = shared();
    let mut scene = Scene::new(cluster);
    let doctor = |scene: &Scene, text: &str| {
        scene.write("vertice.toml", text);
        let done = scene.command(&["doctor", "-o", "ndjson"]);
        let lines = String::from_utf8(done.stdout).unwrap();
        let findings = lines.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
        findings.filter(|f| f["about"] == "kafka").collect::<Vec<Value>>()
    };
    assert!(doctor(&scene, &scene.config()).iter().all(|f| f["level"] == "ok"));
    let prefix = format!("gone-{}", scene.prefix);
    let missing_topic = doctor(&scene, &scene.config().replace(&scene.prefix, &prefix));
    assert_eq!(missing_topic.len(), 5, "each topic by itself: {missing_topic:#?}");
    let told = missing_topic[0]["what"].as_str().unwrap();
    assert!(told.contains("Kafka has no topic") && told.contains("kafka-topics.sh"), "{told}");

    scene.brokers = cluster.brokers_with_passwords();
    let security = |password: &str| {
        format!(
            "[stream.kafka.security]\nsasl = \"plain\"\nallow_plain = true\nuser = \"{USER}\"\npassword = \"{password}\"\n"
        )
    };
    let wrong = doctor(&scene, &(scene.config() + &security("wrong")));
    assert!(wrong[0]["what"].as_str().unwrap().contains("refuses the user or password"), "{wrong:#?}");
    assert_eq!(wrong.len(), 1, "once: {wrong:#?}");
    let right = doctor(&scene, &(scene.config() + &security(PASSWORD)));
    assert!(right.iter().all(|f| f["level"] == "ok"), "let in: {right:#?}");
    scene.brokers = "no-such-host.invalid:9092".to_owned();
    let unknown = doctor(&scene, &scene.config());
    assert_eq!(unknown.len(), 1, "{unknown:#?}");
    assert!(unknown[0]["what"].as_str().unwrap().contains("no-such-host.invalid"), "{unknown:#?}");

    // It starts all the same, says it once, and serves meanwhile; it gives up after a minute.
    let errors = scene.dir.path().join("stderr");
    let config = scene.dir.path().join("vertice.toml").display().to_string();
    let server = Server::start_as(&scene.data(), &["--config", &config], |command| {
        command.stderr(File::create(&errors).unwrap())
    });
    assert_eq!(server.post("/api/v1/events", login("h", "192.0.2.1", 0).to_string().as_bytes()).unwrap().0, 202);
    let said = || std::fs::read_to_string(Path::new(&errors)).unwrap();
    until("it says so", || said().contains("no-such-host.invalid"));
    if long() {
        assert_eq!(server.ended(), Some(1));
        let lines = said().lines().filter(|line| line.contains("no-such-host.invalid")).count();
        assert_eq!(lines, 2, "once when it begins, and once when it gives up: {}", said());
    }
}
