//! Decide: playbooks become runs, questions and containments.

use crate::content::{ContentError, ContentFile};

/// The playbooks in force.
#[derive(Clone, Debug, Default)]
pub struct Playbooks {}

impl Playbooks {
    /// Compiles playbook files. A bad one is left out and named in `refused`.
    #[must_use]
    pub fn compile(_files: &[&ContentFile], _refused: &mut Vec<ContentError>) -> Playbooks {
        Playbooks {}
    }
}
