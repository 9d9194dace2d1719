//! What can be wrong with a file: one enum, every variant with its path.
//!
//! A message has three parts: what is wrong and where ([`Display`](std::fmt::Display)), and what to do
//! ([`FormatError::hint`]).

use std::io;
use std::path::{Path, PathBuf};

use crate::articles::ArticlesError;
use crate::npy::NpyError;
use crate::pickle::{LocateError, PickleError};

/// A file that cannot be read or written as a format.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, for example `read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's own error.
        source: io::Error,
    },
    /// No format recognises the file.
    #[error("{}: {found}, no format that embstore reads", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        found: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// A pickle that is broken or not safe.
    #[error("{}: {source}", path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// What the scanner met.
        source: PickleError,
    },
    /// A sound pickle without usable rows.
    #[error("{}: {source}", path.display())]
    Locate {
        /// The file.
        path: PathBuf,
        /// What is missing.
        source: LocateError,
    },
    /// A `.npy` file with a bad header.
    #[error("{}: {source}", path.display())]
    Npy {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: NpyError,
    },
    /// Articles that cannot be used.
    #[error("{}: {source}", path.display())]
    Articles {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: ArticlesError,
    },
    /// A container that cannot be read or written; its library or its own parser says why.
    #[error("{}: {what}", path.display())]
    Container {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where in the file.
        what: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// A sound container without usable rows: no array under that name, or one of another type or shape.
    #[error("{}: {what}", path.display())]
    NoRows {
        /// The file.
        path: PathBuf,
        /// What is there instead.
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// A sound table without a single column of floats: articles perhaps, but no rows.
    #[error("{}: has no column of floats; it has {what}", path.display())]
    NoFloats {
        /// The file.
        path: PathBuf,
        /// The columns that are there.
        what: String,
    },
    /// A format has no place for what is asked of it.
    #[error("{}: {what}", path.display())]
    Layout {
        /// The file to be written.
        path: PathBuf,
        /// What it lacks.
        what: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// The payload is longer or shorter than shape times item size.
    #[error("{}: the payload at byte {offset} has {got} bytes, its shape needs {expected}", path.display())]
    PayloadLength {
        /// The file.
        path: PathBuf,
        /// Where the payload starts.
        offset: u64,
        /// Shape times item size.
        expected: u64,
        /// Bytes that are there.
        got: u64,
    },
    /// The file ended while its rows were read.
    #[error("{}: the file ends inside row {row}", path.display())]
    Shrunk {
        /// The file.
        path: PathBuf,
        /// The first row, counted within the file, that could not be read.
        row: u64,
    },
}

impl FormatError {
    /// An [`FormatError::Io`] with its path.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FormatError {
        let path = path.to_path_buf();
        move |source| FormatError::Io { action, path, source }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            FormatError::Io { source, .. } if is_out_of_descriptors(source) => {
                "allow more open files (ulimit -n): every compressed input keeps one open".into()
            }
            FormatError::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => "check the path".into(),
                io::ErrorKind::PermissionDenied => "check the permissions of the file and its folder".into(),
                io::ErrorKind::IsADirectory => "this is a folder: name a file in it".into(),
                io::ErrorKind::NotADirectory => "a file is where a folder should be: move it out of the way".into(),
                io::ErrorKind::InvalidData => "the file is damaged: fetch it again or re-run that worker".into(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free some space, then run it again".into()
                }
                _ => "check the disk, then run it again".into(),
            },
            FormatError::Unknown { hint, .. }
            | FormatError::Container { hint, .. }
            | FormatError::Layout { hint, .. } => (*hint).into(),
            FormatError::NoRows { hint, .. } => hint.clone(),
            FormatError::NoFloats { .. } => "give the file that holds the embeddings".into(),
            FormatError::Pickle { source, .. } => source.hint().to_string(),
            FormatError::Locate { source, .. } => source.hint(),
            FormatError::Npy { source, .. } => source.hint(),
            FormatError::Articles { source, .. } => source.hint(),
            FormatError::PayloadLength { .. } => "the file is damaged: fetch it again or re-run that worker".into(),
            FormatError::Shrunk { .. } => "something writes to the file: let it finish, then run it again".into(),
        }
    }
}

/// Whether the process, or the whole system, has too many files open.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
