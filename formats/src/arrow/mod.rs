//! Arrow IPC files, which are also Feather files of version 2.
//!
//! ```text
//! "ARROW1" 0 0 │ schema │ record batch: ff ff ff ff │ length │ flatbuffer │ validity, values … of every column │ …
//!              │ footer (flatbuffer: schema, where every batch lies, metadata) │ its length, i32 │ "ARROW1"
//! ```
//!
//! Specification: <https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format>.
//!
//! Accepted: float, double and halffloat in little-endian order, either as numbered columns or as one column of lists
//! (see [`crate::tabular`]); buffers as they are, or compressed with LZ4 or zstd. Lists that are not compressed are
//! regions, one a batch: they are never decoded. Refused: nulls, ragged lists, big-endian files, and streams, which have
//! no footer.
//!
//! Memory of a thread that reads: two blocks of 4 MiB, and up to 16 MiB of compressed numbered columns; more of them go
//! to a file without a name in the scratch folder. A thread that writes holds a batch three times, as it is, as columns
//! and encoded: 48 MiB by default.
//!
//! embstore's own exports have the columns `id`, `title` and `url`, if there are articles, and `embeddings`; all of the
//! metadata is the value of the key `embstore` in the footer.

mod batch;
mod buffer;
mod export;
mod flat;
mod footer;
mod list;
mod locate;
mod text;

use std::ops::ControlFlow;
use std::path::Path;

use crate::array::ArrayMeta;
use crate::articles::Article;
use crate::error::FormatError;
use crate::format::{Confidence, Fields, Format, LocateOptions, Located, Probe, Writes};
use crate::target::{Layout, Target};

const MAGIC: &[u8; 6] = b"ARROW1";

/// Arrow IPC files.
#[derive(Debug)]
pub(crate) struct Arrow;

impl Format for Arrow {
    fn name(&self) -> &'static str {
        "arrow"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["arrow", "feather", "ipc"]
    }

    fn detect(&self, probe: &Probe) -> Confidence {
        if probe.head.starts_with(MAGIC) { Confidence::Yes } else { Confidence::No }
    }

    fn locate(&self, path: &Path, options: &LocateOptions) -> Result<Located, FormatError> {
        locate::locate(path, options)
    }

    fn describe(&self, path: &Path, _options: &LocateOptions) -> Result<Fields, FormatError> {
        locate::describe(path)
    }

    fn articles(&self, path: &Path, visit: &mut dyn FnMut(Article<'_>) -> ControlFlow<()>) -> Result<u64, FormatError> {
        text::articles(path, visit)
    }

    fn writes(&self) -> Writes {
        Writes::Exports
    }

    fn check_layout(&self, path: &Path, array: &ArrayMeta, layout: &Layout) -> Result<u64, FormatError> {
        export::options(path, layout)?;
        // The rows, their columns, and the columns as they are written.
        Ok(3 * export::rows_of_chunk(path, array, layout)? * array.row_bytes())
    }

    fn create(&self, path: &Path, array: ArrayMeta, layout: &Layout) -> Result<Box<dyn Target>, FormatError> {
        Ok(Box::new(export::ArrowExport::create(path, array, layout)?))
    }
}

/// A file that is not what its footer tells.
fn damaged(path: &Path, what: impl Into<String>) -> FormatError {
    FormatError::Container {
        path: path.to_path_buf(),
        what: what.into(),
        hint: "the file is damaged or not finished: fetch it again, or write it again",
    }
}
