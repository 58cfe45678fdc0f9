//! Keys of people: who may decide, from when on, and until when.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use vertice_engine::Input;
use vertice_model::Position;

use crate::harness::{Answer, Rig, Setup};

/// A rig whose key is that of ana.
fn rig() -> Rig {
    Rig::with(Setup { engine: false, ..Setup::default() })
}

async fn with(rig: &Rig, key: &str, method: &str, path: &str, body: Value) -> Answer {
    let request = Request::builder().method(method).uri(path).header("x-api-key", key);
    let request = request.header("content-type", "application/json");
    rig.send(request.body(Body::from(body.to_string())).unwrap()).await
}

/// Adds a key with the rig's and returns it.
async fn add(rig: &Rig, name: &str) -> String {
    let answer = rig.decide("POST", "/api/v1/keys", json!({ "name": name })).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.body["key"].as_str().unwrap().to_owned()
}

async fn names(rig: &Rig, key: &str) -> Vec<String> {
    let list = with(rig, key, "GET", "/api/v1/keys", json!({})).await;
    assert_eq!(list.status, 200, "{}", list.text);
    let items = list.body["items"].as_array().unwrap();
    items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_in_force_at_once_and_until_it_is_removed() {
    let rig = rig();
    let bob = add(&rig, "bob").await;
    let list = with(&rig, &bob, "GET", "/api/v1/keys", json!({})).await;
    let item = |i: usize| list.body["items"][i].clone();
    assert_eq!((&item(0)["name"], &item(0)["yours"]), (&json!("ana"), &json!(false)));
    assert_eq!((&item(1)["name"], &item(1)["yours"]), (&json!("bob"), &json!(true)));
    assert_eq!(item(1)["from_environment"], false);
    assert!(item(1)["created"].as_str().unwrap().starts_with("2026-03-01T12:00"));
    assert!(!list.text.contains(&bob), "a key is shown once");
    for (name, status, wanted) in [
        ("bob", 409, "there is a key bob"),
        ("", 422, "a key's name is letters"),
        ("bouncer/edge", 422, "a key's name is letters"),
        ("ana (link)", 422, "a key's name is letters"),
        ("environment", 422, "VERTICE_API_KEY"),
        ("engine", 422, "stands for Vertice itself"),
    ] {
        let refused = rig.decide("POST", "/api/v1/keys", json!({ "name": name })).await;
        assert_eq!(refused.status.as_u16(), status, "{name}: {}", refused.text);
        assert!(refused.body["detail"].as_str().unwrap().contains(wanted), "{}", refused.text);
    }

    let rig = rig.restart();
    assert_eq!(names(&rig, &bob).await, ["ana", "bob"], "a key outlives a restart");
    // One's own, too.
    let gone = with(&rig, &bob, "DELETE", "/api/v1/keys/bob", json!({})).await;
    assert_eq!(gone.status, 204, "{}", gone.text);
    assert_eq!(with(&rig, &bob, "GET", "/api/v1/keys", json!({})).await.status, 401);
    assert_eq!(rig.decide("DELETE", "/api/v1/keys/bob", json!({})).await.status, 404);
    let rig = rig.restart();
    assert_eq!(with(&rig, &bob, "GET", "/api/v1/keys", json!({})).await.status, 401);
    assert_eq!(names(&rig, &rig.key).await, ["ana"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_decide_adds_removes_and_sees_keys() {
    let rig = rig();
    let edge = rig.decide("POST", "/api/v1/bouncers", json!({"name": "edge"})).await.body["key"].clone();
    for (method, path) in [("GET", "/api/v1/keys"), ("POST", "/api/v1/keys"), ("DELETE", "/api/v1/keys/ana")] {
        let body = json!({"name": "mallory"});
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let without = rig.send(request.body(Body::from(body.to_string())).unwrap()).await;
        assert_eq!(without.status, 401, "{method} {path}");
        let bouncer = with(&rig, edge.as_str().unwrap(), method, path, body).await;
        assert_eq!(bouncer.status, 403, "{method} {path}");
    }
    assert_eq!(names(&rig, &rig.key).await, ["ana"]);
    // Neither kind is removed by way of the other.
    assert_eq!(rig.decide("DELETE", "/api/v1/keys/bouncer%2Fedge", json!({})).await.status, 404);
    assert_eq!(rig.decide("DELETE", "/api/v1/keys/edge", json!({})).await.status, 404);
    assert_eq!(rig.decide("DELETE", "/api/v1/bouncers/ana", json!({})).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_key_that_may_decide_stays() {
    let rig = rig();
    rig.decide("POST", "/api/v1/bouncers", json!({"name": "edge"})).await;
    let refused = rig.decide("DELETE", "/api/v1/keys/ana", json!({})).await;
    assert_eq!(refused.status, 409, "a bouncer decides nothing: {}", refused.text);
    assert!(refused.body["detail"].as_str().unwrap().contains("the last key"), "{}", refused.text);
    let bob = add(&rig, "bob").await;
    assert_eq!(rig.decide("DELETE", "/api/v1/keys/ana", json!({})).await.status, 204);
    assert_eq!(rig.decide("GET", "/api/v1/keys", json!({})).await.status, 401);
    assert_eq!(with(&rig, &bob, "DELETE", "/api/v1/keys/bob", json!({})).await.status, 409);
    assert_eq!(names(&rig, &bob).await, ["bob"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_with_keys_stands_in_the_log_by_who_did_it() {
    let rig = rig();
    let bob = add(&rig, "bob").await;
    with(&rig, &bob, "POST", "/api/v1/bouncers", json!({"name": "edge"})).await;
    rig.decide("DELETE", "/api/v1/keys/bob", json!({})).await;
    rig.decide("DELETE", "/api/v1/keys/ana", json!({})).await;
    let store = rig.store.clone();
    let log = std::thread::spawn(move || store.read(Position(2), 100)).join().unwrap().unwrap();
    let told = log.iter().map(|(_, input)| match input {
        Input::Key { name, added, by } => format!("{by}: {name} {added}"),
        other => panic!("{other:?}"),
    });
    let told: Vec<String> = told.collect();
    assert_eq!(told, ["ana: bob true", "bob: bouncer/edge true", "ana: bob false"], "what is refused is not there");
}
