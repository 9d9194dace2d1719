//! `<output>.claim`: who works on an output.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use embstore_formats::FormatError;
use serde::{Deserialize, Serialize};

use crate::embed::queue::QueueError;

/// What a claim says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) worker: String,
    pub(super) host: String,
    pub(super) pid: u32,
    pub(super) token: String,
    pub(super) tries: u32,
    /// Seconds since 1970 when it was claimed.
    pub(super) since: f64,
    /// Seconds that a heartbeat lasts.
    pub(super) lease: f64,
}

/// The claim of this output.
pub(super) fn path_of(output: &Path) -> PathBuf {
    super::failures::beside(output, ".claim")
}

/// A claim whose file is locked and has its name.
pub(super) struct ClaimFile {
    path: PathBuf,
    file: File,
}

impl ClaimFile {
    /// Makes the claim; nothing where there is one.
    pub(super) fn create(path: PathBuf) -> Result<Option<Self>, QueueError> {
        match File::options().read(true).write(true).create_new(true).open(&path) {
            Ok(file) => ClaimFile { path, file }.locked(),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(FormatError::io("create", &path)(error).into()),
        }
    }

    /// Opens a claim that is there.
    pub(super) fn open(path: PathBuf) -> Result<Option<Self>, QueueError> {
        match File::options().read(true).write(true).open(&path) {
            Ok(file) => ClaimFile { path, file }.locked(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FormatError::io("open", &path)(error).into()),
        }
    }

    /// Locks it; nothing where it was removed meanwhile.
    fn locked(self) -> Result<Option<Self>, QueueError> {
        self.file.lock().map_err(FormatError::io("lock", &self.path))?;
        let held = self.file.metadata().map_err(FormatError::io("read", &self.path))?;
        let is_named =
            fs::metadata(&self.path).is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino()));
        Ok(is_named.then_some(self))
    }

    /// What it says. A process that died while it wrote has said nothing.
    pub(super) fn record(&mut self) -> Result<Record, QueueError> {
        let mut text = Vec::new();
        let read = self.file.rewind().and_then(|()| self.file.read_to_end(&mut text));
        read.map_err(FormatError::io("read", &self.path))?;
        Ok(serde_json::from_slice(&text).unwrap_or_default())
    }

    pub(super) fn write(&mut self, record: &Record) -> Result<(), QueueError> {
        let text = serde_json::to_vec(record).unwrap_or_default();
        let written = self.file.set_len(0).and_then(|()| self.file.rewind()).and_then(|()| self.file.write_all(&text));
        Ok(written.map_err(FormatError::io("write", &self.path))?)
    }

    /// Since when nobody has renewed it.
    pub(super) fn age(&self) -> Result<Duration, QueueError> {
        let metadata = self.file.metadata().map_err(FormatError::io("read", &self.path))?;
        Ok(age(&metadata))
    }

    pub(super) fn renew(&self) -> Result<(), QueueError> {
        Ok(self.file.set_modified(SystemTime::now()).map_err(FormatError::io("write", &self.path))?)
    }

    pub(super) fn remove(self) -> Result<(), QueueError> {
        Ok(fs::remove_file(&self.path).map_err(FormatError::io("remove", &self.path))?)
    }
}

/// What the claim of an output says, and since when nobody has renewed it; nothing where there is none.
pub(super) fn glance(output: &Path) -> Option<(Record, Duration)> {
    let path = path_of(output);
    let age = age(&fs::metadata(&path).ok()?);
    let record = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    Some((record, age))
}

fn age(metadata: &fs::Metadata) -> Duration {
    metadata.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_is_removed_while_somebody_waits_for_it_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = path_of(&folder.path().join("a.parquet"));
        let held = ClaimFile::create(path.clone()).unwrap().unwrap();
        assert!(ClaimFile::create(path.clone()).unwrap().is_none());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| ClaimFile::open(path.clone()).unwrap().is_some());
            std::thread::sleep(Duration::from_millis(100));
            assert!(!waits.is_finished());
            held.remove().unwrap();
            assert!(!waits.join().unwrap());
        });
    }
}
