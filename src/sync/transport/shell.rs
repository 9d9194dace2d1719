//! A remote shell that runs one command after another: to log in again for each would cost more than most commands do.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::openssh::wait;
use super::{Executed, OUTPUT_LIMIT};

/// ssh's own failures, which are none of the command.
const FAILURE_OF_SSH: i32 = 255;
/// Between two looks at whether to go on.
const GLANCE: Duration = Duration::from_millis(100);

/// A running `ssh HOST exec sh`.
pub(super) struct Shell {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    /// Tells the end of a command's output from the output.
    token: String,
    heard: Vec<u8>,
    has_greeted: bool,
}

impl Shell {
    /// Takes over an ssh that runs a shell on its standard input and output.
    pub(super) fn new(mut child: Child) -> io::Result<Self> {
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let token = format!("embstore-{}-{}", std::process::id(), now.as_nanos());
        let mut shell = Shell { child, input, output, token, heard: Vec::new(), has_greeted: false };
        // What a shell says of itself when it starts is no output of a command.
        shell.send(":")?;
        Ok(shell)
    }

    /// Runs a command with its input closed. `is_over` ends the waiting. After an error the shell is of no more use.
    pub(super) fn run(&mut self, command: &str, deadline: Instant, is_over: &AtomicBool) -> io::Result<Executed> {
        let sent = self.send(command);
        if !self.has_greeted && self.end_of_output(deadline, is_over)?.is_some() {
            self.has_greeted = true;
        }
        if sent.is_ok()
            && self.has_greeted
            && let Some(done) = self.end_of_output(deadline, is_over)?
        {
            return Ok(done);
        }
        self.ended(deadline)
    }

    fn send(&mut self, command: &str) -> io::Result<()> {
        let Shell { input, token, .. } = self;
        write!(input, "( {command}\n) </dev/null\nprintf '\\n%s %s\\n' {token} $?\n")?;
        input.flush()
    }

    /// Reads up to the next token; nothing where the stream ends before.
    fn end_of_output(&mut self, deadline: Instant, is_over: &AtomicBool) -> io::Result<Option<Executed>> {
        let mark = format!("\n{} ", self.token).into_bytes();
        let mut buffer = [0; 4096];
        loop {
            if let Some(at) = self.heard.windows(mark.len()).position(|window| window == mark) {
                let rest = &self.heard[at + mark.len()..];
                if let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                    let status = std::str::from_utf8(&rest[..end]).ok().and_then(|text| text.parse().ok());
                    let stdout = self.heard[..at].to_vec();
                    self.heard.drain(..at + mark.len() + end + 1);
                    return Ok(Some(Executed { status, stdout }));
                }
            }
            if self.heard.len() as u64 > OUTPUT_LIMIT {
                return Ok(Some(Executed { status: None, stdout: std::mem::take(&mut self.heard) }));
            }
            if is_over.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            match wait(&self.output, GLANCE.min(deadline.saturating_duration_since(Instant::now()))) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut && Instant::now() < deadline => continue,
                waited => waited?,
            }
            match self.output.read(&mut buffer)? {
                0 => return Ok(None),
                count => self.heard.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// The shell has ended by itself: the user may have none.
    fn ended(&mut self, deadline: Instant) -> io::Result<Executed> {
        while self.child.try_wait()?.is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        match self.child.try_wait()?.and_then(|status| status.code()) {
            None | Some(FAILURE_OF_SSH) => Err(io::ErrorKind::ConnectionAborted.into()),
            status => Ok(Executed { status, stdout: std::mem::take(&mut self.heard) }),
        }
    }

    /// Whether another command can be run.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Where it has ended already there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
