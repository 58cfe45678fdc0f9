//! The live stream.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::{Request, Response};
use serde_json::json;
use tower::ServiceExt as _;
use vertice_engine::{Record, RefusedEvent};
use vertice_model::Position;

use crate::harness::{Rig, Setup};

async fn open(rig: &Rig, headers: &[(&str, &str)]) -> Response<Body> {
    let request = headers.iter().fold(Request::get("/api/v1/stream"), |r, (n, v)| r.header(*n, *v));
    rig.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn frame(body: &mut Body) -> Option<String> {
    let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
    Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
}

/// Reads until so many events have come.
async fn events(body: &mut Body, count: usize) -> Vec<(String, String)> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let text = frame(body).await.expect("the stream goes on");
        for event in text.split("\n\n") {
            let field = |name: &str| event.lines().find_map(|l| l.strip_prefix(name)).map(|v| v.trim().to_owned());
            seen.extend(field("id:").zip(field("event:")));
        }
    }
    seen
}

fn letters(from: u64, count: u64) -> Vec<Record> {
    let letter =
        |i| Record::Refused(RefusedEvent { position: Position(i), origin: "test".into(), reason: "x".repeat(2_000) });
    (from..from + count).map(letter).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_begins_now_and_resumes_where_it_was() {
    let rig = Rig::with(Setup { engine: false, ..Setup::default() });
    rig.publish(letters(1, 1));
    let mut now = open(&rig, &[]).await.into_body();
    rig.publish(letters(2, 150));
    let seen = events(&mut now, 150).await;
    assert_eq!(seen.len(), 150);
    assert_eq!(seen[0].1, "refused");
    drop(now);
    rig.publish(letters(1_000, 2));
    let mut resumed = open(&rig, &[("last-event-id", &seen[99].0)]).await.into_body();
    let rest = events(&mut resumed, 52).await;
    assert_eq!(rest[..50], seen[100..]);
    rig.stop.cancel();
    assert_eq!(frame(&mut resumed).await, None, "a stream ends when the process stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_engine_makes_of_events_is_streamed() {
    let rig = Rig::new();
    let mut body = open(&rig, &[]).await.into_body();
    rig.guess("203.0.113.1").await;
    let mut kinds = Vec::new();
    while !["detection", "threat", "run", "question", "containment"].iter().all(|k| kinds.iter().any(|s| s == k)) {
        kinds.extend(events(&mut body, 1).await.into_iter().map(|(_, kind)| kind));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_a_key_no_more_hears_no_more() {
    let rig = Rig::with(Setup { engine: false, ..Setup::default() });
    let added = rig.decide("POST", "/api/v1/keys", json!({ "name": "bob" })).await;
    let mut bob = open(&rig, &[("x-api-key", added.body["key"].as_str().unwrap())]).await.into_body();
    let mut ana = open(&rig, &[("x-api-key", &rig.key)]).await.into_body();
    rig.publish(letters(1, 1));
    assert_eq!(events(&mut bob, 1).await, events(&mut ana, 1).await);
    let removed = rig.decide("DELETE", "/api/v1/keys/bob", json!({})).await;
    assert!(removed.status.is_success(), "{}", removed.text);
    rig.publish(letters(2, 1));
    assert_eq!(frame(&mut bob).await, None);
    assert_eq!(events(&mut ana, 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_a_limit_to_streams() {
    let rig = Rig::with(Setup { engine: false, ..Setup::default() });
    let mut open_ones = Vec::new();
    loop {
        let response = open(&rig, &[]).await;
        if response.status() != 200 {
            assert_eq!(response.status(), 503);
            break;
        }
        open_ones.push(response);
        assert!(open_ones.len() <= vertice_api::limits::STREAMS_MAX);
    }
    open_ones.pop();
    assert_eq!(open(&rig, &[]).await.status(), 200, "a place is given back");
    let metrics = rig.get("/metrics").await.text;
    assert!(metrics.contains("vertice_api_streams 255"), "{metrics}");
}

/// Time stands still but for what waits for it.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_cut_off() {
    let rig = Rig::with(Setup { engine: false, ..Setup::default() });
    rig.publish(letters(1, 300));
    let mut body = open(&rig, &[("last-event-id", "0.0")]).await.into_body();
    tokio::time::sleep(vertice_api::limits::STREAM_STALL + Duration::from_secs(1)).await;
    let mut text = String::new();
    while let Some(part) = frame(&mut body).await {
        text.push_str(&part);
    }
    assert!(text.matches("event:").count() < 300);
    assert!(text.trim_end().ends_with("cut off: too slow; resume with Last-Event-ID"), "{}", &text[text.len() - 200..]);
}
