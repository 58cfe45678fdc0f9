//! Content is read again while events flow: nothing is lost, nothing waits, and a broken file changes nothing.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;

use crate::process::{KEY, Server, until, vertice};

/// A rule that finds failed logins of one user.
fn rule(dir: &Path, name: &str, text: &str) {
    std::io::Write::write_all(&mut std::fs::File::create(dir.join(name)).unwrap(), text.as_bytes()).unwrap();
}

fn for_user(number: u32, user: &str) -> String {
    format!(
        "title: Guessing {user}\nid: 00000000-0000-4000-8000-00000000000{number}\nstatus: test\nlevel: low\n\
         logsource: {{category: authentication}}\n\
         detection: {{s: {{event.action: failed_login, user.name: {user}}}, condition: s}}\n"
    )
}

fn send(server: &Server, user: &str) {
    let line = format!("2026-03-01T10:00:00Z web1 sshd[1]: Failed password for {user} from 203.0.113.9 port 1 ssh2\n");
    let (status, answer) = server.post("/api/v1/events", line.as_bytes()).expect("the server is there");
    assert_eq!(status, 202, "{answer}");
}

/// How many detections there are by the rule for this user.
fn found(server: &Server, user: &str) -> usize {
    server.settled();
    let title = format!("Guessing {user}");
    server.all("/api/v1/defense/detections").iter().filter(|d| d["rule_title"] == title.as_str()).count()
}

fn digest(server: &Server) -> String {
    server.get("/api/v1/content")["digest"].as_str().expect("a digest").to_owned()
}

/// Waits until another content is in force than this.
fn changed(server: &Server, from: &str) {
    until("another content is in force", || digest(server) != from);
}

fn reload(server: &Server) -> (Option<i32>, String) {
    let output = vertice().args(["rules", "reload", "--url", &server.url, "--key", KEY]).output().expect("it runs");
    let told = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&told).into_owned())
}

/// Sends the rest of the test's events from another thread until it is dropped.
fn while_events_flow(server: &Server, test: impl FnOnce(&AtomicUsize)) -> usize {
    let (sent, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                send(server, "alice");
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&sent)));
        stop.store(true, Ordering::Relaxed);
        sender.join().expect("every event is taken in");
        result.unwrap_or_else(|e| std::panic::resume_unwind(e));
    });
    sent.into_inner()
}

#[test]
fn rules_change_while_events_flow_and_none_is_lost() {
    let (data, rules) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = rules.path();
    rule(dir, "a.yml", &for_user(1, "alice"));
    let server = Server::start_with(data.path(), &["--rules", dir.to_str().unwrap()]);
    let sent = while_events_flow(&server, |sent| {
        send(&server, "bob");
        assert_eq!(found(&server, "bob"), 0);

        // A good set, by command.
        rule(dir, "b.yml", &for_user(2, "bob"));
        let (before, first) = (sent.load(Ordering::Relaxed), digest(&server));
        let (code, told) = reload(&server);
        // On a slow machine the server may have noticed the file by itself before it is told.
        assert!(code == Some(0) && told.contains(" rules, "), "{code:?} {told}");
        assert_ne!(digest(&server), first);
        assert!(sent.load(Ordering::Relaxed) > before, "events were taken in meanwhile");
        send(&server, "bob");
        assert_eq!(found(&server, "bob"), 1, "the new rule finds, and only from then on");
        let (code, told) = reload(&server);
        assert!(code == Some(0) && told.starts_with("nothing changed: "), "{code:?} {told}");

        // A broken one beside a good one: neither goes into force.
        let good = digest(&server);
        rule(dir, "c.yml", &for_user(3, "carol"));
        rule(dir, "d.yml", &for_user(4, "dave").replace("condition: s", "condition: t"));
        let (code, told) = reload(&server);
        assert!(code == Some(6) && told.contains("d.yml:6:") && told.contains("selection `t`"), "{code:?} {told}");
        let (status, problem) = server.post("/api/v1/content/reload", b"").expect("it answers");
        assert_eq!((status, &problem["type"]), (422, &Value::from("urn:vertice:problem:content-refused")));
        assert_eq!(problem["refused"][0]["line"], 6, "{problem}");
        send(&server, "carol");
        send(&server, "bob");
        assert_eq!((found(&server, "bob"), found(&server, "carol"), digest(&server)), (2, 0, good.clone()));
        let last = server.get("/api/v1/content")["last_reload"].clone();
        assert!(last["problem"].as_str().is_some_and(|p| p.contains("d.yml:6:")), "{last}");
        let listed = vertice().args(["rules", "list", "--url", &server.url]).output().unwrap().stdout;
        assert!(String::from_utf8_lossy(&listed).contains("Not the latest: "));

        // Mended, by signal.
        rule(dir, "d.yml", &for_user(4, "dave"));
        let pid = rustix::process::Pid::from_raw(server.pid().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
        changed(&server, &good);
        send(&server, "carol");
        send(&server, "dave");
        assert_eq!((found(&server, "carol"), found(&server, "dave")), (1, 1));
        assert_eq!(server.get("/api/v1/content")["last_reload"]["problem"], Value::Null);
    });
    assert_eq!(found(&server, "alice"), sent, "each event was judged, and once");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn changed_files_are_noticed_and_stay_in_force_after_a_restart() {
    let (data, content) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for kind in ["rules", "mappings"] {
        std::fs::create_dir(content.path().join(kind)).unwrap();
    }
    let dir = &content.path().join("rules");
    rule(dir, "a.yml", &for_user(1, "alice"));
    let arguments = ["--content", content.path().to_str().unwrap()];
    let server = Server::start_with(data.path(), &arguments);
    let first = digest(&server);
    rule(dir, "b.yml", &for_user(2, "bob"));
    changed(&server, &first);
    send(&server, "bob");
    assert_eq!(found(&server, "bob"), 1);
    let second = digest(&server);
    server.kill();
    let server = Server::start_with(data.path(), &arguments);
    assert_eq!((digest(&server), found(&server, "bob")), (second, 1));
    let (status, _) = server.post("/api/v1/content/reload", b"").expect("it answers");
    assert_eq!(status, 200);
    rule(content.path(), "mappings/x.yml", "description: x\nreads: xml\n");
    let (status, problem) = server.post("/api/v1/content/reload", b"").expect("it answers");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(status == 422 && detail.contains("mappings/x.yml:2"), "{status} {problem}");
    std::fs::remove_dir_all(content.path()).unwrap();
    let (status, problem) = server.post("/api/v1/content/reload", b"").expect("it answers");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(status == 422 && detail.contains("there is no such content directory"), "{status} {problem}");
    assert_eq!(found(&server, "bob"), 1, "what is in force stays");
}
