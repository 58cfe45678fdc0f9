//! Vertice: events in; detections, explained threats and planned responses out.

mod cli;
mod clock;
mod config;
mod content;
mod limits;
mod pipeline;

use std::process::ExitCode;

use cli::Start;

fn main() -> ExitCode {
    cli::run(|start, _config| match start {
        Start::Up(_) | Start::Replay(..) | Start::Demo(_) => anyhow::bail!("this command is not there yet"),
    })
}
