//! `vertice events tail`: the live stream of the server, or a topic of Kafka.

use anyhow::Result;
use clap::Args;

use super::client::Client;
use super::output::Out;
use super::watch;
use crate::config::Config;

/// What is followed.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vertice events tail                                            what the server finds, as it finds it
  vertice events tail --topic defense.detections -o ndjson
  vertice events tail --topic defense.deadletter --from-beginning --count 10

Following a topic joins no group: nobody else gets less for it.")]
pub struct Arguments {
    /// A topic of Kafka instead of the live stream of the server
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// From the oldest record of the topic on, instead of from now
    #[arg(long, requires = "topic")]
    from_beginning: bool,
    /// How many records of the topic, and then the end
    #[arg(long, value_name = "COUNT", requires = "topic")]
    count: Option<u64>,
}

/// Follows until there are enough, or until somebody ends it.
pub fn run(
    arguments: &Arguments,
    client: &Client,
    config: impl FnOnce() -> Result<Config>,
    out: &mut Out,
) -> Result<()> {
    let Some(topic) = &arguments.topic else { return watch::run(client, out) };
    #[cfg(feature = "kafka")]
    {
        let (from_beginning, count) = (arguments.from_beginning, arguments.count.unwrap_or(u64::MAX));
        let following = crate::kafka::Following { topic, from_beginning, count };
        following.run(&config()?, &mut |record| {
            tell(record, out)?;
            out.flush()
        })
    }
    #[cfg(not(feature = "kafka"))]
    {
        let _ = (topic, config, arguments.from_beginning, arguments.count);
        Err(super::Failure::Usage("this program was built without the feature kafka".to_owned()).into())
    }
}

/// A record in a line: where, key, what it is, and its value.
#[cfg(feature = "kafka")]
fn tell(record: &serde_json::Value, out: &mut Out) -> Result<()> {
    use super::output::{Format, Tint};
    use super::records::text;

    if out.format != Format::Table {
        return out.json_line(record);
    }
    let value = record.get("value").map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
    out.parts(&[
        (Tint::Faint, &format!("{:>3} {:>8}  ", text(record, "/partition"), text(record, "/offset"))),
        (Tint::Bold, &format!("{:<18}  ", text(record, "/key"))),
        (Tint::None, &value.unwrap_or_default()),
    ])
}
