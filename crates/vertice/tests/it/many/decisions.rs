//! What a person decides at one instance holds at all of them, and in every shard.

use std::sync::atomic::AtomicUsize;

use super::*;

const SUPPRESSIONS: &str = "/api/v1/defense/suppressions";
const MALLORY: &str = "00000000-0000-4000-8000-0000000000aa";

/// An installation in use.
struct Scene<'a> {
    site: &'a Site,
    postgres: &'a Postgres,
    servers: Vec<Server>,
    /// How many logins there were, each from an address of its own.
    logins: AtomicUsize,
}

impl Scene<'_> {
    fn sql(&self, sql: &str) -> String {
        self.postgres.sql(&self.site.name, sql)
    }

    /// How many there are.
    fn number(&self, sql: &str) -> i64 {
        self.sql(sql).parse().unwrap_or_else(|_| panic!("{sql}: {}", self.sql(sql)))
    }

    /// Mallory tries to log in from new addresses, as many as it takes for each shard to get some; waits until all of
    /// that is detected, and gives what each shard says of one of its detections.
    fn attacks(&self, of: &str) -> Vec<String> {
        let count = 8 * PARTITIONS as usize;
        let first = self.logins.fetch_add(count, Ordering::Relaxed);
        let line = |n: usize| login(&format!("s{n}"), &format!("10.9.{}.{}", n / 250, n % 250 + 1), "mallory", n);
        let lines: Vec<String> = (first..first + count).map(line).collect();
        let sent = self.servers[first % 3].post("/api/v1/events", lines.join("\n").as_bytes()).unwrap();
        assert_eq!(sent.0, 202, "{}", sent.1);
        let all = first + count;
        let detected = format!("FROM vertice.record WHERE kind = 0 AND rule_id = '{MALLORY}'");
        until("all are detected", || self.number(&format!("SELECT count(*) {detected}")) == all as i64);
        let sql = format!(
            "SELECT DISTINCT shard || ' ' || coalesce({of}, '-') FROM (SELECT shard, json::jsonb AS d {detected}) AS d
             WHERE substr(d->>'event_id', 2)::int >= {first} ORDER BY 1"
        );
        self.sql(&sql).lines().map(str::to_owned).collect()
    }

    /// Waits until each shard says the same of all its new detections.
    fn until_all_say(&self, of: &str, wanted: &str) {
        let all: Vec<String> = (0..PARTITIONS).map(|shard| format!("{shard} {wanted}")).collect();
        until(&format!("every shard says {wanted} of {of}"), || self.attacks(of) == all);
    }

    /// Posts a decision to an instance, which has to take it.
    fn decide(&self, at: usize, path: &str, body: &Value) -> Value {
        let (status, answer) = self.servers[at].post_json(path, body).unwrap();
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// Puts a suppression of mallory on anybody in force; its id.
    fn suppress(&self) -> String {
        let proposed = self.decide(0, SUPPRESSIONS, &json!({"rule_id": MALLORY, "reason": "a test"}));
        assert_eq!(proposed["state"]["is"], "proposed", "{proposed}");
        let id = proposed["suppression_id"].as_str().unwrap().to_owned();
        let applied = self.decide(1, &format!("{SUPPRESSIONS}/{id}/apply"), &json!({"days": 1}));
        assert_eq!(applied["state"]["is"], "applied", "{applied}");
        id
    }

    /// A suppression, which every instance shows as one.
    fn shown(&self, id: &str) -> Value {
        let mut shown = self.servers.iter().map(|server| {
            let listed = server.all(SUPPRESSIONS);
            let of = listed.iter().filter(|s| s["suppression_id"] == id);
            assert_eq!(of.count(), 1, "{listed:?}");
            server.get(&format!("{SUPPRESSIONS}/{id}"))
        });
        shown.next_back().unwrap()
    }
}

const SUPPRESSED_BY: &str = "d->>'suppressed_by'";

#[test]
fn what_is_decided_at_one_instance_holds_at_all_and_in_every_shard() {
    let Some((dir, mut postgres)) = place("decisions of many instances") else { return };
    let events = format!("m{}-decided-events", std::process::id());
    // Told nobody of anything: nothing is done but by people here.
    let site = Site::new(dir.path(), &postgres, "decided", &events, "[response]\nmode = \"observe\"\n");
    let servers = site.start_all(3);
    until_owned(&servers);
    let mut scene = Scene { site: &site, postgres: &postgres, servers, logins: AtomicUsize::new(0) };
    scene.until_all_say(SUPPRESSED_BY, "-");
    suppressions(&mut scene);
    verdicts(&scene);
    keys(&scene.servers);
    let servers = scene.servers;
    readiness(&servers, &mut postgres);
    for server in servers {
        assert_eq!(server.stop(), Some(0));
    }
}

fn suppressions(scene: &mut Scene<'_>) {
    let id = scene.suppress();
    scene.until_all_say(SUPPRESSED_BY, &id);
    let threats = scene.number("SELECT count(*) FROM vertice.record WHERE kind = 1");
    let kept_back = || {
        let sql =
            format!("SELECT count(*) FROM vertice.record WHERE kind = 0 AND json::jsonb->>'suppressed_by' = '{id}'");
        json!(scene.number(&sql))
    };
    assert_eq!(scene.shown(&id)["suppressed"], kept_back(), "what all shards kept back is counted");
    // Whoever takes a shard from one that died has it as well.
    scene.servers.remove(2).kill();
    scene.servers.push(scene.site.start(2));
    until_owned(&scene.servers);
    scene.until_all_say(SUPPRESSED_BY, &id);
    assert_eq!(scene.number("SELECT count(*) FROM vertice.record WHERE kind = 1"), threats, "no threat was opened");
    // Lifted while somebody is away who has shards: what comes back hears of it.
    scene.servers.remove(1).kill();
    let lift = format!("{SUPPRESSIONS}/{id}?reason=over");
    // Whoever is to lift it may have been that one, until another is.
    until("it is lifted", || {
        matches!(scene.servers[1].delete(&lift), Some(200 | 202)) || scene.shown(&id)["state"]["is"] == "removed"
    });
    scene.servers.insert(1, scene.site.start(1));
    until_owned(&scene.servers);
    scene.until_all_say(SUPPRESSED_BY, "-");
    assert_eq!(scene.shown(&id)["state"]["is"], "removed");
}

fn verdicts(scene: &Scene<'_>) {
    let again = scene.suppress();
    // In a shard that is not the one that decides.
    let threat = "SELECT key FROM vertice.record WHERE kind = 1 AND shard = 3 AND state = 'open' LIMIT 1";
    let path = format!("/api/v1/defense/threats/{}/verdict", scene.sql(threat));
    scene.decide(0, &path, &json!({"verdict": "confirmed", "note": "a test"}));
    // From then on nobody suppresses it, whatever shard they ask.
    let refused = scene.decide(2, SUPPRESSIONS, &json!({"rule_id": MALLORY, "reason": "a test"}));
    assert_eq!(
        (&refused["state"]["is"], &refused["would_hide_confirmed"]),
        (&json!("refused"), &json!(1)),
        "{refused}"
    );
    let ended = scene.shown(&again);
    assert_eq!((&ended["state"]["is"], &ended["state"]["by"]), (&json!("removed"), &json!("engine")), "{ended}");
    scene.until_all_say(SUPPRESSED_BY, "-");
    let said = "(d->'triage'->'false_positive'->>'confirmed') || (d->'triage'->'false_positive'->>'false_positives')";
    scene.until_all_say(said, "10");
    // What is said last of a threat stands, once.
    scene.decide(1, &path, &json!({"verdict": "false_positive", "note": "it was a test"}));
    scene.until_all_say(said, "01");
}

fn keys(servers: &[Server]) {
    let (status, added) = servers[0].post_json("/api/v1/keys", &json!({"name": "bob"})).unwrap();
    assert_eq!(status, 201, "{added}");
    let key = added["key"].as_str().unwrap();
    let let_in = |server: &Server| server.answer_to(key, "/api/v1/keys").0 == 200;
    assert!(let_in(&servers[0]));
    until("the key is one at the others", || servers[1..].iter().all(let_in));
    assert_eq!(servers[1].delete("/api/v1/keys/bob"), Some(204));
    assert!(!let_in(&servers[1]));
    until("the key is none at the others", || !servers.iter().any(let_in));
    // Added and removed before the one that added it looks again.
    let added = servers[0].post_json("/api/v1/keys", &json!({"name": "eve"})).unwrap().1;
    assert_eq!(servers[1].delete("/api/v1/keys/eve"), Some(204));
    let let_in = |server: &Server| server.answer_to(added["key"].as_str().unwrap(), "/api/v1/keys").0 == 200;
    until("it is none where it was added", || !servers.iter().any(let_in));
}

fn readiness(servers: &[Server], postgres: &mut Postgres) {
    until("all are ready", || servers.iter().all(|server| server.answer("/ready").0 == 200));
    postgres.stop_hard();
    until("all say that the database is away", || {
        let away = |reasons: &Value| reasons.to_string().contains("the database is away");
        servers.iter().all(|server| matches!(server.answer("/ready"), (503, problem) if away(&problem["reasons"])))
    });
    postgres.begin();
    until("all are ready again", || servers.iter().all(|server| server.answer("/ready").0 == 200));
}
