//! What to merge, and how.

use std::path::PathBuf;
use std::time::SystemTime;

use embstore_formats::{Format, LocateOptions, format_for_extension, format_named};

use crate::error::Error;
use crate::job::BuildOptions;
use crate::partial::folder_of;
use crate::plan::RowRange;

/// What to do with rows that hold NaN or infinities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NonFinite {
    /// Keep them, and say so.
    #[default]
    Warn,
    /// Publish nothing.
    Error,
}

/// What to merge, and how.
#[derive(Clone, Debug)]
pub struct MergeOptions {
    /// Checkpoints, or folders of them.
    pub inputs: Vec<PathBuf>,
    /// Which files of a folder are meant; the workers' own names where absent.
    pub pattern: Option<String>,
    /// The store to write.
    pub output: PathBuf,
    /// Its format by name; by the extension of `output` where absent.
    pub format: Option<String>,
    /// First rows by file name, in JSON lines, for files that do not name their own.
    pub ranges: Option<PathBuf>,
    /// Rows to keep; all where absent.
    pub rows: Option<RowRange>,
    /// The width that every checkpoint must have.
    pub dim: Option<u64>,
    /// The field that holds the rows.
    pub key: String,
    /// Articles, one a row.
    pub articles: Option<PathBuf>,
    /// Name of the model; where absent, what the checkpoints agree on.
    pub model: Option<String>,
    /// What to do with NaN and infinities.
    pub non_finite: NonFinite,
    /// Whether a finished store is brought up to date: what has not changed is taken from it.
    pub update: bool,
    /// When the store was made; now where absent.
    pub timestamp: Option<SystemTime>,
    /// What to do about what is there already, and how the work is done.
    pub build: BuildOptions,
}

impl MergeOptions {
    /// Everything in `input` into `output`, with the defaults of the command line.
    pub fn new(input: impl Into<PathBuf>, output: impl Into<PathBuf>) -> Self {
        MergeOptions {
            inputs: vec![input.into()],
            pattern: None,
            output: output.into(),
            format: None,
            ranges: None,
            rows: None,
            dim: None,
            key: LocateOptions::default().key,
            articles: None,
            model: None,
            non_finite: NonFinite::Warn,
            update: false,
            timestamp: None,
            build: BuildOptions::default(),
        }
    }

    /// The format of the store.
    pub(super) fn format(&self) -> Result<&'static dyn Format, Error> {
        match &self.format {
            Some(name) => format_named(name),
            None => format_for_extension(&self.output),
        }
        .ok_or_else(|| Error::Extension { path: self.output.clone() })
    }

    /// How the checkpoints are read.
    pub(crate) fn locate(&self) -> LocateOptions {
        LocateOptions { key: self.key.clone(), scratch: folder_of(&self.output).to_path_buf() }
    }
}
