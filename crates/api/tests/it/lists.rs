//! Detections, threats and explanations, out.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use vertice_api::Page;
use vertice_model::{Detection, Threat, Timestamp};

use crate::harness::Rig;

async fn detections(rig: &Rig, query: &str) -> Page<Detection> {
    let answer = rig.get(&format!("/api/v1/defense/detections{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text);
    serde_json::from_value(answer.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn paging_gives_each_detection_once_while_new_ones_come() {
    for limit in [1, 2, 100] {
        let rig = Rig::new();
        rig.guess("203.0.113.1").await;
        let mut hosts = 2..=6;
        let mut query = format!("?limit={limit}");
        let mut seen = Vec::new();
        loop {
            let page = detections(&rig, &query).await;
            assert!(page.items.len() <= limit);
            seen.extend(page.items.into_iter().map(|d| (d.position, d.detection_id)));
            let Some(cursor) = page.next_cursor else { break };
            query = format!("?limit={limit}&cursor={cursor}");
            if let Some(host) = hosts.next() {
                rig.guess(&format!("203.0.113.{host}")).await;
            }
        }
        let all = detections(&rig, "?limit=1000").await;
        assert!(limit == 100 || hosts.is_empty(), "new ones came while they were paged");
        let wanted: Vec<_> = all.items.iter().map(|d| (d.position, d.detection_id)).collect();
        assert_eq!(seen, wanted, "limit {limit}");
        assert!(wanted.is_sorted_by_key(|(position, _)| *position));
        let unique: BTreeSet<_> = wanted.iter().map(|(_, id)| *id).collect();
        assert_eq!(unique.len(), wanted.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn detections_are_filtered() {
    let rig = Rig::new();
    rig.guess("203.0.113.1").await;
    rig.guess("203.0.113.2").await;
    let all = detections(&rig, "").await;
    let first = all.items.first().unwrap();
    let of = |d: &Page<Detection>| d.items.iter().map(|d| d.detection_id).collect::<BTreeSet<_>>();
    let about = detections(&rig, "?entity=203.0.113.2").await;
    assert!(!about.items.is_empty() && about.items.len() < all.items.len());
    assert!(about.items.iter().all(|d| d.entity.name() == "203.0.113.2"));
    let rule = detections(&rig, &format!("?rule={}", first.rule_id)).await;
    assert!(rule.items.iter().all(|d| d.rule_id == first.rule_id) && !rule.items.is_empty());
    let threat = first.threat_id.unwrap().to_string();
    let by_threat = detections(&rig, &format!("?threat={threat}")).await;
    assert_eq!(of(&by_threat), of(&detections(&rig, &format!("?threat={}", &threat[..8])).await));
    assert!(by_threat.items.iter().all(|d| d.threat_id == first.threat_id));
    assert_eq!(of(&detections(&rig, "?severity=info").await), of(&all));
    let critical = detections(&rig, "?severity=critical").await;
    assert!(critical.items.iter().all(|d| d.severity == vertice_model::Severity::Critical));
    assert_eq!(of(&detections(&rig, "?since=2030-01-01T00:00:00Z").await).len(), 0);
    let mut backwards = detections(&rig, "?order=desc").await.items;
    backwards.reverse();
    assert_eq!(backwards, all.items);
    let one = rig.get(&format!("/api/v1/defense/detections/{}", first.detection_id)).await;
    assert_eq!(serde_json::from_value::<Detection>(one.body).unwrap(), *first);
}

#[tokio::test(flavor = "multi_thread")]
async fn threats_are_listed_found_by_a_prefix_and_explained() {
    let rig = Rig::new();
    rig.guess("203.0.113.1").await;
    let active: Page<Threat> = serde_json::from_value(rig.get("/api/v1/defense/threats/active").await.body).unwrap();
    let threat = active.items.first().unwrap();
    let id = threat.threat_id.to_string();
    for (query, count) in [
        ("", 1),
        ("?state=open", 1),
        ("?state=quiet", 0),
        ("?state=judged", 0),
        ("?state=merged", 0),
        ("?entity=203.0.113.1", 1),
        ("?entity=203.0.113.2", 0),
        ("?severity=info&limit=1&order=desc", 1),
    ] {
        let page = rig.get(&format!("/api/v1/defense/threats{query}")).await;
        assert_eq!(page.body["items"].as_array().unwrap().len(), count, "{query}: {}", page.text);
    }
    assert_eq!(rig.get(&format!("/api/v1/defense/threats/{}", &id[..4])).await.body["threat_id"], json!(id));

    let story = rig.get(&format!("/api/v1/defense/threats/{}/explain", &id[..8])).await;
    assert_eq!(story.status, 200, "{}", story.text);
    let story = story.body;
    assert_eq!(story["threat"]["threat_id"], json!(id));
    assert_eq!(story["detections_total"], json!(threat.detections));
    let told = story["detections"].as_array().unwrap();
    assert_eq!(told.len() as u64, threat.detections);
    for detection in told {
        let events = detection["events"].as_array().unwrap();
        let last = events.last().unwrap();
        assert_eq!(last["position"], detection["detection"]["position"]);
        assert!(last["raw"]["line"].as_str().unwrap().contains("203.0.113.1"));
        assert!(!detection["detection"]["matched"].as_array().unwrap().is_empty());
        let positions: Vec<u64> = events.iter().map(|e| e["position"].as_u64().unwrap()).collect();
        assert!(positions.is_sorted());
    }
    assert!(told.iter().any(|d| d["events"].as_array().unwrap().len() > 1), "a correlation shows what it counted");
    for related in ["runs", "questions", "containments"] {
        assert!(!story[related].as_array().unwrap().is_empty(), "{related}");
    }
    assert_eq!(story["events_left_out"], json!(0));
    let written: Vec<vertice_model::Sentence> = serde_json::from_value(story["narrative"].clone()).unwrap();
    let ids: Vec<&str> = told.iter().filter_map(|d| d["detection"]["detection_id"].as_str()).chain([&*id]).collect();
    assert!(written.len() > 2 && written[0].text.contains("203.0.113.1"), "{written:?}");
    for sentence in &written {
        assert!(!sentence.cites.is_empty() && sentence.cites.iter().all(|c| ids.contains(&c.as_str())), "{sentence:?}");
    }
    let intent = rig.get(&format!("/api/v1/defense/threats/{}/intent", &id[..8])).await;
    assert_eq!(intent.status, 200, "{}", intent.text);
    assert_eq!(intent.body, story["intent"], "it is one and the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn threats_are_sorted_by_priority_and_the_order_of_the_contract_stays() {
    let rig = Rig::new();
    for host in 1..=5 {
        rig.guess(&format!("203.0.113.{host}")).await;
    }
    let verdict = json!({"verdict": "false_positive", "note": "ours"});
    for path in ["/api/v1/defense/threats", "/api/v1/defense/threats/active"] {
        let changed = rig.get(&format!("{path}?sort=changed")).await.body;
        assert_eq!(changed, rig.get(path).await.body);
        let mut paged = Vec::new();
        let mut query = "sort=priority&limit=2".to_owned();
        loop {
            let page: Page<Threat> = serde_json::from_value(rig.get(&format!("{path}?{query}")).await.body).unwrap();
            paged.extend(page.items.iter().map(|t| (t.triage.as_ref().unwrap().priority, t.opened_at, t.threat_id)));
            let Some(next) = page.next_cursor else { break };
            query = format!("sort=priority&limit=2&cursor={next}");
        }
        let wanted = changed["items"].as_array().unwrap().len();
        assert_eq!(paged.len(), wanted);
        let seconds = |at: Timestamp| at.as_micros() / 1_000_000;
        assert!(paged.is_sorted_by(|a, b| (a.0, seconds(a.1), a.2) > (b.0, seconds(b.1), b.2)), "{paged:?}");
        let backwards = rig.get(&format!("{path}?sort=priority&order=asc")).await.body;
        let ids = backwards["items"].as_array().unwrap().iter().map(|t| t["threat_id"].clone()).collect::<Vec<_>>();
        assert_eq!(ids, paged.iter().rev().map(|(.., id)| json!(id.to_string())).collect::<Vec<_>>());
        // What people said of the others lowers what comes next, so the second list has several priorities.
        for (_, _, threat) in &paged[1..4.min(paged.len())] {
            rig.decide("POST", &format!("/api/v1/defense/threats/{threat}/verdict"), verdict.clone()).await;
        }
        rig.guess("203.0.113.77").await;
    }
    let all = rig.get("/api/v1/defense/threats?sort=priority").await.body;
    let priorities: BTreeSet<u64> =
        all["items"].as_array().unwrap().iter().map(|t| t["triage"]["priority"].as_u64().unwrap()).collect();
    assert!(priorities.len() > 1, "{priorities:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_come_next_says_what_it_rests_on_and_how_often_it_is_right() {
    let rig = Rig::new();
    rig.guess("203.0.113.1").await;
    let id = rig.get("/api/v1/defense/threats").await.body["items"][0]["threat_id"].as_str().unwrap().to_owned();
    let intent = rig.get(&format!("/api/v1/defense/threats/{id}/intent")).await.body;
    assert_eq!((&intent["threat_id"], &intent["seen_by"]), (&json!(id), &json!("rules")), "{intent}");
    assert!(intent["seen"].as_array().unwrap().iter().any(|t| t.as_str().unwrap().starts_with("T1110")), "{intent}");
    let forecast = &intent["forecast"];
    let predictions = forecast["predictions"].as_array().unwrap();
    assert_eq!((predictions.len(), &forecast["rank_only"]), (5, &json!(true)), "{forecast}");
    for p in predictions {
        assert!(p["technique"] != "T1110", "what was seen is not predicted: {p}");
        assert_eq!(p["basis"].as_array().unwrap().len(), p["reasons"].as_array().unwrap().len());
        assert!(!p["reasons"].as_array().unwrap().is_empty(), "{p}");
    }
    let shares: Vec<f64> = predictions.iter().map(|p| p["share"].as_f64().unwrap()).collect();
    assert!(shares.is_sorted_by(|a, b| a >= b), "{shares:?}");
    let (standing, text) = (&forecast["standing"], forecast["standing_text"].as_str().unwrap());
    let of_100 = (standing["top5"][0].as_f64().unwrap() * 100.0).round();
    assert!(text.contains(&format!("among the first five in {of_100} of 100 recorded steps")), "{text}");
    assert!(text.contains(&format!("{} steps of {} incidents", standing["steps"], standing["flows"])), "{text}");
    assert!(!intent["profile"]["reasons"].as_array().unwrap().is_empty(), "{intent}");
    assert_eq!(rig.get("/api/v1/defense/threats/00000000/intent").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_questions_and_containments_are_listed_by_threat() {
    let rig = Rig::new();
    rig.guess("203.0.113.1").await;
    let threat = rig.get("/api/v1/defense/threats").await.body["items"][0]["threat_id"].as_str().unwrap().to_owned();
    for (list, id) in [("responses", "run_id"), ("approvals", "question_id"), ("containments", "containment_id")] {
        let path = format!("/api/v1/defense/{list}");
        let page = rig.get(&format!("{path}?threat={threat}")).await;
        let items = page.body["items"].as_array().unwrap().clone();
        assert!(!items.is_empty(), "{list}: {}", page.text);
        for item in &items {
            assert_eq!(item["threat_id"], json!(threat));
            let one = rig.get(&format!("{path}/{}", item[id].as_str().unwrap())).await;
            assert_eq!(&one.body, item);
        }
        let none = rig.get(&format!("{path}?limit=1000&cursor=999999.0")).await;
        assert_eq!((&none.body["items"], &none.body["next_cursor"]), (&json!([]), &Value::Null));
    }
    let waiting = rig.get("/api/v1/defense/approvals?state=pending").await;
    assert!(waiting.body["items"].as_array().unwrap().iter().all(|q| q["state"] == json!("pending")));
    let simulated = rig.get("/api/v1/defense/responses").await.body["items"][0].clone();
    assert_eq!((&simulated["simulated"], &simulated["actions_executed"]), (&json!(true), &json!(0)));
}
