//! Ways to reach a cluster: a byte stream that speaks SFTP, and commands beside it.
//!
//! Everything above this module is the same whichever way is taken: one SFTP client, one set of checks.

mod askpass;
mod complaint;
mod error;
mod openssh;
mod shell;
#[cfg(feature = "ssh2")]
mod ssh2;
#[cfg(feature = "ssh2")]
#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

pub use askpass::{ASKPASS_FILE, answer};
pub use error::ConnectError;

use super::host::Host;

/// A way to reach one cluster.
pub(crate) trait Transport: Send + Sync {
    /// Connects, verifies the host key, logs in and starts the SFTP subsystem.
    ///
    /// # Errors
    /// Why that cannot be; see [`ConnectError::is_transient`].
    fn connect(&self) -> Result<Box<dyn Connection>, ConnectError>;
    /// Runs a command of the remote shell, its input closed, and waits for it; at most `patience`, and at most
    /// [`OUTPUT_LIMIT`] bytes of its output. Commands run one after another.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`], or whatever ended the connection.
    fn execute(&self, command: &str, patience: Duration) -> io::Result<Executed>;
    /// Ends the command that runs, from another thread, and all that come after it.
    fn interrupter(&self) -> Breaker;
    /// Bytes to have in flight on one connection; more would only wait at the other end.
    fn window(&self) -> u64;
}

/// One connection that has logged in. What is read and written is the SFTP subsystem's stream.
///
/// A stream that says nothing for the time-out ends with [`io::ErrorKind::TimedOut`].
pub(crate) trait Connection: Read + Write + Send {
    /// Why the stream ended before the server's SFTP had answered, where the transport knows better than `error`.
    fn explain(&mut self, _error: &io::Error) -> Option<ConnectError> {
        None
    }
    /// Ends the connection from another thread: whoever waits for it is woken.
    fn breaker(&self) -> Breaker;
}

/// Ends something from another thread; it may be called more than once.
pub(crate) type Breaker = Box<dyn Fn() + Send + Sync>;

/// Output that is kept of a remote command.
pub(crate) const OUTPUT_LIMIT: u64 = 64 * 1024;

/// What a remote command came to.
#[derive(Debug)]
pub(crate) struct Executed {
    /// Its exit status, where it had one.
    pub(crate) status: Option<i32>,
    /// What it wrote to its standard output.
    pub(crate) stdout: Vec<u8>,
}

/// The system's OpenSSH client; `askpass` hands passwords to it.
pub(crate) fn openssh(host: &Host, askpass: Option<&Path>) -> Result<Box<dyn Transport>, ConnectError> {
    let made = openssh::OpenSsh::new(host.clone(), askpass);
    let failed = |error: io::Error| ConnectError::NoProgram { program: "ssh".into(), reason: error.to_string() };
    Ok(Box::new(made.map_err(failed)?))
}

/// Whether the system's OpenSSH client can log in to `host` without a person.
pub(crate) fn has_openssh(host: &Host, askpass: Option<&Path>) -> bool {
    let needs_password = host.password.is_some() || host.passphrase.is_some();
    (!needs_password || askpass.is_some()) && openssh::is_usable(needs_password)
}

/// libssh2, within this process.
#[cfg(feature = "ssh2")]
pub(crate) fn ssh2(host: &Host) -> Result<Box<dyn Transport>, ConnectError> {
    Ok(Box::new(ssh2::Ssh2::new(host.clone())))
}

/// libssh2, which this embstore was built without.
#[cfg(not(feature = "ssh2"))]
pub(crate) fn ssh2(host: &Host) -> Result<Box<dyn Transport>, ConnectError> {
    Err(ConnectError::Unsupported { address: host.display(), what: "this embstore was built without libssh2".into() })
}
