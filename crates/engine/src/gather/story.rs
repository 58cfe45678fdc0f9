//! A threat in words. Deterministic; no language model has a part in it.

use std::fmt::Write;

use vertice_model::{RuleSeen, Threat};

/// Most rules that the narrative tells of one by one.
const CHAPTERS_MAX: usize = 12;

/// A line for a list: the worst rule and the first entity.
pub(super) fn title(threat: &Threat) -> String {
    let worst = threat.rules.iter().rev().max_by_key(|r| r.severity);
    let what = worst.map_or("Nothing yet", |r| r.rule_title.as_str());
    let entity = &threat.entities[0];
    match threat.entities.len() - 1 {
        0 => format!("{what}: {} {entity}", entity.kind()),
        more => format!("{what}: {} {entity} and {more} more", entity.kind()),
    }
}

/// What happened so far, in sentences.
pub(super) fn narrative(threat: &Threat) -> String {
    let mut text = String::new();
    for (i, rule) in threat.rules.iter().take(CHAPTERS_MAX).enumerate() {
        chapter(&mut text, i, rule);
    }
    match threat.rules.len().saturating_sub(CHAPTERS_MAX) {
        0 => {}
        more => write!(text, " {more} more rules matched after that.").expect("writing to a string does not fail"),
    }
    text
}

fn chapter(text: &mut String, i: usize, rule: &RuleSeen) {
    let lead = if i == 0 { "First" } else { " Then" };
    let times = match rule.detections {
        1 => String::new(),
        n => format!(", {n} times"),
    };
    write!(
        text,
        "{lead}, at {}, on {} {}: {} ({}{times}).",
        rule.first_seen,
        rule.entity.kind(),
        rule.entity,
        rule.rule_title,
        rule.severity
    )
    .expect("writing to a string does not fail");
}
