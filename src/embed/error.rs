//! Why nothing is embedded.

use std::path::PathBuf;

use embstore_encoder::{ChooseError, ModelError};
use embstore_formats::FormatError;

use super::file::FileError;
use super::job::JobError;
use super::queue::QueueError;
use super::scan::ScanError;

/// Why nothing is embedded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// The folders cannot be scanned.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// The queue does not serve.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A file that no job can name.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The model cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Nothing on this machine runs the model as it was asked for.
    #[error(transparent)]
    Choose(#[from] ChooseError),
    /// The worker cannot go on.
    #[error(transparent)]
    File(#[from] FileError),
    /// The operating system refused.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// There is nothing to embed.
    #[error("{}: no Parquet file in this folder or below it", chains.display())]
    NoTexts {
        /// The folder of texts.
        chains: PathBuf,
    },
    /// Nobody can ask how the queue is.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Host and port.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Cancelled,
}

impl EmbedError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            EmbedError::Scan(source) => source.hint(),
            EmbedError::Queue(source) => source.hint(),
            EmbedError::Job(source) => source.hint(),
            EmbedError::Model(source) => source.hint(),
            EmbedError::Choose(source) => source.hint(),
            EmbedError::File(source) => source.hint(),
            EmbedError::Format(source) => source.hint(),
            EmbedError::NoTexts { .. } => "name the folder that holds the texts: --chains DIR".into(),
            EmbedError::Listen { .. } => "choose another port: --metrics 127.0.0.1:9121".into(),
            EmbedError::Cancelled => "run the same command to go on; what has been done is kept".into(),
        }
    }

    /// Whether the caller asked to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        match self {
            EmbedError::Cancelled | EmbedError::Scan(ScanError::Cancelled) | EmbedError::File(FileError::Cancelled) => {
                true
            }
            EmbedError::Queue(source) => source.is_cancelled(),
            _ => false,
        }
    }
}
