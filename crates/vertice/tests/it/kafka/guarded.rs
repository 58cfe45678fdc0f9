//! By TLS and with a password (SCRAM): the program that was built with `kafka-tls`, and a broker that takes nothing else there.

use serde_json::Value;
use vertice_testkit::kafka::{PASSWORD, USER, shared};

use super::{Scene, login, record, same_on_the_topic};

#[test]
fn events_come_and_detections_go_by_tls_with_a_password() {
    let Some(scene) = Scene::here() else { return };
    let cluster = shared();
    let guarded = |password: &str, ca: &str| {
        let config = scene.config().replace(&scene.brokers, &cluster.brokers_guarded());
        let security = "[stream.kafka.security]\ntls = true\nsasl = \"scram-sha-256\"\n";
        format!("{config}{security}user = \"{USER}\"\npassword = \"{password}\"\nca_file = {ca:?}\n")
    };
    let ca = cluster.certificate().display().to_string();
    for (password, ca, words) in [
        ("wrong-horse", ca.as_str(), "refuses the user or password"),
        (PASSWORD, "", "certificate"),
        (PASSWORD, ca.as_str(), "has 4 partitions"),
    ] {
        scene.write("vertice.toml", &guarded(password, ca));
        let told = String::from_utf8(scene.command(&["doctor", "-o", "ndjson"]).stdout).unwrap();
        let all = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let of_kafka: Vec<Value> = all.filter(|finding| finding["about"] == "kafka").collect();
        assert!(of_kafka[0]["what"].as_str().unwrap().contains(words), "{of_kafka:#?}");
        assert!(!told.contains("horse"), "{told}");
    }
    let server = scene.start();
    let one = |i: usize| record(&scene.topic("events"), "k", login(&format!("g{i}"), "203.0.113.9", i).to_string());
    scene.publisher().send_blocking((0..60).map(one).collect()).unwrap();
    scene.wait(&server, 61);
    assert!(same_on_the_topic(&scene, &server) > 0, "guessing is detected");
    assert_eq!(server.stop(), Some(0));
}
