//! What bouncers are told, as they ask for it.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use vertice_api::{KeyPolicy, Serving, serve};
use vertice_engine::Record;
use vertice_model::{Containment, ContainmentId, ContainmentState, Hold, Principal, Timestamp};
use vertice_testkit::{Random, long};

use crate::harness::{Answer, Rig, START, Setup};

/// What Debian's firewall bouncer calls itself.
const FIREWALL: &str = "crowdsec-firewall-bouncer/v0.0.25-4~deb12u1-debian-pragmatic";

/// A store without an engine, in which containments stand as they are put there.
fn rig() -> Rig {
    Rig::with(Setup { engine: false, ..Setup::default() })
}

/// A containment that really blocks an address, with other members put over it.
pub fn containment(name: &str, address: &str, over: Value) -> Containment {
    let mut all = json!({
        "containment_id": ContainmentId::derive(name).to_string(), "run_id": "00000000-0000-0000-0000-00000000000b",
        "threat_id": "00000000-0000-0000-0000-00000000000c", "playbook_id": "brute_force_response",
        "action_id": "block", "action_type": "firewall_rule", "entity_kind": "ip", "entity": address,
        "simulated": false,
        "action": { "verb": "firewall_rule", "rule": "block", "source_ip": address, "destination_ip": null,
                    "port": null, "protocol": null },
        "stage": "reflex", "hold": "full", "recurrences": 0, "renewals": 0, "state": { "is": "active" },
        "since": START, "lease_until": "2026-03-01T16:00:00Z",
    });
    for (name, value) in over.as_object().unwrap() {
        all[name] = value.clone();
    }
    serde_json::from_value(all).unwrap()
}

fn released() -> Value {
    json!({ "state": { "is": "released", "by": "ana", "reason": "" }, "stage": "healed" })
}

fn publish(rig: &Rig, containments: impl IntoIterator<Item = Containment>) {
    rig.publish(containments.into_iter().map(Record::Containment).collect());
}

async fn ask(rig: &Rig, method: &str, path: &str, key: &str, agent: &str) -> Answer {
    let request = Request::builder().method(method).uri(path).header("x-api-key", key).header("user-agent", agent);
    rig.send(request.body(Body::empty()).unwrap()).await
}

/// Adds a bouncer and returns its key.
pub async fn add(rig: &Rig, name: &str) -> String {
    let answer = rig.decide("POST", "/api/v1/bouncers", json!({ "name": name })).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.body["key"].as_str().unwrap().to_owned()
}

/// What is deleted and what is new, each as `type value`.
async fn pull_as(rig: &Rig, key: &str, startup: bool, agent: &str) -> (Vec<String>, Vec<String>) {
    let path = format!("/v1/decisions/stream?startup={startup}");
    let answer = ask(rig, "GET", &path, key, agent).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/json");
    let list = |name: &str| {
        let items = answer.body[name].as_array().unwrap();
        items.iter().map(|d| format!("{} {}", text(d, "type"), text(d, "value"))).collect()
    };
    (list("deleted"), list("new"))
}

async fn pull(rig: &Rig, key: &str, startup: bool) -> (Vec<String>, Vec<String>) {
    pull_as(rig, key, startup, "test/1").await
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| (*s).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn in_observe_mode_nothing_is_to_be_enforced() {
    let rig = Rig::new();
    rig.guess("203.0.113.1").await;
    let held = rig.get("/api/v1/defense/containments?active=true").await.body;
    assert!(!held["items"].as_array().unwrap().is_empty(), "something is simulated: {held}");
    let key = add(&rig, "edge").await;
    for path in ["/v1/decisions", "/v1/decisions?ip=203.0.113.1"] {
        assert_eq!(ask(&rig, "GET", path, &key, "test/1").await.text, "null");
    }
    for startup in [true, false, false] {
        let path = format!("/v1/decisions/stream?startup={startup}");
        assert_eq!(ask(&rig, "GET", &path, &key, "test/1").await.text, r#"{"deleted":[],"new":[]}"#);
    }
    rig.pass(100_000);
    assert_eq!(pull(&rig, &key, false).await, (vec![], vec![]), "what was only simulated is not taken back either");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_written_as_crowdsec_writes_it() {
    let rig = rig();
    let key = add(&rig, "edge").await;
    let simulated = containment("b", "203.0.113.2", json!({ "simulated": true }));
    publish(&rig, [containment("a", "203.0.113.1", json!({})), simulated]);
    rig.drift(60);
    let answer = ask(&rig, "GET", "/v1/decisions?ip=203.0.113.1", &key, "test/1").await;
    let decision = answer.body[0].clone();
    assert_eq!(answer.body.as_array().unwrap().len(), 1);
    let id = decision["id"].as_u64().unwrap();
    assert!(id > 0 && id < 1 << 53, "{id} is a number that every language keeps");
    let duration = text(&decision, "duration");
    assert!(duration.starts_with("3h58m59.9") && duration.ends_with('s'), "{duration}");
    let wanted = json!({
        "id": id, "uuid": ContainmentId::derive("a").to_string(), "origin": "crowdsec",
        "scenario": "vertice/brute_force_response", "scope": "Ip", "type": "ban", "value": "203.0.113.1",
        "duration": duration,
    });
    assert_eq!(decision, wanted);
    let all = ask(&rig, "GET", "/v1/decisions", &key, "test/1").await.body;
    assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
    for none in ["ip=203.0.113.2", "ip=203.0.113.3", "type=captcha", "scope=Country", "range=203.0.113.0/24"] {
        assert_eq!(ask(&rig, "GET", &format!("/v1/decisions?{none}"), &key, "test/1").await.text, "null", "{none}");
    }
    let inside = "/v1/decisions?range=203.0.113.0/24&contains=false";
    assert_eq!(ask(&rig, "GET", inside, &key, "test/1").await.body[0]["id"], json!(id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_a_bouncer_reads_decisions_and_nothing_else() {
    let public = Setup { engine: false, listener: "0.0.0.0:8000", policy: KeyPolicy::Always, ..Setup::default() };
    for rig in [rig(), Rig::with(public)] {
        let key = add(&rig, "edge").await;
        for path in ["/v1/decisions", "/v1/decisions/stream?startup=true"] {
            for method in ["GET", "HEAD"] {
                assert_eq!(ask(&rig, method, path, &key, "test/1").await.status, 200, "{method} {path}");
                assert_eq!(ask(&rig, method, path, &rig.key, "test/1").await.status, 200, "an admin's key may too");
            }
            for wrong in ["", "vk_00", "x"] {
                let refused = ask(&rig, "GET", path, wrong, "test/1").await;
                assert_eq!(
                    (refused.status.as_u16(), refused.text.as_str()),
                    (403, r#"{"message":"access forbidden"}"#)
                );
                assert_eq!(refused.headers["content-type"], "application/json");
            }
            let without = rig.get(path).await;
            assert_eq!((without.status.as_u16(), without.text.as_str()), (403, r#"{"message":"access forbidden"}"#));
        }
        for path in ["/", "/health", "/metrics", "/api/v1/status", "/api/v1/bouncers", "/api/v1/defense/containments"] {
            let refused = ask(&rig, "GET", path, &key, "test/1").await;
            assert_eq!(refused.status, 403, "{path}");
            assert!(text(&refused.body, "detail").contains("bouncer edge reads decisions"), "{}", refused.text);
        }
        let id = ContainmentId::derive("a");
        let release = ask(&rig, "DELETE", &format!("/api/v1/defense/containments/{id}"), &key, "test/1").await;
        assert_eq!(release.status, 403);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_read_is_told_as_crowdsec_tells_it() {
    let rig = rig();
    let key = add(&rig, "edge").await;
    for (method, path, status, wanted) in [
        ("GET", "/v1/decisions?ip=x", 400, "ip: \"x\" is neither an address nor a range"),
        ("GET", "/v1/decisions?ip=", 400, "ip: \"\" is neither an address nor a range"),
        ("GET", "/v1/decisions/stream?startup=maybe", 400, "startup: \"maybe\" is neither true nor false"),
        ("GET", "/v1/usage-metrics", 404, "there is nothing here; see /api/v1/openapi.json"),
        ("DELETE", "/v1/decisions", 405, "the Allow header names what this path understands"),
    ] {
        let answer = ask(&rig, method, path, &key, "test/1").await;
        assert_eq!((answer.status.as_u16(), &answer.body), (status, &json!({ "message": wanted })), "{path}");
    }
    // What newer bouncers send beside.
    let answer = ask(&rig, "GET", "/v1/decisions/stream?startup=true&community_pull=true&x=1", &key, "test/1").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_queries_are_answered() {
    let rig = rig();
    let key = add(&rig, "edge").await;
    publish(&rig, [containment("a", "203.0.113.1", json!({}))]);
    let mut random = Random(5);
    let seeds = [
        "/v1/decisions?ip=203.0.113.1&contains=false&type=ban",
        "/v1/decisions?range=203.0.113.0/24&scope=Ip&value=203.0.113.1&scenarios_containing=a,b",
        "/v1/decisions/stream?startup=true&scopes=ip,range&origins=crowdsec",
    ];
    let mut refused = 0;
    for round in 0..if long() { 100_000 } else { 2_000 } {
        let (path, query) = seeds[round % seeds.len()].split_once('?').unwrap();
        let query: String = random.mutated(query.as_bytes()).iter().map(|b| format!("%{b:02X}")).collect();
        let query = query.replace("%3D", "=").replace("%26", "&");
        let answer = ask(&rig, "GET", &format!("{path}?{query}"), &key, "test/1").await;
        match answer.status.as_u16() {
            200 => assert!(answer.body.is_array() || answer.body.is_object() || answer.text == "null", "{query}"),
            400 => {
                assert!(!text(&answer.body, "message").is_empty(), "{query}: {}", answer.text);
                refused += 1;
            }
            other => panic!("{other} for {query}: {}", answer.text),
        }
    }
    assert!(refused > 50, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bouncers_are_added_listed_and_removed() {
    let rig = rig();
    let key = add(&rig, "edge").await;
    for (name, status) in [("edge", 409), ("", 422), ("a b", 422), ("a/b", 422), (&"x".repeat(65), 422)] {
        let answer = rig.decide("POST", "/api/v1/bouncers", json!({ "name": name })).await;
        assert_eq!(answer.status.as_u16(), status, "{name}: {}", answer.text);
    }
    assert_eq!(rig.get("/api/v1/bouncers").await.status, 401, "who reads decisions is told to those who decide");
    let list = || rig.decide("GET", "/api/v1/bouncers", json!({}));
    let before = list().await.body["items"][0].clone();
    assert_eq!((text(&before, "name"), &before["last_pull"], &before["agent"]), ("edge", &Value::Null, &Value::Null));
    pull_as(&rig, &key, true, FIREWALL).await;
    let after = list().await;
    assert_eq!(text(&after.body["items"][0], "agent"), FIREWALL);
    assert!(text(&after.body["items"][0], "last_pull").starts_with("2026-03-01T12:00"));
    assert!(!after.text.contains(&key), "a key is shown once");

    let rig = rig.restart();
    assert_eq!(ask(&rig, "HEAD", "/v1/decisions", &key, "test/1").await.status, 200, "a key outlives a restart");
    let gone = rig.decide("DELETE", "/api/v1/bouncers/edge", json!({})).await;
    assert_eq!(gone.status, 204, "{}", gone.text);
    assert_eq!(ask(&rig, "HEAD", "/v1/decisions", &key, "test/1").await.status, 403);
    assert_eq!(rig.decide("DELETE", "/api/v1/bouncers/edge", json!({})).await.status, 404);
    let rig = rig.restart();
    assert_eq!(ask(&rig, "HEAD", "/v1/decisions", &key, "test/1").await.status, 403);
    assert_ne!(add(&rig, "edge").await, key);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bouncer_is_told_what_changed_since_it_asked() {
    let rig = rig();
    let (one, two) = (add(&rig, "one").await, add(&rig, "two").await);
    publish(&rig, [containment("a", "203.0.113.1", json!({}))]);
    assert_eq!(pull(&rig, &one, true).await, (vec![], strings(&["ban 203.0.113.1"])));
    assert_eq!(pull(&rig, &one, false).await, (vec![], vec![]));
    publish(&rig, [containment("b", "2001:db8::2", json!({}))]);
    assert_eq!(pull(&rig, &one, false).await, (vec![], strings(&["ban 2001:db8::2"])));
    publish(&rig, [containment("a", "203.0.113.1", released())]);
    // HEAD moves nothing, and neither does the list.
    assert_eq!(ask(&rig, "HEAD", "/v1/decisions/stream", &one, "test/1").await.text, "");
    ask(&rig, "GET", "/v1/decisions", &one, "test/1").await;
    assert_eq!(pull(&rig, &one, false).await, (strings(&["ban 203.0.113.1"]), vec![]));
    assert_eq!(pull(&rig, &one, false).await, (vec![], vec![]));
    // One that never began is told everything that holds.
    assert_eq!(pull(&rig, &two, false).await, (vec![], strings(&["ban 2001:db8::2"])));
    // One that begins again, and may have kept something, is told everything that ended meanwhile.
    publish(&rig, [containment("b", "2001:db8::2", json!({ "state": { "is": "expired" } }))]);
    assert_eq!(pull(&rig, &two, true).await, (strings(&["ban 2001:db8::2"]), vec![]));
    assert_eq!(pull(&rig, &one, false).await, (strings(&["ban 2001:db8::2"]), vec![]));
    let answer = ask(&rig, "GET", "/v1/decisions/stream?startup=true&origins=lists", &two, "test/1").await;
    assert_eq!(answer.text, r#"{"deleted":[],"new":[]}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_let_go_when_nothing_holds_it_any_more() {
    let rig = rig();
    let key = add(&rig, "edge").await;
    let ip = "203.0.113.1";
    let longer = json!({ "lease_until": "2026-03-01T18:00:00Z" });
    publish(&rig, [containment("a", ip, json!({})), containment("b", ip, longer)]);
    let all = ask(&rig, "GET", "/v1/decisions", &key, "test/1").await.body;
    assert_eq!(all.as_array().unwrap().len(), 1, "one address is one decision: {all}");
    assert!(text(&all[0], "duration").starts_with("5h59m59"), "{all}");
    pull(&rig, &key, true).await;
    publish(&rig, [containment("b", ip, released())]);
    let answer = ask(&rig, "GET", "/v1/decisions/stream", &key, "test/1").await.body;
    assert_eq!((&answer["deleted"], text(&answer["new"][0], "value")), (&json!([]), ip));
    assert!(text(&answer["new"][0], "duration").starts_with("3h59m59"), "the shorter lease holds: {answer}");
    publish(&rig, [containment("a", ip, released())]);
    assert_eq!(pull(&rig, &key, false).await, (strings(&["ban 203.0.113.1"]), vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_heals_is_loosened_step_by_step() {
    let rig = rig();
    let key = add(&rig, "edge").await;
    let ip = "203.0.113.1";
    let mut told = Vec::new();
    pull(&rig, &key, true).await;
    for over in [
        json!({ "stage": "durable" }),
        json!({ "stage": "probation", "hold": "reduced" }),
        json!({ "stage": "probation", "hold": "watch" }),
        json!({ "stage": "healed", "hold": "none", "state": { "is": "expired" } }),
    ] {
        publish(&rig, [containment("a", ip, over)]);
        let (deleted, new) = pull(&rig, &key, false).await;
        told.push(format!("-[{}] +[{}]", deleted.join(", "), new.join(", ")));
    }
    assert_eq!(
        told,
        [
            "-[] +[ban 203.0.113.1]",
            "-[ban 203.0.113.1] +[throttle 203.0.113.1]",
            "-[throttle 203.0.113.1, ban 203.0.113.1] +[]",
            "-[ban 203.0.113.1] +[]",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_longer_lease_reaches_bouncers_that_pass_over_what_they_have() {
    let rig = rig();
    let (firewall, proxy) = (add(&rig, "firewall").await, add(&rig, "proxy").await);
    publish(&rig, [containment("a", "203.0.113.1", json!({}))]);
    pull_as(&rig, &firewall, true, FIREWALL).await;
    pull(&rig, &proxy, true).await;
    rig.drift(600);
    let renewed = json!({ "lease_until": "2026-03-02T00:00:00Z", "renewals": 1 });
    let fresh = json!({ "since": "2026-03-01T12:10:00Z", "lease_until": "2026-03-01T13:00:00Z" });
    publish(&rig, [containment("a", "203.0.113.1", renewed), containment("b", "203.0.113.2", fresh)]);
    let both = strings(&["ban 203.0.113.1", "ban 203.0.113.2"]);
    assert_eq!(pull_as(&rig, &firewall, false, FIREWALL).await, (strings(&["ban 203.0.113.1"]), both.clone()));
    assert_eq!(pull(&rig, &proxy, false).await, (vec![], both), "others would take the deletion for the last word");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_leaves_nothing_out() {
    let rig = rig();
    let key = add(&rig, "edge").await;
    publish(&rig, [containment("a", "203.0.113.1", json!({})), containment("b", "203.0.113.2", json!({}))]);
    pull(&rig, &key, true).await;
    publish(&rig, [containment("a", "203.0.113.1", released())]);
    let rig = rig.restart();
    let (deleted, _) = pull(&rig, &key, false).await;
    assert_eq!(deleted, strings(&["ban 203.0.113.1"]));
    publish(&rig, [containment("b", "203.0.113.2", released())]);
    let rig = rig.restart();
    let (deleted, new) = pull(&rig, &key, false).await;
    assert!(deleted.contains(&"ban 203.0.113.2".to_owned()) && new.is_empty(), "{deleted:?} {new:?}");
    // Once the place is on disk, nothing is repeated either.
    let source = format!("decisions/{}", hex(&vertice_api::digest(&key)));
    let end = rig.store.latest_change().unwrap().unwrap().to_string();
    let kept = || rig.store.cursor(&source).unwrap().map(|v| String::from_utf8(v).unwrap()).unwrap_or_default();
    while !kept().starts_with(&format!("{end} ")) {
        tokio::task::yield_now().await;
    }
    let rig = rig.restart();
    assert_eq!(pull(&rig, &key, false).await, (vec![], vec![]));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_containments_are_told_and_taken_back() {
    let rig = rig();
    let key = add(&rig, "edge").await;
    let of = |over: &Value| -> Vec<Containment> {
        let one = |i: u32| containment(&i.to_string(), &format!("10.1.{}.{}", i / 200, i % 200), over.clone());
        (0..10_000).map(one).collect()
    };
    publish(&rig, of(&json!({})));
    assert_eq!(pull(&rig, &key, true).await.1.len(), 10_000);
    assert_eq!(pull(&rig, &key, false).await, (vec![], vec![]));
    publish(&rig, of(&json!({ "renewals": 1, "lease_until": "2026-03-02T00:00:00Z" })));
    let (deleted, new) = pull_as(&rig, &key, false, FIREWALL).await;
    assert_eq!((deleted.len(), new.len()), (10_000, 10_000));
    let one = ask(&rig, "GET", "/v1/decisions?ip=10.1.49.199", &key, "test/1").await.body;
    assert_eq!(one.as_array().unwrap().len(), 1);
    publish(&rig, of(&released()));
    let (deleted, new) = pull(&rig, &key, false).await;
    assert_eq!((deleted.len(), new.len()), (10_000, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_did_not_get_through_is_told_again() {
    let rig = rig();
    let key = add(&rig, "edge").await;
    pull(&rig, &key, true).await;
    let many =
        (0..40_000_u32).map(|i| containment(&i.to_string(), &format!("10.{}.{}.7", i / 250, i % 250), json!({})));
    publish(&rig, many.collect::<Vec<_>>());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, rig.router.clone(), Serving::default(), rig.stop.clone()));
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET /v1/decisions/stream HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {key}\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 4_096];
    client.read_exact(&mut first).await.unwrap();
    assert!(first.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&first));
    drop(client);
    assert_eq!(pull(&rig, &key, false).await.1.len(), 40_000);
    assert_eq!(pull(&rig, &key, false).await.1.len(), 0);
}

/// A bouncer as the firewall bouncer is: deletes first, passes over addresses that it has, and lets go by itself when
/// the time it was told is over.
#[derive(Default)]
struct Firewall(BTreeMap<String, i64>);

/// A bouncer as those with a dictionary are: takes what is new over what it has, and then deletes by address.
#[derive(Default)]
struct Dictionary(BTreeMap<String, i64>);

fn until(decision: &Value, now: i64) -> i64 {
    let text = text(decision, "duration").trim_end_matches('s');
    let mut us = 0;
    let mut rest = text;
    for (unit, factor) in [("h", 3_600_000_000_i64), ("m", 60_000_000)] {
        if let Some((n, more)) = rest.split_once(unit) {
            us += n.parse::<i64>().unwrap() * factor;
            rest = more;
        }
    }
    now + us + (rest.parse::<f64>().unwrap() * 1e6).round() as i64
}

fn bans<'a>(answer: &'a Value, list: &str) -> impl Iterator<Item = (String, &'a Value)> {
    let all = answer[list].as_array().unwrap().iter().filter(|d| d["type"] == "ban");
    all.map(|d| (text(d, "value").to_owned(), d))
}

impl Firewall {
    fn take(&mut self, answer: &Value, now: i64) {
        self.0.retain(|_, until| *until > now);
        for (address, _) in bans(answer, "deleted") {
            self.0.remove(&address);
        }
        for (address, decision) in bans(answer, "new") {
            self.0.entry(address).or_insert_with(|| until(decision, now));
        }
    }
}

impl Dictionary {
    fn take(&mut self, answer: &Value, now: i64) {
        self.0.retain(|_, until| *until > now);
        for (address, decision) in bans(answer, "new") {
            self.0.insert(address, until(decision, now));
        }
        for decision in answer["deleted"].as_array().unwrap() {
            self.0.remove(text(decision, "value"));
        }
    }
}

/// What really holds: for each address the longest ban, and when it ends.
fn truth(containments: &[Containment]) -> BTreeMap<String, i64> {
    let mut all = BTreeMap::new();
    for c in containments {
        if c.state == ContainmentState::Active && c.hold == Hold::Full && !c.simulated {
            let longest = all.entry(c.entity.name().to_owned()).or_default();
            *longest = c.lease_until.as_micros().max(*longest);
        }
    }
    all
}

/// Whether a bouncer holds what holds, as long. What ends within a second need not be told any more.
fn same(has: &BTreeMap<String, i64>, holds: &BTreeMap<String, i64>, now: i64) -> bool {
    let lasting = |all: &BTreeMap<String, i64>| -> Vec<(String, i64)> {
        let all = all.iter().filter(|(_, until)| **until > now + 1_001_000);
        // The clock of a rig goes on with each look at it.
        all.map(|(address, until)| (address.clone(), (until + 500_000) / 1_000_000)).collect()
    };
    lasting(has) == lasting(holds)
}

/// Begins, renews, loosens, ends and simulates containments at random, several for one address; two kinds of bouncers
/// pull now and then, and everything is restarted in between. After each pull a bouncer holds what holds, as long.
#[tokio::test(flavor = "multi_thread")]
async fn bouncers_hold_what_holds_whatever_comes_in_between() {
    let mut random = Random(77);
    let mut rig = rig();
    let keys = [add(&rig, "firewall").await, add(&rig, "dictionary").await];
    let (mut firewall, mut dictionary) = (Firewall::default(), Dictionary::default());
    let mut all = Vec::new();
    let (mut compared, mut held) = (0, 0);
    for step in 0..if long() { 20_000 } else { 2_000 } {
        match random.below(10) {
            0..=5 => publish(&rig, [change(&mut all, &mut random, rig.now())]),
            6 => rig.drift(random.below(2_000) as i64),
            7 if random.below(20) == 0 => rig = rig.restart(),
            n => {
                let (is_firewall, startup) = (n % 2 == 0, compared < 2 || random.below(50) == 0);
                let path = format!("/v1/decisions/stream?startup={startup}");
                let (key, agent) = if is_firewall { (&keys[0], FIREWALL) } else { (&keys[1], "test/1") };
                let answer = ask(&rig, "GET", &path, key, agent).await.body;
                let now = rig.now();
                let has = if is_firewall {
                    // It begins with nothing; the other one finds what it kept.
                    firewall.0.retain(|_, _| !startup);
                    firewall.take(&answer, now);
                    &firewall.0
                } else {
                    dictionary.take(&answer, now);
                    &dictionary.0
                };
                let holds = truth(&all);
                assert!(
                    same(has, &holds, now),
                    "step {step}, {agent}: {has:?}, and {holds:?} holds at {now}: {answer}"
                );
                compared += 1;
                held += has.len();
            }
        }
    }
    assert!(compared > 400 && held > 800, "{compared} {held}");
}

/// Begins a containment, or changes one that holds.
fn change(all: &mut Vec<Containment>, random: &mut Random, now: i64) -> Containment {
    let time = |us: i64| json!(Timestamp::from_micros(us));
    let lease = |random: &mut Random| time(now + 60_000_000 * (1 + random.below(240) as i64));
    let active: Vec<usize> = (0..all.len()).filter(|i| all[*i].state == ContainmentState::Active).collect();
    if active.len() < 4 || (active.len() < 12 && random.below(3) == 0) {
        let over = json!({ "since": time(now), "lease_until": lease(random), "simulated": random.below(8) == 0 });
        let address = format!("203.0.113.{}", random.below(6));
        all.push(containment(&all.len().to_string(), &address, over));
        return all[all.len() - 1].clone();
    }
    let old = &mut all[active[random.below(active.len())]];
    match random.below(8) {
        0 => old.hold = Hold::Reduced,
        1 => old.hold = Hold::Watch,
        2 => old.hold = Hold::Full,
        3 => old.state = ContainmentState::Expired,
        4 => old.state = ContainmentState::Released { by: Principal("ana".into()), reason: String::new() },
        _ => old.lease_until = serde_json::from_value(lease(random)).unwrap(),
    }
    old.clone()
}
