//! The cases beside the mappings: a line, and what must come of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use vertice_model::LogSource;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    /// What the case shows.
    name: String,
    /// The raw line.
    pub(super) line: String,
    /// The mapping that reads it; the file's own unless said. For a refusal it is not looked at.
    mapping: Option<String>,
    /// A part of the reason for which the line is refused.
    refused: Option<String>,
    /// Log sources it belongs to: each must match one of the event's.
    #[serde(default)]
    log_sources: Vec<LogSource>,
    /// Log sources it must not belong to.
    #[serde(default)]
    not_log_sources: Vec<LogSource>,
    /// The entity's name; the empty text for none.
    entity: Option<String>,
    /// When it happened.
    timestamp: Option<String>,
    /// The event's id.
    event_id: Option<String>,
    /// Fields and their texts; `null` for one that must be absent.
    #[serde(default)]
    fields: BTreeMap<String, Option<String>>,
}

pub(super) fn belongs(event: &vertice_model::Event, wanted: &LogSource) -> bool {
    let fits = |want: &Option<String>, have: &Option<String>| want.is_none() || want == have;
    event.log_sources.iter().any(|have| {
        fits(&wanted.category, &have.category)
            && fits(&wanted.product, &have.product)
            && fits(&wanted.service, &have.service)
    })
}

fn wrong(mappings: &vertice_engine::normalize::Mappings, stem: &str, case: &Case) -> Vec<String> {
    let mut wrong = Vec::new();
    let event = match (super::read(mappings, &case.line), &case.refused) {
        (Ok(event), None) => event,
        (Ok(event), Some(_)) => return vec![format!("read by {} and not refused", event.mapping)],
        (Err(refusal), Some(part)) if refusal.reason.contains(part.as_str()) => return wrong,
        (Err(refusal), _) => return vec![format!("refused: {refusal}")],
    };
    let mut expect = |what: &str, got: &str, want: &str| {
        if got != want {
            wrong.push(format!("{what} is {got:?} and not {want:?}"));
        }
    };
    expect("mapping", &event.mapping, case.mapping.as_deref().unwrap_or(stem));
    if let Some(entity) = &case.entity {
        expect("entity", event.entity.as_ref().map(|e| e.name()).unwrap_or_default(), entity);
    }
    if let Some(timestamp) = &case.timestamp {
        expect("timestamp", &event.timestamp.to_string(), timestamp);
    }
    if let Some(id) = &case.event_id {
        expect("event_id", event.event_id.as_str(), id);
    }
    for (name, want) in &case.fields {
        let got = event.fields.get(name).map(|value| value.to_text().into_owned());
        if got != *want {
            wrong.push(format!("{name} is {got:?} and not {want:?}"));
        }
    }
    for (sources, must) in [(&case.log_sources, true), (&case.not_log_sources, false)] {
        for source in sources.iter().filter(|source| belongs(&event, source) != must) {
            wrong.push(format!("belonging to {source:?} is {}; it belongs to {:?}", !must, event.log_sources));
        }
    }
    wrong
}

#[test]
fn every_mapping_has_cases_and_they_hold() {
    let mappings = super::shipped();
    let folder = Path::new(super::MAPPINGS).join("cases");
    let mut count = BTreeMap::new();
    let mut failures = Vec::new();
    for file in super::files(&folder, "cases") {
        let stem = file.path.trim_start_matches("cases/").trim_end_matches(".yml").to_owned();
        let cases: Vec<Case> = serde_saphyr::from_str(&file.text).unwrap_or_else(|e| panic!("{}: {e}", file.path));
        for case in &cases {
            failures.extend(wrong(&mappings, &stem, case).iter().map(|why| format!("{stem}: {}: {why}", case.name)));
        }
        let negative = cases.iter().filter(|c| c.refused.is_some() || c.mapping.is_some()).count();
        // A line within a line is another mapping's in the end, and a positive case all the same.
        let positive = cases.iter().filter(|c| c.refused.is_none()).count();
        count.insert(stem, (positive, negative));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    for name in mappings.names() {
        let (positive, negative) = count.get(name).copied().unwrap_or_default();
        assert!(positive > 0 && negative > 0, "{name} has {positive} positive and {negative} negative cases");
    }
    println!("cases of {} mappings: {count:?}", count.len());
}
