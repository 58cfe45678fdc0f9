//! What every client hears from librdkafka, and what becomes of it.

use std::sync::Mutex;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::RDKafkaErrorCode;

use super::noise::Noise;
use super::problem::Problem;
use super::settings::Settings;

/// Listens to one client.
pub(super) struct Ears {
    brokers: String,
    protocol: &'static str,
    pub(super) noise: Noise,
    /// The worst that was heard since it was last taken.
    worst: Mutex<Option<Problem>>,
}

impl Ears {
    pub(super) fn new(settings: &Settings) -> Ears {
        let (brokers, protocol) = (settings.brokers.clone(), settings.protocol());
        Ears { brokers, protocol, noise: Noise::default(), worst: Mutex::default() }
    }

    /// A line that librdkafka would log.
    pub(super) fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        match (level, facility) {
            // Each failed connection; those are told as errors too.
            (_, "FAIL" | "ERROR") | (RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug, _) => {
                tracing::debug!("librdkafka: {facility}: {text}");
            }
            (
                RDKafkaLogLevel::Emerg
                | RDKafkaLogLevel::Alert
                | RDKafkaLogLevel::Critical
                | RDKafkaLogLevel::Error
                | RDKafkaLogLevel::Warning,
                _,
            ) => self.noise.warn(facility, text),
        }
    }

    /// An error that concerns the whole client.
    pub(super) fn error(&self, code: RDKafkaErrorCode, reason: &str) {
        self.noise.warn(&format!("{code:?}"), &self.explain(code, reason).to_string());
        self.hear(code, reason);
    }

    /// As [`Ears::error`], of a client that is asked one question and gives what it heard for an answer.
    pub(super) fn hear(&self, code: RDKafkaErrorCode, reason: &str) {
        let problem = self.explain(code, reason);
        let mut worst = self.worst.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if worst.as_ref().is_none_or(|worst| weight(worst) <= weight(&problem)) {
            *worst = Some(problem);
        }
    }

    /// The worst that was heard since this was last called.
    pub(super) fn take_worst(&self) -> Option<Problem> {
        self.worst.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    /// What an error means for whoever runs Vertice.
    pub(super) fn explain(&self, code: RDKafkaErrorCode, reason: &str) -> Problem {
        let (brokers, reason) = (self.brokers.clone(), shortened(reason));
        match code {
            RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::UnsupportedSASLMechanism => Problem::Credentials { reason },
            RDKafkaErrorCode::SSL => Problem::Tls { reason },
            RDKafkaErrorCode::Resolve => Problem::UnknownBroker { brokers, reason },
            RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::OperationTimedOut => Problem::Unreachable { brokers, protocol: self.protocol, reason },
            RDKafkaErrorCode::TopicAuthorizationFailed => Problem::Denied { what: format!("that topic ({reason})") },
            RDKafkaErrorCode::GroupAuthorizationFailed => Problem::Denied { what: format!("that group ({reason})") },
            RDKafkaErrorCode::ClusterAuthorizationFailed => Problem::Denied { what: format!("that ({reason})") },
            RDKafkaErrorCode::Fatal | RDKafkaErrorCode::Fenced => Problem::Fatal { reason },
            _ => Problem::Other { doing: "talking to Kafka".to_owned(), reason },
        }
    }
}

/// The more precise a problem is, the better it tells what to do.
fn weight(problem: &Problem) -> u8 {
    match problem {
        Problem::Credentials { .. } | Problem::Tls { .. } => 3,
        Problem::UnknownBroker { .. } | Problem::Denied { .. } => 2,
        Problem::Unreachable { .. } => 1,
        Problem::Other { .. }
        | Problem::Fatal { .. }
        | Problem::Setting { .. }
        | Problem::NotBuilt { .. }
        | Problem::MissingTopic { .. }
        | Problem::NotCreated { .. }
        | Problem::TooFewPartitions { .. } => 0,
    }
}

/// Without the name of the thread in front, which says nothing to the reader, and not without end.
fn shortened(reason: &str) -> String {
    reason.chars().take(crate::limits::kafka::REASON_CHARS_MAX).collect()
}
