//! Articles: the items that the rows stand for, in row order.
//!
//! Read from a pickled list of dicts, JSON lines or Parquet, and written as Parquet or as a section of a pickle.
//! Whatever the source, only `id`, `title` and `url` are kept and only one item at a time is held: a text of any
//! length is stepped over.

mod content;
mod jsonl;
mod parquet;
mod pickle;

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;

pub use content::ContentHasher;
pub use parquet::{ParquetArticles, parquet_count};
#[cfg(feature = "containers")]
pub(crate) use parquet::{read as read_parquet, read_group as read_parquet_group};

use crate::checksum::Checksum;
use crate::error::FormatError;
use crate::format::{Format, LocateOptions, Probe, recognise};
use crate::pickle::{PickleError, PickleFormat};

/// The keys of an article, in the order in which stores hold them.
pub const KEYS: [&str; 3] = ["id", "title", "url"];

/// One item. Integer ids have become decimal text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Article<'a> {
    /// Identifier.
    pub id: &'a str,
    /// Title.
    pub title: &'a str,
    /// Address.
    pub url: &'a str,
}

/// Takes articles in row order.
pub trait ArticleSink: Send {
    /// Appends one.
    ///
    /// # Errors
    /// Where the file cannot be written.
    fn push(&mut self, article: Article<'_>) -> Result<(), FormatError>;
    /// Writes what is buffered and says what was written. The bytes are not yet synced.
    ///
    /// # Errors
    /// Where the file cannot be written.
    fn finish(self: Box<Self>) -> Result<ArticlesWritten, FormatError>;
}

/// What an [`ArticleSink`] has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArticlesWritten {
    /// Number of articles.
    pub count: u64,
    /// Checksum and length of their file; of their content ([`ContentHasher`]) where the store holds them itself.
    pub checksum: Checksum,
}

/// What can be wrong with articles.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArticlesError {
    /// An item lacks a key.
    #[error("article {index} has no {key:?}; it has {}", list(have))]
    MissingKey {
        /// Position in the list, from 0.
        index: u64,
        /// The missing key.
        key: &'static str,
        /// The keys that are there.
        have: Vec<String>,
    },
    /// A value is neither text nor, for an id, an integer.
    #[error("article {index}: {key:?} is {got}, not text")]
    WrongType {
        /// Position in the list, from 0.
        index: u64,
        /// The key.
        key: &'static str,
        /// The type that was met.
        got: String,
    },
    /// A value is text, but not one that can be had.
    #[error("article {index}: {key:?}: {source}")]
    Text {
        /// Position in the list, from 0.
        index: u64,
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        source: PickleError,
    },
    /// An item is no dict.
    #[error("article {index} is {got}, not a dict")]
    NotADict {
        /// Position in the list, from 0.
        index: u64,
        /// The type that was met.
        got: String,
    },
    /// The pickle holds something else than a list.
    #[error("holds {got}, not a list of articles")]
    NotAList {
        /// The type that was met.
        got: String,
    },
    /// A line is no JSON object.
    #[error("line {line}: {source}")]
    Line {
        /// Line number, from 1.
        line: u64,
        /// What the JSON parser says, with its column.
        source: serde_json::Error,
    },
    /// A line is too long to be one article.
    #[error("line {line} is longer than {limit} bytes")]
    LongLine {
        /// Line number, from 1.
        line: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A Parquet file lacks a column.
    #[error("has no column {key:?}; it has {}", list(have))]
    MissingColumn {
        /// The missing column.
        key: &'static str,
        /// The columns that are there.
        have: Vec<String>,
    },
    /// What the Parquet library says.
    #[error("{0}")]
    Parquet(#[from] ::parquet::errors::ParquetError),
    /// A pickle that is broken or not safe.
    #[error("{0}")]
    Pickle(#[from] PickleError),
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

impl ArticlesError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            ArticlesError::MissingKey { .. } | ArticlesError::NotADict { .. } | ArticlesError::WrongType { .. } => {
                "every article needs the keys id, title and url (text; an id may be an integer)".into()
            }
            ArticlesError::NotAList { .. } => "give a pickled list of dicts with the keys id, title and url".into(),
            ArticlesError::Line { .. } | ArticlesError::LongLine { .. } => "give one JSON object a line".into(),
            ArticlesError::MissingColumn { .. } => "rename the columns to id, title and url".into(),
            ArticlesError::Parquet(_) => "check the file with another Parquet reader, or write it again".into(),
            ArticlesError::Text { source, .. } | ArticlesError::Pickle(source) => source.hint().to_string(),
        }
    }

    pub(crate) fn at(self, path: &Path) -> FormatError {
        FormatError::Articles { path: path.to_path_buf(), source: self }
    }
}

/// Hands every article of `path` to `visit`, in order, until it breaks off; returns how many were handed over.
///
/// The format is told by content: Parquet, JSON lines, a store that holds its articles itself, or else a pickle of a
/// list of dicts, or of a dict that has such a list under `articles` (a merged pickle). A compressed file is unpacked into
/// a nameless one in the folder `scratch` before.
///
/// # Errors
/// [`FormatError::Articles`] with the index or line of the culprit.
pub fn read(
    path: &Path,
    scratch: &Path,
    visit: &mut dyn FnMut(Article<'_>) -> ControlFlow<()>,
) -> Result<u64, FormatError> {
    let probe = Probe::of(path)?;
    if let Ok(format) = recognise(&probe) {
        let options = LocateOptions { scratch: scratch.to_path_buf(), ..LocateOptions::default() };
        if let Some(unpacked) = format.unpack(path, &options)? {
            let clone = unpacked.file().try_clone();
            let probe = Probe::of_file(unpacked.file()).map_err(FormatError::io("read", path))?;
            return read_file(clone.map_err(FormatError::io("open", path))?, &probe, path, true, visit);
        }
    }
    let file = File::open(path).map_err(FormatError::io("open", path))?;
    read_file(file, &probe, path, false, visit)
}

/// From an open file, which is the one at `path` or what that one unpacks to.
fn read_file(
    file: File,
    probe: &Probe,
    path: &Path,
    is_unpacked: bool,
    visit: &mut dyn FnMut(Article<'_>) -> ControlFlow<()>,
) -> Result<u64, FormatError> {
    if probe.head.starts_with(b"PAR1") {
        parquet::read(file, visit).map_err(|source| source.at(path))
    } else if probe.head.trim_ascii_start().starts_with(b"{") {
        jsonl::read(file, path, visit)
    } else {
        match recognise(probe) {
            Ok(format) if format.name() == PickleFormat.name() => pickle::read(file, path, visit),
            Ok(format) if is_unpacked => {
                let got = format!("{} data in a compressed file", format.name());
                Err(ArticlesError::NotAList { got }.at(path))
            }
            Ok(format) => format.articles(path, visit),
            _ => pickle::read(file, path, visit),
        }
    }
}
