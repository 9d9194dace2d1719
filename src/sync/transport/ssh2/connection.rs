//! A connection that has logged in: the stream of the SFTP subsystem, and commands beside it.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use ssh2::{Channel, ExtendedData};

use super::super::{Breaker, Connection, Executed, OUTPUT_LIMIT};
use super::{Link, failure, milliseconds};

pub(super) struct Ssh2Connection {
    channel: Channel,
    link: Link,
    timeout: Duration,
}

impl Ssh2Connection {
    pub(super) fn new(channel: Channel, link: Link, timeout: Duration) -> Self {
        Ssh2Connection { channel, link, timeout }
    }

    pub(super) fn start_sftp(&mut self) -> Result<(), ssh2::Error> {
        // What is written beside the stream would fill the window, unread.
        self.channel.handle_extended_data(ExtendedData::Ignore)?;
        self.channel.subsystem("sftp")
    }

    fn run(&self, command: &str, deadline: Instant) -> Result<Executed, io::Error> {
        let session = &self.link.session;
        // libssh2's time-out is one for each call.
        let tick = || {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the command takes too long"));
            }
            session.set_timeout(milliseconds(left));
            Ok(())
        };
        tick()?;
        let mut channel = session.channel_session()?;
        let result = (|| {
            channel.handle_extended_data(ExtendedData::Ignore)?;
            tick()?;
            channel.exec(command)?;
            channel.send_eof()?;
            let mut stdout = Vec::new();
            let mut buffer = [0; 8192];
            loop {
                tick()?;
                match channel.read(&mut buffer)? {
                    0 if channel.eof() => break,
                    read => stdout.extend_from_slice(&buffer[..read]),
                }
                if stdout.len() as u64 >= OUTPUT_LIMIT {
                    // How it ends is not waited for: it may write on for ever.
                    stdout.truncate(OUTPUT_LIMIT as usize);
                    return Ok(Executed { status: None, stdout });
                }
            }
            tick()?;
            channel.close()?;
            tick()?;
            channel.wait_close()?;
            // libssh2 has 0 where a signal has ended it.
            let signalled = channel.exit_signal().is_ok_and(|signal| signal.exit_signal.is_some());
            let status = if signalled { None } else { Some(channel.exit_status()?) };
            Ok(Executed { status, stdout })
        })();
        // To let go of a command that goes on running means to wait for its end; not for long.
        session.set_timeout(if result.is_ok() { milliseconds(self.timeout.min(PARTING)) } else { 100 });
        drop(channel);
        result
    }
}

/// How long the end of a command is waited for whose output is all there.
const PARTING: Duration = Duration::from_secs(1);

impl Connection for Ssh2Connection {
    fn execute(&mut self, command: &str, patience: Duration) -> io::Result<Executed> {
        let result = self.run(command, Instant::now() + patience);
        let result = result.map_err(|error| failure::stream(error, &self.link.session));
        self.link.session.set_timeout(milliseconds(self.timeout));
        result
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
