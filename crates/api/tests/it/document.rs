//! The OpenAPI document is checked in, so that a change of the API is a change that people see.

use std::path::Path;

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::Value;

use crate::harness::Rig;

#[test]
fn the_document_is_the_one_that_is_checked_in() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let made = vertice_api::openapi();
    if std::env::var_os("VERTICE_BLESS").is_some() {
        #[expect(clippy::disallowed_methods, reason = "a checked-in file, written by hand of a developer")]
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = made.lines().zip(kept.lines()).position(|(a, b)| a != b);
    assert!(
        made == kept,
        "docs/openapi.json differs from the API from line {} on. If the change is meant, run\n    \
         VERTICE_BLESS=1 cargo test -p vertice-api --test it document\nand look at the difference before you commit it.",
        differs.map_or(made.lines().count().min(kept.lines().count()), |i| i) + 1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_names_is_there() {
    let rig = Rig::new();
    let document = rig.get("/api/v1/openapi.json").await.body;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut operations = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operations.insert(operation["operationId"].as_str().unwrap()), "{method} {path}");
            let method: Method = method.to_uppercase().parse().unwrap();
            if path == "/api/v1/stream" {
                continue;
            }
            let uri = path.replace("{id}", "00000000").replace("{position}", "1");
            let uri = uri.replace("{name}", "none").replace("{token}", "none");
            let request = Request::builder().method(method.clone()).uri(uri).header("x-api-key", &rig.key);
            let request = request.header("content-type", "application/json");
            let answer = rig.send(request.body(Body::from("{}")).unwrap()).await;
            let detail = answer.body["detail"].as_str().unwrap_or_default();
            assert!(answer.status != 405 && !detail.contains("nothing here"), "{method} {path}");
            let responses = operation["responses"].as_object().unwrap();
            let status = answer.status.as_str();
            assert!(responses.contains_key(status), "{method} {path} answers {status}, which the document lacks");
            assert!(operation["summary"].is_string() && operation["tags"].is_array(), "{method} {path}");
        }
    }
    assert!(operations.len() >= 30, "{operations:?}");
}

#[test]
fn every_reference_leads_somewhere() {
    let document: Value = serde_json::from_str(&vertice_api::openapi()).unwrap();
    let mut waiting = vec![&document];
    let mut references = 0;
    while let Some(value) = waiting.pop() {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    references += 1;
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                waiting.extend(members.values());
            }
            Value::Array(items) => waiting.extend(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    assert!(references > 50, "{references}");
}
