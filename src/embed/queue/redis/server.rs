//! The connection to the server, which comes back after cuts and restarts.

use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use redis::{Client, Connection, RedisError};

use super::complaint::{complaint, is_interrupted, is_transient};
use crate::embed::queue::address::RedisAddress;
use crate::embed::queue::{Backoff, QueueError};
use crate::progress::Cancel;

/// Silence after which a connection is lost.
const SILENCE: Duration = Duration::from_secs(5);
/// How long a server may be away after the caller asked to stop.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// A server, and at most one connection to it.
pub(super) struct Server<'a> {
    client: Client,
    address: RedisAddress,
    /// The key that is named where a key is of another type.
    list: String,
    patience: Duration,
    cancel: &'a Cancel,
    connection: Mutex<Option<Connection>>,
}

impl<'a> Server<'a> {
    /// Connects. A server that cannot be reached now is an error at once.
    pub(super) fn connect(
        address: &RedisAddress,
        list: &str,
        patience: Duration,
        cancel: &'a Cancel,
    ) -> Result<Self, QueueError> {
        if address.is_encrypted() {
            install_provider();
        }
        let told = |error: RedisError| complaint(&error, address, list);
        let client = Client::open(address.info().clone()).map_err(told)?;
        let server = Server {
            client,
            address: address.clone(),
            list: list.into(),
            patience,
            cancel,
            connection: Mutex::new(None),
        };
        let connection = server.new_connection().map_err(told)?;
        *server.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
        Ok(server)
    }

    fn new_connection(&self) -> Result<Connection, RedisError> {
        let connection = match self.client.get_connection_with_timeout(SILENCE) {
            // Ctrl-C is no fault of the server; what was begun shall end well.
            Err(error) if is_interrupted(&error) => self.client.get_connection_with_timeout(SILENCE)?,
            connection => connection?,
        };
        connection.set_read_timeout(Some(SILENCE))?;
        connection.set_write_timeout(Some(SILENCE))?;
        Ok(connection)
    }

    /// Calls the server until it answers. The call may reach it more than once.
    ///
    /// # Errors
    /// Where the server refuses, or has been away for longer than it may be.
    pub(super) fn call<T>(&self, command: impl Fn(&mut Connection) -> Result<T, RedisError>) -> Result<T, QueueError> {
        let began = Instant::now();
        let mut backoff = Backoff::reconnecting();
        loop {
            let error = match self.attempt(&command) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !is_transient(&error) {
                return Err(complaint(&error, &self.address, &self.list));
            }
            let is_stopping = self.cancel.is_cancelled();
            let patience = if is_stopping { self.patience.min(LAST_WORDS) } else { self.patience };
            if began.elapsed() >= patience {
                let (server, away) = (self.address.server(), began.elapsed());
                return Err(QueueError::Lost { server, away, why: error.to_string() });
            }
            if is_stopping {
                std::thread::sleep(backoff.step().min(LAST_WORDS / 10));
            } else {
                backoff.pause(self.cancel);
            }
        }
    }

    fn attempt<T>(&self, command: impl Fn(&mut Connection) -> Result<T, RedisError>) -> Result<T, RedisError> {
        let mut kept = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => self.new_connection()?,
        };
        let answer = command(&mut connection);
        // After any error but a plain refusal, what the connection says next may belong to the call before.
        if answer.as_ref().err().is_none_or(|error| !is_transient(error)) {
            *kept = Some(connection);
        }
        answer
    }
}

/// The cipher suites of every encrypted connection of this process.
fn install_provider() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // A program that has chosen its own before keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
