//! Logs of many services that nobody here wrote, with what a parser must find in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use vertice_engine::normalize::Mappings;
use vertice_model::{Event, LogSource, Timestamp};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");

/// The known answer's names for what we know under ours, each with how it is compared.
const COMPARED: [(&str, &[&str]); 9] = [
    ("source.ip", &["source_ip", "remote_addr", "clientip", "src_ip", "sshd_client_ip"]),
    ("user.name", &["target_user", "username", "user", "sshd_invalid_user"]),
    ("url.original", &["http_path"]),
    ("http.response.status_code", &["http_status"]),
    ("http.request.method", &["http_verb"]),
    ("user_agent.original", &["http_user_agent"]),
    ("destination.ip", &["dst_ip"]),
    ("destination.port", &["dst_port"]),
    ("host.name", &["machine"]),
];

/// Cases of formats that no mapping claims yet.
const NOT_CLAIMED: [&str; 6] = ["baserow", "cowrie", "endlessh", "envoy", "proxmox-backup", "sshesame"];

/// Values that differ on purpose: a part of the case's name, our field, why.
const EXCEPTIONS: [(&str, &str, &str); 1] =
    [("nginx_req_limit_exceeded", "url.original", "the scheme of an absolute request line belongs to it")];

type Answers = BTreeMap<String, String>;

/// The answers of an assertion file, by what they are about.
fn answers(text: &str) -> BTreeMap<String, Answers> {
    let mut all: BTreeMap<String, Answers> = BTreeMap::new();
    for line in text.lines() {
        let Some((left, right)) = line.split_once(" == \"") else { continue };
        let Ok(value) = serde_json::from_str::<String>(&format!("\"{right}")) else { continue };
        // `results["s01-parse"]["x"][0].Evt.Meta["k"]` or `results[0].Overflow.Alert.Events[0].GetMeta("k")`
        let Some((about, key)) = left.trim_end_matches(['"', ']', ')']).rsplit_once('"') else { continue };
        let about = about.trim_end_matches(['[', '(']);
        let (about, kind) = about.rsplit_once('.').unwrap_or((about, ""));
        if matches!(kind, "Meta" | "Parsed" | "Enriched" | "GetMeta") {
            // What is known of an event stands before what was read on the way there.
            let entry = all.entry(about.to_owned()).or_default();
            if kind != "Parsed" || !entry.contains_key(key) {
                entry.insert(key.to_owned(), value);
            }
        }
    }
    all
}

fn same_time(event: &Event, wanted: &str, line: &str) -> bool {
    let Ok(wanted) = wanted.parse::<Timestamp>() else { return false };
    let (ours, wanted) = (event.timestamp.to_string(), wanted.to_string());
    // A line without a year was read in another year than ours.
    let from = if line.as_bytes()[0].is_ascii_alphabetic() { 5 } else { 0 };
    ours.get(from..19) == wanted.get(from..19)
}

/// Compares; what was compared is counted, what differs is told.
fn compare(event: &Event, line: &str, answers: &Answers, count: &mut BTreeMap<&str, usize>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (field, names) in COMPARED {
        let Some(wanted) = names.iter().find_map(|name| answers.get(*name)).filter(|v| !matches!(v.as_str(), "" | "-"))
        else {
            continue;
        };
        *count.entry(field).or_default() += 1;
        let ours = event.fields.get(field).map(|value| value.to_text().into_owned()).unwrap_or_default();
        let wanted = wanted.trim_start_matches("::ffff:");
        if ours != wanted {
            wrong.push(format!("{field} is {ours:?} and not {wanted:?}"));
        }
    }
    if let Some(wanted) = ["MarshaledTime", "timestamp"].iter().find_map(|name| answers.get(*name))
        && wanted.get(10..11) == Some("T")
    {
        *count.entry("timestamp").or_default() += 1;
        if !same_time(event, wanted, line) {
            wrong.push(format!("timestamp is {} and not {wanted}", event.timestamp));
        }
    }
    wrong
}

struct Tally {
    count: BTreeMap<&'static str, usize>,
    lines: usize,
    excepted: usize,
    failures: Vec<String>,
}

/// Each parsed record is about the next line that holds its message.
fn check_parsed(case: &str, lines: &[&str], text: &str, mappings: &Mappings, tally: &mut Tally) {
    let mut records: Vec<(String, Answers)> =
        answers(text).into_iter().filter(|(about, _)| about.contains("\"s01-parse\"")).collect();
    let number = |about: &str| -> usize {
        about.rsplit_once("].").and_then(|(a, _)| a.rsplit_once('[')).and_then(|(_, n)| n.parse().ok()).unwrap_or(0)
    };
    records.sort_by_key(|(about, _)| number(about));
    let mut next = 0;
    for (about, answers) in &records {
        // Without a kind of event the record is one that the parser passed over.
        let Some(message) = answers.get("message").filter(|_| answers.contains_key("log_type")) else { continue };
        let found = (0..lines.len()).map(|i| (next + i) % lines.len()).find(|i| lines[*i].contains(message.trim_end()));
        let Some(i) = found else { continue };
        next = i + 1;
        tally.lines += 1;
        match super::read(mappings, lines[i]) {
            Ok(event) => {
                let wrong = compare(&event, lines[i], answers, &mut tally.count);
                report(case, lines[i], wrong, tally);
            }
            Err(refusal) => report(case, lines[i], vec![format!("refused: {refusal} ({about})")], tally),
        }
    }
}

/// Each event of an overflow is one of the lines.
fn check_overflows(case: &str, lines: &[&str], text: &str, mappings: &Mappings, tally: &mut Tally) {
    let events: Vec<(&str, Event)> =
        lines.iter().filter_map(|line| Some((*line, super::read(mappings, line).ok()?))).collect();
    for (about, answers) in answers(text).iter().filter(|(about, _)| about.contains("Alert.Events")) {
        if !answers.contains_key("log_type") {
            continue;
        }
        tally.lines += 1;
        let mut best: Option<Vec<String>> = None;
        for (line, event) in &events {
            let mut count = BTreeMap::new();
            let wrong = compare(event, line, answers, &mut count);
            if best.as_ref().is_none_or(|b| wrong.len() < b.len()) {
                best = Some(wrong);
            }
        }
        if best.as_ref().is_some_and(Vec::is_empty) {
            compare(&events[0].1, events[0].0, answers, &mut tally.count);
        }
        report(case, about, best.unwrap_or_else(|| vec!["no line of the log is read".to_owned()]), tally);
    }
}

fn report(case: &str, line: &str, wrong: Vec<String>, tally: &mut Tally) {
    for why in wrong {
        if EXCEPTIONS.iter().any(|(name, field, _)| case.contains(name) && why.starts_with(field)) {
            tally.excepted += 1;
        } else {
            let line: String = line.chars().take(160).collect();
            tally.failures.push(format!("{case}: {why}\n    {line}"));
        }
    }
}

#[test]
fn lines_of_many_services_say_what_is_known_of_them() {
    let folder = Path::new(DATA).join("crowdsec-hub-tests");
    let Ok(cases) = std::fs::read_dir(&folder) else {
        println!("left out: {} is not there", folder.display());
        return;
    };
    let mappings = super::shipped();
    let mut tally = Tally { count: BTreeMap::new(), lines: 0, excepted: 0, failures: Vec::new() };
    let (mut taken, mut left_out) = (0, Vec::new());
    let mut cases: Vec<PathBuf> = cases.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    cases.sort();
    for case in cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        if NOT_CLAIMED.iter().any(|part| name.contains(part)) {
            left_out.push(name);
            continue;
        }
        taken += 1;
        let read = |file: &str| std::fs::read_to_string(case.join(file)).unwrap_or_default();
        for entry in std::fs::read_dir(&case).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.extension().is_some_and(|ext| ext == "log") {
                let text = String::from_utf8_lossy(&std::fs::read(&entry).unwrap()).into_owned();
                let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
                check_parsed(&name, &lines, &read("parser.assert"), &mappings, &mut tally);
                check_overflows(&name, &lines, &read("scenario.assert"), &mappings, &mut tally);
            }
        }
    }
    println!("{taken} cases, {} lines, compared {:?}", tally.lines, tally.count);
    println!("{} values excepted; no mapping claims {} cases: {left_out:?}", tally.excepted, left_out.len());
    assert!(tally.failures.is_empty(), "{} differ:\n{}", tally.failures.len(), tally.failures.join("\n"));
    assert!(tally.lines > 500, "only {} lines were compared", tally.lines);
}

/// The log source that a rule names, where it names one.
fn log_source_of(rule: &str) -> LogSource {
    let mut source = LogSource::default();
    for line in rule.lines().skip_while(|line| !line.starts_with("logsource:")).skip(1) {
        let Some((key, value)) = line.strip_prefix("    ").and_then(|line| line.split_once(':')) else { break };
        let value = value.split('#').next().unwrap_or_default().trim().to_owned();
        match key.trim() {
            "category" => source.category = Some(value),
            "product" => source.product = Some(value),
            "service" => source.service = Some(value),
            _ => {}
        }
    }
    source
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { walk(&entry, found) } else { found.push(entry) }
    }
}

#[test]
fn events_belong_to_the_log_source_of_the_rule_they_must_fire() {
    let folder = Path::new(DATA).join("sigma-regression");
    if !folder.is_dir() {
        println!("left out: {} is not there", folder.display());
        return;
    }
    let mappings = super::shipped();
    let mut files = Vec::new();
    walk(&folder, &mut files);
    let mut rules = Vec::new();
    walk(&Path::new(DATA).join("sigma"), &mut rules);
    let (mut events, mut failures) = (0, Vec::new());
    for file in files.iter().filter(|file| file.extension().is_some_and(|ext| ext == "json" || ext == "raw")) {
        let named = file.parent().unwrap().file_name();
        let rule = rules.iter().find(|rule| rule.file_stem() == named).expect("each case has its rule");
        let rule = std::fs::read_to_string(rule).unwrap();
        let wanted = log_source_of(&rule);
        let text = std::fs::read_to_string(file).unwrap();
        let objects: Vec<String> = if text.starts_with('{') {
            let values = serde_json::Deserializer::from_str(&text).into_iter::<serde_json::Value>();
            values.map(|value| value.unwrap().to_string()).collect()
        } else {
            text.lines().map(str::to_owned).collect()
        };
        for object in objects {
            events += 1;
            match super::read(&mappings, &object) {
                Ok(event) if super::cases::belongs(&event, &wanted) => {}
                Ok(event) => {
                    failures.push(format!("{}: {wanted:?} is none of {:?}", file.display(), event.log_sources))
                }
                Err(refusal) => failures.push(format!("{}: {refusal}", file.display())),
            }
        }
    }
    println!("{events} events with a rule that must fire");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(events > 80, "only {events} events");
}
