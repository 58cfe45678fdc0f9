//! Events in.

use std::io::Write as _;

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use vertice_engine::Input;
use vertice_model::Position;

use crate::harness::{Rig, contract_event, failed_login};

fn post() -> axum::http::request::Builder {
    Request::post("/api/v1/events")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_a_body_is_accepted_and_durable() {
    let rig = Rig::new();
    let one = contract_event("e1", "failed_login");
    let forms = [
        one.clone(),
        format!("[{one},{one}]"),
        format!("{one}\n{one}\n"),
        failed_login("203.0.113.7", 1),
        format!("{}\n{one}", failed_login("203.0.113.7", 2)),
    ];
    let mut next = rig.store.log_end().plus(1);
    for form in forms {
        let answer = rig.events(form.clone()).await;
        assert_eq!(answer.status, 202, "{form}: {}", answer.text);
        assert_eq!(answer.body["first_position"], json!(next.0));
        assert_eq!((&answer.body["refused"], &answer.body["refused_total"]), (&json!([]), &json!(0)));
        next = next.plus(answer.body["accepted"].as_u64().unwrap());
        assert_eq!(rig.store.log_end(), Position(next.0 - 1));
    }
    let packed = post().header("content-encoding", "gzip").body(Body::from(gzip(one.as_bytes()))).unwrap();
    assert_eq!(rig.send(packed).await.body["accepted"], json!(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_lines_are_named_and_the_rest_is_kept() {
    let rig = Rig::new();
    let good = contract_event("e1", "failed_login");
    let deep = format!("{}{}", "{\"a\":".repeat(100_000), "1}");
    let year_0 = good.replace("2026-03-01", "0000-01-01");
    let mut body = format!("{good}\n{{\"timestamp\":}}\n{deep}\n{year_0}\n").into_bytes();
    body.extend_from_slice(b"{\"a\":\"\xff\xfe\"}\n");
    body.extend_from_slice(good.as_bytes());
    let answer = rig.events(body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(answer.body["accepted"], json!(2));
    let numbers: Vec<u64> =
        answer.body["refused"].as_array().unwrap().iter().map(|r| r["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [2, 3, 4, 5]);
    assert_eq!(answer.body["refused_total"], json!(4));
    for refused in answer.body["refused"].as_array().unwrap() {
        let reason = refused["reason"].as_str().unwrap();
        assert!(!reason.is_empty() && reason.len() < 2_000, "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_a_good_event_is_unprocessable() {
    let rig = Rig::new();
    let before = rig.store.log_end();
    let lines: String = (0..1_500).map(|i| format!("{{\"nothing\":{i}}}\n")).collect();
    let answer = rig.events(lines).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
    assert_eq!(answer.body["refused_total"], json!(1_500));
    assert_eq!(answer.body["refused"].as_array().unwrap().len(), 1_000);
    assert_eq!(rig.store.log_end(), before);
    for empty in ["", "\n\n", "[]"] {
        assert_eq!(rig.events(empty).await.status, 400, "{empty:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_too_large_or_not_what_they_say_are_refused() {
    let rig = Rig::new();
    let large = vec![b' '; 64 * 1024 * 1024];
    assert_eq!(rig.events(large.clone()).await.status, 413);
    let bomb = post().header("content-encoding", "gzip").body(Body::from(gzip(&large))).unwrap();
    assert_eq!(rig.send(bomb).await.status, 413);
    let torn = gzip(&contract_event("e", "x").repeat(100).into_bytes());
    let torn = post().header("content-encoding", "gzip").body(Body::from(torn[..torn.len() / 2].to_vec())).unwrap();
    assert_eq!(rig.send(torn).await.status, 400);
    let brotli = post().header("content-encoding", "br").body(Body::from("x")).unwrap();
    assert_eq!(rig.send(brotli).await.status, 415);
    let form = post().header("content-type", "multipart/form-data; boundary=x").body(Body::from("x")).unwrap();
    assert_eq!(rig.send(form).await.status, 415);
    let long = vec![b'x'; 600 * 1024];
    let answer = rig.events(long).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn nul_and_control_bytes_stay_data() {
    let rig = Rig::new();
    let line = failed_login("203.0.113.7", 1).replace("root", "ro\u{1b}[31mot");
    let answer = rig.events(line.clone()).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let at = answer.body["first_position"].as_u64().unwrap();
    let event = rig.get(&format!("/api/v1/events/{at}")).await;
    assert_eq!(event.body["raw"]["line"], json!(line));
    assert!(!event.text.contains('\u{1b}'), "JSON escapes control characters");
    let nul = rig.events("{\"a\":\"\u{0}\"}").await;
    assert_eq!(nul.status, 422, "{}", nul.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_makes_one_of_two_requests() {
    let rig = Rig::new();
    let body = format!("{}\n{{\"bad\":1}}\n", contract_event("e1", "failed_login"));
    let request =
        |key: &str, body: &str| post().header("idempotency-key", key).body(Body::from(body.to_owned())).unwrap();
    let first = rig.send(request("k1", &body)).await;
    assert_eq!(first.status, 202);
    let end = rig.store.log_end();
    let second = rig.send(request("k1", &body)).await;
    assert_eq!((second.status, second.body), (first.status, first.body.clone()));
    assert_eq!(rig.store.log_end(), end);
    let other = rig.send(request("k1", &contract_event("e2", "x"))).await;
    assert_eq!(other.status, 422, "{}", other.text);
    assert_eq!(rig.store.log_end(), end);
    let fresh = rig.send(request("k2", &body)).await;
    assert_ne!(fresh.body["first_position"], first.body["first_position"]);
    // The same key in other hands is another key.
    let ana = post().header("idempotency-key", "k1").header("x-api-key", &rig.key);
    assert_eq!(rig.send(ana.body(Body::from(contract_event("e3", "x"))).unwrap()).await.status, 202);
    for bad in [String::new(), "x".repeat(256)] {
        assert_eq!(rig.send(request(&bad, &body)).await.status, 400, "{bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_at_the_same_time_is_kept_once() {
    let rig = Rig::new();
    let before = rig.store.log_end().0;
    let send = || {
        let request = post().header("idempotency-key", "race");
        rig.send(request.body(Body::from(contract_event("e1", "failed_login"))).unwrap())
    };
    let (a, b, c) = tokio::join!(send(), send(), send());
    assert_eq!((&a.body, &b.body), (&b.body, &c.body));
    assert_eq!(rig.store.log_end().0, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_batch_is_kept_in_order() {
    let rig = Rig::new();
    let lines: Vec<String> = (0..3_000).map(|i| contract_event(&format!("e{i}"), "noise")).collect();
    let answer = rig.events(lines.join("\n")).await;
    assert_eq!(answer.body["accepted"], json!(3_000), "{}", answer.text);
    let mut from = answer.body["first_position"].as_u64();
    let mut seen = Vec::new();
    while let Some(at) = from {
        let page = rig.get(&format!("/api/v1/events?from={at}&limit=700")).await;
        assert_eq!(page.status, 200);
        for item in page.body["items"].as_array().unwrap() {
            seen.push(item["event"]["event_id"].as_str().unwrap().to_owned());
        }
        from = page.body["next_from"].as_u64();
    }
    let wanted: Vec<String> = (0..3_000).map(|i| format!("e{i}")).collect();
    assert_eq!(seen, wanted);
}

/// The lines of the log's events, in order.
fn logged(rig: &Rig) -> Vec<String> {
    let inputs = rig.store.read(Position(1), u64::MAX).unwrap();
    let events = inputs.into_iter().filter_map(|(_, input)| match input {
        Input::Events(events) => Some(events),
        _ => None,
    });
    events.flatten().map(|event| event.line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_is_worked_on_while_it_comes_and_stands_in_its_order() {
    let rig = Rig::new();
    let line = |n: usize| {
        let one = contract_event(&format!("e{n}"), "failed_login");
        format!("{},\"payload\":{{\"note\":\"{}\"}}}}", one.strip_suffix('}').unwrap(), "x".repeat(900))
    };
    let lines: Vec<String> = (0..1_500).map(line).collect();
    let send = |body: String| {
        let request = post().header("idempotency-key", format!("{}", body.len()));
        rig.send(request.body(Body::from(body)).unwrap())
    };
    // With blank lines, and without a newline behind the last.
    let whole = lines.join(" \r\n\n");
    assert!(whole.len() > 4 * vertice_api::limits::SHARE_BYTES, "several threads have a share");
    let first = send(whole.clone()).await;
    assert_eq!((first.status.as_u16(), &first.body["accepted"]), (202, &json!(1_500)), "{}", first.text);
    assert_eq!(logged(&rig), lines);
    let again = send(whole).await;
    assert_eq!(again.text, first.text, "an answer is given again");
    assert_eq!(logged(&rig).len(), 1_500);

    // One line that is not accepted: it alone is refused, with its number.
    let mut with_text = lines.clone();
    with_text[1_100] = "{\"a\":".to_owned();
    let answer = send(with_text.join("\n")).await;
    assert_eq!((answer.status.as_u16(), &answer.body["accepted"]), (202, &json!(1_499)), "{}", answer.text);
    assert_eq!(answer.body["refused"][0]["number"], json!(1_101));
    with_text.remove(1_100);
    assert_eq!(logged(&rig)[1_500..], with_text);
}
