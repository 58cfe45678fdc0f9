//! To be written.

use vertice_model::HoneypotDeployment;

use crate::{Failure, Hand, Seen};

pub(crate) fn apply(_hand: &Hand<'_>, _action: &HoneypotDeployment) -> Result<String, Failure> {
    Err(Failure::Final("not written yet".to_owned()))
}

pub(crate) fn observe(_hand: &Hand<'_>, _action: &HoneypotDeployment) -> Result<Seen, Failure> {
    Err(Failure::Final("not written yet".to_owned()))
}

pub(crate) fn undo(_hand: &Hand<'_>, _action: &HoneypotDeployment) -> Result<String, Failure> {
    Err(Failure::Final("not written yet".to_owned()))
}
