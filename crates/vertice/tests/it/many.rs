//! Many instances that share one Kafka and one PostgreSQL: the real binary, a real broker, a real server.

mod decisions;
mod doctor;
mod handed;
mod zombie;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use vertice_stream::kafka::{OutRecord, Patience, Publisher, Settings, Wanted, check};
use vertice_testkit::kafka::{missing, shared};
use vertice_testkit::postgres::Postgres;
use vertice_testkit::scene::{RULE, TELL, TELL_AGAIN};
use vertice_testkit::{Random, long};

use crate::process::{Server, pause, until};
use crate::prometheus::written;

/// Of each topic; so there are as many shards.
const PARTITIONS: i32 = 4;

/// A directory and a server of databases; `None`, having said that `left_out` is, where there is no Kafka or no PostgreSQL.
fn place(left_out: &str) -> Option<(tempfile::TempDir, Postgres)> {
    if let Some(missing) = missing() {
        println!("{missing}");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let postgres = Postgres::start(dir.path(), left_out)?;
    Some((dir, postgres))
}

/// A database, and the topics and groups of one installation.
struct Site {
    dir: PathBuf,
    name: String,
    events: String,
}

impl Site {
    fn new(dir: &Path, postgres: &Postgres, name: &str, events: &str, further: &str) -> Site {
        postgres.database(name);
        let (brokers, socket, port) = (shared().brokers(), postgres.socket().display(), postgres.port());
        let prefix = format!("m{}-{name}-", std::process::id());
        written(dir.join("content/rules/mallory.yml"), RULE);
        written(dir.join("content/playbooks/tell.yml"), &format!("{TELL}{TELL_AGAIN}"));
        let text = format!(
            "[content]\ndirs = [{:?}]\n{}[store.postgres]\nhost = \"{socket}\"\nport = {port}\ndb = \"{name}\"\n\
             audit_dir = {:?}\n[stream.kafka]\nbrokers = [\"{brokers}\"]\ngroup = \"{prefix}group\"\n\
             create_topics = true\npartitions = {PARTITIONS}\nreplication = 1\nsession_timeout_s = 2\n\
             [stream.kafka.topics]\nevents = \"{events}\"\ndetections = \"{prefix}detections\"\n\
             threats = \"{prefix}threats\"\nresponses = \"{prefix}responses\"\ndeadletter = \"{prefix}deadletter\"\n\
             hits = \"{prefix}hits\"\n{further}",
            dir.join("content"),
            if further.is_empty() { sigma() } else { String::new() },
            dir.join(format!("{name}-key")),
        );
        written(dir.join(format!("{name}.toml")), &text);
        Site { dir: dir.to_owned(), name: name.to_owned(), events: events.to_owned() }
    }

    fn start(&self, instance: usize) -> Server {
        let config = self.dir.join(format!("{}.toml", self.name)).display().to_string();
        Server::start_with(&self.dir.join(format!("{}-{instance}", self.name)), &["--config", &config])
    }

    /// Starts so many, and waits until they share the work.
    fn start_all(&self, count: usize) -> Vec<Server> {
        let servers: Vec<Server> = (0..count).map(|instance| self.start(instance)).collect();
        until_shared(&servers);
        servers
    }

    /// Starts one that says more, and where it says it.
    fn start_telling(&self, instance: usize) -> (Server, PathBuf) {
        let config = self.dir.join(format!("{}.toml", self.name)).display().to_string();
        let log = self.dir.join(format!("{}-{instance}.log", self.name));
        let data = self.dir.join(format!("{}-{instance}", self.name));
        let server = Server::start_as(&data, &["--config", &config], |command| {
            command.env("VERTICE_LOG", "info").stderr(File::create(&log).unwrap())
        });
        (server, log)
    }

    /// With something else in its configuration.
    fn with(self, from: &str, to: &str) -> Site {
        let file = self.dir.join(format!("{}.toml", self.name));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        written(file, &text.replace(from, to));
        self
    }

    fn publisher(&self) -> Publisher {
        Publisher::open(&Settings::new(shared().brokers(), "writer")).unwrap()
    }
}

/// The configuration of responses that are carried out: messages to a receiver.
fn live(dir: &Path, receiver: &str) -> String {
    let secret = written(dir.join("secret"), "0123456789abcdef0123456789abcdef");
    format!(
        "[response]\nmode = \"live\"\n[response.notification]\nenabled = true\n[response.notification.to]\n\
         ops = {{ kind = \"webhook\", url = {receiver:?}, secret = {{ file = {secret:?} }}, default = true }}\n",
    )
}

/// SigmaHQ's rules, where they are: for those who compare detections.
fn sigma() -> String {
    let rules = vertice_testkit::root().join("../shared/data/sigma/rules");
    if !rules.is_dir() {
        println!("without the rules of ../shared/data/sigma, which is not there");
        return String::new();
    }
    format!("rules = [{rules:?}]\n")
}

/// The values of a metric's series whose labels say this.
fn series(server: &Server, name: &str, label: &str) -> Vec<f64> {
    let of = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        (series.split('{').next() == Some(name) && series.contains(label)).then(|| value.parse::<f64>().unwrap())
    };
    server.text("/metrics").lines().filter_map(of).collect()
}

/// How many shards have an owner.
fn owned<'a>(servers: impl IntoIterator<Item = &'a Server>) -> usize {
    servers.into_iter().flat_map(|server| series(server, "vertice_kafka_shards_owned", "")).sum::<f64>() as usize
}

/// Waits until every shard has an owner.
fn until_owned(servers: &[Server]) {
    until("the shards have owners", || owned(servers) == PARTITIONS as usize);
}

/// Waits until each has a share of the shards. They say that they are ready before they join those who share them.
fn until_shared(servers: &[Server]) {
    until("each has a share", || {
        servers.iter().all(|server| owned([server]) >= 1) && owned(servers) == PARTITIONS as usize
    });
}

/// Waits until every partition of events has an owner that has read all of it, nothing is held back, all is judged, which
/// is something, and it stays so for a while.
fn settled(site: &Site, servers: &[Server]) {
    settled_with(1, site, servers);
}

/// As [`settled`], with so many detections at least.
fn settled_with(least: usize, site: &Site, servers: &[Server]) {
    let label = format!("topic=\"{}\"", site.events);
    let (mut before, mut same, mut stands) = (usize::MAX, 0, String::new());
    for _ in 0..1_800 {
        let all = |name: &str, label: &str| -> Vec<f64> {
            servers.iter().flat_map(|server| series(server, name, label)).collect()
        };
        let read = all("vertice_kafka_lag_records", &label);
        let owned = owned(servers);
        let held: f64 = all("vertice_kafka_hits_held", "").iter().sum();
        stands = format!("lag {read:?}, {owned} shards, {held} held");
        let still = read.len() == PARTITIONS as usize && read.iter().chain([&held]).all(|v| *v == 0.0);
        let status = servers[0].get("/api/v1/status");
        stands += &format!(", {} of {} judged", status["judged_to"], status["log_end"]);
        let judged = status["lag"].as_u64() == Some(0);
        let now = status["counts"]["detections"].as_u64().unwrap() as usize;
        let all_owned = owned == PARTITIONS as usize;
        same = if still && judged && all_owned && now == before && now >= least { same + 1 } else { 0 };
        before = now;
        if same >= 15 {
            return;
        }
        pause(100);
    }
    panic!("it is not judged: {stands}");
}

fn detections(server: &Server) -> BTreeMap<String, Value> {
    let all = server.all("/api/v1/defense/detections");
    all.into_iter().map(|d| (d["detection_id"].as_str().unwrap().to_owned(), d)).collect()
}

/// Somebody tries to log in from an address; as mallory it is detected.
fn login(id: &str, address: &str, user: &str, second: usize) -> String {
    json!({"event_id": id, "timestamp": format!("2026-03-01T10:{:02}:{:02}Z", second / 60 % 60, second % 60),
        "source": "endpoint", "event_type": "failed_login", "source_ip": address, "payload": {"user": user}})
    .to_string()
}

/// Lines as sensors write them: those of the cases of our rules, in their order.
fn recorded() -> Vec<String> {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut folders = vec![vertice_testkit::root().join("content/rules")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path if path.parent().is_some_and(|p| p.ends_with("cases")) => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    let mut lines = Vec::new();
    for file in files {
        let cases: Value = serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        for story in ["positive", "negative"].iter().flat_map(|kind| cases[kind].as_array().into_iter().flatten()) {
            lines.extend(story["lines"].as_array().into_iter().flatten().map(|l| l.as_str().unwrap().to_owned()));
        }
    }
    lines
}

/// Everything that is fed: recorded lines and many guessers, each record a millisecond after the one before.
fn fed(topic: &str, count: usize) -> Vec<OutRecord> {
    let (recorded, mut random) = (recorded(), Random(17));
    assert!(recorded.len() > 100, "{}", recorded.len());
    let record = |n: usize, key: String, line: String| OutRecord {
        topic: topic.into(),
        key: Some(key.into_bytes()),
        value: Some(line.into_bytes()),
        timestamp_ms: Some(1_772_359_200_000 + n as i64),
        ..OutRecord::default()
    };
    (0..count)
        .map(|n| match n % 4 {
            0 => record(n, format!("k{}", random.below(50)), recorded[n / 4 % recorded.len()].clone()),
            _ => {
                let address = format!("198.51.{}.{}", random.below(1 + count / 5_000), random.below(250));
                let user = ["root", "ana", "bob", "mallory"][random.below(4)];
                record(n, address.clone(), login(&format!("f{n}"), &address, user, n / 20))
            }
        })
        .collect()
}

#[test]
fn one_instance_and_three_detect_the_same() {
    let Some((dir, postgres)) = place("one instance and three") else { return };
    let events = format!("m{}-same-events", std::process::id());
    let count = if long() { 500_000 } else { 4_000 };
    let one = Site::new(dir.path(), &postgres, "one", &events, "");
    let three = Site::new(dir.path(), &postgres, "three", &events, "");
    // Before anybody reads: a partition whose end was reached promises that nothing as old as this comes any more.
    let wanted = Wanted { topic: events.clone(), partitions: PARTITIONS, replication: 1, create: true };
    check(&Settings::new(shared().brokers(), "writer"), &[wanted], Patience::default()).unwrap();
    let publisher = one.publisher();
    let all = fed(&events, count);
    for some in all.chunks(1_000) {
        publisher.send_blocking(some.to_vec()).unwrap();
    }
    let alone = one.start(0);
    settled(&one, std::slice::from_ref(&alone));
    let together = three.start_all(3);
    settled(&three, &together);
    let owned: Vec<f64> = together.iter().flat_map(|server| series(server, "vertice_kafka_shards_owned", "")).collect();
    assert!(owned.iter().all(|n| *n >= 1.0), "each has a share: {owned:?}");
    let (by_one, by_three) = (detections(&alone), detections(&together[1]));
    let late = |servers: &[Server]| -> f64 {
        servers.iter().flat_map(|s| series(s, "vertice_kafka_hits_late_total", "")).sum()
    };
    assert_eq!((late(std::slice::from_ref(&alone)), late(&together)), (0.0, 0.0));
    let told = |all: &BTreeMap<String, Value>, others: &BTreeMap<String, Value>| -> Vec<String> {
        let only = all.iter().filter(|(id, _)| !others.contains_key(*id));
        only.take(5).map(|(_, d)| d.to_string()).collect()
    };
    assert_eq!((told(&by_one, &by_three), told(&by_three, &by_one)), (Vec::new(), Vec::new()));
    let rules: BTreeSet<&str> = by_one.values().map(|d| d["rule_id"].as_str().unwrap()).collect();
    println!("{count} events, {} detections of {} rules", by_one.len(), rules.len());
    assert!(by_one.len() > count / 10 && rules.len() > 10, "{rules:?}");
    for server in together.into_iter().chain([alone]) {
        assert_eq!(server.stop(), Some(0));
    }
}

/// What a receiver of messages got: how often each text came, and under which keys.
#[derive(Default)]
struct Received {
    got: Mutex<BTreeMap<String, Vec<String>>>,
    /// Whether it keeps its answers back.
    silent: AtomicBool,
}

impl Received {
    fn got(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<String>>> {
        self.got.lock().unwrap()
    }

    /// How often something came of an address.
    fn count(&self, address: &str) -> usize {
        self.got().get(address).map_or(0, Vec::len)
    }
}

/// Somebody who takes messages. Ends with the test process.
fn receiver(received: &Arc<Received>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let received = Arc::clone(received);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let received = Arc::clone(&received);
            std::thread::spawn(move || take(stream, &received));
        }
    });
    url
}

fn take(mut stream: TcpStream, received: &Received) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut length, mut key, mut line) = (0, String::new(), String::new());
    while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            "idempotency-key" => key = value.trim().to_owned(),
            _ => {}
        }
        line.clear();
    }
    let mut body = vec![0; length];
    // Whoever dies while it sends leaves a part of a request.
    if length == 0 || reader.read_exact(&mut body).is_err() {
        return;
    }
    let text = String::from_utf8(body).unwrap();
    let address = text.split(|c: char| !(c.is_ascii_digit() || c == '.')).find(|w| w.matches('.').count() == 3);
    let address = address.unwrap_or_else(|| panic!("no address in {text}")).to_owned();
    let again = text.contains("is still there");
    received.got().entry(format!("{address}{}", if again { " again" } else { "" })).or_default().push(key);
    while received.silent.load(Ordering::Relaxed) {
        pause(20);
    }
    // The sender sees to it if this does not arrive.
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

fn signal(server: &Server, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(server.pid() as i32).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Sends logins of mallory, each from an address of its own, by Kafka and by HTTP, until told to stop; gives the ids of
/// those that were acknowledged.
fn load(site: &Site, urls: &Mutex<Vec<String>>, stop: &AtomicBool) -> BTreeSet<String> {
    let (publisher, mut kept, mut random) = (site.publisher(), BTreeSet::new(), Random(23));
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(2)))
        .http_status_as_error(false)
        .build()
        .into();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let address = |i: usize| format!("10.{}.{}.{i}", n / 250, n % 250);
        let ids: Vec<String> = (1..4).map(|i| format!("c{n}-{i}")).collect();
        let lines: Vec<String> = (1..4).map(|i| login(&ids[i - 1], &address(i), "mallory", n)).collect();
        let record = |(i, line): (usize, &String)| OutRecord {
            topic: site.events.as_str().into(),
            key: Some(address(i + 1).into_bytes()),
            value: Some(line.clone().into_bytes()),
            ..OutRecord::default()
        };
        let acknowledged = if n % 3 == 0 {
            let url = {
                let urls = urls.lock().unwrap();
                urls[random.below(urls.len())].clone()
            };
            let sent = agent.post(format!("{url}/api/v1/events")).header("X-Api-Key", crate::process::KEY);
            sent.send(lines.join("\n").as_bytes()).is_ok_and(|answer| answer.status() == 202)
        } else {
            publisher.send_blocking(lines.iter().enumerate().map(record).collect()).is_ok()
        };
        if acknowledged {
            kept.extend(ids);
        }
        pause(150);
    }
    kept
}

/// Strikes an instance or the database so often: kills it, lets it stand still for longer than its group waits, or has it
/// end and start again.
fn blows(times: usize, site: &Site, servers: &mut Vec<Server>, postgres: &mut Postgres, urls: &Mutex<Vec<String>>) {
    let mut random = Random(29);
    for n in 0..times {
        let at = random.below(3);
        pause(300 + random.below(1_200) as u64);
        if n % 10 == 6 {
            postgres.stop_hard();
            pause(random.below(1_000) as u64);
            postgres.begin();
            continue;
        }
        match random.below(3) {
            0 => {
                signal(&servers[at], rustix::process::Signal::STOP);
                // Longer than the group waits for it, so that others have what it had.
                pause(2_500 + random.below(2_000) as u64);
                signal(&servers[at], rustix::process::Signal::CONT);
                continue;
            }
            1 => servers.remove(at).kill(),
            _ => assert_eq!(servers.remove(at).stop(), Some(0)),
        }
        servers.insert(at, site.start(at));
        urls.lock().unwrap()[at] = servers[at].url.clone();
    }
}

#[test]
fn whatever_dies_nothing_is_lost_and_nothing_done_twice() {
    let Some((dir, mut postgres)) = place("chaos of three instances") else { return };
    let received = Arc::new(Received::default());
    let further = live(dir.path(), &receiver(&received));
    let events = format!("m{}-chaos-events", std::process::id());
    let site = Site::new(dir.path(), &postgres, "chaos", &events, &further);
    let mut servers = site.start_all(3);
    until_owned(&servers);
    let urls = Mutex::new(servers.iter().map(|s| s.url.clone()).collect::<Vec<_>>());
    let (stop, times) = (AtomicBool::new(false), if long() { 500 } else { 30 });
    let kept = std::thread::scope(|scope| {
        let loading = scope.spawn(|| load(&site, &urls, &stop));
        blows(times, &site, &mut servers, &mut postgres, &urls);
        stop.store(true, Ordering::Relaxed);
        loading.join().unwrap()
    });
    settled(&site, &servers);
    let mut found = BTreeSet::new();
    // How far it is read is told every few seconds only.
    until(&format!("all {} that were acknowledged are detected", kept.len()), || {
        let ids = detections(&servers[2]).into_values().filter_map(|d| d["event_id"].as_str().map(ToOwned::to_owned));
        found = ids.collect();
        let lost: Vec<&String> = kept.difference(&found).collect();
        if !lost.is_empty() {
            println!("{} of them are not, such as {}", lost.len(), lost[0]);
        }
        lost.is_empty()
    });
    let first = |received: &Received| -> usize { received.got().keys().filter(|k| !k.ends_with("again")).count() };
    // Where it can not be told whether a message was sent, nobody sends it again.
    let unknown = || {
        let runs = servers[2].all("/api/v1/defense/responses");
        runs.iter().filter(|run| run["steps"][0]["state"]["is"] == "unknown").count()
    };
    until("all else is told", || first(&received) + unknown() >= found.len());
    // A request that was on its way when its sender died may come again, under its key, by which receivers drop it.
    let (mut twice, mut again) = (Vec::new(), 0);
    for (address, keys) in received.got().iter() {
        let different: BTreeSet<&String> = keys.iter().collect();
        again += keys.len() - different.len();
        twice.extend((different.len() > 1).then(|| address.clone()));
    }
    println!(
        "{times} blows: {} acknowledged, {} detected, {} told, {} told twice, {again} requests repeated under their key",
        kept.len(),
        found.len(),
        first(&received),
        twice.len()
    );
    assert!(twice.is_empty() && again <= times, "{twice:?}");
    decided_anywhere(&servers, &received);
    for server in servers {
        assert_eq!(server.stop(), Some(0));
    }
}

/// Whoever is asked takes a decision, whichever instance judges what it is about.
fn decided_anywhere(servers: &[Server], received: &Received) {
    let waiting = || {
        let all = servers[0].all("/api/v1/defense/approvals");
        all.into_iter().filter(|q| q["state"] == "pending").collect::<Vec<Value>>()
    };
    until("there are questions", || waiting().len() >= 6);
    let mut questions = waiting();
    // After many blows the oldest are about to be over.
    questions.sort_by_key(|q| std::cmp::Reverse(q["expires_at"].to_string()));
    for (n, question) in questions.iter().take(6).enumerate() {
        let path = format!("/api/v1/defense/approvals/{}", question["question_id"].as_str().unwrap());
        let yes = json!({"approve": true, "plan_digest": question["plan_digest"]});
        let (status, answer) = servers[n % 3].post_json(&path, &yes).unwrap();
        assert_eq!(status, 200, "{answer}");
    }
    let again = || received.got().keys().filter(|k| k.ends_with("again")).count();
    until("what was approved is done", || again() == 6);
    let threats = servers[1].all("/api/v1/defense/threats");
    for (n, threat) in threats.iter().filter(|t| t["verdict"].is_null()).take(6).enumerate() {
        let path = format!("/api/v1/defense/threats/{}/verdict", threat["threat_id"].as_str().unwrap());
        let verdict = json!({"verdict": "false_positive", "note": "a test"});
        let (status, answer) = servers[n % 3].post_json(&path, &verdict).unwrap();
        assert_eq!(status, 200, "{answer}");
    }
}

#[test]
fn half_of_it_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let config = written(dir.path().join("half.toml"), "[store.postgres]\nhost = \"db\"\n");
    for arguments in [&["config", "check"][..], &["up", "--listen", "127.0.0.1:0"]] {
        let done = crate::process::vertice().args(arguments).arg("--config").arg(&config).output().unwrap();
        let text = String::from_utf8_lossy(&done.stderr);
        assert!(!done.status.success() && text.contains("names no brokers: many instances need both"), "{text}");
    }
}
