//! What is refused before a byte is written.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use embstore_formats::pickle::LocateError;
use embstore_formats::{ArrayKind, Format, FormatError, LocateOptions, detect};

use crate::error::Error;
use crate::inputs::resolved;
use crate::job::Job;
use crate::partial::{PartialError, complete_publication, folder_of, partial_folder};

/// Everything that can be known of a job before it begins.
pub(crate) fn check(job: &Job<'_>) -> Result<(), Error> {
    check_target(job.target, job.format, job.options.force || job.updates)?;
    job.format.check_layout(job.target, &job.array, &job.options.layout)?;
    check_sources(job)?;
    check_space(job)
}

/// Refuses a target that is in the way, after completing a publication that was cut off.
pub(crate) fn check_target(target: &Path, format: &dyn Format, force: bool) -> Result<(), Error> {
    complete_publication(target)?;
    let files = format.store_files(target);
    for path in files.all().filter(|path| path.symlink_metadata().is_ok()) {
        let target = path.clone();
        if path.is_dir() && !is_store_folder(path, format) {
            return Err(PartialError::Folder { target }.into());
        }
        // The files beside a matrix have names of their own, which nobody else's have by chance.
        if let Some(what) = precious(path).filter(|_| *path == files.matrix) {
            return Err(Error::NotReplaceable { target, what });
        }
        if !force {
            return Err(PartialError::Exists { target }.into());
        }
    }
    Ok(())
}

/// Whether a folder is a store of this format; no other folder is ever replaced.
fn is_store_folder(path: &Path, format: &dyn Format) -> bool {
    let located = || detect(path).ok()?.locate(path, &LocateOptions::default()).ok();
    detect(path).is_ok_and(|found| found.name() == format.name())
        && located().is_some_and(|located| matches!(located.kind, ArrayKind::Store { .. }))
}

/// What a file is, if it is the kind of thing that stores are made from: replacing it by mistake would lose it.
fn precious(path: &Path) -> Option<&'static str> {
    match detect(path).ok()?.locate(path, &LocateOptions::default()) {
        Ok(located) if located.kind == ArrayKind::Field => Some("a checkpoint"),
        Err(FormatError::Locate { source: LocateError::NoDict { .. }, .. }) => Some("a pickled list, perhaps articles"),
        Err(FormatError::NoFloats { .. }) => Some("a table without embeddings, perhaps articles"),
        _ => None,
    }
}

/// Refuses a target that would replace a file it is made from, with `--force` or without: unless that is the point.
fn check_sources(job: &Job<'_>) -> Result<(), Error> {
    if job.updates {
        return Ok(());
    }
    let files = job.format.store_files(job.target);
    let inputs = job.sources.iter().map(|source| source.path.as_path());
    let inputs: Vec<_> = inputs.chain(job.articles.iter().map(|part| part.path.as_path())).collect();
    // Some of them may be still on their way.
    let inputs: BTreeSet<_> = inputs.into_iter().map(resolved).collect();
    let is_input = |path: &&PathBuf| inputs.contains(&resolved(path));
    match files.all().find(is_input) {
        Some(target) => Err(Error::TargetIsSource { target: target.clone() }),
        None => Ok(()),
    }
}

/// Refuses what the disk cannot hold.
fn check_space(job: &Job<'_>) -> Result<(), Error> {
    let folder = folder_of(job.target);
    let Ok(stat) = rustix::fs::statvfs(folder) else { return Ok(()) };
    if job.options.layout.compression.is_some() {
        // How small it gets nobody knows; a disk that turns out full is an error of its own.
        return Ok(());
    }
    let name = job.target.file_name().unwrap_or(job.target.as_os_str());
    let needed = job.array.payload_bytes().saturating_sub(allocated(&partial_folder(job.target).join(name)));
    let available = stat.f_bavail.saturating_mul(stat.f_frsize);
    if needed > available {
        return Err(Error::NoSpace { folder: folder.to_path_buf(), needed, available });
    }
    Ok(())
}

/// Bytes of the disk that a file, or everything in a folder, takes.
fn allocated(path: &Path) -> u64 {
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| allocated(&entry.path())).sum(),
        Err(_) => fs::metadata(path).map_or(0, |file| file.blocks() * 512),
    }
}
