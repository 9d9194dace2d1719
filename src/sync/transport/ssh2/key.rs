//! What a file with a private key is, before libssh2 is asked: its own messages do not tell a missing passphrase from a
//! key that it cannot read.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

const OPENSSH: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It can be read as it is.
    Plain,
    /// It needs a passphrase.
    Encrypted,
    /// It only works with the device that holds the rest of it.
    Hardware,
}

/// # Errors
/// Why the file is no private key.
pub(super) fn kind(path: &Path) -> Result<Kind, String> {
    let text = fs::read(path).map_err(|error| error.to_string())?;
    let text = String::from_utf8(text).map_err(|_| "it is no text, and so no private key".to_owned())?;
    let text = SecretString::from(text);
    let text = text.expose_secret().trim_start();
    if !text.starts_with("-----BEGIN ") || !text.contains("PRIVATE KEY-----") {
        let is_public = text.starts_with("ssh-") || text.starts_with("ecdsa-") || text.starts_with("sk-");
        return Err(if is_public { "it is the public half of a key" } else { "it is no private key" }.into());
    }
    let Some(body) = text.strip_prefix(OPENSSH) else {
        return Ok(if text.contains("ENCRYPTED") { Kind::Encrypted } else { Kind::Plain });
    };
    let body: String = body.lines().take_while(|line| !line.starts_with('-')).map(str::trim).collect();
    container(&STANDARD.decode(body).unwrap_or_default()).ok_or_else(|| "it is damaged".into())
}

/// The head of OpenSSH's own format: cipher, derivation, its options, number of keys, public key.
fn container(bytes: &[u8]) -> Option<Kind> {
    let mut rest = bytes.strip_prefix(b"openssh-key-v1\0")?;
    let cipher = string(&mut rest)?;
    string(&mut rest)?;
    string(&mut rest)?;
    rest = rest.split_first_chunk::<4>()?.1;
    let mut public = string(&mut rest)?;
    if string(&mut public)?.starts_with(b"sk-") {
        return Some(Kind::Hardware);
    }
    Some(if cipher == b"none" { Kind::Plain } else { Kind::Encrypted })
}

/// Takes a string with its length in front.
fn string<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (string, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *bytes = rest;
    Some(string)
}
