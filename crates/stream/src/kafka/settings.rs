//! How to reach Kafka, and with which bounds.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::problem::Problem;
use crate::limits::kafka as limits;

/// How to reach Kafka. Shared by consumers, publishers and checks.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Brokers to begin with, `host:port` separated by commas.
    pub brokers: String,
    /// The consumer group.
    pub group: String,
    /// What we call ourselves towards the broker.
    pub client: String,
    /// TLS, when the connection is to be encrypted.
    pub tls: Option<Tls>,
    /// The user we are, when the broker asks for one.
    pub sasl: Option<Sasl>,
    /// After which silence the broker gives our partitions to others; 6 s at least for brokers as they are shipped.
    pub session_timeout: Duration,
    /// How long one batch may take between two calls of [`Consumer::next`](super::Consumer::next) before the broker
    /// gives our partitions to others.
    pub work_timeout: Duration,
    /// After which time a record that is not acknowledged counts as not delivered.
    pub delivery_timeout: Duration,
    /// Where a partition begins that was never read, and one whose place is not there any more.
    pub from_newest: bool,
    /// Whether records are handed out with their headers. Only for topics that nobody else writes to: librdkafka's
    /// binding stops at a header whose name is not UTF-8, which costs a message on standard error each time.
    pub headers: bool,
    /// Further settings by librdkafka's name; at most [`FURTHER_MAX`](crate::limits::kafka::FURTHER_MAX). Those that
    /// the guarantees here rest on are not taken.
    pub further: Vec<(String, String)>,
}

/// An encrypted connection.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// The certificates to trust, PEM. `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// Our own certificate, PEM, when the broker asks for one.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
    /// The key's password.
    pub key_password: Option<Secret>,
}

/// Who we are.
#[derive(Clone, Debug)]
pub struct Sasl {
    /// How it is proven.
    pub mechanism: Mechanism,
    /// The user.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// How a user is proven.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mechanism {
    /// The password itself: only inside TLS, or where nobody listens.
    Plain,
    /// RFC 5802 with SHA-256. Needs the feature `kafka-tls`.
    ScramSha256,
    /// RFC 5802 with SHA-512. Needs the feature `kafka-tls`.
    ScramSha512,
}

/// A text that is never shown.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// Keeps it.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What may not be changed by [`Settings::further`]: the guarantees rest on it, or a field of its own says it.
const OURS: [&str; 24] = [
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "client.id",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.protocol",
    "log.queue",
    "max.poll.interval.ms",
    "message.timeout.ms",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "partitioner",
    "request.required.acks",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.password",
    "sasl.username",
    "session.timeout.ms",
    "transactional.id",
];

impl Settings {
    /// Settings for these brokers and this group, in the clear, with our bounds.
    pub fn new(brokers: impl Into<String>, group: impl Into<String>) -> Settings {
        Settings {
            brokers: brokers.into(),
            group: group.into(),
            client: "vertice".to_owned(),
            tls: None,
            sasl: None,
            session_timeout: limits::SESSION_TIMEOUT,
            work_timeout: limits::WORK_TIMEOUT,
            delivery_timeout: limits::DELIVERY_TIMEOUT,
            from_newest: false,
            headers: false,
            further: Vec::new(),
        }
    }

    /// How we speak to the broker, by Kafka's name.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        match (&self.tls, &self.sasl) {
            (None, None) => "PLAINTEXT",
            (Some(_), None) => "SSL",
            (None, Some(_)) => "SASL_PLAINTEXT",
            (Some(_), Some(_)) => "SASL_SSL",
        }
    }

    pub(super) fn consumer(&self) -> Result<ClientConfig, Problem> {
        let mut config = self.client_config()?;
        config
            .set("group.id", &self.group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", if self.from_newest { "latest" } else { "earliest" })
            .set("session.timeout.ms", milliseconds(self.session_timeout))
            .set("heartbeat.interval.ms", milliseconds(self.session_timeout / 5))
            .set("max.poll.interval.ms", milliseconds(self.work_timeout.max(self.session_timeout)))
            .set("statistics.interval.ms", milliseconds(limits::STATISTICS_EVERY))
            .set("queued.max.messages.kbytes", limits::QUEUED_KBYTES_MAX.to_string())
            .set("queued.min.messages", limits::QUEUED_RECORDS_MIN.to_string())
            .set("fetch.queue.backoff.ms", milliseconds(limits::FETCH_AGAIN))
            .set("fetch.max.bytes", limits::FETCH_BYTES_MAX.to_string())
            .set("max.partition.fetch.bytes", limits::FETCH_PARTITION_BYTES_MAX.to_string())
            .set("receive.message.max.bytes", limits::RECEIVE_BYTES_MAX.to_string());
        Ok(self.with_further(config))
    }

    pub(super) fn producer(&self) -> Result<ClientConfig, Problem> {
        let mut config = self.client_config()?;
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("delivery.timeout.ms", milliseconds(self.delivery_timeout))
            .set("topic.metadata.propagation.max.ms", milliseconds(limits::TOPIC_APPEARS))
            .set("linger.ms", milliseconds(limits::LINGER))
            .set("partitioner", "murmur2_random")
            .set("compression.type", "lz4")
            .set("message.max.bytes", limits::RECORD_BYTES_MAX.to_string())
            .set("queue.buffering.max.messages", (2 * limits::OUT_RECORDS_MAX).to_string())
            .set("queue.buffering.max.kbytes", (2 * limits::OUT_BYTES_MAX / 1024).to_string());
        Ok(self.with_further(config))
    }

    /// What every client of the broker is given.
    pub(super) fn client_config(&self) -> Result<ClientConfig, Problem> {
        self.refuse_what_is_not_ours_to_take()?;
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", &self.client)
            .set("security.protocol", self.protocol())
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.max.ms", milliseconds(limits::RECONNECT_MAX))
            .set_log_level(RDKafkaLogLevel::Warning);
        if let Some(tls) = &self.tls {
            if !cfg!(feature = "kafka-tls") {
                return Err(Problem::NotBuilt { what: "TLS" });
            }
            let files = [
                ("ssl.ca.location", &tls.ca),
                ("ssl.certificate.location", &tls.certificate),
                ("ssl.key.location", &tls.key),
            ];
            for (key, path) in files {
                if let Some(path) = path {
                    config.set(key, path.display().to_string());
                }
            }
            if let Some(password) = &tls.key_password {
                config.set("ssl.key.password", &password.0);
            }
        }
        if let Some(sasl) = &self.sasl {
            let mechanism = match sasl.mechanism {
                Mechanism::Plain => "PLAIN",
                Mechanism::ScramSha256 => "SCRAM-SHA-256",
                Mechanism::ScramSha512 => "SCRAM-SHA-512",
            };
            if sasl.mechanism != Mechanism::Plain && !cfg!(feature = "kafka-tls") {
                return Err(Problem::NotBuilt { what: mechanism });
            }
            config.set("sasl.mechanism", mechanism).set("sasl.username", &sasl.user);
            config.set("sasl.password", &sasl.password.0);
        }
        Ok(config)
    }

    fn refuse_what_is_not_ours_to_take(&self) -> Result<(), Problem> {
        let refuse = |key: &str, reason: &str| Problem::Setting { key: key.to_owned(), reason: reason.to_owned() };
        if self.brokers.trim().is_empty() {
            return Err(refuse("bootstrap.servers", "there is no broker in it; it wants host:port"));
        }
        if self.further.len() > limits::FURTHER_MAX {
            return Err(refuse("further", "there are too many"));
        }
        for (key, _) in &self.further {
            if OURS.contains(&key.as_str()) {
                return Err(refuse(key, "it is set by Vertice, whose guarantees rest on it"));
            }
        }
        Ok(())
    }

    fn with_further(&self, mut config: ClientConfig) -> ClientConfig {
        for (key, value) in &self.further {
            config.set(key, value);
        }
        config
    }
}

fn milliseconds(time: Duration) -> String {
    time.as_millis().to_string()
}
