//! A yes that can not be forged.

use vertice_model::Principal;

/// Proof that policy or a person said yes to exactly this, and who it was.
///
/// Invariant: made by the engine alone. The fields are private and the constructor is closed to other crates and to
/// the other stages: a responder, a route or a decoy can not make one, only be given it. Not `Clone`: one yes, one act.
#[derive(Debug, Eq, PartialEq, serde::Serialize)]
pub struct Approved<T> {
    value: T,
    by: Principal,
    plan_digest: String,
}

impl<T> Approved<T> {
    pub(super) fn new(value: T, by: Principal, plan_digest: String) -> Approved<T> {
        Approved { value, by, plan_digest }
    }

    /// What was said yes to.
    pub fn get(&self) -> &T {
        &self.value
    }

    /// Who said yes: a person, or the policy.
    pub fn by(&self) -> &Principal {
        &self.by
    }

    /// The digest of the plan that it is part of.
    pub fn plan_digest(&self) -> &str {
        &self.plan_digest
    }

    /// Uses the yes up.
    pub fn into_inner(self) -> T {
        self.value
    }
}
