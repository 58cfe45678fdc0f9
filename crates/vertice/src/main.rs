//! Vertice: events in; detections, explained threats and planned responses out.

mod clock;
mod config;
mod content;
mod limits;

fn main() {}
