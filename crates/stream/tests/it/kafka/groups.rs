//! Partitions that come and go.

use std::collections::BTreeSet;
use std::time::Duration;

use vertice_stream::kafka::{Consumer, Held, Next, Publisher};

use super::{LONG, cluster, create, record, settings};

/// A consumer, and what it saw.
struct Member {
    consumer: Consumer,
    ours: BTreeSet<i32>,
    ever_given: usize,
    read: Vec<(i32, i64)>,
    stale: Option<Held>,
}

impl Member {
    fn look(&mut self) {
        match self.consumer.next(Duration::from_millis(50)).unwrap() {
            Next::Records(batch) => {
                for record in batch.iter() {
                    assert!(self.ours.contains(&record.partition().number), "read from a partition that is not ours");
                    assert!(self.consumer.is_current(record.held));
                    self.read.push((record.partition().number, record.offset));
                }
            }
            Next::Assigned(held) => {
                self.ever_given += held.len();
                self.ours.extend(held.iter().map(|held| held.partition.number));
            }
            Next::Revoked { held, lost } => {
                assert!(!lost);
                // Still ours until the next call, so that what is done can be committed.
                assert!(held.iter().all(|held| self.consumer.is_current(held)));
                assert_eq!(self.consumer.commit(&[(held[0].clone(), 1)], true), Ok(1));
                for held in held {
                    self.ours.remove(&held.partition.number);
                    self.stale = Some(held);
                }
            }
            Next::End { .. } | Next::Quiet => {}
        }
    }
}

#[test]
fn a_second_member_takes_half_and_what_the_first_keeps_is_not_interrupted() {
    let Some(cluster) = cluster() else { return };
    let settings = settings(cluster.brokers(), "halves");
    create(&settings, "halves", 4, 1);
    let publisher = Publisher::open(&settings).unwrap();
    let join = || Member {
        consumer: Consumer::open(&settings, &["halves"]).unwrap(),
        ours: BTreeSet::new(),
        ever_given: 0,
        read: Vec::new(),
        stale: None,
    };
    let mut first = join();
    let mut sent = 0_i64;
    let mut send = || {
        let all = (0..4).map(|partition| record("halves", partition, sent.to_string())).collect();
        publisher.send_blocking(all).unwrap();
        sent += 1;
        sent
    };
    for _ in 0..LONG {
        first.look();
        if first.ours.len() == 4 {
            break;
        }
    }
    assert_eq!(first.ours.len(), 4);
    send();
    let mut second = join();
    for _ in 0..LONG {
        send();
        first.look();
        second.look();
        if second.ours.len() == 2 && first.ours.len() == 2 {
            break;
        }
    }
    assert_eq!((first.ours.len(), second.ours.len()), (2, 2));
    assert_eq!(first.ever_given, 4, "a partition that was kept was never given anew");
    assert!(first.ours.is_disjoint(&second.ours));
    let sent = send();
    for member in [&mut first, &mut second] {
        for _ in 0..LONG {
            let all = |partition: &i32| member.read.contains(&(*partition, sent - 1));
            if member.ours.iter().all(all) {
                break;
            }
            member.look();
        }
    }
    // What the first kept it read whole and in order, across the change.
    for partition in &first.ours {
        let offsets: Vec<i64> = first.read.iter().filter(|(p, _)| p == partition).map(|(_, offset)| *offset).collect();
        assert_eq!(offsets, (0..sent).collect::<Vec<i64>>(), "partition {partition}");
    }
    // What it lost it can commit no more, and the second read on from the last commit.
    let stale = first.stale.take().unwrap();
    assert!(!first.consumer.is_current(&stale));
    assert_eq!(first.consumer.commit(&[(stale, 1)], true), Ok(0));
    for partition in &second.ours {
        assert!(second.read.contains(&(*partition, sent - 1)), "partition {partition}");
    }
    drop(second);
    for _ in 0..LONG {
        first.look();
        if first.ours.len() == 4 {
            return;
        }
    }
    panic!("what the second left did not come back");
}

#[test]
fn a_member_that_stops_too_long_loses_its_partitions_and_is_told() {
    let Some(cluster) = cluster() else { return };
    let mut settings = settings(cluster.brokers(), "lost");
    settings.work_timeout = Duration::from_secs(6);
    create(&settings, "lost", 1, 1);
    let publisher = Publisher::open(&settings).unwrap();
    publisher.send_blocking(vec![record("lost", 0, "0")]).unwrap();
    let mut slow = Consumer::open(&settings, &["lost"]).unwrap();
    let batch = super::records(&mut slow);
    let (held, next) = batch.reaches().next().map(|(held, next)| (held.clone(), next)).unwrap();
    // Another joins, and is given the partition once the first did not come back for its next batch.
    let mut other = Consumer::open(&settings, &["lost"]).unwrap();
    assert_eq!(super::records(&mut other).iter().next().unwrap().offset, 0);
    for _ in 0..LONG {
        match slow.next(Duration::from_millis(100)).unwrap() {
            Next::Revoked { lost, .. } => {
                assert!(lost);
                assert!(!slow.is_current(&held));
                assert_eq!(slow.commit(&[(held, next)], true), Ok(0));
                return;
            }
            Next::Records(_) => panic!("it reads on"),
            Next::Assigned(_) | Next::End { .. } | Next::Quiet => {}
        }
    }
    panic!("it was never told");
}
