//! What everybody who waits for news of a store is told.

use tokio::sync::watch;
use vertice_model::Position;

use crate::error::Stopped;
use crate::types::ShardState;

#[derive(Debug)]
pub(crate) struct News {
    /// The last position of the log.
    pub(crate) appended: watch::Sender<Position>,
    /// Up to where the log was judged and projected.
    pub(crate) judged: watch::Sender<Position>,
    /// Why the writer stopped for good, if it did not because it was closed.
    pub(crate) failed: watch::Sender<Option<Stopped>>,
    /// How far each shard has come, in an overview.
    pub(crate) shards: watch::Sender<Vec<ShardState>>,
    /// Why what was judged, or anything at all, can not be kept now; `None` where it can.
    pub(crate) keeping_waits: watch::Sender<Option<String>>,
    /// Why judging waits for something else than that.
    pub(crate) judging_waits: watch::Sender<Option<String>>,
}

impl News {
    pub(crate) fn new(log_end: Position, judged: Position) -> News {
        News {
            appended: watch::Sender::new(log_end),
            judged: watch::Sender::new(judged),
            failed: watch::Sender::new(None),
            shards: watch::Sender::new(Vec::new()),
            keeping_waits: watch::Sender::default(),
            judging_waits: watch::Sender::default(),
        }
    }

    /// Tells whoever waits how far it is now.
    pub(crate) fn tell(&self, log_end: Position, judged: Position) {
        let set = |to: Position| move |position: &mut Position| std::mem::replace(position, to) != to;
        self.appended.send_if_modified(set(log_end));
        self.judged.send_if_modified(set(judged));
    }
}
