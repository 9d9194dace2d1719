//! Why nothing is clustered.

use std::path::PathBuf;

use embstore_formats::FormatError;
use parquet::errors::ParquetError;

use crate::checkpoint::CheckpointError;
use crate::inputs::InputError;
use crate::plan::PlanError;
use crate::table::{StageError, TableError, WalkError};
use crate::text::thousands;

/// Why something is not clustered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// No input.
    #[error(transparent)]
    Input(#[from] InputError),
    /// An input holds no rows.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The inputs are no matrix.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A file cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The parameters make no sense, or not for these points.
    #[error(transparent)]
    Hdbscan(#[from] embstore_cluster::Error),
    /// A row holds no number.
    #[error("{}: row {} holds {value} in column {column}", path.display(), thousands(*row))]
    NonFinite {
        /// The input.
        path: PathBuf,
        /// The row, counted from 0 in that file.
        row: u64,
        /// The column of the matrix, counted from 0.
        column: u64,
        /// What it is.
        value: f32,
    },
    /// Nothing is left when rows without numbers are left out.
    #[error("{}: every row holds NaN or infinities", path.display())]
    NothingFinite {
        /// The first input.
        path: PathBuf,
    },
    /// There is no folder of embeddings.
    #[error("{}: no such folder: the embeddings are missing", path.display())]
    NoEmbeddings {
        /// Where it should be.
        path: PathBuf,
    },
    /// What is written would be read.
    #[error("{}: lies in {}, so results would be taken for embeddings", output.display(), embeddings.display())]
    Nested {
        /// The folder of results.
        output: PathBuf,
        /// The folder of embeddings.
        embeddings: PathBuf,
    },
    /// A folder without Parquet files.
    #[error("{}: no Parquet file in this folder or below it", path.display())]
    NoFiles {
        /// The folder.
        path: PathBuf,
    },
    /// No folder has that name.
    #[error("{}: no folder {name:?} with Parquet files in it{near}", path.display())]
    NoSubreddit {
        /// The root.
        path: PathBuf,
        /// The name.
        name: String,
        /// Names that are like it.
        near: String,
    },
    /// In a tree of folders, a file is meant beside each result.
    #[error("{}: is a path, but of a tree of folders each has its own condensed tree", path.display())]
    NotAName {
        /// What was given.
        path: PathBuf,
    },
    /// The columns beside the embeddings differ between two files.
    #[error("{}: has other columns than {}: {difference}", path.display(), first.display())]
    Columns {
        /// The file.
        path: PathBuf,
        /// The first file of the group.
        first: PathBuf,
        /// What differs.
        difference: String,
    },
    /// A column of the input has the name of one of the result.
    #[error("{}: has a column {name:?}, which the result needs for its own", path.display())]
    Taken {
        /// The input.
        path: PathBuf,
        /// The column.
        name: String,
    },
    /// The column of texts is not there or holds none.
    #[error("{}: has no column {name:?} of text; it has {columns}", path.display())]
    NoTextColumn {
        /// The input.
        path: PathBuf,
        /// What was asked for.
        name: String,
        /// The columns that are there.
        columns: String,
    },
    /// A Parquet file cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// An input changed while it was read.
    #[error("{}: changed while it was read", path.display())]
    Changed {
        /// The input.
        path: PathBuf,
    },
    /// The result is also an input.
    #[error("{}: is among the inputs and would be lost", path.display())]
    OutputIsInput {
        /// The file.
        path: PathBuf,
    },
    /// There is a file of another origin.
    #[error("{}: exists and is no result of embstore cluster", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The result cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file under construction.
        path: PathBuf,
        /// What the library says.
        source: ParquetError,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

impl From<StageError> for ClusterError {
    fn from(StageError { action, path, source }: StageError) -> Self {
        ClusterError::Io { action, path, source }
    }
}

impl From<WalkError> for ClusterError {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::Format(source) => ClusterError::Format(source),
            WalkError::Cancelled => ClusterError::Hdbscan(embstore_cluster::Error::Cancelled),
        }
    }
}

impl ClusterError {
    /// Whether the caller asked to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, ClusterError::Hdbscan(embstore_cluster::Error::Cancelled))
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            ClusterError::Input(source) => source.hint(),
            ClusterError::Checkpoint(source) => source.hint(),
            ClusterError::Plan(source) => source.hint(),
            ClusterError::Format(source) => source.hint(),
            ClusterError::Table(source) => source.hint(),
            ClusterError::Hdbscan(source) => {
                source.hint().unwrap_or_else(|| "run the same command to go on; what is finished is kept".into())
            }
            ClusterError::NonFinite { .. } => "embed that text again, or leave such rows out: --non-finite drop".into(),
            ClusterError::NothingFinite { .. } => "embed the texts again".into(),
            ClusterError::NoEmbeddings { .. } => {
                "name the folder: --embeddings DIR; or cluster a store: embstore cluster STORE -o FILE.parquet".into()
            }
            ClusterError::Nested { .. } => "write somewhere else: --output-dir DIR".into(),
            ClusterError::NoFiles { .. } => "make embeddings first: embstore embed work".into(),
            ClusterError::NoSubreddit { .. } => {
                "a subreddit is the name of a folder, or the end of its path: 00/NAME".into()
            }
            ClusterError::NotAName { .. } => "give a bare name: --condensed-tree tree.parquet".into(),
            ClusterError::Columns { .. } => "write the files with the same columns, or cluster them apart".into(),
            ClusterError::Taken { .. } => "rename that column of the input".into(),
            ClusterError::NoTextColumn { .. } => "name another: --text-column NAME".into(),
            ClusterError::Changed { .. } => "something writes to it: let it finish, then run it again".into(),
            ClusterError::OutputIsInput { .. } => "choose another name with -o".into(),
            ClusterError::Foreign { .. } => "choose another name, or replace it: --force".into(),
            ClusterError::Write { .. } | ClusterError::Io { .. } => {
                "check the disk and the permissions of the folder".into()
            }
        }
    }
}
