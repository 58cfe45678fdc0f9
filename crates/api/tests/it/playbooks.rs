//! Playbooks that people start.

use serde_json::{Value, json};
use vertice_engine::Input;

use crate::harness::Rig;

/// A rig in which a guesser was noticed, and the id of its threat.
async fn guessed() -> (Rig, String) {
    let rig = Rig::new();
    rig.guess("203.0.113.1").await;
    let threats = rig.get("/api/v1/defense/threats/active").await;
    let id = threats.body["items"][0]["threat_id"].as_str().unwrap().to_owned();
    (rig, id)
}

fn path(playbook: &str) -> String {
    format!("/api/v1/defense/playbooks/{playbook}/run")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_started() {
    let (rig, threat) = guessed().await;
    let end = rig.store.log_end();
    for (playbook, body, status, wanted) in [
        (
            "brute_force",
            json!({"threat_id": threat}),
            404,
            "there is no playbook of this id in force; there are: brute_force_response",
        ),
        ("malware_containment", json!({"threat_id": "00000000"}), 404, "00000000"),
        ("malware_containment", json!({"threat": threat}), 422, "unknown field `threat`"),
        ("malware_containment", json!({}), 422, "missing field `threat_id`"),
    ] {
        let answer = rig.decide("POST", &path(playbook), body).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
        assert!(answer.body["detail"].as_str().unwrap().contains(wanted), "{}", answer.text);
    }
    assert_eq!(rig.store.log_end(), end, "what can not be started does not reach the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_and_waits_is_not_started_again() {
    let (rig, threat) = guessed().await;
    let end = rig.store.log_end();
    let again = rig.decide("POST", &path("brute_force_response"), json!({"threat_id": &threat[..8]})).await;
    assert_eq!(again.status, 409, "{}", again.text);
    let runs = rig.get(&format!("/api/v1/defense/responses?threat={threat}")).await;
    assert_eq!(again.body["run_id"], runs.body["items"][0]["run_id"]);
    assert_eq!(rig.store.log_end(), end);
    let verdict = format!("/api/v1/defense/threats/{threat}/verdict");
    assert_eq!(rig.decide("POST", &verdict, json!({"verdict": "benign"})).await.status, 200);
    let late = rig.decide("POST", &path("brute_force_response"), json!({"threat_id": threat})).await;
    assert_eq!(late.status, 409);
    assert!(late.body["detail"].as_str().unwrap().starts_with("the threat was closed by a person at"), "{}", late.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_in_the_log_with_who_it_was_and_its_run_is_told() {
    let (rig, threat) = guessed().await;
    let at = rig.store.log_end().plus(1);
    let answer = rig.decide("POST", &path("data_exfiltration_block"), json!({"threat_id": &threat[..8]})).await;
    let log = rig.store.read(at, 1).unwrap();
    let [(_, Input::Start { playbook, threat: of, by })] = log.as_slice() else { panic!("{log:?}") };
    assert_eq!((playbook.as_str(), of.to_string(), by.0.as_str()), ("data_exfiltration_block", threat.clone(), "ana"));
    let runs = rig.get(&format!("/api/v1/defense/responses?threat={threat}")).await;
    let started = |run: &&Value| run["playbook_id"] == "data_exfiltration_block";
    let run = runs.body["items"].as_array().unwrap().iter().find(started).expect("it began");
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!((&answer.body["run"]["run_id"], &answer.body["threat_id"]), (&run["run_id"], &json!(threat)));
}
