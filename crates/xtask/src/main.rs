//! Project tasks: `cargo xtask up | test | bench | learn | coverage | lint`.

mod coverage;
mod debian;
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
        /// Only those whose name contains this, such as `sigma`.
        filter: Option<String>,
        /// Arguments for the benchmark, such as `--peer PATH_TO_RSIGMA` for `sigma`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Learns what is shipped as data from public sources, and writes it to `content`.
    Learn {
        /// What to learn.
        what: Learnt,
        /// The folder with `attack/enterprise.json` and `attack-flow/*.afb`; `../shared/data` by default.
        data: Option<String>,
    },
    /// Prints line coverage by crate. Installs Debian's llvm-22 if its tools are missing.
    Coverage,
    /// Checks format and lints.
    Lint,
}

/// What `learn` can learn.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Learnt {
    /// Who used which techniques and in which order, and the weights of the prediction.
    Intent,
}

fn main() -> Result<()> {
    match Arguments::parse().task {
        Task::Up { arguments } => {
            cargo(&["build", "--release", "--package", "vertice"])?;
            run::replace_with("release/vertice", &[vec!["up".to_owned()], arguments].concat())
        }
        Task::Test { long } => {
            debian::install_missing();
            // Before the tests, so that no test's time contains the download. What can not be had the tests leave out.
            cargo(&["run", "--quiet", "--package", "vertice-testkit", "--bin", "fetch-kafka"])?;
            if long {
                // Optimised, or a hundred thousand inputs for each parser would take the day.
                let arguments = ["test", "--workspace", "--no-fail-fast", "--profile", "quick"];
                return run::cargo_with(&arguments, &[("VERTICE_LONG", "1")]);
            }
            cargo(&["test", "--workspace", "--no-fail-fast"])
        }
        Task::Bench { filter, arguments } => bench(filter.as_deref(), &arguments),
        Task::Learn { what: Learnt::Intent, data } => {
            let data = data.map(|d| std::fs::canonicalize(&d).map_or(d, |path| path.display().to_string()));
            let learn = ["run", "--profile", "quick", "--package", "vertice-intel", "--example", "learn", "--"];
            cargo(&learn.into_iter().chain(data.as_deref()).collect::<Vec<_>>())
        }
        Task::Coverage => coverage::print(),
        Task::Lint => {
            cargo(&["fmt", "--all", "--check"])?;
            cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"])
        }
    }
}

/// Each benchmark is a program with a plain `main` that prints its figures: its name, its package and the profile it
/// is built with.
const BENCHES: &[(&str, &str, &str)] = &[
    ("append", "vertice-store", "quick"),
    ("intent", "vertice-intel", "quick"),
    ("kafka", "vertice", "quick"),
    ("mapping", "vertice-intel", "quick"),
    ("overhead", "vertice-llm", "quick"),
    ("response", "vertice", "quick"),
    ("pipeline", "vertice", "quick"),
    ("sigma", "vertice-sigma", "release"),
    ("triage", "vertice-engine", "quick"),
];

/// Those packages whose benchmarks do not start the program itself.
const BY_THEMSELVES: [&str; 3] = ["vertice-engine", "vertice-intel", "vertice-llm"];

/// Runs those whose name contains `filter`.
fn bench(filter: Option<&str>, arguments: &[String]) -> Result<()> {
    let chosen: Vec<_> = BENCHES.iter().filter(|(name, ..)| filter.is_none_or(|f| name.contains(f))).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = BENCHES.iter().map(|(name, ..)| *name).collect();
        anyhow::bail!("no benchmark is called {}; there are {}", filter.unwrap_or_default(), names.join(", "));
    }
    // A benchmark runs in its package's folder, where a path would no longer lead.
    let absolute = |text: &String| std::fs::canonicalize(text).map_or(text.clone(), |path| path.display().to_string());
    let arguments: Vec<String> = arguments.iter().map(absolute).collect();
    let vertice = run::target().join("release/vertice").display().to_string();
    for (name, package, profile) in chosen {
        if !BY_THEMSELVES.contains(package) {
            cargo(&["build", "--profile", profile, "--package", "vertice"])?;
        }
        let mut all = vec!["bench", "--profile", profile, "--package", package, "--bench", name, "--"];
        if *name == "sigma" {
            all.extend(["--vertice", &vertice]);
        }
        all.extend(arguments.iter().map(String::as_str));
        cargo(&all)?;
    }
    Ok(())
}
