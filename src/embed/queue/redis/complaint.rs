//! What an error of the client means.

use std::error::Error;
use std::io;
use std::io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock};
use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::embed::queue::QueueError;
use crate::embed::queue::address::RedisAddress;

/// Whether the same call may succeed after a while.
pub(super) fn is_transient(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Io => !is_tls(error),
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::BusyLoading
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                // What a transaction says where one of its commands met any of these.
                | ServerErrorKind::ExecAbort
        ),
        // A script that runs for too long; a reply that was cut off.
        _ => error.code() == Some("BUSY") || error.kind() == ErrorKind::Parse,
    }
}

/// Whether a signal came while the connection was waited for.
pub(super) fn is_interrupted(error: &RedisError) -> bool {
    io(error).is_some_and(|error| error.kind() == io::ErrorKind::Interrupted)
}

/// The error as it is told.
pub(super) fn complaint(error: &RedisError, address: &RedisAddress, list: &str) -> QueueError {
    let (server, why) = (address.server(), error.to_string());
    match error.code() {
        Some("NOAUTH") => return QueueError::Login { server, why: "it wants a password".into() },
        Some("WRONGPASS") => return QueueError::Login { server, why: "wrong user name or password".into() },
        Some("NOPERM") => return QueueError::Login { server, why },
        // Before version 7, a script tells it in the text of an error of its own.
        _ if why.contains("WRONGTYPE") => return QueueError::WrongType { server, key: list.into() },
        _ => {}
    }
    match error.kind() {
        ErrorKind::AuthenticationFailed => QueueError::Login { server, why: "wrong user name or password".into() },
        ErrorKind::Io => match io(error).map(io::Error::kind) {
            // The port is open and silent, or closes at once.
            Some(WouldBlock) if address.is_encrypted() => {
                QueueError::Tls { server, why: "it does not answer the greeting".into() }
            }
            Some(UnexpectedEof | ConnectionReset | BrokenPipe) if address.is_encrypted() => {
                QueueError::Tls { server, why }
            }
            Some(WouldBlock | TimedOut) => QueueError::Unreachable { server, why: "it does not answer".into() },
            // The authorities of this machine cannot be read.
            None if address.is_encrypted() => QueueError::Tls { server, why },
            _ if is_tls(error) => QueueError::Tls { server, why },
            _ => QueueError::Unreachable { server, why },
        },
        _ => QueueError::Refused { server, why },
    }
}

/// Whether the other side is not trusted, or speaks something else.
fn is_tls(error: &RedisError) -> bool {
    io(error).and_then(io::Error::get_ref).is_some_and(|reason| reason.is::<rustls::Error>())
}

fn io(error: &RedisError) -> Option<&io::Error> {
    error.source()?.downcast_ref::<Arc<dyn Error + Send + Sync>>()?.downcast_ref()
}
