//! The cache that several instances share, in Redis. It is a help and never a need: where it is down, each instance
//! goes on with its own, says so once, and looks again after a while.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use redis::{Client, Connection, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo};
use vertice_model::Timestamp;

use crate::clock::{World, after};
use crate::limits;
use crate::request::{Digest, Response};
use crate::secret::Secret;

/// Answers in Redis.
pub(crate) struct Shared {
    client: Client,
    place: String,
    world: World,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    /// Until when it is left alone.
    rest: Option<Timestamp>,
    /// Whether its being down was said.
    said: bool,
}

impl fmt::Debug for Shared {
    /// The client's own would show the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({})", self.place)
    }
}

impl Shared {
    /// For `host` or `host:port`. Nothing is connected yet.
    pub(crate) fn new(place: &str, password: Option<&Secret>, world: World) -> Result<Shared, String> {
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse().map_err(|_| format!("{port:?} is no port of Redis"))?)
            }
            _ => (place, 6_379),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains(['/', '@']) {
            return Err("Redis is given as host or host:port".to_owned());
        }
        let mut settings = RedisConnectionInfo::default();
        if let Some(password) = password {
            settings = settings.set_password(password.reveal());
        }
        let info: ConnectionInfo = ConnectionAddr::Tcp(host.to_owned(), port)
            .into_connection_info()
            .map_err(|_| "Redis can not be reached so".to_owned())?
            .set_redis_settings(settings);
        let client = Client::open(info).map_err(|_| "Redis can not be reached so".to_owned())?;
        Ok(Shared { client, place: place.to_owned(), world, state: Mutex::default() })
    }

    /// An answer that was kept. Nothing when there is none, or no Redis.
    pub(crate) fn get(&self, digest: Digest) -> Option<Response> {
        let max = limits::KEPT_BYTES_MAX as isize;
        // A range, so that no more is read than an answer can have.
        let bytes: Vec<u8> = self.ask(|c| redis::cmd("GETRANGE").arg(key(digest)).arg(0).arg(max).query(c))?;
        kept(&bytes)
    }

    /// Keeps an answer.
    pub(crate) fn put(&self, digest: Digest, response: &Response, ttl: Duration) {
        let Ok(bytes) = serde_json::to_vec(response) else { return };
        if bytes.len() as u64 > limits::KEPT_BYTES_MAX {
            return;
        }
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
        let _: Option<()> = self.ask(|c| redis::cmd("SET").arg(key(digest)).arg(&bytes).arg("PX").arg(ttl_ms).query(c));
    }

    fn ask<T>(&self, what: impl FnOnce(&mut Connection) -> redis::RedisResult<T>) -> Option<T> {
        // Nobody waits for another's question to Redis: asking the provider is no worse than having no cache.
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => return None,
        };
        if state.rest.is_some_and(|rest| self.world.clock.now() < rest) {
            return None;
        }
        let asked = self.connected(&mut state).and_then(|mut connection| {
            let answer = what(&mut connection)?;
            Ok((connection, answer))
        });
        match asked {
            Ok((connection, answer)) => {
                if std::mem::take(&mut state.said) {
                    tracing::info!(redis = %self.place, "Redis is back; answers of models are shared again");
                }
                state.connection = Some(connection);
                state.rest = None;
                Some(answer)
            }
            Err(error) => {
                state.rest = Some(after(self.world.clock.now(), limits::REDIS_REST));
                if !std::mem::replace(&mut state.said, true) {
                    // Its kind and not its words, which may hold what was sent.
                    tracing::warn!(redis = %self.place, kind = ?error.kind(), "Redis is not there; answers of models are kept by this instance alone");
                }
                None
            }
        }
    }

    /// The connection, out of the state: one that fails is not put back.
    fn connected(&self, state: &mut MutexGuard<'_, State>) -> redis::RedisResult<Connection> {
        if let Some(connection) = state.connection.take() {
            return Ok(connection);
        }
        let connection = self.client.get_connection_with_timeout(limits::REDIS_TIME)?;
        connection.set_read_timeout(Some(limits::REDIS_TIME))?;
        connection.set_write_timeout(Some(limits::REDIS_TIME))?;
        Ok(connection)
    }
}

/// What somebody kept there, as an answer; nothing where it is none.
pub(crate) fn kept(bytes: &[u8]) -> Option<Response> {
    if bytes.is_empty() || bytes.len() as u64 > limits::KEPT_BYTES_MAX {
        return None;
    }
    serde_json::from_slice(bytes).ok()
}

fn key(digest: Digest) -> String {
    format!("vertice:llm:1:{}", digest.hex())
}
