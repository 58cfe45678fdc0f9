//! Batches of records out, each acknowledged by all replicas that are in sync.
//!
//! # What is promised
//! A batch is delivered, or it is not known to be. librdkafka repeats what is not acknowledged, and its sequence
//! numbers let the broker drop repeats, so within the life of one producer a record that is reported delivered is
//! there once, and records of one partition are in the order in which they were sent. When a record's fate is not
//! known, that producer is given up with all that it still has, and a new one is made for the next batch: whoever
//! sent them sends them again, under the same ids. So a record that failed may be there, and may be there twice after
//! it was sent again.
//!
//! A later batch may be delivered where an earlier one failed. What must not be there without another is to be sent
//! once that other was delivered.

mod delivery;
mod producer;

use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use self::delivery::Ticket;
pub use self::delivery::{Delivered, Pending, PublishError, Spot};
use self::producer::Producer;
use super::problem::Problem;
use super::settings::Settings;
use super::wait::wait;
use crate::limits::kafka as limits;

/// A record to write.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OutRecord {
    /// Where to.
    pub topic: Arc<str>,
    /// To which partition; `None`: the one that its key belongs to (murmur2, as Java's producers choose).
    pub partition: Option<i32>,
    /// Its key; without one any partition will do.
    pub key: Option<Vec<u8>>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its timestamp in milliseconds since 1970; `None`: now.
    pub timestamp_ms: Option<i64>,
    /// Its headers, in order.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl OutRecord {
    /// How many bytes it has.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        self.key.as_deref().map_or(0, <[u8]>::len)
            + self.value.as_deref().map_or(0, <[u8]>::len)
            + headers.sum::<usize>()
    }
}

/// Writes records. Clones write through the same producer.
#[derive(Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    producer: Mutex<Producer>,
    records: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("brokers", &self.shared.settings.brokers).finish_non_exhaustive()
    }
}

impl Publisher {
    /// Makes one. Connects in the background; a broker that is away is waited for.
    ///
    /// # Errors
    /// [`Problem::Setting`] and [`Problem::NotBuilt`].
    pub fn open(settings: &Settings) -> Result<Publisher, Problem> {
        let shared = Shared {
            settings: settings.clone(),
            producer: Mutex::new(Producer::start(settings)?),
            records: Arc::new(Semaphore::new(limits::OUT_RECORDS_MAX)),
            bytes: Arc::new(Semaphore::new(limits::OUT_BYTES_MAX)),
        };
        Ok(Publisher { shared: Arc::new(shared) })
    }

    /// Hands a batch over, waiting while too much is on its way, and says what can be waited for to learn its fate.
    ///
    /// # Errors
    /// [`PublishError::TooLarge`], and [`PublishError::NotDelivered`] if no producer can be made; then none of it was
    /// sent.
    pub async fn begin(&self, records: Vec<OutRecord>) -> Result<Pending, PublishError> {
        if let Some(record) =
            records.iter().find(|r| r.bytes() + limits::RECORD_OVERHEAD_BYTES > limits::RECORD_BYTES_MAX)
        {
            let max = limits::RECORD_BYTES_MAX - limits::RECORD_OVERHEAD_BYTES;
            return Err(PublishError::TooLarge { topic: record.topic.clone(), bytes: record.bytes(), max });
        }
        // A batch larger than all the room there is goes alone.
        let bytes: usize = records.iter().map(|r| r.bytes() + limits::RECORD_OVERHEAD_BYTES).sum();
        let bytes = bytes.min(limits::OUT_BYTES_MAX) as u32;
        let count = records.len().min(limits::OUT_RECORDS_MAX) as u32;
        let closed = |_| PublishError::NotDelivered { reason: "the publisher was closed".to_owned() };
        let permits = [
            Arc::clone(&self.shared.records).acquire_many_owned(count).await.map_err(closed)?,
            Arc::clone(&self.shared.bytes).acquire_many_owned(bytes).await.map_err(closed)?,
        ];
        let (ticket, pending) = Ticket::new(records.len(), permits);
        let mut producer = self.shared.producer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if producer.is_given_up() {
            *producer = Producer::start(&self.shared.settings)
                .map_err(|problem| PublishError::NotDelivered { reason: problem.to_string() })?;
        }
        producer.send(&records, &ticket);
        Ok(pending)
    }

    /// Writes a batch, and waits until all of it is acknowledged. An empty one is delivered at once.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn send(&self, records: Vec<OutRecord>) -> Result<Delivered, PublishError> {
        self.begin(records).await?.await
    }

    /// [`Publisher::begin`] for a thread of one's own.
    ///
    /// # Errors
    /// As there.
    pub fn begin_blocking(&self, records: Vec<OutRecord>) -> Result<Pending, PublishError> {
        wait(self.begin(records))
    }

    /// [`Publisher::send`] for a thread of one's own.
    ///
    /// # Errors
    /// As there.
    pub fn send_blocking(&self, records: Vec<OutRecord>) -> Result<Delivered, PublishError> {
        wait(self.send(records))
    }

    /// How many records wait for their acknowledgement.
    #[must_use]
    pub fn waiting(&self) -> usize {
        limits::OUT_RECORDS_MAX - self.shared.records.available_permits()
    }
}
