//! Actions in the order of what they depend on.

use std::collections::{BTreeMap, BTreeSet};

use super::playbook::Action;

/// The actions so that each comes after those it depends on, and otherwise as they were written. If some wait
/// for each other in a circle: the line of the first of them, and the circle.
pub(super) fn ordered(actions: Vec<Action>) -> Result<Vec<Action>, (u64, String)> {
    let mut waiting = actions;
    let mut done: BTreeSet<String> = BTreeSet::new();
    let mut sorted = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let Some(next) = waiting.iter().position(|a| a.depends_on.iter().all(|d| done.contains(d))) else {
            return Err(circle(&waiting));
        };
        let action = waiting.remove(next);
        done.insert(action.id.clone());
        sorted.push(action);
    }
    Ok(sorted)
}

/// Among actions that all wait for one another there is a circle: walk until one comes up again.
fn circle(waiting: &[Action]) -> (u64, String) {
    let by_id: BTreeMap<&str, &Action> = waiting.iter().map(|a| (a.id.as_str(), a)).collect();
    let mut path: Vec<&Action> = Vec::new();
    let mut next = waiting.first();
    while let Some(action) = next {
        if let Some(start) = path.iter().position(|a| a.id == action.id) {
            let names: Vec<_> = path[start..].iter().chain([&action]).map(|a| format!("`{}`", a.id)).collect();
            let line = path[start..].iter().map(|a| a.line).min().unwrap_or(action.line);
            return (line, format!("`depends_on` goes in a circle: {}", names.join(" waits for ")));
        }
        path.push(action);
        next = action.depends_on.iter().find_map(|d| by_id.get(d.as_str()).copied());
    }
    (0, "`depends_on` names an action that does not exist".to_owned())
}
