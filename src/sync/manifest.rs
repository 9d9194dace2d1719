//! `<cluster>.manifest.jsonl` in the download folder: one line a finished file, appended after the file is in its place.
//!
//! The last line of a name counts; a line that was cut off does not. While a process syncs from a cluster it holds the
//! lock of that cluster's manifest, so two never fetch the same file.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use embstore_formats::FormatError;
use serde::{Deserialize, Serialize};

use super::SyncError;
use super::remote::{RemoteFile, Version};

/// The end of every manifest's name.
pub(crate) const MANIFEST_SUFFIX: &str = ".manifest.jsonl";

/// What is known of a file that has been fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) file: String,
    pub(crate) host: String,
    pub(crate) path: String,
    #[serde(flatten)]
    pub(crate) version: Version,
    /// SHA-256 of its bytes, in hexadecimal digits.
    pub(crate) sha256: String,
    /// Whether the cluster's own checksum was compared.
    pub(crate) verified: bool,
}

impl Entry {
    /// Whether it tells of this version of this file.
    pub(crate) fn is_of(&self, file: &RemoteFile) -> bool {
        self.path == file.path && self.version == file.version
    }
}

/// An open and locked manifest.
#[derive(Debug)]
pub(crate) struct Manifest {
    path: PathBuf,
    file: File,
    entries: BTreeMap<String, Entry>,
}

impl Manifest {
    /// Opens and locks the manifest of `cluster` in `folder`, which is made where it is missing.
    pub(crate) fn open(folder: &Path, cluster: &str) -> Result<Self, SyncError> {
        let path = path_of(folder, cluster);
        let mut file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(FormatError::io("create", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(SyncError::Locked { cluster: cluster.into(), folder: folder.to_path_buf() });
            }
            Err(TryLockError::Error(error)) => return Err(FormatError::io("lock", &path)(error).into()),
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(FormatError::io("read", &path))?;
        if !text.is_empty() && !text.ends_with(b"\n") {
            file.write_all(b"\n").map_err(FormatError::io("write", &path))?;
        }
        Ok(Manifest { path, file, entries: parse(&text) })
    }

    /// Reads what a manifest tells, without its lock: for a look that changes nothing.
    pub(crate) fn peek(folder: &Path, cluster: &str) -> BTreeMap<String, Entry> {
        fs::read(path_of(folder, cluster)).map(|text| parse(&text)).unwrap_or_default()
    }

    /// What is known of every file.
    pub(crate) fn entries(&self) -> &BTreeMap<String, Entry> {
        &self.entries
    }

    /// Adds a file that is in its place.
    pub(crate) fn append(&mut self, entry: Entry) -> Result<(), FormatError> {
        let mut line =
            serde_json::to_vec(&entry).map_err(|error| FormatError::io("write", &self.path)(error.into()))?;
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        written.map_err(FormatError::io("write", &self.path))?;
        self.entries.insert(entry.file.clone(), entry);
        Ok(())
    }
}

fn parse(text: &[u8]) -> BTreeMap<String, Entry> {
    let entries = text.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice::<Entry>(line).ok());
    entries.map(|entry| (entry.file.clone(), entry)).collect()
}

fn path_of(folder: &Path, cluster: &str) -> PathBuf {
    folder.join(format!("{cluster}{MANIFEST_SUFFIX}"))
}

/// The local files that were fetched from another cluster than this one, and from which.
pub(crate) fn owners(folder: &Path, except: &str) -> BTreeMap<String, String> {
    let listed = fs::read_dir(folder).into_iter().flatten().flatten();
    let clusters = listed.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(MANIFEST_SUFFIX)?.into()));
    let others = clusters.filter(|cluster: &String| cluster != except);
    let files = others.flat_map(|cluster| {
        Manifest::peek(folder, &cluster).into_keys().map(move |file| (file, cluster.clone())).collect::<Vec<_>>()
    });
    files.filter(|(file, _)| folder.join(file).exists()).collect()
}

/// Whether a local file is as it was left: its size and the modification time that it was given.
pub(crate) fn is_untouched(path: &Path, version: Version) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| {
        found.is_file()
            && found.len() == version.size
            && (found.mtime(), found.mtime_nsec()) == (i64::from(version.modified), 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(file: &str, size: u64) -> Entry {
        Entry {
            file: file.into(),
            host: "h".into(),
            path: format!("/r/{file}"),
            version: Version { size, modified: 1 },
            sha256: "00".into(),
            verified: false,
        }
    }

    #[test]
    fn the_last_line_counts_and_one_that_was_cut_off_does_not() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut manifest = Manifest::open(folder.path(), "t1").expect("free");
        manifest.append(entry("a", 1)).expect("written");
        manifest.append(entry("b", 2)).expect("written");
        manifest.append(entry("a", 3)).expect("written");
        drop(manifest);
        let path = folder.path().join("t1.manifest.jsonl");
        let text = fs::read(&path).expect("readable");
        fs::write(&path, [&text[..], &text[..20]].concat()).expect("writable");
        let mut manifest = Manifest::open(folder.path(), "t1").expect("free");
        assert_eq!(manifest.entries()["a"].version.size, 3);
        assert_eq!(manifest.entries().len(), 2);
        manifest.append(entry("c", 4)).expect("written");
        drop(manifest);
        assert_eq!(Manifest::peek(folder.path(), "t1").len(), 3, "what follows a cut line is read");
    }

    #[test]
    fn two_processes_do_not_meet() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let held = Manifest::open(folder.path(), "t1").expect("free");
        assert!(matches!(Manifest::open(folder.path(), "t1"), Err(SyncError::Locked { .. })));
        assert!(Manifest::open(folder.path(), "t2").is_ok(), "another cluster is another manifest");
        drop(held);
        assert!(Manifest::open(folder.path(), "t1").is_ok());
    }
}
