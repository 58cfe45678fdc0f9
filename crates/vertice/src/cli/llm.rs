//! `vertice llm`: whether the language models answer, how fast and at what cost.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use vertice_llm::{Checked, Models, Spent, World};

use super::Failure;
use super::output::{Format, Out, Table, Tint};
use crate::clock::Clock;
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Ask each model whether it is there
    Check(Check),
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vertice llm check
  OPENAI_BASE_URL=http://127.0.0.1:11434/v1 VERTICE_SENTINEL_OPENAI_MODEL=qwen3:8b vertice llm check
  vertice llm check --within 120 -o json

Needs no server. Each model gets one small question, and a second where it does not answer in JSON: some hundred
tokens. Exit code 1 when one does not answer; without any model everything works, and this is no failure.")]
pub struct Check {
    /// How many seconds each question may take
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=300))]
    within: u64,
}

pub fn run(verb: &Verb, config: &Config, out: &mut Out) -> Result<()> {
    match verb {
        Verb::Check(check) => {
            let environment = |name: &str| std::env::var(name).ok();
            let models = Models::new(&config.sentinel.models, &environment, world(), Spent::default())
                .context("in the configuration, [sentinel]")?;
            tell(&models.check(Duration::from_secs(check.within)), out)
        }
    }
}

/// The clock and the chance of this program.
fn world() -> World {
    let random = || {
        let mut bytes = [0; 8];
        // Without randomness nothing is spread, and still waited for less than the bound.
        let _ = getrandom::fill(&mut bytes);
        u64::from_le_bytes(bytes)
    };
    World { clock: Arc::new(Clock::start()), random: Arc::new(random) }
}

fn tell(checked: &[Checked], out: &mut Out) -> Result<()> {
    match out.format {
        Format::Json | Format::Ndjson => {
            let items = checked.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
            out.json_list(&items)?;
        }
        Format::Table if checked.is_empty() => {
            out.line("No language model is configured; everything works without. See [sentinel] in `vertice config default`.")?;
        }
        Format::Table => {
            out.table(&table(checked))?;
            for one in checked {
                if let Some(problem) = &one.problem {
                    out.line(&format!("{}: {problem}", one.name))?;
                }
            }
        }
    }
    let silent: Vec<_> = checked.iter().filter(|c| !c.answers).map(|c| c.name.as_str()).collect();
    match silent.is_empty() {
        true => Ok(()),
        false => Err(Failure::Failed(format!("no answer from {}", silent.join(", "))).into()),
    }
}

fn table(checked: &[Checked]) -> Table {
    let mut table =
        Table::new(&["NAME", "PROVIDER", "MODEL", "ANSWERS", "JSON", "TIME (MS)", "TOKENS IN/OUT", "COST ($)"]);
    let yes = |yes: bool| if yes { (Tint::Good, "yes".to_owned()) } else { (Tint::Bad, "no".to_owned()) };
    for one in checked {
        let cost = one.cost_microusd.map_or("unknown".to_owned(), |c| format!("{:.6}", c as f64 / 1e6));
        table.row(vec![
            (Tint::Bold, one.name.clone()),
            (Tint::None, one.provider.word().to_owned()),
            (Tint::None, one.model.clone()),
            yes(one.answers),
            yes(one.json),
            (Tint::None, format!("{:.0}", one.latency_ms)),
            (Tint::None, format!("{}/{}", one.input_tokens, one.output_tokens)),
            (Tint::None, cost),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use vertice_llm::Provider;

    use super::*;
    use crate::cli::output::tests::printed;

    fn checked(name: &str, answers: bool) -> Checked {
        Checked {
            name: name.to_owned(),
            provider: Provider::Anthropic,
            model: "x\u{1b}[2J".to_owned(),
            answers,
            json: answers,
            latency_ms: 812.4,
            input_tokens: 40,
            output_tokens: 6,
            cost_microusd: answers.then_some(70),
            problem: (!answers).then(|| "the key is not accepted (401)".to_owned()),
        }
    }

    #[test]
    fn each_model_has_a_row_and_one_that_is_silent_is_a_failure() {
        assert!(printed(Format::Table, |out| tell(&[], out)).starts_with("No language model is configured"));
        let text = printed(Format::Table, |out| tell(&[checked("a", true)], out));
        assert!(text.contains("anthropic") && text.contains("812") && text.contains("0.000070"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        let mut failed = None;
        let text = printed(Format::Table, |out| {
            failed = tell(&[checked("a", true), checked("b", false)], out).err();
            Ok(())
        });
        assert!(text.contains("b: the key is not accepted (401)"), "{text}");
        assert_eq!(failed.map(|e| e.to_string()), Some("no answer from b".to_owned()));
    }
}
