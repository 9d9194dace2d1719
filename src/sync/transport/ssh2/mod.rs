//! SSH by libssh2, within this process: no program is needed, and a password is never handed on.
//!
//! Only the bytes of the SFTP subsystem go through libssh2; its own SFTP client asks for 30,000 bytes at a time.

mod command;
mod connection;
mod failure;
mod key;
mod login;
mod probe;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ssh2::{MethodType, Session};

use self::connection::Ssh2Connection;
use self::failure::Failure;
use super::{Breaker, ConnectError, Connection, Executed, Transport};
use crate::sync::host::Host;
use crate::sync::known_hosts::{self, KnownHosts, Verdict};

/// Bytes that the server may send before it hears that they have been read.
const WINDOW: u32 = 16 * 1024 * 1024;
/// Bytes in a packet of SSH.
const PACKET: u32 = 32768;

/// The transport to one host.
pub(crate) struct Ssh2 {
    host: Host,
    /// Runs the commands, one after another; made when the first one comes.
    side: Mutex<Option<Link>>,
    ending: Arc<Ending>,
}

/// How connections are ended from another thread that have no breaker yet, or never will: those that are being made, and
/// that of the commands.
#[derive(Default)]
struct Ending {
    sockets: Mutex<Vec<TcpStream>>,
    is_over: AtomicBool,
}

impl Ending {
    /// Keeps a handle of `socket`; returns what [`Ending::release`] knows it by.
    fn keep(&self, socket: &TcpStream) -> Option<RawFd> {
        // Without a handle it can only be waited for.
        let handle = socket.try_clone().ok()?;
        let number = handle.as_raw_fd();
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
        Some(number)
    }

    fn release(&self, number: Option<RawFd>) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.retain(|socket| Some(socket.as_raw_fd()) != number);
    }
}

impl Ssh2 {
    pub(crate) fn new(host: Host) -> Self {
        Ssh2 { host, side: Mutex::new(None), ending: Arc::default() }
    }

    fn log_in(&self) -> Result<Link, ConnectError> {
        if self.host.is_proxied {
            let what = "the ssh configuration leads through another machine, which ssh2 cannot follow".into();
            return Err(ConnectError::Unsupported { address: self.host.display(), what });
        }
        let socket = dial(&self.host)?;
        let kept = self.ending.keep(&socket);
        let link = self.handshake(socket).and_then(|link| {
            login::log_in(&self.host, &link.session)?;
            Ok(link)
        });
        self.ending.release(kept);
        link
    }

    fn handshake(&self, socket: TcpStream) -> Result<Link, ConnectError> {
        let failed = |error: &ssh2::Error, session: Option<&Session>| failure::handshake(&self.host, error, session);
        let mut session = Session::new().map_err(|error| failed(&error, None))?;
        session.set_timeout(milliseconds(self.host.timeout));
        let spare = socket.try_clone().map_err(|error| unreachable(&self.host, &error))?;
        session.set_tcp_stream(socket);
        let mut link = Link { session, socket: spare };

        let known = KnownHosts::read(&self.host.known_hosts)?;
        let (name, port) = self.host.on_record();
        prefer(&link.session, MethodType::HostKey, |supported| host_key_types(known.key_types(name, port), supported))
            .map_err(|error| failed(&error, None))?;
        if !self.host.ciphers.is_empty() {
            for direction in [MethodType::CryptCs, MethodType::CryptSc] {
                prefer(&link.session, direction, |supported| allowed(&self.host.ciphers, supported))
                    .map_err(|error| failed(&error, None))?;
            }
        }
        link.session.handshake().map_err(|error| failed(&error, Some(&link.session)))?;
        self.verify(&link.session, &known)?;
        Ok(link)
    }

    /// Judges the key that the host has shown.
    fn verify(&self, session: &Session, known: &KnownHosts) -> Result<(), ConnectError> {
        let address = self.host.display();
        let Some((key, _)) = session.host_key() else {
            return Err(ConnectError::Handshake { address, reason: "it shows no host key".into() });
        };
        let (name, port) = self.host.on_record();
        let mut verdict = known.check(name, port, key);
        let first = self.host.known_hosts.first().cloned().unwrap_or_default();
        if verdict == Verdict::Unknown && self.host.accept_new {
            verdict = known_hosts::record(&first, name, port, key)?;
        }
        let fingerprint = known_hosts::fingerprint(key);
        match verdict {
            Verdict::Known => Ok(()),
            Verdict::Unknown => {
                let key_type = known_hosts::key_type(key).unwrap_or("unreadable").to_owned();
                Err(ConnectError::HostKeyUnknown { address, key_type, fingerprint, known_hosts: first })
            }
            Verdict::Changed { recorded, file, line } => {
                let offered = known_hosts::described(key);
                Err(ConnectError::HostKeyChanged { address, recorded, offered, known_hosts: file, line })
            }
            Verdict::Revoked { file, line } => {
                Err(ConnectError::HostKeyRevoked { address, fingerprint, known_hosts: file, line })
            }
        }
    }
}

impl Transport for Ssh2 {
    fn connect(&self) -> Result<Box<dyn Connection>, ConnectError> {
        let link = self.log_in()?;
        let failed = |error: &ssh2::Error| match Failure::of(error) {
            Failure::Refused | Failure::Other => {
                ConnectError::NoSftp { address: self.host.display(), reason: error.message().into() }
            }
            other => other.connecting(&self.host, error),
        };
        let channel = link.session.channel_open("session", WINDOW, PACKET, None).map_err(|error| failed(&error))?;
        let mut connection = Ssh2Connection::new(channel, link, self.host.display(), self.host.timeout);
        connection.start_sftp().map_err(|error| failed(&error))?;
        Ok(Box::new(connection))
    }

    fn execute(&self, command: &str, patience: Duration) -> io::Result<Executed> {
        let deadline = Instant::now() + patience;
        let mut side = self.side.lock().unwrap_or_else(PoisonError::into_inner);
        if self.ending.is_over.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let link = match side.take() {
            Some(link) => link,
            None => {
                let link = self.log_in().map_err(io::Error::other)?;
                self.ending.keep(&link.socket);
                link
            }
        };
        let done = link.run(command, deadline, self.host.timeout)?;
        *side = Some(link);
        Ok(done)
    }

    fn interrupter(&self) -> Breaker {
        let ending = Arc::clone(&self.ending);
        Box::new(move || {
            ending.is_over.store(true, Ordering::Relaxed);
            for socket in &*ending.sockets.lock().unwrap_or_else(PoisonError::into_inner) {
                // It may have been hung up already.
                let _ = socket.shutdown(Shutdown::Both);
            }
        })
    }

    fn window(&self) -> u64 {
        u64::from(WINDOW)
    }
}

/// A session and the socket below it.
struct Link {
    session: Session,
    socket: TcpStream,
}

impl Link {
    /// After this nothing that libssh2 does can wait for the other end.
    fn hang_up(&self) {
        // It may have been hung up already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.hang_up();
    }
}

/// Tries every address of the host in turn.
fn dial(host: &Host) -> Result<TcpStream, ConnectError> {
    let unknown = |reason: String| ConnectError::UnknownHost { host: host.address.clone(), reason };
    let addresses = (host.address.as_str(), host.port).to_socket_addrs().map_err(|error| unknown(error.to_string()))?;
    let mut last = unknown("it has no address".into());
    for address in addresses {
        match connect(address, host.timeout) {
            Ok(socket) => return Ok(socket),
            // Whoever answered, be it with a refusal, tells more than a network that does not lead there.
            Err(_) if matches!(last, ConnectError::Refused { .. } | ConnectError::TimedOut { .. }) => {}
            Err(error) => last = unreachable(host, &error),
        }
    }
    Err(last)
}

fn connect(address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&address, timeout.max(Duration::from_millis(1)))?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

fn unreachable(host: &Host, error: &io::Error) -> ConnectError {
    let address = host.display();
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectError::Refused { address },
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            ConnectError::TimedOut { address, seconds: host.timeout.as_secs() }
        }
        _ => ConnectError::Unreachable { address, reason: error.to_string() },
    }
}

/// Sets which algorithms may be agreed on, and in which order.
fn prefer(
    session: &Session,
    what: MethodType,
    choose: impl FnOnce(&[&'static str]) -> Vec<String>,
) -> Result<(), ssh2::Error> {
    let chosen = choose(&session.supported_algs(what)?);
    if chosen.is_empty() { Ok(()) } else { session.method_pref(what, &chosen.join(",")) }
}

/// The types on record first. Certificates, which libssh2 would ask for first, are never taken: it verifies no
/// authority.
fn host_key_types(on_record: Vec<String>, supported: &[&str]) -> Vec<String> {
    let mut types = on_record;
    types.retain(|kind| supported.contains(&kind.as_str()));
    for kind in supported.iter().filter(|kind| !kind.contains("-cert-")) {
        if !types.iter().any(|chosen| chosen == kind) {
            types.push((*kind).to_owned());
        }
    }
    types
}

/// Those that the configuration allows, in the order of libssh2: what is fast elsewhere need not be fast in it.
fn allowed(configured: &[String], supported: &[&str]) -> Vec<String> {
    let allowed = supported.iter().filter(|cipher| configured.iter().any(|configured| configured == *cipher));
    allowed.map(|cipher| (*cipher).to_owned()).collect()
}

/// For libssh2, which takes 0 for no limit.
fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX).max(1)
}
