//! How far behind the partitions are that are ours, and no others.

use std::time::Duration;

use vertice_stream::kafka::{Consumer, Settings};

use super::{PARTITIONS, Scene, metrics, until};

#[test]
fn what_was_taken_away_has_no_lag_here() {
    let Some(scene) = Scene::here() else { return };
    let server = scene.start();
    let series = || metrics(&server).lines().filter(|l| l.starts_with("vertice_kafka_lag_records{")).count();
    until("all partitions are its own", || series() == PARTITIONS as usize);
    let settings = Settings::new(&scene.brokers, format!("{}group", scene.prefix));
    let mut other = Consumer::open(&settings, &[&scene.topic("events")]).unwrap();
    until("it tells of its share alone", || {
        other.next(Duration::from_millis(50)).unwrap();
        other.ours().count() == PARTITIONS as usize / 2 && series() == PARTITIONS as usize / 2
    });
    drop(other);
    assert_eq!(server.stop(), Some(0));
}
