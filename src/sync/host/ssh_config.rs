//! What the system's ssh would do: `ssh -G`, which knows `Host`, `Match` and `Include`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{HostError, HostOptions};
use crate::sync::credentials::Credentials;

/// Its answer.
#[derive(Debug, Default, PartialEq)]
pub(super) struct SshConfig {
    pub(super) address: Option<String>,
    pub(super) port: Option<u16>,
    /// Whether they are there or not.
    pub(super) identity_files: Vec<PathBuf>,
    pub(super) is_proxied: bool,
    /// The user's, then the machine's.
    pub(super) known_hosts: Vec<PathBuf>,
    pub(super) host_key_alias: Option<String>,
    pub(super) ciphers: Vec<String>,
}

impl SshConfig {
    /// Nothing where there is no ssh.
    pub(super) fn ask(credentials: &Credentials, options: &HostOptions) -> Result<Option<Self>, HostError> {
        let mut command = Command::new("ssh");
        command.arg("-G").args(["-l", &credentials.username]);
        if let Some(port) = credentials.port {
            command.args(["-p", &port.to_string()]);
        }
        if let Some(file) = &options.ssh_config {
            command.arg("-F").arg(file);
        }
        // No option: credentials with an address that looks like one are refused.
        command.arg(&credentials.address).stdin(Stdio::null());
        let output = match command.output() {
            Ok(output) => output,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(HostError::Run { reason: error.to_string() }),
        };
        if !output.status.success() {
            let host = credentials.address.clone();
            return Err(HostError::Config { host, reason: first_words(&output.stderr, &output.status.to_string()) });
        }
        let answer = String::from_utf8_lossy(&output.stdout);
        Ok(Some(SshConfig::parse(&answer, credentials, &options.home)))
    }

    /// What OpenSSH does by default.
    pub(super) fn without_ssh(home: &Path) -> Self {
        let ssh = home.join(".ssh");
        SshConfig {
            identity_files: ["id_ed25519", "id_ecdsa", "id_rsa"].map(|name| ssh.join(name)).into(),
            known_hosts: vec![
                ssh.join("known_hosts"),
                "/etc/ssh/ssh_known_hosts".into(),
                "/etc/ssh/ssh_known_hosts2".into(),
            ],
            ..SshConfig::default()
        }
    }

    fn parse(answer: &str, credentials: &Credentials, home: &Path) -> Self {
        let mut config = SshConfig::default();
        let mut globals = Vec::new();
        let mut identities = Vec::new();
        for line in answer.lines() {
            let Some((key, value)) = line.split_once(' ').filter(|(_, value)| *value != "none") else { continue };
            match key {
                "hostname" => config.address = Some(value.into()),
                "port" => config.port = value.parse().ok(),
                "identityfile" => identities.push(value),
                "proxyjump" | "proxycommand" => config.is_proxied = true,
                "userknownhostsfile" => config.known_hosts = files(value, home),
                "globalknownhostsfile" => globals = files(value, home),
                "hostkeyalias" => config.host_key_alias = Some(value.to_ascii_lowercase()),
                "ciphers" => config.ciphers = value.split(',').map(String::from).collect(),
                _ => {}
            }
        }
        config.known_hosts.extend(globals);
        let address = config.address.as_deref().unwrap_or(&credentials.address);
        let port = config.port.unwrap_or(22).to_string();
        let tokens = [('h', address), ('n', &credentials.address), ('p', &port), ('r', &credentials.username)];
        config.identity_files = identities.iter().filter_map(|path| file(path, home, &tokens)).collect();
        config
    }
}

/// Several files stand in a line with a blank between them, whether they hold one or not.
fn files(value: &str, home: &Path) -> Vec<PathBuf> {
    let whole = super::expand(Path::new(value), home);
    if whole.exists() {
        return vec![whole];
    }
    value.split(' ').filter(|name| !name.is_empty()).map(|name| super::expand(Path::new(name), home)).collect()
}

/// A path in which `ssh -G` leaves tokens as they are; nothing where one of them is not known here.
fn file(path: &str, home: &Path, tokens: &[(char, &str)]) -> Option<PathBuf> {
    let mut expanded = String::new();
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            expanded.push(character);
            continue;
        }
        match characters.next()? {
            '%' => expanded.push('%'),
            'd' => expanded.push_str(home.to_str()?),
            token => expanded.push_str(tokens.iter().find(|(known, _)| *known == token)?.1),
        }
    }
    Some(super::expand(Path::new(&expanded), home))
}

/// The first line that tells something: the last one only counts the mistakes.
fn first_words(stderr: &[u8], status: &str) -> String {
    let text = String::from_utf8_lossy(stderr);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("Pseudo-terminal"));
    lines.next().map_or_else(|| status.to_owned(), |line| line.replace(char::is_control, " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_in_paths_stand_for_what_ssh_takes_them_for() {
        let tokens = [('h', "host"), ('r', "ada")];
        let file = |path| file(path, Path::new("/home/ada"), &tokens);
        assert_eq!(file("~/.ssh/%h-%r"), Some("/home/ada/.ssh/host-ada".into()));
        assert_eq!(file("%d/100%%"), Some("/home/ada/100%".into()));
        assert_eq!(file("/keys/%C"), None);
        assert_eq!(file("/keys/%"), None);
    }
}
