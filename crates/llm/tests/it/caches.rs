//! Answers that are kept: in memory, and in a real Redis that comes and goes.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use vertice_llm::{CacheSettings, Clock as _, Models, Origin, Provider, Settings, Spent, World, limits};
use vertice_testkit::net::free_port;

use crate::server::{Server, chat};
use crate::world::{Real, environment, models, one, opinion, question, told};

fn origin(models: &Models, world: &World, user: &str) -> Origin {
    models.complete(&question(world, user)).unwrap().origin
}

#[test]
fn what_was_answered_is_not_asked_again_until_it_is_old() {
    let server = Server::start(vec![chat("ok")]);
    let (clock, world) = told();
    let cache = CacheSettings { entries: 3, bytes: 100_000, ttl_s: 600 };
    let models = models(&Settings { cache, ..one(Provider::Compatible, &server.url()) }, &world);
    let ask = |user: &str| origin(&models, &world, user);
    assert_eq!(
        [ask("a"), ask("a"), ask("b"), ask("a")],
        [Origin::Provider, Origin::Memory, Origin::Provider, Origin::Memory]
    );
    // "b" was not used for longest, and makes room.
    assert_eq!(
        [ask("c"), ask("d"), ask("a"), ask("b")],
        [Origin::Provider, Origin::Provider, Origin::Memory, Origin::Provider]
    );
    assert_eq!(models.kept().0, 3);
    clock.pass(Duration::from_secs(600));
    assert_eq!(ask("a"), Origin::Provider);
    let counts = &models.counts()["m"];
    assert_eq!((counts.asked, counts.answered, counts.from_memory), (9, 6, 3));
    // Whatever is sent is part of what names a question; whatever is not sent is not.
    let mut longer = question(&world, "a");
    longer.deadline = longer.deadline.plus_seconds(1);
    assert_eq!(models.complete(&longer).unwrap().origin, Origin::Memory);
    longer.max_tokens += 1;
    assert_eq!(models.complete(&longer).unwrap().origin, Origin::Provider);
}

#[test]
fn the_memory_of_answers_is_bounded_in_bytes() {
    let server = Server::start(vec![chat(&"x".repeat(10_000))]);
    let (_, world) = told();
    let cache = CacheSettings { entries: 1_000, bytes: 50_000, ttl_s: 600 };
    let models = models(&Settings { cache, ..one(Provider::Compatible, &server.url()) }, &world);
    for n in 0..20 {
        origin(&models, &world, &n.to_string());
        let (_, bytes) = models.kept();
        assert!(bytes <= 50_000, "{bytes}");
    }
    assert_eq!(models.kept().0, 4);
}

#[test]
fn two_questions_that_differ_only_in_what_was_taken_out_share_an_answer() {
    let server = Server::start(vec![chat(r#"{"who":"[EMAIL_1]","score":7}"#)]);
    let (_, world) = told();
    let models = models(&one(Provider::Compatible, &server.url()), &world);
    for (user, origin) in [("eve\"@evil.example", Origin::Provider), ("bob@corp.example", Origin::Memory)] {
        let address = user.replace('"', "");
        let answer = models.complete(&question(&world, &format!("mail to {address}")).json(opinion())).unwrap();
        assert_eq!((answer.origin, answer.json.unwrap()["who"].as_str().unwrap()), (origin, address.as_str()));
    }
    assert_eq!(server.times(), 1);
    assert!(!server.asked()[0].body.to_string().contains("evil.example"));
}

/// A Redis of our own. Missing is a failure where tests must be whole.
struct Redis {
    process: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Redis {
    fn start(port: u16) -> Option<Redis> {
        let dir = tempfile::tempdir().unwrap();
        let port = if port > 0 { port } else { free_port() };
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
        command.args(["--requirepass", "open-sesame-91", "--dir"]).arg(dir.path());
        let process = match command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(process) => process,
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "redis-server: {error}");
                println!("left out: there is no redis-server");
                return None;
            }
        };
        // It is there once it takes connections.
        for _ in 0..500 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(Redis { process, port, _dir: dir });
            }
            Real.wait(Duration::from_millis(20));
        }
        panic!("redis-server does not listen");
    }

    fn stop(mut self) -> u16 {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.port
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn password(name: &str) -> Option<String> {
    if name == "REDIS_PASSWORD" { Some("open-sesame-91".to_owned()) } else { environment(name) }
}

#[test]
fn instances_share_answers_in_redis_and_do_without_when_it_is_down() {
    let Some(redis) = Redis::start(0) else { return };
    let server = Server::start(vec![chat(r#"{"who":"root","score":7}"#)]);
    let (clock, world) = told();
    let mut settings = one(Provider::Compatible, &server.url());
    settings.redis_password = Some(vertice_llm::SecretFrom::Env("REDIS_PASSWORD".to_owned()));
    let place = format!("127.0.0.1:{}", redis.port);
    let from = |name: &str| if name == "REDIS_HOST" { Some(place.clone()) } else { password(name) };
    let instance = || Models::new(&settings, &from, world.clone(), Spent::default()).unwrap();
    let ask = |models: &Models, user: &str| {
        let answer = models.complete(&question(&world, user).json(opinion())).unwrap();
        assert_eq!(answer.json, Some(json!({"who": "root", "score": 7})));
        answer.origin
    };
    // What the first asks the second has from Redis. Redis is left alone for a while where this machine stalls for longer
    // than it may take, so that is tried again, with another question.
    let mut tries = (0..100).map(|n| format!("try {n}"));
    let mut shared = |first: &Models, second: &Models| {
        let is_shared = |user: &String| {
            clock.pass(limits::REDIS_REST);
            (ask(first, user), ask(second, user)) == (Origin::Provider, Origin::Redis)
        };
        tries.find(is_shared).expect("Redis answers in time")
    };
    let (a, b, c) = (instance(), instance(), instance());
    let user = shared(&a, &b);
    assert_eq!(ask(&b, &user), Origin::Memory);
    // What somebody else wrote there is held against the schema, and is no answer.
    let mut direct =
        redis::Client::open(format!("redis://:open-sesame-91@{place}/")).unwrap().get_connection().unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("vertice:llm:*").query(&mut direct).unwrap();
    for key in &keys {
        let ttl_ms: i64 = redis::cmd("PTTL").arg(key).query(&mut direct).unwrap();
        assert!(ttl_ms > 80_000_000 && ttl_ms <= 86_400_000, "{ttl_ms}");
    }
    let kept: String = redis::cmd("GET").arg(&keys[0]).query(&mut direct).unwrap();
    for forged in [kept.replace("root", &"x".repeat(81)), "{}".to_owned(), "x".repeat(5 << 20)] {
        for key in &keys {
            let _: () = redis::cmd("SET").arg(key).arg(&forged).query(&mut direct).unwrap();
        }
        assert_eq!(ask(&instance(), &user), Origin::Provider);
    }
    drop(direct);
    let port = redis.stop();
    assert_eq!((ask(&c, "2"), ask(&c, "2"), ask(&b, "2")), (Origin::Provider, Origin::Memory, Origin::Provider));
    // It comes back, and is looked for again after a while.
    let redis = Redis::start(port).unwrap();
    assert_eq!((ask(&c, "3"), ask(&b, "3")), (Origin::Provider, Origin::Provider));
    shared(&c, &b);
    drop(redis);
}

#[test]
fn a_redis_that_says_nothing_delays_one_question_and_not_the_next() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start(vec![chat("ok")]);
    let (_, world) = told();
    let redis = silent.local_addr().unwrap().to_string();
    let models = Arc::new(models(&Settings { redis, ..one(Provider::Compatible, &server.url()) }, &world));
    for n in 0..100 {
        assert_eq!(origin(&models, &world, &n.to_string()), Origin::Provider);
    }
    silent.set_nonblocking(true).unwrap();
    assert_eq!(silent.incoming().take_while(Result::is_ok).count(), 1, "it was asked again and again");
}
