//! Any line as an event, before rules that ask everything there is to ask, and as a match of a correlation.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vertice_sigma::json::JsonEvent;
use vertice_sigma::{Correlator, RuleSet, Source};

static RULES: LazyLock<RuleSet> = LazyLock::new(|| {
    let selections = [
        "A: 'x*y?z'", "A|contains|all: [a, b]", "A|cased: Ab", "A|re|i: '^a.*b$'", "A|cidr: [10.0.0.0/8, '2001:db8::/32']",
        "A|base64offset|contains: foo", "A|windash|contains: ' -enc '", "A|exists: true", "A|fieldref: B", "A|gt: 5",
        "A|lte: 1.5", "A|hour: 3", "A|week|gte: 20", "A|neq: q", "A: null", "A.b: 1",
    ];
    let mut text = String::new();
    for (i, selection) in selections.iter().enumerate() {
        text += &format!("title: r{i}\nlogsource: {{category: c}}\ndetection: {{s: {{{selection}}}, k: [word], condition: s or k}}\n---\n");
    }
    text += "title: all\nname: all\nlogsource: {category: c}\ndetection: {s: {A|exists: true}, condition: s}\n---\n";
    for kind in ["value_count", "value_sum", "value_avg", "value_median", "value_percentile"] {
        text += &format!("title: {kind}\ncorrelation: {{type: {kind}, rules: all, group-by: [B], timespan: 1m, condition: {{gte: 1, field: A}}}}\n---\n");
    }
    let (rules, refused) = RuleSet::compile([("fuzz.yml", text.as_str())]);
    assert!(refused.is_empty(), "{refused:?}");
    rules
});

fuzz_target!(|text: &str| {
    let mut state = Correlator::default();
    for (position, line) in text.lines().enumerate() {
        let Ok(event) = JsonEvent::new(line) else { continue };
        for index in RULES.matches(&event, [Source { category: Some("c"), ..Source::default() }]) {
            let _ = RULES.explain(index, &event);
            let _ = state.observe(&RULES, index, position as i64, position as u64, &event);
        }
    }
});
