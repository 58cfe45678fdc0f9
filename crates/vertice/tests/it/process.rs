//! A running `vertice up`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

/// The binary under test.
pub fn vertice() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vertice"));
    command.env_remove("VERTICE_API_KEY").env("RUST_BACKTRACE", "1");
    command
}

/// What comes about while this looks for it; `None` after three minutes at the least, in which only what will never
/// come about does not. Pauses between two looks, so that what is waited for gets the processor.
fn awaited<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    (0..9_000).find_map(|_| {
        let found = look();
        if found.is_none() {
            pause(20);
        }
        found
    })
}

/// Waits until something is so.
#[track_caller]
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    assert!(awaited(|| so().then_some(())).is_some(), "it never came about that {what}");
}

/// Lets some milliseconds go by.
pub fn pause(ms: u64) {
    let (_keep, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(Duration::from_millis(ms));
}

/// The API key that every server of these tests is given.
pub const KEY: &str = "vk_0000000000000000000000000000000000000000000000000000000000000000";

/// A `vertice up` on a free port of loopback. It is killed when dropped.
pub struct Server {
    child: Child,
    /// Such as `http://127.0.0.1:41234`.
    pub url: String,
    agent: ureq::Agent,
}

impl Server {
    /// Starts it and waits for the line that says it is ready.
    pub fn start(data: &Path) -> Server {
        Server::start_with(data, &[])
    }

    /// As [`Server::start`], with further arguments.
    pub fn start_with(data: &Path, arguments: &[&str]) -> Server {
        Server::start_as(data, arguments, |command| command)
    }

    /// As [`Server::start_with`], in other surroundings.
    pub fn start_as(data: &Path, arguments: &[&str], surround: impl FnOnce(&mut Command) -> &mut Command) -> Server {
        let mut command = vertice();
        command
            .args(["up", "--no-local-sources", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(arguments)
            .env("VERTICE_API_KEY", KEY)
            .env("VERTICE_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut child = surround(&mut command).spawn().expect("the binary starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it says something");
        let url = line.split_whitespace().find(|w| w.starts_with("http://"));
        let url = url.unwrap_or_else(|| panic!("no address in {line:?}")).trim_end_matches('/').to_owned();
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(60)));
        Server { child, url, agent: config.http_status_as_error(false).build().into() }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Sends SIGTERM, waits for the end and returns the exit code.
    pub fn stop(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is there");
        let status = self.child.wait().expect("it ends");
        assert!(status.code().is_some(), "it did not end by itself: {status}");
        status.code()
    }

    /// Waits until it has ended by itself and returns the exit code.
    pub fn ended(mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }

    /// The most memory that it has had so far, in MiB.
    pub fn memory_peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("Linux tells");
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number") / 1_024
    }

    /// POSTs a body and returns the status and the answer; `None` when the connection broke.
    pub fn post(&self, path: &str, body: &[u8]) -> Option<(u16, Value)> {
        let mut answer = self.agent.post(format!("{}{path}", self.url)).header("X-Api-Key", KEY).send(body).ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.body_mut().read_json().ok()?))
    }

    /// DELETEs something; `None` when the connection broke.
    pub fn delete(&self, path: &str) -> Option<u16> {
        let answer = self.agent.delete(format!("{}{path}", self.url)).header("X-Api-Key", KEY).call();
        answer.ok().map(|answer| answer.status().as_u16())
    }

    /// POSTs a JSON document and returns the status and the answer; `None` when the connection broke.
    pub fn post_json(&self, path: &str, body: &Value) -> Option<(u16, Value)> {
        let mut answer =
            self.agent.post(format!("{}{path}", self.url)).header("X-Api-Key", KEY).send_json(body).ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.body_mut().read_json().ok()?))
    }

    /// GETs a document.
    pub fn get(&self, path: &str) -> Value {
        let (status, value) = self.answer(path);
        assert!((200..300).contains(&status), "{}{path}: {status}: {value}", self.url);
        value
    }

    /// GETs a document, whatever is answered.
    pub fn answer(&self, path: &str) -> (u16, Value) {
        self.answer_to(KEY, path)
    }

    /// As [`Server::answer`], with another key.
    pub fn answer_to(&self, key: &str, path: &str) -> (u16, Value) {
        let url = format!("{}{path}", self.url);
        let mut answer = self.agent.get(&url).header("X-Api-Key", key).call().unwrap_or_else(|e| panic!("{url}: {e}"));
        let status = answer.status().as_u16();
        (status, answer.body_mut().read_json().unwrap_or_else(|e| panic!("{url}: {status}: {e}")))
    }

    /// GETs what is no JSON.
    pub fn text(&self, path: &str) -> String {
        let url = format!("{}{path}", self.url);
        let mut answer = self.agent.get(&url).header("X-Api-Key", KEY).call().unwrap_or_else(|e| panic!("{url}: {e}"));
        answer.body_mut().read_to_string().unwrap_or_else(|e| panic!("{url}: {e}"))
    }

    /// Every item of a paged list.
    pub fn all(&self, path: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{path}?limit=1000{cursor}"));
            items.extend(page["items"].as_array().expect("a list has items").iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    /// Waits until everything in the log has been judged.
    pub fn settled(&self) -> Value {
        let mut status = Value::Null;
        let settled = awaited(|| {
            status = self.get("/api/v1/status");
            (status["lag"].as_u64() == Some(0)).then(|| status.clone())
        });
        settled.unwrap_or_else(|| panic!("it is not judged: {status:#}"))
    }

    /// Waits until a list has a record that is wanted.
    #[track_caller]
    pub fn until_listed(&self, list: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut items = Vec::new();
        let found = awaited(|| {
            items = self.all(&format!("/api/v1/defense/{list}"));
            items.iter().find(|item| wanted(item)).cloned()
        });
        found.unwrap_or_else(|| panic!("{items:#?}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended, or a test failed and nobody else will end it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
