//! What a worker has done.

use crate::embed::file::{FileError, FileReport};

/// What a worker has done.
#[derive(Debug, Default)]
pub struct WorkReport {
    /// Files that have their embeddings now.
    pub embedded: u64,
    /// Files that had them.
    pub skipped: u64,
    /// Jobs that another worker took over because the lease ran out.
    pub lost: u64,
    /// Files that have none.
    pub failed: Vec<FailedFile>,
    /// Counts over the files that were embedded.
    pub totals: FileReport,
    /// Seconds, waiting for jobs included.
    pub seconds: f64,
    /// Whether it was asked to stop.
    pub interrupted: bool,
}

/// A file without embeddings.
#[derive(Debug)]
pub struct FailedFile {
    /// The input.
    pub input: String,
    /// Why.
    pub error: FileError,
}
