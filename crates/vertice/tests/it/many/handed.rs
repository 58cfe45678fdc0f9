//! What is given to one instance and meant for another, and what comes and goes while they share the work: instances
//! beyond the number of shards, content, the broker.

use std::net::{IpAddr, Ipv4Addr};

use vertice_testkit::kafka::Cluster;

use super::*;
use crate::process::{KEY, vertice};

/// Takes a file away from whoever tries it, for an hour.
const TAKE_AWAY: &str = r#"
name: Take Mallory's tool away
version: "1"
trigger: {condition: mallory_seen, severity_threshold: medium, confidence_threshold: 0.5}
actions:
  - id: take
    type: quarantine
    parameters: {target_host: "HOST", file_path: "FILE", duration: 1h}
    success_criteria: [file_quarantined]
"#;

fn record(site: &Site, id: &str, address: &str, user: &str) -> OutRecord {
    OutRecord {
        topic: site.events.as_str().into(),
        key: Some(address.as_bytes().to_vec()),
        value: Some(login(id, address, user, 0).into_bytes()),
        ..OutRecord::default()
    }
}

fn said(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap()
}

#[test]
fn an_instance_beyond_the_shards_takes_decisions_and_takes_over() {
    let Some((dir, postgres)) = place("an instance beyond the shards") else { return };
    let tool = written(dir.path().join("tool"), "#!/bin/sh\n");
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
    let playbook = TAKE_AWAY.replace("HOST", &host).replace("FILE", &tool.display().to_string());
    written(dir.path().join("content/playbooks/take.yml"), &playbook);
    let further = "[response]\nmode = \"live\"\n[response.quarantine]\nenabled = true\n";
    let events = format!("m{}-crowd-events", std::process::id());
    let site = Site::new(dir.path(), &postgres, "crowd", &events, further);
    let site = site.with(&format!("partitions = {PARTITIONS}"), "partitions = 1");
    let (busy, _) = site.start_telling(0);
    until("the shard has an owner", || owned([&busy]) == 1);
    let (idle, told) = site.start_telling(1);
    until("the other one says that it has nothing to do", || {
        said(&told).contains("this instance judges nothing, and takes over when another ends")
    });
    assert_eq!((owned([&busy]), owned([&idle])), (1, 0));

    // Released by the one that does not have the shard, and brought back by the one that does.
    site.publisher().send_blocking(vec![record(&site, "a", "203.0.113.7", "mallory")]).unwrap();
    until("the tool is taken away", || !tool.exists());
    let held = || idle.all("/api/v1/defense/containments");
    until("it is held", || held().iter().any(|c| c["state"]["is"] == "active" && c["simulated"] == false));
    let entity = held()[0]["entity"].as_str().unwrap().to_owned();
    let released = vertice().args(["release", &entity, "--url", &idle.url, "--key", KEY]).output().unwrap();
    assert!(released.status.success(), "{}", String::from_utf8_lossy(&released.stderr));
    until("the tool is back", || tool.exists());
    until("it is let go", || held().iter().all(|c| c["state"]["is"] == "released"));

    // The one that had the shard dies, and the other one goes on with it.
    busy.kill();
    until("the other one has the shard", || owned([&idle]) == 1);
    site.publisher().send_blocking(vec![record(&site, "b", "203.0.113.8", "mallory")]).unwrap();
    until("it detects", || detections(&idle).values().any(|d| d["event_id"] == "b"));
    assert_eq!(idle.stop(), Some(0));
}

#[test]
fn a_new_database_judges_what_the_topic_of_hits_has() {
    let Some((dir, postgres)) = place("a new database") else { return };
    let events = format!("m{}-new-events", std::process::id());
    let old = Site::new(dir.path(), &postgres, "old", &events, "[sources]\nlocal = false\n");
    let server = old.start(0);
    let ids = from_all_over(&old, &old.publisher(), "mallory", 0);
    settled(&old, std::slice::from_ref(&server));
    let before = detections(&server);
    assert_eq!(found(&server, "Mallory").len(), ids.len());
    assert_eq!(server.stop(), Some(0));
    // Hits and marks are all there when its shards are taken for the first time.
    let hits = |name: &str| format!("m{}-{name}-hits", std::process::id());
    let new = Site::new(dir.path(), &postgres, "new", &events, "[sources]\nlocal = false\n");
    let new = new.with(&hits("new"), &hits("old"));
    let server = new.start(0);
    settled(&new, std::slice::from_ref(&server));
    assert_eq!(server.get("/api/v1/deadletter")["items"], json!([]));
    assert_eq!(detections(&server).into_keys().collect::<Vec<_>>(), before.into_keys().collect::<Vec<_>>());
    assert_eq!(server.stop(), Some(0));
}

/// A rule that finds failed logins of one user.
fn finds(user: &str, number: usize) -> String {
    RULE.replace("mallory", user).replace("00aa", &format!("00b{number}")).replace("Mallory", user)
}

/// An event of each of 40 addresses, which lie in all shards; their ids.
fn from_all_over(site: &Site, publisher: &Publisher, user: &str, round: usize) -> BTreeSet<String> {
    let address = |n: u8| IpAddr::V4(Ipv4Addr::new(198, 51, 100, n)).to_string();
    let id = |n: u8| format!("{user}-{round}-{n}");
    let records = (0..40).map(|n| record(site, &id(n), &address(n), user)).collect();
    publisher.send_blocking(records).unwrap();
    (0..40).map(id).collect()
}

/// The ids of events that a user was found by, and how often each.
fn found(server: &Server, user: &str) -> BTreeMap<String, usize> {
    let mut ids = BTreeMap::new();
    for detection in server.all("/api/v1/defense/detections") {
        if detection["rule_title"].as_str().is_some_and(|title| title.starts_with(user)) {
            *ids.entry(detection["event_id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    ids
}

/// Two instances with all shards of a broker of their own.
fn two(dir: &Path, postgres: &Postgres, cluster: &Cluster) -> (Site, Vec<Server>, Publisher) {
    let events = format!("m{}-reload-events", std::process::id());
    let site = Site::new(dir, postgres, "reload", &events, "[sources]\nlocal = false\n");
    let site = site.with(&shared().brokers(), &cluster.brokers());
    let servers = site.start_all(2);
    until("the shards have owners", || owned(&servers) == PARTITIONS as usize);
    (site, servers, Publisher::open(&Settings::new(cluster.brokers(), "writer")).unwrap())
}

#[test]
fn content_changes_in_all_shards_and_a_broker_that_dies_is_waited_for() {
    let Some((dir, postgres)) = place("content and a broker that dies") else { return };
    let cluster = Cluster::start(1);
    let (site, servers, publisher) = two(dir.path(), &postgres, &cluster);

    // A rule comes, to both. What came before is not looked at again.
    from_all_over(&site, &publisher, "trudy", 0);
    settled_with(0, &site, &servers);
    written(dir.path().join("content/rules/trudy.yml"), &finds("trudy", 1));
    for server in &servers {
        let reloaded = vertice().args(["rules", "reload", "--url", &server.url, "--key", KEY]).output().unwrap();
        assert!(reloaded.status.success(), "{}", String::from_utf8_lossy(&reloaded.stderr));
    }
    let digest = |server: &Server| server.get("/api/v1/content")["digest"].clone();
    assert_eq!(digest(&servers[0]), digest(&servers[1]));
    // Each shard takes the rule over by itself, a moment later.
    let mut round = 0;
    until("every shard finds by it", || {
        round += 1;
        let ids = from_all_over(&site, &publisher, "trudy", round);
        settled_with(0, &site, &servers);
        let found = found(&servers[1], "trudy");
        ids.iter().all(|id| found.contains_key(id))
    });
    let by_it = found(&servers[0], "trudy");
    assert!(by_it.iter().all(|(id, times)| *times == 1 && !id.starts_with("trudy-0-")), "{by_it:?}");

    // The broker dies. Who sends by HTTP waits or is told to come again, and what is sent is taken once it is back.
    cluster.nodes()[0].kill();
    let line = login("away", "203.0.113.40", "mallory", 0);
    let taken = || servers[0].post("/api/v1/events", line.as_bytes()).is_some_and(|(status, _)| status == 202);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| until("it is taken", taken));
        assert_eq!(servers[1].get("/api/v1/status")["lag"], 0, "whoever looks is answered");
        cluster.nodes()[0].restart();
        sending.join().unwrap();
    });
    let mut all = from_all_over(&site, &publisher, "mallory", 0);
    all.insert("away".to_owned());
    let each_once: BTreeMap<String, usize> = all.into_iter().map(|id| (id, 1)).collect();
    until("all of them are detected", || found(&servers[1], "Mallory").len() >= each_once.len());
    settled(&site, &servers);
    assert_eq!(found(&servers[0], "Mallory"), each_once);
    for server in servers {
        assert_eq!(server.stop(), Some(0));
    }
}
