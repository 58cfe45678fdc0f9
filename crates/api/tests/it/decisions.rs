//! What people decide, and what becomes of it.

use std::time::Duration;

use serde_json::{Value, json};
use vertice_engine::Record;
use vertice_model::{Question, Threat};

use crate::harness::{Rig, START, Setup};

/// A rig in which a guesser was noticed; the waiting questions, oldest first.
async fn asked() -> (Rig, Vec<Value>) {
    let rig = Rig::new();
    rig.guess("203.0.113.1").await;
    let page = rig.get("/api/v1/defense/approvals?state=pending").await;
    let questions = page.body["items"].as_array().unwrap().clone();
    assert!(questions.len() >= 2, "{}", page.text);
    (rig, questions)
}

fn path(question: &Value) -> String {
    format!("/api/v1/defense/approvals/{}", question["question_id"].as_str().unwrap())
}

fn answer(question: &Value, approve: bool) -> Value {
    json!({ "approve": approve, "plan_digest": question["plan_digest"] })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_takes_once() {
    let (rig, questions) = asked().await;
    let (first, second) = (&questions[0], &questions[1]);
    let yes = rig.decide("POST", &path(first), answer(first, true)).await;
    assert_eq!(yes.status, 200, "{}", yes.text);
    assert_eq!((&yes.body["state"], &yes.body["answered"][0]), (&json!("approved"), &json!("ana")));
    let no = rig.decide("POST", &path(second), answer(second, false)).await;
    assert_eq!((no.status.as_u16(), &no.body["state"]), (200, &json!("denied")));
    let end = rig.store.log_end();
    let again = rig.decide("POST", &path(first), answer(first, false)).await;
    assert_eq!(again.status, 409);
    let detail = again.body["detail"].as_str().unwrap();
    assert!(detail.starts_with("the question was already approved by ana at 2026-03-01T12:00:0"), "{detail}");
    assert_eq!(rig.store.log_end(), end, "what can not take does not reach the log");
    let metrics = rig.get("/metrics").await.text;
    for line in
        ["defense_hotl_approvals_total{approved=\"true\"} 1", "defense_hotl_approvals_total{approved=\"false\"} 1"]
    {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_another_plan_is_void() {
    let (rig, questions) = asked().await;
    let other = json!({ "approve": true, "plan_digest": "0".repeat(64) });
    let refused = rig.decide("POST", &path(&questions[0]), other).await;
    assert_eq!(refused.status, 409);
    assert!(refused.body["detail"].as_str().unwrap().contains("another plan"), "{}", refused.text);
    assert_eq!(rig.get(&path(&questions[0])).await.body["state"], json!("pending"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_is_told_so() {
    let (rig, questions) = asked().await;
    rig.drift(3_600);
    let late = rig.decide("POST", &path(&questions[0]), answer(&questions[0], true)).await;
    assert_eq!(late.status, 409);
    assert!(late.body["detail"].as_str().unwrap().contains("expired at"), "{}", late.text);
    rig.pass(1);
    let state = rig.get(&path(&questions[0])).await.body["state"].clone();
    assert_ne!(state, json!("pending"));
    let later = rig.decide("POST", &path(&questions[0]), answer(&questions[0], true)).await;
    assert_eq!(later.status, 409);
    assert!(later.body["detail"].as_str().unwrap().contains("nobody answered"), "{state} {}", later.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_answers_at_once_one_takes() {
    for _ in 0..5 {
        let (rig, questions) = asked().await;
        let question = &questions[0];
        let where_to = path(question);
        let (yes, no) = tokio::join!(
            rig.decide("POST", &where_to, answer(question, true)),
            rig.decide("POST", &where_to, answer(question, false)),
        );
        let mut statuses = [yes.status.as_u16(), no.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{} {}", yes.text, no.text);
        let stands = rig.get(&where_to).await.body["state"].clone();
        let winner = if yes.status == 200 { "approved" } else { "denied" };
        assert_eq!(stands, json!(winner));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_positive_closes_the_threat_and_takes_back_what_was_done() {
    let (rig, questions) = asked().await;
    let threat = questions[0]["threat_id"].as_str().unwrap().to_owned();
    let where_to = format!("/api/v1/defense/threats/{}/verdict", &threat[..8]);
    let confirmed = rig.decide("POST", &where_to, json!({ "verdict": "confirmed" })).await;
    assert_eq!(
        (confirmed.status.as_u16(), &confirmed.body["state"]["is"]),
        (200, &json!("open")),
        "{}",
        confirmed.text
    );
    let judged = rig.decide("POST", &where_to, json!({ "verdict": "false_positive", "note": "a scan of ours" })).await;
    assert_eq!(judged.status, 200, "{}", judged.text);
    assert_eq!(judged.body["state"]["is"], json!("judged"));
    assert_eq!(
        (&judged.body["verdict"]["by"], &judged.body["verdict"]["note"]),
        (&json!("ana"), &json!("a scan of ours"))
    );
    let again = rig.decide("POST", &where_to, json!({ "verdict": "benign" })).await;
    assert_eq!(again.status, 409);
    assert!(again.body["detail"].as_str().unwrap().contains("already judged by ana"), "{}", again.text);
    let active = rig.get("/api/v1/defense/containments?active=true").await;
    assert_eq!(active.body["items"], json!([]));
    let withdrawn = rig.decide("POST", &path(&questions[0]), answer(&questions[0], true)).await;
    assert_eq!(withdrawn.status, 409);
    assert!(withdrawn.body["detail"].as_str().unwrap().contains("cancelled"), "{}", withdrawn.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_containment_is_released_once() {
    let (rig, _) = asked().await;
    let active = rig.get("/api/v1/defense/containments?active=true").await.body["items"].clone();
    let id = active[0]["containment_id"].as_str().unwrap();
    let where_to = format!("/api/v1/defense/containments/{id}?reason=it%20is%20our%20office");
    let released = rig.decide("DELETE", &where_to, json!({})).await;
    assert_eq!(released.status, 200, "{}", released.text);
    assert_eq!(released.body["state"], json!({ "is": "released", "by": "ana", "reason": "it is our office" }));
    let again = rig.decide("DELETE", &where_to, json!({})).await;
    assert_eq!(again.status, 409);
    assert!(again.body["detail"].as_str().unwrap().contains("already released by ana"), "{}", again.text);
    let long = format!("/api/v1/defense/containments/{id}?reason={}", "x".repeat(5_000));
    assert_eq!(rig.decide("DELETE", &long, json!({})).await.status, 422);
}

fn question() -> Question {
    serde_json::from_value(json!({
        "question_id": "00000000-0000-0000-0000-00000000000a", "run_id": "00000000-0000-0000-0000-00000000000b",
        "threat_id": "00000000-0000-0000-0000-00000000000c", "playbook_id": "p", "action_id": "a",
        "action_type": "firewall_rule", "prompt": "?", "severity": "high", "plan_digest": "d", "simulated": true,
        "urgent": false, "on_timeout": "deny", "asked_at": START, "expires_at": "2026-03-02T00:00:00Z",
        "state": "pending", "answered": null,
    }))
    .unwrap()
}

fn merged_threat() -> Threat {
    serde_json::from_value(json!({
        "threat_id": "00000000-0000-0000-0000-00000000000c",
        "state": { "is": "merged", "into": "00000000-0000-0000-0000-00000000000d", "at": START },
        "title": "t", "entities": [], "severity": "high", "confidence": 0.5, "classes": [], "techniques": [],
        "tactics": [], "stage": null, "rules": [], "detections": 0, "latest": [], "positions": [1, 1],
        "first_seen": START, "last_seen": START, "opened_at": START, "updated_at": START, "absorbed": [],
        "reopened": 0, "verdict": null, "narrative": "",
    }))
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merged_threat_is_not_judged() {
    let rig = Rig::with(Setup { engine: false, ..Setup::default() });
    rig.publish(vec![Record::Threat(merged_threat())]);
    let where_to = "/api/v1/defense/threats/00000000-0000-0000-0000-00000000000c/verdict";
    let refused = rig.decide("POST", where_to, json!({ "verdict": "benign" })).await;
    assert_eq!(refused.status, 409);
    assert_eq!(refused.body["merged_into"], json!("00000000-0000-0000-0000-00000000000d"));
}

/// Time stands still but for what waits for it, so this takes no ten seconds.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_judged_in_time_is_accepted_all_the_same() {
    let rig = Rig::with(Setup { engine: false, ..Setup::default() });
    rig.publish(vec![Record::Question(question())]);
    let end = rig.store.log_end();
    let begun = tokio::time::Instant::now();
    let where_to = "/api/v1/defense/approvals/00000000-0000-0000-0000-00000000000a";
    let accepted = rig.decide("POST", where_to, json!({ "approve": true, "plan_digest": "d" })).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    assert!(begun.elapsed() >= Duration::from_secs(10));
    assert_eq!(accepted.body["state"], json!("pending"));
    assert_eq!(rig.store.log_end(), end.plus(1));
}
