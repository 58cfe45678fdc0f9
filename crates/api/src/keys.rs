//! API keys: what they are made of, and where they are needed. Which there are is in `keyring.rs`.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use vertice_model::Timestamp;
use vertice_store::{ApiKey, ReadError, Store, SubmitError};

use crate::keyring::Keyring;
use crate::limits;

/// What every key begins with, so that a leaked one is recognised.
const PREFIX: &str = "vk_";

/// A new API key. It is shown once; only its digest is kept.
pub struct NewKey {
    /// The key itself: `vk_` and 64 hexadecimal digits, 256 random bits.
    pub secret: String,
    /// What is kept of it.
    pub hash: [u8; 32],
}

impl NewKey {
    /// Draws a key from the system's random numbers.
    ///
    /// # Errors
    /// When the system has none to give.
    pub fn draw() -> Result<NewKey, getrandom::Error> {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes)?;
        let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let secret = format!("{PREFIX}{digits}");
        let hash = digest(&secret);
        Ok(NewKey { secret, hash })
    }
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewKey")
    }
}

/// What is kept of a key: its BLAKE3. A key has 256 random bits, so nothing slower is needed.
#[must_use]
pub fn digest(secret: &str) -> [u8; 32] {
    *blake3::hash(secret.as_bytes()).as_bytes()
}

/// The setting that keeps the secret of [`crate::Links`].
const LINK_SECRET: &str = "answer_links_secret";

/// Why there is no secret for links.
#[derive(Debug, thiserror::Error)]
pub enum LinkSecretError {
    /// It could not be read.
    #[error("reading the secret of answer links: {0}")]
    Read(#[from] ReadError),
    /// It could not be kept.
    #[error("keeping the secret of answer links: {0}")]
    Keep(#[from] SubmitError),
    /// The system has no random numbers to give.
    #[error("drawing the secret of answer links: {0}")]
    Draw(#[from] getrandom::Error),
    /// What is kept is no secret.
    #[error("the secret of answer links that the data directory keeps is damaged")]
    Damaged,
}

/// The secret of [`crate::Links`] that a store keeps; made at first use. Of two instances that make one at the same time
/// both get the one that was first. Blocks.
///
/// # Errors
/// When it can neither be read nor made.
pub fn link_secret(store: &Store) -> Result<[u8; 32], LinkSecretError> {
    let kept = match store.meta(LINK_SECRET)? {
        Some(kept) => kept,
        None => {
            let mut secret = [0_u8; 32];
            getrandom::fill(&mut secret)?;
            store.make_meta(LINK_SECRET, blake3::Hash::from_bytes(secret).to_hex().as_str())?;
            store.meta(LINK_SECRET)?.ok_or(LinkSecretError::Damaged)?
        }
    };
    blake3::Hash::from_hex(&kept).map(|hash| *hash.as_bytes()).map_err(|_| LinkSecretError::Damaged)
}

/// From which calls a key is needed on a loopback listener.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyPolicy {
    /// Answers, verdicts and releases.
    Decisions,
    /// All but `GET /health`.
    Always,
}

/// Who may do what.
#[derive(Debug)]
pub struct Access {
    /// Whether only this machine can reach the listener.
    pub(crate) loopback: bool,
    pub(crate) policy: KeyPolicy,
    /// Those that are known.
    pub(crate) keys: Arc<Keyring>,
    /// Whether `/ready` and `/metrics` need no key.
    pub(crate) open_probes: bool,
    failures: Mutex<Bucket>,
}

impl Access {
    /// The rules of a listener. On one that others can reach, every call but `GET /health` needs a key,
    /// whatever the policy says.
    #[must_use]
    pub fn new(listener: SocketAddr, policy: KeyPolicy, keys: &[ApiKey]) -> Access {
        let loopback = is_loopback(listener.ip());
        let policy = if loopback { policy } else { KeyPolicy::Always };
        let keys = Arc::new(Keyring::new(keys));
        Access { loopback, policy, keys, open_probes: false, failures: Mutex::default() }
    }

    /// The same, but for `GET /ready` and `GET /metrics`, which need no key: for probes in a network of their own.
    #[must_use]
    pub fn with_open_probes(self) -> Access {
        Access { open_probes: true, ..self }
    }

    /// The keys that are known.
    #[must_use]
    pub fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.keys)
    }

    /// Counts a failed authentication; false when there were too many of late.
    pub(crate) fn failed(&self, now: Timestamp) -> bool {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).take(now)
    }
}

/// Whether only this machine can reach an address.
pub(crate) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// A bucket of tokens that fills with time.
#[derive(Debug, Default)]
struct Bucket {
    used: u32,
    since: Timestamp,
}

impl Bucket {
    fn take(&mut self, now: Timestamp) -> bool {
        let seconds = now.micros_since(self.since) / 1_000_000;
        if seconds > 0 {
            let back = seconds.saturating_mul(u64::from(limits::AUTH_FAILURES_PER_S));
            self.used = self.used.saturating_sub(u32::try_from(back).unwrap_or(u32::MAX));
            self.since = now;
        }
        let free = self.used < limits::AUTH_FAILURES_BURST;
        self.used += u32::from(free);
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_key_is_like_no_other_and_is_not_shown_by_chance() {
        let (a, b) = (NewKey::draw().unwrap(), NewKey::draw().unwrap());
        assert_ne!(a.secret, b.secret);
        assert_eq!((a.secret.len(), a.hash), (3 + 64, digest(&a.secret)));
        assert!(!format!("{a:?}").contains(&a.secret));
    }

    #[test]
    fn a_listener_that_others_reach_always_needs_a_key() {
        let of = |listener: &str| Access::new(listener.parse().unwrap(), KeyPolicy::Decisions, &[]).policy;
        assert_eq!(of("127.0.0.2:1"), KeyPolicy::Decisions);
        assert_eq!(of("[::1]:1"), KeyPolicy::Decisions);
        assert_eq!(of("[::ffff:127.0.0.1]:1"), KeyPolicy::Decisions);
        assert_eq!(of("0.0.0.0:1"), KeyPolicy::Always);
        assert_eq!(of("[::]:1"), KeyPolicy::Always);
        assert_eq!(of("192.0.2.1:1"), KeyPolicy::Always);
    }

    #[test]
    fn failures_are_refused_after_a_burst_and_again_answered_later() {
        let mut bucket = Bucket::default();
        let at = Timestamp::from_seconds(1_000_000);
        let answered = (0..1_000).filter(|_| bucket.take(at)).count();
        assert_eq!(answered, limits::AUTH_FAILURES_BURST as usize);
        let answered = (0..1_000).filter(|_| bucket.take(at.plus_seconds(2))).count();
        assert_eq!(answered, 2 * limits::AUTH_FAILURES_PER_S as usize);
    }
}
