//! Which key a hit has.

use std::sync::Arc;

use vertice_engine::{Content, ContentFile, Screener};
use vertice_model::{Entity, EventId, RawEvent, Timestamp};

use super::place;
use super::rulesets::MAPPING;

const RULE: &str = "
title: R
id: 00000000-0000-4000-8000-000000000000
name: r
logsource: {product: test}
detection: {s: {kind: k}, condition: s}
vertice: {entity: user.name}
";

/// The keys of one event, of a rule with these correlations over it.
fn keys(correlations: &[&str]) -> Vec<String> {
    let mut rules = RULE.to_owned();
    for (n, correlation) in correlations.iter().enumerate() {
        let (correlation, more) = correlation.split_once(';').unwrap_or((correlation, ""));
        let over = if correlation.contains("rules:") { "" } else { "rules: [r], " };
        rules += &format!(
            "---\ntitle: C{n}\nid: 00000000-0000-4000-8000-00000000001{n}\nname: c{n}\ncorrelation: {{type: event_count, \
             {over}timespan: 1m, condition: {{gte: 2}}, {correlation}}}\n{more}\n"
        );
    }
    let files = [("mappings/test.yml", MAPPING), ("rules/test.yml", &rules)];
    let file = |(path, text): (&str, &str)| ContentFile { path: path.to_owned(), text: text.to_owned() };
    let content = Arc::new(Content::compile(files.map(file).into()));
    assert!(content.refused.is_empty(), "{:?}", content.refused);
    let line = r#"{"kind":"k","ip":"::ffff:192.0.2.1","host":"WS1","user":"Ana","a":"x","b":"y"}"#.to_owned();
    let raw = RawEvent { origin: "test".into(), line };
    let routed = Screener::new(&content)
        .route(&place(1, 2), Timestamp::from_seconds(1_772_000_000), &raw)
        .expect("it can be read");
    assert!(routed.iter().zip(0..).all(|(r, index)| r.index == index && r.event == raw && r.from == place(1, 2)));
    routed.into_iter().map(|r| r.key).collect()
}

#[test]
fn hits_have_the_key_of_what_they_are_judged_with() {
    let one = "rule:00000000-0000-4000-8000-000000000010";
    let group = "group:00000000-0000-4000-8000-000000000010";
    for (correlations, wanted) in [
        // A detection of its own, and what only serves correlations.
        (&[][..], vec!["user:ana"]),
        (&["group-by: [source.ip], generate: true"], vec!["ip:192.0.2.1", "user:ana"]),
        (&["group-by: [source.ip]"], vec!["ip:192.0.2.1"]),
        // Grouped by an entity among others: by the one that it is about, else by what mappings prefer.
        (&["group-by: [source.ip, host.name];vertice: {entity: host.name}"], vec!["host:ws1"]),
        (&["group-by: [a, user.name, host.name]"], vec!["host:ws1"]),
        (&["group-by: [a]"], vec!["host:x"]),
        (&["group-by: [a, b]"], vec![&format!("{group}:1:x:1:y")]),
        // Not grouped; and by what the event lacks, which counts nowhere.
        (&["group-by: []"], vec![one]),
        (&["group-by: [c]"], vec![]),
        // Several correlations are judged each where it is grouped.
        (&["group-by: [host.name]", "group-by: [user.name]"], vec!["host:ws1", "user:ana"]),
        // One over another has the key that they share.
        (&["group-by: [source.ip, host.name]", "rules: [c0], group-by: [host.name]"], vec!["host:ws1"]),
        (&["group-by: [source.ip]", "rules: [c0, r], group-by: [host.name]"], vec![one]),
        // … under one name: what is called otherwise between them is not shared.
        (
            &[
                "group-by: [host.name, source.ip]",
                "rules: [c0], group-by: [host.name], aliases: {host.name: {c0: source.ip}}",
            ],
            vec![one],
        ),
        // Another name for the field of an event changes nothing.
        (&["group-by: [x], aliases: {x: {r: source.ip}}"], vec!["ip:192.0.2.1"]),
    ] {
        assert_eq!(keys(correlations), wanted, "{correlations:?}");
    }
}

#[test]
fn keys_are_bounded_and_ids_follow_from_the_place() {
    let long = |end: &str| vertice_engine::route::entity_key(&Entity::host(&("h".repeat(400) + end)).expect("a name"));
    assert_eq!(long("a").len(), vertice_model::limits::ROUTE_KEY_BYTES_MAX);
    assert_ne!(long("a"), long("b"));
    assert_ne!(EventId::of(&place(1, 2)), EventId::of(&place(2, 1)));
}
