//! How things stand: status, readiness, metrics, content, dead letters.

use serde_json::json;
use vertice_engine::Forgotten;
use vertice_model::RawEvent;
use vertice_store::Submission;

use crate::harness::{Rig, Setup, contract_event};

#[tokio::test(flavor = "multi_thread")]
async fn the_status_counts_what_is_there() {
    let rig = Rig::new();
    rig.guess("203.0.113.1").await;
    let status = rig.get("/api/v1/status").await;
    assert_eq!(status.status, 200, "{}", status.text);
    let status = status.body;
    assert_eq!((&status["version"], &status["mode"]), (&json!("0.0.0-test"), &json!("observe")));
    assert_eq!((&status["lag"], &status["judged_to"]), (&json!(0), &status["log_end"]));
    assert_eq!(status["counts"]["threats_open"], json!(1));
    assert_eq!(status["counts"]["detections"], status["counts"]["detections_at_least"]["info"]);
    assert!(status["counts"]["approvals_waiting"].as_u64().unwrap() >= 2);
    assert_eq!(status["store"]["positions"], status["log_end"]);
    assert_eq!(status["sources"][0]["name"], json!("/var/log/auth.log"));
    let root = rig.get("/").await.body;
    assert_eq!(rig.get(root["status"].as_str().unwrap()).await.status, 200);
    assert_eq!(rig.get("/health").await.body, json!({ "status": "ok", "version": "0.0.0-test" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_no_mapping_reads_is_a_dead_letter() {
    let rig = Rig::new();
    let events = vec![RawEvent { origin: "syslog".into(), line: "{\"nothing\":1}".into() }];
    let accepted = rig.store.submit(Submission { events, ..Submission::default() }).await.unwrap();
    rig.settle();
    let letters = rig.get("/api/v1/deadletter").await;
    let letter = &letters.body["items"][0];
    assert_eq!((&letter["position"], &letter["origin"]), (&json!(accepted.first), &json!("syslog")));
    let event = rig.get(&format!("/api/v1/events/{}", accepted.first)).await.body;
    assert_eq!((&event["event"], &event["refused"]), (&json!(null), &letter["reason"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_leave_out_what_is_none() {
    let rig = Rig::new();
    rig.events(contract_event("e1", "x")).await;
    rig.pass(1);
    rig.events(contract_event("e2", "x")).await;
    let page = rig.get("/api/v1/events").await.body;
    let ids: Vec<_> = page["items"].as_array().unwrap().iter().map(|e| e["event"]["event_id"].clone()).collect();
    assert_eq!(ids, [json!("e1"), json!("e2")]);
    assert_eq!(page["next_from"], json!(null));
    let first = rig.get("/api/v1/events?limit=1").await.body;
    let next = rig.get(&format!("/api/v1/events?limit=1&from={}", first["next_from"])).await.body;
    assert_eq!(next["items"][0]["event"]["event_id"], json!("e2"));
    assert_eq!(rig.get("/api/v1/events?from=999999").await.body, json!({ "items": [], "next_from": null }));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_the_names_that_dashboards_use() {
    let rig = Rig::new();
    rig.guess("203.0.113.1").await;
    rig.events("nonsense {").await;
    let answer = rig.get("/metrics").await;
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = answer.text;
    assert!(text.ends_with("# EOF\n"));
    for line in [
        "defense_detections_total{severity=\"critical\"} 0",
        "# TYPE defense_detection_latency_seconds histogram",
        "# TYPE defense_response_actions counter",
        "defense_hotl_approvals_total{approved=\"true\"} 0",
        "# TYPE honeypot_engagement_duration_seconds histogram",
        "vertice_events_accepted_total{source=\"http\"} 20",
        "vertice_events_refused_total{source=\"http\"} 1",
        "vertice_store_positions_total 21",
        "# TYPE vertice_store_commit_duration_seconds histogram",
        "vertice_store_commit_duration_seconds_bucket{le=\"+Inf\"}",
        "vertice_log_lag_positions 0",
        "vertice_api_requests_total{status=\"2xx\"}",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    // Simulated actions are not among those that were done.
    assert!(text.contains("defense_response_actions_total{action_type=\"firewall_rule\"} 0"), "{text}");
}

#[test]
fn labels_from_content_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let clock: vertice_store::Clock = std::sync::Arc::new(vertice_model::Timestamp::default);
    let store = vertice_store::Store::open(dir.path(), clock, vertice_store::Options::default()).unwrap();
    let metrics = vertice_api::Metrics::new(&store);
    for i in 0..1_000 {
        metrics.action_simulated(&format!("type_{i}"));
    }
    metrics.action_simulated("type_0");
    metrics.action_executed("firewall_rule");
    metrics.detection(vertice_model::Severity::High, std::time::Duration::from_millis(3));
    metrics.events_dropped("syslog_udp", 2);
    metrics.event_unreadable();
    metrics.forgotten(Forgotten { groups: 5, matches: 9, threats: 1 });
    metrics.step(std::time::Duration::from_millis(1));
    metrics.action_ended("firewall_rule", std::time::Duration::from_millis(30), true);
    for partition in 0..2_000 {
        metrics.kafka_lag("security.events", partition, 7);
    }
    for partition in 1..2_000 {
        metrics.kafka_revoked("security.events", partition);
    }
    metrics.kafka_lag("vertice.hits", 0, u64::MAX);
    metrics.kafka_deadletter("security.events", 3);
    let text = metrics.text();
    let lags = text.lines().filter(|l| l.starts_with("vertice_kafka_lag_records{")).count();
    assert_eq!(lags, 2, "what another process has is not shown here");
    let series = text.lines().filter(|l| l.starts_with("vertice_response_simulated_actions_total{")).count();
    assert_eq!(series, vertice_api::limits::LABEL_VALUES_MAX + 1);
    for line in [
        "vertice_response_simulated_actions_total{action_type=\"other\"} 949",
        "vertice_response_simulated_actions_total{action_type=\"type_0\"} 2",
        "defense_response_actions_total{action_type=\"firewall_rule\"} 1",
        "defense_detections_total{severity=\"high\"} 1",
        "defense_detection_latency_seconds_bucket{le=\"0.005\"} 1",
        "honeypot_engagement_duration_seconds_count 0",
        "vertice_events_dropped_total{source=\"syslog_udp\"} 2",
        "vertice_events_unreadable_total 1",
        "vertice_events_dropped_total{source=\"file\"} 0",
        "vertice_response_failed_actions_total{action_type=\"firewall_rule\"} 1",
        "vertice_response_execution_duration_seconds_bucket{le=\"0.05\",action_type=\"firewall_rule\"} 1",
        "vertice_response_execution_duration_seconds_count{action_type=\"quarantine\"} 0",
        "vertice_response_containments{stage=\"reflex\",simulated=\"true\"} 0",
        "vertice_response_questions_waiting{simulated=\"false\"} 0",
        "vertice_kafka_lag_records{topic=\"security.events\",partition=\"0\"} 7",
        "vertice_kafka_lag_records{topic=\"vertice.hits\",partition=\"0\"} 9223372036854775807",
        "vertice_kafka_deadletter_total{topic=\"security.events\"} 3",
        "vertice_engine_forgotten_total{what=\"groups\"} 5",
        "vertice_engine_forgotten_total{what=\"matches\"} 9",
        "vertice_engine_forgotten_total{what=\"threats\"} 1",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_is_listed() {
    let rig = Rig::new();
    let content = rig.get("/api/v1/content").await.body;
    let rules = rig.get("/api/v1/rules?limit=1000").await.body["items"].as_array().unwrap().clone();
    assert_eq!(content["rules"], json!(rules.len()));
    assert!(rules.len() >= 40, "{}", rules.len());
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = rig.get(&format!("/api/v1/rules?limit=7{cursor}")).await.body;
        paged.extend(page["items"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(paged, rules);
    let one = rig.get(&format!("/api/v1/rules/{}", rules[0]["rule_id"].as_str().unwrap())).await.body;
    assert_eq!(one, rules[0]);
    let some = |query: &'static str| {
        let rig = &rig;
        async move { rig.get(&format!("/api/v1/rules?{query}")).await.body["items"].as_array().unwrap().clone() }
    };
    assert!(!some("class=brute_force_detected").await.is_empty());
    assert!(some("technique=t1110").await.iter().all(|r| r["mitre_techniques"].to_string().contains("T1110")));
    assert!(some("severity=critical").await.iter().all(|r| r["severity"] == json!("critical")));
    assert_eq!(some("title=no%20such%20title").await.len(), 0);
    let playbooks = rig.get("/api/v1/playbooks").await.body["items"].as_array().unwrap().clone();
    assert_eq!(content["playbooks"], json!(playbooks.len()));
    assert_eq!(
        rig.get("/api/v1/playbooks/brute_force_response").await.body["playbook_id"],
        json!("brute_force_response")
    );
    assert!(rig.get("/api/v1/mappings").await.body["items"].as_array().unwrap().contains(&json!({ "name": "sshd" })));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_behind_waits_or_is_stopping_is_not_ready() {
    let rig = Rig::with(Setup { engine: false, ..Setup::default() });
    assert_eq!(rig.get("/ready").await.body["ready"], json!(true));
    let events = vec![RawEvent { origin: "t".into(), line: "x".into() }; 100_001];
    rig.store.submit(Submission { events, ..Submission::default() }).await.unwrap();
    let behind = rig.get("/ready").await;
    assert_eq!(behind.status, 503);
    assert!(behind.body["reasons"][0].as_str().unwrap().contains("events behind"), "{}", behind.text);
    let why = "the disk is full: judging waits until audit.ndjson can take what was decided";
    rig.store.judging_waits(Some(why.to_owned()));
    assert_eq!(rig.get("/ready").await.body["reasons"][0], json!(why));
    rig.store.judging_waits(None);
    rig.stop.cancel();
    assert_eq!(rig.get("/ready").await.body["reasons"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_found_by_the_beginning_of_its_id() {
    let rig = Rig::new();
    let rules = rig.get("/api/v1/rules?limit=1000").await.body["items"].as_array().unwrap().clone();
    let ids: Vec<&str> = rules.iter().map(|rule| rule["rule_id"].as_str().unwrap()).collect();
    let one = rig.get(&format!("/api/v1/rules/{}", &ids[0][..13])).await;
    assert_eq!((one.status.as_u16(), &one.body), (200, &rules[0]));
    assert_eq!(rig.get(&format!("/api/v1/rules/{}", &ids[0][..3])).await.status.as_u16(), 404, "too short");
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_content_again_needs_a_key_and_says_what_is_in_force() {
    let rig = Rig::new();
    let request = |key: &str| {
        let request = axum::http::Request::post("/api/v1/content/reload").header("x-api-key", key);
        request.body(axum::body::Body::empty()).unwrap()
    };
    assert_eq!(rig.send(request("")).await.status.as_u16(), 401);
    let answer = rig.send(request(&rig.key)).await;
    assert_eq!((answer.status.as_u16(), &answer.body["changed"]), (200, &json!(false)));
    let content = rig.get("/api/v1/content").await.body;
    assert_eq!((&answer.body["digest"], &answer.body["rules"]), (&content["digest"], &content["rules"]));
    assert_eq!(content["last_reload"], json!(null));
}
