//! Every error is a problem document.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use vertice_api::Problem;

use crate::harness::{Answer, Rig};

fn problem(answer: &Answer, status: u16, path: &str) -> Problem {
    assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{path}");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    let problem: Problem = serde_json::from_value(answer.body.clone()).unwrap();
    assert_eq!(problem.status, status);
    assert!(problem.kind.starts_with("urn:vertice:problem:"), "{}", problem.kind);
    assert!(!problem.title.is_empty() && !problem.detail.is_empty());
    assert_eq!(problem.instance.as_deref(), path.split('?').next());
    problem
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_and_what_can_not_be_done() {
    let rig = Rig::new();
    for path in [
        "/nothing",
        "/api/v1/defense/detections/00000000-0000-0000-0000-000000000000",
        "/api/v1/defense/threats/00000000",
        "/api/v1/defense/threats/00000000/explain",
        "/api/v1/defense/responses/00000000",
        "/api/v1/defense/approvals/00000000",
        "/api/v1/defense/containments/00000000",
        "/api/v1/defense/detections?threat=00000000",
        "/api/v1/events/1",
        "/api/v1/events/999999",
        "/api/v1/events/18446744073709551615",
        "/api/v1/rules/none",
        "/api/v1/playbooks/none",
    ] {
        problem(&rig.get(path).await, 404, path);
    }
    let answer = rig.send(Request::put("/health").body(Body::empty()).unwrap()).await;
    problem(&answer, 405, "/health");
    assert!(answer.headers.contains_key("allow"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_parameters_are_named() {
    let rig = Rig::new();
    for (path, wanted) in [
        ("/api/v1/defense/detections?limt=5", "unknown query parameter \"limt\"; did you mean limit?"),
        ("/api/v1/defense/detections?limit=0", "limit: 0 is not within 1 and 1000"),
        ("/api/v1/defense/detections?limit=1001", "limit: 1001"),
        ("/api/v1/defense/detections?limit=x", "limit: \"x\" is no whole number"),
        ("/api/v1/defense/detections?limit=", "limit: \"\" is no whole number"),
        ("/api/v1/defense/detections?limit=99999999999999999999", "is no whole number"),
        ("/api/v1/defense/containments?active=x", "active: \"x\" is neither true nor false"),
        ("/api/v1/defense/detections?limit=1&limit=2", "limit is given twice"),
        ("/api/v1/defense/detections?cursor=x", "cursor: this is not the `next_cursor`"),
        ("/api/v1/defense/detections?severity=severe", "severity: \"severe\" is not known here; there are info, low"),
        ("/api/v1/defense/detections?since=yesterday", "since: \"yesterday\" is no RFC 3339 time"),
        ("/api/v1/defense/detections?threat=abc", "too short"),
        ("/api/v1/defense/detections/abc", "too short"),
        ("/api/v1/defense/threats?state=closed", "state: \"closed\" is not known here; there are open"),
        ("/api/v1/defense/threats?sort=severity", "sort: \"severity\" is not known here; there are changed"),
        ("/api/v1/defense/threats?sort=priority&cursor=9.3", "cursor: this is not the `next_cursor`"),
        (
            "/api/v1/defense/threats/active?sort=priority&cursor=+9.0.00000000-0000-0000-0000-000000000000",
            "cursor: this is not the `next_cursor`",
        ),
        (
            "/api/v1/defense/threats?cursor=9.0.00000000-0000-0000-0000-000000000000",
            "cursor: this is not the `next_cursor`",
        ),
        ("/api/v1/defense/approvals?state=asked", "state: \"asked\" is not known here; there are pending"),
        ("/api/v1/defense/containments?active=false", "active: only true"),
        ("/api/v1/defense/containments?active=true&state=active", "not both"),
        ("/api/v1/events?from=x", "from: \"x\" is no whole number"),
        ("/api/v1/events/x", "whole number"),
        ("/api/v1/rules?cursor=x", "cursor"),
        ("/api/v1/stream?cursor=x", "cursor"),
        ("/health?x=1", "this call has none"),
    ] {
        let found = problem(&rig.get(path).await, 400, path);
        assert!(found.detail.contains(wanted), "{path}: {}", found.detail);
    }
    let answer = rig.get("/api/v1/defense/threats?severty=low").await;
    assert_eq!(answer.body["suggestion"], json!("severity"));
    assert_eq!(rig.get("/api/v1/defense/detections/%FF").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_bodies_are_told_apart() {
    let rig = Rig::new();
    let path = "/api/v1/defense/approvals/00000000";
    let post = |kind: &str, body: String| {
        let request = Request::post(path).header("x-api-key", &rig.key).header("content-type", kind);
        rig.send(request.body(Body::from(body)).unwrap())
    };
    let good = json!({ "approve": true, "plan_digest": "x" }).to_string();
    problem(&post("application/json; charset=utf-8", good.clone()).await, 404, path);
    problem(&post("text/plain", good).await, 415, path);
    problem(&post("application/json", "{".to_owned()).await, 400, path);
    problem(&post("application/json", "[".repeat(60_000)).await, 400, path);
    problem(&post("application/json", "x".repeat(100_000)).await, 413, path);
    for (body, wanted) in [
        ("{}", "missing field `approve`"),
        (r#"{"approve":"yes","plan_digest":"x"}"#, "invalid type"),
        (r#"{"approve":true,"plan_digest":"x","also":1}"#, "unknown field `also`"),
        ("[]", "plan_digest"),
    ] {
        let found = post("application/json", body.to_owned()).await;
        assert!([422].contains(&found.status.as_u16()), "{body}: {}", found.text);
        if body != "[]" {
            assert!(found.body["detail"].as_str().unwrap().contains(wanted), "{}", found.text);
        }
    }
    let long = json!({ "verdict": "benign", "note": "x".repeat(5_000) });
    let path = "/api/v1/defense/threats/00000000/verdict";
    problem(&rig.decide("POST", path, long).await, 422, path);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_has_stopped_is_unavailable_without_a_promise() {
    let rig = Rig::new();
    let store = rig.store.clone();
    tokio::task::spawn_blocking(move || store.close()).await.unwrap().unwrap();
    let answer = rig.events(crate::harness::contract_event("e1", "x")).await;
    problem(&answer, 503, "/api/v1/events");
    assert!(!answer.headers.contains_key("retry-after"));
    assert_eq!(rig.get("/health").await.status, 200);
    // What is kept can still be read.
    assert_eq!(rig.get("/api/v1/defense/detections").await.body["items"], Value::Array(Vec::new()));
}
