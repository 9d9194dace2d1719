//! `NAME.part`: a file on its way, and how it becomes `NAME`.
//!
//! Bytes are written in their order, so the length of the part is what has landed. `NAME.part.json` beside it names the
//! version that it is a part of; only a part of the same version is continued.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use embstore_formats::FormatError;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::remote::{RemoteFile, Version};

#[derive(Serialize, Deserialize, PartialEq)]
struct Sidecar {
    host: String,
    path: String,
    #[serde(flatten)]
    version: Version,
}

/// A file on its way.
pub(crate) struct Part {
    target: PathBuf,
    path: PathBuf,
    sidecar: PathBuf,
    file: File,
    landed: u64,
    hash: Sha256,
}

/// Opens the part of a file, or makes it. A link in its place is not followed.
pub(crate) fn open_part(folder: &Path, name: &str) -> Result<File, FormatError> {
    let path = part_path(folder, name);
    let mut options = File::options();
    let options = options.read(true).write(true).create(true).truncate(false).custom_flags(libc::O_NOFOLLOW);
    options.open(&path).map_err(FormatError::io("create", &path))
}

/// The part of a file in `folder`.
fn part_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.part"))
}

/// Bytes of `file` from `host` that an earlier run has left.
pub(crate) fn landed(folder: &Path, file: &RemoteFile, host: &str) -> u64 {
    let path = part_path(folder, &file.name);
    let length = fs::symlink_metadata(&path).map_or(0, |found| if found.is_file() { found.len() } else { 0 });
    let is_same = sidecar(&sidecar_path(&path)) == Some(Sidecar::of(file, host));
    if is_same && length <= file.version.size { length } else { 0 }
}

impl Sidecar {
    fn of(file: &RemoteFile, host: &str) -> Self {
        Sidecar { host: host.into(), path: file.path.clone(), version: file.version }
    }
}

fn sidecar_path(part: &Path) -> PathBuf {
    let mut name = part.as_os_str().to_os_string();
    name.push(".json");
    name.into()
}

fn sidecar(path: &Path) -> Option<Sidecar> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

impl Part {
    /// Opens the part of `file`, which keeps its inode whatever becomes of its content. What has landed of the same
    /// version is read again for the checksum; anything else in it is dropped.
    pub(crate) fn open(folder: &Path, file: &RemoteFile, host: &str) -> Result<Self, FormatError> {
        let path = part_path(folder, &file.name);
        let sidecar = sidecar_path(&path);
        let landed = landed(folder, file, host);
        let part = open_part(folder, &file.name)?;
        let mut hash = Sha256::new();
        if landed == 0 {
            part.set_len(0).map_err(FormatError::io("write", &path))?;
            let text = serde_json::to_vec(&Sidecar::of(file, host))
                .map_err(|error| FormatError::io("write", &sidecar)(error.into()))?;
            write_whole(&sidecar, &text).map_err(FormatError::io("write", &sidecar))?;
        } else {
            hash_file(&part, landed, &mut hash).map_err(FormatError::io("read", &path))?;
        }
        Ok(Part { target: folder.join(&file.name), path, sidecar, file: part, landed, hash })
    }

    /// Bytes that have landed.
    pub(crate) fn landed(&self) -> u64 {
        self.landed
    }

    /// Adds what comes next.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        self.file.write_all_at(bytes, self.landed).map_err(FormatError::io("write", &self.path))?;
        self.hash.update(bytes);
        self.landed += bytes.len() as u64;
        Ok(())
    }

    /// SHA-256 of what has landed, in hexadecimal digits.
    pub(crate) fn sha256(&self) -> String {
        hex(&self.hash.clone().finalize())
    }

    /// Begins again from nothing: what has landed is not what it should be.
    pub(crate) fn discard(self) {
        // Without its sidecar a part is not continued; should both removals fail, its checksum will.
        let _ = fs::remove_file(&self.sidecar);
        let _ = self.file.set_len(0);
    }

    /// Gives the file its time and its name, on disk.
    pub(crate) fn finish(self, version: Version) -> Result<(), FormatError> {
        let set = self.file.set_modified(version.time()).and_then(|()| self.file.sync_all());
        set.map_err(FormatError::io("write", &self.path))?;
        fs::rename(&self.path, &self.target).map_err(FormatError::io("rename", &self.path))?;
        // It tells of a part that is no more; left behind it is harmless.
        let _ = fs::remove_file(&self.sidecar);
        let folder = crate::partial::folder_of(&self.target);
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(FormatError::io("sync", folder))
    }
}

/// Gives a file that is in its place the time of its version.
pub(crate) fn date(path: &Path, version: Version) -> Result<(), FormatError> {
    let set = File::open(path).and_then(|file| file.set_modified(version.time()));
    set.map_err(FormatError::io("write", path))
}

/// SHA-256 of a whole local file, in hexadecimal digits.
pub(crate) fn sha256_of(path: &Path) -> Result<String, FormatError> {
    let file = File::open(path).map_err(FormatError::io("open", path))?;
    let mut hash = Sha256::new();
    hash_file(&file, u64::MAX, &mut hash).map_err(FormatError::io("read", path))?;
    Ok(hex(&hash.finalize()))
}

fn hash_file(mut file: &File, length: u64, hash: &mut Sha256) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 18];
    let mut left = length;
    while left > 0 {
        let count = file.read(&mut buffer[..left.min(1 << 18) as usize])?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        left -= count as u64;
    }
    Ok(())
}

fn write_whole(path: &Path, text: &[u8]) -> io::Result<()> {
    // A link in its place is not followed.
    let _ = fs::remove_file(path);
    let mut file = File::options().write(true).create_new(true).open(path)?;
    file.write_all(text)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(modified: u32) -> RemoteFile {
        RemoteFile { name: "a.pkl".into(), path: "/r/a.pkl".into(), version: Version { size: 6, modified } }
    }

    #[test]
    fn only_a_part_of_the_same_version_is_continued() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut part = Part::open(folder.path(), &file(1), "h").expect("opened");
        part.push(b"abc").expect("written");
        drop(part);
        assert_eq!(landed(folder.path(), &file(1), "h"), 3);
        for (file, host) in [(file(2), "h"), (file(1), "other")] {
            assert_eq!(landed(folder.path(), &file, host), 0);
        }
        let mut part = Part::open(folder.path(), &file(1), "h").expect("opened");
        assert_eq!(part.landed(), 3);
        part.push(b"def").expect("written");
        let abcdef = "bef57ec7f53a6d40beb640a780a639c83bc29ac8a9816f1fc6c5c6dcd93c4721";
        assert_eq!(part.sha256(), abcdef);
        part.finish(Version { size: 6, modified: 77 }).expect("finished");
        let target = folder.path().join("a.pkl");
        assert_eq!(fs::read(&target).expect("there"), b"abcdef");
        assert!(super::super::manifest::is_untouched(&target, Version { size: 6, modified: 77 }));
        assert_eq!(sha256_of(&target).expect("readable"), abcdef);
        assert_eq!(fs::read_dir(folder.path()).expect("listable").count(), 1, "nothing is left behind");

        let mut part = Part::open(folder.path(), &file(1), "h").expect("opened");
        part.push(b"abc").expect("written");
        drop(part);
        assert_eq!(
            Part::open(folder.path(), &file(2), "h").expect("opened").landed(),
            0,
            "another version begins anew"
        );
    }

    #[test]
    fn a_link_in_the_place_of_a_part_is_not_followed() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let victim = folder.path().join("victim");
        fs::write(&victim, "kept").expect("writable");
        std::os::unix::fs::symlink(&victim, folder.path().join("a.pkl.part")).expect("linked");
        assert!(Part::open(folder.path(), &file(1), "h").is_err());
        assert_eq!(fs::read(&victim).expect("there"), b"kept");
    }
}
