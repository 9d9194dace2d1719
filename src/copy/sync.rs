//! Syncs of many files at once: each waits for the disk, and one commit of the file system's journal serves them all.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use embstore_formats::FormatError;

/// Files that are synced at the same time.
const AT_ONCE: usize = 8;

/// Waits until the contents of these files are on disk, and what is needed to find them.
pub(super) fn sync_data(paths: &[&Path]) -> Result<(), FormatError> {
    // Opened to write: some systems do not sync what was opened to read.
    each(paths, |path| File::options().write(true).open(path)?.sync_data())
}

/// Waits until a file, or everything in a folder and the folder, is on disk.
pub(crate) fn sync_tree(root: &Path) -> Result<(), FormatError> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    gather(root, &mut files, &mut folders)?;
    let sync_all = |path: &Path| File::open(path)?.sync_all();
    each(&files.iter().map(PathBuf::as_path).collect::<Vec<_>>(), sync_all)?;
    each(&folders.iter().map(PathBuf::as_path).collect::<Vec<_>>(), sync_all)
}

fn gather(path: &Path, files: &mut Vec<PathBuf>, folders: &mut Vec<PathBuf>) -> Result<(), FormatError> {
    if !path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        files.push(path.to_path_buf());
        return Ok(());
    }
    folders.push(path.to_path_buf());
    for entry in fs::read_dir(path).map_err(FormatError::io("list", path))? {
        gather(&entry.map_err(FormatError::io("list", path))?.path(), files, folders)?;
    }
    Ok(())
}

/// Syncs every path; one failure is told.
fn each(paths: &[&Path], sync: impl Fn(&Path) -> std::io::Result<()> + Sync) -> Result<(), FormatError> {
    let one = |path: &&Path| sync(path).map_err(FormatError::io("sync", path));
    if paths.len() < 2 {
        return paths.iter().try_for_each(one);
    }
    let next = AtomicUsize::new(0);
    let work = || std::iter::from_fn(|| paths.get(next.fetch_add(1, Ordering::Relaxed))).map(one).find_map(Result::err);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE.min(paths.len())).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        let mut failed = joined.filter_map(|thread| thread.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        failed.next().map_or(Ok(()), Err)
    })
}
