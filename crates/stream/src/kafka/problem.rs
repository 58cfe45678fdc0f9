//! What can be wrong with a broker, a topic or the configuration, in words that say what to do.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Why Kafka can not be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Problem {
    /// A setting that librdkafka does not take. Trying again does not help.
    #[error("the setting {key} for Kafka is not usable: {reason}")]
    Setting {
        /// Which, by librdkafka's name.
        key: String,
        /// Why. Never the value: it may be a password.
        reason: String,
    },
    /// Asked for what this program was built without. Trying again does not help.
    #[error(
        "this vertice was built without {what} for Kafka: build it with `--features kafka-tls`, or take the container image, \
         which has it"
    )]
    NotBuilt {
        /// What was asked for.
        what: &'static str,
    },
    /// No broker answers. Trying again helps once one does.
    #[error("no Kafka broker answers at {brokers} ({reason}): check that it runs there and speaks {protocol}")]
    Unreachable {
        /// Where it was looked for.
        brokers: String,
        /// How we speak to it, by Kafka's name.
        protocol: &'static str,
        /// What happened.
        reason: String,
    },
    /// The name of a broker leads nowhere. Trying again helps once it does.
    #[error("the Kafka broker's name in {brokers} is not known ({reason}): check the spelling, and the name service")]
    UnknownBroker {
        /// Where it was looked for.
        brokers: String,
        /// What happened.
        reason: String,
    },
    /// The broker does not take the user or password.
    #[error("Kafka refuses the user or password ({reason}): check user, password and mechanism")]
    Credentials {
        /// What it said.
        reason: String,
    },
    /// There is no TLS connection.
    #[error(
        "no TLS connection to Kafka ({reason}): check the CA file, the host name in the certificate, and our own key"
    )]
    Tls {
        /// What happened.
        reason: String,
    },
    /// A topic is not there, and we were not asked to create it.
    #[error(
        "Kafka has no topic {topic}: create it with `kafka-topics.sh --bootstrap-server {brokers} --create --topic {topic} \
         --partitions {partitions} --replication-factor {replication}`, or allow Vertice to create topics"
    )]
    MissingTopic {
        /// Which.
        topic: String,
        /// Where.
        brokers: String,
        /// How many partitions it should have.
        partitions: i32,
        /// How many replicas it should have.
        replication: i32,
    },
    /// A topic could not be created.
    #[error("Kafka did not create the topic {topic}: {reason}")]
    NotCreated {
        /// Which.
        topic: String,
        /// What it said.
        reason: String,
    },
    /// We may not read or write a topic, or not be in a group.
    #[error("Kafka does not allow this user {what}: grant it with `kafka-acls.sh`")]
    Denied {
        /// What was tried.
        what: String,
    },
    /// More instances than partitions: some have nothing to do.
    #[error(
        "the group {group} has {members} instances for {partitions} partitions of {topics}, so {} of them have nothing to do: \
         add partitions with `kafka-topics.sh --alter --topic TOPIC --partitions {members}`, or run fewer instances",
        members - partitions
    )]
    TooFewPartitions {
        /// The consumer group.
        group: String,
        /// Its topics.
        topics: String,
        /// How many members it has.
        members: usize,
        /// How many partitions all its topics have together.
        partitions: usize,
    },
    /// The connection is of no further use; open a new one.
    #[error("Kafka ended this membership ({reason}): it is opened anew")]
    Fatal {
        /// What happened.
        reason: String,
    },
    /// Something else went wrong. Trying again may help.
    #[error("{doing}: {reason}")]
    Other {
        /// What was being done, to what.
        doing: String,
        /// Why it failed.
        reason: String,
    },
}

impl Problem {
    /// Whether the same may succeed later without anybody changing the configuration.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Problem::Setting { .. } | Problem::NotBuilt { .. } | Problem::MissingTopic { .. } => false,
            Problem::Unreachable { .. }
            | Problem::UnknownBroker { .. }
            | Problem::Credentials { .. }
            | Problem::Tls { .. }
            | Problem::NotCreated { .. }
            | Problem::Denied { .. }
            | Problem::TooFewPartitions { .. }
            | Problem::Fatal { .. }
            | Problem::Other { .. } => true,
        }
    }

    pub(super) fn other(doing: impl Into<String>) -> impl FnOnce(KafkaError) -> Problem {
        let doing = doing.into();
        move |error| match error {
            // Its own words repeat the value, which may be a password.
            KafkaError::ClientConfig(_, reason, key, _) => Problem::Setting { key, reason },
            error => Problem::Other { doing, reason: reason(&error) },
        }
    }
}

/// What an error of librdkafka says, without what it says around it.
pub(super) fn reason(error: &KafkaError) -> String {
    match error.rdkafka_error_code() {
        Some(code) => words(code),
        None => match error {
            KafkaError::ClientConfig(_, reason, key, _) => format!("{key}: {reason}"),
            error => error.to_string(),
        },
    }
}

/// What a code says, such as `Broker: Unknown topic or partition`.
pub(super) fn words(code: RDKafkaErrorCode) -> String {
    let text = code.to_string();
    // "UnknownTopicOrPartition (Broker: Unknown topic or partition)"
    match text.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')) {
        Some(inner) if !inner.is_empty() => inner.to_owned(),
        _ => text,
    }
}
