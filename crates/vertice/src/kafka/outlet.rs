//! Records out: follows the read model and writes what changed to the topics.
//!
//! Holds no queue: it reads the store from where it stands, and what it stands at is kept in the store once the broker
//! has acknowledged everything before it. A record that changed several times meanwhile is told once, as it is now.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vertice_engine::RefusedEvent;
use vertice_model::{EffectId, Entity, Position, Threat, ThreatId};
use vertice_store::{RecordKind, Store, StoredRecord, Submission};
use vertice_stream::kafka::{About, OutRecord, PublishError, Publisher, cloud_event};

use super::topics::{self, Beside, Message, Topic};
use super::{cursors, rest};
use crate::clock::Clock;
use crate::config::Topics;
use crate::limits;

/// Whoever writes to the topics.
pub struct Outlet {
    /// What is followed.
    pub store: Store,
    /// What writes.
    pub publisher: Publisher,
    /// How the topics are called.
    pub names: Topics,
    /// Who says it all, as CloudEvents name their source.
    pub source: String,
    /// What tells the time of what has none of its own.
    pub clock: Arc<Clock>,
    /// Up to where in the log everything that was judged is published.
    pub published: watch::Sender<Position>,
    /// When it is cancelled, what was judged by then is published, and that is the end.
    pub stop: CancellationToken,
}

/// What goes out at once.
struct Share {
    records: Vec<OutRecord>,
    /// The last effect of it, told or not; `None` if there is nothing new.
    to: Option<EffectId>,
    /// Whether there may be more.
    full: bool,
}

impl Outlet {
    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// When the store can not be read, which ends judging as well.
    pub async fn run(self) -> Result<()> {
        let this = Arc::new(self);
        let store = this.store.clone();
        let mut after = tokio::task::spawn_blocking(move || cursors::published(&store)).await??;
        let mut judged = this.store.judged();
        loop {
            let stopping = this.stop.is_cancelled();
            judged.mark_unchanged();
            let up_to = this.store.judged_to();
            let reader = Arc::clone(&this);
            let share = tokio::task::spawn_blocking(move || reader.read(after)).await.context("reading records")??;
            if let Some(to) = share.to {
                if !this.send(share.records).await {
                    return Ok(());
                }
                this.keep(to).await;
                after = Some(to);
            }
            if share.full {
                continue;
            }
            this.published.send_replace(up_to);
            if stopping {
                return Ok(());
            }
            tokio::select! {
                news = judged.changed() => if news.is_err() { return Ok(()) },
                () = this.stop.cancelled() => {}
            }
        }
    }

    /// The next records as messages. Blocks.
    fn read(&self, after: Option<EffectId>) -> Result<Share> {
        let changes = self.store.changes(after, limits::KAFKA_OUT_RECORDS).context("reading what changed")?;
        let mut records = Vec::with_capacity(changes.len());
        for record in &changes {
            match topics::message(record, &Known { store: &self.store, record }) {
                Ok(message) => records.extend(message.map(|message| self.out(message))),
                // It stands in the read model for whoever looks; holding back all others would help nobody.
                Err(error) => tracing::error!(%error, "a record was not published"),
            }
        }
        let full = changes.len() == limits::KAFKA_OUT_RECORDS;
        Ok(Share { records, to: changes.last().map(|record| record.effect), full })
    }

    fn out(&self, message: Message) -> OutRecord {
        out_record(message, &self.names, &self.source, || self.clock.now().to_string())
    }

    /// Sends until it is delivered; what the broker will never take is told and left out. False if it was time to stop
    /// before: the next start sends it again, under the same ids.
    async fn send(&self, mut records: Vec<OutRecord>) -> bool {
        let mut told: Option<PublishError> = None;
        loop {
            let error = match self.publisher.send(records.clone()).await {
                Ok(_) => return true,
                Err(PublishError::TooLarge { topic, bytes, max }) => {
                    tracing::error!(%topic, bytes, max, "a record is too large for Kafka and was not published");
                    records.retain(|r| r.bytes() < bytes);
                    continue;
                }
                Err(error @ (PublishError::Refused { .. } | PublishError::NotDelivered { .. })) => error,
            };
            let is_new =
                told.as_ref().is_none_or(|told| std::mem::discriminant(told) != std::mem::discriminant(&error));
            if is_new {
                tracing::warn!("{error}; it is sent again until it is taken");
                told = Some(error);
            }
            if self.stop.is_cancelled() {
                return false;
            }
            rest(&self.stop, limits::KAFKA_SEND_AGAIN).await;
        }
    }

    /// Keeps how far it has come. That spares repeats and nothing else, so a store that is busy is not waited for.
    async fn keep(&self, to: EffectId) {
        let submission = Submission { cursors: vec![cursors::out(to)], ..Submission::default() };
        if let Err(error) = self.store.submit(submission).await {
            tracing::debug!(%error, "how far was published is kept with the next records");
        }
    }
}

/// The message as the publisher takes it, with the attributes of a CloudEvent.
pub fn out_record(message: Message, names: &Topics, source: &str, now: impl FnOnce() -> String) -> OutRecord {
    let topic = match message.topic {
        Topic::Detections => &names.detections,
        Topic::Threats => &names.threats,
        Topic::Responses => &names.responses,
        Topic::DeadLetter => &names.deadletter,
    };
    let time = message.at.map_or_else(now, |at| at.to_string());
    let about = About {
        id: &message.id,
        source,
        kind: message.topic.event_type(),
        time: &time,
        content_type: "application/json",
    };
    cloud_event(&topic.as_str().into(), &message.key, message.value, &about)
}

/// What the store knows beside a record.
struct Known<'a> {
    store: &'a Store,
    record: &'a StoredRecord,
}

impl Beside for Known<'_> {
    fn entity_of(&self, threat: ThreatId) -> Option<Entity> {
        let record = self.store.find(RecordKind::Threat, &threat.to_string()).ok()?;
        serde_json::from_str::<Threat>(&record.json).ok()?.entities.into_iter().next()
    }

    fn line_of(&self, refused: &RefusedEvent) -> Option<String> {
        let (_, raw) = self.store.event(self.record.shard, refused.position).ok()??;
        // Any line that is longer has its place in the log, which the dead letter names.
        (raw.line.len() <= limits::DEAD_LETTER_BYTES_MAX).then_some(raw.line)
    }
}
