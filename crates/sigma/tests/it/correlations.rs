//! Correlations over event time: what fires, what stays quiet, what is forgotten.

use serde_json::{Value as Json, json};
use vertice_sigma::{Correlator, RuleIndex, RuleSet, Source, limits};

use crate::support::JsonEvent;

const BASE: &str = "title: A\nid: id-a\nname: rule_a\nlogsource: {category: c}\ndetection: {s: {E: a}, condition: s}\n---\n\
    title: B\nname: rule_b\nlogsource: {category: c}\ndetection: {s: {E|contains: b}, condition: s}\n---\n";

struct Story {
    rules: RuleSet,
    state: Correlator,
    position: u64,
}

impl Story {
    /// The two rules above and these correlations, given as the lines of each document's `correlation`.
    fn new(correlations: &[&str]) -> Story {
        let documents = correlations.iter().enumerate();
        let documents = documents.map(|(i, lines)| format!("title: C{i}\nname: c{i}\ncorrelation:\n{lines}\n---\n"));
        let text = BASE.to_owned() + &documents.collect::<String>();
        let (rules, refused) = RuleSet::compile([("t.yml", text.as_str())]);
        assert!(refused.is_empty(), "{refused:?}\n{text}");
        Story { rules, state: Correlator::default(), position: 0 }
    }

    /// An event at a second; what it fired, as `title group positions`.
    fn at(&mut self, second: i64, event: Json) -> Vec<String> {
        let event = JsonEvent::new(event);
        self.position += 1;
        let mut lines = Vec::new();
        for rule in self.rules.matches(&event, [Source { category: Some("c"), ..Source::default() }]) {
            for fired in self.state.observe(&self.rules, rule, second * 1_000_000, self.position, &event) {
                let group: Vec<&str> = fired.group.iter().map(|(_, value)| value.as_str()).collect();
                let title = &self.rules.rule(fired.correlation).title;
                lines.push(format!("{title} {} {:?}", group.join(","), fired.positions));
            }
        }
        lines
    }

    /// Events of one kind; the numbers of those that fired, from 0.
    fn times(&mut self, seconds: &[i64]) -> Vec<usize> {
        let fired = |i: &usize| !self.at(seconds[*i], json!({"E": "a", "U": "u"})).is_empty();
        (0..seconds.len()).filter(fired).collect()
    }
}

/// The first rule of a set.
fn first(rules: &RuleSet) -> RuleIndex {
    rules.iter().next().expect("there is a rule").0
}

fn count(condition: &str) -> String {
    format!("  type: event_count\n  rules: [id-a]\n  group-by: [U]\n  timespan: 10s\n  condition: {condition}")
}

#[test]
fn event_count_fires_once_within_its_timespan() {
    let story = || Story::new(&[&count("{gte: 3}")]);
    assert_eq!(story().at(0, json!({"E": "a"})), Vec::<String>::new());
    assert_eq!(story().times(&[0, 5, 10]), [2]);
    // The window is closed, and no longer.
    assert_eq!(story().times(&[0, 5, 11]), [0; 0]);
    // Quiet for the timespan after the event that fired it, then again.
    assert_eq!(story().times(&[0, 1, 2, 3, 11, 12, 13]), [2, 5]);
    let mut named = story();
    named.at(0, json!({"E": "a", "U": "u"}));
    named.at(0, json!({"E": "x", "U": "u"}));
    named.at(1, json!({"E": "a", "U": "v"}));
    named.at(1, json!({"E": "a", "U": null}));
    named.at(2, json!({"E": "a", "U": "u"}));
    assert_eq!(named.at(3, json!({"E": "a", "U": "u"})), ["C0 u [1, 5, 6]"]);
    assert_eq!((named.state.groups(), named.state.events()), (2, 4));
}

#[test]
fn late_events_take_their_place() {
    let story = || Story::new(&[&count("{gte: 3}")]);
    assert_eq!(story().times(&[0, 10, 5]), [2]);
    assert_eq!(story().times(&[20, 0, 1, 2]), [3]);
    // A late event completes a window that lies within the quiet of a later one.
    assert_eq!(story().times(&[10, 11, 12, 3, 4, 5]), [2]);
    assert_eq!(story().times(&[20, 21, 22, 3, 4, 5]), [2, 5]);
    // Later than the bound, which is 64 times the timespan here: the others are gone by then.
    let late = limits::late_us(10_000_000) / 1_000_000;
    assert_eq!(late, 640);
    assert_eq!(story().times(&[0, 1, late + 20, 2]), [0; 0]);
    assert_eq!(story().times(&[0, 1, late + 5, 2]), [3]);
    // As many fire as in order: two, though the one that came first lies within a timespan of both.
    assert_eq!(Story::new(&[&count("{gte: 1}")]).times(&[0, 8, 16]), [0, 2]);
    assert_eq!(Story::new(&[&count("{gte: 1}")]).times(&[8, 0, 16]), [0, 2]);
}

#[test]
fn every_comparison_counts() {
    let fired = |condition: &str, seconds: &[i64]| Story::new(&[&count(condition)]).times(seconds);
    assert_eq!(fired("{gt: 1}", &[0, 1, 2]), [1]);
    assert_eq!(fired("{eq: 2}", &[0, 1, 2]), [1]);
    assert_eq!(fired("{lt: 2}", &[0, 1, 2]), [0]);
    assert_eq!(fired("{lte: 2, gt: 1}", &[0, 1, 2]), [1]);
    assert_eq!(fired("{neq: 1}", &[0, 1, 2]), [1]);
}

#[test]
fn value_count_counts_different_values() {
    let lines =
        "  type: value_count\n  rules: rule_a\n  group-by: [U]\n  timespan: 1m\n  condition: {gte: 2, field: H}";
    let mut story = Story::new(&[lines]);
    assert_eq!(story.at(0, json!({"E": "a", "U": "u", "H": "x"})).len(), 0);
    assert_eq!(story.at(1, json!({"E": "a", "U": "u", "H": "x"})).len(), 0);
    assert_eq!(story.at(2, json!({"E": "a", "U": "u"})).len(), 0);
    assert_eq!(story.at(61, json!({"E": "a", "U": "u", "H": 7})), ["C0 u [2, 4]"]);
    let pairs = lines.replace("field: H", "field: [H, P]");
    let mut story = Story::new(&[&pairs]);
    assert_eq!(story.at(0, json!({"E": "a", "U": "u", "H": "1", "P": "12"})).len(), 0);
    assert_eq!(story.at(0, json!({"E": "a", "U": "u", "H": "11", "P": "2"})).len(), 1);
}

#[test]
fn temporal_wants_every_rule() {
    let lines = "  type: temporal\n  rules: [rule_a, rule_b]\n  group-by: [who]\n  timespan: 1m\n  aliases:\n    who: {rule_a: U, rule_b: V}";
    let mut story = Story::new(&[lines]);
    story.at(0, json!({"E": "a", "U": "u"}));
    story.at(1, json!({"E": "a", "U": "u"}));
    assert_eq!(story.at(2, json!({"E": "b", "U": "u"})).len(), 0);
    assert_eq!(story.at(3, json!({"E": "b", "V": "u"})), ["C0 u [1, 2, 4]"]);
}

#[test]
fn an_event_of_two_rules_counts_once() {
    let lines = "  type: event_count\n  rules: [rule_a, rule_b]\n  timespan: 1m\n  condition: {gte: 2}";
    let mut story = Story::new(&[lines]);
    assert_eq!(story.at(0, json!({"E": ["a", "b"]})).len(), 0);
    assert_eq!(story.at(0, json!({"E": "b"})), ["C0  [1, 2]"]);
}

#[test]
fn correlations_feed_correlations() {
    let inner = count("{gte: 2}");
    let outer = "  type: value_count\n  rules: [c0]\n  timespan: 1h\n  condition: {gte: 2, field: U}";
    // The outer one stands first and waits for the inner one.
    let mut story = Story::new(&[&inner, outer]);
    for (second, user, fired) in [(0, "u", 0), (1, "u", 1), (2, "v", 0), (3, "v", 2)] {
        assert_eq!(story.at(second, json!({"E": "a", "U": user})).len(), fired, "{second}");
    }
    let silent = |title: &str| story.rules.iter().find(|(_, rule)| rule.title == title).map(|(_, rule)| rule.silent);
    assert_eq!(
        [silent("A"), silent("B"), silent("C0"), silent("C1")],
        [Some(true), Some(false), Some(true), Some(false)]
    );
    let loud = Story::new(&[&(inner.clone() + "\n  generate: true"), &inner.replace("id-a", "c0")]);
    let silent: Vec<bool> = loud.rules.iter().map(|(_, rule)| rule.silent).collect();
    assert_eq!(silent, [false, false, true, false]);
    assert!(loud.rules.iter().all(
        |(index, rule)| !rule.is_correlation() || loud.rules.explain(index, &JsonEvent::new(json!({}))).is_empty()
    ));
}

#[test]
fn correlations_nest_so_deep_and_no_deeper() {
    let chain = |depth: usize| {
        let one = |i: usize| {
            let over = if i == 0 { "rule_a".to_owned() } else { format!("c{}", i - 1) };
            format!(
                "title: C{i}\nname: c{i}\ncorrelation: {{type: event_count, rules: {over}, timespan: 1m, condition: {{gte: 1}}}}\n---\n"
            )
        };
        let text = BASE.to_owned() + &(0..depth).rev().map(one).collect::<String>();
        RuleSet::compile([("t.yml", text.as_str())]).1
    };
    assert_eq!(chain(limits::CORRELATION_DEPTH_MAX), []);
    let refused = chain(limits::CORRELATION_DEPTH_MAX + 1);
    assert!(refused.len() == 1 && refused[0].reason.contains("nested more than 8 deep"), "{refused:?}");
    let circle = |a: &str, b: &str| {
        format!(
            "title: {a}\ncorrelation: {{type: event_count, rules: {b}, timespan: 1m, condition: {{gte: 1}}}}\n---\n"
        )
    };
    let text = circle("x", "y") + &circle("y", "x");
    let refused = RuleSet::compile([("t.yml", text.as_str())]).1;
    assert!(
        refused.len() == 2 && refused.iter().all(|e| e.reason.contains("over this correlation itself")),
        "{refused:?}"
    );
}

#[test]
fn the_state_outlives_a_recompilation_unless_the_rule_changed() {
    let mut story = Story::new(&[&count("{gte: 3}")]);
    story.times(&[0, 1]);
    let kept = serde_json::to_string(&story.state).expect("the state serializes");
    let restore = |correlation: &str| {
        let state: Correlator = serde_json::from_str(&kept).expect("the state is read again");
        assert_eq!(serde_json::to_string(&state).expect("it serializes"), kept);
        Story { state, position: 2, ..Story::new(&[correlation]) }
    };
    assert_eq!(restore(&count("{gte: 3}")).times(&[2]), [0]);
    assert_eq!(restore(&count("{gte: 4}")).times(&[2, 3]), [1]);
    assert_eq!(restore(&count("{gte: 3}").replace("10s", "11s")).times(&[2]), [0; 0]);
}

#[test]
fn what_is_old_or_no_more_is_forgotten() {
    let mut story = Story::new(&[&count("{gte: 3}")]);
    story.times(&[0, 1]);
    let (rules, late) = (&story.rules, limits::late_us(10_000_000));
    story.state.expire(rules, late + 11_000_000);
    assert_eq!((story.state.groups(), story.state.events()), (1, 2));
    let mut other = story.state.clone();
    other.expire(&RuleSet::default(), 0);
    assert_eq!(other, Correlator::default());
    story.state.expire(rules, late + 11_000_001);
    assert_eq!((story.state.groups(), story.state.events()), (0, 0));
}

#[test]
fn groups_events_and_values_are_bounded() {
    let mut story = Story::new(&[&count("{gte: 3}")]);
    let rule = first(&story.rules);
    let mut feed = |second: i64, user: String| {
        story.position += 1;
        let event = JsonEvent::new(json!({"E": "a", "U": user}));
        story.state.observe(&story.rules, rule, second * 1_000, story.position, &event);
        (story.state.groups(), story.state.events(), story.state.evicted_groups, story.state.evicted_events)
    };
    for i in 0..limits::GROUPS_MAX + 5 {
        feed(0, i.to_string());
    }
    assert_eq!(feed(0, "0".into()), (limits::GROUPS_MAX, limits::GROUPS_MAX, 6, 6));
    feed(0, format!("{}é{}", "x".repeat(255), "y".repeat(90_000)));
    let kept = serde_json::to_string(&story.state).expect("the state serializes");
    assert!(kept.contains(&format!("{}…", "x".repeat(255))) && !kept.contains("yy"));
}

#[test]
fn a_rule_says_all_about_itself() {
    let text = "title: T\nid: i\nname: n\nstatus: test\nlevel: high\ndescription: |\n  d\nauthor: [a, b]\ntags: [attack.t1059]\n\
        references:\n  - r\nfalsepositives:\n  - None\ndate: 2026-01-02\nmodified: 2026/01/03\nfields: F\nrelated:\n  - {id: o, type: derived}\n\
        logsource: {category: c, definition: d}\ndetection: {s: {'F|contains': [x, y], G: null}, k: [word], condition: s or k}\n\
        vertice: {class: brute_force_detected, confidence: 85}\n";
    let (rules, refused) = RuleSet::compile([("t.yml", text)]);
    assert!(refused.is_empty() && !rules.is_empty(), "{refused:?}");
    let rule = rules.rule(first(&rules));
    let texts = [
        rule.key(),
        &rule.title,
        &rule.description,
        &rule.author,
        &rule.tags[0],
        &rule.references[0],
        &rule.falsepositives[0],
    ];
    assert_eq!(texts, ["i", "T", "d", "a, b", "attack.t1059", "r", "None"]);
    assert_eq!((rule.status.expect("it is given").word(), rule.level.expect("it is given").word()), ("test", "high"));
    assert_eq!((rule.date.as_deref(), rule.modified.as_deref()), (Some("2026-01-02"), Some("2026/01/03")));
    assert_eq!((rule.fields.len(), rule.related[0].id.as_str(), rule.related[0].kind.as_str()), (1, "o", "derived"));
    assert_eq!((rule.path.as_str(), rule.line, rule.silent, rule.is_correlation()), ("t.yml", 1, false, false));
    assert_eq!(rule.attributes.keys().collect::<Vec<_>>(), ["vertice"]);
    assert_eq!(rule.attributes["vertice"].get("class").and_then(|node| node.as_text()), Some("brute_force_detected"));
    let event = JsonEvent::new(json!({"F": ["no", "aYb"], "H": "a word"}));
    let shown: Vec<[String; 4]> =
        rules.explain(first(&rules), &event).into_iter().map(|m| [m.selection, m.field, m.wanted, m.value]).collect();
    let expected = [["s", "F|contains", "y", "aYb"], ["s", "G", "null", ""], ["k", "", "word", "a word"]];
    assert_eq!(shown, expected.map(|row| row.map(str::to_owned)));
    assert_eq!(rules.explain(first(&rules), &JsonEvent::new(json!({"G": 1}))), []);
}
