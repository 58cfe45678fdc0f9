//! The merge: one order whatever came first, each record once whatever breaks, and bounded memory.

use vertice_engine::route::{Cursors, HeldBounds, Mark, Merge, Message};
use vertice_model::{Place, RawEvent, Routed, Timestamp};
use vertice_testkit::{Random, long};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn routed(seconds: i64, partition: i32, offset: i64, index: u32) -> Routed {
    Routed {
        event: RawEvent { origin: "o".into(), line: "line".to_owned() },
        from: Place { topic: "t".into(), partition, offset },
        at: at(seconds),
        key: format!("k{index}"),
        index,
    }
}

/// Plays a story: each word is a record of hits, `record SECONDS.PARTITION.OFFSET.INDEX` or `mark
/// SECONDS.PARTITION.OFFSET`; or `out`, which lets out and writes down what came; or `restart`, after which the records
/// from the cursor on come again.
fn told(partitions: i32, bounds: HeldBounds, story: &str) -> String {
    let mut merge = Merge::bounded(partitions, &Cursors::default(), bounds);
    let mut log: Vec<&str> = Vec::new();
    let mut told = Vec::new();
    let feed = |merge: &mut Merge, hits_offset: usize, line: &str| {
        let (kind, numbers) = line.split_once(' ').expect("a kind and numbers");
        let n: Vec<i64> = numbers.split('.').map(|n| n.parse().expect("a number")).collect();
        match kind {
            "record" => merge.push(hits_offset as i64, routed(n[0], n[1] as i32, n[2], n[3] as u32)),
            "mark" => merge.mark(hits_offset as i64, Mark { at: at(n[0]), partition: n[1] as i32, offset: n[2] }),
            other => panic!("{other}"),
        }
    };
    for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line {
            "out" => {
                let mut out = merge.let_out(usize::MAX, usize::MAX);
                while let Some(from) = merge.reread() {
                    (from as usize..log.len()).for_each(|i| feed(&mut merge, i, log[i]));
                    out.extend(merge.let_out(usize::MAX, usize::MAX));
                }
                let names = out.iter().map(|r| format!("{}.{}.{}", r.from.partition, r.from.offset, r.index));
                told.push(names.collect::<Vec<_>>().join(" "));
            }
            "restart" => {
                let cursors = merge.cursors();
                merge = Merge::bounded(partitions, &cursors, bounds);
                (cursors.hits as usize..log.len()).for_each(|i| feed(&mut merge, i, log[i]));
            }
            grow if grow.starts_with("grow ") => merge.grow(grow[5..].parse().expect("a number")),
            line => {
                feed(&mut merge, log.len(), line);
                log.push(line);
            }
        }
    }
    let counts = merge.counts();
    told.push(format!("late {} held {} from {}", counts.late, merge.held(), merge.cursors().hits));
    told.join(" | ")
}

const WIDE: HeldBounds = HeldBounds { records: 100, bytes: 10_000 };

#[test]
fn records_wait_for_every_mark_and_come_in_one_order() {
    for (partitions, story, wanted) in [
        // Nothing before every partition has a mark.
        (2, "record 1.0.0.0\nmark 9.0.0\nout", "|late 0 held 1 from 0"),
        (
            2,
            "record 5.0.0.0\nrecord 3.1.0.0\nmark 9.0.0\nmark 4.1.0\nout\nmark 9.1.0\nout",
            "1.0.0|0.0.0|late 0 held 0 from 5",
        ),
        // Of one time the lower partition comes first, and the other waits until no more can come of it.
        (2, "record 5.1.0.0\nmark 5.1.0\nmark 5.0.3\nout\nmark 6.0.3\nout", "|1.0.0|late 0 held 0 from 4"),
        (2, "record 5.0.0.0\nmark 5.0.0\nmark 5.1.3\nout", "0.0.0|late 0 held 0 from 3"),
        // Parts of one record are let out together, by index.
        (1, "record 5.0.0.1\nrecord 5.0.0.0\nmark 5.0.0\nout", "0.0.0 0.0.1|late 0 held 0 from 3"),
        // A record beyond the mark waits, though it is of the mark's time.
        (1, "record 5.0.0.0\nrecord 5.0.1.0\nmark 5.0.0\nout", "0.0.0|late 0 held 1 from 1"),
        // Repeats of what is held, and of what was let out; an older mark changes nothing.
        (
            1,
            "record 5.0.0.0\nrecord 5.0.0.0\nmark 5.0.0\nout\nrecord 5.0.0.0\nmark 1.0.-1\nrecord 6.0.1.0\nmark 6.0.1\nout",
            "0.0.0|0.1.0|late 0 held 0 from 7",
        ),
        // A promise that was not kept: late, let out with the next, and counted. The others keep their order.
        (
            2,
            "record 7.0.0.0\nmark 9.0.0\nmark 9.1.-1\nout\nrecord 3.1.0.0\nrecord 10.0.1.0\nmark 11.0.1\nmark 11.1.0\nout",
            "0.0.0|1.0.0 0.1.0|late 1 held 0 from 7",
        ),
        // Offsets of one partition keep their order even if their times do not.
        (1, "record 9.0.0.0\nrecord 3.0.1.0\nmark 9.0.1\nout", "0.0.0 0.1.0|late 1 held 0 from 3"),
        // A topic that grew: known of at once when it is told, and from its first record otherwise.
        (1, "grow 2\nrecord 5.0.0.0\nmark 6.0.0\nout\nmark 6.1.-1\nout", "|0.0.0|late 0 held 0 from 3"),
        (1, "record 5.0.0.0\nrecord 5.3.0.0\nmark 6.0.0\nout\nmark 6.3.0\nout", "|0.0.0 3.0.0|late 0 held 0 from 4"),
        // A restart forgets marks, and reads again what it held.
        (
            2,
            "record 1.0.0.0\nrecord 5.1.0.0\nmark 3.0.0\nmark 6.1.0\nout\nrestart\nout\nmark 7.0.0\nout",
            "0.0.0||1.0.0|late 0 held 0 from 5",
        ),
    ] {
        assert_eq!(told(partitions, WIDE, story).replace(" | ", "|"), wanted, "{story}");
    }
}

#[test]
fn one_partition_that_stalls_while_others_flood_costs_reading_again_and_no_memory() {
    let flood: String = (0..50).map(|n| format!("record {}.0.{n}.0\n", 10 + n)).collect();
    // Partition 1 has an early record behind the flood, and another in the midst of it.
    let story = format!("{flood}mark 60.0.49\nout\nrecord 9.1.0.0\nrecord 30.1.1.0\nmark 61.1.1\nout");
    let mut wanted = vec!["1.0.0".to_owned()];
    for n in 0..50 {
        wanted.push(format!("0.{n}.0"));
        if n == 19 {
            wanted.push("1.1.0".to_owned());
        }
    }
    // At one time, 30, partition 0 comes before 1: its offset 20.
    wanted.swap(21, 22);
    for records in [1, 3, 10, 1_000] {
        let bounds = HeldBounds { records, bytes: usize::MAX };
        let mut expected = wanted.clone();
        let at_30 = expected.iter().position(|name| name == "1.1.0").expect("it is there");
        let offset_20 = expected.iter().position(|name| name == "0.20.0").expect("it is there");
        if at_30 < offset_20 {
            expected.swap(at_30, offset_20);
        }
        let told = told(2, bounds, &story);
        assert_eq!(told, format!(" | {} | late 0 held 0 from 54", expected.join(" ")), "{records}");
    }
}

/// A partition of hits: what producers wrote, repeats and marks among it.
fn partition_of_hits(random: &mut Random, streams: &[Vec<Routed>]) -> Vec<Message> {
    let mut written = Vec::new();
    let mut at_of: Vec<usize> = vec![0; streams.len()];
    while at_of.iter().zip(streams).any(|(at, stream)| *at < stream.len()) {
        let p = random.below(streams.len());
        let (stream, next) = (&streams[p], at_of[p]);
        match random.below(10) {
            // Somebody who was thought dead, or who took over from an older commit, sends again.
            0 if next > 0 => {
                let from = random.below(next);
                written.extend(stream[from..next].iter().map(|r| Message::Routed(Box::new(r.clone()))));
            }
            1 | 2 => written.push(Message::Mark(mark_before(stream, next, p as i32, random))),
            _ if next < stream.len() => {
                written.push(Message::Routed(Box::new(stream[next].clone())));
                at_of[p] += 1;
            }
            _ => {}
        }
    }
    for (p, stream) in streams.iter().enumerate() {
        let offset = stream.last().map_or(-1, |r| r.from.offset);
        written.push(Message::Mark(Mark { partition: p as i32, offset, at: at(1_000_000) }));
    }
    written
}

/// What may be said of a stream before its next record is written.
fn mark_before(stream: &[Routed], next: usize, partition: i32, random: &mut Random) -> Mark {
    let Some(last) = next.checked_sub(1).map(|i| &stream[i]) else {
        let at = stream.first().map_or(at(0), |first| first.at);
        return Mark { partition, offset: -1, at: at.min(Timestamp::from_seconds(random.below(5) as i64)) };
    };
    // Of a record that is several parts only some may be written.
    let whole = stream.get(next).is_none_or(|next| next.from.offset > last.from.offset);
    let idle = random.below(2) == 0 && whole;
    let at = stream.get(next).filter(|_| idle).map_or(last.at, |next| next.at);
    Mark { partition, offset: if whole { last.from.offset } else { last.from.offset - 1 }, at }
}

#[test]
fn any_interleaving_gives_one_order_and_any_crash_each_record_once() {
    let mut random = Random(0x5eed_0005);
    let cases = if long() { 50_000 } else { 800 };
    let (mut restarts, mut put_off) = (0, 0);
    for case in 0..cases {
        let streams: Vec<Vec<Routed>> = (0..1 + random.below(5))
            .map(|p| {
                let (mut seconds, mut offset, mut stream) = (random.below(4) as i64, -1, Vec::new());
                for _ in 0..random.below(25) {
                    seconds += random.below(3) as i64;
                    offset += 1 + random.below(3) as i64;
                    stream.extend((0..1 + random.below(2)).map(|i| routed(seconds, p as i32, offset, i as u32)));
                }
                stream
            })
            .collect();
        let mut wanted: Vec<Routed> = streams.iter().flatten().cloned().collect();
        wanted.sort_by_key(|r| (r.at, r.from.partition, r.from.offset, r.index));
        for _ in 0..2 {
            let hits = partition_of_hits(&mut random, &streams);
            let records = [2, 5, 1_000][random.below(3)];
            let bounds = HeldBounds { records, bytes: usize::MAX };
            let run = run(&mut random, streams.len() as i32, &hits, bounds);
            assert_eq!(run.out, wanted, "case {case}, at most {records} held");
            assert_eq!(run.late, 0, "case {case}");
            assert!(run.held_most <= records.max(2), "case {case}: {} held", run.held_most);
            restarts += run.restarts;
            put_off += run.put_off;
        }
    }
    println!("{cases} cases, each twice; {restarts} crashes, {put_off} records put off");
    assert!(restarts > 0 && put_off > 0);
}

/// How often one reader dies.
const CRASHES_MAX: usize = 6;

#[derive(Default)]
struct Run {
    out: Vec<Routed>,
    late: u64,
    held_most: usize,
    restarts: usize,
    put_off: u64,
}

/// Reads a partition of hits as a shard does, and dies now and then before or after what was let out is durable.
fn run(random: &mut Random, partitions: i32, hits: &[Message], bounds: HeldBounds) -> Run {
    let mut durable = Cursors::default();
    let mut merge = Merge::bounded(partitions, &durable, bounds);
    let (mut run, mut next) = (Run::default(), 0);
    loop {
        let mut at_the_end = false;
        match hits.get(next) {
            Some(Message::Routed(routed)) => merge.push(next as i64, (**routed).clone()),
            Some(Message::Mark(mark)) => merge.mark(next as i64, *mark),
            None => at_the_end = true,
        }
        next += 1;
        run.held_most = run.held_most.max(merge.held());
        if !at_the_end && random.below(4) > 0 {
            continue;
        }
        let out = merge.let_out(1 + random.below(6), usize::MAX);
        // A crash forgets the marks, so with one at every turn nothing would ever be let out.
        let dies = if run.restarts < CRASHES_MAX { random.below(12) } else { 2 };
        if dies != 0 {
            // One transaction.
            durable = merge.cursors();
            run.out.extend(out.iter().cloned());
        }
        if dies <= 1 {
            run.restarts += 1;
            run.late += merge.counts().late;
            run.put_off += merge.counts().put_off;
            merge = Merge::bounded(partitions, &durable, bounds);
            next = durable.hits as usize;
        } else if out.is_empty() {
            if let Some(from) = merge.reread() {
                next = from as usize;
            } else if at_the_end {
                run.late += merge.counts().late;
                run.put_off += merge.counts().put_off;
                return run;
            }
        }
    }
}

#[test]
fn records_of_hits_come_back_and_what_is_none_is_refused() {
    let one = Message::Routed(Box::new(routed(1, 2, 3, 4)));
    let text = r#"{"event":{"origin":"o","line":"line"},"from":{"topic":"t","partition":2,"offset":3},"at":"1970-01-01T00:00:01Z","key":"k4","index":4}"#;
    assert_eq!(String::from_utf8(one.write()).unwrap(), text);
    assert_eq!(Message::read(text.as_bytes()), Ok(one));
    let mark = Message::Mark(Mark { partition: 3, offset: -1, at: at(2) });
    let text = r#"{"mark":{"partition":3,"offset":-1,"at":"1970-01-01T00:00:02Z"}}"#;
    assert_eq!(String::from_utf8(mark.write()).unwrap(), text);
    assert_eq!(Message::read(text.as_bytes()), Ok(mark));

    let mut long = routed(1, 2, 3, 4);
    long.key = "k".repeat(vertice_model::limits::ROUTE_KEY_BYTES_MAX + 1);
    let long = Message::Routed(Box::new(long)).write();
    let negative = Message::Routed(Box::new(routed(1, -2, 3, 4))).write();
    let huge = vec![b' '; vertice_engine::limits::MESSAGE_BYTES_MAX + 1];
    for (bytes, wanted) in [
        (&long[..], "key: 321 bytes; at most 320 are meant"),
        (&negative, "partition: -2; a number from 0 is meant"),
        (&huge, "a record of hits of "),
        (
            br#"{"mark":{"partition":3,"offset":-2,"at":"1970-01-01T00:00:02Z"}}"#,
            "offset: -2; a number from -1 is meant",
        ),
        (b"", "no record of hits: "),
        (b"{\"mark\":1}", "no record of hits: "),
        (b"\xff", "no record of hits: "),
    ] {
        let refused = Message::read(bytes).expect_err(wanted).to_string();
        assert!(refused.starts_with(wanted), "{refused}");
    }
}

#[test]
fn mutated_records_of_hits_never_panic() {
    let mut random = Random(0x5eed_0006);
    let texts = [
        Message::Routed(Box::new(routed(1, 2, 3, 4))).write(),
        Message::Mark(Mark { partition: 3, offset: 9, at: at(2) }).write(),
    ];
    let mut read = 0;
    for n in 0..if long() { 2_000_000 } else { 20_000 } {
        let bytes = random.mutated(&texts[n % 2]);
        if let Ok(message) = Message::read(&bytes) {
            assert_eq!(Message::read(&message.write()), Ok(message));
            read += 1;
        }
    }
    assert!(read > 0);
}
