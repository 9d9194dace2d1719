//! The error policy.
//!
//! Every module has one enum that names the culprit: file, row or byte, expected and got. This one gathers them for
//! the verbs. `Display` says what is wrong and where, [`Error::hint`] what to do; the command line prints both and turns
//! the kind into an exit code. Nothing in the library prints.

use std::path::PathBuf;

use embstore_formats::{FORMATS, FormatError, Writes};

use crate::checkpoint::CheckpointError;
#[cfg(feature = "cluster")]
use crate::cluster::ClusterError;
use crate::copy::CopyError;
#[cfg(feature = "embed")]
use crate::embed::EmbedError;
use crate::inputs::InputError;
use crate::journal::JournalError;
use crate::partial::PartialError;
use crate::plan::PlanError;
use crate::ranges::RangesError;
use crate::sync::SyncError;
use crate::text::{megabytes, thousands};

/// What can go wrong in a verb.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No input.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A file is no checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The ranges given beside the checkpoints are wrong.
    #[error(transparent)]
    Ranges(#[from] RangesError),
    /// The checkpoints are no matrix.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The store cannot be staged or published.
    #[error(transparent)]
    Partial(#[from] PartialError),
    /// The journal cannot be continued.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The copy stopped.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// Nothing can be fetched from the clusters.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// Nothing is queued or embedded.
    #[cfg(feature = "embed")]
    #[error(transparent)]
    Embed(Box<EmbedError>),
    /// Something is not clustered.
    #[cfg(feature = "cluster")]
    #[error(transparent)]
    Cluster(Box<ClusterError>),
    /// A file cannot be read or written.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// No format has this extension.
    #[error("{}: no format of a store has this extension", path.display())]
    Extension {
        /// The store.
        path: PathBuf,
    },
    /// The target is a file that is read.
    #[error("{}: is among the inputs and would be lost", target.display())]
    TargetIsSource {
        /// The target.
        target: PathBuf,
    },
    /// There are no articles.
    #[error("{}: no such file: the articles are missing", path.display())]
    NoArticles {
        /// Where they should be.
        path: PathBuf,
    },
    /// Articles and rows do not match one to one.
    #[error(
        "{}: holds {} articles for {} rows",
        path.display(), thousands(*articles), thousands(*rows)
    )]
    ArticlesCount {
        /// The articles.
        path: PathBuf,
        /// How many there are.
        articles: u64,
        /// How many rows there are.
        rows: u64,
        /// What makes them match, where anything does.
        fit: Option<String>,
    },
    /// The articles changed while they were read.
    #[error("{}: changed while its articles were read", path.display())]
    ArticlesChanged {
        /// The articles.
        path: PathBuf,
    },
    /// NaN or infinities where none are allowed.
    #[error("{} rows hold NaN and {} hold infinities{}", thousands(*nan_rows), thousands(*inf_rows), first)]
    NonFinite {
        /// Rows with a NaN.
        nan_rows: u64,
        /// Rows with an infinity.
        inf_rows: u64,
        /// The first of them and their files, a line each.
        first: String,
    },
    /// The disk is too full.
    #[error(
        "not enough space in {}: needs {}, available {}",
        folder.display(), megabytes(*needed), megabytes(*available)
    )]
    NoSpace {
        /// The folder of the store.
        folder: PathBuf,
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are there.
        available: u64,
    },
    /// What was written reads back as something else; it was not published.
    #[error("{}: what was written does not read back: {what}", path.display())]
    ReadBack {
        /// The staged file.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// Something else than a store.
    #[error("{}: is a checkpoint, not a store", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// The target is something that no merge or export has written.
    #[error("{}: exists and is {what}, which --force does not replace", target.display())]
    NotReplaceable {
        /// The target.
        target: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A target that says nothing of the checkpoints in it.
    #[error("{}: does not say which checkpoints it was merged from, so it cannot be updated", path.display())]
    NotUpdatable {
        /// The target.
        path: PathBuf,
    },
    /// A store and its metadata do not belong together.
    #[error("{}: {what}", path.display())]
    Store {
        /// The store.
        path: PathBuf,
        /// What disagrees.
        what: String,
    },
}

#[cfg(feature = "embed")]
impl From<EmbedError> for Error {
    fn from(error: EmbedError) -> Self {
        Error::Embed(Box::new(error))
    }
}

#[cfg(feature = "cluster")]
impl From<ClusterError> for Error {
    fn from(error: ClusterError) -> Self {
        Error::Cluster(Box::new(error))
    }
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Error::Input(source) => source.hint(),
            Error::Checkpoint(source) => source.hint(),
            Error::Ranges(source) => source.hint(),
            Error::Plan(source) => source.hint(),
            Error::Partial(source) => source.hint(),
            Error::Journal(source) => source.hint(),
            Error::Copy(source) => source.hint(),
            Error::Sync(source) => source.hint(),
            #[cfg(feature = "embed")]
            Error::Embed(source) => source.hint(),
            #[cfg(feature = "cluster")]
            Error::Cluster(source) => source.hint(),
            Error::Format(source) => source.hint(),
            Error::Extension { .. } => {
                let written = FORMATS.iter().filter(|format| format.writes() != Writes::Nothing);
                let names = written.map(|format| format.name()).collect::<Vec<_>>().join(", ");
                format!("say which one it is: --format, which takes {names}")
            }
            Error::NotAStore { path } => format!("merge it first: embstore merge {} -o STORE", path.display()),
            Error::TargetIsSource { .. } | Error::NotReplaceable { .. } => "choose another name with -o".into(),
            Error::NoArticles { .. } => "put the file there, or name another: --articles FILE".into(),
            Error::ArticlesCount { fit: Some(fit), .. } => fit.clone(),
            Error::ArticlesCount { .. } => "give one article a row".into(),
            Error::ArticlesChanged { .. } => "something writes to it: let it finish, then run it again".into(),
            Error::NotUpdatable { .. } => "merge all checkpoints again: --force in place of --update".into(),
            Error::NonFinite { .. } => "re-run those workers, or keep the rows as they are: --non-finite warn".into(),
            Error::NoSpace { .. } => "free some space or choose another disk with -o".into(),
            Error::ReadBack { .. } => {
                "start again with --restart; should it happen twice, check the disk and the memory of this machine"
                    .into()
            }
            Error::Store { .. } => "find out with embstore verify, or build it again with embstore merge".into(),
        }
    }

    /// Whether the caller asked to stop; what has landed is kept.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        match self {
            Error::Copy(CopyError::Cancelled) | Error::Sync(SyncError::Cancelled) => true,
            #[cfg(feature = "embed")]
            Error::Embed(source) => source.is_cancelled(),
            #[cfg(feature = "cluster")]
            Error::Cluster(source) => source.is_cancelled(),
            _ => false,
        }
    }
}
