//! A real Prometheus reads a Vertice that reads from a real Kafka, and what panels and alerts ask of Kafka finds something.

use std::collections::BTreeSet;

use super::{Scene, login, record, same_on_the_topic, until};
use crate::dashboard::{NEED_KAFKA, asked_by_alerts, asked_by_panels, names};
use crate::metrics::{answered, declared};
use crate::prometheus::{Prometheus, there};

#[test]
fn what_panels_and_alerts_ask_of_kafka_a_vertice_that_reads_it_answers() {
    if !there(&["prometheus"], "what panels and alerts ask of Kafka") {
        return;
    }
    let Some(scene) = Scene::here() else { return };
    let server = scene.start();
    let prometheus = Prometheus::start(scene.dir.path(), &server.url);
    // From before anything happened, or nothing would have risen.
    let events = scene.topic("events");
    prometheus.until_found(&format!("vertice_kafka_deadletter_total{{topic=\"{events}\"}} == 0"));
    prometheus.until_found(&format!("vertice_kafka_lag_records{{topic=\"{events}\"}}"));
    let mut records: Vec<_> = (0..60)
        .map(|i| record(&events, "203.0.113.9", login(&format!("w{i}"), "203.0.113.9", i).to_string()))
        .collect();
    records.push(record(&events, "k", "{\"no\": \"event\""));
    scene.publisher().send_blocking(records).unwrap();
    until("the dead letter is there", || scene.read("deadletter").len() == 1);
    assert!(same_on_the_topic(&scene, &server) > 0, "guessing is detected");

    let known = declared(&server.text("/metrics"));
    let mut tried = BTreeSet::new();
    for asked in asked_by_panels().into_iter().chain(asked_by_alerts()) {
        if !names(&asked.expression).iter().any(|name| name.starts_with("vertice_kafka_")) {
            continue;
        }
        answered(&prometheus, &known, &asked);
        tried.insert(asked.by);
    }
    assert_eq!(tried, NEED_KAFKA.map(str::to_owned).into());
    // What is shown is what was: one dead letter, and nothing left to read.
    prometheus.until_found(&format!("vertice_kafka_deadletter_total{{topic=\"{events}\"}} == 1"));
    prometheus.until_found(&format!("sum(vertice_kafka_lag_records{{topic=\"{events}\"}}) == 0"));
    let risen = "sum(increase(vertice_kafka_deadletter_total[5m])) > 0";
    prometheus.until_found(risen);
    assert_eq!(server.stop(), Some(0));
}
