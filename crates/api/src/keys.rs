//! API keys: who may decide, and who may look.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use vertice_model::{Principal, Timestamp};
use vertice_store::ApiKey;

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
    keys: Vec<(blake3::Hash, Principal)>,
    failures: Mutex<Bucket>,
}

impl Access {
    /// The rules of a listener. On one that others can reach, every call but `GET /health` needs a key,
    /// whatever the policy says.
    #[must_use]
    pub fn new(listener: SocketAddr, policy: KeyPolicy, keys: &[ApiKey]) -> Access {
        let loopback = is_loopback(listener.ip());
        let policy = if loopback { policy } else { KeyPolicy::Always };
        if keys.len() > limits::KEYS_MAX {
            tracing::warn!(
                "there are {} API keys; those after the first {} are not known",
                keys.len(),
                limits::KEYS_MAX
            );
        }
        let keys = keys.iter().take(limits::KEYS_MAX);
        let keys = keys.map(|k| (blake3::Hash::from_bytes(k.hash), Principal(k.name.clone()))).collect();
        Access { loopback, policy, keys, failures: Mutex::default() }
    }

    /// Whose key it is. Takes the same time whichever it is, and whether it is one.
    pub(crate) fn whose(&self, secret: &str) -> Option<Principal> {
        let presented = blake3::Hash::from_bytes(digest(secret));
        let mut found = None;
        for (hash, principal) in &self.keys {
            // `blake3::Hash` compares in constant time.
            if *hash == presented {
                found = Some(principal);
            }
        }
        found.cloned()
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
    fn a_drawn_key_is_recognised_and_no_other() {
        let (a, b) = (NewKey::draw().unwrap(), NewKey::draw().unwrap());
        assert_ne!(a.secret, b.secret);
        assert_eq!(a.secret.len(), 3 + 64);
        assert!(!format!("{a:?}").contains(&a.secret));
        let kept = ApiKey { name: "ana".into(), hash: a.hash, created: Timestamp::default() };
        let access = Access::new("127.0.0.1:1".parse().unwrap(), KeyPolicy::Decisions, &[kept]);
        assert_eq!(access.whose(&a.secret), Some(Principal("ana".into())));
        assert_eq!(access.whose(&b.secret), None);
        assert_eq!(access.whose(""), None);
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
