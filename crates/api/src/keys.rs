//! API keys: who may decide, and who may look.
//!
//! A bouncer's key is kept beside the others, under a name that no other key can have. It reads decisions and nothing
//! else, and comes and goes while everything runs.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError, RwLock};

use vertice_model::{Principal, Timestamp};
use vertice_store::{ApiKey, ReadError, Store, SubmitError};

use crate::limits;

/// What every key begins with, so that a leaked one is recognised.
const PREFIX: &str = "vk_";

/// What the names begin with under which the keys of bouncers are kept.
const BOUNCER: &str = "bouncer/";

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

/// The secret of [`crate::Links`] that a data directory keeps; made at first use. Blocks.
///
/// # Errors
/// When it can neither be read nor made.
pub fn link_secret(store: &Store) -> Result<[u8; 32], LinkSecretError> {
    if let Some(kept) = store.meta(LINK_SECRET)? {
        let hash = blake3::Hash::from_hex(&kept).map_err(|_| LinkSecretError::Damaged)?;
        return Ok(*hash.as_bytes());
    }
    let mut secret = [0_u8; 32];
    getrandom::fill(&mut secret)?;
    store.set_meta(LINK_SECRET, blake3::Hash::from_bytes(secret).to_hex().as_str())?;
    Ok(secret)
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
    bouncers: RwLock<Vec<Bouncer>>,
    failures: Mutex<Bucket>,
}

/// Whose key it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Holder {
    /// Somebody who may do everything.
    Person(Principal),
    /// A bouncer, by its name, which may read decisions.
    Bouncer(String),
}

/// A bouncer's key, as it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Bouncer {
    /// The bouncer's name.
    pub(crate) name: String,
    /// The digest of its key.
    pub(crate) key: blake3::Hash,
    /// When it was added.
    pub(crate) created: Timestamp,
}

impl Bouncer {
    /// The name under which a bouncer's key is kept.
    pub(crate) fn kept_as(name: &str) -> String {
        format!("{BOUNCER}{name}")
    }

    fn kept(key: &ApiKey) -> Option<Bouncer> {
        let name = key.name.strip_prefix(BOUNCER)?.to_owned();
        Some(Bouncer { name, key: blake3::Hash::from_bytes(key.hash), created: key.created })
    }
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
        let (bouncers, people): (Vec<&ApiKey>, Vec<&ApiKey>) = keys.iter().partition(|k| Bouncer::kept(k).is_some());
        let people = people.into_iter().take(limits::KEYS_MAX);
        let keys = people.map(|k| (blake3::Hash::from_bytes(k.hash), Principal(k.name.clone()))).collect();
        let bouncers = bouncers.into_iter().filter_map(Bouncer::kept).take(limits::BOUNCERS_MAX).collect();
        Access { loopback, policy, keys, bouncers: RwLock::new(bouncers), failures: Mutex::default() }
    }

    /// Whose key it is, with its digest. Takes the same time whichever it is, and whether it is one.
    pub(crate) fn whose(&self, secret: &str) -> Option<(blake3::Hash, Holder)> {
        let presented = blake3::Hash::from_bytes(digest(secret));
        let mut found = None;
        for (hash, principal) in &self.keys {
            // `blake3::Hash` compares in constant time.
            if *hash == presented {
                found = Some(Holder::Person(principal.clone()));
            }
        }
        for bouncer in self.bouncers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            if bouncer.key == presented {
                found = Some(Holder::Bouncer(bouncer.name.clone()));
            }
        }
        found.map(|holder| (presented, holder))
    }

    /// The bouncers, by name.
    pub(crate) fn bouncers(&self) -> Vec<Bouncer> {
        let mut bouncers = self.bouncers.read().unwrap_or_else(PoisonError::into_inner).clone();
        bouncers.sort_by(|a, b| a.name.cmp(&b.name));
        bouncers
    }

    /// Lets a bouncer in from now on.
    pub(crate) fn let_in(&self, bouncer: Bouncer) {
        self.bouncers.write().unwrap_or_else(PoisonError::into_inner).push(bouncer);
    }

    /// Lets a bouncer in no more.
    pub(crate) fn keep_out(&self, name: &str) {
        self.bouncers.write().unwrap_or_else(PoisonError::into_inner).retain(|b| b.name != name);
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
        let kept =
            |name: &str, key: &NewKey| ApiKey { name: name.into(), hash: key.hash, created: Timestamp::default() };
        let keys = [kept("ana", &a)];
        let access = Access::new("127.0.0.1:1".parse().unwrap(), KeyPolicy::Decisions, &keys);
        let whose = |key: &NewKey| access.whose(&key.secret).map(|(_, holder)| holder);
        assert_eq!(whose(&a), Some(Holder::Person(Principal("ana".into()))));
        assert_eq!(whose(&b), None);
        assert_eq!(access.whose(""), None);
        access.let_in(Bouncer::kept(&kept(&Bouncer::kept_as("edge"), &b)).unwrap());
        assert_eq!(whose(&b), Some(Holder::Bouncer("edge".into())));
        access.keep_out("edge");
        assert_eq!(whose(&b), None);
    }

    #[test]
    fn a_kept_bouncer_is_one_after_a_restart() {
        let key = NewKey::draw().unwrap();
        let kept = ApiKey { name: Bouncer::kept_as("edge"), hash: key.hash, created: Timestamp::default() };
        let access = Access::new("127.0.0.1:1".parse().unwrap(), KeyPolicy::Decisions, &[kept]);
        assert_eq!(access.whose(&key.secret).map(|(_, holder)| holder), Some(Holder::Bouncer("edge".into())));
        assert_eq!(access.bouncers().len(), 1);
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
