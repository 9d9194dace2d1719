//! Where a cluster is and who logs in: its credentials, completed by `~/.ssh/config` as the system's ssh reads it.

mod ssh_config;

use std::path::{Path, PathBuf};
use std::time::Duration;

use self::ssh_config::SshConfig;
use super::credentials::{Credentials, Secret};

/// Why it cannot be told where a host is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The system's ssh cannot be asked.
    #[error("cannot run ssh: {reason}")]
    Run {
        /// Why not.
        reason: String,
    },
    /// The system's ssh does not take its configuration.
    #[error("{host}: ssh cannot read its configuration: {reason}")]
    Config {
        /// The host.
        host: String,
        /// What it says.
        reason: String,
    },
}

impl HostError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            HostError::Run { .. } => "check that ssh runs here: ssh -V".into(),
            HostError::Config { host, .. } => {
                format!("mend ~/.ssh/config, or name another: --ssh-config FILE; to try it: ssh -G {host}")
            }
        }
    }
}

/// What the caller wants of every host.
#[derive(Clone, Debug)]
pub(crate) struct HostOptions {
    /// The only file of known hosts.
    pub(crate) known_hosts: Option<PathBuf>,
    /// Another file than `~/.ssh/config`.
    pub(crate) ssh_config: Option<PathBuf>,
    /// Whether the key of a host that is not known is recorded.
    pub(crate) accept_new: bool,
    /// How long nothing may be heard.
    pub(crate) timeout: Duration,
    /// What `~` stands for.
    pub(crate) home: PathBuf,
}

/// All that a transport needs to know.
#[cfg_attr(not(feature = "ssh2"), allow(dead_code, reason = "OpenSSH finds it out by itself"))]
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
    /// The name under which its key is on record, whatever the port, where that is not the address.
    pub(crate) host_key_alias: Option<String>,
    /// Another file than `~/.ssh/config`.
    pub(crate) ssh_config: Option<PathBuf>,
    /// Whether the key of a host that is not known is recorded.
    pub(crate) accept_new: bool,
    /// How long nothing may be heard.
    pub(crate) timeout: Duration,
}

impl Host {
    /// Asks the system's ssh what it knows of the host; where none is installed, the credentials must do.
    ///
    /// # Errors
    /// There is an ssh, and it fails.
    pub(crate) fn resolve(credentials: &Credentials, options: &HostOptions) -> Result<Self, HostError> {
        let config = SshConfig::ask(credentials, options)?;
        Ok(Host::complete(credentials, options, config))
    }

    /// `config` is nothing where there is no ssh.
    fn complete(credentials: &Credentials, options: &HostOptions, config: Option<SshConfig>) -> Self {
        let config = config.unwrap_or_else(|| SshConfig::without_ssh(&options.home));
        let known_hosts = match &options.known_hosts {
            Some(only) => vec![only.clone()],
            None => {
                // OpenSSH takes `~` from the user database; what the caller calls home comes first.
                let mut files = vec![options.home.join(".ssh/known_hosts")];
                for file in config.known_hosts {
                    if !files.contains(&file) {
                        files.push(file);
                    }
                }
                files
            }
        };
        Host {
            name: credentials.address.clone(),
            address: config.address.unwrap_or_else(|| credentials.address.clone()),
            port: credentials.port.or(config.port).unwrap_or(22),
            username: credentials.username.clone(),
            password: credentials.password.clone(),
            identity_file: credentials.identity_file.as_deref().map(|path| expand(path, &options.home)),
            passphrase: credentials.passphrase.clone(),
            default_keys: config.identity_files.into_iter().filter(|path| path.is_file()).collect(),
            is_proxied: config.is_proxied,
            ciphers: config.ciphers,
            known_hosts,
            host_key_alias: config.host_key_alias,
            ssh_config: options.ssh_config.clone(),
            accept_new: options.accept_new,
            timeout: options.timeout,
        }
    }

    /// Host and port, as messages and files of known hosts have them.
    pub(crate) fn display(&self) -> String {
        if self.port == 22 { self.address.clone() } else { format!("{}:{}", self.address, self.port) }
    }

    /// Name and port under which its key is on record.
    #[cfg(any(test, feature = "ssh2"))]
    pub(crate) fn on_record(&self) -> (&str, u16) {
        match &self.host_key_alias {
            Some(alias) => (alias, 22),
            None => (&self.address, self.port),
        }
    }
}

/// A leading `~/` stands for `home`.
fn expand(path: &Path, home: &Path) -> PathBuf {
    path.strip_prefix("~").map_or_else(|_| path.into(), |rest| home.join(rest))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn credentials(port: Option<u16>) -> Credentials {
        Credentials {
            address: "gpu".into(),
            username: "ada".into(),
            password: None,
            port,
            identity_file: Some("~/key".into()),
            passphrase: None,
            remote_dir: None,
        }
    }

    fn options(home: &Path) -> HostOptions {
        HostOptions {
            known_hosts: None,
            ssh_config: None,
            accept_new: false,
            timeout: Duration::from_secs(30),
            home: home.into(),
        }
    }

    /// Nothing where there is no ssh.
    fn resolve(config: &str, port: Option<u16>, home: &Path) -> Option<Result<Host, HostError>> {
        let file = home.join("config");
        fs::write(&file, config).unwrap();
        let options = HostOptions { ssh_config: Some(file), ..options(home) };
        match SshConfig::ask(&credentials(port), &options) {
            Ok(None) => {
                eprintln!("skipped: ssh is not installed");
                None
            }
            Ok(config) => Some(Ok(Host::complete(&credentials(port), &options, config))),
            Err(error) => Some(Err(error)),
        }
    }

    #[test]
    fn without_ssh_the_credentials_do() {
        let home = tempfile::tempdir().unwrap();
        let ssh = home.path().join(".ssh");
        fs::create_dir(&ssh).unwrap();
        for name in ["id_rsa", "id_ed25519"] {
            fs::write(ssh.join(name), "").unwrap();
        }
        let host = Host::complete(&credentials(None), &options(home.path()), None);
        assert_eq!((host.address.as_str(), host.port, host.is_proxied), ("gpu", 22, false));
        assert_eq!(host.default_keys, [ssh.join("id_ed25519"), ssh.join("id_rsa")]);
        assert_eq!(host.identity_file, Some(home.path().join("key")));
        assert_eq!(host.known_hosts[0], ssh.join("known_hosts"));
        assert_eq!(host.known_hosts[1], Path::new("/etc/ssh/ssh_known_hosts"));
        assert_eq!((host.display().as_str(), host.on_record()), ("gpu", ("gpu", 22)));
    }

    #[test]
    fn the_configuration_of_ssh_completes_the_credentials() {
        let home = tempfile::tempdir().unwrap();
        let key = home.path().join("gpu.example.org ada");
        fs::write(&key, "").unwrap();
        let config = format!(
            "Host gpu\n HostName gpu.example.org\n Port 2200\n User other\n Ciphers aes128-gcm@openssh.com,aes256-ctr\n \
             IdentityFile /none\n IdentityFile \"{}/%h %r\"\n UserKnownHostsFile /a /b\n HostKeyAlias Farm\n \
             GlobalKnownHostsFile none\n",
            home.path().display()
        );
        let Some(host) = resolve(&config, None, home.path()) else { return };
        let host = host.unwrap();
        assert_eq!((host.name.as_str(), host.display().as_str()), ("gpu", "gpu.example.org:2200"));
        assert_eq!((host.username.as_str(), host.is_proxied), ("ada", false));
        assert_eq!(host.default_keys, [key]);
        assert_eq!(host.ciphers, ["aes128-gcm@openssh.com", "aes256-ctr"]);
        let known_hosts = [home.path().join(".ssh/known_hosts"), "/a".into(), "/b".into()];
        assert_eq!(host.known_hosts, known_hosts);
        assert_eq!(host.on_record(), ("farm", 22));

        let host = resolve(&config, Some(2222), home.path()).unwrap().unwrap();
        assert_eq!(host.port, 2222);
    }

    #[test]
    fn a_way_through_another_machine_is_seen() {
        let home = tempfile::tempdir().unwrap();
        for (line, expected) in [
            ("ProxyJump gate", true),
            ("ProxyCommand nc %h %p", true),
            ("ProxyJump none", false),
            ("ProxyCommand none", false),
        ] {
            let Some(host) = resolve(&format!("Host gpu\n {line}\n"), None, home.path()) else { return };
            assert_eq!(host.unwrap().is_proxied, expected, "{line}");
        }
    }

    #[test]
    fn a_broken_configuration_is_an_error_that_says_where() {
        let home = tempfile::tempdir().unwrap();
        let Some(result) = resolve("Host gpu\n Nonsense yes\n", None, home.path()) else { return };
        let error = result.unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
        assert!(error.hint().ends_with("ssh -G gpu"), "{}", error.hint());
    }

    #[test]
    fn a_named_file_of_known_hosts_is_the_only_one() {
        let home = tempfile::tempdir().unwrap();
        let options = HostOptions { known_hosts: Some("/only".into()), ..options(home.path()) };
        assert_eq!(Host::complete(&credentials(None), &options, None).known_hosts, [Path::new("/only")]);
    }
}
