//! Followed files: every way in which a log moves under its reader.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vertice_stream::follow::{Begin, Follow, Tail};

use crate::support::{append, write};

/// A followed file in a fresh directory, its reader, and the last cursor that was kept.
struct Log {
    _directory: tempfile::TempDir,
    path: PathBuf,
    tail: Tail,
    cursor: Option<String>,
}

impl Log {
    fn new(begin: Begin, content: Option<&str>) -> Log {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        content.into_iter().for_each(|content| write(&path, content.as_bytes()));
        let tail = Tail::new(follow(&path, begin, None));
        Log { _directory: directory, path, tail, cursor: None }
    }

    fn start() -> Log {
        Log::new(Begin::Start, Some(""))
    }

    /// Looks until nothing is new, often enough for a rotation to be believed.
    fn read(&mut self) -> Vec<String> {
        let (mut lines, mut idle) = (Vec::new(), 0);
        while idle < 2 * vertice_stream::limits::ROTATED_LOOKS {
            match self.tail.look().unwrap() {
                Some(batch) => {
                    idle = 0;
                    lines.extend(batch.events.into_iter().map(|e| e.line));
                    lines.extend(batch.refused.into_iter().map(|r| format!("! {r}")));
                    self.cursor = Some(batch.cursor.unwrap().value);
                }
                None => idle += 1,
            }
        }
        lines
    }

    /// Stops reading and starts again from the last cursor.
    fn restart(&mut self) {
        self.tail = Tail::new(follow(&self.path, Begin::End, self.cursor.clone()));
    }

    fn rotate(&self) {
        let numbered = |n: u32| self.path.with_file_name(format!("a.log.{n}"));
        for n in (1..5).rev().filter(|&n| numbered(n).exists()) {
            fs::rename(numbered(n), numbered(n + 1)).unwrap();
        }
        fs::rename(&self.path, numbered(1)).unwrap();
    }
}

fn follow(path: &Path, begin: Begin, cursor: Option<String>) -> Follow {
    Follow { path: path.to_owned(), begin, cursor, poll: Duration::from_millis(250) }
}

#[test]
fn lines_come_as_they_are_finished() {
    let mut log = Log::start();
    assert!(log.read().is_empty());
    append(&log.path, "one\r\ntw");
    assert_eq!(log.read(), ["one"]);
    append(&log.path, "o\n\n{\"a\":1}\n{bad\nth");
    assert_eq!(log.read(), ["two", "{\"a\":1}", "! 18: no JSON: key must be a string at column 2"]);
    append(&log.path, "ree\n");
    assert_eq!(log.read(), ["three"]);
}

#[test]
fn a_new_reader_begins_where_it_is_told() {
    let mut log = Log::new(Begin::End, Some("old\nhal"));
    assert!(log.read().is_empty());
    append(&log.path, "f\nnew\n");
    assert_eq!(log.read(), ["new"]);
    let mut log = Log::new(Begin::Start, Some("old\n"));
    assert_eq!(log.read(), ["old"]);
    let mut log = Log::new(Begin::End, None);
    assert!(log.read().is_empty());
    append(&log.path, "first\n");
    assert_eq!(log.read(), ["first"], "what appears while looking is new");
}

#[test]
fn a_restart_neither_repeats_nor_loses() {
    let mut log = Log::new(Begin::End, Some("before\n"));
    assert!(log.read().is_empty());
    append(&log.path, "while away\n");
    log.restart();
    assert_eq!(log.read(), ["while away"]);
    append(&log.path, "hal");
    assert!(log.read().is_empty());
    log.restart();
    append(&log.path, "f\n");
    assert_eq!(log.read(), ["half"]);
}

#[test]
fn a_renamed_file_is_read_to_its_end() {
    let mut log = Log::start();
    append(&log.path, "1\n");
    assert_eq!(log.read(), ["1"]);
    let old = log.path.with_file_name("a.log.1");
    append(&log.path, "2\n");
    log.rotate();
    append(&old, "3\n");
    assert_eq!(log.read(), ["2", "3"], "no successor yet");
    append(&old, "4 without an end");
    append(&log.path, "");
    assert!(log.read().is_empty(), "an empty successor can wait");
    append(&log.path, "5\n");
    assert_eq!(log.read(), ["4 without an end", "5"]);
    append(&log.path, "6\n");
    assert_eq!(log.read(), ["6"]);
}

#[test]
fn rotations_while_away_are_followed_in_order() {
    let mut log = Log::start();
    append(&log.path, "1\n");
    assert_eq!(log.read(), ["1"]);
    append(&log.path, "2\n");
    log.rotate();
    append(&log.path, "3\n");
    log.rotate();
    append(&log.path, "4\n");
    log.restart();
    assert_eq!(log.read(), ["2", "3", "4"]);
    log.restart();
    assert!(log.read().is_empty());
}

#[test]
fn a_file_that_is_gone_is_succeeded_from_its_start() {
    let mut log = Log::start();
    append(&log.path, "1\n");
    assert_eq!(log.read(), ["1"]);
    fs::remove_file(&log.path).unwrap();
    append(&log.path, "2\n");
    assert_eq!(log.read(), ["2"]);
    fs::remove_file(&log.path).unwrap();
    append(&log.path, "3\n");
    log.restart();
    assert_eq!(log.read(), ["3"]);
    log.cursor = Some("nonsense".into());
    log.restart();
    append(&log.path, "4\n");
    assert!(log.read().is_empty(), "without a cursor it begins as told");
}

#[test]
fn a_file_cut_to_nothing_is_read_from_its_start() {
    let mut log = Log::start();
    append(&log.path, "first\nsecond\n");
    assert_eq!(log.read(), ["first", "second"]);
    write(&log.path, b"");
    assert!(log.read().is_empty());
    append(&log.path, "third\n");
    assert_eq!(log.read(), ["third"]);
    // Cut and already longer than before: only its beginning tells.
    write(&log.path, b"fourth is a longer line\n");
    assert_eq!(log.read(), ["fourth is a longer line"]);
    log.restart();
    write(&log.path, b"fifth, while nobody looked, longer still\n");
    assert_eq!(log.read(), ["fifth, while nobody looked, longer still"]);
    // A writer that goes on at its old place leaves a hole.
    write(&log.path, b"");
    assert!(log.read().is_empty());
    append(&log.path, b"\0\0\0\0\0\0after the hole\n");
    assert_eq!(log.read(), ["after the hole"]);
}

#[test]
fn a_line_without_end_is_refused_once_and_the_rest_read() {
    let mut log = Log::start();
    append(&log.path, "a\n");
    append(&log.path, vec![b'x'; 700_000]);
    assert_eq!(log.read(), ["a", "! 2: longer than 524288 bytes, the longest event"]);
    log.restart();
    append(&log.path, vec![b'x'; 700_000]);
    assert!(log.read().is_empty());
    append(&log.path, "\nb\n");
    assert_eq!(log.read(), ["b"]);
    append(&log.path, format!("{}\nc\n", "y".repeat(500_000)));
    assert_eq!(log.read().iter().map(String::len).collect::<Vec<_>>(), [500_000, 1]);
}

#[test]
fn batches_are_bounded() {
    let mut log = Log::start();
    append(&log.path, "line\n".repeat(3_000));
    let sizes: Vec<usize> = std::iter::from_fn(|| log.tail.look().unwrap()).map(|b| b.events.len()).collect();
    assert_eq!(sizes, [1_024, 1_024, 952]);
}
