//! `vertice sentinel`: how good triage and the language models are, measured.

mod dataset;
mod play;
mod report;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use vertice_engine::Content;
use vertice_llm::Models;

use super::Failure;
use super::arguments::ContentArguments;
use super::output::{Format, Out};
use crate::clock::Clock;
use crate::config::Config;
use crate::sentinel::prompt::Secrets;
use crate::{sentinel, up};
use play::Play;
use report::Report;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Measure triage, mapping and a language model on labelled alerts
    Eval(Eval),
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vertice sentinel eval alerts.ndjson --model none
  vertice sentinel eval alerts/ --model local --record answers
  vertice sentinel eval alerts/ --model local --replay answers -o json

DATASET has a labelled alert a line, as JSON; docs/sentinel.md has its members:

  {\"id\": \"a1\", \"label\": \"malicious\", \"techniques\": [\"T1110\"], \"events\": [\"Mar  2 10:00:00 web1 sshd[1]: …\"]}

Needs no server. Each alert is played through an engine of its own, and what it asks is put to the model as in operation:
the same words, redaction, budget and checks. `-o json` is the summary, `-o ndjson` what came of each alert, a line each.
Rates have their counts and Wilson's 95 % interval.

Exit codes: 0 it was measured, whatever the figures are; 2 there is no such model; 3 there is no such file;
6 the dataset is refused, with file, line and field, or content is.")]
pub struct Eval {
    /// Files of labelled alerts, and directories of such files
    #[arg(required = true, value_name = "DATASET")]
    datasets: Vec<PathBuf>,
    /// The model, by its name in [sentinel.models]; `none` for deterministic triage alone; the one for triage if left out
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// From which priority on deterministic triage is taken to say that an alert is malicious
    #[arg(long, value_name = "PRIORITY", default_value_t = 50, value_parser = clap::value_parser!(u8).range(1..=100))]
    priority: u8,
    /// Write each answer down in this directory
    #[arg(long, value_name = "DIR", conflicts_with = "replay")]
    record: Option<PathBuf>,
    /// Take answers from this directory, and from nowhere else
    #[arg(long, value_name = "DIR")]
    replay: Option<PathBuf>,
    #[command(flatten)]
    content: ContentArguments,
}

/// What asks for no model.
const NONE: &str = "none";

pub fn run(verb: &Verb, config: Config, out: &mut Out) -> Result<()> {
    let Verb::Eval(eval) = verb;
    let alerts = dataset::read(&eval.datasets)?;
    let clock = Arc::new(Clock::start());
    let config = eval.over(config);
    let (models, name) = eval.models(&config, &clock)?;
    let deadline = {
        let clock = Arc::clone(&clock);
        move || clock.now().plus_seconds(vertice_engine::limits::CONSULTATION_S)
    };
    let ask = sentinel::by_name(Arc::new(models), name.clone());
    let play = Play { content: content(&config)?, secrets: secrets(&config)?, ask: &*ask, deadline: &deadline };
    let bar = ProgressBar::new(alerts.len() as u64);
    let outcomes = play::all(&play, &alerts, &|| bar.inc(1));
    bar.finish_and_clear();
    let outcomes = outcomes?;
    match out.format {
        Format::Ndjson => {
            alerts.iter().zip(&outcomes).try_for_each(|(alert, outcome)| out.json_line(&report::line(alert, outcome)))
        }
        Format::Json => out.json(&Report::new(name, eval.priority, &alerts, &outcomes).json()),
        Format::Table => Report::new(name, eval.priority, &alerts, &outcomes).print(out),
    }
}

impl Eval {
    /// Puts what was given over the configuration.
    fn over(&self, mut config: Config) -> Config {
        self.content.over(&mut config);
        config.sentinel.ask = self.model.as_deref() != Some(NONE);
        // What is given here is meant instead of what is configured, and the two exclude each other.
        if self.record.is_some() || self.replay.is_some() {
            config.sentinel.models.record = self.record.clone().unwrap_or_default();
            config.sentinel.models.replay = self.replay.clone().unwrap_or_default();
        }
        config
    }

    /// The models, and the one that is asked; no name where none is.
    fn models(&self, config: &Config, clock: &Arc<Clock>) -> Result<(Models, Option<String>)> {
        if !config.sentinel.ask {
            return Ok((Models::none(), None));
        }
        let models = sentinel::models(&config.sentinel, clock, vertice_llm::Spent::default())?;
        let known: Vec<&str> = models.names().map(|(name, ..)| name).collect();
        let there_is =
            if known.is_empty() { "none is configured".to_owned() } else { format!("there are {}", known.join(", ")) };
        let name = match &self.model {
            Some(name) => name.clone(),
            None => models.preferred().to_owned(),
        };
        if !known.contains(&name.as_str()) {
            let name = if name.is_empty() { "no model".to_owned() } else { format!("no model {name:?}") };
            let told = format!("--model: {name}: {there_is}; `--model {NONE}` asks none");
            return Err(Failure::Usage(told).into());
        }
        Ok((models, Some(name)))
    }
}

fn content(config: &Config) -> Result<Arc<Content>> {
    let content = Content::compile(up::files(config)?);
    match content.refused.first() {
        None => Ok(Arc::new(content)),
        Some(first) => Err(Failure::Content(format!("{first}\n`vertice rules check` names all")).into()),
    }
}

/// An answer is found again by the words of its question, so those that are kept are asked in the same words.
fn secrets(config: &Config) -> Result<Secrets> {
    let models = &config.sentinel.models;
    let kept = !models.record.as_os_str().is_empty() || !models.replay.as_os_str().is_empty();
    if kept { Ok(Secrets::repeatable()) } else { Secrets::draw().context("drawing the secret words of questions") }
}

#[cfg(test)]
mod tests;
