//! There and back.

use std::time::Duration;

use vertice_stream::kafka::{About, Begin, Consumer, Next, OutRecord, Partition, PublishError, Publisher, cloud_event};

use super::{cluster, create, next, read, record, records, settings, topic};

#[test]
fn a_record_comes_back_as_it_was_sent() {
    let Some(cluster) = cluster() else { return };
    let mut settings = settings(cluster.brokers(), "trip");
    settings.headers = true;
    create(&settings, "trip", 1, 1);
    let publisher = Publisher::open(&settings).unwrap();
    let about = About {
        id: "trip|0|0",
        source: "/vertice",
        kind: "vertice.detection",
        time: "2026-01-02T03:04:05Z",
        content_type: "application/json",
    };
    let event = cloud_event(&topic("trip"), b"203.0.113.9", br#"{"a":1}"#.to_vec(), &about);
    let poison = OutRecord {
        topic: topic("trip"),
        key: Some(vec![0xff, 0]),
        value: Some(b"\xff\x00not json".to_vec()),
        timestamp_ms: Some(1_700_000_000_000),
        headers: (0..40).map(|n| (format!("h{n}"), vec![b'x'; 100])).collect(),
        ..OutRecord::default()
    };
    let tombstone = OutRecord { topic: topic("trip"), key: Some(b"gone".to_vec()), ..OutRecord::default() };
    let delivered = publisher.send_blocking(vec![event.clone(), poison, tombstone]).unwrap();
    let offsets: Vec<_> = delivered.spots.iter().map(|spot| (spot.partition, spot.offset)).collect();
    assert_eq!(offsets, [(0, 0), (0, 1), (0, 2)]);

    let mut consumer = Consumer::open(&settings, &["trip"]).unwrap();
    let batch = records(&mut consumer);
    let all: Vec<_> = batch.iter().collect();
    assert_eq!((all[0].key, all[0].value), (event.key.as_deref(), event.value.as_deref()));
    let headers: Vec<_> = all[0].headers.iter().map(|(n, v)| (n.to_owned(), v.unwrap().to_vec())).collect();
    assert_eq!(headers, event.headers);
    assert_eq!((all[1].timestamp_ms, all[1].headers.iter().count()), (Some(1_700_000_000_000), 32));
    assert!(all[1].headers.left_out() && !all[0].headers.left_out());
    assert_eq!((all[2].key, all[2].value), (Some(&b"gone"[..]), None));
}

#[test]
fn a_name_of_a_header_that_is_no_text_costs_the_headers_and_not_the_record() {
    let Some(cluster) = cluster() else { return };
    let mut settings = settings(cluster.brokers(), "names");
    settings.headers = true;
    create(&settings, "names", 1, 1);
    // Written by kcat where it is there: our own publisher cannot.
    let mut kcat = std::process::Command::new("kcat");
    kcat.args(["-P", "-b", &cluster.brokers(), "-t", "names", "-p", "0"]);
    kcat.arg("-H").arg(std::os::unix::ffi::OsStrExt::from_bytes(&b"\xff\xfe=x"[..]) as &std::ffi::OsStr);
    let Ok(mut kcat) = kcat.stdin(std::process::Stdio::piped()).spawn() else {
        println!("left out: kcat missing; `cargo xtask test` installs it");
        return;
    };
    std::io::Write::write_all(&mut kcat.stdin.take().unwrap(), b"value\n").unwrap();
    assert!(kcat.wait().unwrap().success());
    let mut consumer = Consumer::open(&settings, &["names"]).unwrap();
    let batch = records(&mut consumer);
    let record = batch.iter().next().unwrap();
    assert_eq!(record.value, Some(&b"value"[..]));
    assert!(record.headers.left_out() && record.headers.iter().count() == 0);
}

#[test]
fn only_what_is_committed_is_not_read_again_and_a_place_of_ones_own_wins_over_it() {
    let Some(cluster) = cluster() else { return };
    let settings = settings(cluster.brokers(), "commits");
    create(&settings, "commits", 1, 1);
    let publisher = Publisher::open(&settings).unwrap();
    let ten = (0..10).map(|n| record("commits", 0, n.to_string())).collect();
    publisher.send_blocking(ten).unwrap();

    let first = |consumer: &mut Consumer| read(consumer, 1)[0].1;
    let mut consumer = Consumer::open(&settings, &["commits"]).unwrap();
    assert_eq!(read(&mut consumer, 10).len(), 10);
    drop(consumer);
    let mut consumer = Consumer::open(&settings, &["commits"]).unwrap();
    let batch = records(&mut consumer);
    assert_eq!(batch.iter().next().unwrap().offset, 0, "leaving commits nothing");
    let (held, _) = batch.reaches().next().unwrap();
    assert_eq!(consumer.commit(&[(held.clone(), 4)], true), Ok(1));
    drop(consumer);
    let mut consumer = Consumer::open(&settings, &["commits"]).unwrap();
    assert_eq!(first(&mut consumer), 4);
    drop(consumer);

    let mut consumer = Consumer::open(&settings, &["commits"]).unwrap();
    let Next::Assigned(held) = next(&mut consumer) else { panic!("nothing is assigned") };
    let partition = Partition::new("commits", 0);
    assert_eq!(held[0].partition, partition);
    consumer.begin(&[(partition.clone(), Begin::At(7))]).unwrap();
    assert_eq!(first(&mut consumer), 7);
    let Next::End { held, next: end } = next(&mut consumer) else { panic!("its end is not said") };
    assert_eq!((held.partition, end), (partition.clone(), 10));
    assert_eq!(consumer.lags()[0].records(), Some(0));

    consumer.pause(std::slice::from_ref(&partition)).unwrap();
    publisher.send_blocking(vec![record("commits", 0, "10")]).unwrap();
    let while_paused = consumer.next(Duration::from_millis(700)).unwrap();
    assert!(matches!(while_paused, Next::Quiet), "{while_paused:?}");
    consumer.resume(&[partition]).unwrap();
    assert_eq!(first(&mut consumer), 10);
}

#[test]
fn what_is_too_large_or_has_no_topic_is_refused_and_the_rest_goes_on() {
    let Some(cluster) = cluster() else { return };
    let settings = settings(cluster.brokers(), "refused");
    create(&settings, "refused", 1, 1);
    let publisher = Publisher::open(&settings).unwrap();
    let large = record("refused", 0, "x".repeat(1_000_000));
    assert!(matches!(publisher.send_blocking(vec![large]), Err(PublishError::TooLarge { .. })));
    let astray = publisher.send_blocking(vec![record("refused.nowhere", 0, "x")]);
    assert!(matches!(&astray, Err(PublishError::Refused { topic, .. }) if topic == "refused.nowhere"), "{astray:?}");
    assert_eq!(publisher.send_blocking(vec![record("refused", 0, "x")]).unwrap().spots[0].offset, 0);
    assert_eq!(publisher.send_blocking(Vec::new()).unwrap().spots, []);
    assert_eq!(publisher.waiting(), 0);
}
