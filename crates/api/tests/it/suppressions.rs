//! Suppressions, from the proposal of a person to its end.

use serde_json::json;
use vertice_engine::Input;

use crate::harness::Rig;

const PATH: &str = "/api/v1/defense/suppressions";

#[tokio::test(flavor = "multi_thread")]
async fn a_person_proposes_tests_applies_and_removes_one() {
    let rig = Rig::new();
    rig.guess("203.0.113.1").await;
    let detections = rig.get("/api/v1/defense/detections").await;
    let first = &detections.body["items"][0];
    let (rule, threat) = (first["rule_id"].as_str().unwrap(), first["threat_id"].as_str().unwrap());
    assert!(first["triage"]["priority"].as_u64().unwrap() > 0, "{first}");

    let tested = rig.get(&format!("{PATH}/test?rule_id={rule}&entity=203.0.113.1")).await;
    assert_eq!((&tested.body["threats"], &tested.body["unjudged"]), (&json!(1), &json!(1)), "{}", tested.text);
    let propose = json!({"rule_id": rule, "entity": "203.0.113.1", "reason": "our scanner"});
    let proposed = rig.decide("POST", PATH, propose.clone()).await;
    assert_eq!(
        (proposed.status.as_u16(), &proposed.body["state"]["is"]),
        (200, &json!("proposed")),
        "{}",
        proposed.text
    );
    assert_eq!(rig.decide("POST", PATH, propose.clone()).await.status, 409, "there is one already");
    let of = format!("{PATH}/{}", proposed.body["suppression_id"].as_str().unwrap());
    assert_eq!(rig.decide("POST", &format!("{of}/apply"), json!({"days": 91})).await.status, 422);
    let applied = rig.decide("POST", &format!("{of}/apply"), json!({})).await;
    assert_eq!((&applied.body["state"]["is"], &applied.body["state"]["by"]), (&json!("applied"), &json!("ana")));

    // Confirming what it is about ends it, and there is no way back.
    let verdict = format!("/api/v1/defense/threats/{threat}/verdict");
    assert_eq!(rig.decide("POST", &verdict, json!({"verdict": "confirmed"})).await.status, 200);
    let ended = rig.get(&of).await;
    assert_eq!((&ended.body["state"]["is"], &ended.body["state"]["by"]), (&json!("removed"), &json!("engine")));
    assert_eq!(rig.decide("POST", &format!("{of}/apply"), json!({})).await.status, 409);
    let again = rig.decide("POST", PATH, propose).await;
    assert_eq!((again.status.as_u16(), &again.body["state"]["is"]), (200, &json!("refused")), "{}", again.text);
    assert_eq!(again.body["would_hide_confirmed"], 1);
    let tested = rig.get(&format!("{PATH}/test?rule_id={rule}")).await;
    assert_eq!(tested.body["confirmed"], json!([threat]));

    let other = rig.decide("POST", PATH, json!({"rule_id": rule, "entity": "host:web-1", "reason": "r"})).await;
    let of = format!("{PATH}/{}", other.body["suppression_id"].as_str().unwrap());
    let removed = rig.decide("DELETE", &format!("{of}?reason=moved"), json!({})).await;
    assert_eq!((&removed.body["state"]["is"], &removed.body["state"]["why"]), (&json!("removed"), &json!("moved")));
    let listed = rig.get(&format!("{PATH}?state=removed")).await;
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 2);
    let log = rig.store.read(rig.store.log_end(), 1).unwrap();
    assert!(matches!(&log[..], [(_, Input::Suppress { by, .. })] if by.0 == "ana"), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_suppressed_is_said() {
    let rig = Rig::new();
    rig.guess("203.0.113.1").await;
    let end = rig.store.log_end();
    for (body, status, wanted) in [
        (json!({"rule_id": "r", "entity": "web-1", "reason": "r"}), 400, "host:NAME"),
        (json!({"rule_id": "r"}), 422, "missing field `reason`"),
        (json!({"rule_id": "r", "reason": "x".repeat(5_000)}), 422, "4096"),
    ] {
        let answer = rig.decide("POST", PATH, body).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
        assert!(answer.body["detail"].as_str().unwrap().contains(wanted), "{}", answer.text);
    }
    assert_eq!(rig.store.log_end(), end, "what can not be proposed does not reach the log");
    let never = rig.decide("POST", PATH, json!({"rule_id": "no-such-rule", "reason": "r"})).await;
    assert!(never.body["detail"].as_str().unwrap().contains("never matched"), "{}", never.text);
    let consultations = rig.get("/api/v1/defense/consultations?state=asked").await;
    assert_eq!(consultations.body["items"], json!([]), "nobody wanted a model asked");
}
