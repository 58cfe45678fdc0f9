//! A real journal, read by the real `journalctl`, where both of systemd's tools are there.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vertice_stream::journal::{self, Journal};

use crate::support::write;

/// What makes a journal from its export format; Debian's package is `systemd-journal-remote`.
const MAKERS: [&str; 2] = ["/lib/systemd/systemd-journal-remote", "/usr/lib/systemd/systemd-journal-remote"];

/// One entry in systemd's export format, in which a value that is no line of text has its length before it.
fn entry(n: u64, identifier: &str, message: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID={:032x}\n_MACHINE_ID={:032x}\n_HOSTNAME=web1\n\
         SYSLOG_IDENTIFIER={identifier}\n_PID={n}\n",
        1_772_010_000_000_000 + n * 1_000_000,
        1_000_000 + n * 1_000_000,
        2,
        3,
    )
    .into_bytes();
    out.extend_from_slice(b"MESSAGE\n");
    out.extend_from_slice(&(message.len() as u64).to_le_bytes());
    out.extend_from_slice(message);
    out.extend_from_slice(b"\n\n");
    out
}

/// Guessing, in several entries, with one between them that is not for us.
fn guesses(numbers: std::ops::Range<u64>) -> Vec<u8> {
    let message = |n: u64| format!("Failed password for root from 192.0.2.{n} port 22 ssh2");
    numbers.flat_map(|n| [entry(n, "sshd", message(n).as_bytes()), entry(n, "cron", b"not for us")].concat()).collect()
}

fn make(maker: &Path, journal: &Path, entries: &[u8]) {
    let mut child = Command::new(maker)
        .arg("-o")
        .arg(journal)
        .arg("-")
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(entries).unwrap();
    assert!(child.wait().unwrap().success(), "{} is made", journal.display());
}

/// A `journalctl` that looks nowhere else.
fn only_here(directory: &Path) -> PathBuf {
    let program = directory.join("only_here");
    write(&program, format!("#!/bin/sh\nexec journalctl --directory={} \"$@\"\n", directory.display()).as_bytes());
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    program
}

/// Reads from a cursor until so many entries came; returns their messages, and the cursor to go on from.
async fn read(program: &Path, cursor: String, wanted: usize, then: impl FnOnce()) -> (Vec<Value>, String) {
    let (queue, mut batches) = mpsc::channel(4);
    let stop = CancellationToken::new();
    let config = Journal { program: program.to_owned(), cursor: Some(cursor.clone()) };
    let running = tokio::spawn(journal::run(config, queue, stop.clone()));
    let (mut messages, mut last, mut then) = (Vec::new(), cursor, Some(then));
    while messages.len() < wanted {
        let batch = batches.recv().await.expect("it follows until it is told to stop");
        assert!(batch.refused.is_empty(), "{:?}", batch.refused);
        for event in &batch.events {
            let entry: Value = serde_json::from_str(&event.line).unwrap();
            messages.push(entry["MESSAGE"].clone());
        }
        last = batch.cursor.map_or(last, |c| c.value);
        if let Some(then) = then.take() {
            then();
        }
    }
    stop.cancel();
    running.await.unwrap().unwrap();
    assert!(batches.recv().await.is_none());
    (messages, last)
}

#[tokio::test]
async fn a_real_journal_is_followed_and_gone_on_from() {
    let maker = MAKERS.iter().map(Path::new).find(|p| p.is_file());
    let (Some(maker), Ok(_)) = (maker, Command::new("journalctl").arg("--version").output()) else {
        println!("left out: 12 entries of a real journal, for journalctl and systemd-journal-remote are not both here");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let program = only_here(directory.path());
    make(maker, &directory.path().join("a.journal"), &guesses(1..5));
    let first = Command::new(&program).args(["--output=json", "--identifier=sshd"]).output().unwrap().stdout;
    let first: Value = serde_json::from_slice(first.split(|b| *b == b'\n').next().unwrap()).unwrap();
    let cursor = first["__CURSOR"].as_str().expect("journalctl gives a cursor").to_owned();

    let sources = |messages: &[Value]| -> Vec<String> {
        let word = |m: &Value| m.as_str().and_then(|m| m.split(' ').nth(5)).unwrap_or("bytes").to_owned();
        messages.iter().map(word).collect()
    };
    // What is there behind the cursor, and what comes while it is followed.
    let more = || make(maker, &directory.path().join("b.journal"), &guesses(5..8));
    let (messages, cursor) = read(&program, cursor, 6, more).await;
    assert_eq!(sources(&messages), ["192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7"]);
    // What came while nobody read; what is no text comes as bytes.
    let bytes = entry(10, "sshd", b"Invalid user \x1b[31mro\xffot from 192.0.2.10 port 22");
    make(maker, &directory.path().join("c.journal"), &[guesses(8..10), bytes].concat());
    let (messages, _) = read(&program, cursor, 3, || {}).await;
    assert_eq!(sources(&messages), ["192.0.2.8", "192.0.2.9", "bytes"]);
    assert_eq!(messages[2][0], Value::from(b'I'));
}
