//! Do no harm, at the last moment: the protected set, checked against this machine as it is now.

use vertice_engine::decide::Policy;
use vertice_model::Action;

/// Why an action may not be carried out now; `None` if nothing speaks against it.
#[must_use]
pub fn forbids(policy: &Policy, action: &Action) -> Option<String> {
    action.touches().iter().find_map(|entity| policy.forbids(entity))
}
