//! Info: what a file is, from its header alone.

use std::path::{Path, PathBuf};

use embstore_formats::{ArrayKind, Fields, FormatError, LocateOptions, detect};

use crate::checkpoint::range;
use crate::error::Error;
use crate::identity::Identity;
use crate::partial::complete_publication;
use crate::store::Store;

/// What a file is.
#[derive(Clone, Debug)]
pub struct Info {
    /// The file.
    pub path: PathBuf,
    /// What kind of thing it is.
    pub kind: Kind,
    /// Its format; `pickle in gzip` where it is compressed.
    pub format: String,
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
/// whose rows are lines without a length, and for compressed files, which are unpacked into a nameless one).
///
/// # Errors
/// Where the file cannot be read safely. A file that can be read but not merged is described, with its problems.
pub fn info(path: &Path, key: &str) -> Result<Info, Error> {
    complete_publication(path)?;
    let format = detect(path)?;
    let options = LocateOptions { key: key.into(), ..LocateOptions::default() };
    let identity = Identity::at(path)?;
    let unpacked = format.unpack(path, &options)?;
    let name = match &unpacked {
        Some(unpacked) => format!("{} in {}", unpacked.format()?.name(), unpacked.codec()),
        None => format.name().into(),
    };
    let located = match &unpacked {
        Some(unpacked) => unpacked.locate(&options),
        None => format.locate(path, &options),
    };
    let located = match located {
        Ok(located) => located,
        Err(
            error @ (FormatError::Locate { .. }
            | FormatError::Npy { .. }
            | FormatError::NoRows { .. }
            | FormatError::NoFloats { .. }),
        ) => {
            return Ok(Info {
                path: path.to_path_buf(),
                kind: Kind::Other,
                format: name,
                shape: None,
                dtype: None,
                metadata: match unpacked {
                    Some(unpacked) => unpacked.describe(&options)?,
                    None => format.describe(path, &options)?,
                },
                problems: vec![error.to_string()],
            });
        }
        Err(error) => return Err(error.into()),
    };
    let mut problems = located.notes.clone();
    let (array, fields) = (located.array, located.fields.clone());
    let (kind, metadata) = match located.kind {
        ArrayKind::Field => {
            if let Err(error) = range(path, &fields, array.rows()) {
                problems.push(error.to_string());
            }
            (Kind::Checkpoint, fields)
        }
        ArrayKind::Store { .. } | ArrayKind::Bare => match Store::of(path, format, identity, located) {
            Ok(store) => match store.metadata() {
                Some(metadata) => (Kind::Store, metadata.clone()),
                None => (Kind::Array, fields),
            },
            Err(error) => {
                problems.push(error.to_string());
                (Kind::Store, fields)
            }
        },
    };
    Ok(Info {
        path: path.to_path_buf(),
        kind,
        format: name,
        shape: Some((array.rows(), array.cols())),
        dtype: Some(array.dtype.name()),
        metadata,
        problems,
    })
}
