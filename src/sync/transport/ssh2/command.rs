//! Commands of the remote shell.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use ssh2::ExtendedData;

use super::super::{Executed, OUTPUT_LIMIT};
use super::{Link, failure, milliseconds};

/// How long the end of a command is waited for whose output is all there.
const PARTING: Duration = Duration::from_secs(1);

impl Link {
    /// Runs a command in a shell of its own on this session.
    pub(super) fn run(&self, command: &str, deadline: Instant, timeout: Duration) -> io::Result<Executed> {
        let session = &self.session;
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
            // The user's own shell may be one that does not understand the command.
            channel.exec("exec sh")?;
            channel.write_all(format!("( {command}\n) </dev/null\n").as_bytes())?;
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
        session.set_timeout(if result.is_ok() { milliseconds(timeout.min(PARTING)) } else { 100 });
        drop(channel);
        session.set_timeout(milliseconds(timeout));
        result.map_err(|error: io::Error| failure::stream(error, session))
    }
}
