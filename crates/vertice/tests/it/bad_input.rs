//! Input that is wrong in every way we could think of: refused with a reason, in bounded memory, and the rest is kept.

use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::process::{KEY, Server, vertice};

const MIB: usize = 1024 * 1024;

/// What one bad input may cost, in MiB: three times the largest body, as `EVENT_BODIES_BYTES_MAX` says.
const MEMORY_MIB: u64 = 3 * 32 + 64;

/// An event of the contract's form, at this time.
fn event(id: &str, timestamp: &str) -> String {
    format!(
        r#"{{"event_id":"{id}","timestamp":"{timestamp}","source":"endpoint","event_type":"login","source_ip":"198.51.100.7"}}"#
    )
}

fn good(id: &str) -> String {
    event(id, "2026-03-01T10:00:00Z")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// As much of nothing as this, packed.
fn bomb(bytes: usize) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    let block = vec![b' '; MIB];
    (0..bytes / MIB).for_each(|_| packer.write_all(&block).unwrap());
    packer.finish().unwrap()
}

/// Lines that are refused, each with a word of the reason.
fn bad_lines() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let deep = |open: &str, close: &str| format!("{{\"a\":{}1{}}}", open.repeat(100_000), close.repeat(100_000));
    vec![
        ("nested lists", deep("[", "]").into_bytes(), "nested deeper than 64 levels"),
        ("nested objects", deep("{\"\":", "}").into_bytes(), "nested deeper than 64 levels"),
        ("never closed", format!("{{\"a\":{}", "[".repeat(100_000)).into_bytes(), ""),
        ("not UTF-8", b"{\"event_id\":\"\xff\xfe\"}".to_vec(), "UTF-8"),
        ("a NUL in JSON", good("n").replace("login", "lo\0gin").into_bytes(), "JSON"),
        ("year 0", event("y0", "0000-01-01T00:00:00Z").into_bytes(), "the years 1990 to 2199"),
        ("year 10000", event("y10000", "+10000-01-01T00:00:00Z").into_bytes(), "the years 1990 to 2199"),
        ("year 9999", event("y9999", "9999-12-31T23:59:59Z").into_bytes(), "the years 1990 to 2199"),
        ("too long", format!("{{\"a\":\"{}\"}}", "x".repeat(MIB)).into_bytes(), "longer than 524288 bytes"),
    ]
}

/// Good and bad lines in turn. The last one has no newline.
fn mixture() -> (Vec<u8>, usize) {
    let mut body = good("first").into_bytes();
    let bad = bad_lines();
    for (n, (_, line, _)) in bad.iter().enumerate() {
        body.push(b'\n');
        body.extend_from_slice(line);
        body.push(b'\n');
        body.extend_from_slice(good(&format!("after-{n}")).as_bytes());
    }
    (body, bad.len())
}

fn refused(answer: &Value) -> Vec<(u64, String)> {
    let of = |r: &Value| (r["number"].as_u64().unwrap(), r["reason"].as_str().unwrap().to_owned());
    answer["refused"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn bad_input_over_http_is_refused_in_bounded_memory() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let before = server.memory_peak_mib();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let post = |body: &[u8], encoding: &str| -> (u16, Value) {
        let request = agent.post(format!("{}/api/v1/events", server.url)).header("X-Api-Key", KEY);
        let mut answer = request.header("Content-Encoding", encoding).send(body).expect("it answers");
        (answer.status().as_u16(), answer.body_mut().read_json().expect("JSON"))
    };

    let (body, bad) = mixture();
    let (status, answer) = post(&body, "identity");
    assert_eq!(status, 202, "{answer}");
    assert_eq!(answer["accepted"].as_u64(), Some(bad as u64 + 1), "{answer}");
    let refused = refused(&answer);
    assert_eq!(refused.len(), bad);
    for ((number, reason), (n, (what, _, word))) in refused.iter().zip(bad_lines().into_iter().enumerate()) {
        assert_eq!(*number, 2 + 2 * n as u64, "{what}");
        assert!(reason.contains(word) && reason.len() <= 300, "{what}: {reason}");
    }
    let (status, packed) = post(&gzip(&body), "gzip");
    assert_eq!((status, &packed["refused"]), (202, &answer["refused"]));

    // Too much, packed or not; what ends too early; what is no gzip at all. Nothing of these is kept.
    let long = vec![b'{'; 64 * MIB];
    let torn = gzip(&(0..1_000).map(|n| good(&n.to_string()) + "\n").collect::<String>().into_bytes());
    for (what, body, encoding, wanted, word) in [
        ("64 MiB", &long[..], "identity", 413, "larger than 33554432 bytes"),
        ("64 MiB of lists", &vec![b'['; 64 * MIB], "identity", 413, "larger than 33554432 bytes"),
        ("32 MiB of lists", &vec![b'['; 32 * MIB - 1], "identity", 422, "refused"),
        ("a gzip bomb", &bomb(1024 * MIB), "gzip", 413, "larger than 33554432 bytes"),
        ("a torn gzip", &torn[..torn.len() / 2], "gzip", 400, "ends before it is whole; nothing of it was kept"),
        ("no gzip", b"{}", "gzip", 400, "can not be unpacked"),
    ] {
        let (status, answer) = post(body, encoding);
        assert_eq!(status, wanted, "{what}: {answer}");
        assert!(answer["detail"].as_str().unwrap().contains(word), "{what}: {answer}");
    }
    let kept = server.settled()["log_end"].clone();
    let after = server.memory_peak_mib();
    println!("bad input over HTTP: {before} MiB before, at most {after} MiB");
    assert!(after - before <= MEMORY_MIB, "{before} MiB before, {after} MiB after");
    let page = server.get("/api/v1/events?limit=1000");
    assert_eq!(page["items"].as_array().unwrap().len(), 2 * (bad + 1), "{kept}");
    assert_eq!(server.stop(), Some(0));
}

fn write(dir: &Path, name: &str, bytes: &[u8]) {
    std::fs::File::create(dir.join(name)).and_then(|mut file| file.write_all(bytes)).unwrap();
}

#[test]
fn bad_input_in_files_is_refused_in_bounded_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (body, bad) = mixture();
    let torn = gzip(&(0..1_000).map(|n| good(&format!("t{n}")) + "\n").collect::<String>().into_bytes());
    write(dir.path(), "a_mixture.json", &body);
    write(dir.path(), "b_one_line.log", &vec![b'x'; 64 * MIB]);
    write(dir.path(), "c_lists.json", &vec![b'['; 64 * MIB]);
    write(dir.path(), "d_objects.json", &b"{\"a\":".repeat(64 * MIB / 5));
    write(dir.path(), "e_bomb.json.gz", &bomb(1024 * MIB));
    write(dir.path(), "f_torn.json.gz", &torn[..torn.len() / 2]);
    write(dir.path(), "g_zeros.log", &vec![0; 64 * MIB]);
    write(dir.path(), "h_empty.log", b"");
    let guess =
        |n: usize| format!("Mar  1 10:00:{n:02} web sshd[1]: Failed password for root from 198.51.100.7 port 2 ssh2");
    write(dir.path(), "i_no_newline.log", (0..12).map(guess).collect::<Vec<_>>().join("\n").as_bytes());
    // More private memory than this is not given to it, whatever it asks for.
    let limit_kib = 400 * 1_024;
    let mut shell = std::process::Command::new("sh");
    let output = shell
        .args(["-c", &format!("ulimit -d {limit_kib} && exec \"$@\""), "sh"])
        .arg(vertice().get_program())
        .args(["replay", "-o", "ndjson"])
        .arg(dir.path())
        .env_remove("VERTICE_API_KEY")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.lines().any(|l| l.contains("brute_force_detected")), "the last file is still read: {told}\n{said}");
    for word in ["nested deeper than 64 levels", "longer than 524288 bytes", "UTF-8"] {
        assert!(said.contains(word), "{word} in {said}");
    }
    println!("{bad} bad lines:\n{said}");
}
