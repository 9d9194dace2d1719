//! What the system's ssh says when it fails, as the errors that every transport has.

use std::path::{Path, PathBuf};

use super::ConnectError;
use crate::sync::host::Host;

/// Reads what `ssh -v` has written before it ended.
pub(super) fn read(said: &str, host: &Host) -> ConnectError {
    let address = host.display();
    let known_hosts = || host.known_hosts.first().cloned().unwrap_or_default();
    let said: Vec<&str> = said.lines().map(str::trim_end).collect();
    let line = |part: &str| said.iter().find(|line| line.contains(part)).map(|line| (*line).to_string());
    let after = |part: &str| {
        let line = said.iter().find_map(|line| line.split_once(part));
        line.map(|(_, rest)| rest.trim().trim_end_matches('.').to_string())
    };
    let has = |part: &str| said.iter().any(|line| line.contains(part));
    let server_key = after("Server host key: ").unwrap_or_default();
    let (key_type, fingerprint) = server_key.split_once(' ').unwrap_or(("", server_key.as_str()));

    if has("is marked as revoked") {
        let (known_hosts, line) = revoked_at(&host.known_hosts, fingerprint).unwrap_or_else(|| (known_hosts(), 0));
        return ConnectError::HostKeyRevoked { address, fingerprint: server_key.clone(), known_hosts, line };
    }
    if has("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        let place = said.iter().filter(|line| line.starts_with("Offending ")).find_map(|line| {
            let (path, line) = line.split_once(" key in ")?.1.rsplit_once(':')?;
            Some((PathBuf::from(path), line.parse().ok()?))
        });
        let (known_hosts, line): (PathBuf, usize) = place.unwrap_or_else(|| (known_hosts(), 0));
        let recorded = recorded_at(&known_hosts, line).unwrap_or_else(|| "another key".into());
        return ConnectError::HostKeyChanged { address, recorded, offered: server_key.clone(), known_hosts, line };
    }
    if has("you have requested strict checking") || has("Host key verification failed") {
        let (key_type, fingerprint) = (key_type.to_string(), fingerprint.to_string());
        return ConnectError::HostKeyUnknown { address, key_type, fingerprint, known_hosts: known_hosts() };
    }
    if let Some(reason) = after("Could not resolve hostname ") {
        let (host, reason) = reason.split_once(": ").unwrap_or((host.address.as_str(), &reason));
        return ConnectError::UnknownHost { host: host.into(), reason: reason.into() };
    }
    if has("Permission denied (") || has("Too many authentication failures") {
        return login_refused(&said, host);
    }
    if let Some(reason) = line("subsystem request failed") {
        return ConnectError::NoSftp { address, reason };
    }
    if has("Connection refused") {
        return ConnectError::Refused { address };
    }
    if has("timed out") {
        return ConnectError::TimedOut { address, seconds: host.timeout.as_secs() };
    }
    // sshd, too, may say something before its banner: that it has too many connections.
    let is_full = has("MaxStartups") || has("Not allowed at this time");
    if has("banner line 0: ") && !has("Remote protocol version") && !is_full {
        return ConnectError::Handshake { address, reason: "what answers there is no SSH server".into() };
    }
    if let Some(reason) = line("No route to host").or_else(|| line("is unreachable")) {
        return ConnectError::Unreachable { address, reason };
    }
    let last = said.iter().rev().find(|line| !line.is_empty() && !is_debug(line) && !is_noise(line));
    let reason = last.map_or_else(|| "no reason was given".into(), |line| (*line).to_string());
    let is_no_ssh = ["Unable to negotiate", "banner", "Bad packet", "identification string", "onfiguration option"];
    if is_no_ssh.iter().any(|part| reason.contains(part)) || reason.contains("Bad owner") {
        return ConnectError::Handshake { address, reason };
    }
    let is_cut_off = ["closed by", "reset by", "Broken pipe", "disconnect"].iter().any(|part| reason.contains(part));
    if has("Authenticated to ") && !is_cut_off {
        // The login worked; what was started there has ended at once.
        return ConnectError::NoSftp { address, reason };
    }
    ConnectError::HungUp { address, reason }
}

fn login_refused(said: &[&str], host: &Host) -> ConnectError {
    let (address, username) = (host.display(), host.username.clone());
    if let Some(path) = &host.identity_file {
        const BAD: [&str; 4] = ["incorrect passphrase", "error in libcrypto", "invalid format", "bad permissions"];
        let named = path.display().to_string();
        let bad = said.iter().find(|line| line.contains("Load key") && BAD.iter().any(|part| line.contains(part)));
        let missing = said.iter().find(|line| line.contains(&named) && line.contains("not accessible"));
        if let Some(line) = bad.or(missing) {
            let reason = line.rsplit_once(": ").map_or(*line, |(_, reason)| reason).to_string();
            return ConnectError::Key { path: path.clone(), reason };
        }
        // An encrypted key for which no passphrase was given is passed over in silence, once the server would take it.
        let is_welcome = said.iter().any(|line| line.contains("Server accepts key"));
        let was_taken = said.iter().any(|line| line.contains("partial success"));
        if is_welcome && !was_taken {
            let reason = "it needs a passphrase, and there is none or a wrong one".into();
            return ConnectError::Key { path: path.clone(), reason };
        }
    }
    let mut tried: Vec<String> = Vec::new();
    for line in said {
        let way = match line {
            line if line.contains("Offering public key") => match &host.identity_file {
                Some(path) => format!("key {}", path.display()),
                None => "keys of the agent and of ~/.ssh".into(),
            },
            line if line.contains("Next authentication method: password") => "password".into(),
            line if line.contains("Next authentication method: keyboard-interactive") => "keyboard-interactive".into(),
            line if line.contains("Next authentication method: gssapi") => "gssapi".into(),
            _ => continue,
        };
        if !tried.contains(&way) {
            tried.push(way);
        }
    }
    let offered =
        said.iter().rev().find_map(|line| line.split_once("Permission denied (")).map_or("", |(_, rest)| rest);
    let offered = offered.trim_end_matches(['.', ')']).replace(',', ", ");
    if tried.is_empty() {
        let have = match (&host.password, &host.identity_file) {
            (Some(_), _) => "a password".into(),
            (None, Some(path)) => format!("the key {}", path.display()),
            (None, None) => "no password, and no key in the agent or in ~/.ssh".into(),
        };
        return ConnectError::NoWayIn { address, username, offered, have };
    }
    ConnectError::LoginRefused { address, username, tried: tried.join(", ") }
}

/// The key on a line of a file of known hosts, as messages show it.
fn key_on(line: &str) -> Option<String> {
    let mut words = line.split_whitespace().skip_while(|word| !word.starts_with("AAAA"));
    let key = words.next()?;
    let kind = line.split_whitespace().take_while(|word| *word != key).last()?;
    let key = ssh_key::PublicKey::from_openssh(&format!("{kind} {key}")).ok()?;
    Some(format!("{kind} {}", key.fingerprint(ssh_key::HashAlg::Sha256)))
}

fn recorded_at(path: &Path, line: usize) -> Option<String> {
    key_on(std::fs::read_to_string(path).ok()?.lines().nth(line.checked_sub(1)?)?)
}

/// Where the key with this fingerprint is revoked.
fn revoked_at(files: &[PathBuf], fingerprint: &str) -> Option<(PathBuf, usize)> {
    files.iter().find_map(|path| {
        let text = std::fs::read_to_string(path).ok()?;
        let is_it =
            |line: &str| line.starts_with("@revoked") && key_on(line).is_some_and(|key| key.ends_with(fingerprint));
        let line = text.lines().position(is_it)?;
        Some((path.clone(), line + 1))
    })
}

fn is_debug(line: &str) -> bool {
    ["debug1: ", "debug2: ", "debug3: ", "OpenSSH_", "Warning: Permanently added"]
        .iter()
        .any(|start| line.starts_with(start))
}

/// What says nothing of the reason.
fn is_noise(line: &str) -> bool {
    line.starts_with("Transferred: ") || line.starts_with("Bytes per second: ") || line.starts_with("Authenticated to ")
}
