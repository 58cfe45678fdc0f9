//! Live: the real binary on a router of the test's own, a real firewall, real connections that stop and come back.

#![expect(clippy::disallowed_methods, reason = "what never comes about must fail a test, and not hang it")]
#![expect(clippy::print_stdout, reason = "a test says what it leaves out")]

use std::fs::File;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use vertice_testkit::net::{Star, echoes, missing, v4};
use vertice_testkit::scene::{PLAYBOOK, RULE, attempt};

use crate::process::{KEY, Server, vertice};

/// Where the bystander's service listens, which the attacker talks to through the router.
const PORT: u16 = 7_007;

/// Longest that anything here is waited for: many times what it takes on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How long it is waited for what is not to come.
const SHORT: Duration = Duration::from_millis(700);

/// A router that Vertice runs on, an attacker behind it (host 1), and a server with a service (host 2).
pub struct Site {
    pub star: Star,
    dir: tempfile::TempDir,
    config: PathBuf,
}

impl Site {
    /// `None` where something is missing; then it is said what is left out.
    pub fn new(response: &str) -> Option<Site> {
        if let Some(left_out) = missing(&["nft"]) {
            println!("live: {left_out}");
            return None;
        }
        let star = Star::new(&["attacker", "server"]);
        star.host(2).serve(PORT, "");
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), "content/rules/mallory.yml", RULE);
        write(dir.path(), "content/playbooks/stop_mallory.yml", PLAYBOOK);
        let content = dir.path().join("content");
        let text = format!(
            "[content]\ndirs = [{content:?}]\n[data]\ndir = {:?}\n[response]\nmode = \"live\"\n{response}\n\
             [response.firewall_rule]\nenabled = true\n",
            dir.path().join("data")
        );
        let config = write(dir.path(), "vertice.toml", &text);
        Some(Site { star, dir, config })
    }

    /// A directory for the files of whatever else runs here.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn up(&self) -> Server {
        let config = self.config.display().to_string();
        self.star.router.run(|| Server::start_with(&self.data(), &["--config", &config]))
    }

    /// On the router, where the API is.
    pub fn at<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        self.star.router.run(what)
    }

    fn connect(&self, limit: Duration) -> std::io::Result<TcpStream> {
        self.star.host(1).connect(SocketAddr::from((v4(2), PORT)), limit)
    }

    /// The attacker connects again, and gets through or does not: waits until it is so.
    pub fn until_it_gets_through(&self, wanted: bool) {
        let until = Instant::now() + LIMIT;
        loop {
            let through = self.connect(SHORT).is_ok();
            if through == wanted {
                return;
            }
            assert!(Instant::now() < until, "the attacker gets through: {through}, wanted: {wanted}");
        }
    }

    pub fn attack(&self, server: &Server, from: &str) {
        let line = attempt(from);
        let (status, answer) = self.at(|| server.post("/api/v1/events", line.as_bytes())).expect("it is there");
        assert_eq!(status, 202, "{answer}");
    }

    /// Waits until a list has what is wanted.
    fn until(&self, server: &Server, list: &str, wanted: impl Fn(&[Value]) -> bool + Sync) -> Vec<Value> {
        let until = Instant::now() + LIMIT;
        loop {
            let items = self.at(|| server.all(&format!("/api/v1/defense/{list}")));
            if wanted(&items) {
                return items;
            }
            assert!(Instant::now() < until, "{items:#?}");
        }
    }

    pub fn vertice(&self, arguments: &[&str]) -> Output {
        let config = self.config.display().to_string();
        self.at(|| vertice().args(arguments).args(["--config", &config]).output().expect("it runs"))
    }
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().expect("it lies somewhere")).expect("a directory");
    File::create(&path).and_then(|mut file| file.write_all(text.as_bytes())).expect("a file");
    path
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

fn is(record: &Value, pointer: &str, word: &str) -> bool {
    record.pointer(pointer).and_then(Value::as_str) == Some(word)
}

#[test]
fn an_attack_is_blocked_in_the_kernel_and_a_release_lets_it_through_again() {
    let Some(site) = Site::new("protected = [\"10.77.2.2\"]") else { return };
    let server = site.up();
    let mut open = site.connect(LIMIT).expect("nothing is blocked yet");
    assert!(echoes(&mut open, LIMIT));

    site.attack(&server, "10.77.1.2");
    site.until_it_gets_through(false);
    assert!(!echoes(&mut open, SHORT), "a connection that stood before is stopped too");
    let runs = site.until(&server, "responses", |runs| runs.iter().any(|r| is(r, "/state", "ended")));
    let run = &runs[0];
    assert_eq!(
        (&run["success"], &run["simulated"], &run["actions_executed"]),
        (&true.into(), &false.into(), &1.into())
    );
    assert!(is(run, "/steps/0/state/is", "done"), "{run:#}");
    assert_eq!(run["steps"][0]["criteria"]["traffic_stopped"], true, "{run:#}");
    let held = &site.at(|| server.all("/api/v1/defense/containments"))[0];
    assert!(is(held, "/state/is", "active") && is(held, "/stage", "reflex"), "{held:#}");
    // The decisions of bouncers are the same.
    let decisions = site.at(|| server.get("/v1/decisions?ip=10.77.1.2"));
    assert_eq!((&decisions[0]["type"], &decisions[0]["value"]), (&"ban".into(), &"10.77.1.2".into()), "{decisions}");

    let released = site.vertice(&["release", "10.77.1.2", "--reason", "test", "--url", &server.url, "--key", KEY]);
    assert!(released.status.success(), "{}", said(&released));
    site.until_it_gets_through(true);
    site.until(&server, "containments", |all| all.iter().all(|c| is(c, "/state/is", "released")));

    // Whoever is protected is never touched, and it is said why.
    site.attack(&server, "10.77.2.2");
    let refused = |r: &Value| is(r, "/steps/0/state/is", "refused");
    let runs = site.until(&server, "responses", |runs| runs.iter().any(refused));
    let run = runs.iter().find(|r| refused(r)).expect("one of them");
    assert!(run["steps"][0]["state"]["reason"].as_str().is_some_and(|why| why.contains("protected")), "{run:#}");
    assert_eq!(server.stop(), Some(0));
    let audit = site.vertice(&["audit", "verify"]);
    assert!(audit.status.success(), "{}", said(&audit));
}

#[test]
fn an_address_is_released_while_no_server_runs() {
    let Some(site) = Site::new("") else { return };
    let server = site.up();
    site.attack(&server, "10.77.1.2");
    site.until_it_gets_through(false);
    site.until(&server, "containments", |all| all.iter().any(|c| is(c, "/state/is", "active")));
    server.kill();
    assert!(site.connect(SHORT).is_err(), "the block outlives the process");

    let url = ["--url", "http://127.0.0.1:9"];
    let released = site.vertice(&[&["release", "10.77.1.2"][..], &url].concat());
    assert!(released.status.success() && said(&released).contains("was released here"), "{}", said(&released));
    site.until_it_gets_through(true);
    let again = site.vertice(&[&["release", "10.77.1.2"][..], &url].concat());
    assert_eq!(again.status.code(), Some(3), "{}", said(&again));

    let server = site.up();
    let held = site.at(|| server.all("/api/v1/defense/containments"));
    assert!(held.iter().all(|c| is(c, "/state/is", "released")), "{held:#?}");
    drop(server);
    let audit = site.vertice(&["audit", "verify"]);
    assert!(audit.status.success(), "{}", said(&audit));
}

/// A real sshd on the router, until it is dropped.
struct Sshd {
    child: Child,
    log: PathBuf,
}

impl Sshd {
    fn start(site: &Site) -> Sshd {
        let dir = site.dir.path();
        let (key, log) = (dir.join("host_key"), dir.join("sshd.log"));
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(made.is_ok_and(|status| status.success()), "ssh-keygen makes a key");
        // Where sshd keeps whom it lets in without rights.
        std::fs::create_dir_all("/run/sshd").expect("root may make it");
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-p", "2222", "-f", "/dev/null", "-o", "UsePAM=no", "-o", "PidFile=none", "-E"]).arg(&log);
        command.arg("-h").arg(&key).stdin(Stdio::null());
        let child = site.at(|| command.spawn()).expect("sshd starts");
        Sshd { child, log }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

#[test]
fn a_real_guesser_at_a_real_sshd_is_slowed_down_from_its_own_log_lines() {
    if !Path::new("/usr/sbin/sshd").exists() {
        println!("live: left out: sshd is missing; `cargo xtask test` installs it");
        return;
    }
    let Some(site) = Site::new("") else { return };
    let sshd = Sshd::start(&site);
    let followed = write(site.dir.path(), "auth.log", "");
    let text = std::fs::read_to_string(&site.config).expect("a configuration");
    write(site.dir.path(), "vertice.toml", &format!("{text}\n[sources]\nfiles = [{followed:?}]\n"));
    let server = site.up();
    let mut told = 0;
    let until = Instant::now() + LIMIT;
    let held = loop {
        // Each try is one of a name that nobody has. A slowed down guesser waits in vain.
        let guess = ["-F", "none", "-p", "2222", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"];
        let more = ["-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=2", "nobody-is-called-this@10.77.1.1"];
        let tried = site.star.host(1).run(|| Command::new("ssh").args(guess).args(more).output());
        assert!(!tried.expect("ssh runs").status.success());
        // What syslog does with a line of sshd: it puts time, host and program before it.
        let lines = std::fs::read_to_string(&sshd.log).unwrap_or_default();
        let mut log = File::options().append(true).open(&followed).expect("it is there");
        for line in lines.lines().skip(told) {
            writeln!(log, "2026-03-01T10:00:00Z web1 sshd[1]: {line}").expect("there is space");
        }
        told = lines.lines().count();
        let all = site.at(|| server.all("/api/v1/defense/containments"));
        if let Some(held) = all.iter().find(|c| c["entity"] == "10.77.1.2" && is(c, "/action_type", "firewall_rule")) {
            break held.clone();
        }
        assert!(Instant::now() < until, "{lines}");
    };
    assert_eq!(held["simulated"], false, "{held:#}");
    assert!(is(&held, "/playbook_id", "brute_force_response"), "{held:#}");
    // Five a minute get through, and no more.
    let to = SocketAddr::from(([10, 77, 1, 1], 2222));
    let through = (0..12).filter(|_| site.star.host(1).connect(to, Duration::from_millis(300)).is_ok()).count();
    assert!(through <= 6, "{through} of 12 connections got through");
}

#[test]
fn whenever_it_is_killed_the_block_is_there_once_or_not_at_all() {
    let Some(site) = Site::new("blast_radius_per_hour = 1000") else { return };
    for seed in 0..20_u64 {
        // A kill at any moment between the acceptance of the event and the receipt, some 20 ms later.
        let from = format!("203.0.113.{}", seed + 1);
        let server = site.up();
        site.attack(&server, &from);
        let die_at = Instant::now() + Duration::from_micros(seed * seed * 150);
        while Instant::now() < die_at {
            std::hint::spin_loop();
        }
        server.kill();
        let server = site.up();
        let about = |r: &Value| r["steps"][0]["parameters"]["source_ip"] == from.as_str();
        let runs = site.until(&server, "responses", |runs| runs.iter().any(|r| about(r) && is(r, "/state", "ended")));
        let of_this: Vec<_> = runs.iter().filter(|r| about(r)).collect();
        assert_eq!(of_this.len(), 1, "one run: {of_this:#?}");
        assert!(is(of_this[0], "/steps/0/state/is", "done"), "{:#}", of_this[0]);
        let held = site.at(|| server.all("/api/v1/defense/containments"));
        assert_eq!(held.iter().filter(|c| c["entity"] == from.as_str()).count(), 1, "{held:#?}");
        server.kill();
    }
    // What the kernel holds is what the records say, address for address.
    let list = site.at(|| Command::new("nft").args(["-j", "list", "table", "inet", "vertice"]).output());
    let list = String::from_utf8(list.expect("nft runs").stdout).expect("JSON");
    for seed in 0..20 {
        assert_eq!(list.matches(&format!("\"203.0.113.{}\"", seed + 1)).count(), 1, "{list}");
    }
}
