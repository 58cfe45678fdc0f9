//! One life of librdkafka's producer: until a record's fate is not known.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext, PurgeConfig};

use super::super::ears::Ears;
use super::super::problem::{Problem, reason};
use super::super::settings::Settings;
use super::OutRecord;
use super::delivery::{PublishError, Spot, Ticket};
use crate::limits::kafka as limits;

/// How often the thread that listens looks whether it is still needed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A producer, and the thread that hears what becomes of its records.
pub(super) struct Producer {
    client: Option<Arc<BaseProducer<Fates>>>,
    state: Arc<State>,
    /// Hangs up when the listener is done and the client gone.
    done: mpsc::Receiver<()>,
    patience: Duration,
}

/// What both sides know.
#[derive(Default)]
struct State {
    given_up: AtomicBool,
    stop: AtomicBool,
}

impl Producer {
    pub(super) fn start(settings: &Settings) -> Result<Producer, Problem> {
        let state = Arc::new(State::default());
        let fates = Fates { ears: Ears::new(settings), state: Arc::clone(&state) };
        let doing = || Problem::other("making a producer for Kafka");
        let client: BaseProducer<Fates> = settings.producer()?.create_with_context(fates).map_err(doing())?;
        let client = Arc::new(client);
        let (heard, known) = (Arc::clone(&client), Arc::clone(&state));
        let (hang_up, done) = mpsc::channel::<()>();
        let listener = std::thread::Builder::new().name("kafka-out".to_owned()).spawn(move || {
            listen(&heard, &known);
            drop(heard);
            drop(hang_up);
        });
        listener.map_err(|error| Problem::Other {
            doing: "starting the thread of a producer".to_owned(),
            reason: error.to_string(),
        })?;
        let patience = settings.delivery_timeout + limits::LEAVE;
        Ok(Producer { client: Some(client), state, done, patience })
    }

    /// Whether it is of no further use.
    pub(super) fn is_given_up(&self) -> bool {
        self.state.given_up.load(Ordering::Acquire)
    }

    /// Hands a batch over, in order. What becomes of each record is told to the ticket, sooner or later.
    pub(super) fn send(&self, records: &[OutRecord], ticket: &Arc<Ticket>) {
        let client = self.client.as_ref().expect("it is there until it is dropped");
        for (index, record) in records.iter().enumerate() {
            let opaque = Box::new(Stub { ticket: Arc::clone(ticket), index });
            let mut out = BaseRecord::<[u8], [u8], Box<Stub>>::with_opaque_to(&record.topic, opaque);
            out.partition = record.partition;
            out.key = record.key.as_deref();
            out.payload = record.value.as_deref();
            out.timestamp = record.timestamp_ms;
            if !record.headers.is_empty() {
                let headers = OwnedHeaders::new_with_capacity(record.headers.len());
                let with = |all: OwnedHeaders, (key, value): &(String, Vec<u8>)| {
                    all.insert(Header { key, value: Some(value.as_slice()) })
                };
                out.headers = Some(record.headers.iter().fold(headers, with));
            }
            if let Err((error, _)) = client.send(out) {
                ticket.record(index, Err(told(&record.topic, &error, &self.state)));
            }
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Release);
        let given_up = self.is_given_up();
        // Not the last one: that is the listener's, so that librdkafka holds up nobody else.
        drop(self.client.take());
        if !given_up {
            // It hangs up when the last record is acknowledged or given up.
            let _ = self.done.recv_timeout(self.patience);
        }
    }
}

/// Hears what becomes of records, until the producer is not needed any more and has none left, or is given up.
fn listen(client: &BaseProducer<Fates>, state: &State) {
    while !state.given_up.load(Ordering::Acquire) {
        client.poll(LOOK_EVERY);
        if state.stop.load(Ordering::Acquire) && client.in_flight_count() == 0 {
            return;
        }
    }
    // Everything that it has left is handed back as not delivered.
    for _ in 0..limits::GIVE_UP_LOOKS {
        if client.in_flight_count() == 0 {
            return;
        }
        client.purge(PurgeConfig::default().queue().inflight());
        client.poll(Duration::from_millis(10));
    }
}

/// What a record carries through librdkafka.
pub(super) struct Stub {
    ticket: Arc<Ticket>,
    index: usize,
}

/// What librdkafka tells while it is polled.
pub(super) struct Fates {
    ears: Ears,
    state: Arc<State>,
}

impl ClientContext for Fates {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.ears.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        self.ears.error(code, reason);
        if matches!(code, RDKafkaErrorCode::Fatal | RDKafkaErrorCode::Fenced) {
            self.state.given_up.store(true, Ordering::Release);
        }
    }
}

impl ProducerContext for Fates {
    type DeliveryOpaque = Box<Stub>;

    fn delivery(&self, result: &DeliveryResult<'_>, stub: Box<Stub>) {
        let fate = match result {
            Ok(message) => Ok(Spot { partition: message.partition(), offset: message.offset() }),
            Err((error, message)) => Err(told(message.topic(), error, &self.state)),
        };
        stub.ticket.record(stub.index, fate);
    }
}

/// What an error says about a record. If its fate is not known, the producer is given up.
fn told(topic: &str, error: &KafkaError, state: &State) -> PublishError {
    let (topic, reason) = (topic.to_owned(), reason(error));
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::MessageBatchTooLarge
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::InvalidTimestamp
            | RDKafkaErrorCode::PolicyViolation
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed,
        ) => PublishError::Refused { topic, reason },
        _ => {
            state.given_up.store(true, Ordering::Release);
            PublishError::NotDelivered { reason }
        }
    }
}
