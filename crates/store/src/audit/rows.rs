//! The audit of a shard in PostgreSQL: the same lines and the same seal, in tables. Lines and seal are written in one
//! transaction, under the fence of the shard, so there is never a line that is not sealed.

use std::io::Read;
use std::path::{Path, PathBuf};

use postgres::Error;

use super::AuditError;
use super::format::{PublicKey, Seal};
use crate::limits;
use crate::postgres::PostgresSettings;
use crate::postgres::session::{Means, Session, means, words};
use crate::sums::signed;

/// Where the audit of a shard lies.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) settings: PostgresSettings,
    pub(crate) shard: u32,
    /// With which the shard was taken.
    pub(crate) epoch: u64,
    pub(crate) session: Option<Held>,
}

/// A connection that shows nothing of itself.
pub(crate) struct Held(Session);

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a connection")
    }
}

/// Why rows were not written.
enum Not {
    Database(Error),
    Audit(AuditError),
}

impl From<Error> for Not {
    fn from(error: Error) -> Not {
        Not::Database(error)
    }
}

/// The name of it in messages.
pub(crate) fn path_of(settings: &PostgresSettings, shard: u32) -> PathBuf {
    format!("{}, audit of shard {shard}", settings.whereabouts()).into()
}

fn trouble(path: &Path, doing: &'static str, error: &Error) -> AuditError {
    let path = path.to_owned();
    match means(error) {
        Means::NoSpace => AuditError::NoSpace { path },
        Means::Away | Means::Again => AuditError::Away { path, what: words(error) },
        Means::Fatal => AuditError::Io { doing, path, source: std::io::Error::other(words(error)) },
    }
}

impl Rows {
    /// The seal, as it stands; makes an empty one where there is none. All shards of a database are signed by one key.
    pub(crate) fn begin(&mut self, empty: &[u8], key: &PublicKey) -> Result<(), AuditError> {
        let path = path_of(&self.settings, self.shard);
        let other = |what: String| Not::Audit(AuditError::Other { path: path.clone(), what });
        let shard = i64::from(self.shard);
        self.transaction("making", |s| {
            // So that two that begin at once do not begin with two keys.
            s.batch("LOCK TABLE audit_seal IN SHARE ROW EXCLUSIVE MODE")?;
            if let Some(row) = s.row("SELECT line FROM audit_seal ORDER BY shard LIMIT 1", &[])? {
                let seal = Seal::read(&row.get::<_, Vec<u8>>(0)).map_err(|what| other(what.to_owned()))?;
                if seal.key != *key {
                    let found = seal.key;
                    return Err(other(format!(
                        "the audits of this database are signed by the key {found}, and this instance has {key}; give \
                         all instances the same audit.key"
                    )));
                }
            }
            let sql = "INSERT INTO audit_seal (shard, line) VALUES ($1, $2) ON CONFLICT (shard) DO NOTHING";
            s.execute(sql, &[&shard, &empty]).map(|_| ()).map_err(Not::from)
        })
    }

    /// Writes lines, of which the first is entry `n`, and the seal that goes over them in place of the one before. What is
    /// there already, because an answer was lost, stays.
    pub(crate) fn put(&mut self, before: &[u8], seal: &[u8], n: u64, lines: &[u8]) -> Result<(), AuditError> {
        let path = path_of(&self.settings, self.shard);
        let other = |what: String| Err(Not::Audit(AuditError::Other { path: path.clone(), what }));
        let (shard, epoch) = (i64::from(self.shard), self.epoch);
        let lines: Vec<&[u8]> = lines.split_inclusive(|byte| *byte == b'\n').collect();
        let numbers: Vec<i64> = (signed(n)..).take(lines.len()).collect();
        self.transaction("writing", |s| {
            let found = s.row("SELECT epoch FROM shard WHERE shard = $1 FOR SHARE", &[&shard])?;
            let found = found.map_or(0, |row| row.get::<_, i64>(0) as u64);
            if found != epoch {
                return other(format!("another instance took the shard over (epoch {found}; this one had {epoch})"));
            }
            let stands = s.row("SELECT line FROM audit_seal WHERE shard = $1 FOR UPDATE", &[&shard])?;
            let stands: Vec<u8> = stands.map(|row| row.get(0)).unwrap_or_default();
            if stands == seal {
                return Ok(());
            }
            if stands != before {
                return other("its seal is not the one that was written last".to_owned());
            }
            let sql = "INSERT INTO audit (shard, n, line) SELECT $1, * FROM unnest($2::bigint[], $3::bytea[])";
            s.execute(sql, &[&shard, &numbers, &lines])?;
            s.execute("UPDATE audit_seal SET line = $2 WHERE shard = $1", &[&shard, &seal])?;
            Ok(())
        })
    }

    fn transaction(
        &mut self,
        doing: &'static str,
        work: impl Fn(&mut Session) -> Result<(), Not>,
    ) -> Result<(), AuditError> {
        let path = path_of(&self.settings, self.shard);
        let away = |e: crate::OpenError| AuditError::Away { path: path.clone(), what: e.to_string() };
        let mut tried = 0;
        loop {
            let mut session = match self.session.take() {
                Some(Held(session)) => session,
                None => Session::open(&self.settings, &format!("audit of shard {}", self.shard)).map_err(away)?,
            };
            tried += 1;
            match session.transaction(&work) {
                Ok(()) => {
                    self.session = Some(Held(session));
                    return Ok(());
                }
                // Whatever became of it shows in the seal.
                Err(Not::Database(e)) if matches!(means(&e), Means::Away | Means::Again) && tried < 2 => {}
                Err(Not::Database(e)) => return Err(trouble(&path, doing, &e)),
                Err(Not::Audit(error)) => return Err(error),
            }
        }
    }
}

/// The lines of a shard's audit as one reads a file, all of one moment.
pub(crate) struct Lines {
    session: Session,
    shard: u32,
    next: i64,
    bytes: Vec<u8>,
    at: usize,
}

impl Lines {
    /// Connects; the seal, and the lines behind it.
    pub(crate) fn open(settings: &PostgresSettings, shard: u32) -> Result<(Vec<u8>, Lines), AuditError> {
        let path = path_of(settings, shard);
        let away = |e: crate::OpenError| AuditError::Away { path: path.clone(), what: e.to_string() };
        let mut session = Session::open(settings, "reading an audit").map_err(away)?;
        let failed = |e| trouble(&path, "reading", &e);
        session.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").map_err(failed)?;
        // The whole of it may take longer than others wait between statements.
        session.batch("SET LOCAL idle_in_transaction_session_timeout TO '10min'").map_err(failed)?;
        let seal = session.row("SELECT line FROM audit_seal WHERE shard = $1", &[&i64::from(shard)]).map_err(failed)?;
        let none = || AuditError::Other { path: path.clone(), what: "there is none".to_owned() };
        let seal = seal.ok_or_else(none)?.get(0);
        Ok((seal, Lines { session, shard, next: 1, bytes: Vec::new(), at: 0 }))
    }
}

impl Read for Lines {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.bytes.len() {
            let sql = "SELECT n, line FROM audit WHERE shard = $1 AND n >= $2 ORDER BY n LIMIT $3";
            let params: [&(dyn postgres::types::ToSql + Sync); 3] =
                [&i64::from(self.shard), &self.next, &limits::AUDIT_ROWS];
            let rows = self.session.rows(sql, &params).map_err(|e| std::io::Error::other(words(&e)))?;
            (self.bytes, self.at) = (Vec::new(), 0);
            for row in &rows {
                self.next = row.get::<_, i64>(0) + 1;
                self.bytes.extend_from_slice(row.get(1));
            }
        }
        let n = into.len().min(self.bytes.len() - self.at);
        into[..n].copy_from_slice(&self.bytes[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
