//! The arguments of the commands that are programs of their own.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::config::Config;

/// What `vertice up` was given. [`UpArguments::over`] puts it over the configuration.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = "\
Examples:
  vertice up
  vertice up --data /srv/vertice --listen 127.0.0.1:9000 --rules sigma/rules
  vertice up --no-local-sources --follow /var/log/nginx/access.log --syslog-udp 127.0.0.1:5514

Without a configuration it follows the local logs that it can read, says which, and only observes:
every plan is recorded as simulated and nothing is done. It prints one line when it is ready.
SIGTERM or Ctrl-C ends it: what was accepted is finished, then it exits with 0.")]
pub struct UpArguments {
    /// Where the log and the read model lie
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where the API listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    #[command(flatten)]
    pub content: ContentArguments,
    /// Do not look for the local logs that can be read
    #[arg(long)]
    pub no_local_sources: bool,
    /// A further file to follow; may be given several times
    #[arg(long, value_name = "FILE")]
    pub follow: Vec<PathBuf>,
    /// Take syslog in by UDP on this address
    #[arg(long, value_name = "ADDRESS")]
    pub syslog_udp: Option<SocketAddr>,
    /// Take syslog in by TCP on this address
    #[arg(long, value_name = "ADDRESS")]
    pub syslog_tcp: Option<SocketAddr>,
}

/// What is looked for and done, beside what is built in.
#[derive(Args, Clone, Debug, Default)]
pub struct ContentArguments {
    /// A directory of Sigma rules to load beside the built-in ones; may be given several times
    #[arg(long, value_name = "DIR")]
    pub rules: Vec<PathBuf>,
    /// A directory with rules/, mappings/ and playbooks/ to load beside the built-in ones
    #[arg(long, value_name = "DIR")]
    pub content: Vec<PathBuf>,
}

/// What `vertice replay` was given.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  vertice replay /var/log/auth.log*
  vertice replay evidence/ --rules sigma/rules -o ndjson > detections.ndjson
  journalctl -o json | vertice replay -

Files may be EVTX, JSON (one object, an array, or one object a line) or text logs, and gzip or zip of
these; a directory is walked. Detections go to standard output, progress to standard error and only
when that is a terminal. Exits with 0 when everything was read, whether or not anything was detected.")]
pub struct ReplayArguments {
    /// The files and directories to read; `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub content: ContentArguments,
    /// Keep the log and the read model here; without it they are thrown away afterwards
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// What `vertice demo` was given.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  vertice demo
  vertice demo --speed 0 --keep demo-data
  vertice up --data demo-data --no-local-sources     then look around: vertice threats list")]
pub struct DemoArguments {
    /// How many times faster than life; 0 for as fast as possible
    #[arg(long, value_name = "TIMES", default_value_t = 60.0, value_parser = speed)]
    pub speed: f64,
    /// Keep the log and the read model here, to look around afterwards with `vertice up --data DIR`
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

pub fn speed(text: &str) -> Result<f64, String> {
    let times: f64 = text.parse().map_err(|_| format!("{text:?} is no number such as 60"))?;
    if times.is_finite() && times >= 0.0 { Ok(times) } else { Err("it is 0 or more".to_owned()) }
}

impl UpArguments {
    /// The configuration with these arguments over it: single things take their place, lists grow.
    #[must_use]
    pub fn over(&self, mut config: Config) -> Config {
        self.content.over(&mut config);
        if let Some(dir) = &self.data {
            config.data.dir.clone_from(dir);
        }
        if let Some(address) = self.listen {
            config.server.listen = address;
        }
        config.sources.local &= !self.no_local_sources;
        config.sources.files.extend(self.follow.iter().cloned());
        for (given, place) in
            [(self.syslog_udp, &mut config.sources.syslog_udp), (self.syslog_tcp, &mut config.sources.syslog_tcp)]
        {
            if let Some(address) = given {
                *place = address.to_string();
            }
        }
        config
    }
}

impl ReplayArguments {
    /// The configuration with these arguments over it. The data directory is not among them: without
    /// `--data` a replay has a temporary one of its own, whatever the configuration says.
    #[must_use]
    pub fn over(&self, mut config: Config) -> Config {
        self.content.over(&mut config);
        config
    }
}

impl ContentArguments {
    /// Puts them over the configuration: lists grow.
    pub fn over(&self, config: &mut Config) {
        config.content.rules.extend(self.rules.iter().cloned());
        config.content.dirs.extend(self.content.iter().cloned());
    }
}
