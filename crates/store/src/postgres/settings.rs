//! Where the server is, and how to come to it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use postgres::config::{Host, SslMode, TargetSessionAttrs};
use postgres::{Client, Config, NoTls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::session;
use crate::error::OpenError;
use crate::limits;

/// Where a PostgreSQL server is, and what is needed to come to it.
#[derive(Clone)]
pub struct PostgresSettings {
    config: Config,
    /// Certificates of those who may vouch for the server, in PEM; without them the public ones.
    pub ca_file: Option<PathBuf>,
    /// Whether the connection is encrypted and the server's name verified. There is nothing in between.
    pub tls: bool,
    /// Most connections that only read; [`limits::READERS_MAX`].
    pub readers_max: usize,
    /// The directory of the key that signs the audit.
    pub key_dir: PathBuf,
}

/// Settings that can not be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

impl PostgresSettings {
    /// Reads `postgres://user:password@host:port/database?sslmode=…`. Of the modes, `require`, `verify-ca` and
    /// `verify-full` all encrypt and verify the server's name; `disable`, `prefer` and none do neither.
    ///
    /// # Errors
    /// When it is no such address, or names no host.
    pub fn from_url(url: &str, key_dir: &Path) -> Result<PostgresSettings, SettingsError> {
        let known =
            url.replace("sslmode=verify-full", "sslmode=require").replace("sslmode=verify-ca", "sslmode=require");
        // Not the address itself: it has the password.
        let unreadable = |e: postgres::Error| {
            let e = session::words(&e);
            SettingsError(format!(
                "the address of PostgreSQL can not be read: {e}; it is postgres://USER:PASSWORD@HOST:PORT/DATABASE"
            ))
        };
        let config: Config = known.parse().map_err(unreadable)?;
        if config.get_hosts().is_empty() {
            return Err(SettingsError("the address of PostgreSQL names no host".to_owned()));
        }
        let tls = config.get_ssl_mode() == SslMode::Require;
        Ok(PostgresSettings::of(config, tls, key_dir))
    }

    /// From a host, which may be the directory of a socket, a port, a database, a user, and their password.
    #[must_use]
    pub fn from_parts(at: (&str, u16), database: &str, user: (&str, Option<&str>), key_dir: &Path) -> PostgresSettings {
        let mut config = Config::new();
        config.host(at.0).port(at.1).dbname(database).user(user.0);
        if let Some(password) = user.1 {
            config.password(password);
        }
        PostgresSettings::of(config, false, key_dir)
    }

    fn of(mut config: Config, tls: bool, key_dir: &Path) -> PostgresSettings {
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(limits::POSTGRES_CONNECT_WAIT);
        }
        // Of several hosts the one that can be written to.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.keepalives_idle(limits::POSTGRES_SILENCE).tcp_user_timeout(limits::POSTGRES_SILENCE);
        let key_dir = key_dir.to_owned();
        PostgresSettings { config, ca_file: None, tls, readers_max: limits::READERS_MAX, key_dir }
    }

    /// Longest that is waited for a connection to each host; [`limits::POSTGRES_CONNECT_WAIT`].
    pub fn connect_timeout(&mut self, wait: Duration) {
        self.config.connect_timeout(wait);
    }

    /// Where it is, in words, without the password.
    #[must_use]
    pub fn whereabouts(&self) -> String {
        let hosts: Vec<String> = self
            .config
            .get_hosts()
            .iter()
            .map(|host| match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        let ports: Vec<String> = self.config.get_ports().iter().map(u16::to_string).collect();
        let port = if ports.is_empty() { "5432".to_owned() } else { ports.join(",") };
        format!("PostgreSQL {}:{port}/{}", hosts.join(","), self.config.get_dbname().unwrap_or_default())
    }

    /// Connects, as somebody with a name that the server's operator sees.
    pub(crate) fn connect(&self, name: &str) -> Result<Client, OpenError> {
        let mut config = self.config.clone();
        config.application_name(&format!("vertice {name}"));
        let failed = |e: postgres::Error| session::open_error(self, &e);
        if !self.tls {
            return config.ssl_mode(SslMode::Disable).connect(NoTls).map_err(failed);
        }
        config.ssl_mode(SslMode::Require).connect(MakeRustlsConnect::new(self.tls_config()?)).map_err(failed)
    }

    fn tls_config(&self) -> Result<rustls::ClientConfig, OpenError> {
        let mut roots = rustls::RootCertStore::empty();
        match &self.ca_file {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(path) => {
                let unusable = |e: &dyn fmt::Display| OpenError::Server {
                    server: self.whereabouts(),
                    what: format!("the certificates in {} can not be used: {e}", path.display()),
                    advice: "give a file with the certificate, in PEM, of whoever signed the server's",
                };
                let all = CertificateDer::pem_file_iter(path).map_err(|e| unusable(&e))?;
                for certificate in all {
                    let added = roots.add(certificate.map_err(|e| unusable(&e))?);
                    added.map_err(|e| unusable(&e))?;
                }
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = versions.map_err(|e| OpenError::Server {
            server: self.whereabouts(),
            what: e.to_string(),
            advice: "this build can not encrypt connections",
        })?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

impl fmt::Debug for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSettings")
            .field("at", &self.whereabouts())
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_its_password_is_never_shown() {
        let here = Path::new(".");
        let read = |url: &str| PostgresSettings::from_url(url, here);
        let settings = read("postgres://ana:s3cret@db.example:6000/defense?sslmode=verify-full").unwrap();
        assert_eq!(settings.whereabouts(), "PostgreSQL db.example:6000/defense");
        assert!(settings.tls && !format!("{settings:?}").contains("s3cret"));
        assert!(!read("postgres://ana@db/x").unwrap().tls);
        for wrong in
            ["postgres://ana:s3cret@db:port/x", "postgres://", "s3cret", "postgres://a:s3cret@h/d?sslmode=maybe"]
        {
            let error = read(wrong).unwrap_err().to_string();
            assert!(!error.contains("s3cret") && error.contains("the address of PostgreSQL"), "{error}");
        }
    }
}
