//! Normalize: raw events become events, by mappings.

use vertice_model::{Event, RawEvent, Refusal};

use crate::Stamp;
use crate::content::{ContentError, ContentFile};

/// The mappings in force.
#[derive(Clone, Debug, Default)]
pub struct Mappings {}

impl Mappings {
    /// Compiles mapping files. A bad one is left out and named in `refused`.
    #[must_use]
    pub fn compile(_files: &[&ContentFile], _refused: &mut Vec<ContentError>) -> Mappings {
        Mappings {}
    }

    /// Reads a raw event. Pure: the same event at the same stamp always reads the same.
    ///
    /// # Errors
    /// When no mapping recognises it, or the one that does can not read it.
    pub fn normalize(&self, _stamp: Stamp, _raw: &RawEvent) -> Result<Event, Refusal> {
        Err(Refusal::new("no mapping recognises it"))
    }
}
