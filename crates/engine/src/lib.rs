//! The pipeline as a pure step function: one [`Input`] in, [`Effect`]s out.
//!
//! Nothing here does I/O, reads a clock, spawns a thread or draws a random number: the same inputs at
//! the same times give the same effects and the same state, so the log of inputs is the system of record.
//!
//! The stages ([`normalize`], [`detect`], [`gather`], [`triage`], [`decide`]) do not import each other; only
//! `engine.rs` composes them.

pub mod cases;
pub mod content;
pub mod decide;
pub mod detect;
mod effect;
mod engine;
pub mod gather;
mod input;
pub mod limits;
pub mod normalize;
pub mod route;
mod seen;
mod told;
pub mod triage;

pub use content::{Compiled, Content, ContentError, ContentFile};
pub use effect::{Effect, EffectKind, Record, RefusedEvent};
pub use engine::{Counts, Engine, Forgotten, Screened, Screener, screen, screen_routed};
pub use input::{Input, Stamp};
pub use told::{Counted, Judged, Role, Stands, Suppressing, Told};
