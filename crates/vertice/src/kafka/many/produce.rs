//! Events that come to this instance by HTTP, syslog or files: into the topic of events, keyed by their entity, so that
//! whoever has the partition screens them.

use std::sync::Arc;

use tokio::sync::watch;
use vertice_api::Produce;
use vertice_engine::{Content, Stamp};
use vertice_model::{Position, RawEvent};
use vertice_store::SubmitError;
use vertice_stream::kafka::{OutRecord, PublishError, Publisher};

use crate::clock::Clock;
use crate::limits;

/// Writes events to a topic; what comes of it says that all replicas in sync have them.
pub fn produce(
    publisher: Publisher,
    topic: &str,
    content: watch::Receiver<Arc<Content>>,
    clock: Arc<Clock>,
) -> Produce {
    let topic: Arc<str> = topic.into();
    Arc::new(move |events| {
        let (publisher, topic) = (publisher.clone(), Arc::clone(&topic));
        let (content, stamp) = (content.borrow().clone(), Stamp { position: Position(1), now: clock.now() });
        Box::pin(async move {
            let keyed = tokio::task::spawn_blocking(move || {
                events.into_iter().map(|event| keyed(&content, stamp, &topic, event)).collect::<Vec<_>>()
            });
            let busy = || SubmitError::Busy { retry_after: limits::KAFKA_SEND_AGAIN };
            let records = keyed.await.map_err(|_| busy())?;
            publisher.send(records).await.map(drop).map_err(|error| match error {
                PublishError::TooLarge { bytes, max, .. } => SubmitError::TooLarge { what: "an event", bytes, max },
                PublishError::Refused { .. } | PublishError::NotDelivered { .. } => {
                    tracing::warn!("events are not taken now: {error}");
                    busy()
                }
            })
        })
    })
}

/// One that no mapping reads has no key, and becomes a dead letter where it is screened.
fn keyed(content: &Content, stamp: Stamp, topic: &Arc<str>, event: RawEvent) -> OutRecord {
    let entity = content.mappings.normalize(stamp, &event).ok().and_then(|event| event.entity);
    OutRecord {
        topic: Arc::clone(topic),
        key: entity.map(|entity| entity.name().into()),
        value: Some(event.line.into_bytes()),
        ..OutRecord::default()
    }
}
