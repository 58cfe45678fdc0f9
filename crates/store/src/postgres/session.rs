//! A connection, what it remembers, and what its errors mean.

use std::collections::HashMap;
use std::error::Error as _;

use postgres::error::SqlState;
use postgres::types::ToSql;
use postgres::{Client, Error, Row, Statement};

use super::settings::PostgresSettings;
use crate::error::OpenError;
use crate::limits;

/// What a statement is given.
pub(crate) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A connection.
pub(crate) struct Session {
    pub(crate) client: Client,
    /// By their text.
    statements: HashMap<String, Statement>,
}

/// What holds for every connection: what a server on which it was set otherwise would do to us.
const SETUP: &str = "
    SET search_path TO vertice;
    SET client_min_messages TO warning;
    SET default_transaction_isolation TO 'read committed';
    SET idle_in_transaction_session_timeout TO '10s';
    SET jit TO off;
    -- Not weaker than durable on the server itself; stronger ones stay.
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

impl Session {
    /// Connects to a server that is new enough and may be written to.
    pub(crate) fn open(settings: &PostgresSettings, name: &str) -> Result<Session, OpenError> {
        let mut client = settings.connect(name)?;
        let failed = |e| open_error(settings, &e);
        let version: String = client.query_one("SHOW server_version_num", &[]).map_err(failed)?.get(0);
        new_enough(settings, version.parse().unwrap_or_default())?;
        client.batch_execute(SETUP).map_err(failed)?;
        Ok(Session { client, statements: HashMap::new() })
    }

    fn statement(&mut self, sql: &str) -> Result<Statement, Error> {
        if let Some(known) = self.statements.get(sql) {
            return Ok(known.clone());
        }
        let statement = self.client.prepare(sql)?;
        if self.statements.len() >= limits::POSTGRES_STATEMENTS_MAX {
            self.statements.clear();
        }
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    pub(crate) fn rows(&mut self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Error> {
        let statement = self.statement(sql)?;
        self.client.query(&statement, params)
    }

    pub(crate) fn row(&mut self, sql: &str, params: Params<'_>) -> Result<Option<Row>, Error> {
        let statement = self.statement(sql)?;
        self.client.query_opt(&statement, params)
    }

    pub(crate) fn execute(&mut self, sql: &str, params: Params<'_>) -> Result<u64, Error> {
        let statement = self.statement(sql)?;
        self.client.execute(&statement, params)
    }

    pub(crate) fn batch(&mut self, sql: &str) -> Result<(), Error> {
        self.client.batch_execute(sql)
    }

    /// Does work in one transaction.
    pub(crate) fn transaction<T, E: From<Error>>(
        &mut self,
        work: impl FnOnce(&mut Session) -> Result<T, E>,
    ) -> Result<T, E> {
        self.batch("BEGIN")?;
        match work(self) {
            Ok(value) => self.batch("COMMIT").map(|()| value).map_err(E::from),
            Err(error) => {
                // Of a connection that is broken the server takes it back by itself.
                let _gone = self.batch("ROLLBACK");
                Err(error)
            }
        }
    }
}

/// Refuses a server that is too old, by its version as it writes it.
fn new_enough(settings: &PostgresSettings, version: u32) -> Result<(), OpenError> {
    if version >= limits::POSTGRES_VERSION_MIN {
        return Ok(());
    }
    Err(OpenError::Server {
        server: settings.whereabouts(),
        what: format!("it is version {}, which is too old", version / 10_000),
        advice: "use PostgreSQL 14 or later",
    })
}

/// What an error of the server means for whoever writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Means {
    /// The connection is lost, or the server is going or coming.
    Away,
    /// Two were in each other's way; nothing was kept, and the connection is whole.
    Again,
    /// The disk is full.
    NoSpace,
    /// Anything else.
    Fatal,
}

/// Tells what an error means.
pub(crate) fn means(error: &Error) -> Means {
    let Some(db) = error.as_db_error() else {
        let io = error.source().is_some_and(|e| e.is::<std::io::Error>());
        let words = error.to_string();
        let broken = ["communicating", "connecting", "closed", "timeout", "TLS"].iter().any(|w| words.contains(w));
        return if error.is_closed() || io || broken { Means::Away } else { Means::Fatal };
    };
    let code = db.code();
    if *code == SqlState::DISK_FULL {
        return Means::NoSpace;
    }
    if [&SqlState::T_R_DEADLOCK_DETECTED, &SqlState::T_R_SERIALIZATION_FAILURE].contains(&code) {
        return Means::Again;
    }
    let going = [
        &SqlState::ADMIN_SHUTDOWN,
        &SqlState::CRASH_SHUTDOWN,
        &SqlState::CANNOT_CONNECT_NOW,
        &SqlState::TOO_MANY_CONNECTIONS,
        &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        // A server that was demoted; of several hosts another one can be written to.
        &SqlState::READ_ONLY_SQL_TRANSACTION,
    ];
    if going.contains(&code) || code.code().starts_with("08") { Means::Away } else { Means::Fatal }
}

/// An error in words, down to its cause.
pub(crate) fn words(error: &Error) -> String {
    if let Some(db) = error.as_db_error() {
        let detail = db.detail().map(|d| format!(" ({d})")).unwrap_or_default();
        return format!("{}{detail}", db.message());
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        text += &format!(": {e}");
        cause = e.source();
    }
    text
}

/// What to do about a server that can not be used.
pub(crate) fn open_error(settings: &PostgresSettings, error: &Error) -> OpenError {
    let code = error.as_db_error().map(postgres::error::DbError::code);
    let is = |known: &SqlState| code == Some(known);
    let advice = if is(&SqlState::INVALID_PASSWORD) || is(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) {
        "check the user and the password, and what pg_hba.conf lets them do"
    } else if is(&SqlState::INVALID_CATALOG_NAME) {
        "make it with `createdb`, or name another one"
    } else if is(&SqlState::INSUFFICIENT_PRIVILEGE) {
        "let the user make a schema: GRANT CREATE ON DATABASE … TO …"
    } else if is(&SqlState::TOO_MANY_CONNECTIONS) {
        "raise max_connections, or let fewer instances use it"
    } else if is(&SqlState::CANNOT_CONNECT_NOW) {
        "it is starting or ending; try again in a moment"
    } else if error.to_string().contains("TLS") {
        "check that the server offers TLS with a certificate of its name, and the file of those who vouch for it"
    } else if means(error) == Means::Away {
        "check the host, the port, and whether it runs and can be reached from here"
    } else {
        "look into its log"
    };
    OpenError::Server { server: settings.whereabouts(), what: words(error), advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_too_old_is_named() {
        let settings = PostgresSettings::from_url("postgres://db/x", std::path::Path::new(".")).unwrap();
        assert!(new_enough(&settings, 140_000).is_ok() && new_enough(&settings, 170_002).is_ok());
        let error = new_enough(&settings, 130_021).unwrap_err().to_string();
        assert_eq!(error, "PostgreSQL db:5432/x: it is version 13, which is too old; use PostgreSQL 14 or later");
    }
}
