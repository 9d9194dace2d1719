//! Where a cluster is and who logs in: its credentials, completed by `~/.ssh/config` as the system's ssh reads it.

use std::path::PathBuf;
use std::time::Duration;

use super::credentials::Secret;

/// All that a transport needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// The address as the credentials have it: what `~/.ssh/config` may know under that name.
    pub(crate) name: String,
    /// Host name or IP address to connect to.
    pub(crate) address: String,
    pub(crate) port: u16,
    pub(crate) username: String,
    pub(crate) password: Option<Secret>,
    /// The private key that is asked for.
    pub(crate) identity_file: Option<PathBuf>,
    pub(crate) passphrase: Option<Secret>,
    /// Private keys to try where none is asked for and there is no password.
    pub(crate) default_keys: Vec<PathBuf>,
    /// Whether `~/.ssh/config` leads through another machine.
    pub(crate) is_proxied: bool,
    /// Ciphers that the configuration allows, in its order; empty where it is not known.
    pub(crate) ciphers: Vec<String>,
    /// Files of known hosts; a new key is recorded in the first.
    pub(crate) known_hosts: Vec<PathBuf>,
    /// Another file than `~/.ssh/config`.
    pub(crate) ssh_config: Option<PathBuf>,
    /// Whether the key of a host that is not known is recorded.
    pub(crate) accept_new: bool,
    /// How long nothing may be heard.
    pub(crate) timeout: Duration,
}

impl Host {
    /// Host and port, as messages and files of known hosts have them.
    pub(crate) fn display(&self) -> String {
        if self.port == 22 { self.address.clone() } else { format!("{}:{}", self.address, self.port) }
    }
}
