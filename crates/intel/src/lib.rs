//! What is known of attackers, as data and arithmetic: what they will try next ([`Intent`]), who they resemble
//! ([`Profile`]), which technique a command shows ([`Mapper`]), and whether a narrative keeps to its evidence
//! ([`check`]).
//!
//! Nothing here does I/O or reads a clock; the files of `content/intel` and `content/models` are passed in as text.

pub mod bounds;
mod counts;
pub mod evaluate;
mod facts;
mod intent;
pub mod learn;
pub mod limits;
mod mapper;
pub mod narrative;
mod profile;

pub use counts::Evidence;
pub use facts::{Actor, ActorKind, FactError, Facts, parent};
pub use intent::{Basis, Forecast, Intent, Prediction, Standing, model_text};
pub use mapper::{Mapped, Mapper, Mapping};
pub use narrative::check;
pub use profile::{Objective, ObjectiveSeen, Profile, Resemblance, Skill};
