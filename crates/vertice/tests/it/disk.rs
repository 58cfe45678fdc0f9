//! A disk that fails: the process ends, says why, and what it acknowledged is there.

use std::collections::BTreeSet;
use std::fs::File;

use crate::process::Server;
use crate::world::World;

/// A batch of events with ids of their own.
fn batch(n: usize) -> (Vec<String>, String) {
    let ids: Vec<String> = (0..16).map(|i| format!("e{n}-{i}")).collect();
    let line = |id: &String| {
        format!(
            r#"{{"event_id":"{id}","timestamp":"2026-03-01T10:00:00Z","source":"endpoint","event_type":"login","source_ip":"198.51.100.7"}}"#
        )
    };
    let body = ids.iter().map(line).collect::<Vec<_>>().join("\n");
    (ids, body)
}

/// Sends until syncing fails, and then some more; returns what was acknowledged.
fn until_it_fails(server: &Server, world: &World, failing: i64) -> BTreeSet<String> {
    let mut kept = BTreeSet::new();
    let mut send = |n: usize| {
        let (ids, body) = batch(n);
        let answer = server.post("/api/v1/events", body.as_bytes());
        if matches!(answer, Some((202, _))) {
            kept.extend(ids);
        }
        answer
    };
    for n in 0..10 {
        let answer = send(n);
        assert!(matches!(answer, Some((202, _))), "{answer:?}");
    }
    server.settled();
    world.fail_syncs(failing);
    for n in 10..30 {
        match send(n) {
            // Gone already, or refused for good: without a promise that trying again helps.
            None => {}
            Some((503, problem)) => {
                let detail = problem["detail"].as_str().unwrap_or_default();
                assert!(detail.contains("the store has stopped: writing "), "{problem}");
            }
            Some((status, answer)) => panic!("{status} after a failed sync: {answer}"),
        }
    }
    assert!(world.syncs_to_fail() < failing, "nothing was synced");
    kept
}

#[test]
fn a_failed_sync_ends_the_process_and_nothing_acknowledged_is_lost() {
    // Once, and all is well again, as the kernel has it; and for good.
    for failing in [1, i64::MAX] {
        let dir = tempfile::tempdir().unwrap();
        let (data, said) = (dir.path().join("data"), dir.path().join("stderr"));
        let world = World::new(dir.path());
        let server = Server::start_as(&data, &[], |command| {
            world.surround(command).stderr(File::create(&said).expect("a file"))
        });
        let kept = until_it_fails(&server, &world, failing);
        assert_eq!(server.ended(), Some(1), "it ends by itself");
        let said = std::fs::read_to_string(said).unwrap();
        let wanted = format!("writing {} failed: disk I/O error", data.join("vertice.db").display());
        assert!(said.lines().last().is_some_and(|l| l.contains(&wanted)), "{said}");

        world.fail_syncs(0);
        let server = Server::start(&data);
        server.settled();
        let page = server.get("/api/v1/events?limit=1000");
        let ids: Vec<&str> =
            page["items"].as_array().unwrap().iter().map(|e| e["event"]["event_id"].as_str().unwrap()).collect();
        let found: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(found.len(), ids.len(), "an event is there twice");
        assert!(kept.iter().all(|id| found.contains(id.as_str())), "{} of {}", found.len(), kept.len());
        assert_eq!(kept.len(), 160);
        let (_, body) = batch(99);
        assert!(matches!(server.post("/api/v1/events", body.as_bytes()), Some((202, _))), "it goes on");
        assert_eq!(server.stop(), Some(0));
    }
}
