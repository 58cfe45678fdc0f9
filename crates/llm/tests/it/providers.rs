//! What is sent to each provider, and what is made of all that they may answer.

use std::time::Duration;

use serde_json::{Value, json};
use vertice_llm::{Broken, JsonForm, Origin, Provider, Why};
use vertice_model::Timestamp;

use crate::server::{Reply, Server, chat, chat_that, error};
use crate::world::{KEY, models, one, opinion, question, told};

const GOOD: &str = r#"{"who":"root","score":7}"#;

fn responses(content: Value, status: &str, reason: Value) -> Reply {
    let body = json!({
        "id": "resp_1", "object": "response", "status": status, "error": null, "model": "small-1",
        "incomplete_details": reason,
        "output": [
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [content]},
        ],
        "usage": {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120},
    });
    Reply::Says(200, "", body.to_string())
}

fn messages(text: &str, stop: &str) -> Reply {
    let body = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "small-1",
        "content": [{"type": "text", "text": text}], "stop_reason": stop, "stop_sequence": null,
        "usage": {"input_tokens": 90, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 10, "output_tokens": 20},
    });
    Reply::Says(200, "", body.to_string())
}

#[test]
fn each_provider_is_asked_and_read_in_its_own_way() {
    let text = json!({"type": "output_text", "text": GOOD, "annotations": []});
    let schema = opinion().value().clone();
    let cases = [
        (
            Provider::OpenaiChat,
            chat(GOOD),
            "/v1/chat/completions",
            vec![
                ("/messages/0/content", json!("Judge.")),
                ("/messages/1/content", json!("who?")),
                ("/max_completion_tokens", json!(1_024)),
                ("/response_format/json_schema/schema", schema.clone()),
                ("/response_format/json_schema/strict", json!(true)),
            ],
        ),
        (
            Provider::Compatible,
            chat(GOOD),
            "/v1/chat/completions",
            vec![("/max_tokens", json!(1_024)), ("/response_format/type", json!("json_schema"))],
        ),
        (
            Provider::OpenaiResponses,
            responses(text, "completed", Value::Null),
            "/v1/responses",
            vec![
                ("/instructions", json!("Judge.")),
                ("/input", json!("who?")),
                ("/max_output_tokens", json!(1_024)),
                ("/store", json!(false)),
                ("/text/format/schema", schema),
            ],
        ),
        (
            Provider::Anthropic,
            messages(GOOD, "end_turn"),
            "/v1/messages",
            vec![
                ("/system", json!("Judge.")),
                ("/messages/0/content", json!("who?")),
                ("/max_tokens", json!(1_024)),
                ("/output_config/format/type", json!("json_schema")),
                // Bounds are refused there, so they are not sent; they hold all the same.
                ("/output_config/format/schema/properties/score", json!({"type": "integer"})),
            ],
        ),
    ];
    for (provider, reply, path, sent) in cases {
        let server = Server::start(vec![reply]);
        let (_, world) = told();
        let answer = models(&one(provider, &server.url()), &world).complete(&question(&world, "who?").json(opinion()));
        let answer = answer.unwrap_or_else(|e| panic!("{provider:?}: {e}"));
        assert_eq!(answer.json, Some(json!({"who": "root", "score": 7})), "{provider:?}");
        assert_eq!((answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.estimated), (100, 20, false));
        // 100 tokens at 2 dollars a million and 20 at 10.
        assert_eq!(answer.cost_microusd, Some(400), "{provider:?}");
        assert_eq!((answer.model.as_str(), answer.origin, answer.attempts), ("small-1", Origin::Provider, 1));
        let asked = &server.asked()[0];
        assert_eq!(asked.path, path);
        let header = if provider == Provider::Anthropic {
            format!("x-api-key: {KEY}")
        } else {
            format!("authorization: Bearer {KEY}")
        };
        assert!(asked.headers.contains(&header), "{}", asked.headers);
        assert_eq!((&asked.body["model"], &asked.body["temperature"]), (&json!("small"), &json!(0.0)));
        for (at, value) in sent {
            assert_eq!(asked.body.pointer(at), Some(&value), "{provider:?} {at}");
        }
    }
}

#[test]
fn servers_without_schemas_are_asked_in_words() {
    for (json, format) in [
        (JsonForm::Object, json!({"type": "json_object"})),
        (JsonForm::ObjectSchema, json!({"type": "json_object", "schema": opinion().value()})),
        (JsonForm::Prompt, Value::Null),
    ] {
        let server = Server::start(vec![chat(&format!("```json\n{GOOD}\n```"))]);
        let (_, world) = told();
        let mut settings = one(Provider::Compatible, &server.url());
        settings.models.get_mut("m").unwrap().json = json;
        let answer = models(&settings, &world).complete(&question(&world, "?").json(opinion())).unwrap();
        assert_eq!(answer.json.unwrap()["score"], 7);
        let body = &server.asked()[0].body;
        assert_eq!(body.get("response_format").unwrap_or(&Value::Null), &format);
        assert!(body["messages"][0]["content"].as_str().unwrap().contains("\"maximum\":100"));
    }
}

#[test]
fn a_model_is_asked_for_no_more_tokens_than_it_may_give() {
    let server = Server::start(vec![chat("a")]);
    let (_, world) = told();
    let mut settings = one(Provider::Compatible, &server.url());
    settings.models.get_mut("m").unwrap().max_tokens = 300;
    assert_eq!(models(&settings, &world).complete(&question(&world, "?")).unwrap().text, "a");
    assert_eq!(server.asked()[0].body["max_tokens"], 300);
}

#[test]
fn a_model_that_takes_no_temperature_is_asked_without_from_then_on() {
    let refusal = "Unsupported value: 'temperature' does not support 0 with this model.";
    let server = Server::start(vec![error(400, "", refusal), chat("a"), chat("b")]);
    let (_, world) = told();
    let models = models(&one(Provider::OpenaiChat, &server.url()), &world);
    assert_eq!(models.complete(&question(&world, "1")).unwrap().text, "a");
    assert_eq!(models.complete(&question(&world, "2")).unwrap().text, "b");
    let sent: Vec<_> = server.asked().iter().map(|a| a.body.get("temperature").is_some()).collect();
    assert_eq!(sent, [true, false, false]);
}

/// A reply, and what becomes of the question; how often it is asked.
fn bad_answers() -> Vec<(&'static str, Provider, Reply, Why, usize)> {
    let (chat_like, messages_like) = (Provider::Compatible, Provider::Anthropic);
    let raw = |text: &str| Reply::Raw(text.as_bytes().to_vec());
    let refusal =
        json!({"choices": [{"message": {"content": null, "refusal": "I can not."}, "finish_reason": "stop"}]});
    let overloaded = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n{\"choices\":[{\"message\":";
    let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n400\r\n{\"choices\":[{\"mess";
    let incomplete = json!({"reason": "max_output_tokens"});
    let said = json!({"type": "output_text", "text": "{\"who\":"});
    let declined = json!({"type": "refusal", "refusal": "no"});
    let responses_like = Provider::OpenaiResponses;
    vec![
        ("bad key", chat_like, error(401, "", "Incorrect API key"), Why::Denied(401), 1),
        ("forbidden", messages_like, error(403, "", "no"), Why::Denied(403), 1),
        ("no such model", chat_like, error(404, "", "The model does not exist"), Why::Rejected(404), 1),
        ("bad request", messages_like, error(400, "", "max_tokens: too large"), Why::Rejected(400), 1),
        ("failing", chat_like, error(500, "", "oops"), Why::Failed(500), 4),
        ("overloaded", messages_like, Reply::Says(529, "", overloaded.to_string()), Why::Failed(529), 4),
        ("not HTTP", chat_like, raw("SSH-2.0-x\r\n"), Why::Connection(Broken::Cut), 4),
        ("closed at once", chat_like, raw(""), Why::Connection(Broken::Cut), 4),
        ("cut body", chat_like, raw(half), Why::Connection(Broken::Cut), 4),
        ("cut chunk", chat_like, raw(chunks), Why::Connection(Broken::Cut), 4),
        ("no JSON", chat_like, Reply::Says(200, "", "<html>busy</html>".into()), Why::Malformed, 1),
        ("half JSON", chat_like, Reply::Says(200, "", "{\"choices\":[".into()), Why::Malformed, 1),
        ("other JSON", chat_like, Reply::Says(200, "", "{\"choices\":[]}".into()), Why::Malformed, 1),
        ("other provider", messages_like, chat(GOOD), Why::Malformed, 1),
        ("prose", chat_like, chat("The score is 7."), Why::WrongShape, 1),
        ("wrong type", chat_like, chat(r#"{"who":"root","score":"7"}"#), Why::WrongShape, 1),
        ("out of bounds", messages_like, messages(r#"{"who":"root","score":101}"#, "end_turn"), Why::WrongShape, 1),
        ("too much", chat_like, chat(r#"{"who":"root","score":7,"close":true}"#), Why::WrongShape, 1),
        ("too little", chat_like, chat(r#"{"who":"root"}"#), Why::WrongShape, 1),
        ("cut at its limit", chat_like, chat_that(r#"{"who":"ro"#, "length"), Why::CutShort, 1),
        ("incomplete", responses_like, responses(said, "incomplete", incomplete), Why::CutShort, 1),
        ("declined", chat_like, Reply::Says(200, "", refusal.to_string()), Why::Declined, 1),
        ("declined", messages_like, messages("", "refusal"), Why::Declined, 1),
        ("declined", responses_like, responses(declined, "completed", Value::Null), Why::Declined, 1),
        ("filtered", chat_like, chat_that("", "content_filter"), Why::Declined, 1),
        ("huge", chat_like, Reply::Floods(64 << 20), Why::TooLarge, 1),
        (
            "huge header",
            chat_like,
            raw(&format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(99_999))),
            Why::TooLarge,
            1,
        ),
    ]
}

#[test]
fn bad_answers_are_told_apart_and_retried_only_where_that_helps() {
    for (name, provider, reply, why, times) in bad_answers() {
        let server = Server::start(vec![reply]);
        let (_, world) = told();
        let models = models(&one(provider, &server.url()), &world);
        let error = models.complete(&question(&world, "?").json(opinion())).unwrap_err();
        assert_eq!((error.why.clone(), server.times()), (why, times), "{name}: {error}");
        assert_eq!(error.attempts as usize, times, "{name}");
        assert_eq!(models.counts()["m"].unanswered, [(error.word(), 1)].into(), "{name}");
    }
}

#[test]
fn an_answer_that_drips_ends_with_the_deadline() {
    let server = Server::start(vec![Reply::Drips]);
    let (_, world) = told();
    let mut request = question(&world, "?");
    request.deadline = Timestamp::from_micros(world.clock.now().as_micros() + 300_000);
    let error = models(&one(Provider::Compatible, &server.url()), &world).complete(&request).unwrap_err();
    assert_eq!((error.why, server.times()), (Why::Late, 1));
}

#[test]
fn no_redirect_is_followed() {
    let other = Server::start(vec![chat("stolen")]);
    for status in [301, 302, 303, 307, 308] {
        let head = format!(
            "HTTP/1.1 {status} X\r\nlocation: {}/v1/chat/completions\r\ncontent-length: 0\r\n\r\n",
            other.url()
        );
        let server = Server::start(vec![Reply::Raw(head.into_bytes())]);
        let (_, world) = told();
        let error =
            models(&one(Provider::Compatible, &server.url()), &world).complete(&question(&world, "?")).unwrap_err();
        assert_eq!(error.why, Why::Redirected(status));
    }
    assert_eq!(other.times(), 0, "the key went to another host");
}

#[test]
fn a_host_that_is_not_there_is_tried_again_within_the_deadline() {
    let (clock, world) = told();
    let error =
        models(&one(Provider::Compatible, "http://127.0.0.1:1"), &world).complete(&question(&world, "?")).unwrap_err();
    assert_eq!((error.why, error.attempts), (Why::Connection(Broken::NotMade), 4));
    assert_eq!(clock.waits(), [Duration::from_millis(100); 3]);
}

#[test]
fn each_model_is_checked() {
    let server = Server::start(vec![chat(r#"{"answer":"yes"}"#)]);
    let prose = Server::start(vec![chat("Yes.")]);
    let wrong = Server::start(vec![error(401, "", "Incorrect API key provided")]);
    let (_, world) = told();
    let mut settings = one(Provider::Compatible, &server.url());
    for (name, server) in [("prose", &prose), ("wrong", &wrong)] {
        settings
            .models
            .extend(one(Provider::Compatible, &server.url()).models.into_values().map(|m| (name.to_owned(), m)));
    }
    let checked = models(&settings, &world).check(Duration::from_secs(20));
    let seen: Vec<_> = checked.iter().map(|c| (c.name.as_str(), c.answers, c.json, c.cost_microusd)).collect();
    assert_eq!(
        seen,
        [("m", true, true, Some(400)), ("prose", true, false, Some(400)), ("wrong", false, false, Some(0))]
    );
    assert!(checked[1].problem.as_ref().unwrap().contains("`json` of its configuration"));
    assert!(checked[2].problem.as_ref().unwrap().contains("the key is not accepted (401); it says: Incorrect"));
}
