//! Answers that were given before: in memory, and in Redis where several instances share them.
//!
//! What is kept is what the provider saw and said, placeholders and all: Redis learns no more than the provider did,
//! and two questions that differ only in what was taken out of them share an answer, each with its own things put
//! back. An answer from Redis is believed no more than one from a provider: it is bounded, read and held against the
//! schema anew.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vertice_model::Timestamp;

use crate::clock::after;
use crate::request::{Digest, Response};

/// What is kept, and for how long.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// Most answers in memory; 0 keeps none, neither here nor in Redis.
    pub entries: usize,
    /// Most bytes of them.
    pub bytes: usize,
    /// For how long an answer holds, in seconds.
    pub ttl_s: u64,
}

impl Default for CacheSettings {
    /// An opinion has 2 KiB, so both bounds are about as near. A day: what was said of a threat yesterday is asked anew.
    fn default() -> CacheSettings {
        CacheSettings { entries: 4_096, bytes: 16 << 20, ttl_s: 24 * 3_600 }
    }
}

/// Answers in memory. The one that was not used for longest makes room.
#[derive(Debug)]
pub(crate) struct Cache {
    settings: CacheSettings,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    kept: HashMap<Digest, Kept>,
    by_use: BTreeMap<u64, Digest>,
    bytes: usize,
    uses: u64,
}

#[derive(Debug)]
struct Kept {
    response: Arc<Response>,
    bytes: usize,
    until: Timestamp,
    used: u64,
}

/// What an entry takes beside its texts: the maps' places and the rest of the answer.
const ENTRY_BYTES: usize = 400;

impl Cache {
    pub(crate) fn new(settings: CacheSettings) -> Cache {
        Cache { settings, inner: Mutex::default() }
    }

    pub(crate) fn ttl(&self) -> Option<Duration> {
        (self.settings.entries > 0).then_some(Duration::from_secs(self.settings.ttl_s))
    }

    pub(crate) fn get(&self, now: Timestamp, digest: Digest) -> Option<Arc<Response>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let until = inner.kept.get(&digest)?.until;
        if now >= until {
            inner.forget(digest);
            return None;
        }
        inner.uses += 1;
        let used = inner.uses;
        let kept = inner.kept.get_mut(&digest)?;
        let before = std::mem::replace(&mut kept.used, used);
        let response = Arc::clone(&kept.response);
        inner.by_use.remove(&before);
        inner.by_use.insert(used, digest);
        Some(response)
    }

    pub(crate) fn put(&self, now: Timestamp, digest: Digest, response: Arc<Response>) {
        // The JSON is the text once more, in pieces of up to four times its size.
        let bytes =
            response.text.len() * if response.json.is_some() { 5 } else { 1 } + response.model.len() + ENTRY_BYTES;
        if self.settings.entries == 0 || bytes > self.settings.bytes {
            return;
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.forget(digest);
        while inner.kept.len() >= self.settings.entries || inner.bytes + bytes > self.settings.bytes {
            let Some(oldest) = inner.by_use.first_key_value().map(|(_, digest)| *digest) else { break };
            inner.forget(oldest);
        }
        inner.uses += 1;
        let used = inner.uses;
        let until = after(now, Duration::from_secs(self.settings.ttl_s));
        inner.by_use.insert(used, digest);
        inner.kept.insert(digest, Kept { response, bytes, until, used });
        inner.bytes += bytes;
    }

    /// How many answers are kept, and how many bytes they take.
    pub(crate) fn size(&self) -> (usize, usize) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        (inner.kept.len(), inner.bytes)
    }
}

impl Inner {
    fn forget(&mut self, digest: Digest) {
        if let Some(kept) = self.kept.remove(&digest) {
            self.by_use.remove(&kept.used);
            self.bytes -= kept.bytes;
        }
    }
}
