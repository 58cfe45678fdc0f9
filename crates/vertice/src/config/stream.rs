//! `[stream]`: what events come from and records go to beyond this machine.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use vertice_responder::settings::Hidden;

/// Streams beyond this machine.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// Kafka.
    pub kafka: Kafka,
}

/// Kafka. Without brokers there is none.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// Some of the brokers, as `host:port`; the others are learnt from them.
    pub brokers: Vec<String>,
    /// The consumer group, which is also the name by which what goes out is signed.
    pub group: String,
    /// What we call ourselves to the brokers.
    pub client_id: String,
    /// Whether topics that are not there are made.
    pub create_topics: bool,
    /// How many partitions a topic gets that is made.
    pub partitions: u16,
    /// How many replicas it gets.
    pub replication: u16,
    /// After how many seconds of silence an instance is given up.
    pub session_timeout_s: u16,
    /// The topics by what they are for.
    pub topics: Topics,
    /// How brokers are spoken to.
    pub security: Security,
}

impl Kafka {
    /// Whether it is used.
    pub fn is_on(&self) -> bool {
        !self.brokers.is_empty()
    }
}

/// The names of topics.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Topics {
    /// Events in.
    pub events: String,
    /// Detections out.
    pub detections: String,
    /// Threats out.
    pub threats: String,
    /// Responses out.
    pub responses: String,
    /// What could not be read, out.
    pub deadletter: String,
    /// Between instances that share their state.
    pub hits: String,
}

/// How brokers are spoken to.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Security {
    /// Whether connections are encrypted.
    pub tls: bool,
    /// Certificates to trust instead of the usual ones, in PEM; empty for the usual ones.
    pub ca_file: PathBuf,
    /// Our own certificate, in PEM; empty for none.
    pub certificate_file: PathBuf,
    /// Its key, in PEM.
    pub key_file: PathBuf,
    /// How we say who we are.
    pub sasl: Sasl,
    /// The account.
    pub user: String,
    /// Its password.
    pub password: Option<Hidden>,
    /// Whether a password may go in the open.
    pub allow_plain: bool,
}

/// How we say who we are (SASL).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sasl {
    /// Not at all.
    None,
    /// By a password in the open, so only with TLS.
    Plain,
    /// SCRAM with SHA-256.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// SCRAM with SHA-512.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}
