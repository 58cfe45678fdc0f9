//! The key that signs an audit: made at first use, kept beside the file, readable by its owner only.
//!
//! Whoever can read it can sign. What it is good for then, and what not, is in `docs/audit.md`.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use ring::rand::SecureRandom as _;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use super::AuditError;
use super::format::{Hex, PublicKey, Signature};

const FILE: &str = "audit.key";

/// What signs.
pub(crate) struct Key(Ed25519KeyPair);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.public())
    }
}

impl Key {
    /// The key of a seed of RFC 8032.
    pub(crate) fn of_seed(seed: [u8; 32]) -> Key {
        Key(Ed25519KeyPair::from_seed_unchecked(&seed).expect("every 32 bytes are a seed"))
    }

    /// The key of a data directory; `None` if there is none.
    pub(crate) fn read(dir: &Path) -> Result<Option<Key>, AuditError> {
        let path = dir.join(FILE);
        let io = |doing| move |source| AuditError::Io { doing, path: path.clone(), source };
        let path = dir.join(FILE);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io("opening")(e)),
        };
        if file.metadata().is_ok_and(|m| m.permissions().mode() & 0o077 != 0) {
            tracing::warn!("{} can be read by others; whoever reads it can sign", path.display());
        }
        let mut text = String::new();
        // One more than it has, so that a longer one is seen.
        let read = file.take(66).read_to_string(&mut text);
        read.map_err(io("reading"))?;
        match text.strip_suffix('\n').unwrap_or(&text).parse() {
            Ok(Hex(seed)) => Ok(Some(Key::of_seed(seed))),
            // Not the text: it may be most of the secret.
            Err(_) => {
                let what = "this is no key, which is 64 hexadecimal digits; put it back from a backup".to_owned();
                Err(AuditError::Other { path, what })
            }
        }
    }

    /// Draws a key and keeps it in a data directory.
    pub(crate) fn make(dir: &Path) -> Result<Key, AuditError> {
        let mut seed = [0; 32];
        let drawn = ring::rand::SystemRandom::new().fill(&mut seed);
        let unavailable = |_| std::io::Error::other("the system gives no random bytes");
        drawn.map_err(unavailable).map_err(|source| AuditError::Io {
            doing: "drawing the key",
            path: dir.join(FILE),
            source,
        })?;
        put(dir, FILE, format!("{}\n", Hex(seed)).as_bytes())?;
        Ok(Key::of_seed(seed))
    }

    /// What others check signatures with.
    pub(crate) fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        Hex(bytes)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(self.0.sign(message).as_ref());
        Hex(bytes)
    }
}

/// Makes the key of a directory that has none, and the directory; gives the public key of the one that is there. Of several
/// that do so at the same time, all get the one that stayed.
///
/// # Errors
/// When it can not be made or read, or is none.
pub fn make_key(dir: &Path) -> Result<PublicKey, AuditError> {
    if let Some(key) = Key::read(dir)? {
        return Ok(key.public());
    }
    let io = |doing: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| AuditError::Io { doing, path, source }
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io("making", dir))?;
    let own = dir.join(format!("key-{}", std::process::id()));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&own).map_err(io("making", &own))?;
    Key::make(&own)?;
    let linked = std::fs::hard_link(own.join(FILE), dir.join(FILE));
    std::fs::remove_dir_all(&own).map_err(io("removing", &own))?;
    match linked {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
        Err(e) => return Err(io("making", &dir.join(FILE))(e)),
    }
    let made = Key::read(dir)?.ok_or(ErrorKind::NotFound.into()).map_err(io("reading", &dir.join(FILE)))?;
    Ok(made.public())
}

/// The public key of a data directory; `None` as long as there is none.
///
/// # Errors
/// When it can not be read, or is none.
pub fn public_key(dir: &Path) -> Result<Option<PublicKey>, AuditError> {
    Ok(Key::read(dir)?.map(|key| key.public()))
}

/// Whether a signature is of a message and by a key.
pub(crate) fn is_signed(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    UnparsedPublicKey::new(&ED25519, key.0).verify(message, &signature.0).is_ok()
}

/// Makes a file that is there whole or not at all, readable by its owner only.
pub(crate) fn put(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), AuditError> {
    let (path, new) = (dir.join(name), dir.join(format!("{name}.new")));
    let written = || -> std::io::Result<()> {
        let mut options = File::options();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        File::open(dir)?.sync_all()
    };
    written().map_err(|source| AuditError::Io { doing: "making", path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Key::read(dir.path()).unwrap().is_none());
        let made = Key::make(dir.path()).unwrap();
        let read = Key::read(dir.path()).unwrap().unwrap();
        assert_eq!(made.public(), read.public());
        assert!(is_signed(&made.public(), b"m", &read.sign(b"m")));
        assert!(!is_signed(&made.public(), b"n", &read.sign(b"m")));
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(make_key(dir.path()).unwrap(), made.public());
        let new = dir.path().join("new");
        let first = make_key(&new).unwrap();
        assert_eq!((make_key(&new).unwrap(), public_key(&new).unwrap()), (first, Some(first)));
        assert_ne!(Key::make(dir.path()).unwrap().public(), made.public());
    }

    #[test]
    fn what_is_no_key_is_named_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        for wrong in ["", "5ec2e7", &"x".repeat(64), &"5".repeat(65), &format!("{}\n\n", "5".repeat(64))] {
            put(dir.path(), FILE, wrong.as_bytes()).unwrap();
            let error = Key::read(dir.path()).unwrap_err().to_string();
            assert!(error.contains("audit.key: this is no key"), "{error}");
            assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
        }
    }

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn signatures_are_those_of_the_standard() {
        let Hex(seed) = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb".parse().unwrap();
        let key = Key::of_seed(seed);
        assert_eq!(key.public().to_string(), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        assert_eq!(
            key.sign(&[0x72]).to_string(),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
    }
}
