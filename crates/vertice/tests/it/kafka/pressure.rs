//! Somebody who does not answer, somebody who does not read, and a broker that stands still, at once and under load: the
//! others are served, memory stays bounded, and what waited comes.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use vertice_stream::kafka::OutRecord;
use vertice_testkit::kafka::{Cluster, missing};
use vertice_testkit::scene::{RULE, TELL};

use super::{Scene, detections, ids_in_log, login, record, same_on_the_topic, until};
use crate::process::{KEY, Server};
use crate::prometheus::written;

/// Events of a batch, each of an address of its own and each detected.
const BATCH: usize = 16;
/// Events by Kafka that are not yet heard of.
const UNJUDGED_MAX: usize = 400;
/// Batches by HTTP while the broker stands still.
const MEANWHILE: usize = 40;

/// Takes connections and says nothing, until it is dropped; then all of them break.
struct Mute {
    url: String,
    taken: std::sync::Arc<AtomicUsize>,
    over: std::sync::Arc<AtomicBool>,
}

impl Mute {
    fn new() -> Mute {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (taken, over) = (std::sync::Arc::<AtomicUsize>::default(), std::sync::Arc::<AtomicBool>::default());
        let (count, ends) = (taken.clone(), over.clone());
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming().flatten() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                held.push(stream);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Mute { url, taken, over }
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // It looks at the next connection.
        let address = self.url.trim_start_matches("http://").trim_end_matches('/');
        let _ = TcpStream::connect(address);
    }
}

fn live_stream(server: &Server) -> TcpStream {
    let host = server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).unwrap();
    let request = format!("GET /api/v1/stream HTTP/1.1\r\nHost: {host}\r\nX-Api-Key: {KEY}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// Whether the system holds bytes for the other side of a connection that it does not take.
fn is_stuck(client: &TcpStream) -> bool {
    let (here, there) = (client.local_addr().unwrap().port(), client.peer_addr().unwrap().port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().skip(1).any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let port = |word: &str| u16::from_str_radix(word.rsplit(':').next().unwrap(), 16).unwrap();
        let waits = words[4].split(':').next().unwrap();
        port(words[1]) == there && port(words[2]) == here && u64::from_str_radix(waits, 16).unwrap() > 0
    })
}

/// What came by a live stream: detections, and of which events.
#[derive(Default)]
struct Heard {
    detections: BTreeSet<String>,
    events: BTreeSet<String>,
}

/// Reads a live stream until it ends.
fn listen(stream: TcpStream, heard: &Mutex<Heard>) {
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let Some(record) = line.strip_prefix("data: ").map(|text| serde_json::from_str::<Value>(text).unwrap()) else {
            continue;
        };
        if let (Some(id), Some(event)) = (record["detection_id"].as_str(), record["event_id"].as_str()) {
            let mut heard = heard.lock().unwrap();
            heard.detections.insert(id.to_owned());
            heard.events.insert(event.to_owned());
        }
    }
}

/// Events of mallory's, each from an address of its own.
fn batch(who: &str, n: usize) -> Vec<(String, String, String)> {
    let one = |i: usize| {
        let (id, address) = (format!("{who}{n}-{i}"), format!("10.{}.{}.{i}", who.len() + n / 250 * 10, n % 250));
        let mut event = login(&id, &address, n);
        event["payload"]["user"] = "mallory".into();
        (id, address, event.to_string())
    };
    (0..BATCH).map(one).collect()
}

/// Sends by Kafka until told to stop, as fast as it is judged; the ids of those that were acknowledged.
fn load(scene: &Scene, stop: &AtomicBool, heard: &Mutex<Heard>) -> BTreeSet<String> {
    let (publisher, topic, mut kept) = (scene.publisher(), scene.topic("events"), BTreeSet::new());
    let stopped = || stop.load(Ordering::Relaxed);
    for n in 0.. {
        until("most of what was sent is judged", || {
            stopped() || heard.lock().unwrap().events.len() + UNJUDGED_MAX >= kept.len()
        });
        if stopped() {
            break;
        }
        let batch = batch("k", n);
        let records: Vec<OutRecord> = batch.iter().map(|(_, key, line)| record(&topic, key, line.as_str())).collect();
        // What is not known to be there may be there.
        if publisher.send_blocking(records).is_ok() {
            kept.extend(batch.into_iter().map(|(id, ..)| id));
        }
    }
    kept
}

/// Sends a batch by HTTP, and waits until it is judged and heard of.
fn by_http(server: &Server, n: usize, heard: &Mutex<Heard>) -> Vec<String> {
    let batch = batch("http", n);
    let lines: Vec<&str> = batch.iter().map(|(.., line)| line.as_str()).collect();
    let (status, answer) = server.post("/api/v1/events", lines.join("\n").as_bytes()).expect("it answers");
    assert_eq!(status, 202, "{answer}");
    let ids: Vec<String> = batch.into_iter().map(|(id, ..)| id).collect();
    until("whoever listens has heard of it", || {
        let heard = heard.lock().unwrap();
        ids.iter().all(|id| heard.events.contains(id))
    });
    ids
}

fn configure(scene: &Scene, receiver: &str) {
    let content = scene.dir.path().join("content");
    written(content.join("rules/mallory.yml"), RULE);
    written(content.join("playbooks/tell.yml"), TELL);
    let secret = scene.write("secret", "0123456789abcdef0123456789abcdef");
    let text = format!(
        "{}[content]\ndirs = [{content:?}]\n[response]\nmode = \"live\"\n[response.notification]\nenabled = true\n\
         [response.notification.to]\nops = {{ kind = \"webhook\", url = {receiver:?}, \
         secret = {{ file = {secret:?} }}, default = true }}\n",
        scene.config()
    );
    scene.write("vertice.toml", &text);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what is told is how long a caller waits")]
fn who_does_not_answer_read_or_run_holds_nobody_else_up() {
    if let Some(missing) = missing() {
        return println!("{missing}");
    }
    let cluster = Cluster::start(1);
    let (scene, mute) = (Scene::new(&cluster), Mute::new());
    configure(&scene, &mute.url);
    let server = scene.start();
    let (deaf, listener, heard) = (live_stream(&server), live_stream(&server), Mutex::new(Heard::default()));
    let (stop, mut sent, mut slowest) = (AtomicBool::new(false), Vec::new(), Duration::ZERO);
    let kept = std::thread::scope(|scope| {
        scope.spawn(|| listen(listener, &heard));
        let loading = scope.spawn(|| load(&scene, &stop, &heard));
        until("somebody is told, and does not answer", || mute.taken.load(Ordering::Relaxed) > 0);
        // For a second, or it was only on its way.
        let mut looks = 0;
        until("somebody does not read", || {
            looks = if is_stuck(&deaf) { looks + 1 } else { 0 };
            looks >= 10
        });
        cluster.nodes()[0].pause();
        for n in 0..MEANWHILE {
            let begun = std::time::Instant::now();
            sent.extend(by_http(&server, n, &heard));
            slowest = slowest.max(begun.elapsed());
        }
        assert!(is_stuck(&deaf), "it still does not read");
        cluster.nodes()[0].resume();
        stop.store(true, Ordering::Relaxed);
        let kept = loading.join().unwrap();
        until("every acknowledged event is in the log", || {
            let ids = ids_in_log(&server);
            kept.iter().all(|id| ids.get(id) == Some(&1))
        });
        let detected = same_on_the_topic(&scene, &server);
        let found: BTreeSet<String> = detections(&server).into_keys().collect();
        assert_eq!(found.len(), detected);
        until("whoever listens has heard of all", || heard.lock().unwrap().detections == found);
        drop(mute);
        let memory = server.memory_peak_mib();
        println!(
            "{} by Kafka, {} by HTTP while the broker stood still, {detected} detections; a batch was heard of within \
             {slowest:?}; {memory} MiB at the most",
            kept.len(),
            sent.len()
        );
        assert!(memory < 300, "{memory} MiB");
        drop(deaf);
        // The stream that is read ends with it.
        assert_eq!(server.stop(), Some(0));
        kept
    });
    let heard = heard.into_inner().unwrap();
    let unheard: Vec<&String> = kept.iter().chain(&sent).filter(|id| !heard.events.contains(*id)).collect();
    assert!(kept.len() >= BATCH && unheard.is_empty(), "{unheard:?}");
}
