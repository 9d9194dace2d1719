//! A connection that has logged in: the stream of the SFTP subsystem.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use ssh2::{Channel, ExtendedData};

use super::super::{Breaker, ConnectError, Connection};
use super::{Link, failure};

pub(super) struct Ssh2Connection {
    channel: Channel,
    link: Link,
    /// Host and port, for messages.
    address: String,
    timeout: Duration,
}

impl Ssh2Connection {
    pub(super) fn new(channel: Channel, link: Link, address: String, timeout: Duration) -> Self {
        Ssh2Connection { channel, link, address, timeout }
    }

    pub(super) fn start_sftp(&mut self) -> Result<(), ssh2::Error> {
        // What is written beside the stream would fill the window, unread.
        self.channel.handle_extended_data(ExtendedData::Ignore)?;
        self.channel.subsystem("sftp")
    }
}

impl Connection for Ssh2Connection {
    fn explain(&mut self, error: &io::Error) -> Option<ConnectError> {
        let (address, seconds) = (self.address.clone(), self.timeout.as_secs());
        (error.kind() == io::ErrorKind::TimedOut).then_some(ConnectError::TimedOut { address, seconds })
    }

    fn breaker(&self) -> Breaker {
        // Without a socket of its own it can only be waited for.
        let socket = self.link.socket.try_clone().ok();
        Box::new(move || drop(socket.as_ref().map(|socket| socket.shutdown(Shutdown::Both))))
    }
}

impl Read for Ssh2Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match self.channel.read(buffer) {
                // libssh2 also says 0 where all that came was none of the stream.
                Ok(0) if !buffer.is_empty() && !self.channel.eof() => {
                    if Instant::now() > deadline {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Ok(read) => return Ok(read),
                Err(error) => return Err(failure::stream(error, &self.link.session)),
            }
        }
    }
}

impl Write for Ssh2Connection {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.channel.write(buffer).map_err(|error| failure::stream(error, &self.link.session))
    }

    /// Nothing is held back. libssh2 calls it flushing to throw away what has come in.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Ssh2Connection {
    fn drop(&mut self) {
        // Before the channel is closed, which would wait for the other end.
        self.link.hang_up();
    }
}
