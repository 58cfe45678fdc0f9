//! What every source with a cursor promises: everything once and in order, a stop when told, and after a restart
//! neither a loss nor a repetition.

use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vertice_stream::follow::{self, Begin, Follow};
use vertice_stream::journal::{self, Journal};
use vertice_stream::{Batch, SourceError};

use crate::support::{append, write};

/// Plays a source through the contract. `start` starts it from a cursor; `line` makes the next line happen.
async fn check<F>(
    mut start: impl FnMut(Option<String>, mpsc::Sender<Batch>, CancellationToken) -> F,
    mut line: impl FnMut(u32),
) where
    F: Future<Output = Result<(), SourceError>> + Send + 'static,
{
    let (mut made, mut seen, mut cursor) = (0, 0, None);
    for round in 0..5 {
        let (queue, mut batches) = mpsc::channel(2);
        let stop = CancellationToken::new();
        let running = tokio::spawn(start(cursor.clone(), queue, stop.clone()));
        // Some lines were made while nobody read, and some are made now.
        for _ in 0..100 * round + 1 {
            line(made);
            made += 1;
        }
        while seen < made {
            let batch = batches.recv().await.expect("it runs until it is told to stop");
            for event in &batch.events {
                assert!(event.line.contains(&format!("\"{seen}\"")), "{seen}: {}", event.line);
                seen += 1;
            }
            cursor = batch.cursor.map(|c| c.value).or(cursor);
        }
        stop.cancel();
        running.await.unwrap().unwrap();
        assert!(batches.recv().await.is_none(), "nothing comes after the stop");
        line(made);
        made += 1;
    }
    // Whoever takes the batches may be gone before it is told to stop.
    let (queue, batches) = mpsc::channel(2);
    drop(batches);
    start(cursor, queue, CancellationToken::new()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_followed_file_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    let poll = Duration::from_millis(250);
    let start = |cursor, queue, stop| {
        follow::run(Follow { path: path.clone(), begin: Begin::Start, cursor, poll }, queue, stop)
    };
    let line = |n: u32| {
        if n % 150 == 149 {
            fs::rename(&path, path.with_file_name(format!("a.log.{}", 5_000 - n))).unwrap();
        }
        append(&path, format!("line \"{n}\"\n"));
    };
    check(start, line).await;
}

/// A stand-in that prints the entries behind the cursor it is given, and then waits for more.
const JOURNALCTL: &str = r#"#!/bin/sh
for word; do case $word in --after-cursor=*) after=${word#--after-cursor=};; esac; done
exec tail -n +$((${after:--1} + 2)) -f "$(dirname "$0")/entries"
"#;

fn stand_in(directory: &Path, script: &str) -> Journal {
    let program = directory.join("journalctl");
    write(&program, script.as_bytes());
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    Journal { program, cursor: None }
}

#[tokio::test]
async fn the_journal_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let entries = directory.path().join("entries");
    write(&entries, b"");
    let config = stand_in(directory.path(), JOURNALCTL);
    let start = |cursor, queue, stop| journal::run(Journal { cursor, ..config.clone() }, queue, stop);
    check(start, |n| append(&entries, format!("{{\"__CURSOR\":\"{n}\",\"MESSAGE\":\"x\"}}\n"))).await;
}

#[tokio::test]
async fn a_journal_that_ends_or_never_starts_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let ends = stand_in(directory.path(), "#!/bin/sh\necho '{\"__CURSOR\":\"1\"}'\necho '{bad'\nexit 3\n");
    let (queue, mut batches) = mpsc::channel(8);
    let ended = journal::run(ends, queue, CancellationToken::new()).await.unwrap_err();
    assert!(ended.to_string().contains("exit status: 3"), "{ended}");
    let (mut events, mut refused) = (0, 0);
    while let Some(batch) = batches.recv().await {
        events += batch.events.len();
        refused += batch.refused.len();
    }
    assert_eq!((events, refused), (1, 1));
    let missing = Journal { program: directory.path().join("absent"), cursor: None };
    let (queue, _batches) = mpsc::channel(8);
    let failed = journal::run(missing, queue, CancellationToken::new()).await.unwrap_err();
    assert!(failed.to_string().starts_with("starting "), "{failed}");
}
