//! To be written.

use vertice_model::TrafficShaping;

use crate::{Failure, Hand, Seen};

pub(crate) fn apply(_hand: &Hand<'_>, _action: &TrafficShaping) -> Result<String, Failure> {
    Err(Failure::Final("not written yet".to_owned()))
}

pub(crate) fn observe(_hand: &Hand<'_>, _action: &TrafficShaping) -> Result<Seen, Failure> {
    Err(Failure::Final("not written yet".to_owned()))
}

pub(crate) fn undo(_hand: &Hand<'_>, _action: &TrafficShaping) -> Result<String, Failure> {
    Err(Failure::Final("not written yet".to_owned()))
}
