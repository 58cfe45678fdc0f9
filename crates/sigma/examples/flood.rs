//! Measures correlations under a flood: `flood RULES_DIR [EVENTS]`, failed logins of one user and one address, first in
//! order of time, then each as much as a minute late.

use std::path::Path;
use std::time::Instant;

use vertice_sigma::{Correlator, Event, RuleSet, Source, Value};

struct FailedLogin;

const FIELDS: [(&str, &str); 5] = [
    ("event.action", "failed_login"),
    ("event.outcome", "failure"),
    ("source.ip", "203.0.113.9"),
    ("user.name", "root"),
    ("host.name", "web-1"),
];

impl Event for FailedLogin {
    fn field<'a>(&'a self, name: &str, visit: &mut dyn FnMut(Value<'a>)) {
        FIELDS.iter().filter(|(field, _)| *field == name).for_each(|(_, value)| visit(Value::Text(value)));
    }

    fn each<'a>(&'a self, visit: &mut dyn FnMut(&str, Value<'a>)) {
        FIELDS.iter().for_each(|(field, value)| visit(field, Value::Text(value)));
    }
}

#[expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement prints what it measured")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("flood RULES_DIR [EVENTS]")?;
    let events: i64 = arguments.next().map_or(Ok(30_000), |text| text.parse())?;
    let mut files = Vec::new();
    for entry in std::fs::read_dir(Path::new(&folder))? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "yml") {
            files.push((path.display().to_string(), std::fs::read_to_string(&path)?));
        }
    }
    let (set, refused) = RuleSet::compile(files.iter().map(|(path, text)| (path.as_str(), text.as_str())));
    println!("{} rules, {} refused", set.len(), refused.len());
    let source = Source { category: Some("authentication"), product: Some("linux"), service: Some("sshd") };
    let matched = set.matches(&FailedLogin, [source]);
    for (name, late_ms) in [("in order", 0), ("late", 60_000)] {
        for gap_ms in [1, 20, 300] {
            let (mut state, mut fired) = (Correlator::default(), 0);
            let start = Instant::now();
            for i in 0..events {
                let at_us = (i * gap_ms - i * 7_919 % (late_ms + 1)) * 1_000;
                for rule in &matched {
                    fired += state.observe(&set, *rule, at_us, i.unsigned_abs(), &FailedLogin).len();
                }
            }
            let us = start.elapsed().as_secs_f64() * 1e6 / events as f64;
            println!("{name}, one each {gap_ms} ms: {us:.2} us an event, {fired} fired, {} held", state.events());
        }
    }
    Ok(())
}
