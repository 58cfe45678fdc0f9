//! How fast an attacker is held: from sending the event to the element in the kernel's set, with the real binary on a
//! host of its own, at 100 threats a second.
//!
//! Run as root: `cargo xtask bench response`, or `cargo bench --profile quick -p vertice --bench response`.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use vertice_testkit::net::{Namespace, missing};
use vertice_testkit::scene::{PLAYBOOK, RULE, attempt};

/// Threats a second, and for how many seconds.
const RATE: u32 = 100;
const SECONDS: u32 = 20;

fn main() {
    if let Some(left_out) = missing(&["nft"]) {
        println!("response: {left_out}");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory to write to");
    let host = Namespace::new("bench");
    write(dir.path(), "content/rules/mallory.yml", RULE);
    write(dir.path(), "content/playbooks/stop.yml", PLAYBOOK);
    write(
        dir.path(),
        "vertice.toml",
        &format!(
            "[content]\ndirs = [{:?}]\n[response]\nmode = \"live\"\nblast_radius_per_hour = 100000\n\
             [response.firewall_rule]\nenabled = true\n",
            dir.path().join("content")
        ),
    );
    let mut server = host.run(|| {
        Command::new(env!("CARGO_BIN_EXE_vertice"))
            .args(["up", "--no-local-sources", "--listen", "127.0.0.1:0", "--data"])
            .arg(dir.path().join("data"))
            .arg("--config")
            .arg(dir.path().join("vertice.toml"))
            .env("VERTICE_LOG", "error")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts")
    });
    let mut line = String::new();
    BufReader::new(server.stdout.take().expect("piped")).read_line(&mut line).expect("it says that it is ready");
    let address = line.split_whitespace().find_map(|w| w.strip_prefix("http://")).expect("an address").to_owned();

    let mut monitor = host.run(|| {
        Command::new("nft").args(["monitor", "new", "elements"]).stdout(Stdio::piped()).spawn().expect("nft starts")
    });
    let elements = BufReader::new(monitor.stdout.take().expect("piped"));
    let (tell, held) = mpsc::channel();
    std::thread::spawn(move || {
        for line in elements.lines().map_while(Result::ok) {
            let at = Instant::now();
            let address = line.split(['{', ' ', ',', '}']).find(|word| word.starts_with("203.")).map(str::to_owned);
            if address.is_none_or(|address| tell.send((address, at)).is_err()) {
                continue;
            }
        }
    });
    let sent = host.run(|| send(&address));
    let mut took = Vec::new();
    while took.len() < sent.len() {
        let Ok((address, at)) = held.recv_timeout(Duration::from_secs(30)) else { break };
        if let Some(begun) = sent.get(&address) {
            took.push(at.saturating_duration_since(*begun));
        }
    }
    let _ = (monitor.kill(), server.kill(), monitor.wait(), server.wait());
    took.sort_unstable();
    let ms = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "{} threats at {RATE}/s, {} held; from sending the event to the element in the kernel: p50 {:.1} ms, p99 {:.1} ms, \
         at most {:.1} ms (load {})",
        sent.len(),
        took.len(),
        ms(0.5),
        ms(0.99),
        ms(1.0),
        load.split(' ').next().unwrap_or_default()
    );
}

/// Sends an event of each attacker at its time; gives when.
fn send(address: &str) -> HashMap<String, Instant> {
    let mut sent = HashMap::new();
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    let begun = Instant::now();
    for n in 0..RATE * SECONDS {
        let due = Duration::from_millis(u64::from(n) * 1_000 / u64::from(RATE));
        let (_keep, nobody) = mpsc::channel::<()>();
        let _ = nobody.recv_timeout(due.saturating_sub(begun.elapsed()));
        let from = format!("203.0.{}.{}", n / 250, n % 250 + 1);
        let line = format!("{}\n", attempt(&from));
        let request = format!(
            "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{line}",
            line.len()
        );
        sent.insert(from, Instant::now());
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = [0; 4_096];
        let length = stream.read(&mut answer).expect("it answers");
        assert!(answer[..length].starts_with(b"HTTP/1.1 202"), "{}", String::from_utf8_lossy(&answer[..length]));
    }
    sent
}

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().expect("it lies somewhere")).expect("a directory");
    File::create(&path).and_then(|mut file| file.write_all(text.as_bytes())).expect("a file");
}
