//! Measures loading and matching: `throughput RULES_DIR EVENTS.ndjson`, flat Windows events as JSON lines.

use std::path::Path;
use std::time::Instant;

use serde_json::{Map, Value as Json};
use vertice_sigma::{Event, RuleSet, Source, Value};

struct Flat(Map<String, Json>);

impl Event for Flat {
    fn field<'a>(&'a self, name: &str, visit: &mut dyn FnMut(Value<'a>)) {
        if let Some(json) = self.0.get(name) {
            show(json, visit);
        }
    }

    fn each<'a>(&'a self, visit: &mut dyn FnMut(&str, Value<'a>)) {
        self.0.iter().for_each(|(name, json)| show(json, &mut |value| visit(name, value)));
    }
}

fn show<'a>(json: &'a Json, visit: &mut dyn FnMut(Value<'a>)) {
    match json {
        Json::Null => visit(Value::Null),
        Json::Bool(b) => visit(Value::Bool(*b)),
        Json::Number(n) => visit(n.as_i64().map_or(Value::Float(f64::NAN), Value::Int)),
        Json::String(text) => visit(Value::Text(text)),
        Json::Array(items) => items.iter().for_each(|item| show(item, visit)),
        Json::Object(members) => members.values().for_each(|member| show(member, visit)),
    }
}

#[expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement prints what it measured")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(rules), Some(events)) = (arguments.next(), arguments.next()) else {
        return Err("throughput RULES_DIR EVENTS.ndjson".into());
    };
    let mut files = Vec::new();
    read(Path::new(&rules), &mut files)?;
    let start = Instant::now();
    let (set, refused) = RuleSet::compile(files.iter().map(|(path, text)| (path.as_str(), text.as_str())));
    println!("{} rules, {} refused, loaded in {:?}", set.len(), refused.len(), start.elapsed());
    refused.iter().take(20).for_each(|error| println!("{error}"));
    let text = std::fs::read_to_string(events)?;
    let events: Vec<Flat> = text.lines().map(|line| serde_json::from_str(line).map(Flat)).collect::<Result<_, _>>()?;
    let start = Instant::now();
    let matches: usize = events.iter().map(|event| set.matches(event, sources(event)).len()).sum();
    let seconds = start.elapsed().as_secs_f64();
    println!("{} events, {matches} matches, {:.0} events/s", events.len(), events.len() as f64 / seconds);
    Ok(())
}

fn read(folder: &Path, into: &mut Vec<(String, String)>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read(&path, into)?;
        } else if path.extension().is_some_and(|end| end == "yml") {
            into.push((path.display().to_string(), std::fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

fn sources(event: &Flat) -> Vec<Source<'static>> {
    let id = event.0.get("EventID").and_then(Json::as_i64).unwrap_or_default();
    let service = match event.0.get("Channel").and_then(Json::as_str).unwrap_or_default() {
        "Microsoft-Windows-Sysmon/Operational" => "sysmon",
        "Microsoft-Windows-PowerShell/Operational" => "powershell",
        "Windows PowerShell" => "powershell-classic",
        "Security" | "security" => "security",
        "System" => "system",
        _ => "",
    };
    let categories: &[&str] = match (service, id) {
        ("sysmon", 1) | ("security", 4688) => &["process_creation"],
        ("sysmon", 3) => &["network_connection"],
        ("sysmon", 7) => &["image_load"],
        ("sysmon", 10) => &["process_access"],
        ("sysmon", 11) => &["file_event"],
        ("sysmon", 12) => &["registry_add", "registry_delete", "registry_event"],
        ("sysmon", 13) => &["registry_set", "registry_event"],
        ("sysmon", 17 | 18) => &["pipe_created"],
        ("sysmon", 22) => &["dns_query"],
        ("powershell", 4104) => &["ps_script"],
        ("powershell", 4103) => &["ps_module"],
        _ => &[],
    };
    let source = |category| Source { category, product: Some("windows"), service: Some(service) };
    std::iter::once(None).chain(categories.iter().copied().map(Some)).map(source).collect()
}
