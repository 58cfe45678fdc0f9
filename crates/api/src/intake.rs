//! How a body becomes events: plain data, for the function that splits bodies is handed in.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vertice_model::RawEvent;

/// Splits the body of a request into events. Its arguments are the body, its `Content-Type`, its
/// `Content-Encoding` and the origin of the events.
pub type Split = fn(&[u8], Option<&str>, Option<&str>, &Arc<str>) -> Result<SplitBody, SplitError>;

/// The events of a body, and what was refused of it.
#[derive(Debug, Default)]
pub struct SplitBody {
    /// The events, in order.
    pub events: Vec<RawEvent>,
    /// For each event the number of its line, or of its element of an array, from 1.
    pub numbers: Vec<u64>,
    /// What was refused, in order.
    pub refused: Vec<RefusedLine>,
}

/// A line that was refused.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
pub struct RefusedLine {
    /// The number of the line, or of the element of an array, from 1.
    pub number: u64,
    /// Why.
    #[schema(value_type = String)]
    pub reason: Cow<'static, str>,
}

/// Why a whole body was refused, in words for its sender.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SplitError {
    /// It is too large, packed or unpacked, or has too many events.
    #[error("{0}")]
    TooLarge(String),
    /// Its `Content-Encoding` is not understood.
    #[error("{0}")]
    UnknownEncoding(String),
    /// It is not what its `Content-Encoding` says.
    #[error("{0}")]
    BadEncoding(String),
}
