//! Which files are meant: paths as given, and the checkpoints in a folder.

use std::path::{Path, PathBuf};

use embstore_formats::pickle::LocateError;
use embstore_formats::{ArrayKind, FormatError, LocateOptions, detect, format_for_extension};
use rayon::prelude::*;

use crate::checkpoint::{Checkpoint, CheckpointError, Sighting, file_name};
use crate::partial::folder_of;
use crate::text::natural_order;

/// What the workers call their files.
pub const CHECKPOINT_PATTERN: &str = "cluster*_gpu*.pkl";

/// Why no input was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// A folder without checkpoints.
    #[error("{}: no checkpoint in this folder{}", folder.display(), pattern.as_ref().map(|p| format!(" matches {p:?}")).unwrap_or_default())]
    Empty {
        /// The folder.
        folder: PathBuf,
        /// The pattern, where one was given.
        pattern: Option<String>,
    },
    /// A path is listed twice.
    #[error("{}: given twice", path.display())]
    Twice {
        /// The path.
        path: PathBuf,
    },
    /// The pattern is malformed.
    #[error("the pattern {pattern:?} is malformed: {source}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Where it goes wrong.
        source: glob::PatternError,
    },
    /// The folder cannot be listed, or a file in it cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl InputError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            InputError::Empty { .. } => {
                format!("fetch the checkpoints, or name them: --pattern {CHECKPOINT_PATTERN:?}")
            }
            InputError::Twice { .. } => "name every file once".into(),
            InputError::Pattern { .. } => format!("a pattern looks like {CHECKPOINT_PATTERN:?}"),
            InputError::Format(source) => source.hint(),
        }
    }
}

/// A file that is meant.
#[derive(Debug)]
pub struct Input {
    /// The file.
    pub path: PathBuf,
    known: Known,
}

/// What is known of a file before it is opened.
#[derive(Debug)]
enum Known {
    Nothing,
    /// It had to be looked into to know that it is meant. A compressed file is unpacked for that, and once is enough.
    Found(Result<Sighting, CheckpointError>),
    /// It is still on its way.
    Coming(Checkpoint),
}

impl Input {
    fn unseen(path: PathBuf) -> Self {
        Input { path, known: Known::Nothing }
    }

    fn coming(checkpoint: &Checkpoint) -> Self {
        Input { path: checkpoint.path.clone(), known: Known::Coming(checkpoint.clone()) }
    }

    /// Its rows, from row `start` of the whole matrix on where that is given, else as the file itself says.
    ///
    /// # Errors
    /// Whatever makes it no checkpoint.
    pub fn open(self, options: &LocateOptions, start: Option<u64>) -> Result<Checkpoint, CheckpointError> {
        let found = match self.known {
            Known::Nothing => Sighting::of(&self.path, options)?,
            Known::Found(found) => found?,
            Known::Coming(checkpoint) => {
                let given = start.map(|start| start..start.saturating_add(checkpoint.array.rows()));
                return Ok(Checkpoint { range: given.or(checkpoint.range.clone()), ..checkpoint });
            }
        };
        Checkpoint::take(&self.path, found, start)
    }
}

/// The files that `inputs` mean: files as they are, folders for the checkpoints in them.
///
/// In a folder these are the files that match `pattern`; without one, those that match [`CHECKPOINT_PATTERN`] where
/// any does, else every file that a format recognises and that is neither a store nor a part of one. Files that are
/// `coming` count as if they were there.
///
/// # Errors
/// Where a folder has none, or a file is meant twice.
pub fn find(
    inputs: &[PathBuf],
    pattern: Option<&str>,
    options: &LocateOptions,
    coming: &[Checkpoint],
) -> Result<Vec<Input>, InputError> {
    let mut files = Vec::new();
    for input in inputs {
        if input.is_dir() && !is_container(input) {
            files.extend(in_folder(input, pattern, options, coming)?);
        } else {
            let coming = coming.iter().find(|checkpoint| resolved(&checkpoint.path) == resolved(input));
            files.push(coming.map_or_else(|| Input::unseen(input.clone()), Input::coming));
        }
    }
    let mut seen: Vec<PathBuf> = files.iter().map(|file| resolved(&file.path)).collect();
    seen.sort();
    if let Some(twice) = seen.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(InputError::Twice { path: twice[0].clone() });
    }
    Ok(files)
}

/// The one path of a file, however it is spelled. Where there is no file, of the place where it would be.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    if let Ok(path) = path.canonicalize() {
        return path;
    }
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if folder.as_os_str().is_empty() => resolved(Path::new(".")).join(name),
        (Some(folder), Some(name)) => resolved(folder).join(name),
        _ => path.to_path_buf(),
    }
}

/// Whether a folder is itself what others keep in a file (Zarr).
fn is_container(folder: &Path) -> bool {
    folder.is_dir() && detect(folder).is_ok()
}

fn in_folder(
    folder: &Path,
    pattern: Option<&str>,
    options: &LocateOptions,
    coming: &[Checkpoint],
) -> Result<Vec<Input>, InputError> {
    let place = resolved(folder);
    let is_here = |checkpoint: &&Checkpoint| resolved(folder_of(&checkpoint.path)) == place;
    let mut files: Vec<Input> = coming.iter().filter(is_here).map(Input::coming).collect();
    let stood_in: Vec<String> = files.iter().map(|file| file_name(&file.path)).collect();
    for entry in std::fs::read_dir(folder).map_err(FormatError::io("list", folder))? {
        let path = entry.map_err(FormatError::io("list", folder))?.path();
        if (path.is_file() || is_container(&path)) && !stood_in.contains(&file_name(&path)) {
            files.push(Input::unseen(path));
        }
    }
    files.retain(|file| !file_name(&file.path).starts_with('.'));
    files.sort_by(|a, b| natural_order(&file_name(&a.path), &file_name(&b.path)));
    let text = pattern.unwrap_or(CHECKPOINT_PATTERN);
    let glob = glob::Pattern::new(text).map_err(|source| InputError::Pattern { pattern: text.into(), source })?;
    let (mut found, others): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| glob.matches(&file_name(&file.path)));
    if found.is_empty() && pattern.is_none() {
        found = others.into_par_iter().filter_map(|file| checkpoint(file, options)).collect();
    }
    if found.is_empty() {
        return Err(InputError::Empty { folder: folder.to_path_buf(), pattern: pattern.map(String::from) });
    }
    Ok(found)
}

/// A file in a folder, if it is meant. A broken file is: it must become an error and not a gap.
fn checkpoint(file: Input, options: &LocateOptions) -> Option<Input> {
    let (path, name) = (&file.path, file_name(&file.path));
    if [".part", ".part.json", ".partial", ".articles.parquet", ".meta.json", ".manifest.jsonl"]
        .iter()
        .any(|suffix| name.ends_with(suffix))
    {
        return None;
    }
    if let Known::Coming(_) = file.known {
        let sidecar = format_for_extension(path).and_then(|format| format.store_files(path).metadata);
        return Some(file).filter(|_| !sidecar.is_some_and(|metadata| metadata.exists()));
    }
    let format = detect(path).ok()?;
    if format.store_files(path).metadata.is_some_and(|metadata| metadata.exists()) {
        return None;
    }
    let found = Sighting::of(path, options);
    let is_meant = match &found {
        Ok(found) => !matches!(found.kind(), ArrayKind::Store { .. }),
        // A pickled list, a table without floats: articles. A compressed file of anything else.
        Err(CheckpointError::Format(
            FormatError::Locate { source: LocateError::NoDict { .. }, .. }
            | FormatError::NoFloats { .. }
            | FormatError::Unknown { .. },
        )) => false,
        Err(_) => true,
    };
    is_meant.then_some(Input { known: Known::Found(found), ..file })
}
