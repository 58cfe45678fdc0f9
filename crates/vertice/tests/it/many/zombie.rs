//! An instance that stands still until another has its shard: what it was about to do it does not, what it knows it
//! can not write, and what may have left it nobody sends again.
//!
//! Where it stands still is forced and not hoped for: its next transaction waits for a lock of the test's, and it is
//! stopped there.

use super::*;

/// Where instances say what they do, by their process.
type Logs = BTreeMap<u32, PathBuf>;

/// Three instances with all shards, whose receiver is told that it may not have a message twice.
fn three(dir: &Path, postgres: &Postgres, name: &str, received: &Arc<Received>) -> (Site, Vec<Server>, Logs) {
    let further = live(dir, &receiver(received)).replace("default = true", "honours_key = false, default = true");
    let site = Site::new(dir, postgres, name, &format!("m{}-{name}-events", std::process::id()), &further);
    let (all, logs): (Vec<Server>, Vec<PathBuf>) = (0..3).map(|instance| site.start_telling(instance)).unzip();
    until_shared(&all);
    settled_with(0, &site, &all);
    let logs = all.iter().map(Server::pid).zip(logs).collect();
    (site, all, logs)
}

fn attack(site: &Site, id: &str, address: &str) {
    let record = OutRecord {
        topic: site.events.as_str().into(),
        key: Some(address.as_bytes().to_vec()),
        value: Some(login(id, address, "mallory", 0).into_bytes()),
        ..OutRecord::default()
    };
    site.publisher().send_blocking(vec![record]).unwrap();
}

/// Which of them has a shard: it tells how far it has read it.
fn owner(all: &[Server], shard: usize) -> Option<usize> {
    let label = format!("hits\",partition=\"{shard}\"");
    all.iter().position(|server| !series(server, "vertice_kafka_lag_records", &label).is_empty())
}

/// Takes the one that has a shard from among them.
fn take_owner(all: &mut Vec<Server>, shard: usize) -> Server {
    all.remove(owner(all, shard).expect("it tells since all was settled"))
}

/// Stops an instance, and waits until all of it stands still.
fn stand_still(server: &Server) {
    signal(server, rustix::process::Signal::STOP);
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    until("it stands still", || stat().rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')));
}

fn said(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap()
}

/// Waits until a shard's owner waits for a lock of a table: the process of the server's that it talks to, and the shard.
fn waiting(postgres: &Postgres, site: &Site, table: &str) -> (String, usize) {
    let waits = format!(
        "SELECT pid, substring(application_name from 'vertice shard (.*)') FROM pg_stat_activity \
         WHERE wait_event_type = 'Lock' AND application_name ~ '^vertice shard' AND query ~ ' {table} '"
    );
    let mut found = String::new();
    until("its owner waits for the lock", || {
        found = postgres.sql(&site.name, &waits);
        !found.is_empty()
    });
    let (backend, shard) = found.split_once('|').unwrap();
    (backend.to_owned(), shard.parse().unwrap())
}

/// What the database has of all that was decided and done.
fn decided(postgres: &Postgres, site: &Site) -> String {
    let rows = "SELECT r::text AS t FROM vertice.record r UNION ALL SELECT c::text FROM vertice.claim c";
    postgres.sql(&site.name, &format!("SELECT count(*), md5(string_agg(t, ';' ORDER BY t)) FROM ({rows}) AS all_rows"))
}

/// The run about an address, as anybody shows it.
fn run(server: &Server, address: &str) -> Option<Value> {
    let runs = server.all("/api/v1/defense/responses");
    runs.into_iter().find(|run| run["steps"][0].to_string().contains(address))
}

#[test]
fn who_slept_through_a_takeover_carries_nothing_out_and_writes_nothing() {
    let Some((dir, postgres)) = place("who slept through a takeover") else { return };
    let received = Arc::new(Received::default());
    let (site, mut awake, logs) = three(dir.path(), &postgres, "zombie", &received);
    // Before what was decided is kept, and then between saying that an order begins and claiming it.
    for (n, table) in ["record", "claim"].into_iter().enumerate() {
        let address = format!("203.0.113.{n}");
        let lock = postgres.hold(&site.name, &format!("LOCK TABLE vertice.{table} IN SHARE ROW EXCLUSIVE MODE"));
        attack(&site, &format!("z{n}"), &address);
        let (backend, shard) = waiting(&postgres, &site, table);
        let sleeper = take_owner(&mut awake, shard);
        let log = &logs[&sleeper.pid()];
        stand_still(&sleeper);
        if n == 0 {
            // The server finds out that its client is gone. The other time it has to do without that.
            assert_eq!(postgres.sql(&site.name, &format!("SELECT pg_terminate_backend({backend})")), "t");
        }
        drop(lock);
        until("another one has it", || owner(&awake, shard).is_some());
        until("the other one has told of it", || received.count(&address) == 1);
        until("and waits for an answer", || {
            run(&awake[0], &address).is_some_and(|run| run["steps"][1]["state"]["is"] == "asked")
        });
        let before = decided(&postgres, &site);
        let refusals = |text: &str| text.matches(&format!("another instance took shard {shard} over")).count();
        // It may have slept before.
        let known = refusals(&said(log));
        signal(&sleeper, rustix::process::Signal::CONT);
        until("it is refused", || refusals(&said(log)) > known);
        if table == "claim" {
            until("it says so", || said(log).contains("an order is not carried out"));
        }
        awake.push(sleeper);
        settled(&site, &awake);
        assert_eq!(decided(&postgres, &site), before);
        assert_eq!(received.count(&address), 1, "{:?}", received.got());
    }
    for server in awake {
        assert_eq!(server.stop(), Some(0));
    }
}

#[test]
fn what_may_have_arrived_is_not_sent_again_by_whoever_takes_over() {
    let Some((dir, postgres)) = place("what may have arrived") else { return };
    let received = Arc::new(Received::default());
    let (site, mut awake, logs) = three(dir.path(), &postgres, "sent", &received);
    let address = "203.0.113.9";
    received.silent.store(true, Ordering::Relaxed);
    attack(&site, "s", address);
    until("it was sent", || received.count(address) == 1);
    let shard: usize = postgres.sql(&site.name, "SELECT shard FROM vertice.claim").parse().unwrap();
    let sleeper = take_owner(&mut awake, shard);
    let log = &logs[&sleeper.pid()];
    stand_still(&sleeper);
    until("another one has it", || owner(&awake, shard).is_some());
    until("nobody can tell what became of it", || {
        run(&awake[0], address).is_some_and(|run| run["steps"][0]["state"]["is"] == "unknown")
    });
    let before = decided(&postgres, &site);
    received.silent.store(false, Ordering::Relaxed);
    signal(&sleeper, rustix::process::Signal::CONT);
    until("it can not write what it knows", || said(log).contains("the log does not take what became of an order"));
    awake.push(sleeper);
    settled(&site, &awake);
    assert_eq!((decided(&postgres, &site), received.count(address)), (before, 1));
    for server in awake {
        assert_eq!(server.stop(), Some(0));
    }
}
