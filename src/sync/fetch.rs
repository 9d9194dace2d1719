//! One file: from the cluster into its part, and, once its checksum is compared, to its name.

use std::path::Path;
use std::time::Duration;

use super::checksum::Checksums;
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

/// What all fetches from one cluster share.
pub(crate) struct Fetcher<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) address: String,
    pub(crate) verify: Verify,
    pub(crate) pace: Option<&'a Pace>,
    /// Bytes in flight on one connection.
    pub(crate) window: u64,
    pub(crate) observer: Observer<'a>,
    pub(crate) checksums: Checksums<'a>,
}

/// How far a file is when its connection is done with it.
pub(crate) enum Outcome {
    /// It was there.
    There(Fetched),
    /// All of its bytes are, and wait to be compared.
    Complete(Complete),
}

/// A part with all of its bytes.
pub(crate) struct Complete {
    /// The file, in the version that was fetched.
    pub(crate) file: RemoteFile,
    part: Part,
    resumed_from: u64,
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
    /// Fetches the bytes of `file` over `sftp`, or takes over a local file that is the same. `on_bytes` hears of every
    /// byte that crosses the line.
    pub(crate) fn fetch(
        &self,
        sftp: &mut Sftp,
        file: &RemoteFile,
        known: Option<&Entry>,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<Outcome, FetchError> {
        if let Some(there) = self.adopt(file, known)? {
            return Ok(Outcome::There(there));
        }
        let mut file = file.clone();
        for _ in 0..MOST_CHANGES {
            match self.attempt(sftp, &file, on_bytes)? {
                Attempt::Complete(complete) => return Ok(Outcome::Complete(*complete)),
                Attempt::Changed(version) => file.version = version,
            }
        }
        Err(FetchError::Changed { address: self.address.clone(), path: file.path, times: MOST_CHANGES })
    }

    /// Compares files that are complete with the checksums of the cluster, and gives them their names.
    pub(crate) fn conclude(&self, complete: Vec<Complete>) -> Vec<(RemoteFile, Result<Fetched, FetchError>)> {
        let remote = match self.verify {
            Verify::Never => vec![Err("not asked for (--verify never)".to_string()); complete.len()],
            Verify::Auto | Verify::Always => {
                self.checksums.of(&complete.iter().map(|complete| &complete.file).collect::<Vec<_>>())
            }
        };
        let concluded =
            |(complete, remote): (Complete, _)| (complete.file.clone(), self.conclude_one(complete, remote));
        complete.into_iter().zip(remote).map(concluded).collect()
    }

    fn conclude_one(&self, complete: Complete, remote: Result<String, String>) -> Result<Fetched, FetchError> {
        let Complete { file, part, resumed_from } = complete;
        let (address, path) = (self.address.clone(), file.path.clone());
        let local = part.sha256();
        let (verified, unverified) = match remote {
            Ok(remote) if remote == local => (true, None),
            Ok(remote) => {
                part.discard();
                return Err(FetchError::Mismatch { address, path, remote, local });
            }
            Err(why) if self.verify == Verify::Always => return Err(FetchError::NotVerifiable { address, path, why }),
            Err(why) => (false, Some(why)),
        };
        part.finish(file.version)?;
        let entry = self.entry(&file, local, verified);
        Ok(Fetched { entry, was_there: false, resumed_from, unverified })
    }

    /// Takes over a local file whose bytes are those of `file`: the manifest knows them, or the cluster's checksum tells.
    fn adopt(&self, file: &RemoteFile, known: Option<&Entry>) -> Result<Option<Fetched>, FetchError> {
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
            match self.checksums.of(&[file]).pop() {
                Some(Ok(remote)) => verified = remote == local,
                Some(Err(why)) => unverified = Some(why),
                None => {}
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
        Ok(Attempt::Complete(Box::new(Complete { file: file.clone(), part, resumed_from })))
    }

    fn version_now(&self, sftp: &mut Sftp, file: &RemoteFile) -> Result<Version, FetchError> {
        let (address, path) = (self.address.clone(), file.path.clone());
        let attributes = match sftp.stat(&file.path) {
            Ok(attributes) => attributes,
            Err(source) => return Err(FetchError::Sftp { address, path, source }),
        };
        remote::version(&attributes).map_err(|why| FetchError::NotTaken { address, name: file.name.clone(), why })
    }

    fn keep_pace(&self, bytes: u64) -> Result<(), FetchError> {
        let time = self.pace.map_or(Duration::ZERO, |pace| pace.book(bytes));
        if self.observer.cancel.sleep(time) { Ok(()) } else { Err(FetchError::Cancelled) }
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
    Complete(Box<Complete>),
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
