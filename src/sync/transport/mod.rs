//! Ways to reach a cluster: a byte stream that speaks SFTP, and commands beside it.
//!
//! Everything above this module is the same whichever way is taken: one SFTP client, one set of checks.

mod error;

use std::io::{self, Read, Write};
use std::time::Duration;

pub use error::ConnectError;

/// A way to reach one cluster.
pub(crate) trait Transport: Send + Sync {
    /// The word for it in options and results: `ssh2` or `openssh`.
    fn name(&self) -> &'static str;
    /// Connects, verifies the host key, logs in and starts the SFTP subsystem.
    ///
    /// # Errors
    /// Why that cannot be; see [`ConnectError::is_transient`].
    fn connect(&self) -> Result<Box<dyn Connection>, ConnectError>;
    /// Bytes to have in flight on one connection; more would only wait at the other end.
    fn window(&self) -> u64;
}

/// One connection that has logged in. What is read and written is the SFTP subsystem's stream.
///
/// A stream that says nothing for the time-out ends with [`io::ErrorKind::TimedOut`].
pub(crate) trait Connection: Read + Write + Send {
    /// Runs a command of the remote shell, its input closed, and waits for it; at most `patience`, and at most
    /// [`OUTPUT_LIMIT`] bytes of its output.
    fn execute(&mut self, command: &str, patience: Duration) -> io::Result<Executed>;
}

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
