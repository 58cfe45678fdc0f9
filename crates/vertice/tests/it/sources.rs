//! Events on their way in: followed files, syslog, files to their end.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{TcpStream, UdpSocket};
use std::path::Path;

use serde_json::Value;

use crate::process::{Server, until, vertice};

/// A failed login as sshd writes it, with a number to know it by.
fn line(n: usize) -> String {
    format!(
        "Mar  1 10:00:{:02} web-01 sshd[{}]: Failed password for root from 198.51.100.7 port {} ssh2",
        n % 60,
        4_000 + n,
        20_000 + n
    )
}

fn append(path: &Path, numbers: std::ops::Range<usize>) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    for n in numbers {
        writeln!(file, "{}", line(n)).unwrap();
    }
}

/// Waits until so many events are in the log, and returns their lines in order.
fn lines(server: &Server, wanted: usize) -> Vec<String> {
    let mut items = Vec::new();
    until("so many events are in the log", || {
        items = server.get("/api/v1/events?limit=1000")["items"].as_array().unwrap().clone();
        items.len() >= wanted
    });
    items.iter().map(|e| e["raw"]["line"].as_str().unwrap().to_owned()).collect()
}

fn wanted(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(line).collect()
}

#[test]
fn a_followed_file_is_read_once_over_rotation_truncation_and_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (data, log) = (dir.path().join("data"), dir.path().join("auth.log"));
    append(&log, 0..3);
    let follow = ["--follow", log.to_str().unwrap()];

    let server = Server::start_with(&data, &follow);
    // What is there already is read too: it shows a newcomer at once what has been going on.
    assert_eq!(lines(&server, 3), wanted(0..3));
    append(&log, 3..10);
    assert_eq!(lines(&server, 10), wanted(0..10));
    std::fs::rename(&log, dir.path().join("auth.log.1")).unwrap();
    append(&dir.path().join("auth.log.1"), 10..12);
    append(&log, 12..20);
    assert_eq!(lines(&server, 20), wanted(0..20));
    assert_eq!(server.stop(), Some(0));

    append(&log, 20..25);
    let server = Server::start_with(&data, &follow);
    assert_eq!(lines(&server, 25), wanted(0..25));
    server.kill();

    append(&log, 25..30);
    let server = Server::start_with(&data, &follow);
    assert_eq!(lines(&server, 30), wanted(0..30));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn syslog_comes_in_by_udp_and_tcp() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), &["--syslog-udp", "127.0.0.1:0", "--syslog-tcp", "127.0.0.1:0"]);
    let sources = server.get("/api/v1/status")["sources"].clone();
    let address = |kind: &str| {
        let source = sources.as_array().unwrap().iter().find(|s| s["kind"] == kind).expect("it listens");
        source["name"].as_str().unwrap().split("://").nth(1).unwrap().to_owned()
    };
    let mut tcp = TcpStream::connect(address("syslog_tcp")).unwrap();
    // RFC 6587: first counted octets, then lines.
    let counted = format!("<38>{}", line(1));
    write!(tcp, "{} {counted}", counted.len()).unwrap();
    writeln!(tcp, "<38>{}", line(2)).unwrap();
    drop(tcp);
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.send_to(
        format!("<38>1 2026-03-01T10:00:03Z web-01 sshd 4003 - - {}", "Invalid user oracle from 198.51.100.7 port 9")
            .as_bytes(),
        address("syslog_udp"),
    )
    .unwrap();
    let got: BTreeSet<String> = lines(&server, 3).into_iter().collect();
    assert!(got.iter().any(|l| l.ends_with(&line(1))) && got.iter().any(|l| l.ends_with(&line(2))), "{got:?}");
    let page = server.get("/api/v1/events");
    let of = |e: &Value| e["event"]["fields"]["source.ip"].as_str().map(str::to_owned);
    assert!(page["items"].as_array().unwrap().iter().all(|e| of(e).as_deref() == Some("198.51.100.7")), "{page}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn two_processes_can_not_share_a_data_directory() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let second = vertice()
        .args(["up", "--no-local-sources", "--listen", "127.0.0.1:0", "--data"])
        .arg(data.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("in use by process {}", server.pid())), "{said}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn replay_prints_what_is_detected_and_exits_with_0() {
    let dir = tempfile::tempdir().unwrap();
    append(&dir.path().join("auth.log"), 0..12);
    let output = vertice().arg("replay").arg(dir.path()).args(["-o", "ndjson"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    let detections: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let guessing = detections.iter().find(|d| d["class"] == "brute_force_detected").expect("guessing is detected");
    assert_eq!(guessing["entity"], "198.51.100.7");
    for key in
        ["detection_id", "event_id", "rule_id", "rule_title", "severity", "confidence", "mitre_techniques", "timestamp"]
    {
        assert!(!guessing[key].is_null(), "{key}: {guessing}");
    }
    let missing = vertice().args(["replay", "no/such/file"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no/such/file"));
}

#[test]
fn the_demonstration_tells_event_detection_threat_plan_question_and_release() {
    let output = vertice().args(["demo", "--speed", "100000"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8(output.stdout).unwrap();
    for word in ["event", "detection", "threat", "plan", "question", "answer", "release"] {
        assert!(told.lines().any(|l| l.starts_with(&format!("  {word} "))), "no {word} in:\n{told}");
    }
    assert!(!told.contains('\u{1b}'));
}
