//! Folders of Parquet files below a root.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use embstore_formats::FormatError;
use rayon::prelude::*;

use crate::checkpoint::file_name;
use crate::progress::Cancel;
use crate::text::natural_order;

/// A folder with the Parquet files in it.
pub(crate) struct FolderOfTables {
    /// Its path below the root.
    pub(crate) path: PathBuf,
    /// Nanoseconds since 1970 when a file in it was last added or removed.
    #[cfg_attr(not(feature = "embed"), expect(dead_code, reason = "only the queue's checkpoint asks for it"))]
    pub(crate) modified: i128,
    /// The names of the files.
    pub(crate) files: Vec<PathBuf>,
}

/// Why not all folders were found.
pub(crate) enum WalkError {
    Format(FormatError),
    Cancelled,
}

impl From<FormatError> for WalkError {
    fn from(error: FormatError) -> Self {
        WalkError::Format(error)
    }
}

/// Looks through all folders at any depth, on all cores, for files `*.parquet`, which are not hidden and in no hidden
/// folder. Links are followed. Folders and files come in natural order; folders without such files are left out.
pub(crate) fn walk(root: &Path, cancel: &Cancel) -> Result<Vec<FolderOfTables>, WalkError> {
    let metadata = fs::metadata(root).map_err(FormatError::io("read", root))?;
    let mut folders = Walk { root, cancel }.folder(Path::new(""), &metadata, &[])?;
    folders.par_sort_by(|a, b| natural_order(&a.path.to_string_lossy(), &b.path.to_string_lossy()));
    Ok(folders)
}

struct Walk<'a> {
    root: &'a Path,
    cancel: &'a Cancel,
}

/// What is in a folder.
struct Listing {
    /// The names of the files.
    files: Vec<PathBuf>,
    /// The folders, by their path below the root.
    below: Vec<(PathBuf, Metadata)>,
}

impl Walk<'_> {
    /// This folder and those below it. `above` are the folders that it lies in: links may go in circles.
    fn folder(&self, path: &Path, metadata: &Metadata, above: &[(u64, u64)]) -> Result<Vec<FolderOfTables>, WalkError> {
        if self.cancel.is_cancelled() {
            return Err(WalkError::Cancelled);
        }
        let place = (metadata.dev(), metadata.ino());
        if above.contains(&place) {
            return Ok(Vec::new());
        }
        let Listing { mut files, below } = self.list(path)?;
        let above: Vec<_> = above.iter().copied().chain([place]).collect();
        let deeper = below.par_iter().map(|(path, metadata)| self.folder(path, metadata, &above));
        let mut folders = deeper.try_reduce(Vec::new, |mut all, more| {
            all.extend(more);
            Ok(all)
        })?;
        if !files.is_empty() {
            files.sort_by(|a, b| natural_order(&a.to_string_lossy(), &b.to_string_lossy()));
            let modified = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
            folders.push(FolderOfTables { path: path.to_path_buf(), modified, files });
        }
        Ok(folders)
    }

    fn list(&self, path: &Path) -> Result<Listing, FormatError> {
        let folder = self.root.join(path);
        let (mut files, mut below) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&folder).map_err(FormatError::io("list", &folder))? {
            let entry = entry.map_err(FormatError::io("list", &folder))?;
            let name = PathBuf::from(entry.file_name());
            if file_name(&name).starts_with('.') {
                continue;
            }
            let is_table = name.extension().is_some_and(|extension| extension == "parquet");
            let kind = entry.file_type().map_err(FormatError::io("read", &entry.path()))?;
            if kind.is_file() {
                files.extend(is_table.then_some(name));
                continue;
            }
            // A folder, or a link to what may be anything, or nothing.
            let Ok(metadata) = fs::metadata(entry.path()) else { continue };
            if metadata.is_dir() {
                below.push((path.join(&name), metadata));
            } else if metadata.is_file() && is_table {
                files.push(name);
            }
        }
        Ok(Listing { files, below })
    }
}
