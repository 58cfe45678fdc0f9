//! Why an order did not come about, and what may be done about it.

use vertice_model::Outcome;

/// Why an order did not come about.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The world is as before, and trying again may help: a time-out, a busy lock.
    #[error("{0}")]
    Retry(String),
    /// The world is as before, and trying again does not help: a missing program, a target that is not there.
    #[error("{0}")]
    Final(String),
    /// It began, and whether it happened can not be told. It is never repeated by itself.
    #[error("{0}")]
    Unknown(String),
}

impl Failure {
    /// As the log keeps it.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        match self {
            Failure::Retry(reason) => Outcome::Failed { reason, retry: true },
            Failure::Final(reason) => Outcome::Failed { reason, retry: false },
            Failure::Unknown(reason) => Outcome::Unknown { reason },
        }
    }
}
