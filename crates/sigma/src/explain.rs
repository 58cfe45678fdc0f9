//! Why a rule matched, for a person.

use crate::atom::Examined;
use crate::condition::Condition;
use crate::detection::{Leaf, Tree};
use crate::limits;
use crate::rule::Detection;

/// One condition of a rule that held, and the value it held of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Matched {
    /// The named selection of the rule, such as `selection_img`.
    pub selection: String,
    /// The field with its modifiers, such as `CommandLine|contains`; empty for a keyword.
    pub field: String,
    /// What the rule wanted, as written in the rule.
    pub wanted: String,
    /// What the event said, cut after [`limits::EXPLAINED_CHARS_MAX`] characters; empty if it said nothing.
    pub value: String,
}

/// The conditions that held. What had to be false is left out: it has nothing to show.
pub(crate) fn matched(detection: &Detection, event: &mut Examined<'_, '_>) -> Vec<Matched> {
    let mut numbers = Vec::new();
    if detection.holds(&mut |atom| event.holds(atom)) {
        selections(&detection.condition, detection, event, &mut numbers);
    }
    numbers.sort_unstable();
    numbers.dedup();
    let mut matched: Vec<Matched> = Vec::new();
    for number in numbers {
        let (name, tree) = &detection.selections[number];
        leaves(tree, event, &mut |leaf, value| {
            let one = Matched {
                selection: name.clone(),
                field: leaf.field.to_string(),
                wanted: leaf.wanted.to_string(),
                value: value.chars().take(limits::EXPLAINED_CHARS_MAX).collect(),
            };
            // One written value may be several patterns, and several may have matched.
            if matched.len() < limits::EXPLAINED_MAX && !matched.contains(&one) {
                matched.push(one);
            }
        });
    }
    matched
}

/// The selections that made a true condition true.
fn selections(condition: &Condition, detection: &Detection, event: &mut Examined<'_, '_>, found: &mut Vec<usize>) {
    let mut holds = |number: usize| detection.selections[number].1.holds(&mut |atom| event.holds(atom));
    match condition {
        Condition::Selection(number) => found.extend(Some(*number).filter(|number| holds(*number))),
        Condition::AtLeast(_, numbers) => found.extend(numbers.iter().copied().filter(|number| holds(*number))),
        Condition::Not(_) => {}
        Condition::All(conditions) | Condition::Any(conditions) => {
            for condition in conditions {
                let mut holds = |number: usize| detection.selections[number].1.holds(&mut |atom| event.holds(atom));
                if condition.holds(&mut holds) {
                    selections(condition, detection, event, found);
                }
            }
        }
    }
}

/// The leaves that made a true tree true, with the values that did.
fn leaves(tree: &Tree, event: &mut Examined<'_, '_>, show: &mut dyn FnMut(&Leaf, String)) {
    match tree {
        Tree::All(trees) | Tree::Any(trees) => {
            for tree in trees {
                if tree.holds(&mut |atom| event.holds(atom)) {
                    leaves(tree, event, show);
                }
            }
        }
        Tree::Leaf(leaf) => show(leaf, event.witness(leaf.atom).unwrap_or_default()),
        Tree::Not(tree) => differing(tree, event, show),
    }
}

/// The leaves of a `neq`, which all had to be false, with what the event said instead.
fn differing(tree: &Tree, event: &mut Examined<'_, '_>, show: &mut dyn FnMut(&Leaf, String)) {
    match tree {
        Tree::All(trees) | Tree::Any(trees) => trees.iter().for_each(|tree| differing(tree, event, show)),
        Tree::Leaf(leaf) => show(leaf, event.witness(leaf.atom).unwrap_or_default()),
        Tree::Not(tree) => leaves(tree, event, show),
    }
}
