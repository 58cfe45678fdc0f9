//! `vertice release`: whoever is held is let go, whether or not a server runs.

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use super::Failure;
use super::client::{Client, segment};
use super::output::{Format, Out};
use super::records::{entity, state, text};
use crate::config::Config;
use crate::release;

const PATH: &str = "/api/v1/defense/containments";

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  vertice release 203.0.113.9\n  \
    vertice release 203.0.113.9 --reason \"that is our backup server\"\n\n\
    Asks the server. Where none runs, it is done here and now, with the data directory of the configuration: this \
    needs no key, but the right to write there and to change the firewall.")]
pub struct Arguments {
    /// The address, host or account
    name: String,
    /// Why, in your words
    #[arg(long, default_value = "released by hand")]
    reason: String,
}

pub fn run(
    arguments: &Arguments,
    client: &Client,
    configuration: impl FnOnce() -> Result<Config>,
    out: &mut Out,
) -> Result<()> {
    let name = arguments.name.trim();
    match client.page(PATH, &[("entity", name), ("active", "true"), ("limit", "1000")]) {
        Ok(page) => served(name, &arguments.reason, &page.items, client, out),
        Err(Failure::Unreachable(_)) => alone(name, &arguments.reason, &configuration()?, out),
        Err(other) => Err(other.into()),
    }
}

fn served(name: &str, reason: &str, held: &[Value], client: &Client, out: &mut Out) -> Result<()> {
    if held.is_empty() {
        return Err(Failure::NotFound(format!(
            "nothing holds {name}; `vertice containments list --ended` shows what did"
        ))
        .into());
    }
    let mut answers = Vec::new();
    for containment in held {
        let id = text(containment, "/containment_id");
        match client.delete(&format!("{PATH}/{}", segment(&id)), &[("reason", reason)]) {
            Ok(answer) => answers.push(answer),
            // With one of a run the others may have gone.
            Err(Failure::Failed(_)) => answers.push(client.get(&format!("{PATH}/{}", segment(&id)), &[])?),
            Err(other) => return Err(other.into()),
        }
    }
    match out.format {
        Format::Json | Format::Ndjson => out.json(&Value::Array(answers)),
        Format::Table => {
            for answer in &answers {
                let how = match state(answer, "/state").as_str() {
                    "releasing" => "is being taken out, and not yet seen to be gone",
                    _ => "is released",
                };
                out.line(&format!("{}: {} {how}.", entity(answer), text(answer, "/action_type")))?;
            }
            Ok(())
        }
    }
}

fn alone(name: &str, reason: &str, config: &Config, out: &mut Out) -> Result<()> {
    let released = release::offline(config, name, reason)?;
    let release::Released { containments, unfinished, elements } = released;
    if containments == 0 && elements == 0 {
        let dir = config.data.dir.display();
        return Err(
            Failure::NotFound(format!("no server runs, and nothing in {dir} or the firewall holds {name}")).into()
        );
    }
    match out.format {
        Format::Json | Format::Ndjson => out.json(
            &json!({"offline": true, "containments": containments, "unfinished": unfinished, "elements": elements}),
        )?,
        Format::Table => out.line(&format!(
            "No server runs, so {name} was released here: {containments} containments taken back, {elements} further \
             elements taken out of the firewall."
        ))?,
    }
    if unfinished > 0 {
        let text =
            format!("{unfinished} of them are not yet seen to be gone; the next start of Vertice goes on with them");
        return Err(Failure::Failed(text).into());
    }
    Ok(())
}
