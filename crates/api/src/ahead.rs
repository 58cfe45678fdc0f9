//! Work on a body while it arrives.
//!
//! Nearly every large body is lines of whole JSON objects, all of which are accepted. Those are read once: a share of
//! the lines is checked by the mappings, and packed for the log, by one thread, and the next share by another while
//! the rest is still on its way. A body with any other line in it is split and checked anew from its beginning, the
//! way that can say what is wrong with which line: one that is wrong costs its sender's turn up to twice as much.

use std::sync::Arc;

use axum::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use vertice_engine::{Content, Stamp};
use vertice_store::{PackedEvents, Store, UnderWay};

use crate::limits;
use crate::problem::Problem;

/// The origin of every event that comes by HTTP.
pub(crate) const ORIGIN: &str = "http";

/// The shares of a body that are being worked on.
#[derive(Debug)]
pub(crate) struct Ahead {
    content: Arc<Content>,
    stamp: Stamp,
    workers: Arc<Semaphore>,
    shares: Vec<JoinHandle<Option<PackedEvents>>>,
    store: Store,
    /// So that judging gives way, from the first share on.
    under_way: Option<UnderWay>,
}

impl Ahead {
    pub(crate) fn new(content: Arc<Content>, stamp: Stamp, workers: &Arc<Semaphore>, store: &Store) -> Ahead {
        let (workers, store) = (Arc::clone(workers), store.clone());
        Ahead { content, stamp, workers, shares: Vec::new(), store, under_way: None }
    }

    /// Has the next share worked on, once a worker is free. `held` is the memory that it stands for.
    pub(crate) async fn take(&mut self, share: Bytes, held: Option<Arc<OwnedSemaphorePermit>>) -> Result<(), Problem> {
        // A cut at the end of a line makes a share a little shorter; judging need not wait for a body that is short.
        if share.len() >= limits::SHARE_BYTES / 2 {
            self.under_way.get_or_insert_with(|| self.store.under_way());
        }
        let worker = Arc::clone(&self.workers).acquire_owned().await;
        let worker = worker.map_err(|e| Problem::internal("waiting for a worker", &e))?;
        let (content, stamp) = (Arc::clone(&self.content), self.stamp);
        self.shares.push(tokio::task::spawn_blocking(move || {
            // What is taken goes along, for the work goes on when its client is gone.
            let (_worker, _held) = (worker, held);
            whole_lines(&content, stamp, &share)
        }));
        Ok(())
    }

    /// All the events, in order; `None` if there is any other line than such as are quickly read and accepted.
    pub(crate) async fn done(&mut self) -> Result<Option<PackedEvents>, Problem> {
        let mut all = PackedEvents::default();
        for share in std::mem::take(&mut self.shares) {
            match share.await.map_err(|e| Problem::internal("reading a body", &e))? {
                Some(packed) => all.append(packed),
                None => return Ok(None),
            }
        }
        Ok(Some(all).filter(|all| (1..=limits::WHOLE_LINES_MAX).contains(&all.count())))
    }
}

/// The events of lines that are all whole JSON objects that their mappings accept; `None` if any is not.
fn whole_lines(content: &Content, stamp: Stamp, share: &[u8]) -> Option<PackedEvents> {
    let text = std::str::from_utf8(share).ok()?;
    let mut lines = Vec::with_capacity(text.len() / 512);
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', share).chain([share.len()]) {
        let line = text[start..end].trim_ascii_end();
        start = end + 1;
        if line.is_empty() {
            continue;
        }
        if !line.starts_with('{') || content.mappings.check_line(stamp, line).is_err() {
            return None;
        }
        lines.push(line);
    }
    Some(PackedEvents::of(ORIGIN, &lines))
}

#[cfg(test)]
mod tests {
    use vertice_engine::ContentFile;
    use vertice_model::Position;

    use super::*;

    #[test]
    fn only_whole_objects_that_are_accepted_are_read_at_once() {
        let mapping = "description: x\nreads: json\nrecognise: [{has: [a]}]\nrequire: {a: integer}\n";
        let file = ContentFile { path: "mappings/x.yml".into(), text: mapping.into() };
        let content = Content::compile(vec![file]);
        assert!(content.refused.is_empty(), "{:?}", content.refused);
        let stamp = Stamp { position: Position(1), now: "2026-03-01T12:00:00Z".parse().unwrap() };
        let count = |body: &[u8]| whole_lines(&content, stamp, body).map(|packed| packed.count());
        assert_eq!(count(b"{\"a\":1}\n\n \r\n{\"a\":2} \r\n{\"a\":3}"), Some(3));
        assert_eq!(count(b""), Some(0));
        for other in [
            &b"{\"a\":1}\n{\"b\":1}"[..],
            b"{\"a\":\"x\"}",
            b"{\"a\":1}{\"a\":2}",
            b"{\"a\":1",
            b"{\"a\":1}\n}",
            b" {\"a\":1}",
            b"[{\"a\":1}]",
            b"a line of text",
            b"\xef\xbb\xbf{\"a\":1}",
            b"{\"a\":1,\"\xff\":2}",
            b"{\"a\":1}\n\0",
        ] {
            assert_eq!(count(other), None, "{}", String::from_utf8_lossy(other));
        }
    }
}
