//! Stories about decide.

mod bounds;
mod brief;
mod damaged;
mod flood;
mod incidents;
mod live;
mod refusals;
mod schedules;
mod second_thoughts;
mod shipped;
mod stories;
mod story;
mod verbs;

pub(in crate::decide) use brief::threat;
