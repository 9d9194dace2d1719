//! Parquet tables that embstore reads and writes row by row: folders of them, their footers, their texts, and files that
//! appear whole.

mod folders;
mod footer;
mod open;
mod staged;
mod texts;

pub(crate) use folders::{FolderOfTables, WalkError, walk};
pub(crate) use footer::{batch_rows, compression, footer, foreign_pairs, properties};
pub use open::TableError;
pub(crate) use open::open;
#[cfg(feature = "cluster")]
pub(crate) use staged::is_staged;
pub(crate) use staged::{StageError, Staged};
pub(crate) use texts::{USUAL_NAMES, is_text, listed, texts};
