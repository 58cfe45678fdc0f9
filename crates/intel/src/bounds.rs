//! What keeps the prediction from being better: what no count can know, and what more incidents would bring.
//!
//! The figures of `evaluate` say how good it is; these say why it is no better. None of them is used to predict.

use std::collections::BTreeSet;

use crate::counts::{self, Counts, Evidence, Weights};
use crate::evaluate::{self, Numbers, place, steps};
use crate::facts::{Facts, Flow};

/// How many times the incidents that are learned from are drawn, for each number of them.
const DRAWS: usize = 4;

/// What a prediction from so many incidents reaches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learned {
    /// How many folds were learned from.
    pub folds: usize,
    /// Top-5 of the model.
    pub model: f64,
    /// Top-5 of the model without what was written by hand.
    pub by_data: f64,
    /// Top-5 of the tactic-order Markov chain.
    pub chain: f64,
}

/// What bounds the prediction, in steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bounds {
    /// Whose technique is the next one of no step of the other folds.
    pub never_next: usize,
    /// Whose technique no flow of the other folds has.
    pub never_had: usize,
    /// Whose technique the table lists after any of those before.
    pub listed: usize,
    /// Whose technique the table lists after the last of those before.
    pub listed_last: usize,
    /// Steps of flows that have another one of the same incident or malware.
    pub with_other: usize,
    /// Those whose technique the other flow has.
    pub other_has: usize,
    /// Those whose technique follows any of those before in the other flow.
    pub other_follows: usize,
    /// By how many folds were learned from, the fewest first.
    pub learned: Vec<Learned>,
}

/// Finds them; takes a second or two when optimised.
#[must_use]
pub fn bounds(facts: &Facts) -> Bounds {
    let mut found = Bounds::default();
    let folds: BTreeSet<&str> = facts.flows.iter().map(|f| f.fold.as_str()).collect();
    let folds: Vec<&str> = folds.into_iter().collect();
    for fold in &folds {
        let counts = Counts::without(facts, &[fold]);
        for step in steps(facts, fold) {
            let lists = |seen: &usize| facts.progression[*seen].contains(&step.next);
            found.never_next += usize::from(counts.next[step.next] == 0);
            found.never_had += usize::from(counts.has[step.next] == 0);
            found.listed += usize::from(step.before.iter().any(lists));
            found.listed_last += usize::from(step.before.last().is_some_and(lists));
        }
    }
    for (at, flow) in facts.flows.iter().enumerate() {
        let others = facts.flows.iter().enumerate().filter(|(i, f)| *i != at && f.fold == flow.fold);
        let others: Vec<&Flow> = others.map(|(_, f)| f).collect();
        for step in flow.steps.iter().filter(|_| !others.is_empty()) {
            let follows = |f: &&Flow| f.edges.iter().any(|(a, b)| *b == step.next && step.before.contains(a));
            found.with_other += 1;
            found.other_has += usize::from(others.iter().any(|f| f.techniques.contains(&step.next)));
            found.other_follows += usize::from(others.iter().any(follows));
        }
    }
    let weights = [evaluate::weights(facts, |example| example), evaluate::weights(facts, evaluate::by_data)];
    let all = folds.len().saturating_sub(1);
    let numbers = [all / 7, all / 3, 2 * all / 3, all];
    found.learned = numbers.into_iter().map(|of| learned(facts, &folds, &weights, of)).collect();
    found
}

/// Predicts each fold from so many drawn others. The weights are those for use, which saw the step: what is shown is how
/// the counts grow, and no figure to claim.
fn learned(facts: &Facts, folds: &[&str], weights: &[Weights; 2], of: usize) -> Learned {
    let draws = if of + 1 < folds.len() { DRAWS } else { 1 };
    let (mut random, mut hits, mut tried) = (Numbers::seeded(3), [0.0; 3], 0.0);
    for fold in (0..draws).flat_map(|_| folds) {
        let mut others: Vec<&str> = folds.iter().copied().filter(|f| f != fold).collect();
        while others.len() > folds.len() - 1 - of {
            others.swap_remove(random.below(others.len()));
        }
        let counts = Counts::unheard(facts, &[fold], &others);
        for step in steps(facts, fold) {
            let mixed = |weights: &Weights| counts::mixed(facts, &counts, weights, &step.before);
            let chain = counts.shares(facts, Evidence::TacticChain, &step.before);
            for (hits, shares) in hits.iter_mut().zip([mixed(&weights[0]), mixed(&weights[1]), chain]) {
                *hits += f64::from(u8::from(place(&shares, step) < 5));
            }
            tried += 1.0;
        }
    }
    let [model, by_data, chain] = hits.map(|h| h / tried);
    Learned { folds: of, model, by_data, chain }
}
