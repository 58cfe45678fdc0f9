//! Counts over the facts, without those that are left out, and what each kind of evidence makes of them.

use vertice_model::Tactic;

use crate::facts::{ActorKind, Facts, Step};

/// The kinds of evidence, in the order of the weights.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Evidence {
    /// What tends to follow the seen techniques, as written down by hand.
    Progression,
    /// What directly followed them in recorded incidents.
    Followed,
    /// How often recorded incidents took it as a step at all.
    Frequency,
    /// What the groups and campaigns that share the seen techniques also use.
    Neighbours,
    /// What groups and campaigns use together with them more often than by chance.
    Association,
    /// Which tactic comes next, and which techniques serve it.
    TacticChain,
}

impl Evidence {
    /// Every kind, in the order of the weights.
    pub const ALL: [Evidence; 6] = [
        Evidence::Progression,
        Evidence::Followed,
        Evidence::Frequency,
        Evidence::Neighbours,
        Evidence::Association,
        Evidence::TacticChain,
    ];

    /// The name in the file of weights.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Evidence::Progression => "progression",
            Evidence::Followed => "followed",
            Evidence::Frequency => "frequency",
            Evidence::Neighbours => "neighbours",
            Evidence::Association => "association",
            Evidence::TacticChain => "tactic_chain",
        }
    }
}

/// One share for each technique; the shares of those not yet seen sum to 1.
pub(crate) type Shares = Vec<f64>;

/// How much less a technique says that lies one further back. Set once, before the weights were fitted.
const FADE: f64 = 0.7;

const TACTICS: usize = 14;

/// The counts, without the flows of the folds left out and the actors that may know of them.
pub(crate) struct Counts {
    /// Groups and campaigns that were kept, as indices into the actors.
    pub groups: Vec<usize>,
    /// How many of them use each technique.
    pub used: Vec<u32>,
    /// How many use both, row by row.
    pub together: Vec<u32>,
    /// How many flows were kept, and how many of them have each technique.
    pub flows: usize,
    pub has: Vec<u32>,
    /// How often each technique was the next step.
    pub next: Vec<u32>,
    /// How often one directly followed the other, row by row, once for each flow.
    pub follows: Vec<u32>,
    /// Share of the next tactic given the last, row by row.
    chain: Vec<f64>,
    /// Share of a tactic's steps that were each technique, row by row of techniques.
    serves: Vec<f64>,
    /// For each technique its tactics, sharing 1.
    tactics: Vec<[f64; TACTICS]>,
}

impl Counts {
    pub fn without(facts: &Facts, folds: &[&str]) -> Counts {
        Counts::unheard(facts, folds, &[])
    }

    /// The same, and the flows of more folds left out, but not the actors that may know of those.
    pub fn unheard(facts: &Facts, folds: &[&str], more: &[&str]) -> Counts {
        let v = facts.techniques.len();
        let (out, mut kept): (Vec<_>, Vec<_>) = facts.flows.iter().partition(|f| folds.contains(&f.fold.as_str()));
        kept.retain(|f| !more.contains(&f.fold.as_str()));
        let leaks: Vec<usize> = out.iter().flat_map(|f| f.leaks.iter().copied()).collect();
        let is_group = |kind| matches!(kind, ActorKind::Group | ActorKind::Campaign);
        let groups = (0..facts.actors.len()).filter(|at| is_group(facts.actors[*at].kind) && !leaks.contains(at));
        let groups: Vec<usize> = groups.collect();
        let mut counts = Counts {
            groups,
            used: vec![0; v],
            together: vec![0; v * v],
            flows: kept.len(),
            has: vec![0; v],
            next: vec![0; v],
            follows: vec![0; v * v],
            chain: vec![0.5; TACTICS * TACTICS],
            serves: vec![0.0; v * TACTICS],
            tactics: facts.tactics.iter().map(|t| shared(t)).collect(),
        };
        for &group in &counts.groups {
            let techniques = &facts.actors[group].techniques;
            for &a in techniques {
                counts.used[a] += 1;
                techniques.iter().for_each(|&b| counts.together[a * v + b] += 1);
            }
        }
        for flow in kept {
            flow.techniques.iter().for_each(|&t| counts.has[t] += 1);
            flow.steps.iter().for_each(|s| counts.next[s.next] += 1);
            for &(from, to) in &flow.edges {
                counts.follows[from * v + to] += 1;
                for (a, x) in counts.tactics[from].iter().enumerate() {
                    for (b, y) in counts.tactics[to].iter().enumerate() {
                        counts.chain[a * TACTICS + b] += x * y;
                    }
                }
            }
        }
        counts.settle();
        counts
    }

    /// Makes shares of the tactics' counts.
    fn settle(&mut self) {
        for row in self.chain.chunks_mut(TACTICS) {
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|x| *x /= sum);
        }
        let mut sums = [1e-9; TACTICS];
        for (t, tactics) in self.tactics.iter().enumerate() {
            for (k, share) in tactics.iter().enumerate() {
                self.serves[t * TACTICS + k] = share * (f64::from(self.next[t]) + 0.1);
                sums[k] += self.serves[t * TACTICS + k];
            }
        }
        self.serves.chunks_mut(TACTICS).for_each(|row| row.iter_mut().zip(sums).for_each(|(x, sum)| *x /= sum));
    }

    /// What one kind of evidence says of what comes after `before` (oldest first, not empty).
    pub fn shares(&self, facts: &Facts, evidence: Evidence, before: &[usize]) -> Shares {
        let v = self.used.len();
        let mut shares: Shares = match evidence {
            Evidence::Progression => progression(facts, before),
            Evidence::Followed => {
                let mut shares = vec![0.0; v];
                for (weight, &seen) in faded(before) {
                    (0..v).for_each(|to| shares[to] += weight * f64::from(self.follows[seen * v + to]));
                }
                shares
            }
            Evidence::Frequency => self.next.iter().map(|&n| f64::from(n) + 0.3).collect(),
            Evidence::Neighbours => self.neighbours(facts, before),
            Evidence::Association => self.association(before),
            Evidence::TacticChain => self.tactic_chain(before),
        };
        normalize(&mut shares, before);
        shares
    }

    fn neighbours(&self, facts: &Facts, before: &[usize]) -> Shares {
        let mut shares = vec![0.0; self.used.len()];
        for techniques in self.groups.iter().map(|&g| &facts.actors[g].techniques) {
            let shared = before.iter().filter(|t| techniques.binary_search(t).is_ok()).count() as f64;
            // A group that does everything shares with everybody; squared, so that two shared say more than twice one.
            let weight = shared * shared / (techniques.len() as f64 + 3.0);
            techniques.iter().for_each(|&t| shares[t] += weight);
        }
        shares
    }

    fn association(&self, before: &[usize]) -> Shares {
        let (v, n) = (self.used.len(), self.groups.len() as f64);
        let used = |t: usize| (f64::from(self.used[t]) + 1.0) / (n + 2.0);
        let lift =
            |a: usize, b: usize| ((f64::from(self.together[a * v + b]) + 2.0) / (used(a) * used(b) * n + 2.0)).ln();
        let mean = |to| before.iter().map(|&seen| lift(seen, to)).sum::<f64>() / before.len() as f64;
        (0..v).map(|to| (f64::from(self.used[to]) + 0.5) / (n + 1.0) * mean(to).exp()).collect()
    }

    fn tactic_chain(&self, before: &[usize]) -> Shares {
        let last = &self.tactics[before[before.len() - 1]];
        let mut next = [0.0; TACTICS];
        for (from, share) in last.iter().enumerate() {
            (0..TACTICS).for_each(|to| next[to] += share * self.chain[from * TACTICS + to]);
        }
        self.serves.chunks(TACTICS).map(|row| row.iter().zip(next).map(|(x, y)| x * y).sum()).collect()
    }

    /// The baseline that is a smoothed Markov chain of techniques.
    pub fn technique_chain(&self, before: &[usize]) -> Shares {
        let (v, total) = (self.used.len(), f64::from(self.next.iter().sum::<u32>()));
        let row = before[before.len() - 1] * v;
        let prior = |to: usize| (f64::from(self.next[to]) + 0.3) / (total + 0.3 * v as f64);
        let mut shares = (0..v).map(|to| f64::from(self.follows[row + to]) + 5.0 * prior(to)).collect();
        normalize(&mut shares, before);
        shares
    }
}

/// What tends to follow, weighed by how far back the seen one is and shared among its followers by their places.
fn progression(facts: &Facts, before: &[usize]) -> Shares {
    let mut shares = vec![0.0; facts.techniques.len()];
    for (weight, &seen) in faded(before) {
        let place = |at: usize| 1.0 / (1.0 + 0.6 * at as f64);
        let followers = &facts.progression[seen];
        let sum: f64 = (0..followers.len()).map(place).sum();
        followers.iter().enumerate().for_each(|(at, &to)| shares[to] += weight * place(at) / sum);
    }
    shares
}

fn faded(before: &[usize]) -> impl Iterator<Item = (f64, &usize)> {
    before.iter().rev().scan(1.0, |weight, seen| {
        let now = *weight;
        *weight *= FADE;
        Some((now, seen))
    })
}

fn shared(tactics: &[Tactic]) -> [f64; TACTICS] {
    let mut shares = [0.0; TACTICS];
    tactics.iter().for_each(|&t| shares[t as usize] = 1.0 / tactics.len() as f64);
    shares
}

/// Shares among what was not seen yet; a little for each, so that nothing is impossible.
fn normalize(shares: &mut Shares, before: &[usize]) {
    let seen = |at: usize| before.contains(&at);
    shares.iter_mut().enumerate().for_each(|(at, x)| *x = if seen(at) { 0.0 } else { *x + 1e-6 });
    let sum: f64 = shares.iter().sum();
    shares.iter_mut().for_each(|x| *x /= sum);
}

/// How much each kind of evidence weighs; they sum to 1.
pub(crate) type Weights = [f64; 6];

/// Fits the weights by expectation maximisation: those under which the true next steps are likeliest.
///
/// Each example is what each kind of evidence gave the step that came. The problem is concave, so where it starts does
/// not matter.
pub(crate) fn fit(examples: &[Weights]) -> Weights {
    let mut weights = [1.0 / 6.0; 6];
    for _ in 0..60 {
        let mut sums = [0.0; 6];
        for example in examples {
            let all: f64 = example.iter().zip(weights).map(|(x, w)| x * w).sum();
            (0..6).for_each(|k| sums[k] += example[k] * weights[k] / all);
        }
        weights = sums.map(|s| s / examples.len().max(1) as f64);
    }
    weights
}

/// What each kind of evidence gives the step that came.
pub(crate) fn example(facts: &Facts, counts: &Counts, step: &Step) -> Weights {
    Evidence::ALL.map(|e| counts.shares(facts, e, &step.before)[step.next])
}

/// The kinds together.
pub(crate) fn mixed(facts: &Facts, counts: &Counts, weights: &Weights, before: &[usize]) -> Shares {
    let mut shares = vec![0.0; counts.used.len()];
    for (evidence, weight) in Evidence::ALL.into_iter().zip(weights) {
        let one = counts.shares(facts, evidence, before);
        shares.iter_mut().zip(one).for_each(|(sum, x)| *sum += weight * x);
    }
    shares
}
