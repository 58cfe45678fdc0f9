//! What this crate adds to a question: an answer that is kept, and one from a local server that answers at once,
//! beside the same request by the bare HTTP client.
//!
//! Run: `cargo bench --profile quick -p vertice-llm --bench overhead`.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use vertice_llm::{
    BudgetSettings, Clock, ModelSettings, Models, Origin, Provider, Purpose, Request, Settings, Spent, World,
};
use vertice_model::Timestamp;

struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp::from_micros(since.as_micros() as i64)
    }
}

const ROUNDS: usize = 2_000;
const ANSWER: &str = r#"{"model":"m","choices":[{"message":{"content":"ok"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;

fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || serve(connection));
        }
    });
    let settings = Settings {
        models: [("m".to_owned(), ModelSettings::new(Provider::Compatible, "m", &url))].into(),
        budget: BudgetSettings { tokens_per_hour: 0, tokens_per_day: 0, usd_per_hour: 0.0, usd_per_day: 0.0 },
        ..Settings::default()
    };
    let world = World { clock: Arc::new(Wall), random: Arc::new(|| 1) };
    let models = Models::new(&settings, &|_| None, world.clone(), Spent::default()).expect("settings that can be used");
    // Four KiB of log lines, with something to be taken out in each.
    let line =
        "Mar  1 12:00:00 web-1 sshd[812]: Failed password for ana@corp.example from 203.0.113.9 port 4711 ssh2\n";
    let text = line.repeat(40);
    let ask = |text: String| {
        let deadline = world.clock.now().plus_seconds(60);
        models.complete(&Request::new(Purpose::Triage, "Judge.", &text, deadline)).expect("an answer").origin
    };
    let agent = ureq::Agent::new_with_defaults();
    let bare = |n: usize| {
        let sent = agent.post(format!("{url}/v1/chat/completions")).send(format!("{{\"n\":{n},\"text\":{text:?}}}"));
        sent.expect("an answer").body_mut().read_to_string().expect("a body");
    };
    report("the bare HTTP client", bare);
    report("a question to a local server", |n| assert_eq!(ask(format!("{n}\n{text}")), Origin::Provider));
    ask(text.clone());
    report("an answer that is kept", |_| assert_eq!(ask(text.clone()), Origin::Memory));
}

fn report(what: &str, mut run: impl FnMut(usize)) {
    let mut took: Vec<Duration> = (0..ROUNDS)
        .map(|n| {
            let begun = Instant::now();
            run(n);
            begun.elapsed()
        })
        .collect();
    took.sort();
    let at = |percent: usize| took[ROUNDS * percent / 100].as_secs_f64() * 1_000.0;
    println!("{what}: {ROUNDS} of 4 KiB, p50 {:.3} ms, p99 {:.3} ms", at(50), at(99));
}

fn serve(connection: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(connection.try_clone().ok()?);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length]).ok()?;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{ANSWER}", ANSWER.len());
        (&connection).write_all(head.as_bytes()).ok()?;
    }
}
