//! Brokers that die.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vertice_stream::kafka::{Consumer, Delivered, PublishError, Publisher, Settings};
use vertice_testkit::kafka::{self, Cluster};

use super::{create, record, records, settings};

/// Sends batches of a hundred without a pause, several at a time, until `enough` says so; those that were not
/// delivered again under the same number. Returns how often each number was delivered and how many were sent again.
fn publish(settings: &Settings, topic: &str, enough: impl Fn(u64) -> bool) -> (u64, u64) {
    let publisher = Publisher::open(settings).unwrap();
    let (mut number, mut again, mut pending) = (0_u64, 0_u64, std::collections::VecDeque::new());
    let batch =
        |first: u64| -> Vec<_> { (first..first + 100).map(|n| record(topic, (n % 2) as i32, n.to_string())).collect() };
    loop {
        let ended = enough(number);
        if !ended && pending.len() < 8 {
            pending.push_back((number, publisher.begin_blocking(batch(number)).unwrap()));
            number += 100;
            continue;
        }
        let Some((first, fate)) = pending.pop_front() else { return (number, again) };
        match fate.wait() {
            Ok(Delivered { spots }) => assert_eq!(spots.len(), 100),
            Err(PublishError::NotDelivered { reason }) => {
                println!("{first} was not delivered: {reason}");
                again += 1;
                pending.push_back((first, publisher.begin_blocking(batch(first)).unwrap()));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// How often each number is in the topic.
fn counts(settings: &Settings, topic: &str, numbers: u64) -> BTreeMap<u64, u32> {
    let mut consumer = Consumer::open(settings, &[topic]).unwrap();
    let mut counts = BTreeMap::new();
    let mut ends = BTreeSet::new();
    while ends.len() < 2 {
        match super::next(&mut consumer) {
            vertice_stream::kafka::Next::Records(batch) => {
                for record in batch.iter() {
                    ends.remove(&record.partition().number);
                    let number = std::str::from_utf8(record.value.unwrap()).unwrap().parse::<u64>().unwrap();
                    *counts.entry(number).or_default() += 1;
                }
            }
            vertice_stream::kafka::Next::End { held, .. } => drop(ends.insert(held.partition.number)),
            vertice_stream::kafka::Next::Assigned(_) => {}
            next @ (vertice_stream::kafka::Next::Revoked { .. } | vertice_stream::kafka::Next::Quiet) => {
                panic!("{next:?}")
            }
        }
    }
    assert_eq!(counts.len() as u64, numbers, "every number that was acknowledged is there");
    counts
}

#[test]
fn what_was_acknowledged_is_there_after_the_broker_was_killed_and_once_if_it_came_back_in_time() {
    if let Some(missing) = kafka::missing() {
        println!("{missing}");
        return;
    }
    let cluster = Cluster::start(1);
    let node = &cluster.nodes()[0];
    let mut settings = settings(cluster.brokers(), "killed");
    create(&settings, "killed.short", 2, 1);
    create(&settings, "killed.long", 2, 1);

    // Back within the delivery time, which is long for the sake of a busy machine: nobody notices.
    settings.delivery_timeout = Duration::from_secs(240);
    let (sent, again) = std::thread::scope(|scope| {
        let restart = scope.spawn(|| {
            wait_for_records(&settings, "killed.short");
            node.kill();
            node.restart();
        });
        publish(&settings, "killed.short", |number| number > 5_000 && restart.is_finished())
    });
    assert_eq!(again, 0, "it was away for less than the delivery time");
    assert!(counts(&settings, "killed.short", sent).values().all(|n| *n == 1), "each is there once");

    // Away for longer: the producer is made anew, and what was not acknowledged is sent again.
    settings.delivery_timeout = Duration::from_secs(2);
    let (sent, again) = std::thread::scope(|scope| {
        let restart = scope.spawn(|| {
            wait_for_records(&settings, "killed.long");
            node.kill();
            std::thread::park_timeout(Duration::from_secs(4));
            node.restart();
        });
        publish(&settings, "killed.long", |number| number > 5_000 && restart.is_finished())
    });
    assert!(again > 0, "it was away for longer than the delivery time");
    counts(&settings, "killed.long", sent);
}

/// Reads until there is something, so that what follows happens in the middle of it. The consumer outlives the
/// broker, and reads on afterwards.
fn wait_for_records(settings: &Settings, topic: &str) {
    let settings = Settings { group: format!("{topic}.first"), ..settings.clone() };
    let mut consumer = Consumer::open(&settings, &[topic]).unwrap();
    assert!(!records(&mut consumer).is_empty());
}

#[test]
fn a_consumer_outlives_its_broker_and_three_brokers_outlive_a_leader() {
    if let Some(missing) = kafka::missing() {
        println!("{missing}");
        return;
    }
    let cluster = Cluster::start(3);
    let settings = settings(cluster.brokers(), "leader");
    create(&settings, "leader", 2, 3);
    let publisher = Publisher::open(&settings).unwrap();
    let mut consumer = Consumer::open(&settings, &["leader"]).unwrap();
    // Read again is what was not committed when the group's coordinator died with its broker.
    let mut sent = BTreeSet::new();
    let mut read = BTreeSet::new();
    let mut round = |name: String| {
        for partition in 0..2 {
            publisher.send_blocking(vec![record("leader", partition, format!("{name}{partition}"))]).unwrap();
            sent.insert(format!("{name}{partition}"));
        }
        while read.len() < sent.len() {
            read.extend(super::values(&records(&mut consumer)).into_iter().map(|(_, _, value)| value));
        }
        assert_eq!(read, sent);
    };
    round("before".to_owned());
    // Whoever leads, it is killed once.
    for node in cluster.nodes() {
        node.kill();
        round(format!("without {} ", node.id()));
        node.restart();
        round(format!("again {} ", node.id()));
    }
}

#[test]
fn who_leaves_while_the_broker_does_not_answer_is_not_held_up_for_ever() {
    if let Some(missing) = kafka::missing() {
        println!("{missing}");
        return;
    }
    let cluster = Cluster::start(1);
    let mut settings = settings(cluster.brokers(), "leaving");
    settings.delivery_timeout = Duration::from_secs(3);
    create(&settings, "leaving", 1, 1);
    let publisher = Publisher::open(&settings).unwrap();
    publisher.send_blocking(vec![record("leaving", 0, "x")]).unwrap();
    let mut consumer = Consumer::open(&settings, &["leaving"]).unwrap();
    let batch = records(&mut consumer);
    let reached: Vec<_> = batch.reaches().map(|(held, next)| (held.clone(), next)).collect();
    cluster.nodes()[0].pause();
    consumer.commit(&reached, false).unwrap();
    let fate = publisher.begin_blocking(vec![record("leaving", 0, "y")]).unwrap().wait();
    assert!(matches!(fate, Err(PublishError::NotDelivered { .. })), "{fate:?}");
    // Either of these would hang the test.
    drop(consumer);
    drop(publisher);
}
