//! One checkpoint: where its rows lie and which rows of the whole matrix they are.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use embstore_formats::{ArrayKind, ArrayMeta, Fields, FormatError, LocateOptions, Located, Payload, detect};
use serde_json::Value;

use crate::identity::Identity;
use crate::text::thousands;

/// A located checkpoint whose range agrees with its rows.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The file.
    pub path: PathBuf,
    /// The file's identity when it was located.
    pub identity: Identity,
    /// Shape and element type.
    pub array: ArrayMeta,
    /// Where the rows lie.
    pub payload: Payload,
    /// Rows of the whole matrix; `None` for a bare array.
    pub range: Option<Range<u64>>,
    /// The cluster that made it, from the file or its name.
    pub cluster_id: Option<i64>,
    /// The GPU that made it, from the file or its name.
    pub gpu_id: Option<i64>,
    /// The field that was asked for.
    pub key: String,
    /// The other plain values in the file.
    pub fields: Fields,
    /// What a reader should know, though it is no error.
    pub notes: Vec<String>,
}

/// What makes a file no checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A required field is missing.
    #[error("{}: has no field {field:?}; it has {have}", path.display())]
    MissingField {
        /// The file.
        path: PathBuf,
        /// The missing field.
        field: &'static str,
        /// The fields that are there.
        have: String,
    },
    /// A field is no integer.
    #[error("{}: {field:?} is {got}, not an integer from 0", path.display())]
    NotAnIndex {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// Its value.
        got: String,
    },
    /// The range is not as long as the array.
    #[error(
        "{}: start_index {} and end_index {} span {} rows, but \"embeddings\" has {}",
        path.display(), thousands(*start), thousands(*end), thousands(end.saturating_sub(*start)), thousands(*rows)
    )]
    RangeLength {
        /// The file.
        path: PathBuf,
        /// First row.
        start: u64,
        /// One past the last row.
        end: u64,
        /// Rows of the array.
        rows: u64,
    },
    /// The file changed between two looks.
    #[error("{}: changed while it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

impl CheckpointError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            CheckpointError::Format(source) => source.hint(),
            CheckpointError::MissingField { .. } | CheckpointError::NotAnIndex { .. } => {
                "a checkpoint needs embeddings, start_index and end_index: re-run that worker".into()
            }
            CheckpointError::RangeLength { .. } => "the worker stopped early or mislabelled its rows: re-run it".into(),
            CheckpointError::Changed { .. } => "something writes to it: let it finish, then run it again".into(),
        }
    }
}

/// What was found in a file, and which file that was.
#[derive(Debug)]
pub(crate) struct Sighting {
    pub(crate) identity: Identity,
    pub(crate) key: String,
    pub(crate) located: Located,
}

impl Sighting {
    /// Locates the rows of `path`; they are not read.
    pub(crate) fn of(path: &Path, options: &LocateOptions) -> Result<Self, CheckpointError> {
        let identity = Identity::at(path)?;
        let located = detect(path)?.locate(path, options)?;
        Ok(Sighting { identity, key: options.key.clone(), located })
    }

    pub(crate) fn kind(&self) -> ArrayKind {
        self.located.kind
    }
}

impl Checkpoint {
    /// Locates the rows of `path` and checks its range; the payload is not read.
    ///
    /// # Errors
    /// Whatever makes it no checkpoint.
    pub fn open(path: &Path, options: &LocateOptions) -> Result<Self, CheckpointError> {
        Self::take(path, Sighting::of(path, options)?, None)
    }

    /// The same for a file whose first row is given, whatever the file says of it.
    ///
    /// # Errors
    /// Whatever makes it no checkpoint.
    pub fn open_at(path: &Path, options: &LocateOptions, start: u64) -> Result<Self, CheckpointError> {
        Self::take(path, Sighting::of(path, options)?, Some(start))
    }

    /// Takes over what was found in `path`, which must still be the same file.
    pub(crate) fn take(path: &Path, found: Sighting, start: Option<u64>) -> Result<Self, CheckpointError> {
        if Identity::at(path)? != found.identity {
            return Err(CheckpointError::Changed { path: path.to_path_buf() });
        }
        Self::of(path, found, start)
    }

    /// Makes a checkpoint of what was found; nothing is opened.
    pub(crate) fn of(path: &Path, found: Sighting, start: Option<u64>) -> Result<Self, CheckpointError> {
        let Sighting { identity, key, located } = found;
        let rows = located.array.rows();
        let range = match (start, located.kind) {
            (Some(start), _) => Some(start..start.saturating_add(rows)),
            (None, ArrayKind::Field) => Some(range(path, &located.fields, rows)?),
            (None, ArrayKind::Bare | ArrayKind::Store { .. }) => None,
        };
        let (cluster, gpu) = ids_in_name(path).unzip();
        Ok(Checkpoint {
            path: path.to_path_buf(),
            identity,
            array: located.array,
            payload: located.payload,
            range,
            cluster_id: located.fields.get("cluster_id").and_then(Value::as_i64).or(cluster),
            gpu_id: located.fields.get("gpu_id").and_then(Value::as_i64).or(gpu),
            key,
            fields: located.fields,
            notes: located.notes,
        })
    }

    /// Reads what [`Checkpoint::open`] cannot know without reading: that an encoded payload has the length of its shape.
    ///
    /// # Errors
    /// Where it has not.
    pub fn check_payload(&self) -> Result<(), CheckpointError> {
        if !matches!(self.payload, Payload::Coded(_)) {
            return Ok(());
        }
        let file = File::open(&self.path).map_err(FormatError::io("open", &self.path))?;
        Ok(self.payload.check(&file)?)
    }

    /// The file's name without its folder.
    #[must_use]
    pub fn name(&self) -> String {
        file_name(&self.path)
    }
}

/// A path's last part, as text.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

pub(crate) fn range(path: &Path, fields: &Fields, rows: u64) -> Result<Range<u64>, CheckpointError> {
    let index = |field| {
        let value = fields.get(field).ok_or_else(|| CheckpointError::MissingField {
            path: path.to_path_buf(),
            field,
            have: std::iter::once("embeddings").chain(fields.keys().map(String::as_str)).collect::<Vec<_>>().join(", "),
        })?;
        value.as_u64().ok_or_else(|| CheckpointError::NotAnIndex {
            path: path.to_path_buf(),
            field,
            got: value.to_string(),
        })
    };
    let (start, end) = (index("start_index")?, index("end_index")?);
    if end.checked_sub(start) != Some(rows) {
        return Err(CheckpointError::RangeLength { path: path.to_path_buf(), start, end, rows });
    }
    Ok(start..end)
}

/// Cluster and GPU of a file named `cluster<int>_gpu<int>.pkl`, compressed or not.
#[must_use]
pub fn ids_in_name(path: &Path) -> Option<(i64, i64)> {
    let name = path.file_name()?.to_str()?;
    let packed = [".gz", ".zst", ".bz2", ".xz", ".lzma", ".lz4", ".z"];
    let name = packed.iter().find_map(|extension| name.strip_suffix(extension)).unwrap_or(name).strip_suffix(".pkl")?;
    let (cluster, gpu) = name.strip_prefix("cluster")?.split_once("_gpu")?;
    let int = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?;
    Some((int(cluster)?, int(gpu)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_from_file_names() {
        let ids = |name: &str| ids_in_name(Path::new(name));
        assert_eq!(ids("embeddings/cluster1_gpu3.pkl"), Some((1, 3)));
        assert_eq!(ids("cluster12_gpu07.pkl"), Some((12, 7)));
        assert_eq!(ids("cluster1_gpu3.pkl.gz"), Some((1, 3)));
        for name in
            ["cluster_gpu3.pkl", "cluster1_gpu.pkl", "cluster1_gpu3.npy", "xcluster1_gpu3.pkl", "cluster-1_gpu3.pkl"]
        {
            assert_eq!(ids(name), None, "{name}");
        }
    }
}
