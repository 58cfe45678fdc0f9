//! `[store]`: where many instances keep their state.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use vertice_responder::settings::Hidden;
use vertice_store::PostgresSettings;

/// Where state lies, if it does not lie in the data directory alone.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// PostgreSQL.
    pub postgres: Postgres,
}

/// PostgreSQL. Without an address and without a host there is none.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// All of it at once: `postgres://user:password@host:port/database?sslmode=verify-full`.
    pub url: Option<Hidden>,
    /// Where it is: a name, an address, the directory of a socket.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database.
    pub db: String,
    /// The user.
    pub user: String,
    /// Their password.
    pub password: Option<Hidden>,
    /// Whether connections are encrypted and the server's name is verified; of an address its `sslmode` says it.
    pub tls: bool,
    /// Certificates, in PEM, of whoever vouches for the server; empty for the public ones.
    pub ca_file: PathBuf,
    /// The directory of the key that signs the audit of all shards, the same for all instances; empty for the data directory.
    pub audit_dir: PathBuf,
}

impl Postgres {
    /// Whether it is used.
    pub fn is_on(&self) -> bool {
        self.url.is_some() || !self.host.is_empty()
    }

    /// How it is reached, secrets read from where they are. The key of audits is in `key_dir`.
    ///
    /// # Errors
    /// When something can not be used, or a secret can not be had.
    pub fn settings(&self, key_dir: &Path) -> Result<PostgresSettings> {
        let mut settings = match &self.url {
            Some(url) => PostgresSettings::from_url(&url.read("store.postgres.url")?, key_dir)?,
            None => {
                for (what, text) in [("host", &self.host), ("db", &self.db), ("user", &self.user)] {
                    if text.is_empty() {
                        bail!("store.postgres.{what} is empty");
                    }
                }
                let password = self.password.as_ref().map(|p| p.read("store.postgres.password")).transpose()?;
                let user = (self.user.as_str(), password.as_deref());
                let mut settings = PostgresSettings::from_parts((&self.host, self.port), &self.db, user, key_dir);
                settings.tls = self.tls;
                settings
            }
        };
        if !self.ca_file.as_os_str().is_empty() {
            if !settings.tls {
                bail!("store.postgres.ca_file is set, and nothing is encrypted; set tls = true, or sslmode in the url");
            }
            settings.ca_file = Some(self.ca_file.clone());
        }
        Ok(settings)
    }
}
