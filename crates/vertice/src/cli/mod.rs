//! The command line: `vertice <noun> <verb>`.
//!
//! Reads the arguments, finds the command, and turns what went wrong into an exit code. The commands
//! that are programs of their own (`up`, `replay`, `demo`) are handed to the caller as a [`Start`].

mod approvals;
mod arguments;
mod audit;
mod bouncers;
mod client;
mod config;
mod consultations;
mod containments;
mod content;
mod detections;
mod doctor;
mod events;
mod explain;
mod failure;
mod health;
mod inject;
mod intent;
mod keys;
mod llm;
mod mappings;
mod migrate;
mod output;
mod playbooks;
mod record;
mod records;
mod release;
mod responses;
mod rules;
mod sentinel;
mod server;
mod share;
mod suppressions;
mod tail;
mod threats;
mod tree;
mod watch;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::clock;
use crate::config::Config;

use client::Client;

pub use arguments::{DemoArguments, ReplayArguments, UpArguments};
pub use failure::Failure;
#[cfg(feature = "kafka")]
pub use inject::Sent;
pub use output::{Format, Out, plain};

const EXAMPLES: &str = "\
Examples:
  vertice demo                                 play an attack and watch what comes of it
  vertice up                                   start, with the local logs that can be read
  vertice replay auth.log.gz -o ndjson         what would have been detected in a file
  vertice threats list                         what is going on
  vertice explain 1f3a                         why: event, condition, detection, threat
  vertice approvals list                       what waits for your answer
  vertice release 203.0.113.9                  let go, whether or not a server runs
  vertice keys add ana                         somebody else who may decide
  vertice rules explain rule.yml events.evtx   why a rule matches, or does not
  vertice audit verify                         whether what was decided and done is as it was written
  vertice doctor                               whether everything is in order

Exit codes:
  0  done                                      5  refused: the API key is missing or not good enough
  1  it failed                                 6  content was refused: a rule, mapping or playbook
  2  the command line is wrong                 7  the audit was changed, or is not the one that is trusted
  3  there is no such thing                    8  the end of the audit is not sealed
  4  the server can not be reached";

/// Vertice: security events in; detections, explained threats and planned responses out.
#[derive(Debug, Parser)]
#[command(name = "vertice", version, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Where the built-in configuration makes a server listen.
const USUAL_URL: &str = "http://127.0.0.1:8000";

/// What every command understands.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Everywhere")]
struct Global {
    /// A configuration file; it need only name what it changes (see `vertice config default`).
    #[arg(long, global = true, env = "VERTICE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// How results are written: for people, as one JSON document, as one JSON object a line, or for a spreadsheet.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table, value_name = "FORMAT")]
    output: Output,
    /// The server that is asked.
    #[arg(long, global = true, env = "VERTICE_URL", default_value = USUAL_URL, value_name = "URL")]
    url: String,
    /// The API key. Better given by the environment: other users of the machine can see arguments.
    #[arg(long, global = true, env = "VERTICE_API_KEY", hide_env_values = true, value_name = "KEY")]
    key: Option<String>,
}

/// A format by the name that it is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated values; of `vertice audit export` only.
    Csv,
}

impl Output {
    /// The format of everything but an export.
    fn format(self) -> Result<Format, Failure> {
        match self {
            Output::Table => Ok(Format::Table),
            Output::Json => Ok(Format::Json),
            Output::Ndjson => Ok(Format::Ndjson),
            Output::Csv => Err(Failure::Usage("only `vertice audit export` writes csv".into())),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start: take events in, detect, and serve the API
    Up(UpArguments),
    /// Read files to their end and print what is detected in them
    Replay(ReplayArguments),
    /// Play an attack through the real pipeline and tell the story as it unfolds
    Demo(DemoArguments),
    #[command(flatten)]
    Ask(Ask),
}

/// The commands that print something and end.
#[derive(Debug, Subcommand)]
enum Ask {
    /// What is detected
    #[command(subcommand)]
    Detections(detections::Verb),
    /// What the detections of one actor come to: the cases
    #[command(subcommand)]
    Threats(threats::Verb),
    /// Why a threat is one: event, matched condition, detection, threat, with log positions
    Explain(explain::Arguments),
    /// What language models were asked about threats, and what they said
    #[command(subcommand)]
    Consultations(consultations::Verb),
    /// What opens no threat for a while, because a person said so
    #[command(subcommand)]
    Suppressions(suppressions::Verb),
    /// What playbooks ask before they act, and your answers
    #[command(subcommand)]
    Approvals(approvals::Verb),
    /// What playbooks did, or in observe mode would have done
    #[command(subcommand)]
    Responses(responses::Verb),
    /// Whom actions hold, and taking them back
    #[command(subcommand)]
    Containments(containments::Verb),
    /// Let go of an address, host or account, whether or not a server runs
    Release(release::Arguments),
    /// Who enforces containments elsewhere: firewalls, proxies and web servers with a CrowdSec bouncer
    #[command(subcommand)]
    Bouncers(bouncers::Verb),
    /// Who may decide: the API keys of people
    #[command(subcommand)]
    Keys(keys::Verb),
    /// What the sensors wrote, as it was read
    #[command(subcommand)]
    Events(events::Verb),
    /// Events that could not be read
    #[command(subcommand)]
    Deadletter(server::DeadletterVerb),
    /// What changes, as it changes, a line each
    Watch,
    /// What is looked for
    #[command(subcommand)]
    Rules(rules::Verb),
    /// What is done about it, and the tools of whoever writes it
    #[command(subcommand, visible_alias = "playbook")]
    Playbooks(playbooks::Verb),
    /// How each log source becomes fields
    #[command(subcommand)]
    Mappings(mappings::Verb),
    /// The language models that help to judge
    #[command(subcommand)]
    Llm(llm::Verb),
    /// How good triage and the language models are, measured on labelled alerts
    #[command(subcommand)]
    Sentinel(sentinel::Verb),
    /// What is set, and what could be
    #[command(subcommand)]
    Config(config::Verb),
    /// What was decided and done, in a file that proves itself; needs no server
    #[command(subcommand)]
    Audit(audit::Verb),
    /// Move the data directory to PostgreSQL, where many instances share it
    Migrate(migrate::Arguments),
    /// Whether everything is in order, and what to do where it is not
    Doctor,
    /// Print the OpenAPI document of the API
    Openapi,
    /// How the server is, in numbers
    Status,
    /// Whether the server lives: exits with 0 or 1, for the health check of a container
    Health(health::Arguments),
}

/// A command that is a program of its own, with what it was given.
#[derive(Debug)]
pub enum Start {
    /// Take events in, detect, and serve the API until told to stop.
    Up,
    /// Read files to their end and print what is detected in them.
    Replay(ReplayArguments, Format),
    /// Play an attack and tell its story.
    Demo(DemoArguments),
}

/// Runs the command that the process was started with. `start` is given the commands that are programs
/// of their own, with the configuration in force; a [`Failure`] among its errors chooses the exit code.
pub fn run(start: impl Fn(Start, Config) -> Result<()>) -> ExitCode {
    run_with(std::env::args_os(), start)
}

fn run_with(arguments: impl IntoIterator<Item = OsString>, start: impl Fn(Start, Config) -> Result<()>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(usage) => {
            // Help and the version go to standard output and are no error. Nobody to tell if printing fails.
            let _ = usage.print();
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(cli, start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => tell(&error),
    }
}

/// Prints what went wrong and gives its exit code. A reader that went away (`| head`) is no failure.
fn tell(error: &anyhow::Error) -> ExitCode {
    if failure::is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    let code = failure::exit_code(error);
    let text = told(error);
    let mut stderr = std::io::stderr().lock();
    for (i, line) in text.lines().enumerate() {
        let start = if i == 0 { "vertice: " } else { "         " };
        let _ = writeln!(stderr, "{start}{}", plain(line));
    }
    ExitCode::from(code)
}

/// An error and its causes, each of them once: some say their cause themselves.
fn told(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |text, cause| match cause.to_string() {
        cause if text.is_empty() => cause,
        cause if text.ends_with(&cause) => text,
        cause => format!("{text}: {cause}"),
    })
}

fn dispatch(cli: Cli, start: impl Fn(Start, Config) -> Result<()>) -> Result<()> {
    let global = &cli.global;
    match cli.command {
        Command::Up(arguments) => {
            let config = arguments.over(global.configuration()?);
            start(Start::Up, config)
        }
        Command::Replay(arguments) => {
            let config = arguments.over(global.configuration()?);
            start(Start::Replay(arguments, global.output.format()?), config)
        }
        Command::Demo(arguments) => start(Start::Demo(arguments), global.configuration()?),
        Command::Ask(Ask::Audit(audit::Verb::Export(arguments))) if global.output == Output::Csv => {
            arguments.csv(|| global.configuration(), &mut standard_output(Format::Table))
        }
        Command::Ask(ask) => global.answer(ask, &mut standard_output(global.output.format()?)),
    }
}

impl Global {
    fn configuration(&self) -> Result<Config> {
        crate::config::load(self.config.as_deref(), |name| std::env::var(name).ok())
    }

    fn client(&self) -> Result<Client, Failure> {
        Client::new(&self.url, self.key.clone())
    }

    /// The server that was named, or else the one that this configuration starts.
    fn own_url(&self) -> Result<String> {
        if self.url != USUAL_URL {
            return Ok(self.url.clone());
        }
        Ok(health::url_of(self.configuration()?.server.listen))
    }

    fn answer(&self, ask: Ask, out: &mut Out) -> Result<()> {
        let client = self.client()?;
        match ask {
            Ask::Detections(verb) => detections::run(verb, &client, out),
            Ask::Explain(arguments) => explain::run(&arguments, &client, out),
            Ask::Threats(verb) => threats::run(verb, &client, out),
            Ask::Consultations(verb) => consultations::run(verb, &client, out),
            Ask::Suppressions(verb) => suppressions::run(verb, &client, out),
            Ask::Approvals(verb) => approvals::run(verb, &client, out),
            Ask::Responses(verb) => responses::run(verb, &client, out),
            Ask::Containments(verb) => containments::run(verb, &client, out),
            Ask::Release(arguments) => release::run(&arguments, &client, || self.configuration(), out),
            Ask::Bouncers(verb) => bouncers::run(verb, &client, out),
            Ask::Keys(verb) => keys::run(verb, &client, || self.configuration(), out),
            Ask::Events(verb) => events::run(verb, &client, || self.configuration(), out),
            Ask::Deadletter(verb) => server::deadletter(&verb, &client, out),
            Ask::Watch => watch::run(&client, out),
            Ask::Rules(verb) => rules::run(verb, &client, || self.configuration(), out),
            Ask::Playbooks(verb) => playbooks::run(verb, &client, || self.configuration(), out),
            Ask::Mappings(verb) => mappings::run(verb, &client, clock::wall(), out),
            Ask::Llm(verb) => llm::run(&verb, &self.configuration()?, out),
            Ask::Sentinel(verb) => sentinel::run(&verb, self.configuration()?, out),
            Ask::Config(verb) => config::run(verb, self.config.as_deref(), || self.configuration(), out),
            Ask::Audit(verb) => audit::run(verb, || self.configuration(), out),
            Ask::Migrate(arguments) => migrate::run(arguments, || self.configuration(), out),
            Ask::Doctor => doctor::run(|| self.configuration(), &client, out),
            Ask::Openapi => out.text(&vertice_api::openapi()),
            Ask::Status => server::status(&client, out),
            Ask::Health(arguments) => health::run(&arguments, &self.own_url()?, self.key.clone(), out),
        }
    }
}

/// Standard output as it is: coloured only on a terminal whose user did not say no.
pub fn standard_output(format: Format) -> Out {
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
    // `None` when standard output is no terminal.
    let width = comfy_table::Table::new().width();
    Out::new(Box::new(std::io::stdout().lock()), format, width, width.is_some() && !set("NO_COLOR") && !dumb)
}

#[cfg(test)]
mod tests;
