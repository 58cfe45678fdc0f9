//! Any text as a rule, and what it makes of an event.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vertice_sigma::{Event, RuleSet, Source, Value};

struct Line;

impl Event for Line {
    fn field<'a>(&'a self, name: &str, visit: &mut dyn FnMut(Value<'a>)) {
        match name {
            "Image" => visit(Value::Text(r"C:\Windows\System32\cmd.exe")),
            "CommandLine" => visit(Value::Text("cmd /c whoami")),
            _ => {}
        }
    }

    fn each<'a>(&'a self, visit: &mut dyn FnMut(&str, Value<'a>)) {
        ["Image", "CommandLine"].iter().for_each(|name| self.field(name, &mut |value| visit(name, value)));
    }
}

fuzz_target!(|text: &str| {
    let (rules, _) = RuleSet::compile([("fuzz.yml", text)]);
    let source = Source { category: Some("process_creation"), product: Some("windows"), service: None };
    for index in rules.matches(&Line, [source]) {
        let _ = rules.explain(index, &Line);
    }
});
