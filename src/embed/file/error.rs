//! What can go wrong with one file.

use std::io;
use std::path::{Path, PathBuf};

use embstore_encoder::{EngineError, TokenizerError};
use parquet::errors::ParquetError;

use crate::table::{StageError, TableError};
use crate::text::thousands;

/// Why a file has no embeddings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The input cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The output, or its folder, cannot be written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The rows of the input are not those that its footer tells.
    #[error("{}: its footer tells {} rows, but there are {}", path.display(), thousands(*told), thousands(*got))]
    Rows {
        /// The input.
        path: PathBuf,
        /// What the footer tells.
        told: u64,
        /// Rows that could be read.
        got: u64,
    },
    /// No column has one of the usual names.
    #[error("{}: no column is named text, body, content or chain; it has {columns}", path.display())]
    NoTextColumn {
        /// The input.
        path: PathBuf,
        /// Its columns with their types.
        columns: String,
    },
    /// Several columns have usual names.
    #[error("{}: {candidates} could each be the text; it has {columns}", path.display())]
    ManyTextColumns {
        /// The input.
        path: PathBuf,
        /// Their names.
        candidates: String,
        /// All columns with their types.
        columns: String,
    },
    /// The column that was asked for is not there.
    #[error("{}: has no column {name:?}; it has {columns}", path.display())]
    MissingTextColumn {
        /// The input.
        path: PathBuf,
        /// What was asked for.
        name: String,
        /// Its columns with their types.
        columns: String,
    },
    /// The text column holds something else.
    #[error("{}: the column {name:?} holds {kind}, not text", path.display())]
    NotText {
        /// The input.
        path: PathBuf,
        /// The column.
        name: String,
        /// Its type.
        kind: String,
    },
    /// The input has embeddings already.
    #[error("{}: has a column {name:?} already", path.display())]
    HasEmbeddings {
        /// The input.
        path: PathBuf,
        /// The column.
        name: String,
    },
    /// Input and output are one file.
    #[error("{}: is the input and the output", path.display())]
    SameFile {
        /// The file.
        path: PathBuf,
    },
    /// A text cannot be cut into tokens.
    #[error("{}: row {row}: {source}", path.display())]
    Tokenize {
        /// The input.
        path: PathBuf,
        /// The row, counted from 0.
        row: u64,
        /// Why.
        source: TokenizerError,
    },
    /// The engine fails.
    #[error("{}: {source}", path.display())]
    Engine {
        /// The input.
        path: PathBuf,
        /// What it says.
        source: EngineError,
    },
    /// The engine made something that is no number.
    #[error("{}: row {row}: the embedding holds NaN or infinities", path.display())]
    NonFinite {
        /// The input.
        path: PathBuf,
        /// The row, counted from 0.
        row: u64,
    },
    /// The output was made with another model.
    #[error("{}: was made with another model ({theirs}), this worker has {ours}", path.display())]
    OtherModel {
        /// The output.
        path: PathBuf,
        /// Its model: name and hash.
        theirs: String,
        /// This worker's.
        ours: String,
    },
    /// The output cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file under construction.
        path: PathBuf,
        /// What the library says.
        source: ParquetError,
    },
    /// Another worker has taken the job over.
    #[error("{}: another worker has taken this job: the lease ran out", path.display())]
    LeaseLost {
        /// The input.
        path: PathBuf,
    },
    /// It was asked to stop.
    #[error("interrupted")]
    Cancelled,
}

impl From<StageError> for FileError {
    fn from(StageError { action, path, source }: StageError) -> Self {
        FileError::Io { action, path, source }
    }
}

/// Whose fault it is, which decides what becomes of the job and of the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The file's: the job fails, the worker goes on.
    File,
    /// The worker's or its disk's: every other job would fail too, so it gives the job back and ends.
    Worker,
    /// The device's, or that of a text that is too much for it; or that of the place of one output, if not of all. The job
    /// fails. A worker that shares a queue ends, so that it cannot fail them all.
    Device,
    /// Nobody's: the job is given back or belongs to another.
    Nobody,
}

/// Some of what the system refuses, it may refuse of this output alone.
fn fault_of_system(error: &io::Error) -> Fault {
    use io::ErrorKind::{
        AlreadyExists, DirectoryNotEmpty, InvalidFilename, IsADirectory, NotADirectory, NotFound, PermissionDenied,
    };
    match error.kind() {
        AlreadyExists | DirectoryNotEmpty | InvalidFilename | IsADirectory | NotADirectory | NotFound
        | PermissionDenied => Fault::Device,
        _ => Fault::Worker,
    }
}

impl FileError {
    pub(super) fn io<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> FileError + use<'a> {
        move |source| FileError::Io { action, path: path.to_path_buf(), source }
    }

    pub(crate) fn fault(&self) -> Fault {
        match self {
            FileError::Cancelled | FileError::LeaseLost { .. } => Fault::Nobody,
            FileError::Write { source: ParquetError::External(source), .. } => {
                source.downcast_ref().map_or(Fault::Worker, fault_of_system)
            }
            FileError::Write { .. } => Fault::Worker,
            FileError::Io { source, .. } => fault_of_system(source),
            FileError::Engine { .. } => Fault::Device,
            _ => Fault::File,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            FileError::Table(source @ TableError::Codec { .. }) => source.hint(),
            FileError::Table(source) => format!("{}, then embstore embed retry", source.hint()),
            FileError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some space, then start the worker again".into()
            }
            FileError::Io { .. } | FileError::Write { .. } => {
                "check the disk and the permissions of the folder, then start the worker again".into()
            }
            FileError::Rows { .. } => "write or fetch it again, then embstore embed retry".into(),
            FileError::NoTextColumn { .. }
            | FileError::ManyTextColumns { .. }
            | FileError::MissingTextColumn { .. } => "name the column: --text-column NAME".into(),
            FileError::NotText { .. } => "name another column: --text-column NAME, or write it as strings".into(),
            FileError::HasEmbeddings { .. } => "give the file without its emb_ columns".into(),
            FileError::SameFile { .. } => "choose another --output, or another folder for --embeddings".into(),
            FileError::Tokenize { .. } => "look at that row, and at tokenizer.json of the model".into(),
            FileError::Engine { .. } | FileError::NonFinite { .. } => {
                "try another engine: --engine builtin, or --device cpu".into()
            }
            FileError::OtherModel { .. } => {
                "embed into another folder: --embeddings DIR; or replace this one: --input, --output and --force".into()
            }
            FileError::LeaseLost { .. } => "nothing is lost; a longer --lease avoids doing work twice".into(),
            FileError::Cancelled => "run the same command to go on".into(),
        }
    }
}
