//! The system's OpenSSH client as transport: `ssh … -s HOST sftp`, its standard input and output are the stream.
//!
//! It reads `~/.ssh/config` itself, and so knows jump hosts, hardware keys and Kerberos. It is told nothing on its
//! command line that others may not see: passwords go to it through [`askpass`](super::askpass).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::askpass::Secrets;
use super::shell::Shell;
use super::{Breaker, ConnectError, Connection, Executed, Transport, complaint};
use crate::sync::host::Host;

const PROGRAM: &str = "ssh";
/// The window of OpenSSH's channels is 2 MiB; as much again waits in its buffers and the pipe.
const WINDOW: u64 = 4 * 1024 * 1024;
/// Fast where the processor has instructions for AES. OpenSSH prefers another by default.
const FAST_CIPHER: &str = "aes128-gcm@openssh.com";
/// What is kept of what ssh says: it says little before it fails.
const LONGEST_COMPLAINT: u64 = 256 * 1024;
/// A login is waited for at least so long.
const SHORTEST_LOGIN: Duration = Duration::from_secs(30);
/// Asks for a password without a terminal from this version on (`SSH_ASKPASS_REQUIRE`).
const OLDEST: (u32, u32) = (8, 4);

/// Reaches a host through the system's ssh.
pub(crate) struct OpenSsh(Arc<Shared>);

/// What the connections to one host have in common.
struct Shared {
    host: Host,
    secrets: Option<Secrets>,
    /// Runs the commands of all connections, one after another.
    shell: Mutex<Option<Shell>>,
    is_over: AtomicBool,
}

impl OpenSsh {
    /// `askpass` is the program that hands on passwords; without it there are none.
    pub(crate) fn new(host: Host, askpass: Option<&Path>) -> io::Result<Self> {
        let secrets = match askpass {
            Some(program) => Secrets::of(&host, program)?,
            None => None,
        };
        let (shell, is_over) = (Mutex::new(None), AtomicBool::new(false));
        Ok(OpenSsh(Arc::new(Shared { host, secrets, shell, is_over })))
    }
}

impl Shared {
    fn command(&self) -> Command {
        let host = &self.host;
        let seconds = host.timeout.as_secs().max(1);
        let mut command = Command::new(PROGRAM);
        if let Some(config) = &host.ssh_config {
            command.arg("-F").arg(config);
        }
        // Its messages say what it tried and what the server offers; they are read only where it fails.
        command.args(["-v", "-a", "-x", "-T"]);
        let mut option = |text: String| {
            command.arg("-o").arg(text);
        };
        option(format!("ConnectTimeout={seconds}"));
        option(format!("ServerAliveInterval={}", seconds.div_ceil(2)));
        option("ServerAliveCountMax=2".into());
        option(format!("StrictHostKeyChecking={}", if host.accept_new { "accept-new" } else { "yes" }));
        option(format!("UserKnownHostsFile={}", quoted(&host.known_hosts)));
        option("GlobalKnownHostsFile=/dev/null".into());
        for setting in [
            "UpdateHostKeys=no",
            "ControlMaster=no",
            "ClearAllForwardings=yes",
            "RemoteCommand=none",
            "PermitLocalCommand=no",
            "Compression=no",
            "EscapeChar=none",
        ] {
            option(setting.into());
        }
        if let Some(ciphers) = fast_ciphers(&host.ciphers) {
            option(format!("Ciphers={ciphers}"));
        }
        match (&host.identity_file, &host.password) {
            (Some(_), _) => {
                option("IdentitiesOnly=yes".into());
                option("PreferredAuthentications=publickey,password,keyboard-interactive".into());
            }
            (None, Some(_)) => option("PreferredAuthentications=password,keyboard-interactive".into()),
            (None, None) => {}
        }
        option(format!("BatchMode={}", if self.secrets.is_some() { "no" } else { "yes" }));
        option("NumberOfPasswordPrompts=1".into());
        if let Some(key) = &host.identity_file {
            command.arg("-i").arg(key);
        }
        command.args(["-p", &host.port.to_string(), "-l", &host.username]);
        match &self.secrets {
            Some(secrets) => secrets.give_to(&mut command),
            // Nobody is there to answer.
            None => drop(command.env("SSH_ASKPASS_REQUIRE", "never")),
        }
        command
    }

    fn spawn(&self, arguments: &[&str]) -> io::Result<(Child, File)> {
        let complaints = tempfile::tempfile()?;
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(complaints.try_clone()?);
        Ok((command.spawn()?, complaints))
    }

    fn execute(&self, command: &str, patience: Duration) -> io::Result<Executed> {
        let mut shell = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        if !shell.as_mut().is_some_and(Shell::is_alive) {
            let (child, _complaints) = self.spawn(&[&self.host.name, "exec sh"])?;
            *shell = Some(Shell::new(child)?);
        }
        let running = shell.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        let done = running.run(command, Instant::now() + patience, &self.is_over);
        if !done.as_ref().is_ok_and(|done| done.status.is_some()) {
            *shell = None;
        }
        done
    }
}

impl Transport for OpenSsh {
    fn connect(&self) -> Result<Box<dyn Connection>, ConnectError> {
        let failed = |error: io::Error| ConnectError::NoProgram { program: PROGRAM.into(), reason: error.to_string() };
        let (mut child, complaints) = self.0.spawn(&["-s", &self.0.host.name, "sftp"]).map_err(failed)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(io::ErrorKind::BrokenPipe.into()));
        };
        widen(&output);
        let child = Arc::new(Mutex::new(child));
        Ok(Box::new(Process { shared: Arc::clone(&self.0), child, input, output, complaints, has_spoken: false }))
    }

    fn execute(&self, command: &str, patience: Duration) -> io::Result<Executed> {
        self.0.execute(command, patience)
    }

    fn interrupter(&self) -> Breaker {
        let shared = Arc::clone(&self.0);
        Box::new(move || shared.is_over.store(true, Ordering::Relaxed))
    }

    fn window(&self) -> u64 {
        WINDOW
    }
}

/// A running ssh.
struct Process {
    shared: Arc<Shared>,
    child: Arc<Mutex<Child>>,
    input: ChildStdin,
    output: ChildStdout,
    complaints: File,
    /// Whether the server's SFTP has answered.
    has_spoken: bool,
}

impl Process {
    /// How long nothing may be heard. For a login it is longer: a person may have to touch a key.
    fn patience(&self) -> Duration {
        let timeout = self.shared.host.timeout;
        if self.has_spoken { timeout } else { timeout.max(SHORTEST_LOGIN / 2) * 2 }
    }
}

impl Read for Process {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        wait(&self.output, self.patience())?;
        let count = self.output.read(buffer)?;
        self.has_spoken |= count > 0;
        Ok(count)
    }
}

impl Write for Process {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.input.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.input.flush()
    }
}

impl Connection for Process {
    fn explain(&mut self, error: &io::Error) -> Option<ConnectError> {
        let host = &self.shared.host;
        if error.kind() == io::ErrorKind::TimedOut {
            return Some(ConnectError::TimedOut { address: host.display(), seconds: self.patience().as_secs() });
        }
        // The stream ends a moment before the process does, and that before its last words.
        let _ = self.child.lock().unwrap_or_else(PoisonError::into_inner).wait();
        let mut said = Vec::new();
        self.complaints.seek(SeekFrom::Start(0)).ok()?;
        (&self.complaints).take(LONGEST_COMPLAINT).read_to_end(&mut said).ok()?;
        Some(complaint::read(&String::from_utf8_lossy(&said), host))
    }

    fn breaker(&self) -> Breaker {
        let child = Arc::clone(&self.child);
        Box::new(move || {
            // Where it has ended already there is nothing to kill.
            let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Whether an ssh is installed that can be used, with a password where one is needed.
pub(crate) fn is_usable(needs_password: bool) -> bool {
    let Ok(output) = Command::new(PROGRAM).arg("-V").stdin(Stdio::null()).output() else { return false };
    let version = version(&String::from_utf8_lossy(&output.stderr));
    version.is_some_and(|version| !needs_password || version >= OLDEST)
}

/// The version out of `OpenSSH_9.2p1 Debian-2, OpenSSL 3.0.19`.
fn version(text: &str) -> Option<(u32, u32)> {
    let (major, rest) = text.split_once("OpenSSH_")?.1.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The ciphers that the configuration allows, the fast one first where it is among them and is fast here.
fn fast_ciphers(allowed: &[String]) -> Option<String> {
    #[cfg(target_arch = "x86_64")]
    let is_fast = std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    let is_fast = std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let is_fast = false;
    if !is_fast || !allowed.iter().any(|cipher| cipher == FAST_CIPHER) {
        return None;
    }
    let others = allowed.iter().map(String::as_str).filter(|&cipher| cipher != FAST_CIPHER);
    Some(std::iter::once(FAST_CIPHER).chain(others).collect::<Vec<_>>().join(","))
}

/// Paths for a configuration value, which splits at blanks and expands `%`.
fn quoted(paths: &[PathBuf]) -> String {
    let quote = |path: &PathBuf| format!("\"{}\"", path.display().to_string().replace('%', "%%").replace('"', "\\\""));
    paths.iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// Waits until there is something to read, or the end.
pub(super) fn wait(output: &ChildStdout, patience: Duration) -> io::Result<()> {
    let mut events = [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN)];
    let patience = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: i64::from(patience.subsec_nanos()) };
    match poll(&mut events, Some(&patience)) {
        Ok(0) => Err(io::ErrorKind::TimedOut.into()),
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A wider pipe has fewer changes of process; where it is refused it stays as it is.
fn widen(output: &ChildStdout) {
    #[cfg(target_os = "linux")]
    let _ = rustix::pipe::fcntl_setpipe_size(output, 1 << 20);
    #[cfg(not(target_os = "linux"))]
    let _ = output;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(version("OpenSSH_9.2p1 Debian-2+deb12u6, OpenSSL 3.0.19"), Some((9, 2)));
        assert_eq!(version("OpenSSH_for_Windows_8.1p1, LibreSSL 3.0.2"), None);
        assert_eq!(version("OpenSSH_10.0p2"), Some((10, 0)));
        assert_eq!(version("dropbear"), None);
    }

    #[test]
    fn ciphers_are_only_put_in_another_order() {
        let allowed = ["aes256-ctr", FAST_CIPHER, "aes128-ctr"].map(String::from);
        if let Some(ciphers) = fast_ciphers(&allowed) {
            assert_eq!(ciphers, "aes128-gcm@openssh.com,aes256-ctr,aes128-ctr");
        }
        assert_eq!(fast_ciphers(&allowed[..1]), None, "what is not allowed is not used");
        assert_eq!(fast_ciphers(&[]), None);
    }
}
