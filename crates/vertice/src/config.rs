//! Configuration in two steps: the files as written, then what is needed of them.
//!
//! The built-in default is a commented TOML file; a file of the user's goes over it key by key, and
//! the environment over that.

mod postgres;
mod stream;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub use postgres::Storage;
pub use stream::Stream;
#[cfg(feature = "kafka")]
pub use stream::{Kafka, Sasl, Security, Topics};

/// The built-in default, as the user may read it with `vertice config default`.
pub const DEFAULT: &str = include_str!("vertice.toml");

/// The configuration in force.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The API.
    pub server: Server,
    /// Where state lies.
    pub data: Data,
    /// Where events come from.
    pub sources: Sources,
    /// What events come from and records go to beyond this machine.
    pub stream: Stream,
    /// Where many instances keep their state.
    pub store: Storage,
    /// What is looked for and done.
    pub content: ContentDirs,
    /// How far responses may go.
    pub response: Response,
    /// Language models.
    pub sentinel: Sentinel,
}

/// Language models: whether they are asked, and which.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Sentinel {
    /// Whether a model is asked about threats.
    pub ask: bool,
    /// The models, and what stands around them.
    #[serde(flatten)]
    pub models: vertice_llm::Settings,
}

/// The API.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Where it listens.
    pub listen: SocketAddr,
    /// From which calls a key is needed on loopback.
    pub key_required: KeyRequired,
    /// Whether `/ready` and `/metrics` never need one.
    pub open_probes: bool,
}

/// From which calls a key is needed on a loopback address.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyRequired {
    /// Answers, verdicts and releases.
    Decisions,
    /// All but health.
    Always,
}

/// Where state lies.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The directory; empty for the usual place.
    pub dir: PathBuf,
}

/// Where events come from.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// Whether local logs are looked for.
    pub local: bool,
    /// Further files.
    pub files: Vec<PathBuf>,
    /// Where syslog comes in by UDP; empty for nowhere.
    pub syslog_udp: String,
    /// Where syslog comes in by TCP; empty for nowhere.
    pub syslog_tcp: String,
}

/// What is looked for and done, beside what is built in.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ContentDirs {
    /// Directories with `rules/`, `mappings/`, `playbooks/` and `pipelines/`.
    pub dirs: Vec<PathBuf>,
    /// Directories of Sigma rules.
    pub rules: Vec<PathBuf>,
}

/// How far responses may go, and the section of each verb.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Response {
    /// Whether anything is done: the first of the two switches.
    pub mode: Mode,
    /// What no automated action may touch, beside what is always protected.
    pub protected: Vec<String>,
    /// How many different entities may be contained within an hour.
    pub blast_radius_per_hour: u32,
    /// How many hosts there are to be known; 0 where nobody counted.
    pub known_hosts: u32,
    /// Who may answer questions, by the names of their API keys; empty: everybody whose key may decide.
    pub approvers: Vec<String>,
    /// Who may answer too once nobody did in time.
    pub escalate_to: Vec<String>,
    /// How many different people must say yes to an action of the highest risk.
    pub approvals_for_high_risk: u32,
    /// Where people reach this server with a browser; empty: questions are sent without a link.
    pub link_base: String,
    /// What each verb is configured with; the second switch is its `enabled`.
    #[serde(flatten)]
    pub verbs: vertice_responder::Settings,
}

/// Whether actions are carried out.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They are checked and recorded, never carried out.
    Observe,
    /// Those of the enabled verbs are carried out.
    Live,
}

/// The configuration from a file, if one is given, and the environment.
pub fn load(file: Option<&Path>, environment: impl Fn(&str) -> Option<String>) -> Result<Config> {
    let mut table: Table = DEFAULT.parse().expect("the built-in configuration is TOML");
    if let Some(path) = file {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("reading the configuration {}", path.display()))?;
        overlay(&mut table, &text).with_context(|| format!("in the configuration {}", path.display()))?;
    }
    override_from(&mut table, environment)?;
    let mut config: Config = table.try_into().context("in the configuration")?;
    if config.data.dir.as_os_str().is_empty() {
        config.data.dir = usual_data_dir();
    }
    Ok(config)
}

/// Puts the user's text over the default, and checks it by itself first, so that an error names its line.
fn overlay(table: &mut Table, text: &str) -> Result<()> {
    let written: Table = toml::from_str(text).map_err(|e| anyhow::anyhow!("{}", e.to_string().trim_end()))?;
    for (section, keys) in written {
        let Some(Value::Table(known)) = table.get_mut(&section) else {
            bail!("line {}: there is no section [{section}]; there are {}", line_of(text, "", &section), names(table));
        };
        let Value::Table(keys) = keys else {
            bail!("line {}: {section} is a section, written [{section}]", line_of(text, "", &section));
        };
        overlay_section(known, keys, &section, text)?;
    }
    Ok(())
}

/// What may be given and has no default, so that the built-in configuration does not have it.
const OPTIONAL: &[&str] = &[
    "response.notification.ca_file",
    "response.notification.smtp",
    "response.http_request.ca_file",
    "store.postgres.password",
    "store.postgres.url",
    "stream.kafka.security.password",
    "sentinel.redis_password",
];

/// Names that the environment of others has already, and the names of ours that they stand for.
const ALSO: [(&str, &str); 5] = [
    ("VERTICE_STREAM_KAFKA_BROKERS", "KAFKA_BROKERS"),
    ("VERTICE_STORE_POSTGRES_HOST", "POSTGRES_HOST"),
    ("VERTICE_STORE_POSTGRES_PORT", "POSTGRES_PORT"),
    ("VERTICE_STORE_POSTGRES_DB", "POSTGRES_DB"),
    ("VERTICE_STORE_POSTGRES_USER", "POSTGRES_USER"),
];

/// Texts without a default that the environment may give all the same, and what others call them.
const ALSO_TEXTS: [(&[&str], &str, &str); 3] = [
    (&["stream", "kafka", "security"], "password", ""),
    (&["store", "postgres"], "url", "DATABASE_URL"),
    (&["store", "postgres"], "password", "POSTGRES_PASSWORD"),
];

/// The same for a section and those within it. One whose default is empty names things, and takes any name.
fn overlay_section(known: &mut Table, written: Table, section: &str, text: &str) -> Result<()> {
    let names_things = known.is_empty();
    for (key, value) in written {
        match (known.get_mut(&key), value) {
            (None, value) if names_things || OPTIONAL.contains(&format!("{section}.{key}").as_str()) => {
                known.insert(key, value);
            }
            (None, _) => {
                bail!("line {}: [{section}] has no key {key}; it has {}", line_of(text, section, &key), names(known))
            }
            (Some(Value::Table(within)), Value::Table(keys)) => {
                overlay_section(within, keys, &format!("{section}.{key}"), text)?;
            }
            // Two dollars are 2 to most people, and not 2.0.
            (Some(default @ Value::Float(_)), Value::Integer(whole)) => *default = Value::Float(whole as f64),
            (Some(default), value) if !default.same_type(&value) => bail!(
                "line {}: {key} of [{section}] is a {}, not a {}",
                line_of(text, section, &key),
                default.type_str(),
                value.type_str()
            ),
            (Some(default), value) => *default = value,
        }
    }
    Ok(())
}

fn names(table: &Table) -> String {
    table.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// The line on which a key or section is written, from 1.
fn line_of(text: &str, section: &str, name: &str) -> usize {
    let whole = format!("{section}.{name}");
    let written = |l: &str| {
        let line = l.trim_start().trim_start_matches('[');
        line.starts_with(name) || (!section.is_empty() && line.starts_with(&whole))
    };
    text.lines().position(written).map_or(1, |i| i + 1)
}

/// Puts the environment over the table: `VERTICE_SECTION_KEY` for each key there is.
fn override_from(table: &mut Table, environment: impl Fn(&str) -> Option<String>) -> Result<()> {
    for (section, keys) in table.iter_mut() {
        let Value::Table(keys) = keys else { continue };
        override_section(keys, &format!("VERTICE_{section}").to_uppercase(), &environment)?;
    }
    for (sections, key, theirs) in ALSO_TEXTS {
        let name = format!("VERTICE_{}_{key}", sections.join("_")).to_uppercase();
        let also = || Some(theirs).filter(|theirs| !theirs.is_empty()).and_then(&environment);
        let within = sections.iter().try_fold(&mut *table, |table, section| table.get_mut(*section)?.as_table_mut());
        if let (Some(within), Some(text)) = (within, environment(&name).or_else(also).filter(|text| !text.is_empty())) {
            within.insert(key.to_owned(), Value::String(text));
        }
    }
    Ok(())
}

fn override_section(keys: &mut Table, section: &str, environment: &impl Fn(&str) -> Option<String>) -> Result<()> {
    for (key, value) in keys.iter_mut() {
        let name = format!("{section}_{}", key.to_uppercase());
        if let Value::Table(within) = value {
            override_section(within, &name, environment)?;
            continue;
        }
        let also = || ALSO.iter().find(|(ours, _)| *ours == name).and_then(|(_, theirs)| environment(theirs));
        let Some(text) = environment(&name).or_else(also) else { continue };
        *value = match value {
            Value::Boolean(_) => {
                Value::Boolean(text.parse().with_context(|| format!("{name} is true or false, not {text:?}"))?)
            }
            Value::Integer(_) => {
                Value::Integer(text.parse().with_context(|| format!("{name} is a whole number, not {text:?}"))?)
            }
            Value::Float(_) => Value::Float(text.parse().with_context(|| format!("{name} is a number, not {text:?}"))?),
            Value::Array(_) => {
                Value::Array(text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(Value::from).collect())
            }
            Value::String(_) | Value::Datetime(_) | Value::Table(_) => Value::String(text),
        };
    }
    Ok(())
}

fn usual_data_dir() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/vertice");
    }
    let share = variable("XDG_DATA_HOME").or_else(|| Some(variable("HOME")?.join(".local/share")));
    share.unwrap_or_else(|| PathBuf::from(".")).join("vertice")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlaid(text: &str) -> Result<Config> {
        let mut table: Table = DEFAULT.parse().unwrap();
        overlay(&mut table, text)?;
        Ok(table.try_into()?)
    }

    #[test]
    fn the_embedded_default_is_valid() {
        let config = load(None, |_| None).unwrap();
        assert!(config.server.listen.ip().is_loopback());
        assert_eq!(config.response.mode, Mode::Observe);
        assert!(!config.data.dir.as_os_str().is_empty());
        // What the file says of models is what they do without it.
        assert_eq!((config.sentinel.ask, config.sentinel.models), (false, vertice_llm::Settings::default()));
    }

    #[test]
    fn a_file_changes_only_what_it_names() {
        let config = overlaid("[server]\nlisten = \"127.0.0.1:9\"\n").unwrap();
        assert_eq!(config.server.listen.port(), 9);
        assert!(config.sources.local);
        let models = "[sentinel.models.m]\nprovider = \"compatible\"\nmodel = \"x\"\nbase_url = \"http://localhost\"\n";
        let config = overlaid(&format!("{models}[sentinel.budget]\nusd_per_day = 2\n")).unwrap();
        assert_eq!((config.sentinel.models.models.len(), config.sentinel.models.budget.usd_per_day), (1, 2.0));
    }

    #[test]
    fn errors_name_the_line_and_what_was_meant() {
        for (text, wanted) in [
            ("\n[sever]\n", "line 2: there is no section [sever]; there are"),
            ("server = 1", "line 1: server is a section, written [server]"),
            (
                "[server]\nlisten = \"x:1\"\nport = 1",
                "line 3: [server] has no key port; it has key_required, listen, open_probes",
            ),
            ("[sources]\nlocal = \"yes\"", "line 2: local of [sources] is a boolean, not a string"),
            ("[server\n", "line 1"),
            ("[stream.kafka]\nbroker = []\n", "line 2: [stream.kafka] has no key broker; it has brokers, client_id"),
            ("[response]\n[response.firewal_rule]\n", "line 2: [response] has no key firewal_rule; it has"),
            ("[response.firewall_rule]\nenable = true\n", "line 2: [response.firewall_rule] has no key enable; it has"),
            (
                "[response.firewall_rule]\nenabled = 1\n",
                "line 2: enabled of [response.firewall_rule] is a boolean, not",
            ),
        ] {
            let error = overlaid(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text:?} gave {error:?}");
        }
        let secret = overlaid("[stream.kafka.security]\npassword = { file = \"/p\" }\n").unwrap();
        assert_eq!(format!("{:?}", secret.stream.kafka.security.password.unwrap()), "(hidden, from /p)");
        assert!(overlaid("[response]\nmode = \"alive\"").unwrap_err().to_string().contains("observe"));
    }

    #[test]
    fn the_environment_wins() {
        let set = |name: &str| match name {
            "VERTICE_SERVER_LISTEN" => Some("127.0.0.1:7".to_owned()),
            "VERTICE_SOURCES_FILES" => Some("/a, /b".to_owned()),
            "VERTICE_SOURCES_LOCAL" => Some("false".to_owned()),
            "VERTICE_RESPONSE_BLAST_RADIUS_PER_HOUR" => Some("3".to_owned()),
            "VERTICE_RESPONSE_FIREWALL_RULE_ENABLED" => Some("true".to_owned()),
            "KAFKA_BROKERS" => Some("k1:9092,k2:9092".to_owned()),
            "POSTGRES_HOST" => Some("db".to_owned()),
            "POSTGRES_PORT" => Some("6000".to_owned()),
            "POSTGRES_PASSWORD" => Some("s3cr3t".to_owned()),
            "VERTICE_STREAM_KAFKA_TOPICS_EVENTS" => Some("raw".to_owned()),
            "VERTICE_STREAM_KAFKA_SECURITY_PASSWORD" => Some("s3cr3t".to_owned()),
            "VERTICE_SENTINEL_BUDGET_USD_PER_DAY" => Some("0.5".to_owned()),
            _ => None,
        };
        let config = load(None, set).unwrap();
        let postgres = &config.store.postgres;
        assert_eq!((postgres.is_on(), postgres.port, postgres.db.as_str()), (true, 6000, "vertice"));
        assert_eq!(
            postgres.settings(Path::new(".")).unwrap().whereabouts(),
            "PostgreSQL db:6000/vertice",
            "one by one"
        );
        assert!(!format!("{config:?}").contains("s3cr3t"));
        let whole = |name: &str| (name == "DATABASE_URL").then(|| "postgres://a:s3cr3t@b:1/c".to_owned());
        let whole = load(None, whole).unwrap().store.postgres;
        assert_eq!(whole.settings(Path::new(".")).unwrap().whereabouts(), "PostgreSQL b:1/c", "at once");
        assert!(!load(None, |_| None).unwrap().store.postgres.is_on());
        assert_eq!(config.server.listen.port(), 7);
        assert_eq!(config.sources.files, [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert_eq!((config.sources.local, config.response.blast_radius_per_hour), (false, 3));
        assert!(config.response.verbs.firewall_rule.enabled);
        let kafka = &config.stream.kafka;
        assert_eq!(
            (kafka.brokers.as_slice(), kafka.topics.events.as_str()),
            (&["k1:9092".into(), "k2:9092".into()][..], "raw")
        );
        assert!(kafka.is_on() && !load(None, |_| None).unwrap().stream.kafka.is_on());
        assert_eq!(kafka.security.password.as_ref().unwrap().read("k").unwrap(), "s3cr3t");
        let ours =
            |name: &str| set(name).or_else(|| (name == "VERTICE_STREAM_KAFKA_BROKERS").then(|| "k3:1".to_owned()));
        assert_eq!(load(None, ours).unwrap().stream.kafka.brokers, ["k3:1"], "our own name goes before");
        assert_eq!(config.sentinel.models.budget.usd_per_day, 0.5);
        let wrong = |name: &str| (name == "VERTICE_SOURCES_LOCAL").then(|| "maybe".to_owned());
        assert!(load(None, wrong).unwrap_err().to_string().contains("VERTICE_SOURCES_LOCAL is true or false"));
    }
}
