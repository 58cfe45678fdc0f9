//! Project tasks: `cargo xtask up | test | bench | coverage | lint`.

mod coverage;
mod run;

use anyhow::Result;
use clap::{Parser, Subcommand};

use run::cargo;

/// The project's tasks. `cargo xtask up` and `cargo xtask test` are all that a newcomer needs.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Builds the release binary and starts it.
    Up {
        /// Arguments for `vertice up`, such as `--listen 127.0.0.1:8001`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Runs every test, and sets up what they need.
    Test {
        /// Runs the long forms too: 200 kills, 100,000 mutated inputs for each parser.
        #[arg(long)]
        long: bool,
    },
    /// Runs the benchmarks, whose figures go into docs/benchmarks.md.
    Bench {
        /// Only those whose name contains this.
        filter: Option<String>,
    },
    /// Prints line coverage by crate. Installs Debian's llvm-22 if its tools are missing.
    Coverage,
    /// Checks format and lints.
    Lint,
}

fn main() -> Result<()> {
    match Arguments::parse().task {
        Task::Up { arguments } => {
            cargo(&["build", "--release", "--package", "vertice"])?;
            run::replace_with("target/release/vertice", &[vec!["up".to_owned()], arguments].concat())
        }
        Task::Test { long } => {
            if long {
                // Optimised, or a hundred thousand inputs for each parser would take the day.
                let arguments = ["test", "--workspace", "--no-fail-fast", "--profile", "quick"];
                return run::cargo_with(&arguments, &[("VERTICE_LONG", "1")]);
            }
            cargo(&["test", "--workspace", "--no-fail-fast"])
        }
        Task::Bench { filter } => bench(filter.as_deref()),
        Task::Coverage => coverage::print(),
        Task::Lint => {
            cargo(&["fmt", "--all", "--check"])?;
            cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"])
        }
    }
}

/// Each benchmark is a program with a plain `main` that prints its figures.
const BENCHES: [(&str, &str); 2] = [("vertice-store", "append"), ("vertice", "pipeline")];

fn bench(filter: Option<&str>) -> Result<()> {
    cargo(&["build", "--profile", "quick", "--package", "vertice"])?;
    for (package, name) in BENCHES {
        if filter.is_none_or(|f| name.contains(f)) {
            cargo(&["bench", "--profile", "quick", "--package", package, "--bench", name])?;
        }
    }
    Ok(())
}
