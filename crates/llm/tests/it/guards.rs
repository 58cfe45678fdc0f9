//! Retries, the breaker, the budget and the limit of questions in flight.

use std::sync::Arc;
use std::time::Duration;

use vertice_llm::{BudgetSettings, Circuit, Models, Provider, Settings, Skip, Spent, Why};
use vertice_model::Timestamp;

use crate::server::{Reply, Server, chat, error};
use crate::world::{environment, models, one, question, told};

fn ms(waits: &[Duration]) -> Vec<u128> {
    waits.iter().map(Duration::as_millis).collect()
}

#[test]
fn what_the_provider_asks_for_is_waited_and_jitter_comes_on_top() {
    // A header, and the waits in milliseconds before the answer; `None` where it would be too late.
    for (header, waits) in [
        ("retry-after: 7\r\n", Some(vec![7_100])),
        ("Retry-After: Sun, 01 Mar 2026 12:00:30 GMT\r\n", Some(vec![30_100])),
        ("retry-after: Sun, 01 Mar 2026 11:00:00 GMT\r\n", Some(vec![100])),
        ("retry-after: soon\r\n", Some(vec![100])),
        ("", Some(vec![100])),
        ("retry-after: 60\r\n", None),
        ("retry-after: 18446744073709551615\r\n", None),
        ("retry-after: Sun, 01 Mar 2037 12:00:00 GMT\r\n", None),
    ] {
        let server = Server::start(vec![error(429, header, "Rate limit reached"), chat("ok")]);
        let (clock, world) = told();
        let answer = models(&one(Provider::Compatible, &server.url()), &world).complete(&question(&world, "?"));
        match waits {
            Some(waits) => {
                let answer = answer.unwrap();
                assert_eq!((answer.text.as_str(), answer.attempts), ("ok", 2), "{header}");
                assert_eq!(ms(&clock.waits()), waits, "{header}");
            }
            None => {
                assert!(matches!(answer.unwrap_err().why, Why::TooMany(Some(_))), "{header}");
                assert_eq!((server.times(), clock.waits().len()), (1, 0), "{header}");
            }
        }
    }
}

#[test]
fn waits_are_spread_over_a_span_that_doubles() {
    let server = Server::start(vec![error(503, "", "busy")]);
    let (clock, mut world) = told();
    // The most that each may be, so the span itself shows.
    world.random = Arc::new(|| 500 * 1_001 * 2_001 * 4_001 - 1);
    let error = models(&one(Provider::Compatible, &server.url()), &world).complete(&question(&world, "?")).unwrap_err();
    assert_eq!((error.why, error.attempts), (Why::Failed(503), 4));
    let waits = ms(&clock.waits());
    assert!(waits[0] <= 500 && waits[1] == 1_000 && waits[2] == 2_000, "{waits:?}");
}

#[test]
fn the_breaker_opens_tries_and_closes() {
    let server = Server::start(vec![error(500, "", "oops")]);
    let (clock, world) = told();
    let mut settings = one(Provider::Compatible, &server.url());
    settings.models.get_mut("m").unwrap().attempts = 1;
    let models = models(&settings, &world);
    let ask = || models.complete(&question(&world, "?")).map(|a| a.text).map_err(|e| e.why);
    let open = Err(Why::Skipped(Skip::CircuitOpen));
    for _ in 0..5 {
        assert_eq!(ask(), Err(Why::Failed(500)));
    }
    assert_eq!(ask(), open);
    assert_eq!((server.times(), models.counts()["m"].circuit), (5, Some(Circuit::Open)));
    // Half-open: one is let through. It fails, and the breaker stays open for twice as long.
    clock.pass(Duration::from_secs(30));
    assert_eq!(ask(), Err(Why::Failed(500)));
    clock.pass(Duration::from_secs(59));
    assert_eq!(ask(), open);
    assert_eq!(server.times(), 6);
    server.now_says(vec![chat("back")]);
    clock.pass(Duration::from_secs(1));
    assert_eq!((ask(), ask()), (Ok("back".to_owned()), Ok("back".to_owned())));
    let counts = &models.counts()["m"];
    assert_eq!((counts.breaker.opened, counts.breaker.closed, counts.breaker.kept_back), (2, 1, 2));
    assert_eq!(counts.circuit, Some(Circuit::Closed));
    // What says something of the question and nothing of the provider does not count.
    server.now_says(vec![error(400, "", "no")]);
    for i in 0..9 {
        assert_eq!(models.complete(&question(&world, &i.to_string())).unwrap_err().why, Why::Rejected(400));
    }
}

#[test]
fn nothing_is_asked_once_the_budget_is_spent() {
    // A question takes at most (6 + 4) / 2 + 1,024 tokens and 10,250 millionths of a dollar, and really 120 and 400.
    let unlimited = BudgetSettings { tokens_per_hour: 0, tokens_per_day: 0, usd_per_hour: 0.0, usd_per_day: 0.0 };
    let (hour, day) = (Duration::from_secs(3_600), Duration::from_secs(24 * 3_600));
    for (budget, skip, asked, until) in [
        (BudgetSettings { tokens_per_hour: 1_300, ..unlimited }, Skip::TokensOfHour, 3, hour),
        (BudgetSettings { tokens_per_day: 1_300, ..unlimited }, Skip::TokensOfDay, 3, day),
        (BudgetSettings { usd_per_hour: 0.0111, ..unlimited }, Skip::MoneyOfHour, 3, hour),
        (BudgetSettings { usd_per_day: 0.0111, ..unlimited }, Skip::MoneyOfDay, 3, day),
        (BudgetSettings { tokens_per_hour: 1_000, ..unlimited }, Skip::TokensOfHour, 0, hour),
    ] {
        let server = Server::start(vec![chat("ok")]);
        let (clock, world) = told();
        let settings = Settings { budget, ..one(Provider::Compatible, &server.url()) };
        let models = models(&settings, &world);
        let ask = |models: &Models, n: usize| models.complete(&question(&world, &format!("no {n}"))).map_err(|e| e.why);
        let answered = (0..9).take_while(|n| ask(&models, *n).is_ok()).count();
        assert_eq!((answered, server.times()), (asked, asked), "{skip:?}");
        assert_eq!(ask(&models, 50).unwrap_err(), Why::Skipped(skip));
        // What was answered before costs nothing, and is there all the same.
        assert_eq!(ask(&models, 0).is_ok(), asked > 0);
        // A restart does not give it back.
        let kept: Spent = serde_json::from_str(&serde_json::to_string(&models.spent()).unwrap()).unwrap();
        assert_eq!((kept.hour.tokens, kept.day.microusd), (asked as u64 * 120, asked as u64 * 400));
        let again = Models::new(&settings, &environment, world.clone(), kept).unwrap();
        assert_eq!(ask(&again, 60).unwrap_err(), Why::Skipped(skip));
        clock.pass(until);
        assert_eq!(ask(&again, 70).is_ok(), asked > 0, "{skip:?}");
    }
}

#[test]
fn an_answer_that_was_lost_counts_in_full_and_a_refusal_does_not() {
    for (reply, tokens) in [
        (Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_vec()), 1_024 + 5),
        (error(401, "", "no"), 0),
        (error(500, "", "no"), 0),
    ] {
        let server = Server::start(vec![reply]);
        let (_, world) = told();
        let mut settings = one(Provider::Compatible, &server.url());
        settings.models.get_mut("m").unwrap().attempts = 1;
        let models = models(&settings, &world);
        models.complete(&question(&world, "lost")).unwrap_err();
        assert_eq!(models.spent().hour.tokens, tokens);
    }
}

#[test]
fn what_is_late_is_not_asked() {
    let server = Server::start(vec![chat("ok")]);
    let (clock, world) = told();
    let models = models(&one(Provider::Compatible, &server.url()), &world);
    let late = question(&world, "?");
    clock.pass(Duration::from_secs(60));
    assert_eq!(models.complete(&late).unwrap_err().why, Why::Skipped(Skip::Expired));
    assert_eq!(server.times(), 0);
}

#[test]
fn no_more_are_in_flight_than_allowed() {
    let server = Server::start(vec![Reply::Drips]);
    let (_, world) = told();
    let mut settings = one(Provider::Compatible, &server.url());
    settings.models.get_mut("m").unwrap().concurrency = 2;
    let models = Arc::new(models(&settings, &world));
    let ask = |n: u32, ms: i64| {
        let (models, mut request) = (Arc::clone(&models), question(&world, &n.to_string()));
        request.deadline = Timestamp::from_micros(world.clock.now().as_micros() + ms * 1_000);
        std::thread::spawn(move || models.complete(&request).unwrap_err().why)
    };
    // These hold their places for longer than the test takes, and are not waited for.
    for n in 0..2 {
        ask(n, 60_000);
    }
    while server.times() < 2 {
        std::thread::yield_now();
    }
    let others: Vec<_> = (2..8).map(|n| ask(n, 100)).collect();
    for other in others {
        assert_eq!(other.join().unwrap(), Why::Skipped(Skip::Expired));
    }
    assert_eq!(server.times(), 2);
}
