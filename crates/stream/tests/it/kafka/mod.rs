//! Consumers, publishers and checks against a real Kafka.

mod check;
mod failures;
mod groups;
mod trips;

use std::sync::Arc;
use std::time::Duration;

use vertice_stream::kafka::{Batch, Consumer, Next, OutRecord, Patience, Settings, Wanted, check};
use vertice_testkit::kafka::{self, Cluster};

/// How long nothing may happen before a test counts it as never.
const LONG: u32 = 300;

const ONCE: Patience = Patience { looks: 1, again: Duration::from_millis(1) };

/// The cluster of this binary, or `None` after saying what is left out.
fn cluster() -> Option<&'static Cluster> {
    match kafka::missing() {
        Some(missing) => {
            println!("{missing}");
            None
        }
        None => Some(kafka::shared()),
    }
}

/// Settings with a session that ends soon.
fn settings(brokers: impl Into<String>, group: &str) -> Settings {
    let mut settings = Settings::new(brokers, group);
    settings.session_timeout = Duration::from_secs(6);
    settings
}

/// Creates a topic.
fn create(settings: &Settings, topic: &str, partitions: i32, replication: i32) {
    let wanted = Wanted { topic: topic.to_owned(), partitions, replication, create: true };
    let patience = Patience { looks: 20, again: Duration::from_millis(500) };
    check(settings, &[wanted], patience).unwrap();
}

/// A record to this partition.
fn record(topic: &str, partition: i32, value: impl Into<String>) -> OutRecord {
    OutRecord {
        topic: topic.into(),
        partition: Some(partition),
        value: Some(value.into().into_bytes()),
        ..OutRecord::default()
    }
}

/// The next thing that is not nothing.
fn next(consumer: &mut Consumer) -> Next {
    for _ in 0..LONG {
        match consumer.next(Duration::from_millis(200)).unwrap() {
            Next::Quiet => {}
            next @ (Next::Records(_) | Next::Assigned(_) | Next::Revoked { .. } | Next::End { .. }) => return next,
        }
    }
    panic!("nothing happens: {consumer:?}");
}

/// The next batch of records, whatever else happens before.
fn records(consumer: &mut Consumer) -> Batch {
    loop {
        if let Next::Records(batch) = next(consumer) {
            return batch;
        }
    }
}

/// Values and offsets of this many records.
fn read(consumer: &mut Consumer, count: usize) -> Vec<(i32, i64, String)> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(values(&records(consumer)));
    }
    all
}

fn values(batch: &Batch) -> Vec<(i32, i64, String)> {
    let value = |record: vertice_stream::kafka::Record<'_>| {
        let text = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
        (record.partition().number, record.offset, text)
    };
    batch.iter().map(value).collect()
}

fn topic(name: &str) -> Arc<str> {
    name.into()
}
