//! The composition of the stages, and nothing else.

/// The engine.
#[derive(Debug, Default)]
pub struct Engine {}

/// Events after screening.
#[derive(Debug, Default)]
pub struct Screened {}
