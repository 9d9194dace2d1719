//! Ranges that are given beside the checkpoints, for files that do not name their own.
//!
//! JSON lines: `{"file": "part-3.npy", "start_index": 46875}`, by file name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use embstore_formats::FormatError;
use serde::Deserialize;

use crate::checkpoint::file_name;

/// What is wrong with a file of ranges.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RangesError {
    /// A line is no range.
    #[error("{}: line {line}: {source}", path.display())]
    Line {
        /// The file of ranges.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A line names a file that is not merged, or one that another line names.
    #[error("{}: {file:?} is {what}", path.display())]
    File {
        /// The file of ranges.
        path: PathBuf,
        /// The name in it.
        file: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The file cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl RangesError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            RangesError::Line { .. } => r#"a line looks like {"file": "part-3.npy", "start_index": 46875}"#.into(),
            RangesError::File { .. } => "name every file that is merged at most once".into(),
            RangesError::Format(source) => source.hint(),
        }
    }
}

/// First rows by file name.
#[derive(Debug, Default)]
pub(crate) struct Ranges(BTreeMap<String, u64>);

#[derive(Deserialize)]
struct Line {
    file: String,
    start_index: u64,
}

impl Ranges {
    /// Reads the ranges of `files`.
    pub(crate) fn read(path: &Path, files: &[PathBuf]) -> Result<Self, RangesError> {
        let text = std::fs::read_to_string(path).map_err(FormatError::io("read", path))?;
        let mut ranges = BTreeMap::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let line: Line = serde_json::from_str(line).map_err(|source| RangesError::Line {
                path: path.to_path_buf(),
                line: index + 1,
                source,
            })?;
            let file = line.file;
            let wrong = |what| RangesError::File { path: path.to_path_buf(), file: file.clone(), what };
            if !files.iter().any(|path| file_name(path) == file) {
                return Err(wrong("not among the inputs"));
            }
            if ranges.insert(file.clone(), line.start_index).is_some() {
                return Err(wrong("named twice"));
            }
        }
        Ok(Ranges(ranges))
    }

    /// The first row of a file, where it is given.
    pub(crate) fn start_of(&self, path: &Path) -> Option<u64> {
        self.0.get(&file_name(path)).copied()
    }
}
