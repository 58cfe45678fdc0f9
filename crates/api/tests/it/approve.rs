//! Answering by a link.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use vertice_api::Links;
use vertice_engine::Record;
use vertice_model::{Principal, Question, Run, Timestamp};

use crate::harness::{Answer, Rig, START, Setup, links};

/// A rig in which a guesser was noticed, and the questions that wait, oldest first.
async fn asked() -> (Rig, Vec<Question>) {
    let rig = Rig::new();
    rig.guess("203.0.113.1").await;
    let page = rig.get("/api/v1/defense/approvals").await.body;
    let questions: Vec<Question> = serde_json::from_value(page["items"].clone()).unwrap();
    assert!(questions.len() >= 2, "{page}");
    (rig, questions)
}

fn path(question: &Question, approver: &str) -> String {
    path_until(question, approver, question.expires_at)
}

fn path_until(question: &Question, approver: &str, until: Timestamp) -> String {
    let approver = Principal(approver.to_owned());
    Links::path(&links().issue(question.question_id, &question.plan_digest, &approver, until))
}

/// Presses a button of the page.
async fn press(rig: &Rig, path: &str, form: &'static str) -> Answer {
    let request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
    rig.send(request.body(Body::from(form)).unwrap()).await
}

async fn stands(rig: &Rig, question: &Question) -> Value {
    rig.get(&format!("/api/v1/defense/approvals/{}", question.question_id)).await.body
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_the_plan_and_looking_at_it_answers_nothing() {
    let (rig, questions) = asked().await;
    let question = &questions[0];
    let path = path(question, "ana@example.org");
    let end = rig.store.log_end();
    for method in ["GET", "HEAD", "GET"] {
        let request = Request::builder().method(method).uri(&path).body(Body::empty()).unwrap();
        let page = rig.send(request).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'nonce-"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(page.headers["referrer-policy"], "no-referrer");
        assert_eq!(page.headers["cache-control"], "no-store");
        assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
        if method == "HEAD" {
            continue;
        }
        for wanted in [
            "Vertice asks ana@example.org",
            "203.0.113.1",
            "<dt>Action</dt>",
            "<dt>Touches</dt><dd>ip 203.0.113.1</dd>",
            "<dt>Undone by</dt>",
            "<dt>Risk</dt>",
            "Vertice only observes",
            " left</strong>",
            "name=\"answer\" value=\"approve\"",
            "name=\"answer\" value=\"deny\"",
            &question.plan_digest,
        ] {
            assert!(page.text.contains(wanted), "{wanted} is not in {}", page.text);
        }
        for banned in ["<script", "javascript:", "http://", "https://", "<img", "@import", "url("] {
            assert!(!page.text.contains(banned), "{banned} is in {}", page.text);
        }
    }
    assert_eq!(rig.store.log_end(), end);
    assert_eq!(stands(&rig, question).await["answered"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_button_answers_once() {
    let (rig, questions) = asked().await;
    let (yes, no) = (path(&questions[0], "ana"), path(&questions[1], "bob"));
    let approved = press(&rig, &yes, "answer=approve").await;
    assert_eq!(approved.status, 200, "{}", approved.text);
    assert!(approved.text.contains("<h1>Approved</h1>") && approved.text.contains("ana (link)"), "{}", approved.text);
    let denied = press(&rig, &no, "answer=deny").await;
    assert!(denied.text.contains("<h1>Denied</h1>"), "{}", denied.text);
    let (first, second) = (stands(&rig, &questions[0]).await, stands(&rig, &questions[1]).await);
    assert_eq!((&first["state"], &first["answered"][0]), (&json!("approved"), &json!("ana (link)")));
    assert_eq!((&second["state"], &second["answered"][0]), (&json!("denied"), &json!("bob (link)")));
    let end = rig.store.log_end();
    // A second time, the other button, and a link to somebody else: all say how it ended.
    let other = path(&questions[0], "eve");
    for path in [&yes, &other] {
        for form in ["answer=approve", "answer=deny"] {
            let again = press(&rig, path, form).await;
            assert_eq!(again.status, 409, "{}", again.text);
            assert!(again.text.contains("already approved by ana (link) at "), "{}", again.text);
        }
        let page = rig.get(path).await;
        assert_eq!(page.status, 200);
        assert!(page.text.contains("already approved by ana (link)") && !page.text.contains("<form"), "{}", page.text);
    }
    assert_eq!(rig.store.log_end(), end, "what can not take does not reach the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_takes() {
    let (rig, questions) = asked().await;
    let paths: Vec<String> = (0..8).map(|i| path(&questions[0], &format!("p{i}"))).collect();
    let form = |i: usize| if i.is_multiple_of(2) { "answer=approve" } else { "answer=deny" };
    let mut tasks = tokio::task::JoinSet::new();
    for (i, path) in paths.into_iter().enumerate() {
        let router = rig.router.clone();
        tasks.spawn(async move {
            let request = Request::post(path).body(Body::from(form(i))).unwrap();
            tower::ServiceExt::oneshot(router, request).await.unwrap().status().as_u16()
        });
    }
    let mut statuses = tasks.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409, 409, 409, 409, 409]);
    assert!(stands(&rig, &questions[0]).await["answered"][0].as_str().unwrap().ends_with(" (link)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_answers_nothing() {
    let (rig, questions) = asked().await;
    let path = path(&questions[0], "ana");
    for form in ["", "answer=", "answer=yes", "answer=approve&answer=deny", "{\"approve\":true}"] {
        let refused = press(&rig, &path, form).await;
        assert_eq!(refused.status, 422, "{form}");
        assert!(refused.text.contains("neither yes nor no"), "{}", refused.text);
    }
    let long = Request::post(&path).body(Body::from("answer=approve".repeat(10_000))).unwrap();
    assert_eq!(rig.send(long).await.status, 413);
    assert_eq!(stands(&rig, &questions[0]).await["answered"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_void_after_its_time_and_for_another_plan() {
    let (rig, questions) = asked().await;
    let question = &questions[0];
    let soon = path_until(question, "ana", START.parse::<Timestamp>().unwrap().plus_seconds(30));
    let long = path(question, "ana");
    let other = Question { plan_digest: "0".repeat(64), ..question.clone() };
    let other = path(&other, "ana");
    for (method, path) in [("GET", &other), ("POST", &other)] {
        let request = Request::builder().method(method).uri(path).body(Body::from("answer=approve")).unwrap();
        let refused = rig.send(request).await;
        assert_eq!(refused.status, 409);
        assert!(refused.text.contains("not the one that is asked about now"), "{}", refused.text);
    }
    rig.drift(60);
    for refused in [rig.get(&soon).await, press(&rig, &soon, "answer=approve").await] {
        assert_eq!(refused.status, 410);
        assert!(refused.text.contains("This link was good until 2026-03-01T12:00:30Z."), "{}", refused.text);
    }
    assert_eq!(rig.get(&long).await.status, 200, "another link to the same question");
    rig.drift(3_600);
    assert_eq!(press(&rig, &long, "answer=approve").await.status, 410);
    assert_eq!(stands(&rig, question).await["answered"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_not_made_here_leads_nowhere() {
    let (rig, questions) = asked().await;
    let good = path(&questions[0], "ana");
    let question = Links::new(&[8; 32]);
    let until = questions[0].expires_at;
    let foreign = question.issue(questions[0].question_id, &questions[0].plan_digest, &Principal("ana".into()), until);
    let cut = &good[..good.len() - 1];
    for path in ["/approve/x", "/approve/%22%3E%3Cscript%3E", &format!("{good}A"), cut, &Links::path(&foreign)] {
        for refused in [rig.get(path).await, press(&rig, path, "answer=approve").await] {
            assert_eq!(refused.status, 404, "{path}");
            assert!(refused.text.contains("This link leads nowhere"), "{}", refused.text);
        }
    }
    assert_eq!(stands(&rig, &questions[0]).await["answered"], Value::Null);
}

/// A question and the run it belongs to, with everything in them that an attacker may have written.
fn hostile() -> (Question, Run) {
    let evil = "</h1><script>alert('x')</script>\u{202e}\u{1b}[2J\"onload=\"";
    let question = json!({
        "question_id": "00000000-0000-0000-0000-00000000000a", "run_id": "00000000-0000-0000-0000-00000000000b",
        "threat_id": "00000000-0000-0000-0000-00000000000c", "playbook_id": evil, "action_id": evil,
        "action_type": evil, "prompt": evil, "severity": "high", "plan_digest": "d", "simulated": false,
        "urgent": true, "on_timeout": "escalate", "asked_at": START, "expires_at": "2026-03-02T00:00:00Z",
        "state": "pending", "answered": null,
    });
    let run = json!({
        "run_id": "00000000-0000-0000-0000-00000000000b", "playbook_id": evil, "playbook_version": "1",
        "threat_id": "00000000-0000-0000-0000-00000000000c", "plan_digest": "d", "state": "waiting", "reason": null,
        "success": false, "simulated": false, "actions_executed": 0, "planned_at": START, "timestamp": START,
        "steps": [{
            "action_id": evil, "action_type": evil, "parameters": { "user": evil }, "inverse": evil, "lease_s": null,
            "touches": [{ "entity_kind": "user", "entity": evil }], "depends_on": [], "state": { "is": "asked" },
            "question_id": null,
        }],
    });
    (serde_json::from_value(question).unwrap(), serde_json::from_value(run).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_attacker_wrote_is_text() {
    let rig = Rig::with(Setup { engine: false, ..Setup::default() });
    let (question, run) = hostile();
    let path = path(&question, "<b>ana</b>");
    rig.publish(vec![Record::Question(question)]);
    assert_eq!(rig.get(&path).await.status, 404, "without its run there is no plan to show");
    rig.publish(vec![Record::Run(run)]);
    let page = rig.get(&path).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(page.text.matches("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;").count() >= 7, "{}", page.text);
    assert!(page.text.contains("&lt;b&gt;ana&lt;/b&gt;") && page.text.contains("once more"), "{}", page.text);
    for banned in ["<script", "<b>", "\u{202e}", "\u{1b}", "\"onload"] {
        assert!(!page.text.contains(banned), "{banned:?} is in {}", page.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_several_must_say_yes_each_says_it_once() {
    let rig = Rig::with(Setup { engine: false, ..Setup::default() });
    let (question, run) = hostile();
    let said = vec![(Principal("ana (link)".into()), START.parse::<Timestamp>().unwrap())];
    let question = Question { approvals_needed: 2, approvals: said, risk: "high".into(), ..question };
    let (ana, bob) = (path(&question, "ana"), path(&question, "bob"));
    rig.publish(vec![Record::Question(question), Record::Run(run)]);
    let end = rig.store.log_end();
    let page = rig.get(&bob).await.text;
    assert!(page.contains("<dt>It takes</dt><dd>1 of 2 people, and no no</dd>") && page.contains("<form"), "{page}");
    assert!(page.contains("<dt>Risk</dt><dd>high</dd>"), "{page}");
    for again in [rig.get(&ana).await, press(&rig, &ana, "answer=approve").await] {
        assert!(again.text.contains("You said yes at 2026-03-01 12:00:00 UTC; 1 of 2 people have"), "{}", again.text);
        assert!(!again.text.contains("<form"));
    }
    assert_eq!(rig.store.log_end(), end);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_needs_no_key_anywhere_and_opens_nothing_else() {
    let rig = Rig::with(Setup { engine: false, listener: "192.0.2.1:8000", ..Setup::default() });
    let (question, run) = hostile();
    let path = path(&question, "ana");
    rig.publish(vec![Record::Question(question), Record::Run(run)]);
    assert_eq!(rig.get(&path).await.status, 200);
    assert_eq!(rig.get("/approve").await.status, 401);
    assert_eq!(rig.get("/api/v1/defense/approvals").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_works_through_a_proxy_to_loopback() {
    let (rig, questions) = asked().await;
    // `null` is what browsers send from a page that gives no referrer.
    for (question, origin) in questions.iter().zip(["https://soc.example", "null"]) {
        let request = Request::post(path(question, "ana")).header("host", "127.0.0.1:8000").header("origin", origin);
        let answer = rig.send(request.body(Body::from("answer=deny")).unwrap()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
}

#[test]
fn the_secret_is_made_once_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let clock: vertice_store::Clock = std::sync::Arc::new(Timestamp::default);
        vertice_store::Store::open(dir.path(), clock, vertice_store::Options::default()).unwrap()
    };
    let store = open();
    let secret = vertice_api::link_secret(&store).unwrap();
    assert_eq!(vertice_api::link_secret(&store).unwrap(), secret);
    drop(store);
    let store = open();
    assert_eq!(vertice_api::link_secret(&store).unwrap(), secret);
    assert_ne!(secret, [0; 32]);
    store.set_meta("answer_links_secret", "x").unwrap();
    assert!(vertice_api::link_secret(&store).unwrap_err().to_string().contains("is damaged"));
}
