//! `vertice playbooks plan`: what a playbook would do for a threat.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::Value;
use vertice_engine::decide::preview::{self, Preview, PreviewStep};
use vertice_model::{Entity, Threat};

use super::super::Failure;
use super::super::arguments::ContentArguments;
use super::super::client::{Client, segment};
use super::super::output::{Format, Out, Tint};
use super::super::records::{duration, facts, words};
use super::{compiled, named, read};
use crate::config::Config;
use crate::protect;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vertice playbook plan my-playbooks/block.yml \"brute_force_detected high 0.9 ip=203.0.113.9 detections=40\"
  vertice playbook plan brute_force_response 1f3a         a threat of the running server
  vertice playbook plan brute_force_response threat.json  one from a file, as `vertice threats show -o json` writes it

THREAT is what the cases beside playbooks write: CLASSES SEVERITY CONFIDENCE, and any of ip=, host=, user=,
technique=, tactic=, detections=, title= (with _ for a blank). It is a file if there is one of that name, and the id
of a threat if it has no blank in it. What may not be touched is what the configuration and this machine say. Nothing
is done, and only a threat's id needs a server.

Exit codes:
  0  this is what would be done                3  there is no such playbook or threat
  1  nothing can be: the threat does not tell  4  the server can not be reached
     what the playbook must know               6  the playbook is refused
  2  the command line is wrong, or THREAT is none")]
pub struct Arguments {
    /// The playbook: its file, or the id of one that is built in or configured
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The threat: its id, in short form, or a file; `-` for standard input
    threat: String,
    #[command(flatten)]
    content: ContentArguments,
}

pub fn run(arguments: &Arguments, client: &Client, config: &Config, out: &mut Out) -> Result<()> {
    let file = named(&arguments.file, config, &arguments.content)?;
    let (content, id) = compiled(file, Some(protect::policy(&config.response, config.sentinel.ask, Path::new("/"))?))?;
    let threat = threat(&arguments.threat, client)?;
    let preview = preview::preview(&content.playbooks, &id, &threat, &content.policy).context("planning it")?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&serde_json::to_value(&preview)?)?,
        Format::Table => print(&preview, &threat, out)?,
    }
    if preview.missing.is_empty() {
        return Ok(());
    }
    bail!(Failure::Failed(format!("nothing can be done: the threat does not tell {}", preview.missing.join(", "))))
}

/// The threat that an argument names or is.
fn threat(text: &str, client: &Client) -> Result<Threat> {
    let in_short = |text: &str| preview::threat(text).map_err(|why| Failure::Usage(format!("the threat: {why}")));
    if text == "-" || Path::new(text).is_file() {
        let read = read(Path::new(text))?;
        if !read.trim_start().starts_with('{') {
            return Ok(in_short(&read)?);
        }
        let threat = serde_json::from_str(&read);
        return threat
            .map_err(|e| Failure::Usage(format!("{text}:{}:{}: it is no threat: {e}", e.line(), e.column())).into());
    }
    if text.contains(char::is_whitespace) {
        return Ok(in_short(text)?);
    }
    let record: Value = client.get(&format!("/api/v1/defense/threats/{}", segment(text)), &[])?;
    serde_json::from_value(record).context("the server's threat is not understood; is it of this version?")
}

fn print(preview: &Preview, threat: &Threat, out: &mut Out) -> Result<()> {
    let about: Vec<&str> = threat.entities.iter().map(Entity::name).collect();
    let about = if about.is_empty() { "nobody".to_owned() } else { about.join(", ") };
    out.parts(&[(Tint::Bold, &preview.playbook_id), (Tint::None, &format!("  for a threat about {about}"))])?;
    for reason in &preview.not_due {
        out.parts(&[(Tint::Warn, "would not begin by itself: "), (Tint::None, reason)])?;
    }
    let mut round = 0;
    for (i, step) in preview.steps.iter().enumerate() {
        out.line("")?;
        if step.round != round {
            round = step.round;
            let count = preview.steps.iter().filter(|other| other.round == round).count();
            let how = if count == 1 { "" } else { ", side by side" };
            out.parts(&[(Tint::Faint, &format!("round {round}{how}"))])?;
        }
        one(i + 1, step, out)?;
    }
    Ok(())
}

fn one(number: usize, step: &PreviewStep, out: &mut Out) -> Result<()> {
    let is = &step.step;
    let (tint, state) = match (&step.refused, &step.asks) {
        (Some(_), _) => (Tint::Bad, "refused"),
        (None, Some(_)) => (Tint::Warn, "asks first"),
        (None, None) => (Tint::Good, "at once"),
    };
    out.parts(&[
        (Tint::Bold, &format!("{number}. {}", is.action_id)),
        (Tint::Faint, &format!("  {}, risk {}  ", is.action_type, step.risk.as_str())),
        (tint, state),
        (Tint::None, &step.refused.as_ref().map_or(String::new(), |why| format!(": {why}"))),
    ])?;
    let with: Vec<String> = is.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let touches: Vec<String> = is.touches.iter().map(|entity| format!("{} {}", entity.kind(), entity.name())).collect();
    let asks = step.asks.as_ref();
    let if_nobody = asks.and_then(|ask| serde_json::to_value(ask.on_timeout).ok()).map(|word| words(&word));
    facts(
        out,
        &[
            ("   with", with.join(" ")),
            ("   touches", touches.join(", ")),
            ("   lasts", is.lease_s.map(duration).unwrap_or_default()),
            ("   undone by", is.inverse.clone()),
            ("   after", is.depends_on.join(", ")),
            ("   asks", asks.map(|ask| ask.prompt.clone()).unwrap_or_default()),
            ("   waits for an answer", asks.map(|ask| duration(ask.timeout_s)).unwrap_or_default()),
            ("   if nobody answers", if_nobody.unwrap_or_default()),
            ("   seen by", step.success_criteria.join(", ")),
            ("   if it fails", step.on_failure.to_owned()),
        ],
    )
}
