//! Info: what a file is, from its header alone.

use std::path::{Path, PathBuf};

use embstore_formats::{ArrayKind, Fields, FormatError, LocateOptions, detect};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::error::Error;
use crate::partial::complete_publication;
use crate::store::Store;

/// What a file is.
#[derive(Clone, Debug)]
pub struct Info {
    /// The file.
    pub path: PathBuf,
    /// What kind of thing it is.
    pub kind: Kind,
    /// Its format.
    pub format: &'static str,
    /// Rows and columns, where it holds a matrix.
    pub shape: Option<(u64, u64)>,
    /// Element type, where it holds a matrix.
    pub dtype: Option<&'static str>,
    /// The plain values in it.
    pub metadata: Fields,
    /// What would make a merge refuse it.
    pub problems: Vec<String>,
}

/// The kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Rows with their range.
    Checkpoint,
    /// Rows without a range.
    Array,
    /// A merged matrix.
    Store,
    /// Anything else that can be read.
    Other,
}

impl Kind {
    /// The word for it in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Checkpoint => "checkpoint",
            Kind::Array => "array",
            Kind::Store => "store",
            Kind::Other => "other",
        }
    }
}

/// Describes `path`. The rows are not read, so this costs milliseconds whatever its size (but for protocol 0 pickles,
/// whose rows are lines without a length).
///
/// # Errors
/// Where the file cannot be read safely. A file that can be read but not merged is described, with its problems.
pub fn info(path: &Path, key: &str) -> Result<Info, Error> {
    complete_publication(path)?;
    let format = detect(path)?;
    let options = LocateOptions { key: key.into(), ..LocateOptions::default() };
    let located = match format.locate(path, &options) {
        Ok(located) => located,
        Err(error @ (FormatError::Locate { .. } | FormatError::Npy { .. } | FormatError::NoRows { .. })) => {
            return Ok(Info {
                path: path.to_path_buf(),
                kind: Kind::Other,
                format: format.name(),
                shape: None,
                dtype: None,
                metadata: format.describe(path, &options)?,
                problems: vec![error.to_string()],
            });
        }
        Err(error) => return Err(error.into()),
    };
    let mut problems = located.notes;
    let (kind, metadata) = match located.kind {
        ArrayKind::Field => {
            match Checkpoint::open(path, &options) {
                Ok(_) | Err(CheckpointError::Changed { .. }) => {}
                Err(error) => problems.push(error.to_string()),
            }
            (Kind::Checkpoint, located.fields)
        }
        ArrayKind::Store { .. } | ArrayKind::Bare => match Store::open(path) {
            Ok(store) => match store.metadata() {
                Some(metadata) => (Kind::Store, metadata.clone()),
                None => (Kind::Array, located.fields),
            },
            Err(error) => {
                problems.push(error.to_string());
                (Kind::Store, located.fields)
            }
        },
    };
    Ok(Info {
        path: path.to_path_buf(),
        kind,
        format: format.name(),
        shape: Some((located.array.rows(), located.array.cols())),
        dtype: Some(located.array.dtype.name()),
        metadata,
        problems,
    })
}
