//! To be written.

use vertice_model::SessionTermination;

use crate::{Failure, Hand, Seen};

pub(crate) fn apply(_hand: &Hand<'_>, _action: &SessionTermination) -> Result<String, Failure> {
    Err(Failure::Final("not written yet".to_owned()))
}

pub(crate) fn observe(_hand: &Hand<'_>, _action: &SessionTermination) -> Result<Seen, Failure> {
    Err(Failure::Final("not written yet".to_owned()))
}
