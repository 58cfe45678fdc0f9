//! The workflow of a CACAO playbook as a graph: what each step leads to, and what each waits for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// The properties of a step that name one further step.
pub(super) const ROUTES: [&str; 5] = ["on_completion", "on_success", "on_failure", "on_true", "on_false"];

/// The steps of a workflow.
pub(super) type Steps = Map<String, Value>;

/// What a step leads to, each with the property that says so.
pub(super) fn next(step: &Value) -> Vec<(String, &str)> {
    let mut found = Vec::new();
    for route in ROUTES {
        found.extend(step.get(route).and_then(Value::as_str).map(|id| (route.to_owned(), id)));
    }
    for (i, id) in step.get("next_steps").and_then(Value::as_array).into_iter().flatten().enumerate() {
        found.extend(id.as_str().map(|id| (format!("next_steps[{i}]"), id)));
    }
    for (case, id) in step.get("cases").and_then(Value::as_object).into_iter().flatten() {
        found.extend(id.as_str().map(|id| (format!("cases.{case}"), id)));
    }
    found
}

/// A circle of steps, if there is one, from its first step to the same again.
pub(super) fn circle(steps: &Steps) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    steps.keys().find_map(|id| walk(steps, id, &mut Vec::new(), &mut done))
}

/// As deep as there are steps, whose number is bounded.
fn walk<'s>(
    steps: &'s Steps,
    id: &'s str,
    path: &mut Vec<&'s str>,
    done: &mut BTreeSet<&'s str>,
) -> Option<Vec<String>> {
    if let Some(start) = path.iter().position(|other| *other == id) {
        return Some(path[start..].iter().chain([&id]).map(|id| (*id).to_owned()).collect());
    }
    if !done.insert(id) {
        return None;
    }
    path.push(id);
    let found = next(steps.get(id)?).into_iter().find_map(|(_, below)| walk(steps, below, path, done));
    path.pop();
    found
}

/// A workflow without a circle, in which every step that is named exists.
pub(super) struct Flow<'s> {
    steps: &'s Steps,
    firsts: BTreeMap<&'s str, BTreeSet<&'s str>>,
    lasts: BTreeMap<&'s str, BTreeSet<&'s str>>,
}

impl<'s> Flow<'s> {
    pub(super) fn new(steps: &'s Steps) -> Flow<'s> {
        Flow { steps, firsts: BTreeMap::new(), lasts: BTreeMap::new() }
    }

    /// The steps that do or decide something, from the start on; those that nothing leads to come last.
    pub(super) fn doing(&self, start: &'s str) -> Vec<&'s str> {
        let reached = self.reached(start);
        let rest = self.steps.keys().map(String::as_str).filter(|id| !reached.contains(id));
        reached.iter().copied().chain(rest).filter(|id| self.does(id)).collect()
    }

    /// Every step that the start leads to, each as early as anything leads to it.
    pub(super) fn reached(&self, start: &'s str) -> Vec<&'s str> {
        let mut found = vec![start];
        let mut at = 0;
        while let Some(id) = found.get(at) {
            for (_, below) in self.steps.get(*id).map(next).unwrap_or_default() {
                if !found.contains(&below) {
                    found.push(below);
                }
            }
            at += 1;
        }
        found
    }

    /// What each step that does something waits for directly.
    pub(super) fn waits(&mut self) -> BTreeMap<&'s str, BTreeSet<&'s str>> {
        let mut waits: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (id, step) in self.steps {
            let (before, after): (BTreeSet<&str>, Vec<&str>) = if self.does(id) {
                (BTreeSet::from([id.as_str()]), next(step).into_iter().map(|(_, below)| below).collect())
            } else if kind(step) == "parallel" {
                let branches = branches(step);
                (branches.flat_map(|branch| self.lasts(branch)).collect(), routes(step).collect())
            } else {
                continue;
            };
            let firsts: BTreeSet<&str> = after.into_iter().flat_map(|below| self.firsts(below)).collect();
            for first in firsts {
                waits.entry(first).or_default().extend(before.iter().copied().filter(|id| *id != first));
            }
        }
        waits
    }

    fn does(&self, id: &str) -> bool {
        self.steps.get(id).is_some_and(|step| !["start", "end", "parallel"].contains(&kind(step)))
    }

    /// The first steps that do something from this one on.
    fn firsts(&mut self, id: &'s str) -> BTreeSet<&'s str> {
        if let Some(known) = self.firsts.get(id) {
            return known.clone();
        }
        let Some(step) = self.steps.get(id) else { return BTreeSet::new() };
        let found: BTreeSet<&str> = if self.does(id) {
            BTreeSet::from([id])
        } else if kind(step) == "parallel" {
            let first: BTreeSet<&str> = branches(step).flat_map(|branch| self.firsts(branch)).collect();
            if first.is_empty() { routes(step).flat_map(|below| self.firsts(below)).collect() } else { first }
        } else {
            next(step).into_iter().flat_map(|(_, below)| self.firsts(below)).collect()
        };
        self.firsts.insert(id, found.clone());
        found
    }

    /// The steps that do something after which nothing comes on the way from this one.
    fn lasts(&mut self, id: &'s str) -> BTreeSet<&'s str> {
        if let Some(known) = self.lasts.get(id) {
            return known.clone();
        }
        let Some(step) = self.steps.get(id) else { return BTreeSet::new() };
        let after: Vec<&str> = if kind(step) == "parallel" {
            routes(step).collect()
        } else {
            next(step).into_iter().map(|(_, b)| b).collect()
        };
        let mut found: BTreeSet<&str> = after.iter().flat_map(|below| self.lasts(below)).collect();
        let ends = after.is_empty() || after.iter().any(|below| self.firsts(below).is_empty());
        if ends && self.does(id) {
            found.insert(id);
        } else if ends && kind(step) == "parallel" {
            found.extend(branches(step).flat_map(|branch| self.lasts(branch)).collect::<Vec<_>>());
        }
        self.lasts.insert(id, found.clone());
        found
    }
}

/// The type of a step, an agent or a command; nothing where it has none.
pub(super) fn kind(step: &Value) -> &str {
    step.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn branches(step: &Value) -> impl Iterator<Item = &str> {
    step.get("next_steps").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn routes(step: &Value) -> impl Iterator<Item = &str> {
    ROUTES.into_iter().filter_map(|route| step.get(route).and_then(Value::as_str))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn steps(value: Value) -> Steps {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_comes_after_what_is_seen_through_starts_and_parallels() {
        let steps = steps(json!({
            "s": {"type": "start", "on_completion": "p"},
            "p": {"type": "parallel", "next_steps": ["a", "b", "e1"], "on_completion": "d"},
            "a": {"type": "action", "on_success": "c", "on_failure": "e2"},
            "b": {"type": "action", "on_completion": "e2"},
            "c": {"type": "action", "on_completion": "e2"},
            "d": {"type": "if-condition", "on_true": "t", "on_false": "e1", "on_completion": "z"},
            "t": {"type": "action", "on_completion": "e1"},
            "z": {"type": "action", "on_completion": "e1"},
            "u": {"type": "action"},
            "e1": {"type": "end"}, "e2": {"type": "end"},
        }));
        assert_eq!(circle(&steps), None);
        let mut flow = Flow::new(&steps);
        assert_eq!(flow.doing("s"), ["d", "a", "b", "z", "t", "c", "u"]);
        let waits = flow.waits();
        let of = |id: &str| waits.get(id).map(|w| w.iter().copied().collect::<Vec<_>>()).unwrap_or_default();
        assert_eq!(
            (of("a"), of("c"), of("d"), of("t"), of("z")),
            (vec![], vec!["a"], vec!["a", "b", "c"], vec!["d"], vec!["d"])
        );
    }

    #[test]
    fn a_circle_is_named_from_its_first_step_on() {
        let steps = steps(json!({
            "a": {"type": "action", "on_completion": "b"},
            "b": {"type": "switch-condition", "cases": {"x": "c", "y": "gone"}},
            "c": {"type": "parallel", "next_steps": ["b"]},
        }));
        assert_eq!(circle(&steps).unwrap(), ["b", "c", "b"]);
    }
}
