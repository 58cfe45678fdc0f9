//! Reads a topic to its end and says how fast: `kafka_read BROKERS TOPIC PARTITIONS`, to be held against
//! `kcat -C -b BROKERS -t TOPIC -e -q > /dev/null`. With `fill RECORDS BYTES` behind, writes that many first.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use vertice_stream::kafka::{Consumer, Next, OutRecord, Patience, Publisher, Settings, Wanted, check};

#[expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement prints what it measured")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, topic, partitions, fill @ ..] = &arguments[..] else {
        return Err("usage: kafka_read BROKERS TOPIC PARTITIONS [fill RECORDS BYTES]".into());
    };
    let partitions: usize = partitions.parse()?;
    let settings = Settings::new(brokers, format!("measure-{}", std::process::id()));
    if let [_, records, bytes] = fill {
        write(&settings, topic, partitions, (records.parse()?, bytes.parse()?))?;
    }
    let started = Instant::now();
    let mut consumer = Consumer::open(&settings, &[topic])?;
    let (mut records, mut bytes, mut ended) = (0_usize, 0_usize, BTreeSet::new());
    let mut first = None;
    while ended.len() < partitions {
        match consumer.next(Duration::from_millis(500))? {
            Next::Records(batch) => {
                first.get_or_insert_with(Instant::now);
                records += batch.len();
                bytes += batch.iter().map(|record| record.value.map_or(0, <[u8]>::len)).sum::<usize>();
            }
            Next::End { held, .. } => drop(ended.insert(held.partition.number)),
            Next::Assigned(_) | Next::Revoked { .. } | Next::Quiet => {}
        }
    }
    let (whole, reading) = (started.elapsed(), first.unwrap_or(started).elapsed());
    let rate = records as f64 / reading.as_secs_f64();
    println!("{records} records, {bytes} bytes: {whole:.2?} with joining, {reading:.2?} reading, {rate:.0} records/s");
    Ok(())
}

#[expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement prints what it measured")]
fn write(
    settings: &Settings,
    topic: &str,
    partitions: usize,
    (records, bytes): (usize, usize),
) -> Result<(), Box<dyn std::error::Error>> {
    let wanted = Wanted { topic: topic.to_owned(), partitions: partitions as i32, replication: 1, create: true };
    check(settings, &[wanted], Patience::default())?;
    let publisher = Publisher::open(settings)?;
    let started = Instant::now();
    let mut pending = std::collections::VecDeque::new();
    for first in (0..records).step_by(1_000) {
        let record = |n: usize| {
            // Lines that pack about as well as logs do.
            let mut value = format!("{{\"n\":{n},\"h\":\"{:016x}\",\"text\":\"", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            value.extend(std::iter::repeat_n("session opened for user root ", bytes / 29 + 1));
            value.truncate(bytes);
            OutRecord {
                topic: topic.into(),
                partition: Some((n % partitions) as i32),
                value: Some(value.into_bytes()),
                ..OutRecord::default()
            }
        };
        pending.push_back(publisher.begin_blocking((first..records.min(first + 1_000)).map(record).collect())?);
        if pending.len() > 16
            && let Some(oldest) = pending.pop_front()
        {
            oldest.wait()?;
        }
    }
    for rest in pending {
        rest.wait()?;
    }
    println!("{records} written in {:.2?}", started.elapsed());
    Ok(())
}
