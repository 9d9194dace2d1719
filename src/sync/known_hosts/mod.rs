//! Which keys the hosts are known by: OpenSSH's `known_hosts`, by OpenSSH's rules.
//!
//! libssh2 reads such files too, but heeds no `@revoked`, and takes a key of another type for a changed one.

mod entry;
mod record;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use ssh_key::Fingerprint;
use ssh_key::known_hosts::Marker;

use self::entry::Entry;
pub(crate) use self::record::record;
use super::transport::ConnectError;

/// What the files say of the key that a host shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is on record.
    Known,
    /// No key of the host is.
    Unknown,
    /// Only others are.
    Changed {
        /// Type and fingerprint.
        recorded: String,
        file: PathBuf,
        /// From 1.
        line: usize,
    },
    /// It must not be trusted.
    Revoked {
        file: PathBuf,
        /// From 1.
        line: usize,
    },
}

/// The files, read.
#[derive(Debug, Default)]
pub(crate) struct KnownHosts {
    files: Vec<(PathBuf, Vec<(usize, Entry)>)>,
}

impl KnownHosts {
    /// Reads the files; one that is not there is empty.
    ///
    /// # Errors
    /// One is there and cannot be read.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<Self, ConnectError> {
        let mut known = KnownHosts::default();
        for path in paths {
            match fs::read(path) {
                Ok(text) => known.add(path, &text),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(error) => {
                    return Err(ConnectError::KnownHosts {
                        path: path.clone(),
                        what: format!("cannot be read: {error}"),
                    });
                }
            }
        }
        Ok(known)
    }

    fn add(&mut self, path: &Path, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let lines = text.lines().enumerate();
        let entries = lines.filter_map(|(index, line)| Some((index + 1, Entry::parse(line)?))).collect();
        self.files.push((path.into(), entries));
    }

    /// Judges the key that `host` shows, as it came over the wire.
    pub(crate) fn check(&self, host: &str, port: u16, key: &[u8]) -> Verdict {
        let (full, bare) = (name(host, port), name(host, 22));
        // Stricter than OpenSSH, which passes over a revocation without the port.
        let mut revoked = self.entries(Some(Marker::Revoked), &full).chain(self.entries(Some(Marker::Revoked), &bare));
        if let Some((file, line, _)) = revoked.find(|(_, _, entry)| entry.key == key) {
            return Verdict::Revoked { file: file.into(), line };
        }
        let mut other = None;
        for (file, line, entry) in self.entries(None, &full) {
            if entry.key == key {
                return Verdict::Known;
            }
            // Most telling is the key of the same type.
            if other.is_none_or(|(_, _, before): (_, _, &Entry)| {
                key_type(&before.key) != key_type(key) && key_type(&entry.key) == key_type(key)
            }) {
                other = Some((file, line, entry));
            }
        }
        if let Some((file, line, entry)) = other {
            return Verdict::Changed { recorded: described(&entry.key), file: file.into(), line };
        }
        // As OpenSSH does: an entry without port vouches for the key on any port, but never accuses it.
        let vouched = self.entries(None, &bare).any(|(_, _, entry)| entry.key == key);
        if vouched { Verdict::Known } else { Verdict::Unknown }
    }

    /// Names of the signature algorithms whose keys are on record for a host: what to ask for first, so that it does not
    /// show another of its keys.
    pub(crate) fn key_types(&self, host: &str, port: u16) -> Vec<String> {
        let mut types = Vec::new();
        for name in [name(host, port), name(host, 22)] {
            for (_, _, entry) in self.entries(None, &name) {
                match key_type(&entry.key) {
                    Some("ssh-rsa") => types.extend(["rsa-sha2-512".into(), "rsa-sha2-256".into()]),
                    Some(other) => types.push(other.to_owned()),
                    None => {}
                }
            }
            if !types.is_empty() {
                break;
            }
        }
        let mut seen = std::collections::HashSet::new();
        types.retain(|kind| seen.insert(kind.clone()));
        types
    }

    fn entries<'a>(
        &'a self,
        marker: Option<Marker>,
        name: &'a str,
    ) -> impl Iterator<Item = (&'a Path, usize, &'a Entry)> {
        let all = self
            .files
            .iter()
            .flat_map(|(path, entries)| entries.iter().map(move |(line, entry)| (path.as_path(), *line, entry)));
        all.filter(move |(_, _, entry)| entry.marker == marker && entry.is_for(name))
    }
}

/// A host as the files name it.
fn name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// The type that a key names itself; nothing where it is no key.
pub(crate) fn key_type(key: &[u8]) -> Option<&str> {
    let (length, rest) = key.split_first_chunk()?;
    let kind = rest.get(..u32::from_be_bytes(*length) as usize)?;
    let kind = std::str::from_utf8(kind).ok()?;
    (!kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_graphic())).then_some(kind)
}

/// `SHA256:…`, as OpenSSH writes it.
pub(crate) fn fingerprint(key: &[u8]) -> String {
    Fingerprint::Sha256(Sha256::digest(key).into()).to_string()
}

/// Type and fingerprint.
pub(crate) fn described(key: &[u8]) -> String {
    format!("{} {}", key_type(key).unwrap_or("unknown"), fingerprint(key))
}
