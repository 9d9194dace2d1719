//! What libssh2's errors mean.

use std::io;

use libssh2_sys as raw;
use ssh2::{ErrorCode, Session};

use super::super::ConnectError;
use super::probe;
use crate::sync::host::Host;

/// The kinds that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing was heard for the time-out.
    TimedOut,
    /// The connection is gone.
    Lost,
    /// The other end said no.
    Refused,
    /// A private key cannot be read.
    Key,
    Other,
}

impl Failure {
    pub(super) fn of(error: &ssh2::Error) -> Self {
        let ErrorCode::Session(code) = error.code() else { return Failure::Other };
        // In a login libssh2 calls a lost connection a refusal.
        if error.message().starts_with("Waiting for") {
            return Failure::Lost;
        }
        match code {
            raw::LIBSSH2_ERROR_TIMEOUT | raw::LIBSSH2_ERROR_SOCKET_TIMEOUT | raw::LIBSSH2_ERROR_EAGAIN => {
                Failure::TimedOut
            }
            raw::LIBSSH2_ERROR_SOCKET_DISCONNECT
            | raw::LIBSSH2_ERROR_SOCKET_RECV
            | raw::LIBSSH2_ERROR_SOCKET_SEND
            | raw::LIBSSH2_ERROR_BAD_SOCKET => Failure::Lost,
            raw::LIBSSH2_ERROR_AUTHENTICATION_FAILED
            | raw::LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED
            | raw::LIBSSH2_ERROR_PASSWORD_EXPIRED
            | raw::LIBSSH2_ERROR_CHANNEL_FAILURE
            | raw::LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED => Failure::Refused,
            raw::LIBSSH2_ERROR_FILE => Failure::Key,
            _ => Failure::Other,
        }
    }

    /// The error of one who was about to connect.
    pub(super) fn connecting(self, host: &Host, error: &ssh2::Error) -> ConnectError {
        let address = host.display();
        match self {
            Failure::TimedOut => ConnectError::TimedOut { address, seconds: host.timeout.as_secs() },
            Failure::Lost => ConnectError::HungUp { address, reason: error.message().into() },
            _ => ConnectError::Handshake { address, reason: error.message().into() },
        }
    }
}

/// What is known of the last error where ssh2 only has an [`io::Error`].
pub(super) fn stream(error: io::Error, session: &Session) -> io::Error {
    let timed_out = matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock);
    let failure = if timed_out {
        Failure::TimedOut
    } else {
        ssh2::Error::last_session_error(session).as_ref().map_or(Failure::Other, Failure::of)
    };
    match failure {
        Failure::TimedOut => io::Error::new(io::ErrorKind::TimedOut, "nothing heard for the time-out"),
        Failure::Lost => io::Error::new(io::ErrorKind::ConnectionAborted, format!("connection lost: {error}")),
        _ => error,
    }
}

/// Why the banner or the key exchange failed.
pub(super) fn handshake(host: &Host, error: &ssh2::Error, session: Option<&Session>) -> ConnectError {
    let failure = Failure::of(error);
    let address = host.display();
    if failure == Failure::TimedOut {
        return failure.connecting(host, error);
    }
    let said = session.and_then(Session::banner_bytes).map(sanitised);
    match said {
        // sshd says so before its banner where it has too many connections.
        Some(said) if said.contains("MaxStartups") || said.starts_with("Not allowed at this time") => {
            ConnectError::HungUp { address, reason: said }
        }
        Some(said) if !said.starts_with("SSH-") => {
            ConnectError::Handshake { address, reason: format!("what answers there is no SSH server: {said:?}") }
        }
        None if failure == Failure::Lost => {
            ConnectError::HungUp { address, reason: "it closed the connection without a word".into() }
        }
        Some(_) if failure == Failure::Lost => {
            ConnectError::HungUp { address, reason: "it closed the connection during the key exchange".into() }
        }
        Some(_) if error.code() == ErrorCode::Session(raw::LIBSSH2_ERROR_KEX_FAILURE) => {
            if probe::lists_algorithms(host) {
                ConnectError::Unsupported { address, what: "the server takes no algorithm that ssh2 has".into() }
            } else {
                ConnectError::HungUp { address, reason: "it closed the connection before the key exchange".into() }
            }
        }
        _ => failure.connecting(host, error),
    }
}

/// A short line without control characters: it comes from a server that nobody vouches for.
fn sanitised(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(120).collect()
}
