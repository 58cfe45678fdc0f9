//! What an evaluation came to: deterministic triage and the model beside each other, mapping, cost and time.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::{Value, json};
use vertice_model::{Assessment, ConsultationState, Technique};

use super::super::output::{Out, Table, Tint};
use super::super::records::facts;
use super::super::share::Share;
use super::dataset::Alert;
use super::play::Outcome;

/// Who says that an alert is malicious, and how often that is right.
struct Rates {
    by: String,
    /// Of the malicious.
    true_positives: Share,
    /// Of the benign.
    false_positives: Share,
}

/// Whose techniques they are, and how many are right.
struct Mapping {
    by: &'static str,
    /// `technique` or `parent`.
    level: &'static str,
    precision: Share,
    recall: Share,
}

/// What an evaluation came to.
pub struct Report {
    model: Option<String>,
    alerts: Share,
    labelled: u64,
    unreadable: u64,
    rates: Vec<Rates>,
    mapping: Vec<Mapping>,
    /// Alerts of which nothing was asked.
    not_asked: Share,
    states: BTreeMap<&'static str, Share>,
    reasons: BTreeMap<String, u64>,
    input_tokens: u64,
    output_tokens: u64,
    micro_usd: u64,
    /// Milliseconds of the answers that a provider gave, sorted.
    took_ms: Vec<u64>,
}

/// What becomes of a consultation that is closed at once.
const STATES: [&str; 4] = ["answered", "refused", "hijacked", "skipped"];

impl Report {
    /// Counts. `outcomes` are those of the alerts, in their order; deterministic triage calls an alert malicious from this
    /// priority on.
    pub fn new(model: Option<String>, priority: u8, alerts: &[Alert], outcomes: &[Outcome]) -> Report {
        let all: Vec<(&Alert, &Outcome)> = alerts.iter().zip(outcomes).collect();
        let mut report = Report {
            model,
            alerts: share(all.iter().map(|(a, _)| a.is_malicious)),
            labelled: alerts.iter().filter(|a| a.techniques.is_some()).count() as u64,
            unreadable: outcomes.iter().map(|o| o.unreadable).sum(),
            rates: Vec::new(),
            mapping: Vec::new(),
            not_asked: share(outcomes.iter().map(|o| o.consulted.is_empty())),
            states: STATES.map(|s| (s, Share::default())).into(),
            reasons: BTreeMap::new(),
            input_tokens: 0,
            output_tokens: 0,
            micro_usd: 0,
            took_ms: Vec::new(),
        };
        report.rate(priority, &all);
        report.map(&all);
        outcomes.iter().for_each(|outcome| report.consulted(outcome));
        report.took_ms.sort_unstable();
        report
    }

    fn rate(&mut self, priority: u8, all: &[(&Alert, &Outcome)]) {
        let answered: Vec<_> = all.iter().copied().filter(|(_, o)| o.assessment().is_some()).collect();
        let mut add = |by: &str, of: &[(&Alert, &Outcome)], says: &dyn Fn(&Outcome) -> bool| {
            let of_label =
                |malicious| share(of.iter().filter(|(a, _)| a.is_malicious == malicious).map(|(_, o)| says(o)));
            self.rates.push(Rates {
                by: by.to_owned(),
                true_positives: of_label(true),
                false_positives: of_label(false),
            });
        };
        let triage = |o: &Outcome| o.priority >= priority;
        add("a detection", all, &|o| o.detections > 0);
        add("a threat", all, &|o| o.threats > 0);
        add(&format!("triage: priority {priority} or more"), all, &triage);
        if self.model.is_none() {
            return;
        }
        add("the same, of the alerts that the model answered", &answered, &triage);
        add("model: likely malicious", &answered, &|o| o.assessment() == Some(Assessment::LikelyMalicious));
        add("model: not likely benign", &answered, &|o| o.assessment() != Some(Assessment::LikelyBenign));
    }

    fn map(&mut self, all: &[(&Alert, &Outcome)]) {
        let both = |o: &Outcome| o.mapped.union(&o.suggested()).cloned().collect();
        let mut whose: Vec<(&'static str, Techniques<'_>)> = vec![("detections", &|o| o.mapped.clone())];
        if self.model.is_some() {
            whose.extend([("model", (&|o: &Outcome| o.suggested()) as Techniques<'_>), ("both", &both)]);
        }
        for (by, found) in whose {
            for level in ["technique", "parent"] {
                let mut mapping = Mapping { by, level, precision: Share::default(), recall: Share::default() };
                let ids = |of: &BTreeSet<Technique>| -> BTreeSet<String> {
                    let id = |t: &Technique| {
                        t.as_str().split(if level == "parent" { '.' } else { ' ' }).next().map(str::to_owned)
                    };
                    of.iter().filter_map(id).collect()
                };
                for (alert, outcome) in all {
                    let Some(labelled) = &alert.techniques else { continue };
                    let (wanted, got) = (ids(labelled), ids(&found(outcome)));
                    got.iter().for_each(|t| mapping.precision.add(wanted.contains(t)));
                    wanted.iter().for_each(|t| mapping.recall.add(got.contains(t)));
                }
                self.mapping.push(mapping);
            }
        }
    }

    fn consulted(&mut self, outcome: &Outcome) {
        for consulted in &outcome.consulted {
            self.states.iter_mut().for_each(|(state, share)| share.add(*state == consulted.state.as_str()));
            if consulted.state != ConsultationState::Answered {
                let reason = format!("{}: {}", consulted.state.as_str(), consulted.state.why());
                *self.reasons.entry(reason).or_default() += 1;
            }
            let usage = consulted.usage;
            self.input_tokens = self.input_tokens.saturating_add(usage.input_tokens);
            self.output_tokens = self.output_tokens.saturating_add(usage.output_tokens);
            self.micro_usd = self.micro_usd.saturating_add(usage.cost_micro_usd);
            let from_provider = !usage.cached && !matches!(consulted.state, ConsultationState::Skipped { .. });
            self.took_ms.extend(from_provider.then_some(usage.took_ms));
        }
    }

    /// The time within which so many in a hundred were answered; `None` if a provider answered none.
    fn percentile(&self, percent: usize) -> Option<u64> {
        let rank = (self.took_ms.len() * percent).div_ceil(100);
        self.took_ms.get(rank.checked_sub(1)?).copied()
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let rate = |r: &Rates| json!({"by": r.by, "true_positives": r.true_positives.json(), "false_positives": r.false_positives.json()});
        let mapping = |m: &Mapping| json!({"by": m.by, "level": m.level, "precision": m.precision.json(), "recall": m.recall.json()});
        let states: BTreeMap<_, _> = self.states.iter().map(|(state, share)| (*state, share.json())).collect();
        json!({
            "model": self.model,
            "alerts": {"malicious": self.alerts.n, "benign": self.alerts.of - self.alerts.n, "with_techniques": self.labelled},
            "events_unreadable": self.unreadable,
            "rates": self.rates.iter().map(rate).collect::<Vec<_>>(),
            "mapping": self.mapping.iter().map(mapping).collect::<Vec<_>>(),
            "alerts_not_asked_about": self.not_asked.json(),
            "consultations": states,
            "reasons": self.reasons,
            "cost": {"micro_usd": self.micro_usd, "input_tokens": self.input_tokens, "output_tokens": self.output_tokens},
            "latency_ms": {"n": self.took_ms.len(), "p50": self.percentile(50), "p99": self.percentile(99)},
        })
    }

    /// For people.
    pub fn print(&self, out: &mut Out) -> Result<()> {
        let benign = self.alerts.of - self.alerts.n;
        out.line(&format!(
            "{} malicious alerts, {benign} benign; shares with counts and Wilson's 95 % interval",
            self.alerts.n
        ))?;
        if self.unreadable > 0 {
            out.parts(&[(Tint::Warn, &format!("{} events could not be read by any mapping", self.unreadable))])?;
        }
        let row = |cells: [&str; 3]| cells.iter().map(|cell| (Tint::None, (*cell).to_owned())).collect();
        let mut table = Table::new(&["IT SAYS MALICIOUS…", "TRUE POSITIVES", "FALSE POSITIVES"]);
        for r in &self.rates {
            table.row(row([&r.by, &r.true_positives.text(), &r.false_positives.text()]));
        }
        out.line("")?;
        out.table(&table)?;
        let mut table = Table::new(&["TECHNIQUES OF…", "PRECISION", "RECALL"]);
        for m in &self.mapping {
            let by = if m.level == "parent" { format!("{}, by parent technique", m.by) } else { m.by.to_owned() };
            table.row(row([&by, &m.precision.text(), &m.recall.text()]));
        }
        out.line("")?;
        out.table(&table)?;
        out.line("")?;
        match &self.model {
            None => out.line("No model was asked."),
            Some(model) => self.print_model(model, out),
        }
    }

    fn print_model(&self, model: &str, out: &mut Out) -> Result<()> {
        let asked = self.states.values().next().map_or(0, |s| s.of);
        let cost = self.micro_usd as f64 / 1e6;
        let each = if asked == 0 { String::new() } else { format!(", {:.6} each", cost / asked as f64) };
        let latency = match (self.percentile(50), self.percentile(99)) {
            (Some(p50), Some(p99)) => format!("p50 {p50} ms, p99 {p99} ms, of {} answers", self.took_ms.len()),
            _ => "not measured: no answer came from a provider".to_owned(),
        };
        let state = |state: &str| self.states.get(state).copied().unwrap_or_default().text();
        facts(
            out,
            &[
                ("model", model.to_owned()),
                ("consultations", format!("{asked}; {} alerts not asked about", self.not_asked.n)),
                ("answered", state("answered")),
                ("refused", state("refused")),
                ("hijacked", state("hijacked")),
                ("skipped", state("skipped")),
                ("tokens", format!("{} in, {} out", self.input_tokens, self.output_tokens)),
                ("cost", format!("{cost:.6} USD{each}")),
                ("latency", latency),
            ],
        )?;
        self.reasons.iter().try_for_each(|(reason, n)| out.parts(&[(Tint::Warn, &format!("{n}  {reason}"))]))
    }
}

/// The techniques that somebody saw in an alert.
type Techniques<'f> = &'f dyn Fn(&Outcome) -> BTreeSet<Technique>;

fn share(all: impl Iterator<Item = bool>) -> Share {
    let mut share = Share::default();
    all.for_each(|has| share.add(has));
    share
}

/// What came of one alert, for programs.
pub fn line(alert: &Alert, outcome: &Outcome) -> Value {
    let consulted: Vec<Value> = outcome
        .consulted
        .iter()
        .map(|c| json!({"state": c.state, "assessment": c.assessment, "usage": c.usage}))
        .collect();
    json!({
        "id": alert.id,
        "label": if alert.is_malicious { "malicious" } else { "benign" },
        "detections": outcome.detections,
        "threats": outcome.threats,
        "severity": outcome.severity,
        "priority": outcome.priority,
        "events_unreadable": outcome.unreadable,
        "techniques": outcome.mapped,
        "techniques_labelled": alert.techniques,
        "techniques_of_model": outcome.suggested(),
        "assessment": outcome.assessment(),
        "consultations": consulted,
    })
}
