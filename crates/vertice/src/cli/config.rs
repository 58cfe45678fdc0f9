//! `vertice config`: what is in force, and what could be.

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::Subcommand;
use serde_json::json;

use super::output::{Format, Out, Tint};
use crate::config::{Config, DEFAULT};

#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Verb {
    /// Say whether the configuration is valid, and where it is not
    #[command(after_help = "Example:\n  vertice config check --config /etc/vertice.toml")]
    Check,
    /// Print the built-in configuration, with a comment for each key
    #[command(after_help = "Example:\n  vertice config default > vertice.toml")]
    Default,
    /// Print the configuration in force: built in, then the file, then the environment
    Show,
}

pub fn run(verb: Verb, file: Option<&Path>, load: impl FnOnce() -> Result<Config>, out: &mut Out) -> Result<()> {
    match verb {
        Verb::Default => out.text(DEFAULT),
        Verb::Check => {
            let config = load()?;
            #[cfg(feature = "kafka")]
            if config.stream.kafka.is_on() {
                crate::kafka::settings(&config.stream.kafka)?;
            }
            if config.store.postgres.is_on() {
                crate::up::shares(&config)?;
                config.store.postgres.settings(&config.data.dir)?;
            }
            let place = file.map_or("the built-in configuration".to_owned(), |f| f.display().to_string());
            match out.format {
                Format::Table => out.parts(&[(Tint::Good, "ok  "), (Tint::None, &place)]),
                Format::Json | Format::Ndjson => out.json(&json!({"valid": true, "file": file})),
            }
        }
        Verb::Show => {
            let config = load()?;
            match out.format {
                Format::Table => out.text(&toml::to_string(&config).context("writing the configuration")?),
                Format::Json | Format::Ndjson => out.json(&serde_json::to_value(&config)?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::printed;
    use crate::config;

    fn built_in() -> Result<Config> {
        config::load(None, |_| None)
    }

    #[test]
    fn the_default_is_printed_as_it_is_written() {
        assert_eq!(printed(Format::Table, |out| run(Verb::Default, None, built_in, out)), DEFAULT);
    }

    #[test]
    fn what_is_shown_is_a_configuration_again() {
        let text = printed(Format::Table, |out| run(Verb::Show, None, built_in, out));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vertice.toml");
        std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), text.as_bytes()).unwrap();
        let again = config::load(Some(&path), |_| None).unwrap();
        assert_eq!(format!("{again:?}"), format!("{:?}", built_in().unwrap()));
        let json = printed(Format::Json, |out| run(Verb::Show, None, built_in, out));
        assert!(json.contains("\"listen\": \"127.0.0.1:8000\""), "{json}");
    }

    #[test]
    fn a_check_says_what_was_checked() {
        let file = Path::new("my.toml");
        assert_eq!(printed(Format::Table, |out| run(Verb::Check, Some(file), built_in, out)), "ok  my.toml\n");
        assert!(printed(Format::Json, |out| run(Verb::Check, None, built_in, out)).contains("\"valid\": true"));
    }
}
