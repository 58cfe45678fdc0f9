//! Rules and events that are drawn: every way in which correlations group, rename, nest and speak.

use std::sync::Arc;

use vertice_engine::{Content, ContentFile};
use vertice_model::{RawEvent, Timestamp};
use vertice_testkit::{Random, long};

use super::{Source, carried, divided, routes, whole};

pub(super) const MAPPING: &str = "
description: Events of a test.
order: 1
reads: json
recognise:
  - has: [kind]
event_id: id
time:
  - {field: time, formats: [iso]}
entity: [source.ip, host.name]
steps:
  - log_source: {product: test}
    fields: {source.ip: ip, host.name: host, user.name: user}
";

const FIELDS: [&str; 5] = ["source.ip", "host.name", "user.name", "a", "b"];
const RULES: usize = 4;

fn some(random: &mut Random, of: &[&str], most: usize) -> Vec<String> {
    let mut chosen: Vec<String> = Vec::new();
    for _ in 0..random.below(most + 1) {
        let one = of[random.below(of.len())].to_owned();
        if !chosen.contains(&one) {
            chosen.push(one);
        }
    }
    chosen
}

fn about(random: &mut Random) -> String {
    let level = ["low", "medium", "high"][random.below(3)];
    match random.below(3) {
        0 => format!("level: {level}\n"),
        _ => format!("level: {level}\nvertice: {{class: c, entity: {}}}\n", FIELDS[random.below(5)]),
    }
}

/// Rules for single events, and correlations over some of what comes before them.
fn rules(random: &mut Random) -> String {
    let mut names: Vec<String> = (0..RULES).map(|n| format!("r{n}")).collect();
    let mut documents: Vec<String> = (0..RULES)
        .map(|n| {
            let more = about(random);
            format!(
                "title: Rule {n}\nid: 00000000-0000-4000-8000-00000000000{n}\nname: r{n}\ntags: [attack.t110{n}]\n\
                 logsource: {{product: test}}\ndetection: {{s: {{kind|contains: k{n}}}, condition: s}}\n{more}"
            )
        })
        .collect();
    for n in 0..1 + random.below(5) {
        let mut over = vec![names[random.below(names.len())].clone()];
        for _ in 0..random.below(3) {
            let one = names[random.below(names.len())].clone();
            if !over.contains(&one) {
                over.push(one);
            }
        }
        let mut group = some(random, &FIELDS, 3);
        let mut aliases = String::new();
        if random.below(3) == 0 {
            // A field that each rule, or each correlation, calls otherwise.
            let field = |random: &mut Random| FIELDS[random.below(5)];
            let named: Vec<String> = over.iter().map(|rule| format!("{rule}: {}", field(random))).collect();
            aliases = format!("  aliases:\n    x: {{{}}}\n", named.join(", "));
            group.push("x".to_owned());
        }
        let condition = match random.below(6) {
            0 => "type: temporal\n".to_owned(),
            1 => "type: temporal_ordered\n".to_owned(),
            2 => format!("type: value_count\n  condition: {{field: a, gte: {}}}\n", 1 + random.below(3)),
            3 => format!("type: event_count\n  condition: {{lte: {}}}\n", 1 + random.below(3)),
            _ => format!("type: event_count\n  condition: {{gte: {}}}\n", 1 + random.below(4)),
        };
        let (more, over) = (about(random), over.join(", "));
        let (generate, group, span) = (random.below(2) == 0, group.join(", "), 5 + random.below(60));
        documents.push(format!(
            "title: Correlation {n}\nid: 00000000-0000-4000-8000-00000000001{n}\nname: c{n}\ncorrelation:\n  \
             rules: [{over}]\n  group-by: [{group}]\n  timespan: {span}s\n  generate: {generate}\n{aliases}  {condition}{more}"
        ));
        names.push(format!("c{n}"));
    }
    documents.join("---\n")
}

fn sources(random: &mut Random, partitions: usize) -> Vec<Source> {
    let base = 1_772_000_000_i64;
    let mut times = vec![base; partitions];
    let mut sources: Vec<Source> = vec![Vec::new(); partitions];
    let mut lines: Vec<String> = Vec::new();
    for n in 0..random.below(150) {
        let p = random.below(partitions);
        // Partitions lag behind each other, and events behind both.
        times[p] = times[p].max(base + n as i64 + random.below(20) as i64 - 10);
        let mut members = vec![format!(r#""kind":"k{} k{}""#, random.below(RULES), random.below(RULES))];
        for (name, values) in [
            ("ip", ["192.0.2.1", "192.0.2.2", "::ffff:192.0.2.1"]),
            ("host", ["WS1", "ws1", "-"]),
            ("user", ["ana", "Ana", "192.0.2.2"]),
            ("a", ["x", "y", "192.0.2.1"]),
            ("b", ["x", "z", "ana"]),
        ] {
            if random.below(5) > 0 {
                members.push(format!(r#""{name}":"{}""#, values[random.below(3)]));
            }
        }
        if random.below(3) > 0 {
            let at = Timestamp::from_seconds(base + n as i64 - random.below(15) as i64 + random.below(5) as i64);
            members.push(format!(r#""time":"{at}""#));
            if random.below(2) == 0 {
                members.push(format!(r#""id":"e{n}""#));
            }
        }
        let line = format!("{{{}}}", members.join(","));
        // A sender that got no answer sends again, maybe to another partition.
        let line = match lines.get(random.below(lines.len() + 5)) {
            Some(sent) if random.below(5) == 0 => sent.clone(),
            _ => line,
        };
        lines.push(line.clone());
        sources[p].push((Timestamp::from_seconds(times[p]), RawEvent { origin: "test".into(), line }));
    }
    sources
}

#[test]
fn shards_detect_what_one_engine_does_whatever_the_rules() {
    let mut random = Random(0x5eed_0007);
    let (mut found, mut correlated, mut nested, mut records) = (0, 0, 0, 0);
    let cases = if long() { 5_000 } else { 120 };
    for case in 0..cases {
        let (rules, partitions) = (rules(&mut random), 1 + random.below(4));
        let files = [("mappings/test.yml", MAPPING.to_owned()), ("rules/test.yml", rules.clone())];
        let file = |(path, text): (&str, String)| ContentFile { path: path.to_owned(), text };
        let content = Arc::new(Content::compile(files.map(file).into()));
        assert!(content.refused.is_empty(), "{:?}\n{rules}", content.refused);
        let sources = sources(&mut random, partitions);
        let wanted = whole(&content, &sources);
        let routes = routes(&content, &sources);
        for instances in [1, 3] {
            let shards = 1 + random.below(4);
            let hits = carried(&mut random, &sources, &routes, instances, shards);
            let got = divided(&mut random, &content, partitions, hits);
            assert_eq!(got, wanted, "case {case}, {instances} instances, {shards} shards\n{rules}");
        }
        found += wanted.len();
        correlated += wanted.iter().filter(|d| d.contains("-00000000001")).count();
        nested +=
            usize::from(rules.lines().any(|l| l.trim().starts_with("rules:") && l.contains('c') && l.contains(" c")));
        records += routes.iter().flatten().map(Vec::len).sum::<usize>();
    }
    println!(
        "{cases} rule sets, {nested} with correlations over correlations; {records} records of hits; {found} detections, {correlated} of correlations"
    );
    assert!(correlated > cases && found > correlated);
}
