//! `vertice events inject`: one event, a file of them or a scenario, to the server or to Kafka.

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Map, Value, json};
use vertice_model::Timestamp;
use vertice_stream::{Item, Progress};

use super::Failure;
use super::client::Client;
use super::output::{Format, Out, Tint};
use crate::config::Config;
use crate::limits;
use crate::story::Story;

/// What is injected, and where to.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vertice events inject --event-type failed_login --source-ip 203.0.113.9 --payload '{\"user\":\"root\"}'
  vertice events inject auth.log.gz                      a file of any form that `vertice replay` reads
  vertice events inject --scenario attack.yml --speed 60 an attack of your own, written like the demonstration's
  vertice events inject --demo --kafka                   the attack of `vertice demo`, to the topic of events

Goes to the server, or with --kafka to the topic that [stream.kafka] names. Exit code 1 when something was refused.")]
pub struct Arguments {
    /// A file of events; `-` for standard input
    #[arg(value_name = "FILE", conflicts_with_all = ["scenario", "demo", "event_type"])]
    file: Option<PathBuf>,
    /// A scenario: `title`, and `lines` with `after_s` and `line`, as `vertice demo` plays one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["demo", "event_type"])]
    scenario: Option<PathBuf>,
    /// The attack that `vertice demo` plays
    #[arg(long, conflicts_with = "event_type")]
    demo: bool,
    /// How many times faster than life a scenario is played; 0 for as fast as possible
    #[arg(long, value_name = "TIMES", default_value_t = 0.0, value_parser = super::arguments::speed)]
    speed: f64,
    /// To the topic of events instead of the server
    #[arg(long)]
    kafka: bool,
    #[command(flatten)]
    event: EventArguments,
}

/// One event, part by part.
#[derive(Args, Debug)]
#[command(next_help_heading = "One event")]
struct EventArguments {
    /// What happened, such as failed_login
    #[arg(long, value_name = "TYPE", requires = "source_ip")]
    event_type: Option<String>,
    /// Who did it
    #[arg(long, value_name = "ADDRESS", requires = "event_type")]
    source_ip: Option<IpAddr>,
    /// What kind of sensor saw it
    #[arg(long, value_name = "KIND", default_value = "endpoint")]
    source: String,
    /// To whom
    #[arg(long, value_name = "ADDRESS", requires = "event_type")]
    destination_ip: Option<IpAddr>,
    /// To which port
    #[arg(long, value_name = "PORT", requires = "event_type")]
    port: Option<u16>,
    /// By which protocol
    #[arg(long, value_name = "NAME", requires = "event_type")]
    protocol: Option<String>,
    /// What else there is to say: a JSON object
    #[arg(long, value_name = "JSON", requires = "event_type", value_parser = object)]
    payload: Option<Map<String, Value>>,
    /// What is known beside: a JSON object
    #[arg(long, value_name = "JSON", requires = "event_type", value_parser = object)]
    context: Option<Map<String, Value>>,
    /// Its id; by default one of its own
    #[arg(long, value_name = "ID", requires = "event_type")]
    event_id: Option<String>,
    /// When it happened, RFC 3339; by default now
    #[arg(long, value_name = "TIME", requires = "event_type")]
    timestamp: Option<Timestamp>,
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|e| format!("it is no JSON object: {e}"))
}

/// Where lines are sent.
type To<'a> = Box<dyn FnMut(&[String]) -> Result<Sent> + 'a>;

/// What was made of all that was sent.
#[derive(Default)]
pub struct Sent {
    /// How many events were taken.
    pub accepted: u64,
    /// What was refused: number and reason.
    pub refused: Vec<(u64, String)>,
}

/// Sends it and says what became of it. `now` is when a scenario ends and an event without a time happens.
pub fn run(
    arguments: &Arguments,
    client: &Client,
    config: impl FnOnce() -> Result<Config>,
    now: Timestamp,
    out: &mut Out,
) -> Result<()> {
    let mut to: To<'_> = match arguments.kafka {
        true => to_kafka(&config()?)?,
        false => Box::new(|lines| to_server(client, lines)),
    };
    let mut sent = Sent::default();
    let mut numbered = 0;
    let mut send = |lines: &[String]| -> Result<()> {
        let Sent { accepted, refused } = to(lines)?;
        sent.accepted += accepted;
        sent.refused.extend(refused.into_iter().map(|(n, reason)| (numbered + n, reason)));
        numbered += lines.len() as u64;
        Ok(())
    };
    match (&arguments.file, story(arguments)?, arguments.event.line(now)?) {
        (Some(path), ..) => whole_file(path, &mut send)?,
        (None, Some(story), _) => play(&story, arguments.speed, now, &mut send)?,
        (None, None, Some(line)) => send(&[line])?,
        (None, None, None) => {
            let what = "nothing to inject: name a file, --scenario FILE, --demo, or --event-type and --source-ip";
            return Err(Failure::Usage(what.to_owned()).into());
        }
    }
    tell(&sent, out)
}

fn story(arguments: &Arguments) -> Result<Option<Story>> {
    match (&arguments.scenario, arguments.demo) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            let wrong = |error: anyhow::Error| Failure::Content(format!("{}: {error:#}", path.display()));
            Ok(Some(Story::parse(&text).map_err(wrong)?))
        }
        (None, true) => Story::demo().map(Some),
        (None, false) => Ok(None),
    }
}

impl EventArguments {
    /// The event in the contract's form.
    fn line(&self, now: Timestamp) -> Result<Option<String>> {
        let (Some(event_type), Some(source_ip)) = (&self.event_type, self.source_ip) else { return Ok(None) };
        let event_id = match &self.event_id {
            Some(id) => id.clone(),
            None => {
                let mut bytes = [0; 8];
                getrandom::fill(&mut bytes).map_err(|e| Failure::Failed(format!("drawing an id: {e}")))?;
                format!("inject-{:016x}", u64::from_le_bytes(bytes))
            }
        };
        let mut event = json!({
            "event_id": event_id,
            "timestamp": self.timestamp.unwrap_or(now),
            "source": self.source,
            "event_type": event_type,
            "source_ip": source_ip,
            "payload": self.payload.clone().unwrap_or_default(),
            "context": self.context.clone().unwrap_or_default(),
        });
        let optional = [
            ("destination_ip", self.destination_ip.map(|ip| json!(ip))),
            ("port", self.port.map(|port| json!(port))),
            ("protocol", self.protocol.as_ref().map(|name| json!(name))),
        ];
        for (name, value) in optional.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            event[name] = value;
        }
        Ok(Some(event.to_string()))
    }
}

/// Sends a file in shares.
fn whole_file(path: &Path, send: &mut dyn FnMut(&[String]) -> Result<()>) -> Result<()> {
    let (mut lines, mut bytes, mut failed) = (Vec::new(), 0, None);
    let mut each = |item: Item| {
        let done = match item {
            Item::Event(raw, _) => {
                bytes += raw.line.len();
                lines.push(raw.line);
                match lines.len() >= limits::REPLAY_BATCH_EVENTS || bytes >= limits::REPLAY_BATCH_BYTES {
                    true => {
                        bytes = 0;
                        send(&std::mem::take(&mut lines))
                    }
                    false => Ok(()),
                }
            }
            Item::Refused { file, number, reason } => {
                Err(Failure::Failed(format!("{file}: record {number}: {reason}")).into())
            }
            Item::LeftOut(left) => Err(Failure::Failed(format!("{}: {}", left.file, left.reason)).into()),
        };
        done.map_or_else(
            |error| {
                failed = Some(error);
                ControlFlow::Break(())
            },
            ControlFlow::Continue,
        )
    };
    // Whether it came to its end shows in `failed`.
    let _ = match path.to_str() {
        Some("-") => vertice_stream::read_stream("stdin", &mut std::io::stdin().lock(), &mut each),
        Some(_) if !path.exists() => {
            return Err(Failure::NotFound(format!("{}: there is no such file", path.display())).into());
        }
        Some(_) | None => vertice_stream::read(path, &Progress::new(0), &mut each),
    };
    match failed {
        Some(error) => Err(error),
        None if lines.is_empty() => Ok(()),
        None => send(&lines),
    }
}

/// Plays a scenario that ends now, or in its own time from now on.
fn play(story: &Story, speed: f64, now: Timestamp, send: &mut dyn FnMut(&[String]) -> Result<()>) -> Result<()> {
    let began = Timestamp::from_micros(now.as_micros() - story.length_s() as i64 * 1_000_000);
    if speed == 0.0 {
        let lines: Vec<String> = story.lines.iter().map(|line| line.filled(began)).collect();
        return lines.chunks(limits::REPLAY_BATCH_EVENTS).try_for_each(send);
    }
    // Nobody sends on it, so that waiting for it is a pause.
    let (_keep, pause) = std::sync::mpsc::channel::<()>();
    let mut before = 0;
    for line in &story.lines {
        let _ = pause.recv_timeout(Duration::from_secs_f64((line.after_s - before) as f64 / speed));
        before = line.after_s;
        send(&[line.filled(began)])?;
    }
    Ok(())
}

fn to_server(client: &Client, lines: &[String]) -> Result<Sent> {
    let answer = client.send("/api/v1/events", "text/plain", &lines.join("\n"))?;
    let refused = answer.get("refused").and_then(Value::as_array).into_iter().flatten();
    let refused = refused.map(|r| {
        let reason = r.get("reason").and_then(Value::as_str).unwrap_or_default();
        (r.get("number").and_then(Value::as_u64).unwrap_or_default(), reason.to_owned())
    });
    let accepted = answer.get("accepted").and_then(Value::as_u64).unwrap_or_default();
    Ok(Sent { accepted, refused: refused.collect() })
}

#[cfg(feature = "kafka")]
fn to_kafka(config: &Config) -> Result<To<'static>> {
    let mut sender = crate::kafka::Sender::new(config)?;
    Ok(Box::new(move |lines| sender.send(lines)))
}

#[cfg(not(feature = "kafka"))]
fn to_kafka(_: &Config) -> Result<To<'static>> {
    Err(Failure::Usage("this program was built without the feature kafka".to_owned()).into())
}

fn tell(sent: &Sent, out: &mut Out) -> Result<()> {
    let Sent { accepted, refused } = sent;
    if out.format == Format::Table {
        out.parts(&[(Tint::Good, &format!("{accepted} accepted"))])?;
        for (number, reason) in refused.iter().take(limits::REFUSALS_TOLD as usize) {
            out.parts(&[(Tint::Warn, &format!("refused  {number}: ")), (Tint::None, reason)])?;
        }
    } else {
        let list: Vec<Value> = refused.iter().map(|(n, reason)| json!({"number": n, "reason": reason})).collect();
        out.json(&json!({"accepted": accepted, "refused": list}))?;
    }
    match refused.len() {
        0 => Ok(()),
        n => Err(Failure::Failed(format!("{} refused", super::content::counted(n, "event"))).into()),
    }
}
