//! Decide: playbooks become runs, questions and containments.
//!
//! A verb that is not live is only observed: every check is really made, and what would be done, how it would be
//! undone, how long it would last and whom it would touch are recorded as simulated, never as done. A live one is an
//! order to the responder, and counts as done once its receipt says what was seen.
//!
//! - [`Playbooks`] are read from YAML and checked whole when they are loaded ([`verb`] lists what they can do).
//! - [`Policy`] says whom no action may touch, and how many may be touched in an hour.
//! - [`Responses`] holds the runs, questions and containments that are alive, and is stepped by the engine.

mod act;
mod approved;
pub mod cacao;
pub mod cases;
mod condition;
mod context;
mod course;
mod graph;
mod hemostasis;
mod history;
mod hold;
mod ledger;
mod load;
mod measure;
mod parameters;
mod plan;
mod playbook;
mod policy;
pub mod preview;
mod responses;
pub mod schema;
mod spent;
#[cfg(test)]
mod tests;
mod typed;
pub mod verb;
mod wishes;
mod words;
mod yaml;

pub use approved::Approved;
pub use playbook::{ActionSummary, Playbook, PlaybookSummary, Playbooks};
pub use policy::{Policy, Protected, Whom};
pub use responses::Responses;
pub use wishes::{Answer, AnswerError, Change, ReleaseError, Start, StartError, not_theirs};
