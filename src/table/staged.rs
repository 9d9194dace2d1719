//! Files that appear under their name when they are whole.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::partial::folder_of;

/// What the system refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub(crate) struct StageError {
    pub(crate) action: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StageError {
    let path = path.to_path_buf();
    move |source| StageError { action, path, source }
}

/// A file `<name>.tmp.<writer>` that is removed unless it gets its name. It is locked while it is written, so that what a
/// dead process left can be told from what another one writes.
pub(crate) struct Staged {
    target: PathBuf,
    pub(crate) path: PathBuf,
    file: File,
}

impl Staged {
    /// Begins the file that will be `target`, after removing what dead processes left of it.
    pub(crate) fn create(target: &Path, writer: &str) -> Result<Self, StageError> {
        let folder = folder_of(target);
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
        remove_abandoned(target)?;
        let mut name = prefix(target);
        name.push(writer);
        let path = target.with_file_name(name);
        let file = loop {
            let file = File::create_new(&path).map_err(failed("create", &path))?;
            flock(&file, FlockOperation::LockExclusive).map_err(|error| failed("lock", &path)(error.into()))?;
            // Between these two another process may have taken it for abandoned, and removed it.
            if file.metadata().map_err(failed("read", &path))?.nlink() > 0 {
                break file;
            }
        };
        Ok(Staged { target: target.to_path_buf(), path, file })
    }

    /// The same for a target that one process writes at a time.
    #[cfg(feature = "cluster")]
    pub(crate) fn of_this_process(target: &Path) -> Result<Self, StageError> {
        Self::create(target, &std::process::id().to_string())
    }

    /// Another handle of the file, to write through.
    pub(crate) fn file(&self) -> Result<File, StageError> {
        self.file.try_clone().map_err(failed("write", &self.path))
    }

    /// Waits for the disk, and gives the file its name.
    pub(crate) fn publish(mut self) -> Result<(), StageError> {
        self.file.sync_all().map_err(failed("write", &self.path))?;
        let path = std::mem::take(&mut self.path);
        fs::rename(&path, &self.target).map_err(failed("rename", &path))?;
        let folder = folder_of(&self.target);
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync", folder))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // What cannot be removed now is found abandoned by the next one that writes this file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// `<name>.tmp.`, which the writer's name completes.
fn prefix(target: &Path) -> OsString {
    let mut name = target.file_name().map(OsString::from).unwrap_or_default();
    name.push(".tmp.");
    name
}

/// Whether this file, of the folder of `target`, is what becomes or was to become `target`.
#[cfg(feature = "cluster")]
pub(crate) fn is_staged(file: &Path, target: &Path) -> bool {
    file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(prefix(target).as_encoded_bytes()))
}

fn remove_abandoned(target: &Path) -> Result<(), StageError> {
    let folder = folder_of(target);
    let prefix = prefix(target);
    for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
        let entry = entry.map_err(failed("list", folder))?;
        if !entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
            continue;
        }
        // One that is gone, or not ours to open, is nothing to remove.
        let Ok(file) = File::open(entry.path()) else { continue };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}
