//! Damaged requests: each has an answer that says what is wrong with it, and none is an error of ours.

use std::fmt::Write as _;

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;
use vertice_testkit::{Random, long};

use crate::harness::{Answer, Rig, contract_event, failed_login};

fn rounds() -> usize {
    if long() { 100_000 } else { 2_000 }
}

/// Any bytes as they stand in an address.
fn encoded(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'=' | b'&' | b'.' | b'-' => text.push(char::from(*byte)),
            other => write!(text, "%{other:02X}").unwrap(),
        }
    }
    text
}

fn check(answer: &Answer, sent: &dyn std::fmt::Debug) {
    let status = answer.status.as_u16();
    assert!(status < 500, "{status} for {sent:?}: {}", answer.text);
    if status >= 400 {
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{sent:?}");
        let detail = answer.body["detail"].as_str().unwrap_or_default();
        assert!(!detail.is_empty() && detail.len() < 4_096, "{sent:?}: {}", answer.text);
    }
    assert!(!answer.text.contains(|c: char| c.is_control()), "{sent:?}: {:?}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_queries_are_answered() {
    const SEEDS: [(&str, &str); 7] = [
        ("/api/v1/defense/detections", "limit=2&cursor=9.3&order=desc&severity=high&since=2026-03-01T10:00:00Z"),
        ("/api/v1/defense/threats", "limit=2&cursor=9.3&order=asc&state=open&entity=203.0.113.1"),
        ("/api/v1/defense/responses", "limit=2&cursor=9.3&threat=00000000"),
        ("/api/v1/defense/approvals", "limit=2&cursor=9.3&state=pending"),
        ("/api/v1/defense/containments", "limit=2&cursor=9.3&active=true"),
        ("/api/v1/events", "from=1&limit=2"),
        ("/api/v1/rules", "limit=2&cursor=a"),
    ];
    let rig = Rig::new();
    rig.guess("203.0.113.1").await;
    let mut random = Random(21);
    let mut good = 0;
    for round in 0..rounds() {
        let (path, query) = SEEDS[round % SEEDS.len()];
        let mut parts: Vec<&str> = query.split('&').collect();
        while parts.len() > 1 && random.below(3) > 0 {
            parts.remove(random.below(parts.len()));
        }
        let query = encoded(&random.mutated(parts.join("&").as_bytes()));
        let answer = rig.get(&format!("{path}?{query}")).await;
        check(&answer, &query);
        good += usize::from(answer.status == 200);
        // A part of the path may be damaged as well.
        let id = encoded(&random.mutated(b"00000000-0000-0000-0000-000000000000"));
        check(&rig.get(&format!("{path}/{}", id.replace(['&', '='], ""))).await, &id);
    }
    println!("{} damaged queries, {good} answered with a page", rounds());
    assert!(good > rounds() / 20 && good < rounds());
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_bodies_are_answered() {
    let rig = Rig::new();
    rig.guess("203.0.113.1").await;
    let first = |page: &Value, id: &str| page["items"][0][id].as_str().unwrap().to_owned();
    let question = first(&rig.get("/api/v1/defense/approvals").await.body, "question_id");
    let threat = first(&rig.get("/api/v1/defense/threats").await.body, "threat_id");
    let event = contract_event("e1", "failed_login");
    let seeds = [
        (format!("/api/v1/defense/approvals/{question}"), r#"{"approve":true,"plan_digest":"00ff"}"#.to_owned()),
        (format!("/api/v1/defense/threats/{threat}/verdict"), r#"{"verdict":"benign","note":"ours"}"#.to_owned()),
        ("/api/v1/events".to_owned(), event.clone()),
        ("/api/v1/events".to_owned(), format!("[{event},\n{event}]")),
        ("/api/v1/events".to_owned(), format!("{event}\n{}\n", failed_login("203.0.113.7", 1))),
    ];
    let mut random = Random(22);
    let mut good = 0;
    for round in 0..rounds() {
        let (path, body) = &seeds[round % seeds.len()];
        let body = random.mutated(body.as_bytes());
        let kind = ["application/json", "application/x-ndjson", "text/plain"][random.below(3)];
        let kind = if path.ends_with("/events") { kind } else { "application/json" };
        let request = Request::post(path).header("x-api-key", &rig.key).header("content-type", kind);
        let answer = rig.send(request.body(Body::from(body.clone())).unwrap()).await;
        check(&answer, &String::from_utf8_lossy(&body));
        good += usize::from(answer.status.is_success());
        if answer.status == 202 {
            assert!(answer.body["accepted"].as_u64() > Some(0), "{}", answer.text);
        }
    }
    println!("{} damaged bodies, {good} good", rounds());
    assert!(good > rounds() / 20 && good < rounds());
}
