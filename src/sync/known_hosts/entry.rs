//! One line of a file of known hosts: which names it is for, and which key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use ssh_key::known_hosts::{HostPatterns, Marker};

use super::key_type;

/// A line that could be read.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) marker: Option<Marker>,
    patterns: HostPatterns,
    /// The key as it goes over the wire.
    pub(super) key: Vec<u8>,
}

impl Entry {
    /// Nothing where the line is a comment, or is none that OpenSSH would heed.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
        let mut word = words.next().filter(|word| !word.starts_with('#'))?;
        let mut marker = None;
        if word.starts_with('@') {
            marker = Some(word.parse().ok()?);
            word = words.next()?;
        }
        let patterns = word.parse().ok()?;
        let kind = words.next()?;
        let key = STANDARD.decode(words.next()?).ok()?;
        (key_type(&key) == Some(kind)).then_some(Entry { marker, patterns, key })
    }

    /// Whether it is for `name`, which is in lower case and carries a port other than 22 as `[host]:port`.
    pub(super) fn is_for(&self, name: &str) -> bool {
        match &self.patterns {
            HostPatterns::HashedName { salt, hash } => {
                Hmac::<Sha1>::new_from_slice(salt).is_ok_and(|hmac| hmac.chain_update(name).verify_slice(hash).is_ok())
            }
            HostPatterns::Patterns(patterns) => {
                let mut found = false;
                for pattern in patterns {
                    let (wanted, pattern) = match pattern.strip_prefix('!') {
                        Some(pattern) => (false, pattern),
                        None => (true, pattern.as_str()),
                    };
                    if matches(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes()) {
                        if !wanted {
                            return false;
                        }
                        found = true;
                    }
                }
                found
            }
        }
    }
}

/// `*` stands for any number of bytes, `?` for one.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut of) = (0, 0);
    // Where to go on after the last star, should the rest not fit: one byte further each time.
    let mut star = None;
    while of < name.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, of));
            at += 1;
        } else if pattern.get(at).is_some_and(|byte| *byte == b'?' || *byte == name[of]) {
            at += 1;
            of += 1;
        } else if let Some((after, from)) = star {
            star = Some((after, from + 1));
            at = after + 1;
            of = from + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_those_of_openssh() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "host", true),
            ("h*t", "host", true),
            ("h*t", "hosts", false),
            ("*.example.org", "a.b.example.org", true),
            ("*.example.org", "example.org", false),
            ("h?st", "host", true),
            ("h?st", "hst", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "ab ab a", false),
            ("", "host", false),
            ("[10.0.0.*]:2222", "[10.0.0.7]:2222", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_line_that_is_none_is_skipped() {
        for line in [
            "",
            "  ",
            "# host ssh-ed25519 AAAAC3NzaC1lZDI1NTE5",
            "host",
            "host ssh-ed25519",
            "host ssh-ed25519 ????",
            "host ssh-rsa AAAAC3NzaC1lZDI1NTE5",
            "@unknown host ssh-ed25519 AAAAC3NzaC1lZDI1NTE5",
            "|1|broken ssh-ed25519 AAAAC3NzaC1lZDI1NTE5",
            "host 1024 37 1234567890",
        ] {
            assert!(Entry::parse(line).is_none(), "{line}");
        }
    }
}
