//! The API keys that there are: those of people, who may decide, and those of bouncers, which read decisions and
//! nothing else. They come and go while everything runs.
//!
//! Each is kept by a name, a bouncer's behind `bouncer/`, which the name of no person's key can have in it. That a key
//! comes or goes stands in the log before it does, so that none is ever in force that the audit does not get to know of.
//!
//! Of many instances each has those that the store keeps in memory, and reads them again twice a second, for another may
//! have changed them, and before it changes them itself. So no request waits for a database.

use std::sync::{Mutex, PoisonError, RwLock};

use vertice_engine::Input;
use vertice_model::{Principal, Timestamp};
use vertice_store::{ApiKey, ReadError, Store, SubmitError};

use crate::keys::{NewKey, digest};
use crate::limits;

/// What the names begin with under which the keys of bouncers are kept.
const BOUNCER: &str = "bouncer/";

/// The name of the key that `VERTICE_API_KEY` sets at a start.
pub(crate) const ENVIRONMENT: &str = "environment";

/// Who stands in records and in the audit by these names, none of them a person: a person's key of such a name could
/// be taken for them.
const NOBODYS: [&str; 6] = ["audit", "engine", "local", "policy", "responder", "vertice"];

/// Whose a key can be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyOf {
    /// Somebody's who may do everything.
    Person,
    /// A bouncer's, which may read decisions.
    Bouncer,
}

impl KeyOf {
    const ALL: [KeyOf; 2] = [KeyOf::Person, KeyOf::Bouncer];

    /// What one of them is called.
    const fn word(self) -> &'static str {
        match self {
            KeyOf::Person => "key",
            KeyOf::Bouncer => "bouncer",
        }
    }

    /// How many there may be.
    const fn max(self) -> usize {
        match self {
            KeyOf::Person => limits::KEYS_MAX,
            KeyOf::Bouncer => limits::BOUNCERS_MAX,
        }
    }

    /// The name that a key is kept under.
    fn kept_as(self, name: &str) -> String {
        match self {
            KeyOf::Person => name.to_owned(),
            KeyOf::Bouncer => format!("{BOUNCER}{name}"),
        }
    }

    fn checked(self, name: &str) -> Result<(), KeyError> {
        let fits = (1..=limits::KEY_NAME_CHARS_MAX).contains(&name.len());
        if !fits || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
            return Err(KeyError::NoName { of: self });
        }
        let why = match self {
            KeyOf::Bouncer => return Ok(()),
            KeyOf::Person if name == ENVIRONMENT => "is the key that VERTICE_API_KEY sets at a start",
            KeyOf::Person if NOBODYS.contains(&name) => "stands for Vertice itself in records and in the audit",
            KeyOf::Person => return Ok(()),
        };
        Err(KeyError::Taken { name: name.to_owned(), why })
    }
}

/// Why a key was neither added nor removed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A name that none can have.
    #[error(
        "name: a {}'s name is letters, digits, `.`, `_` and `-`, from 1 to {} of them",
        of.word(), limits::KEY_NAME_CHARS_MAX
    )]
    NoName {
        /// What was to be named.
        of: KeyOf,
    },
    /// A name that means something already.
    #[error("name: `{name}` {why}; choose another")]
    Taken {
        /// The name.
        name: String,
        /// What it means.
        why: &'static str,
    },
    /// There are as many as there may be.
    #[error("there are {} {}s; remove one first", of.max(), of.word())]
    TooMany {
        /// Of what.
        of: KeyOf,
    },
    /// There is one of that name.
    #[error("there is a {} {name}; remove it first, or choose another name", of.word())]
    Exists {
        /// What there is.
        of: KeyOf,
        /// The name.
        name: String,
    },
    /// There is none of that name.
    #[error("there is no {} {:?}", of.word(), cut(name))]
    None {
        /// Of what.
        of: KeyOf,
        /// The name.
        name: String,
    },
    /// Without it nobody could decide anything any more.
    #[error("this is the last key that may decide, and can not be removed; add another first")]
    Last,
    /// The system has no random numbers to give.
    #[error("drawing an API key: {0}")]
    Draw(#[from] getrandom::Error),
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] SubmitError),
    /// Those that there are could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// As much of a name as a name can have.
fn cut(name: &str) -> String {
    name.chars().take(limits::KEY_NAME_CHARS_MAX).collect()
}

/// Whose key it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Holder {
    /// Somebody who may do everything.
    Person(Principal),
    /// A bouncer, by its name, which may read decisions.
    Bouncer(String),
}

/// A key, as it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Held {
    /// Whose it is.
    pub of: KeyOf,
    /// Its name.
    pub name: String,
    /// When it was added.
    pub created: Timestamp,
    /// Its digest.
    pub(crate) key: blake3::Hash,
}

impl Held {
    fn kept(key: &ApiKey) -> Held {
        let (of, name) = match key.name.strip_prefix(BOUNCER) {
            Some(name) => (KeyOf::Bouncer, name),
            None => (KeyOf::Person, key.name.as_str()),
        };
        Held { of, name: name.to_owned(), created: key.created, key: blake3::Hash::from_bytes(key.hash) }
    }

    /// Whether `VERTICE_API_KEY` set it at a start.
    #[must_use]
    pub fn from_environment(&self) -> bool {
        self.of == KeyOf::Person && self.name == ENVIRONMENT
    }
}

/// The keys that are known.
#[derive(Debug)]
pub struct Keyring {
    held: RwLock<Vec<Held>>,
    /// Held while a key is added or removed, so that two who do so at once do not get past a limit together, nor take
    /// each other's, which would be the last.
    changing: Mutex<()>,
}

impl Keyring {
    /// Those that a store keeps; of too many, the first.
    #[must_use]
    pub fn new(keys: &[ApiKey]) -> Keyring {
        Keyring { held: RwLock::new(Keyring::known(keys)), changing: Mutex::default() }
    }

    fn known(keys: &[ApiKey]) -> Vec<Held> {
        let mut held = Vec::new();
        for of in KeyOf::ALL {
            let all: Vec<Held> = keys.iter().map(Held::kept).filter(|key| key.of == of).collect();
            if all.len() > of.max() {
                let (word, max) = (of.word(), of.max());
                tracing::warn!("there are {} {word}s; those after the first {max} are not known", all.len());
            }
            held.extend(all.into_iter().take(of.max()));
        }
        held
    }

    /// Reads those that the store keeps again: another instance may have added or removed some. Blocks.
    ///
    /// # Errors
    /// When they can not be read. Then those that were known still are.
    pub fn renew(&self, store: &Store) -> Result<(), ReadError> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.read_again(store)
    }

    fn read_again(&self, store: &Store) -> Result<(), ReadError> {
        let known = Keyring::known(&store.api_keys()?);
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(())
    }

    /// Whose key it is, with its digest. Takes the same time whichever it is, and whether it is one.
    pub(crate) fn whose(&self, secret: &str) -> Option<(blake3::Hash, Holder)> {
        let presented = blake3::Hash::from_bytes(digest(secret));
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = None;
        for key in held.iter() {
            // `blake3::Hash` compares in constant time.
            if key.key == presented {
                found = Some(key);
            }
        }
        let holder = found.map(|key| match key.of {
            KeyOf::Person => Holder::Person(Principal(key.name.clone())),
            KeyOf::Bouncer => Holder::Bouncer(key.name.clone()),
        });
        holder.map(|holder| (presented, holder))
    }

    /// Whether this is the digest of one of them still.
    pub(crate) fn has(&self, key: blake3::Hash) -> bool {
        self.held.read().unwrap_or_else(PoisonError::into_inner).iter().any(|held| held.key == key)
    }

    /// Those of a kind, by name.
    #[must_use]
    pub fn all(&self, of: KeyOf) -> Vec<Held> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Held> = held.iter().filter(|key| key.of == of).cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Adds a key, in force from now on, and gives it: it is not kept as it is. Blocks.
    ///
    /// # Errors
    /// When the name is none, is taken, or there are too many; when it can not be drawn or kept. Then there is none.
    pub fn add(&self, store: &Store, of: KeyOf, name: &str, by: &Principal) -> Result<NewKey, KeyError> {
        of.checked(name)?;
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.read_again(store)?;
        let all = self.all(of);
        let exists = || KeyError::Exists { of, name: name.to_owned() };
        if all.iter().any(|key| key.name == name) {
            return Err(exists());
        }
        if all.len() >= of.max() {
            return Err(KeyError::TooMany { of });
        }
        let new = NewKey::draw()?;
        let kept_as = of.kept_as(name);
        let input = Input::Key { name: kept_as.clone(), added: true, by: by.clone() };
        let created = store.append_blocking(input)?.at;
        if !store.add_api_key(&kept_as, new.hash)? {
            return Err(exists());
        }
        let held = Held { of, name: name.to_owned(), created, key: blake3::Hash::from_bytes(new.hash) };
        self.held.write().unwrap_or_else(PoisonError::into_inner).push(held);
        tracing::info!("{by} added the {} {name}", of.word());
        Ok(new)
    }

    /// Removes a key: it is no longer one. Gives it as it was. Blocks.
    ///
    /// # Errors
    /// When there is none, or it is the last of a person; when that can not be kept. Then it is still in force.
    pub fn remove(&self, store: &Store, of: KeyOf, name: &str, by: &Principal) -> Result<Held, KeyError> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.read_again(store)?;
        let all = self.all(of);
        let Some(held) = all.iter().find(|key| key.name == name) else {
            return Err(KeyError::None { of, name: name.to_owned() });
        };
        if of == KeyOf::Person && all.len() == 1 {
            return Err(KeyError::Last);
        }
        let kept_as = of.kept_as(name);
        store.append_blocking(Input::Key { name: kept_as.clone(), added: false, by: by.clone() })?;
        store.remove_api_key(&kept_as)?;
        self.held.write().unwrap_or_else(PoisonError::into_inner).retain(|key| key != held);
        if of == KeyOf::Person && self.read_again(store).is_ok() && self.all(of).is_empty() {
            // Another instance removed the other one meanwhile. Whoever sees that none is left puts theirs back.
            store.append_blocking(Input::Key { name: kept_as.clone(), added: true, by: by.clone() })?;
            store.add_api_key(&kept_as, *held.key.as_bytes())?;
            self.read_again(store)?;
            return Err(KeyError::Last);
        }
        tracing::info!("{by} removed the {} {name}", of.word());
        Ok(held.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vertice_model::Position;
    use vertice_store::Options;

    use super::*;

    fn kept(name: &str) -> (ApiKey, String) {
        let new = NewKey::draw().unwrap();
        (ApiKey { name: name.into(), hash: new.hash, created: Timestamp::default() }, new.secret)
    }

    fn store(dir: &tempfile::TempDir) -> Store {
        Store::open(dir.path(), Arc::new(Timestamp::default), Options::default()).unwrap()
    }

    fn by() -> Principal {
        Principal("ana".into())
    }

    #[test]
    fn each_key_is_its_holder_s_and_no_other_is_one() {
        let ((ana, a), (edge, e)) = (kept("ana"), kept("bouncer/edge"));
        let keys = Keyring::new(&[ana, edge]);
        let whose = |secret: &str| keys.whose(secret).map(|(_, holder)| holder);
        assert_eq!(whose(&a), Some(Holder::Person(by())));
        assert_eq!(whose(&e), Some(Holder::Bouncer("edge".into())));
        assert_eq!((whose(&kept("ana").1), whose("")), (None, None));
        assert_eq!((keys.all(KeyOf::Person).len(), keys.all(KeyOf::Bouncer).len()), (1, 1));
    }

    #[test]
    fn a_key_is_in_force_from_its_adding_to_its_removal_and_both_stand_in_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let keys = Keyring::new(&[]);
        let new = keys.add(&store, KeyOf::Person, "bob", &by()).unwrap();
        assert_eq!(keys.whose(&new.secret).map(|(_, holder)| holder), Some(Holder::Person(Principal("bob".into()))));
        assert_eq!(
            keys.remove(&store, KeyOf::Person, "bob", &by()).unwrap_err().to_string(),
            KeyError::Last.to_string()
        );
        // A bouncer of the same name is another key, and no key that may decide.
        let edge = keys.add(&store, KeyOf::Bouncer, "bob", &by()).unwrap();
        assert!(matches!(keys.remove(&store, KeyOf::Person, "bob", &by()), Err(KeyError::Last)));
        assert!(matches!(keys.add(&store, KeyOf::Person, "bob", &by()), Err(KeyError::Exists { .. })));
        keys.add(&store, KeyOf::Person, "ana", &by()).unwrap();
        keys.remove(&store, KeyOf::Person, "bob", &by()).unwrap();
        assert_eq!((keys.whose(&new.secret), keys.whose(&edge.secret).is_some()), (None, true));
        let after = Keyring::new(&store.api_keys().unwrap());
        assert_eq!((after.whose(&new.secret), after.whose(&edge.secret).is_some()), (None, true));
        let told: Vec<String> = store
            .read(Position(1), 100)
            .unwrap()
            .into_iter()
            .map(|(_, input)| match input {
                Input::Key { name, added, by } => format!("{name} {added} {by}"),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(told, ["bob true ana", "bouncer/bob true ana", "ana true ana", "bob false ana"]);
        store.close().unwrap();
    }

    #[test]
    fn names_that_stand_for_something_else_and_more_than_there_may_be_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let many = |of: KeyOf| -> Vec<ApiKey> {
            (0..of.max()).map(|i| ApiKey { name: of.kept_as(&format!("k{i}")), ..kept("x").0 }).collect()
        };
        for key in [many(KeyOf::Person), many(KeyOf::Bouncer)].concat() {
            store.add_api_key(&key.name, key.hash).unwrap();
        }
        let keys = Keyring::new(&store.api_keys().unwrap());
        let refused = |of, name: &str| keys.add(&store, of, name, &by()).unwrap_err().to_string();
        for name in ["", "a b", "ana (link)", "bouncer/edge", "ä", "a\n", &"x".repeat(65)] {
            assert!(refused(KeyOf::Person, name).starts_with("name: a key's name is letters, digits"), "{name}");
        }
        assert!(refused(KeyOf::Person, "environment").contains("VERTICE_API_KEY"));
        assert!(refused(KeyOf::Person, "engine").contains("stands for Vertice itself"));
        assert_eq!(refused(KeyOf::Person, "ana"), "there are 1000 keys; remove one first");
        assert_eq!(refused(KeyOf::Bouncer, "engine"), "there are 256 bouncers; remove one first");
        assert!(refused(KeyOf::Bouncer, "k1").starts_with("there is a bouncer k1;"));
        assert_eq!(store.log_end(), Position(0), "what is refused is not in the log");
        store.close().unwrap();
    }

    #[test]
    fn of_two_who_remove_each_other_s_key_at_once_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        // In one instance, and in two of which each has a keyring of its own.
        let (one, other) = (Keyring::new(&[]), Keyring::new(&[]));
        for rings in [[&one, &one], [&one, &other]] {
            for name in ["ana", "bob"] {
                store.add_api_key(name, kept(name).0.hash).unwrap();
            }
            let removed = std::thread::scope(|scope| {
                let both = [("ana", rings[0]), ("bob", rings[1])]
                    .map(|(name, keys)| scope.spawn(|| keys.remove(&store, KeyOf::Person, name, &by()).is_ok()));
                both.map(|one| one.join().unwrap())
            });
            let left = store.api_keys().unwrap().len();
            assert!(removed.iter().filter(|gone| **gone).count() <= 1 && left >= 1, "{removed:?}, {left} left");
        }
        store.close().unwrap();
    }

    #[test]
    fn what_another_instance_adds_or_removes_is_known_once_it_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let (here, there) = (Keyring::new(&[]), Keyring::new(&[]));
        let ana = here.add(&store, KeyOf::Person, "ana", &by()).unwrap();
        assert_eq!(there.whose(&ana.secret), None);
        there.renew(&store).unwrap();
        assert!(there.whose(&ana.secret).is_some());
        // Whoever changes them looks at what there is.
        let bob = there.add(&store, KeyOf::Person, "bob", &by()).unwrap();
        assert!(matches!(here.add(&store, KeyOf::Person, "bob", &by()), Err(KeyError::Exists { .. })));
        here.remove(&store, KeyOf::Person, "bob", &by()).unwrap();
        there.renew(&store).unwrap();
        assert_eq!((there.whose(&bob.secret), there.whose(&ana.secret).is_some()), (None, true));
        assert!(matches!(there.remove(&store, KeyOf::Person, "ana", &by()), Err(KeyError::Last)));
        store.close().unwrap();
    }
}
