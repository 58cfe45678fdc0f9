//! Why a rule matches, and why it does not.

use serde_json::{Value as Json, json};
use vertice_sigma::{Asked, RuleIndex, RuleSet, Source, Verdict, limits};

use crate::support::JsonEvent;

fn rules(detection: &str) -> RuleSet {
    let rule =
        format!("title: t\nlogsource: {{product: windows, category: process_creation}}\ndetection:\n{detection}\n");
    let (rules, refused) = RuleSet::compile([("t.yml", rule.as_str())]);
    assert!(refused.is_empty(), "{refused:?}");
    rules
}

fn only(rules: &RuleSet) -> RuleIndex {
    rules.iter().next().expect("one rule").0
}

/// A verdict as lines: `+` holds, `-` does not.
fn told(verdict: &Verdict, indent: usize, lines: &mut Vec<String>) {
    let what = match &verdict.asked {
        Asked::All => "all".to_owned(),
        Asked::Any => "any".to_owned(),
        Asked::AtLeast(n) => format!("{n} of"),
        Asked::Not => "not".to_owned(),
        Asked::Selection(name) => name.clone(),
        Asked::Value { field, wanted, found } => format!("{field} {wanted} {found:?}"),
    };
    lines.push(format!("{}{} {what}", "  ".repeat(indent), if verdict.holds { "+" } else { "-" }));
    verdict.below.iter().for_each(|below| told(below, indent + 1, lines));
}

fn check(detection: &str, event: Json, expected: &str) {
    let rules = rules(detection);
    let index = only(&rules);
    let event = JsonEvent::new(event);
    let verdict = rules.verdict(index, &event).expect("a detection");
    let windows = Source { category: Some("process_creation"), product: Some("windows"), service: None };
    assert_eq!(verdict.holds, rules.matches(&event, [windows]).contains(&index), "the verdict is that of matching");
    let mut lines = Vec::new();
    told(&verdict, 0, &mut lines);
    let expected: Vec<&str> = expected.lines().map(|line| line.strip_prefix("            ").unwrap_or(line)).collect();
    assert_eq!(lines, expected[1..expected.len() - 1]);
}

#[test]
fn what_failed_is_shown_with_what_the_event_says_instead() {
    check(
        "  img: {Image|endswith: '\\cmd.exe', User: null}\n  cmd: {CommandLine|contains: [whoami, ' /all']}\n  \
         filter_a: {ParentImage: x}\n  filter_b: {Tool: [a, b]}\n  condition: img and cmd and not 1 of filter_*",
        json!({"Image": "C:\\cmd.exe", "CommandLine": "dir", "Tool": ["B", "c"]}),
        "
            - all
              + img
                + Image|endswith \\cmd.exe [\"C:\\\\cmd.exe\"]
                + User null []
              - cmd
                - any
                  - CommandLine|contains whoami [\"dir\"]
                  - CommandLine|contains  /all [\"dir\"]
              - not
                + 1 of
                  - filter_a
                    - ParentImage x []
                  + filter_b
                    + any
                      - Tool a [\"B\", \"c\"]
                      + Tool b [\"B\"]
            ",
    );
}

#[test]
fn several_patterns_of_one_value_are_one_and_neq_is_told_as_it_is_meant() {
    check(
        "  s: {C|contains|windash: ' -enc', D|neq: [a, b]}\n  words: [evil, worse]\n  condition: s or words",
        json!({"C": "x /enc", "D": "B"}),
        "
            - any
              - s
                + C|contains|windash  -enc [\"x /enc\"]
                - all
                  + D|neq a [\"B\"]
                  - D|neq b [\"B\"]
              - words
                - any
                  -  evil []
                  -  worse []
            ",
    );
}

#[test]
fn a_rule_tells_its_fields_and_the_selections_that_nothing_asks_for() {
    let set =
        rules("  a: {F|contains: x, G|exists: true}\n  b: [{H: 1}, word]\n  left: {F: y}\n  condition: a and 1 of b*");
    let (_, rule) = set.iter().next().expect("one rule");
    assert_eq!(rule.asked_fields().into_iter().collect::<Vec<_>>(), ["F", "G", "H"]);
    assert_eq!(rule.idle_selections(), ["left"]);
    let concerns = |category, product| rule.log_source.concerns(Source { category, product, service: Some("sysmon") });
    assert!(concerns(Some("process_creation"), Some("windows")));
    assert!(!concerns(None, Some("windows")) && !concerns(Some("process_creation"), Some("linux")));
}

#[test]
fn a_correlation_names_its_rules_and_has_no_verdict() {
    let text = "title: t\nname: one\nlogsource: {product: windows}\ndetection: {s: {F: 1}, condition: s}\n---\ntitle: c\n\
                correlation: {type: event_count, rules: [one], group-by: [F], timespan: 1m, condition: {gte: 2}}\n";
    let (set, refused) = RuleSet::compile([("t.yml", text)]);
    assert!(refused.is_empty(), "{refused:?}");
    let (one, two) = (set.iter().next().unwrap().0, set.iter().nth(1).unwrap().0);
    assert_eq!((set.counted(two), set.counted(one)), ([one].as_slice(), [].as_slice()));
    let event = JsonEvent::new(json!({"F": 1}));
    assert!(set.verdict(two, &event).is_none() && set.verdict(one, &event).unwrap().holds);
    let (_, rule) = set.iter().nth(1).unwrap();
    assert!(rule.asked_fields().is_empty() && rule.idle_selections().is_empty());
}

#[test]
fn what_is_shown_is_bounded() {
    let values: Vec<String> = (0..limits::VERDICTS_MAX + 10).map(|n| format!("v{n}")).collect();
    let set = rules(&format!("  s: {{F: [{}]}}\n  condition: s", values.join(", ")));
    let many: Vec<String> = (0..100).map(|n| format!("{n}{}", "x".repeat(10_000))).collect();
    let verdict = set.verdict(only(&set), &JsonEvent::new(json!({"F": many}))).unwrap();
    let list = &verdict.below[0];
    assert!(list.left_out > 0 && list.below.len() + list.left_out == values.len(), "{}", list.left_out);
    let Asked::Value { found, .. } = &list.below[0].asked else { panic!("a value") };
    assert_eq!((found.len(), found[0].len()), (limits::FOUND_MAX, limits::EXPLAINED_CHARS_MAX));
}
