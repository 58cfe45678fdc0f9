//! Who is let in.

use axum::body::Body;
use axum::http::Request;
use vertice_api::KeyPolicy;

use crate::harness::{Rig, Setup};

fn get(path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let request = headers.iter().fold(Request::get(path), |r, (name, value)| r.header(*name, *value));
    request.body(Body::empty()).unwrap()
}

/// An approval of a question that does not exist: 404 for who may decide, 401 for who may not.
fn decision(headers: &[(&str, &str)]) -> Request<Body> {
    let path = "/api/v1/defense/approvals/00000000";
    let request = Request::post(path).header("content-type", "application/json");
    let request = headers.iter().fold(request, |r, (name, value)| r.header(*name, *value));
    request.body(Body::from(r#"{"approve":true,"plan_digest":"x"}"#)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_loopback_only_decisions_need_a_key() {
    let rig = Rig::new();
    for path in ["/health", "/ready", "/metrics", "/api/v1/status", "/api/v1/defense/detections"] {
        assert_eq!(rig.send(get(path, &[])).await.status, 200, "{path}");
    }
    let none = rig.send(decision(&[])).await;
    assert_eq!(none.status, 401);
    assert_eq!(none.headers["www-authenticate"], "Bearer");
    assert!(none.body["detail"].as_str().unwrap().contains("X-Api-Key"));
    let bearer = format!("Bearer {}", rig.key);
    assert_eq!(rig.send(decision(&[("authorization", &bearer)])).await.status, 404);
    assert_eq!(rig.send(decision(&[("x-api-key", &rig.key)])).await.status, 404);
    for path in ["/api/v1/defense/threats/00000000/verdict", "/api/v1/defense/containments/00000000"] {
        let method = if path.ends_with("verdict") { "POST" } else { "DELETE" };
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let answer = rig.send(request.body(Body::from(r#"{"verdict":"benign"}"#)).unwrap()).await;
        assert_eq!(answer.status, 401, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_refused_everywhere() {
    let rig = Rig::new();
    for headers in [("x-api-key", "vk_00"), ("authorization", "Bearer vk_00"), ("authorization", "Basic YTpi")] {
        for path in ["/health", "/api/v1/defense/detections"] {
            assert_eq!(rig.send(get(path, &[headers])).await.status, 401, "{path} {headers:?}");
        }
    }
    let metrics = rig.get("/metrics").await.text;
    assert!(metrics.contains("vertice_api_auth_failures_total{reason=\"wrong\"} 4"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_wrong_keys_are_answered_with_429_and_a_right_one_still_works() {
    let rig = Rig::new();
    let mut seen = Vec::new();
    for _ in 0..80 {
        let answer = rig.send(get("/api/v1/status", &[("x-api-key", "vk_00")])).await;
        seen.push(answer.status.as_u16());
        if answer.status == 429 {
            assert_eq!(answer.headers["retry-after"], "1");
            break;
        }
    }
    assert_eq!(seen.last(), Some(&429));
    assert!(seen[..seen.len() - 1].iter().all(|s| *s == 401));
    assert_eq!(rig.send(get("/api/v1/status", &[("x-api-key", &rig.key)])).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn elsewhere_everything_but_health_needs_a_key() {
    let strict = Setup { policy: KeyPolicy::Always, ..Setup::default() };
    let public = Setup { listener: "0.0.0.0:8000", ..Setup::default() };
    for rig in [Rig::with(strict), Rig::with(public)] {
        assert_eq!(rig.send(get("/health", &[])).await.status, 200);
        for path in ["/", "/ready", "/metrics", "/api/v1/events", "/api/v1/stream", "/api/v1/openapi.json", "/nothing"]
        {
            assert_eq!(rig.send(get(path, &[])).await.status, 401, "{path}");
        }
        assert_eq!(rig.events("x").await.status, 401);
        assert_eq!(rig.send(get("/ready", &[("x-api-key", &rig.key)])).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_need_no_key_where_it_is_said_so() {
    let rig = Rig::with(Setup { listener: "0.0.0.0:8000", open_probes: true, ..Setup::default() });
    for path in ["/health", "/ready", "/metrics"] {
        assert_eq!(rig.send(get(path, &[])).await.status, 200, "{path}");
    }
    for path in ["/", "/metrics/", "/ready/x", "/api/v1/status", "/v1/decisions"] {
        let status = rig.send(get(path, &[])).await.status.as_u16();
        assert!(matches!(status, 401 | 403), "{path}: {status}");
    }
    // A wrong key is no better than none, and is counted.
    assert_eq!(rig.send(get("/metrics", &[("x-api-key", "vk_wrong")])).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_can_not_reach_a_loopback_listener() {
    let rig = Rig::new();
    let path = "/api/v1/status";
    for allowed in [
        &[][..],
        &[("host", "localhost:8000")],
        &[("host", "127.0.0.1:8000"), ("origin", "http://127.0.0.1:8000")],
        &[("host", "[::1]:8000"), ("origin", "http://[::1]:8000")],
    ] {
        assert_eq!(rig.send(get(path, allowed)).await.status, 200, "{allowed:?}");
    }
    for refused in [
        &[("host", "evil.example")][..],
        &[("host", "evil.example:8000")],
        &[("host", "localhost:8000"), ("origin", "http://evil.example")],
        &[("host", "localhost:8000"), ("origin", "http://localhost:9000")],
        &[("host", "localhost:8000"), ("origin", "null")],
        &[("origin", "http://localhost")],
        &[("host", "\u{e4}")],
    ] {
        let answer = rig.send(get(path, refused)).await;
        assert_eq!(answer.status, 403, "{refused:?}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
    }
    assert_eq!(rig.send(get("http://evil.example/api/v1/status", &[])).await.status, 403);
    // Who comes from elsewhere has a key, which no page has.
    let public = Rig::with(Setup { listener: "192.0.2.1:8000", ..Setup::default() });
    assert_eq!(public.send(get(path, &[("host", "soc.example"), ("x-api-key", &public.key)])).await.status, 200);
}
