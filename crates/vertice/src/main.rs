//! Vertice: events in; detections, explained threats and planned responses out.

mod ask;
mod cli;
mod clock;
mod config;
mod content;
mod demo;
mod hands;
#[cfg(feature = "kafka")]
mod kafka;
mod keys;
mod limits;
mod pipeline;
mod protect;
mod release;
mod reload;
mod replay;
mod sentinel;
mod sources;
mod story;
mod up;

use std::process::ExitCode;

use cli::Start;

fn main() -> ExitCode {
    cli::run(|start, config| match start {
        Start::Replay(arguments, format) => replay::run(&config, &arguments, format),
        Start::Up => up::run(&config),
        Start::Demo(arguments) => demo::run(&arguments),
    })
}
