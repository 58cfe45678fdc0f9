//! Why a rule matches an event or does not: every condition of it, whether it holds, and the value that decided it.
//!
//! [`crate::Matched`] is for whoever is told of a detection; this is for whoever writes the rule, who mostly asks
//! why nothing came of it. So what failed is shown too, beside what the event says instead.

use std::collections::BTreeSet;

use crate::atom::Examined;
use crate::condition::Condition;
use crate::detection::{Leaf, Tree};
use crate::event::{Event, Source};
use crate::limits;
use crate::rule::{Body, Detection, LogSource, Rule};

/// A condition of a rule, whether it holds of an event, and the conditions that it is made of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// What is asked.
    pub asked: Asked,
    /// Whether the answer is yes.
    pub holds: bool,
    /// What it is made of, in the order of the rule.
    pub below: Vec<Verdict>,
    /// How many more there are below than [`limits::VERDICTS_MAX`] let be shown.
    pub left_out: usize,
}

/// What a [`Verdict`] is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Asked {
    /// All below must hold.
    All,
    /// One below must hold.
    Any,
    /// So many below must hold.
    AtLeast(usize),
    /// What is below must not hold.
    Not,
    /// A named selection; what it says is below.
    Selection(String),
    /// One wanted value.
    Value {
        /// The field with its modifiers, such as `CommandLine|contains`; empty for a keyword.
        field: String,
        /// What is wanted, as written in the rule.
        wanted: String,
        /// What the event says: the value that decided, or where none did, all values of the field. None if the
        /// field is absent, and for a keyword that was not found. Cut as those of [`crate::Matched`].
        found: Vec<String>,
    },
}

impl LogSource {
    /// Whether a rule for this log source is for events of that one: it has every part that this one names.
    #[must_use]
    pub fn concerns(&self, source: Source<'_>) -> bool {
        let part = |wanted: &Option<String>, given: Option<&str>| wanted.is_none() || wanted.as_deref() == given;
        part(&self.category, source.category)
            && part(&self.product, source.product)
            && part(&self.service, source.service)
    }
}

impl Rule {
    /// The fields that its selections ask about, without modifiers.
    #[must_use]
    pub fn asked_fields(&self) -> BTreeSet<&str> {
        let mut fields = BTreeSet::new();
        if let Body::Detection(detection) = &self.body {
            detection.selections.iter().for_each(|(_, tree)| fields_of(tree, &mut fields));
        }
        fields.remove("");
        fields
    }

    /// The selections that its condition never asks for.
    #[must_use]
    pub fn idle_selections(&self) -> Vec<&str> {
        let Body::Detection(detection) = &self.body else { return Vec::new() };
        let mut used = BTreeSet::new();
        selections_of(&detection.condition, &mut used);
        let names = detection.selections.iter().enumerate();
        names.filter(|(number, _)| !used.contains(number)).map(|(_, (name, _))| name.as_str()).collect()
    }
}

fn fields_of<'r>(tree: &'r Tree, fields: &mut BTreeSet<&'r str>) {
    match tree {
        Tree::All(trees) | Tree::Any(trees) => trees.iter().for_each(|tree| fields_of(tree, fields)),
        Tree::Not(tree) => fields_of(tree, fields),
        Tree::Leaf(leaf) => fields.extend(leaf.field.split('|').next()),
    }
}

fn selections_of(condition: &Condition, used: &mut BTreeSet<usize>) {
    match condition {
        Condition::Selection(number) => used.extend([*number]),
        Condition::AtLeast(_, numbers) => used.extend(numbers),
        Condition::Not(condition) => selections_of(condition, used),
        Condition::All(conditions) | Condition::Any(conditions) => {
            conditions.iter().for_each(|condition| selections_of(condition, used));
        }
    }
}

/// The verdict on a whole rule.
pub(crate) fn verdict(detection: &Detection, event: &dyn Event, examined: &mut Examined<'_, '_>) -> Verdict {
    Judge { detection, event, examined, left: limits::VERDICTS_MAX }.condition(&detection.condition)
}

struct Judge<'j, 'e, 'r> {
    detection: &'j Detection,
    event: &'j dyn Event,
    examined: &'j mut Examined<'e, 'r>,
    /// How many verdicts may yet be given.
    left: usize,
}

impl Judge<'_, '_, '_> {
    fn condition(&mut self, condition: &Condition) -> Verdict {
        let holds = condition
            .holds(&mut |number| self.detection.selections[number].1.holds(&mut |atom| self.examined.holds(atom)));
        match condition {
            Condition::Selection(number) => self.selection(*number),
            Condition::Not(condition) => {
                self.group(Asked::Not, holds, std::slice::from_ref(condition.as_ref()), Judge::condition)
            }
            Condition::All(conditions) => self.group(Asked::All, holds, conditions, Judge::condition),
            Condition::Any(conditions) => self.group(Asked::Any, holds, conditions, Judge::condition),
            Condition::AtLeast(wanted, numbers) => {
                self.group(Asked::AtLeast(*wanted), holds, numbers, |judge, number| judge.selection(*number))
            }
        }
    }

    fn selection(&mut self, number: usize) -> Verdict {
        let detection = self.detection;
        let (name, tree) = &detection.selections[number];
        let asked = Asked::Selection(name.clone());
        let holds = tree.holds(&mut |atom| self.examined.holds(atom));
        match tree {
            // The selection itself says that all of it must hold.
            Tree::All(trees) => self.group(asked, holds, trees, |judge, tree| judge.tree(tree, false)),
            Tree::Any(_) | Tree::Not(_) | Tree::Leaf(_) => {
                self.group(asked, holds, std::slice::from_ref(tree), |judge, tree| judge.tree(tree, false))
            }
        }
    }

    /// A part of a selection. What stands under `neq` is `negated`, and each of its values told as it is meant: to
    /// differ.
    fn tree(&mut self, tree: &Tree, negated: bool) -> Verdict {
        let holds = tree.holds(&mut |atom| self.examined.holds(atom)) != negated;
        let next = move |judge: &mut Self, tree: &Tree| judge.tree(tree, negated);
        match tree {
            Tree::Not(tree) => self.tree(tree, !negated),
            Tree::Leaf(leaf) => self.value(&[leaf], holds),
            Tree::Any(trees) => match one_value(trees) {
                Some(leaves) => self.value(&leaves, holds),
                None => self.group(if negated { Asked::All } else { Asked::Any }, holds, trees, next),
            },
            Tree::All(trees) => self.group(if negated { Asked::Any } else { Asked::All }, holds, trees, next),
        }
    }

    fn group<T>(
        &mut self,
        asked: Asked,
        holds: bool,
        parts: &[T],
        mut each: impl FnMut(&mut Self, &T) -> Verdict,
    ) -> Verdict {
        let shown = parts.len().min(self.left);
        self.left -= shown;
        let below = parts[..shown].iter().map(|part| each(self, part)).collect();
        Verdict { asked, holds, below, left_out: parts.len() - shown }
    }

    /// One wanted value, which may be several patterns.
    fn value(&mut self, leaves: &[&Leaf], holds: bool) -> Verdict {
        let first = leaves[0];
        let cut = |text: &str| text.chars().take(limits::EXPLAINED_CHARS_MAX).collect::<String>();
        let found = match leaves.iter().find(|leaf| self.examined.holds(leaf.atom)) {
            Some(leaf) => self.examined.witness(leaf.atom).into_iter().map(|text| cut(&text)).collect(),
            None => {
                let mut found = Vec::new();
                let field = first.field.split('|').next().unwrap_or_default();
                if !field.is_empty() {
                    self.event.field(field, &mut |value| {
                        found.extend(value.text().filter(|_| found.len() < limits::FOUND_MAX).map(|text| cut(&text)));
                    });
                }
                found
            }
        };
        let asked = Asked::Value { field: first.field.to_string(), wanted: first.wanted.to_string(), found };
        Verdict { asked, holds, below: Vec::new(), left_out: 0 }
    }
}

/// The leaves of alternatives that are all patterns of one written value.
fn one_value(trees: &[Tree]) -> Option<Vec<&Leaf>> {
    let leaves: Vec<&Leaf> = trees.iter().map(leaf).collect::<Option<_>>()?;
    let first = *leaves.first()?;
    leaves.iter().all(|leaf| leaf.field == first.field && leaf.wanted == first.wanted).then_some(leaves)
}

fn leaf(tree: &Tree) -> Option<&Leaf> {
    match tree {
        Tree::Leaf(leaf) => Some(leaf),
        Tree::All(_) | Tree::Any(_) | Tree::Not(_) => None,
    }
}
