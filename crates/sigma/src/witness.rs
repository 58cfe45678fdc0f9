//! Witnesses: for each rule a few atoms of which one holds whenever the rule matches.
//!
//! A rule none of whose witnesses was seen in an event need not be looked at, and of thousands of rules about ten
//! remain. Of the atoms that could stand witness for a rule those are chosen that hold most seldom, by what events
//! have shown so far.

use crate::atom::{Atoms, Test};
use crate::condition::Condition;
use crate::detection::Tree;
use crate::pattern::{Matcher, Part};
use crate::rule::{Body, Detection, Rule};

/// The rules that each atom is a witness of.
#[derive(Debug, Default)]
pub(crate) struct Witnesses {
    /// Where the rules of each atom begin, and after the last where they end.
    starts: Vec<u32>,
    rules: Vec<u32>,
    /// The rules that can match though nothing was seen, such as those that ask what an event has not.
    without: Vec<u32>,
}

/// Atoms, and how often one of them holds, as a share of events.
struct Chosen {
    atoms: Vec<usize>,
    share: f64,
}

impl Witnesses {
    /// Chooses witnesses. `seen` says in how many of `events` each atom held.
    pub(crate) fn choose(rules: &[Rule], atoms: &Atoms, seen: &[u32], events: u32) -> Witnesses {
        let share =
            |atom: usize| rarity(atoms, atom).map(|guess| guess + f64::from(seen[atom]) / f64::from(events.max(1)));
        let mut by_atom: Vec<Vec<u32>> = vec![Vec::new(); atoms.len()];
        let mut without = Vec::new();
        for (number, rule) in rules.iter().enumerate() {
            let Body::Detection(detection) = &rule.body else { continue };
            match of_condition(&detection.condition, detection, &share) {
                Some(chosen) => chosen.atoms.iter().for_each(|atom| by_atom[*atom].push(number as u32)),
                None => without.push(number as u32),
            }
        }
        let (mut starts, mut flat) = (Vec::with_capacity(by_atom.len() + 1), Vec::new());
        for mut rules in by_atom {
            starts.push(flat.len() as u32);
            rules.dedup();
            flat.append(&mut rules);
        }
        starts.push(flat.len() as u32);
        Witnesses { starts, rules: flat, without }
    }

    /// The rules of an atom.
    pub(crate) fn of(&self, atom: u32) -> &[u32] {
        let at = atom as usize;
        &self.rules[self.starts[at] as usize..self.starts[at + 1] as usize]
    }

    /// The rules that have no witness.
    pub(crate) fn without(&self) -> &[u32] {
        &self.without
    }
}

/// A guess of how often an atom holds that no event has shown, less than once in a thousand; `None` if it is no
/// witness, for it may hold of what is not there.
fn rarity(atoms: &Atoms, atom: usize) -> Option<f64> {
    let length = match &atoms.get(atom).test {
        Test::Null | Test::Exists(_) | Test::Field { .. } => return None,
        Test::Text { matcher, .. } => match matcher {
            Matcher::Anything => 0,
            Matcher::Exact(text) => text.len() + 4,
            Matcher::Starts(text) | Matcher::Ends(text) => text.len() + 2,
            Matcher::Contains(text) => text.len(),
            Matcher::Glob(pieces) => pieces.iter().flatten().map(length).sum(),
        },
        Test::Regex(regex) => regex.as_str().len() / 4,
        Test::Network(network) => usize::from(network.prefix_len()),
        Test::Number { .. } | Test::Time { .. } => 1,
    };
    Some(0.001 / (1.0 + length as f64))
}

fn length(part: &Part) -> usize {
    match part {
        Part::Literal(text) => text.len(),
        Part::One | Part::Any => 0,
    }
}

fn of_condition(condition: &Condition, of: &Detection, share: &dyn Fn(usize) -> Option<f64>) -> Option<Chosen> {
    match condition {
        Condition::Selection(number) => of_tree(&of.selections[*number].1, share),
        Condition::Not(_) => None,
        Condition::All(conditions) => best(conditions.iter().map(|c| of_condition(c, of, share))),
        Condition::Any(conditions) => union(conditions.iter().map(|c| of_condition(c, of, share))),
        // If three of five hold, one holds of any three.
        Condition::AtLeast(wanted, numbers) => {
            let mut each: Vec<_> =
                numbers.iter().filter_map(|number| of_tree(&of.selections[*number].1, share)).collect();
            let enough = (numbers.len() + 1).checked_sub(*wanted).filter(|enough| *enough > 0 && *wanted > 0)?;
            if each.len() < enough {
                return None;
            }
            each.sort_by(|a, b| a.share.total_cmp(&b.share));
            union(each.into_iter().take(enough).map(Some))
        }
    }
}

fn of_tree(tree: &Tree, share: &dyn Fn(usize) -> Option<f64>) -> Option<Chosen> {
    match tree {
        Tree::All(trees) => best(trees.iter().map(|tree| of_tree(tree, share))),
        Tree::Any(trees) => union(trees.iter().map(|tree| of_tree(tree, share))),
        Tree::Not(_) => None,
        Tree::Leaf(leaf) => share(leaf.atom).map(|share| Chosen { atoms: vec![leaf.atom], share }),
    }
}

/// All of these must hold, so any of them is witness enough.
fn best(each: impl Iterator<Item = Option<Chosen>>) -> Option<Chosen> {
    each.flatten().min_by(|a, b| a.share.total_cmp(&b.share))
}

/// Any of these may hold, so each needs its own.
fn union(each: impl Iterator<Item = Option<Chosen>>) -> Option<Chosen> {
    let mut all = Chosen { atoms: Vec::new(), share: 0.0 };
    for one in each {
        let one = one?;
        all.atoms.extend(one.atoms);
        all.share += one.share;
    }
    Some(all)
}
