//! The record of each verb: what it did, or in observe mode would have done, and how often people said that it was right.
//!
//! A verb earns its switch by its record. What is suggested is bounded from below by Wilson's score interval (Wilson
//! 1927) at 95 %: ten out of ten says only that it is right at least seven times out of ten.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::{Value, json};

use super::Failure;
use super::client::{Client, segment};
use super::output::{Format, Out, Table, Tint};
use super::records::{duration, entity, text};
use super::share::wilson;
use crate::limits;

pub const HELP: &str = "A containment was right if its threat was judged `confirmed`, and wrong if it was judged `false_positive` or \
`benign`. The bound is the lower end of Wilson's 95 % interval of the share that was right: few cases give a low bound \
however good they look. `promote` suggests a verb from a bound of 90 % on.";

/// The bound from which on a verb is suggested: wrong at most once in ten.
const WANTED: f64 = 0.9;

/// What a verb did, or would have done.
#[derive(Debug, Default)]
struct Tally {
    simulated: u64,
    real: u64,
    right: u64,
    wrong: u64,
    held_s: u64,
    /// Whom it held wrongly.
    hurt: BTreeSet<String>,
}

impl Tally {
    fn bound(&self) -> f64 {
        wilson(self.right, self.right + self.wrong).0
    }
}

pub fn print(client: &Client, out: &mut Out) -> Result<()> {
    let tallies = tallies(client)?;
    match out.format {
        Format::Json | Format::Ndjson => {
            out.json(&Value::Object(tallies.iter().map(|(v, t)| (v.clone(), said(t))).collect()))
        }
        Format::Table if tallies.is_empty() => out.line("No containment so far, neither real nor simulated."),
        Format::Table => {
            let mut table =
                Table::new(&["VERB", "REAL", "SIMULATED", "RIGHT", "WRONG", "BOUND", "HELD", "WRONGLY HELD…"]);
            for (verb, t) in &tallies {
                let hurt: Vec<&str> = t.hurt.iter().take(limits::RECORD_HURT_SHOWN).map(String::as_str).collect();
                let cells = [
                    verb.clone(),
                    t.real.to_string(),
                    t.simulated.to_string(),
                    t.right.to_string(),
                    t.wrong.to_string(),
                    format!("{:.0} %", t.bound() * 100.0),
                    duration(t.held_s),
                    hurt.join(", "),
                ];
                table.row(cells.into_iter().map(|cell| (Tint::None, cell)).collect());
            }
            out.table(&table)
        }
    }
}

pub fn promote(verb: &str, client: &Client, out: &mut Out) -> Result<()> {
    let tallies = tallies(client)?;
    let t = tallies.get(verb).ok_or_else(|| {
        let known: Vec<&str> = tallies.keys().map(String::as_str).collect();
        let known =
            if known.is_empty() { "no verb has one".to_owned() } else { format!("there are {}", known.join(", ")) };
        Failure::NotFound(format!("{verb} has no record; {known}"))
    })?;
    let (right, judged, bound) = (t.right, t.right + t.wrong, t.bound() * 100.0);
    if bound < WANTED * 100.0 {
        let text = format!(
            "{verb} is not suggested: {right} of {judged} judged containments were right, which shows only that at least \
             {bound:.0} % are; from 90 % on it is. Judge more threats (`vertice threats judge`), or mend the rules behind the wrong ones."
        );
        return Err(Failure::Failed(text).into());
    }
    match out.format {
        Format::Json | Format::Ndjson => out.json(&json!({"verb": verb, "suggested": true, "record": said(t)})),
        Format::Table => out.text(&format!(
            "{verb} may act: {right} of {judged} judged containments were right, so at least {bound:.0} % are.\n\
             Two switches in the configuration, and a start, let it:\n\n\
             [response]\nmode = \"live\"\n\n[response.{verb}]\nenabled = true\n"
        )),
    }
}

fn said(t: &Tally) -> Value {
    json!({"real": t.real, "simulated": t.simulated, "right": t.right, "wrong": t.wrong, "wilson_low": t.bound(),
           "held_s": t.held_s, "wrongly_held": t.hurt})
}

fn tallies(client: &Client) -> Result<BTreeMap<String, Tally>> {
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    let mut verdicts: BTreeMap<String, String> = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let mut query = vec![("limit", "1000"), ("order", "asc")];
        if !cursor.is_empty() {
            query.push(("cursor", cursor.as_str()));
        }
        let page = client.page("/api/v1/defense/containments", &query)?;
        for held in &page.items {
            let threat = text(held, "/threat_id");
            if !verdicts.contains_key(&threat) {
                let found = client.get(&format!("/api/v1/defense/threats/{}", segment(&threat)), &[])?;
                verdicts.insert(threat.clone(), text(&found, "/verdict/verdict"));
            }
            count(tallies.entry(text(held, "/action_type")).or_default(), held, &verdicts[&threat]);
        }
        match page.next {
            Some(next) if !page.items.is_empty() => cursor = next,
            Some(_) | None => return Ok(tallies),
        }
    }
}

fn count(tally: &mut Tally, held: &Value, verdict: &str) {
    match held.get("simulated").and_then(Value::as_bool) {
        Some(false) => tally.real += 1,
        Some(true) | None => tally.simulated += 1,
    }
    let seconds = |pointer: &str| {
        let read = text(held, pointer).parse::<vertice_model::Timestamp>();
        read.map_or(0, |t| u64::try_from(t.as_micros() / 1_000_000).unwrap_or(0))
    };
    tally.held_s += seconds("/lease_until").saturating_sub(seconds("/since"));
    match verdict {
        "confirmed" => tally.right += 1,
        "false_positive" | "benign" => {
            tally.wrong += 1;
            tally.hurt.insert(entity(held));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_cases_give_a_low_bound() {
        // Newcombe 1998 has such intervals; 10 of 10 has a lower end of 0.722, 81 of 263 one of 0.255.
        assert!((wilson(10, 10).0 - 0.722).abs() < 0.001);
        assert!((wilson(81, 263).0 - 0.255).abs() < 0.001);
        assert_eq!((wilson(0, 0).0, wilson(0, 5).0), (0.0, 0.0));
        assert!(wilson(35, 35).0 > WANTED && wilson(34, 34).0 < WANTED);
    }

    #[test]
    fn what_was_wrong_names_whom_it_hurt() {
        let held = json!({"simulated": true, "since": "2026-01-01T00:00:00Z", "lease_until": "2026-01-01T01:00:00Z",
                          "entity_kind": "ip", "entity": "203.0.113.9"});
        let mut tally = Tally::default();
        for verdict in ["confirmed", "benign", ""] {
            count(&mut tally, &held, verdict);
        }
        assert_eq!((tally.simulated, tally.right, tally.wrong, tally.held_s), (3, 1, 1, 10_800));
        assert!(tally.hurt.iter().any(|name| name.contains("203.0.113.9")));
    }
}
