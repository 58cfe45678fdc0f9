//! Stories about decide.

mod bounds;
mod brief;
mod refusals;
mod schedules;
mod shipped;
mod stories;
mod story;

pub(in crate::decide) use brief::threat;
