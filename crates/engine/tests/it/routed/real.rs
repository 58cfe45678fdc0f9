//! Recorded Windows events, the public rules and our correlations.

use std::ops::ControlFlow;
use std::sync::Arc;

use vertice_engine::{Content, ContentFile};
use vertice_model::{RawEvent, Timestamp};
use vertice_stream::{Item, Progress};
use vertice_testkit::{Random, files_below, known_answers, long, root};

use super::{Source, carried, divided, routes, whole};

const PARTITIONS: usize = 6;
const SHARDS: usize = 4;

/// Correlations over what is frequent in the recordings, beside the shipped ones: each way of grouping.
const MORE: &str = include_str!("frequent.yml");

fn content() -> Content {
    let shipped = root().join("content");
    let public = known_answers("sigma/rules").expect("it was looked for");
    let mut files = vec![ContentFile { path: "rules/frequent.yml".to_owned(), text: MORE.to_owned() }];
    for (kind, folder) in [("mappings", shipped.join("mappings")), ("rules", shipped.join("rules")), ("rules", public)]
    {
        for path in files_below(&folder, ".yml").into_iter().filter(|p| !p.to_string_lossy().contains("/cases/")) {
            let text = std::fs::read_to_string(&path).expect("a content file");
            files.push(ContentFile { path: format!("{kind}:{}", path.display()), text });
        }
    }
    Content::compile(files)
}

/// The events of all recordings, of each at most so many.
fn recorded(each_max: usize) -> Vec<RawEvent> {
    let found = vertice_stream::find(&[known_answers("security-datasets").expect("it was looked for")]);
    let mut events = Vec::new();
    for path in &found.files {
        let end = events.len().saturating_add(each_max);
        let _ = vertice_stream::read(path, &Progress::new(found.bytes), &mut |item| {
            if let Item::Event(event, _) = item {
                events.push(event);
            }
            if events.len() < end { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
    }
    events
}

/// Spread round robin over partitions, a hundredth of a second apart; every seventh comes late to its partition, and the
/// partition's logical time stays what it was.
fn spread(events: impl Iterator<Item = RawEvent>) -> Vec<Source> {
    let mut sources: Vec<Source> = vec![Vec::new(); PARTITIONS];
    let mut times = [Timestamp::default(); PARTITIONS];
    for (n, event) in events.enumerate() {
        let us = 1_772_000_000_000_000 + 10_000 * n as i64;
        let p = n % PARTITIONS;
        times[p] = times[p].max(Timestamp::from_micros(if n % 7 == 0 { us - 500_000 } else { us }));
        sources[p].push((times[p], event));
    }
    sources
}

#[test]
fn one_instance_and_three_detect_what_one_engine_does_in_recorded_events() {
    if known_answers("security-datasets").is_none() || known_answers("sigma/rules").is_none() {
        println!("left out 2 cases (one instance, three instances): the recordings or the public rules are not there");
        return;
    }
    let content = Arc::new(content());
    let events = recorded(if long() { usize::MAX } else { 120 });
    let recorded = events.len();
    let rounds = if long() { 500_000_usize.div_ceil(recorded) } else { 1 };
    // Again and again, each time in another year, so that it is neither repetition nor within the windows of before.
    let again = (0..rounds).flat_map(|round| {
        let year = format!("\"{}-", 2020 - round);
        events.iter().map(move |event| {
            let line = if round == 0 { event.line.clone() } else { event.line.replace("\"2020-", &year) };
            RawEvent { origin: Arc::clone(&event.origin), line }
        })
    });
    let sources = spread(again);
    let count: usize = sources.iter().map(Vec::len).sum();
    let wanted = whole(&content, &sources);
    let routes = routes(&content, &sources);
    let correlated = content.rules.set().iter().filter(|(_, rule)| rule.is_correlation());
    let keys: Vec<String> = correlated.map(|(_, rule)| format!(" {} ", rule.key())).collect();
    let of_correlations = wanted.iter().filter(|d| keys.iter().any(|key| d.contains(key.as_str()))).count();
    let records: usize = routes.iter().flatten().map(Vec::len).sum();
    println!(
        "{count} events ({recorded} recorded, {rounds} times) in {PARTITIONS} partitions; {records} records of hits to \
         {SHARDS} shards; {} detections, {of_correlations} of correlations",
        wanted.len()
    );
    assert!(of_correlations > 0 && wanted.len() > of_correlations);
    let mut random = Random(0x5eed_0008);
    for instances in [1, 3] {
        let hits = carried(&mut random, &sources, &routes, instances, SHARDS);
        let shares: Vec<usize> = hits.iter().map(Vec::len).collect();
        let got = divided(&mut random, &content, PARTITIONS, hits);
        println!("{instances} instances: {} detections; records and marks by shard {shares:?}", got.len());
        assert!(got == wanted, "{instances} instances: {:?}", difference(&got, &wanted));
    }
}

/// The first few that only one of them has.
fn difference<'a>(got: &'a [String], wanted: &'a [String]) -> Vec<&'a String> {
    let only = |a: &'a [String], b: &'a [String]| a.iter().filter(|d| b.binary_search(d).is_err()).take(5);
    only(got, wanted).chain(only(wanted, got)).collect()
}
