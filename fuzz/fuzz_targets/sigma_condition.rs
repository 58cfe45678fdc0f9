//! Any text as a condition over four selections, two of which hold.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vertice_sigma::{Event, RuleSet, Source, Value};

struct Line;

impl Event for Line {
    fn field<'a>(&'a self, name: &str, visit: &mut dyn FnMut(Value<'a>)) {
        if matches!(name, "A" | "B") {
            visit(Value::Int(1));
        }
    }

    fn each<'a>(&'a self, visit: &mut dyn FnMut(&str, Value<'a>)) {
        ["A", "B"].iter().for_each(|name| self.field(name, &mut |value| visit(name, value)));
    }
}

fuzz_target!(|text: &str| {
    // A quoted scalar on one line takes every text but line breaks, which a condition does not need.
    let quoted = text.replace('\'', "''").replace(['\n', '\r'], " ");
    let rule = format!(
        "title: t\nlogsource: {{category: c}}\ndetection:\n  sel_a: {{A: 1}}\n  sel_b: {{B: 1}}\n  other: {{C: 1}}\n  _own: {{A: 2}}\n  condition: '{quoted}'\n"
    );
    let (rules, _) = RuleSet::compile([("fuzz.yml", rule.as_str())]);
    for index in rules.matches(&Line, [Source { category: Some("c"), ..Source::default() }]) {
        let _ = rules.explain(index, &Line);
    }
});
