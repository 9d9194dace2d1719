//! The folder `<store>.partial/` beside a store under construction, and how it becomes the store.
//!
//! ```text
//! wikipedia.npy.partial/
//!   lock                         held while one process works here; taken before anything is touched
//!   journal                      what has landed
//!   wikipedia.npy  …             the files of the store
//!   publish                      the list of renames; from here on the work can only go forward
//! ```
//!
//! Publishing renames the articles, then the matrix, then the metadata, which is the commit record: an old metadata
//! record is moved away first, so at no moment does a matrix stand beside the metadata of another. A store that is a
//! folder is exchanged with the old one.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use embstore_formats::{FormatError, StoreFiles};
use serde::{Deserialize, Serialize};

use crate::checkpoint::file_name;
use crate::copy::sync_tree;

const LOCK: &str = "lock";
const PUBLISH: &str = "publish";
const OLD_METADATA: &str = "old-metadata";
const OLD_STORE: &str = "old-store";

/// Why a partial store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartialError {
    /// Another process works on it.
    #[error("{}: another embstore is writing this store", target.display())]
    Locked {
        /// The store.
        target: PathBuf,
    },
    /// A finished store is in the way.
    #[error("{}: exists already", target.display())]
    Exists {
        /// The store.
        target: PathBuf,
    },
    /// A folder is in the way; it is never replaced.
    #[error("{}: is a folder", target.display())]
    Folder {
        /// The store.
        target: PathBuf,
    },
    /// The list of renames is not one.
    #[error("{}: not a list of renames: {source}", path.display())]
    Publish {
        /// The list.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// The operating system refused.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl PartialError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            PartialError::Locked { .. } => "wait until it is done".into(),
            PartialError::Exists { .. } => "replace it with --force, or choose another name with -o".into(),
            PartialError::Folder { .. } => "choose another name with -o".into(),
            PartialError::Publish { .. } => "discard the partial store: --restart".into(),
            PartialError::Format(source) => source.hint(),
        }
    }
}

/// The folder in which `target` is built.
#[must_use]
pub fn partial_folder(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_os_string();
    name.push(".partial");
    PathBuf::from(name)
}

/// A locked partial folder.
#[derive(Debug)]
pub(crate) struct Partial {
    folder: PathBuf,
    _lock: File,
    /// Whether this process made it.
    pub(crate) is_new: bool,
}

/// The renames that turn a partial into a store, by bare names. Also the form of the `publish` file.
#[derive(Debug, Serialize, Deserialize)]
struct Renames {
    /// In order; the last is the commit.
    files: Vec<String>,
    /// A metadata record that must not outlive the matrix it describes.
    metadata: Option<String>,
    /// Files of an old store that the new one does not have.
    stale: Vec<String>,
    /// The inode of the staged matrix where it is a folder: exchanged with an old one, it is told by that.
    #[serde(default)]
    folder: Option<u64>,
}

impl Partial {
    /// Takes the partial folder of `target`, making it if need be; `restart` discards what is in it.
    pub(crate) fn open(target: &Path, restart: bool) -> Result<Self, PartialError> {
        let folder = partial_folder(target);
        let is_new = match fs::create_dir(&folder) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(FormatError::io("create", &folder)(error).into()),
        };
        let lock = lock(&folder, target)?;
        let partial = Partial { folder, _lock: lock, is_new: is_new || restart };
        if restart {
            partial.empty()?;
        }
        Ok(partial)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes what is in the folder, the lock last, and the folder.
    pub(crate) fn discard(self) -> Result<(), PartialError> {
        self.empty()?;
        let lock = self.folder.join(LOCK);
        fs::remove_file(&lock).map_err(FormatError::io("remove", &lock))?;
        match fs::remove_dir(&self.folder) {
            // Another process has begun its work here.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            removed => Ok(removed.map_err(FormatError::io("remove", &self.folder))?),
        }
    }

    /// Removes everything but the lock.
    fn empty(&self) -> Result<(), PartialError> {
        for entry in fs::read_dir(&self.folder).map_err(FormatError::io("list", &self.folder))? {
            let path = entry.map_err(FormatError::io("list", &self.folder))?.path();
            if !path.ends_with(LOCK) {
                let removed = if is_folder(&path) { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                removed.map_err(FormatError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Turns the staged files into the store `files`. They must be complete.
    pub(crate) fn publish(self, files: &StoreFiles, sync: bool) -> Result<(), PartialError> {
        let (staged, absent): (Vec<String>, Vec<String>) =
            files.all().map(|path| file_name(path)).partition(|name| self.folder.join(name).exists());
        let matrix = self.folder.join(file_name(&files.matrix));
        let folder = fs::metadata(&matrix).ok().filter(fs::Metadata::is_dir).map(|folder| folder.ino());
        let metadata = files.metadata.as_deref().map(file_name);
        let renames = Renames { files: staged, metadata, stale: absent, folder };
        if sync {
            for name in &renames.files {
                sync_tree(&self.folder.join(name))?;
            }
        }
        let draft = self.folder.join("publish.draft");
        let list = self.folder.join(PUBLISH);
        let text = serde_json::to_string(&renames).unwrap_or_default();
        fs::write(&draft, text).map_err(FormatError::io("write", &draft))?;
        if sync {
            File::open(&draft).and_then(|file| file.sync_all()).map_err(FormatError::io("sync", &draft))?;
        }
        fs::rename(&draft, &list).map_err(FormatError::io("rename", &draft))?;
        self.complete(&renames, sync)
    }

    /// Renames, in order, whatever has not been renamed yet. Can be cut off anywhere and called again.
    fn complete(self, renames: &Renames, sync: bool) -> Result<(), PartialError> {
        let parent = folder_of(&self.folder);
        if sync {
            sync_folder(&self.folder)?;
        }
        if let Some(inode) = renames.folder {
            self.complete_folder(&renames.files, inode)?;
        } else if renames.files.last().is_some_and(|last| self.folder.join(last).exists()) {
            // With its last file gone from here, a list has been carried out.
            let old = renames.metadata.iter().map(|name| (parent.join(name), self.folder.join(OLD_METADATA)));
            let stale = renames.stale.iter().enumerate();
            let stale = stale.map(|(index, name)| (parent.join(name), self.folder.join(format!("stale-{index}"))));
            let new = renames.files.iter().map(|name| (self.folder.join(name), parent.join(name)));
            for (from, to) in old.chain(stale).chain(new) {
                match fs::rename(&from, &to) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(FormatError::io("rename", &from)(error).into());
                    }
                    _ => {}
                }
            }
        }
        if sync {
            sync_folder(parent)?;
        }
        self.discard()
    }

    /// Puts a staged folder in the place of its target, in one step where the system can exchange two names.
    fn complete_folder(&self, files: &[String], inode: u64) -> Result<(), PartialError> {
        for name in files {
            let (from, to) = (self.folder.join(name), folder_of(&self.folder).join(name));
            match fs::symlink_metadata(&to) {
                Ok(there) if there.ino() == inode => continue,
                Ok(_) => match exchange(&from, &to) {
                    Ok(()) => continue,
                    Err(error) if !cannot_exchange(&error) => {
                        return Err(FormatError::io("rename", &from)(error).into());
                    }
                    Err(_) => fs::rename(&to, self.folder.join(OLD_STORE)).map_err(FormatError::io("rename", &to))?,
                },
                Err(_) => {}
            }
            fs::rename(&from, &to).map_err(FormatError::io("rename", &from))?;
        }
        Ok(())
    }
}

/// Exchanges two names at once.
fn exchange(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE)?)
}

/// Whether the file system or the kernel has no exchange of names.
fn cannot_exchange(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput)
}

/// Whether a path is a folder itself, not a link to one.
fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
}

/// Takes the lock of a folder. One that was published meanwhile is gone, lock and all, and does not count.
fn lock(folder: &Path, target: &Path) -> Result<File, PartialError> {
    let path = folder.join(LOCK);
    let locked = || PartialError::Locked { target: target.to_path_buf() };
    let file = File::options().write(true).create(true).truncate(false).open(&path);
    let file = match file {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(locked()),
        file => file.map_err(FormatError::io("create", &path))?,
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(locked()),
        Err(TryLockError::Error(error)) => return Err(FormatError::io("lock", &path)(error).into()),
    }
    let held = file.metadata().map_err(FormatError::io("read", &path))?.ino();
    match fs::metadata(&path) {
        Ok(metadata) if metadata.ino() == held => Ok(file),
        _ => Err(locked()),
    }
}

/// Completes a publication of `target` that was cut off; `false` where there is none.
///
/// # Errors
/// Where another process is at it, or a file cannot be renamed.
pub fn complete_publication(target: &Path) -> Result<bool, PartialError> {
    let list = partial_folder(target).join(PUBLISH);
    let text = match fs::read(&list) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        // The target is no folder's child, for example.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(false),
        Err(error) => return Err(FormatError::io("read", &list)(error).into()),
    };
    let partial = Partial::open(target, false)?;
    if !list.exists() {
        return Ok(false);
    }
    let renames: Renames =
        serde_json::from_slice(&text).map_err(|source| PartialError::Publish { path: list, source })?;
    partial.complete(&renames, true)?;
    Ok(true)
}

/// The folder that a path lies in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_folder(folder: &Path) -> Result<(), PartialError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(FormatError::io("sync", folder))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(target: &Path) -> StoreFiles {
        StoreFiles {
            matrix: target.to_path_buf(),
            articles: Some(target.with_extension("articles")),
            metadata: Some(target.with_extension("meta")),
        }
    }

    fn stage(target: &Path, names: &[&str]) -> Partial {
        let partial = Partial::open(target, false).expect("free");
        for name in names {
            fs::write(partial.folder().join(name), format!("new {name}")).expect("writable");
        }
        partial
    }

    fn contents(folder: &Path) -> Vec<(String, String)> {
        let mut found: Vec<_> = fs::read_dir(folder)
            .expect("listable")
            .map(|entry| entry.expect("readable").path())
            .map(|path| (file_name(&path), fs::read_to_string(&path).unwrap_or_default()))
            .collect();
        found.sort();
        found
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect()
    }

    #[test]
    fn publishing_replaces_every_file_and_drops_stale_ones() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let target = folder.path().join("w.npy");
        for name in ["w.npy", "w.articles", "w.meta"] {
            fs::write(folder.path().join(name), "old").expect("writable");
        }
        stage(&target, &["w.npy", "w.meta"]).publish(&files(&target), true).expect("published");
        assert_eq!(contents(folder.path()), pairs(&[("w.meta", "new w.meta"), ("w.npy", "new w.npy")]));
    }

    #[test]
    fn a_publication_cut_off_after_any_rename_is_completed() {
        let names = ["w.articles", "w.npy", "w.meta"];
        for cut in 0..=names.len() {
            let folder = tempfile::tempdir().expect("temporary folder");
            let target = folder.path().join("w.npy");
            fs::write(target.with_extension("meta"), "old").expect("writable");
            let partial = stage(&target, &names);
            let renames = Renames {
                files: names.map(String::from).into(),
                metadata: Some("w.meta".into()),
                stale: vec![],
                folder: None,
            };
            let list = serde_json::to_string(&renames).expect("plain");
            fs::write(partial.folder().join(PUBLISH), list).expect("writable");
            if cut > 0 {
                fs::rename(target.with_extension("meta"), partial.folder().join(OLD_METADATA)).expect("renamed");
            }
            for name in &names[..cut] {
                fs::rename(partial.folder().join(name), folder.path().join(name)).expect("renamed");
            }
            drop(partial);
            assert!(complete_publication(&target).expect("completed"), "cut {cut}");
            let expected = [("w.articles", "new w.articles"), ("w.meta", "new w.meta"), ("w.npy", "new w.npy")];
            assert_eq!(contents(folder.path()), pairs(&expected), "cut {cut}");
            assert!(!complete_publication(&target).expect("nothing to do"));
        }
    }

    #[test]
    fn a_folder_takes_the_place_of_a_folder_wherever_it_is_cut_off() {
        for cut in ["before", "between", "after"] {
            let folder = tempfile::tempdir().expect("temporary folder");
            let target = folder.path().join("w.zarr");
            fs::create_dir(&target).expect("made");
            fs::write(target.join("old"), "old").expect("writable");
            let partial = Partial::open(&target, false).expect("free");
            let staged = partial.folder().join("w.zarr");
            fs::create_dir(&staged).expect("made");
            fs::write(staged.join("new"), "new").expect("writable");
            let inode = fs::metadata(&staged).expect("there").ino();
            let renames = Renames { files: vec!["w.zarr".into()], metadata: None, stale: vec![], folder: Some(inode) };
            let list = serde_json::to_string(&renames).expect("plain");
            fs::write(partial.folder().join(PUBLISH), list).expect("writable");
            match cut {
                "between" => fs::rename(&target, partial.folder().join(OLD_STORE)).expect("renamed"),
                "after" => partial.complete_folder(&renames.files, inode).expect("renamed"),
                _ => {}
            }
            drop(partial);
            assert!(complete_publication(&target).expect("completed"), "{cut}");
            assert_eq!(contents(&target), pairs(&[("new", "new")]), "{cut}");
            assert_eq!(contents(folder.path()), pairs(&[("w.zarr", "")]), "nothing is left behind: {cut}");
        }
    }

    #[test]
    fn two_writers_do_not_meet() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let target = folder.path().join("w.npy");
        let held = Partial::open(&target, false).expect("free");
        assert!(matches!(Partial::open(&target, false), Err(PartialError::Locked { .. })));
        assert!(matches!(Partial::open(&target, true), Err(PartialError::Locked { .. })), "restart respects the lock");
        drop(held);
        assert!(Partial::open(&target, false).is_ok());
    }
}
