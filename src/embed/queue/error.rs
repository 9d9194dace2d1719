//! Why a queue does not serve.

use std::time::Duration;

use embstore_formats::FormatError;

use crate::embed::scan::ScanError;

/// Why a queue does not serve. No message holds a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// An address that names no queue.
    #[error("no queue has the address {address:?}: {why}")]
    Address {
        /// The address, without its password.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// No server answers.
    #[error("no Redis server at {server}: {why}")]
    Unreachable {
        /// Host and port, or the socket.
        server: String,
        /// What the system says.
        why: String,
    },
    /// A server that was there does not answer any more.
    #[error("the Redis server at {server} has been away for {} s: {why}", away.as_secs())]
    Lost {
        /// Host and port, or the socket.
        server: String,
        /// For how long.
        away: Duration,
        /// What the system or the server says.
        why: String,
    },
    /// The server wants another password, or one at all.
    #[error("the Redis server at {server} refuses the login: {why}")]
    Login {
        /// Host and port, or the socket.
        server: String,
        /// What the server says.
        why: String,
    },
    /// There is no trusted, encrypted connection.
    #[error("no TLS with {server}: {why}")]
    Tls {
        /// Host and port.
        server: String,
        /// What the handshake says.
        why: String,
    },
    /// A key of the queue is something else.
    #[error("{key} on {server} is a key of another type, not the queue's")]
    WrongType {
        /// Host and port, or the socket.
        server: String,
        /// The list.
        key: String,
    },
    /// The server refuses a command.
    #[error("the Redis server at {server} refuses: {why}")]
    Refused {
        /// Host and port, or the socket.
        server: String,
        /// What it says.
        why: String,
    },
    /// The folders cannot be scanned.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// A file of the folder queue cannot be read or written.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl QueueError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            QueueError::Address { .. } => {
                "give redis://HOST:6379, rediss://HOST:6380 (TLS), unix:///PATH, or dir for no server".into()
            }
            QueueError::Unreachable { .. } => {
                "start one (redis-server), check --queue (rediss:// where it speaks TLS), or do without: --queue dir"
                    .into()
            }
            QueueError::Lost { .. } => "start it again, then run the same command: nothing is lost".into(),
            QueueError::Login { .. } => "give the login: redis://USER:PASSWORD@HOST, or set REDIS_PASSWORD".into(),
            QueueError::Tls { .. } => {
                "check that the server speaks TLS at this port; for an authority of your own, SSL_CERT_FILE=ca.pem"
                    .into()
            }
            QueueError::WrongType { .. } => "something else uses this key: choose another with --queue-name".into(),
            QueueError::Refused { why, .. } if why.to_uppercase().contains("MOVED") => {
                "the server is one of a cluster: name the one that holds the list".into()
            }
            QueueError::Refused { .. } => "ask who runs the server; nothing is lost, run the same command again".into(),
            QueueError::Scan(source) => source.hint(),
            QueueError::Format(source) => source.hint(),
        }
    }

    /// Whether the caller asked to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, QueueError::Scan(ScanError::Cancelled))
    }
}
