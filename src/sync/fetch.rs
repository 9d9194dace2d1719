//! One file: from the cluster into its part, checked, and to its name.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::error::FetchError;
use super::manifest::Entry;
use super::options::Verify;
use super::pace::Pace;
use super::part::{Part, sha256_of};
use super::remote::{self, RemoteFile, Version};
use super::sftp::{Sftp, Stopped};
use crate::progress::{Observer, Transfer};

/// A file that changes is fetched so many times.
const MOST_CHANGES: u32 = 3;
/// At least as fast as any machine reads for its checksum, in bytes a second.
const SLOWEST_CHECKSUM: u64 = 20_000_000;

/// What all fetches from one cluster share.
pub(crate) struct Fetcher<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) address: String,
    pub(crate) verify: Verify,
    pub(crate) pace: Option<&'a Pace>,
    /// Bytes in flight on one connection.
    pub(crate) window: u64,
    pub(crate) timeout: Duration,
    pub(crate) observer: Observer<'a>,
    /// Why the cluster tells no checksums, once that is known.
    pub(crate) no_checksums: std::sync::OnceLock<String>,
}

/// What became of a file that is there now.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub(crate) entry: Entry,
    /// Whether nothing had to be transferred.
    pub(crate) was_there: bool,
    /// Bytes that an earlier run had left.
    pub(crate) resumed_from: u64,
    /// Why it was not verified, where it was not.
    pub(crate) unverified: Option<String>,
}

impl Fetcher<'_> {
    /// Fetches `file` over `sftp`, or takes over a local file that is the same. `on_bytes` hears of every byte that
    /// crosses the line.
    pub(crate) fn fetch(
        &self,
        sftp: &mut Sftp,
        file: &RemoteFile,
        known: Option<&Entry>,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<Fetched, FetchError> {
        if let Some(there) = self.adopt(sftp, file, known)? {
            return Ok(there);
        }
        let mut file = file.clone();
        for _ in 0..MOST_CHANGES {
            match self.attempt(sftp, &file, on_bytes)? {
                Attempt::Fetched(fetched) => return Ok(*fetched),
                Attempt::Changed(version) => file.version = version,
            }
        }
        Err(FetchError::Changed { address: self.address.clone(), path: file.path, times: MOST_CHANGES })
    }

    /// Takes over a local file whose bytes are those of `file`: the manifest knows them, or the cluster's checksum tells.
    fn adopt(&self, sftp: &mut Sftp, file: &RemoteFile, known: Option<&Entry>) -> Result<Option<Fetched>, FetchError> {
        let path = self.folder.join(&file.name);
        if !std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_file() && found.len() == file.version.size) {
            return Ok(None);
        }
        let known = known.filter(|entry| entry.is_of(file));
        if known.is_none() && self.verify == Verify::Never {
            return Ok(None);
        }
        let local = sha256_of(&path)?;
        let mut verified = known.is_some_and(|entry| entry.verified && entry.sha256 == local);
        let mut unverified = None;
        if !verified && self.verify != Verify::Never {
            match self.remote_checksum(sftp, file) {
                Ok(remote) => verified = remote == local,
                Err(why) => unverified = Some(why),
            }
        }
        let is_same = verified || (known.is_some_and(|entry| entry.sha256 == local) && self.verify != Verify::Always);
        if !is_same {
            return Ok(None);
        }
        crate::sync::part::date(&path, file.version)?;
        let entry = self.entry(file, local, verified);
        Ok(Some(Fetched { entry, was_there: true, resumed_from: 0, unverified }))
    }

    fn attempt(
        &self,
        sftp: &mut Sftp,
        file: &RemoteFile,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<Attempt, FetchError> {
        let failed = |source| FetchError::Sftp { address: self.address.clone(), path: file.path.clone(), source };
        let handle = sftp.open(&file.path).map_err(failed)?;
        let mut part = Part::open(self.folder, file, &self.address)?;
        let resumed_from = part.landed();
        self.observer.progress.transfer(Transfer::File {
            file: &file.name,
            bytes: file.version.size,
            landed: resumed_from,
        });
        let end = sftp.read(&handle, resumed_from..file.version.size, self.window, |bytes| {
            if self.observer.cancel.is_cancelled() {
                return Err(FetchError::Cancelled);
            }
            part.push(bytes)?;
            on_bytes(bytes.len() as u64);
            self.observer.progress.transfer(Transfer::Bytes { file: &file.name, bytes: bytes.len() as u64 });
            self.keep_pace(bytes.len() as u64)
        });
        let end = end.map_err(|stopped| match stopped {
            Stopped::Sftp(source) => failed(source),
            Stopped::Taker(error) => error,
        })?;
        sftp.close(&handle).map_err(failed)?;
        let now = self.version_now(sftp, file)?;
        if end != file.version.size || now != file.version {
            // Where only the end came early the server may still tell the old size: nothing of it is kept either way.
            part.discard();
            return Ok(Attempt::Changed(now));
        }
        let sha256 = part.sha256();
        let (verified, unverified) = match self.verify {
            Verify::Never => (false, Some("not asked for (--verify never)".into())),
            Verify::Auto | Verify::Always => match self.remote_checksum(sftp, file) {
                Ok(remote) if remote == sha256 => (true, None),
                Ok(remote) => {
                    part.discard();
                    let (address, path) = (self.address.clone(), file.path.clone());
                    return Err(FetchError::Mismatch { address, path, remote, local: sha256 });
                }
                Err(why) if self.verify == Verify::Always => {
                    let (address, path) = (self.address.clone(), file.path.clone());
                    return Err(FetchError::NotVerifiable { address, path, why });
                }
                Err(why) => (false, Some(why)),
            },
        };
        part.finish(file.version)?;
        let entry = self.entry(file, sha256, verified);
        Ok(Attempt::Fetched(Box::new(Fetched { entry, was_there: false, resumed_from, unverified })))
    }

    fn version_now(&self, sftp: &mut Sftp, file: &RemoteFile) -> Result<Version, FetchError> {
        let (address, path) = (self.address.clone(), file.path.clone());
        let attributes = match sftp.stat(&file.path) {
            Ok(attributes) => attributes,
            Err(source) => return Err(FetchError::Sftp { address, path, source }),
        };
        remote::version(&attributes).map_err(|why| FetchError::NotTaken { address, name: file.name.clone(), why })
    }

    /// SHA-256 as the cluster's own `sha256sum` tells it; else why it does not.
    fn remote_checksum(&self, sftp: &mut Sftp, file: &RemoteFile) -> Result<String, String> {
        if let Some(why) = self.no_checksums.get() {
            return Err(why.clone());
        }
        let patience = self.timeout + Duration::from_secs(file.version.size / SLOWEST_CHECKSUM);
        // OpenSSL has the processor's instructions for it, which coreutils often lack: three times as fast.
        let path = shell_quoted(&file.path);
        let command = format!("openssl dgst -sha256 -r < {path} 2>/dev/null || sha256sum < {path}");
        let why = match sftp.execute(&command, patience) {
            Ok(done) if done.status == Some(0) => match checksum_in(&done.stdout) {
                Some(sum) => return Ok(sum),
                None => "sha256sum on the cluster answers with something else".into(),
            },
            Ok(done) => {
                let status = done.status.map_or_else(|| "none".into(), |status| status.to_string());
                format!("the cluster does not run sha256sum for this user (exit status {status})")
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => "sha256sum on the cluster takes too long".into(),
            Err(error) => return Err(format!("sha256sum on the cluster: {error}")),
        };
        // What is refused for one file is refused for all, and not asked for again.
        Err(self.no_checksums.get_or_init(|| why).clone())
    }

    fn keep_pace(&self, bytes: u64) -> Result<(), FetchError> {
        let Some(pace) = self.pace else { return Ok(()) };
        let mut left = pace.book(bytes);
        while !left.is_zero() {
            if self.observer.cancel.is_cancelled() {
                return Err(FetchError::Cancelled);
            }
            let step = left.min(Duration::from_millis(100));
            std::thread::sleep(step);
            left -= step;
        }
        Ok(())
    }

    fn entry(&self, file: &RemoteFile, sha256: String, verified: bool) -> Entry {
        Entry {
            file: file.name.clone(),
            host: self.address.clone(),
            path: file.path.clone(),
            version: file.version,
            sha256,
            verified,
        }
    }
}

enum Attempt {
    Fetched(Box<Fetched>),
    /// It is another version now.
    Changed(Version),
}

/// Whether a file that the manifest knows needs no look at its bytes.
pub(crate) fn is_up_to_date(folder: &Path, file: &RemoteFile, known: Option<&Entry>, verify: Verify) -> bool {
    known.is_some_and(|entry| {
        entry.is_of(file)
            && (entry.verified || verify != Verify::Always)
            && super::manifest::is_untouched(&folder.join(&file.name), file.version)
    })
}

/// A word for a POSIX shell.
fn shell_quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The checksum out of `0123…cdef  -`.
fn checksum_in(output: &[u8]) -> Option<String> {
    let sum = output.split(u8::is_ascii_whitespace).next()?;
    let is_sum = sum.len() == 64 && sum.iter().all(u8::is_ascii_hexdigit);
    is_sum.then(|| String::from_utf8_lossy(sum).to_lowercase())
}

impl From<super::error::SyncError> for FetchError {
    fn from(error: super::error::SyncError) -> Self {
        match error {
            super::error::SyncError::Format(error) => FetchError::Local(error),
            _ => FetchError::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_read_and_words_are_quoted() {
        let sum = "bef57ec7f53a6d40beb640a780a639c83bc29ac8a9816f1fc6c5c6dcd93c4721";
        assert_eq!(checksum_in(format!("{sum}  -\n").as_bytes()).as_deref(), Some(sum));
        assert_eq!(checksum_in(b"This account is currently not available.\n"), None);
        assert_eq!(checksum_in(b""), None);
        assert_eq!(shell_quoted("/home/o'brien/a b"), r"'/home/o'\''brien/a b'");
    }
}
