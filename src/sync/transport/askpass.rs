//! How a password gets to the system's ssh: it runs the program in `SSH_ASKPASS`, which fetches the password from a file
//! in memory that only this user can open, and that ends with this process. Nothing of it is on a command line, in an
//! environment or on a disk.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use crate::sync::host::Host;

/// Names the file for the program in `SSH_ASKPASS`.
pub const ASKPASS_FILE: &str = "EMBSTORE_ASKPASS";

/// The secrets of one host, ready to be asked for.
#[derive(Clone)]
pub(super) struct Secrets {
    program: PathBuf,
    path: PathBuf,
    _file: Arc<Keeper>,
}

impl Secrets {
    /// The secrets of `host`, where it has any.
    pub(super) fn of(host: &Host, program: &Path) -> io::Result<Option<Self>> {
        if host.password.is_none() && host.passphrase.is_none() {
            return Ok(None);
        }
        let mut text = Zeroizing::new(Vec::new());
        for secret in [&host.password, &host.passphrase] {
            text.extend_from_slice(secret.as_ref().map_or("", |secret| secret.expose_secret()).as_bytes());
            text.push(0);
        }
        let (keeper, path) = keep(&text)?;
        Ok(Some(Secrets { program: program.to_path_buf(), path, _file: Arc::new(keeper) }))
    }

    pub(super) fn give_to(&self, command: &mut Command) {
        command.env("SSH_ASKPASS", &self.program).env("SSH_ASKPASS_REQUIRE", "force").env(ASKPASS_FILE, &self.path);
    }
}

/// What the program in `SSH_ASKPASS` answers to `prompt`: the password or the passphrase out of `file`, nothing to any
/// other question.
///
/// # Errors
/// Where the file cannot be read.
pub fn answer(file: &Path, prompt: &str) -> io::Result<Option<Zeroizing<String>>> {
    let mut text = Zeroizing::new(String::new());
    File::open(file)?.read_to_string(&mut text)?;
    let prompt = prompt.to_lowercase();
    let which = match () {
        () if prompt.contains("passphrase") => 1,
        () if prompt.contains("password") => 0,
        () => return Ok(None),
    };
    let secret = text.split('\0').nth(which).filter(|secret| !secret.is_empty());
    Ok(secret.map(|secret| Zeroizing::new(secret.to_string())))
}

/// Keeps the file.
#[cfg(target_os = "linux")]
type Keeper = File;
#[cfg(not(target_os = "linux"))]
type Keeper = tempfile::NamedTempFile;

#[cfg(target_os = "linux")]
fn keep(text: &[u8]) -> io::Result<(Keeper, PathBuf)> {
    use std::os::fd::AsRawFd;
    let mut file = File::from(rustix::fs::memfd_create("askpass", rustix::fs::MemfdFlags::CLOEXEC)?);
    file.write_all(text)?;
    let path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()));
    Ok((file, path))
}

/// Elsewhere it is a file that only this user can read, and that is removed with it.
#[cfg(not(target_os = "linux"))]
fn keep(text: &[u8]) -> io::Result<(Keeper, PathBuf)> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(text)?;
    let path = file.path().to_path_buf();
    Ok((file, path))
}
