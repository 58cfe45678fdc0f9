//! No key is ever shown: not in logs at their finest, not in errors, not in what is printed of any type.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use vertice_llm::{Models, Provider, Secret, SecretFrom, Spent};

use crate::server::{Reply, Server, chat, error};
use crate::world::{KEY, environment, models, one, opinion, question, told};

/// All that was logged, up to a size.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut logged = self.0.lock().unwrap();
        if logged.len() < 64 << 20 {
            logged.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn shows_no_key(name: &str, text: &str) {
    // Half of it would be too much.
    for part in [&KEY[..12], &KEY[10..22]] {
        assert!(!text.contains(part), "{name} shows the key: {text}");
    }
}

#[test]
fn keys_are_shown_nowhere() {
    let logged = Logged::default();
    let writer = logged.clone();
    // For the whole program: what other threads and libraries log counts too.
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    subscriber.try_init().unwrap();
    let echo = format!("Incorrect API key provided: {KEY}. Sent: authorization: Bearer {KEY}");
    let replies = [
        chat("ok"),
        chat(&format!("your key is {KEY}")),
        error(401, "", &echo),
        error(400, "", &echo),
        error(500, "", &echo),
        error(429, "retry-after: 1\r\n", &echo),
        error(418, "", &format!("a\u{1b}[2J{}", &KEY[..16])),
        Reply::Says(503, "", format!("not JSON {KEY}")),
        Reply::Raw(format!("HTTP/1.1 302 X\r\nlocation: http://127.0.0.1:9/{KEY}\r\n\r\n").into_bytes()),
        Reply::Raw(format!("HTTP/1.1 {KEY}\r\n\r\n").into_bytes()),
        Reply::Raw(format!("{KEY}\r\n\r\n").into_bytes()),
        Reply::Raw(Vec::new()),
    ];
    let mut words = Vec::new();
    for provider in [Provider::OpenaiChat, Provider::OpenaiResponses, Provider::Anthropic, Provider::Compatible] {
        for reply in &replies {
            let server = Server::start(vec![reply.clone()]);
            let (_, world) = told();
            let models = models(&one(provider, &server.url()), &world);
            let outcomes = [
                models.complete(&question(&world, &format!("the key is {KEY}, is it?"))),
                models.complete(&question(&world, "?").json(opinion())),
            ];
            assert!(server.asked()[0].headers.contains(KEY), "the test must send the key to mean anything");
            shows_no_key("the question", &server.asked()[0].body.to_string());
            for outcome in outcomes {
                match outcome {
                    // What a model says is not an error; it says what it was told, and it is not told the key.
                    Ok(_) => {}
                    Err(error) => {
                        shows_no_key("an error", &format!("{error} {error:?} {error:#?}"));
                        assert!(!error.words.contains('\u{1b}'));
                        words.push(error.words);
                    }
                }
            }
            shows_no_key(
                "Debug",
                &format!("{models:?} {:?} {:?}", models.counts(), models.check(std::time::Duration::from_secs(5))),
            );
        }
    }
    assert!(words.iter().any(|w| w.starts_with("Incorrect API key provided: [SECRET]")), "{words:?}");
    let panicked = catch_unwind(AssertUnwindSafe(|| std::panic::panic_any(format!("{:?}", Secret::new(KEY)))));
    shows_no_key("a panic", panicked.unwrap_err().downcast_ref::<String>().unwrap());
    for from in [SecretFrom::Env("NOT_THERE".into()), SecretFrom::File("/nonexistent/key".into()), bad_file()] {
        let mut settings = one(Provider::Compatible, "http://127.0.0.1:1");
        settings.models.get_mut("m").unwrap().key = Some(from);
        let (_, world) = told();
        let error = Models::new(&settings, &environment, world, Spent::default()).unwrap_err();
        shows_no_key("an error of settings", &format!("{error} {error:?} {settings:?}"));
        assert!(error.to_string().starts_with("models.m.key: "), "{error}");
    }
    let text = String::from_utf8_lossy(&logged.0.lock().unwrap()).into_owned();
    assert!(text.contains("ureq"), "nothing of the HTTP client was logged, so the test shows nothing");
    shows_no_key("the log", &text);
}

/// A file with a key that can not be one.
fn bad_file() -> SecretFrom {
    let path = std::env::temp_dir().join(format!("vertice-llm-{}", std::process::id()));
    std::fs::File::create(&path).unwrap().write_all(format!("{KEY}\n{KEY} with spaces").as_bytes()).unwrap();
    SecretFrom::File(path)
}
