//! What an attacker will try next, from the techniques seen so far.
//!
//! # How
//!
//! Six kinds of evidence ([`Evidence`]) each share 1 among the techniques not yet seen; a prediction is their weighted
//! sum. The weights come from `content/models/intent.txt`, as do the figures of the evaluation that fitted them, so
//! that whoever shows a prediction can show how often such a one was right.
//!
//! # What it gets wrong
//!
//! Two of three. In the evaluation the technique that came next was among the first five in some 31 of 100 steps; the
//! shares order the techniques and are no probabilities ([`Forecast::rank_only`]).
//!
//! # Cost
//!
//! One pass over some 220 groups and techniques for each kind: well under a millisecond.

use serde::Serialize;
use vertice_model::{Tactic, Technique};

use crate::counts::{self, Counts, Evidence, Weights};
use crate::evaluate::{self, BASELINES, Evaluation};
use crate::facts::{FactError, Facts, each_line, parent};
use crate::limits;

/// How often predictions were right when incidents were left out, and whether that is better than the baselines.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = ForecastStanding)]
pub struct Standing {
    /// How many steps of how many incidents were predicted.
    pub steps: u32,
    /// How many incidents these are of.
    pub flows: u32,
    /// Top-5 of the model: value and 95 % interval.
    pub top5: [f64; 3],
    /// Top-5 of the best baseline, value and interval.
    pub baseline_top5: [f64; 3],
    /// Its name.
    pub baseline: String,
    /// Whether the model's lower end is above the value of every baseline.
    pub beats_baselines: bool,
}

impl Standing {
    /// A sentence with its counts.
    #[must_use]
    pub fn text(&self) -> String {
        let of_100 = |share: f64| (share * 100.0).round();
        let better = if self.beats_baselines { "better than" } else { "not surely better than" };
        format!(
            "the technique that came next was among the first five in {} of 100 recorded steps ({} to {}; {} steps of {} \
             incidents), {better} the {} of the best simple guess ({})",
            of_100(self.top5[0]),
            of_100(self.top5[1]),
            of_100(self.top5[2]),
            self.steps,
            self.flows,
            of_100(self.baseline_top5[0]),
            self.baseline
        )
    }
}

/// Why a technique is predicted: counts, for a person to weigh.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Basis {
    /// It is written down as what tends to follow a seen technique.
    Progression {
        /// The seen technique.
        seen: Technique,
        /// Its place among the followers, from 1.
        place: u32,
    },
    /// It directly followed a seen technique in recorded incidents.
    Followed {
        /// The seen technique.
        seen: Technique,
        /// In how many incidents.
        flows: u32,
        /// Of how many.
        of: u32,
    },
    /// Groups and campaigns that use a seen technique also use it.
    Shared {
        /// The seen technique.
        seen: Technique,
        /// How many use both.
        groups: u32,
        /// Of how many that use the seen one.
        of: u32,
    },
    /// Recorded incidents have it at all.
    Frequency {
        /// How many.
        flows: u32,
        /// Of how many.
        of: u32,
    },
}

impl Basis {
    /// A sentence with its counts.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Basis::Progression { seen, place } => {
                format!("written down as number {place} of what tends to follow {seen}")
            }
            Basis::Followed { seen, flows, of } => format!("followed {seen} in {flows} of {of} recorded incidents"),
            Basis::Shared { seen, groups, of } => {
                format!("used by {groups} of the {of} groups and campaigns known to use {seen}")
            }
            Basis::Frequency { flows, of } => format!("seen in {flows} of {of} recorded incidents"),
        }
    }
}

/// A technique that may come next.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Prediction {
    /// Which; always a parent technique.
    pub technique: Technique,
    /// The tactics it serves.
    pub tactics: Vec<Tactic>,
    /// Its share, from 0 to 1. It orders the techniques and is no probability.
    pub share: f64,
    /// Why, at most [`limits::BASES_MAX`].
    pub basis: Vec<Basis>,
}

/// What may come next, likeliest first.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Forecast {
    /// At most as many as asked for; none where nothing known was seen.
    pub predictions: Vec<Prediction>,
    /// Seen techniques that the facts do not know, which took no part.
    pub unknown: Vec<Technique>,
    /// Always true: the shares order, and are not calibrated as probabilities.
    pub rank_only: bool,
    /// How good such predictions were.
    pub standing: Standing,
}

/// The facts, the counts over all of them, and the weights.
pub struct Intent {
    pub(crate) facts: Facts,
    pub(crate) counts: Counts,
    weights: Weights,
    standing: Standing,
}

impl Intent {
    /// From the facts and the text of `content/models/intent.txt`.
    ///
    /// # Errors
    ///
    /// Names the line that can not be read, or what is missing.
    pub fn new(facts: Facts, model: &str) -> Result<Intent, FactError> {
        let mut weights: [Option<f64>; 6] = [None; 6];
        let mut rates: Vec<(String, [f64; 3])> = Vec::new();
        let mut of = None;
        each_line("intent.txt", model, |line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let number = |at: usize| {
                let number = fields.get(at).and_then(|f| f.parse::<f64>().ok()).filter(|n| (0.0..=1e6).contains(n));
                number.ok_or_else(|| format!("wanted a number as field {}", at + 1))
            };
            match fields[0] {
                "weight" => {
                    let kind = Evidence::ALL.iter().position(|e| fields.get(1) == Some(&e.as_str()));
                    weights[kind.ok_or("an unknown kind of evidence")?] = Some(number(2)?);
                }
                "evaluated" => of = Some((number(1)? as u32, number(2)? as u32)),
                "top5" => rates.push(((*fields.get(1).unwrap_or(&"")).into(), [number(2)?, number(3)?, number(4)?])),
                _ => return Err("wanted `weight`, `evaluated` or `top5`".into()),
            }
            Ok(())
        })?;
        let missing = |reason: &str| FactError { file: "intent.txt", line: 0, reason: reason.to_owned() };
        let mut all = [0.0; 6];
        for (to, from) in all.iter_mut().zip(weights) {
            *to = from.ok_or_else(|| missing("a weight is missing"))?;
        }
        let (steps, flows) = of.ok_or_else(|| missing("`evaluated` is missing"))?;
        let ours = rates.iter().find(|r| r.0 == "model").ok_or_else(|| missing("`top5 model` is missing"))?.1;
        let others = || rates.iter().filter(|r| BASELINES.contains(&r.0.as_str()));
        let best = others().max_by(|a, b| a.1[0].total_cmp(&b.1[0])).ok_or_else(|| missing("no baseline"))?;
        let beats_baselines = others().count() == BASELINES.len() && others().all(|b| ours[1] > b.1[0]);
        let (baseline, baseline_top5) = best.clone();
        let standing = Standing { steps, flows, top5: ours, baseline_top5, baseline, beats_baselines };
        let counts = Counts::without(&facts, &[]);
        Ok(Intent { facts, counts, weights: all, standing })
    }

    /// How good the predictions were.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The facts.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Predicts what comes after `seen`, oldest first; the latest [`limits::SEEN_MAX`] are looked at.
    #[must_use]
    pub fn predict(&self, seen: &[Technique], most: usize) -> Forecast {
        let (mut before, mut unknown) = (Vec::new(), Vec::new());
        for technique in &seen[seen.len().saturating_sub(limits::SEEN_MAX)..] {
            match self.facts.place(technique) {
                Some(place) => {
                    before.retain(|p| *p != place);
                    before.push(place);
                }
                None => unknown.push(technique.clone()),
            }
        }
        let predictions = if before.is_empty() { Vec::new() } else { self.ranked(&before, most) };
        Forecast { predictions, unknown, rank_only: true, standing: self.standing.clone() }
    }

    fn ranked(&self, before: &[usize], most: usize) -> Vec<Prediction> {
        let shares = counts::mixed(&self.facts, &self.counts, &self.weights, before);
        // What no tactic serves is of another matrix.
        let known = |at: &usize| !before.contains(at) && !self.facts.tactics[*at].is_empty();
        let mut order: Vec<usize> = (0..shares.len()).filter(known).collect();
        order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]).then(a.cmp(b)));
        order.truncate(most.min(limits::PREDICTIONS_MAX));
        let prediction = |at: usize| Prediction {
            technique: self.facts.techniques[at].clone(),
            tactics: self.facts.tactics[at].clone(),
            share: shares[at],
            basis: self.basis(before, at),
        };
        order.into_iter().map(prediction).collect()
    }

    /// The latest seen technique first, for it weighs most.
    fn basis(&self, before: &[usize], at: usize) -> Vec<Basis> {
        let v = self.facts.techniques.len();
        let of = self.counts.flows as u32;
        let mut all = Vec::new();
        for &from in before.iter().rev() {
            let seen = || self.facts.techniques[from].clone();
            if let Some(place) = self.facts.progression[from].iter().position(|t| *t == at) {
                all.push(Basis::Progression { seen: seen(), place: place as u32 + 1 });
            }
            let flows = self.counts.follows[from * v + at];
            if flows > 0 {
                all.push(Basis::Followed { seen: seen(), flows, of });
            }
            let groups = self.counts.together[from * v + at];
            if groups > 0 {
                all.push(Basis::Shared { seen: seen(), groups, of: self.counts.used[from] });
            }
        }
        all.truncate(limits::BASES_MAX - 1);
        all.push(Basis::Frequency { flows: self.counts.has[at], of });
        all
    }

    /// How many groups and campaigns use a technique, of how many.
    #[must_use]
    pub fn used_by(&self, technique: &Technique) -> (u32, u32) {
        let used = self.facts.index.get(&parent(technique)).map_or(0, |&at| self.counts.used[at]);
        (used, self.counts.groups.len() as u32)
    }
}

/// The text of `content/models/intent.txt`: weights fitted to all steps, and the figures of the evaluation.
#[must_use]
pub fn model_text(facts: &Facts, evaluation: &Evaluation) -> String {
    let mut text =
        "# Written by `cargo xtask learn intent`: weights fitted to every step, each predicted without its own\n\
                    # incident, and top-5 with 95 % intervals when incidents are left out, nested.\n"
            .to_owned();
    for (evidence, weight) in Evidence::ALL.into_iter().zip(evaluate::weights(facts, |example| example)) {
        text += &format!("weight\t{}\t{weight:.4}\n", evidence.as_str());
    }
    text += &format!("evaluated\t{}\t{}\n", evaluation.steps, evaluation.flows);
    for row in &evaluation.rows[..=BASELINES.len()] {
        let evaluate::Rate { value, low, high } = row.top[2];
        text += &format!("top5\t{}\t{value:.4}\t{low:.4}\t{high:.4}\n", row.name);
    }
    text
}
