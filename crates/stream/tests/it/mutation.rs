//! Mutated inputs: nothing panics, and memory and time stay small. `VERTICE_LONG=1` runs ten times as many.

use std::sync::Arc;

use vertice_model::limits::RAW_EVENT_BYTES_MAX;
use vertice_stream::follow::{Begin, Follow, Tail};
use vertice_stream::syslog::{Frame, Frames};
use vertice_stream::{Item, Records, split_body};

use crate::support::{gzip, read_bytes, shared, tar, write, zip};

/// A small generator with a fixed seed, so that a failure can be repeated (xorshift64*, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides.max(1)
    }

    /// One to eight changes: flipped, inserted, cut, doubled and interesting bytes.
    fn mutate(&mut self, seed: &[u8]) -> Vec<u8> {
        const INTERESTING: [&[u8]; 12] =
            [b"{", b"}", b"[", b"]", b"\"", b"\\", b"\n", b"\0", b"\xFF\xFE", b",", b"99999 ", b"\x1F\x8B\x08"];
        let mut bytes = seed.to_vec();
        for _ in 0..=self.roll(8) {
            let at = self.roll(bytes.len() + 1);
            let end = (at + self.roll(64)).min(bytes.len());
            match self.roll(5) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.roll(8),
                1 => {
                    let what = INTERESTING[self.roll(INTERESTING.len())];
                    bytes.splice(at..at, what.iter().copied());
                }
                2 => drop(bytes.drain(at..end)),
                3 => {
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
                _ if at < bytes.len() => bytes[at] = self.roll(256) as u8,
                _ => bytes.truncate(at),
            }
        }
        bytes
    }
}

fn rounds() -> usize {
    if std::env::var_os("VERTICE_LONG").is_some() { 100_000 } else { 10_000 }
}

const TEXT: &[u8] = b"{\"a\": {\"b\": [1, 2.5e3, \"x\\\"y\"]}}\n[{\"c\":null},\n {\"d\":true}]\n{\n  \"e\": \"f\"\n}\n\
    Jan  1 00:00:00 host sshd[1]: Failed password for root\n[Mon] apache\n";

fn check_record(text: &str) {
    assert!(text.len() <= RAW_EVENT_BYTES_MAX + 2 * text.matches('\u{FFFD}').count());
    assert!(!text.contains(['\n', '\0']), "{text:?}");
    if text.starts_with('{') {
        serde_json::from_str::<serde::de::IgnoredAny>(text).unwrap();
    }
}

#[test]
fn records_survive() {
    let mut dice = Dice(1);
    for _ in 0..rounds() {
        let bytes = dice.mutate(TEXT);
        let newlines = bytes.iter().filter(|&&b| b == b'\n').count();
        let mut found = 0;
        for record in Records::new(&*bytes) {
            found += 1;
            match record {
                Ok(line) => check_record(&line.text),
                Err(refused) => assert!(!refused.reason.is_empty()),
            }
        }
        assert!(found <= bytes.len() + newlines + 1);
    }
}

#[test]
fn bodies_survive() {
    let mut dice = Dice(2);
    let packed = gzip(TEXT);
    for _ in 0..rounds() {
        let bytes = dice.mutate(&packed);
        if let Ok(body) = split_body(&bytes, Some("application/json"), Some("gzip"), &Arc::from("http")) {
            assert_eq!(body.events.len(), body.numbers.len());
            body.events.iter().for_each(|e| check_record(&e.line));
        }
    }
}

#[test]
fn archives_survive() {
    let mut dice = Dice(3);
    let seeds = [
        zip(&[("a.log", TEXT), ("b/", b""), ("c.zip", &zip(&[("d", TEXT)]))]),
        tar(&[("a.log", TEXT), ("e/", b""), ("f", &gzip(TEXT))]),
        gzip(&tar(&[("a.log", TEXT)])),
    ];
    for round in 0..rounds() {
        for item in read_bytes(&dice.mutate(&seeds[round % seeds.len()])) {
            if let Item::Event(event, _) = item {
                check_record(&event.line);
            }
        }
    }
}

#[test]
fn event_logs_survive() {
    let Some(folder) = shared("sigma-regression") else { return };
    let files = vertice_stream::find(&[folder]).files;
    let mut evtx = files.iter().filter(|p| p.extension().is_some_and(|e| e == "evtx"));
    let seeds: Vec<Vec<u8>> = evtx.by_ref().take(8).map(|p| std::fs::read(p).unwrap()).collect();
    let mut dice = Dice(4);
    for round in 0..rounds() {
        let seed = &seeds[round % seeds.len()];
        // The interesting part of a log with one record is small, and most of the file is empty.
        let part = &seed[..seed.len().min(4096 + 512 + 8192)];
        let mut bytes = dice.mutate(part);
        bytes.resize(seed.len(), 0);
        for item in read_bytes(&bytes) {
            if let Item::Event(event, _) = item {
                check_record(&event.line);
            }
        }
    }
}

#[test]
fn syslog_frames_survive_and_do_not_depend_on_the_pieces() {
    const STREAM: &[u8] =
        b"<34>1 2026-01-01T00:00:00Z h sshd 1 - - x\n22 <13>Jan  1 00:00:00 h a\n{\"a\":1}\n9 <34>b\nc";
    let mut dice = Dice(5);
    for _ in 0..rounds() {
        let bytes = dice.mutate(STREAM);
        let read = |step: usize| {
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            bytes.chunks(step).for_each(|piece| frames.push(piece, &mut |frame| found.push(frame)));
            frames.finish(&mut |frame| found.push(frame));
            found
        };
        let whole = read(usize::MAX);
        assert_eq!(whole, read(1 + dice.roll(9)));
        for frame in whole {
            match frame {
                Frame::Line(line) => check_record(&line),
                Frame::Refused(reason) => assert!(!reason.is_empty()),
            }
        }
    }
}

#[test]
fn cursors_survive() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    write(&path, b"one\ntwo\n");
    let follow = |cursor| Follow { path: path.clone(), begin: Begin::Start, cursor, poll: std::time::Duration::ZERO };
    let good = Tail::new(follow(None)).look().unwrap().unwrap().cursor.unwrap().value;
    let mut dice = Dice(6);
    for _ in 0..rounds() / 10 {
        let cursor = String::from_utf8_lossy(&dice.mutate(good.as_bytes())).into_owned();
        let mut tail = Tail::new(follow(Some(cursor)));
        while let Some(batch) = tail.look().unwrap() {
            assert!(batch.events.len() <= 2);
        }
    }
}
