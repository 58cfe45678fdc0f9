//! A text that nothing shows.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::limits;

/// A text that neither `Debug` nor an error nor a log shows. It has no `Display` and no `Serialize`.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a secret is to be found. The secret itself can not be written into the configuration, which people show to
/// each other and keep in version control.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretFrom {
    /// An environment variable.
    Env(String),
    /// A file; white space at its ends does not count.
    File(PathBuf),
}

impl SecretFrom {
    /// Fetches it.
    ///
    /// # Errors
    /// What is missing, without any of its content.
    pub(crate) fn fetch(&self, environment: &dyn Fn(&str) -> Option<String>) -> Result<Secret, String> {
        let text = match self {
            SecretFrom::Env(name) => environment(name).ok_or(format!("the environment has no {name}"))?,
            SecretFrom::File(path) => {
                let mut text = String::new();
                let read = File::open(path).and_then(|f| f.take(limits::KEY_BYTES_MAX + 1).read_to_string(&mut text));
                // The error of a file that is not UTF-8 does not quote it.
                read.map_err(|e| format!("reading {}: {e}", path.display()))?;
                text
            }
        };
        let text = text.trim();
        if text.is_empty() || text.len() as u64 > limits::KEY_BYTES_MAX {
            return Err(format!("a key has 1 to {} bytes", limits::KEY_BYTES_MAX));
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("a key has no spaces, control characters or letters beyond ASCII".to_owned());
        }
        Ok(Secret::new(text))
    }
}
