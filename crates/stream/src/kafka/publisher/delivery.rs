//! What becomes of a batch.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::super::wait::wait;

/// A batch that is there, acknowledged by all replicas in sync.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Delivered {
    /// Where each record lies now, in the order of the batch.
    pub spots: Vec<Spot>,
}

/// Where a record lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Spot {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

/// Why a batch is not known to be there as a whole. Some of its records may be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PublishError {
    /// A record is larger than brokers take. Nothing of the batch was sent; sending it again does not help.
    #[error("a record for {topic} has {bytes} bytes, and {max} are allowed")]
    TooLarge {
        /// For which topic.
        topic: Arc<str>,
        /// Its size.
        bytes: usize,
        /// The largest that is sent.
        max: usize,
    },
    /// The broker does not take a record. Sending it again does not help until the cause is gone.
    #[error("Kafka does not take a record for {topic}: {reason}")]
    Refused {
        /// For which topic.
        topic: String,
        /// Why.
        reason: String,
    },
    /// Nobody knows whether it is there. Sending it again, under the same ids, is right.
    #[error("records were not delivered: {reason}")]
    NotDelivered {
        /// What happened.
        reason: String,
    },
}

/// A batch on its way: a future, or something to wait for.
#[derive(Debug)]
pub struct Pending {
    fate: oneshot::Receiver<Result<Delivered, PublishError>>,
}

impl Pending {
    /// Waits for it, on a thread of one's own.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn wait(self) -> Result<Delivered, PublishError> {
        wait(self)
    }
}

impl Future for Pending {
    type Output = Result<Delivered, PublishError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let lost = |_| Err(PublishError::NotDelivered { reason: "the producer was given up".to_owned() });
        Pin::new(&mut self.fate).poll(context).map(|fate| fate.unwrap_or_else(lost))
    }
}

/// What the records of one batch have in common while they are on their way.
pub(super) struct Ticket {
    open: Mutex<Open>,
}

struct Open {
    left: usize,
    spots: Vec<Spot>,
    error: Option<PublishError>,
    done: Option<(Answer, [OwnedSemaphorePermit; 2])>,
}

type Answer = oneshot::Sender<Result<Delivered, PublishError>>;

impl Ticket {
    pub(super) fn new(records: usize, permits: [OwnedSemaphorePermit; 2]) -> (Arc<Ticket>, Pending) {
        let (done, fate) = oneshot::channel();
        let spots = vec![Spot { partition: -1, offset: -1 }; records];
        let mut open = Open { left: records, spots, error: None, done: Some((done, permits)) };
        if records == 0 {
            open.finish();
        }
        (Arc::new(Ticket { open: Mutex::new(open) }), Pending { fate })
    }

    /// Notes what became of one record.
    pub(super) fn record(&self, index: usize, fate: Result<Spot, PublishError>) {
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match fate {
            Ok(spot) => open.spots[index] = spot,
            // That one was refused says more than that others behind it were not delivered.
            Err(error) => match open.error {
                None | Some(PublishError::NotDelivered { .. }) => open.error = Some(error),
                Some(PublishError::Refused { .. } | PublishError::TooLarge { .. }) => {}
            },
        }
        open.left -= 1;
        if open.left == 0 {
            open.finish();
        }
    }
}

impl Open {
    fn finish(&mut self) {
        let Some((done, permits)) = self.done.take() else { return };
        drop(permits);
        let spots = std::mem::take(&mut self.spots);
        // Whoever began it may have lost interest.
        let _ = done.send(self.error.take().map_or(Ok(Delivered { spots }), Err));
    }
}
