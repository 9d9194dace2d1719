//! Why a cluster cannot be reached, each reason with its remedy.

use std::path::PathBuf;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nothing listens there.
    #[error("{address}: connection refused")]
    Refused {
        /// Host and port.
        address: String,
    },
    /// The name means no machine.
    #[error("{host}: unknown host: {reason}")]
    UnknownHost {
        /// The name.
        host: String,
        /// What the resolver says.
        reason: String,
    },
    /// No answer.
    #[error("{address}: no answer within {seconds} s")]
    TimedOut {
        /// Host and port.
        address: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The network does not lead there.
    #[error("{address}: cannot be reached: {reason}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// The user may not log in.
    #[error("{address}: login of {username} refused (tried: {tried})")]
    LoginRefused {
        /// Host and port.
        address: String,
        /// The user.
        username: String,
        /// The ways that were tried.
        tried: String,
    },
    /// No way to log in that the server offers can be had without a person or by this transport.
    #[error("{address}: no way to log in as {username}: the server takes {offered}, and there is {have}")]
    NoWayIn {
        /// Host and port.
        address: String,
        /// The user.
        username: String,
        /// What the server takes.
        offered: String,
        /// What could be tried.
        have: String,
    },
    /// A private key cannot be used.
    #[error("{}: the private key cannot be used: {reason}", path.display())]
    Key {
        /// The key.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The host has no key on record.
    #[error("{address}: unknown host: its {key_type} key {fingerprint} is not in {}", known_hosts.display())]
    HostKeyUnknown {
        /// Host and port.
        address: String,
        /// The type of the key.
        key_type: String,
        /// SHA-256 of the key, as OpenSSH writes it.
        fingerprint: String,
        /// Where it would be recorded.
        known_hosts: PathBuf,
    },
    /// The host shows another key than the one on record.
    #[error(
        "{address}: the host key has changed: {} line {line} has {recorded}, the server shows {offered}",
        known_hosts.display()
    )]
    HostKeyChanged {
        /// Host and port.
        address: String,
        /// Fingerprint on record.
        recorded: String,
        /// Fingerprint of the key that the server shows.
        offered: String,
        /// Where the key is on record.
        known_hosts: PathBuf,
        /// Which line of that file, from 1.
        line: usize,
    },
    /// The host shows a key that is marked as revoked.
    #[error("{address}: the host key {fingerprint} is revoked in {} line {line}", known_hosts.display())]
    HostKeyRevoked {
        /// Host and port.
        address: String,
        /// SHA-256 of the key, as OpenSSH writes it.
        fingerprint: String,
        /// Where it is revoked.
        known_hosts: PathBuf,
        /// Which line of that file, from 1.
        line: usize,
    },
    /// A file of known hosts cannot be read or written.
    #[error("{}: {what}", path.display())]
    KnownHosts {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Both sides have no algorithm in common, or the server is none of SSH.
    #[error("{address}: no SSH connection: {reason}")]
    Handshake {
        /// Host and port.
        address: String,
        /// What was said.
        reason: String,
    },
    /// The login worked, and the server has no SFTP.
    #[error("{address}: the server offers no SFTP: {reason}")]
    NoSftp {
        /// Host and port.
        address: String,
        /// What was said.
        reason: String,
    },
    /// The server hung up: it may have too many connections.
    #[error("{address}: the server hung up: {reason}")]
    HungUp {
        /// Host and port.
        address: String,
        /// What was said.
        reason: String,
    },
    /// The program of the transport is missing.
    #[error("cannot run {program}: {reason}")]
    NoProgram {
        /// The program.
        program: String,
        /// Why not.
        reason: String,
    },
    /// This transport cannot do what the host needs.
    #[error("{address}: {what}")]
    Unsupported {
        /// Host and port.
        address: String,
        /// What it needs.
        what: String,
    },
}

impl ConnectError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            ConnectError::Refused { .. } => {
                "check address and port in the credentials, and that sshd runs there: ssh USER@HOST".into()
            }
            ConnectError::UnknownHost { .. } => "check address in the credentials, and the network: ping HOST".into(),
            ConnectError::TimedOut { .. } | ConnectError::Unreachable { .. } => {
                "check the network, a VPN or firewall; a slow host may need a longer --timeout".into()
            }
            ConnectError::LoginRefused { .. } => {
                "check username and password (or identity_file) in the credentials; log in by hand: ssh USER@HOST"
                    .into()
            }
            ConnectError::NoWayIn { .. } => {
                "put a password or an identity_file into the credentials, or load a key: ssh-add".into()
            }
            ConnectError::Key { .. } => "check identity_file and passphrase in the credentials".into(),
            ConnectError::HostKeyUnknown { .. } => {
                "compare the fingerprint with the machine's own, then record it: --accept-new".into()
            }
            ConnectError::HostKeyChanged { known_hosts, line, .. } => format!(
                "someone may be listening in: ask who runs the machine; only if it was set up anew, remove line {line} of {}",
                known_hosts.display()
            ),
            ConnectError::HostKeyRevoked { .. } => "do not connect; ask who runs the machine".into(),
            ConnectError::KnownHosts { .. } => "mend the file, or name another: --known-hosts FILE".into(),
            ConnectError::Handshake { .. } => "check that address and port are those of an SSH server".into(),
            ConnectError::NoSftp { .. } => {
                "the server must have the SFTP subsystem (Subsystem sftp in its sshd_config)".into()
            }
            ConnectError::HungUp { .. } => "use fewer connections: --jobs 1".into(),
            ConnectError::NoProgram { .. } => "install the OpenSSH client, or use --transport ssh2".into(),
            ConnectError::Unsupported { .. } => "use the system's OpenSSH client: --transport openssh".into(),
        }
    }

    /// Whether the other transport may have the means that this one lacks.
    pub(crate) fn is_beyond_this_transport(&self) -> bool {
        matches!(self, ConnectError::NoWayIn { .. } | ConnectError::Unsupported { .. } | ConnectError::Handshake { .. })
    }

    /// Whether another try may succeed, once the server has been reached before. A refused login or host key is never
    /// tried again; a server that had SFTP before was cut off before it could greet.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(
            self,
            ConnectError::Refused { .. }
                | ConnectError::TimedOut { .. }
                | ConnectError::Unreachable { .. }
                | ConnectError::HungUp { .. }
                | ConnectError::NoSftp { .. }
        )
    }
}
