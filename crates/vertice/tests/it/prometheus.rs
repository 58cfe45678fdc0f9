//! A real Prometheus, and what these tests have in common: what lies in `deploy/`, and what is said of what is left out.

#![expect(clippy::disallowed_methods, reason = "what never comes about must fail a test, and not hang it")]
#![expect(clippy::print_stdout, reason = "a test says what it leaves out")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::live::LIMIT;

/// The folder of what is deployed.
pub fn deploy() -> PathBuf {
    vertice_testkit::root().join("deploy")
}

/// A file of it.
pub fn read(name: &str) -> String {
    let path = deploy().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A YAML file of it, with one document.
pub fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&read(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Whether these programs are there. Where one is not, it is said what is left out; where all must be (`CI=true`), that
/// is a failure.
pub fn there(programs: &[&str], what: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = |name: &str| path.split(':').any(|folder| Path::new(folder).join(name).is_file());
    let gone: Vec<&str> = programs.iter().copied().filter(|name| !found(name)).collect();
    if gone.is_empty() {
        return true;
    }
    left_out(&format!("{what}: {} missing; `cargo xtask test` installs it", gone.join(", ")));
    false
}

/// Says what is left out, and why. Where everything must be there (`CI=true`), it is a failure.
pub fn left_out(told: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "left out: {told}");
    println!("left out: {told}");
}

/// Makes a file of a test, and the folders that it lies in.
pub fn written(path: PathBuf, text: &str) -> PathBuf {
    let folder = path.parent().expect("it lies somewhere");
    std::fs::create_dir_all(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let file = File::create(&path).and_then(|mut file| file.write_all(text.as_bytes()));
    file.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    path
}

/// Runs a program to its end.
pub fn ran(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("starting {program}: {e}"))
}

/// A Prometheus on a free port of loopback, that scrapes one address every quarter of a second. Killed when dropped.
pub struct Prometheus {
    child: Child,
    url: String,
}

impl Prometheus {
    /// Starts it with the configuration of `deploy/`, but for the address and the times.
    pub fn start(dir: &Path, target: &str) -> Prometheus {
        let config = read("prometheus/prometheus.yml");
        let changed = config
            .replace("vertice:8000", target.trim_start_matches("http://"))
            .replace("scrape_interval: 15s", "scrape_interval: 250ms")
            .replace("scrape_timeout: 10s", "scrape_timeout: 250ms")
            .replace("evaluation_interval: 15s", "evaluation_interval: 1s");
        assert!(!changed.contains("15s") && !changed.contains("10s"), "{changed}");
        let file = written(dir.join("prometheus.yml"), &changed);
        written(dir.join("alerts.yml"), &read("prometheus/alerts.yml"));
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("series").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--log.format=json"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("prometheus starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let listening = |line: &str| {
            let said: Value = serde_json::from_str(line).ok()?;
            (said["msg"] == "Listening on").then(|| said["address"].as_str().map(str::to_owned))?
        };
        let mut told = Vec::new();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            told.push(line);
            listening(told.last()?)
        });
        let address = address.unwrap_or_else(|| panic!("Prometheus does not listen:\n{}", told.join("\n")));
        // Or it would wait for ever to say more.
        std::thread::spawn(move || lines.for_each(drop));
        let prometheus = Prometheus { child, url: format!("http://{address}") };
        prometheus.ready();
        prometheus
    }

    /// Waits until it answers questions: it listens before it can.
    fn ready(&self) {
        let until = Instant::now() + LIMIT;
        while !ureq::get(format!("{}/-/ready", self.url)).call().is_ok_and(|answer| answer.status().is_success()) {
            assert!(Instant::now() < until, "Prometheus does not become ready");
            std::thread::yield_now();
        }
    }

    /// What an expression finds now; the text of its error if it has none.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(LIMIT));
        let agent: ureq::Agent = config.build().into();
        let asked = agent.get(format!("{}/api/v1/query", self.url)).query("query", expression).call();
        let answer: Value = asked
            .and_then(|mut a| a.body_mut().read_json())
            .unwrap_or_else(|e| panic!("Prometheus does not answer to {expression}: {e}"));
        match answer["data"]["result"].as_array() {
            Some(found) => Ok(found.clone()),
            None => Err(answer["error"].to_string()),
        }
    }

    /// Waits until an expression finds something that is a number.
    pub fn until_found(&self, expression: &str) -> Vec<Value> {
        let until = Instant::now() + LIMIT;
        loop {
            let found = self.query(expression).unwrap_or_else(|e| panic!("{expression}: {e}"));
            let number = |sample: &Value| sample["value"][1].as_str().is_some_and(|text| text != "NaN");
            if found.iter().any(number) {
                return found;
            }
            assert!(Instant::now() < until, "nothing is found by {expression}: {found:?}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It ended by itself, or nobody else will end it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
