//! Parquet.
//!
//! ```text
//! "PAR1" │ row group: column chunk │ column chunk │ … │ row group … │ footer (Thrift) │ its length, u32 │ "PAR1"
//!                     └ page │ page │ …   each compressed on its own
//! ```
//!
//! Specification: <https://parquet.apache.org/docs/file-format/>.
//!
//! Accepted: float, double and FLOAT16, either as numbered columns or as one column of lists (see [`crate::tabular`]),
//! in any encoding of theirs; uncompressed, Snappy, gzip, zstd, LZ4. Refused: nulls, ragged lists, encrypted files, and
//! Brotli and LZO by name.
//!
//! Memory of a thread that reads: one page of a column with its dictionary (1 MiB each where writers are left to their
//! defaults, never more than 256 MiB), and two blocks of 4 MiB. Numbered columns are decoded one after another, a row
//! group at a time: up to 16 MiB of them are held, more go to a file without a name in the scratch folder. A thread that
//! writes holds a row group twice, as it is and encoded: 64 MiB by default.
//!
//! embstore's own exports have the columns `id`, `title` and `url`, if there are articles, and `embeddings`; all of the
//! metadata is the value of the key `embstore`.

mod articles;
mod export;
mod flat;
mod list;
mod locate;
mod pages;
mod schema;
mod values;

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;

pub(crate) use articles::{StagedArticles, chunk_articles, staged_path};

use crate::array::ArrayMeta;
use crate::articles::Article;
use crate::error::FormatError;
use crate::format::{Confidence, Fields, Format, LocateOptions, Located, Probe, Writes};
use crate::target::{Layout, Target};

/// Parquet.
#[derive(Debug)]
pub(crate) struct Parquet;

impl Format for Parquet {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["parquet"]
    }

    fn detect(&self, probe: &Probe) -> Confidence {
        if probe.head.starts_with(b"PAR1") { Confidence::Yes } else { Confidence::No }
    }

    fn locate(&self, path: &Path, options: &LocateOptions) -> Result<Located, FormatError> {
        locate::locate(path, options)
    }

    fn describe(&self, path: &Path, _options: &LocateOptions) -> Result<Fields, FormatError> {
        locate::describe(path)
    }

    fn articles(&self, path: &Path, visit: &mut dyn FnMut(Article<'_>) -> ControlFlow<()>) -> Result<u64, FormatError> {
        let file = File::open(path).map_err(FormatError::io("open", path))?;
        crate::articles::read_parquet(file, visit).map_err(|source| source.at(path))
    }

    fn writes(&self) -> Writes {
        Writes::Exports
    }

    fn check_layout(&self, path: &Path, array: &ArrayMeta, layout: &Layout) -> Result<u64, FormatError> {
        export::compression(path, layout)?;
        // The rows, their columns, and the columns as they are written.
        Ok(3 * export::rows_of_chunk(path, array, layout)? * array.row_bytes())
    }

    fn create(&self, path: &Path, array: ArrayMeta, layout: &Layout) -> Result<Box<dyn Target>, FormatError> {
        Ok(Box::new(export::ParquetExport::create(path, array, layout)?))
    }
}

/// What the library says of a file that it cannot read.
fn broken(path: &Path) -> impl Fn(::parquet::errors::ParquetError) -> FormatError {
    let path = path.to_path_buf();
    move |error| FormatError::Container {
        path: path.clone(),
        what: format!("is damaged or not finished: {error}"),
        hint: "fetch it again, or write it again",
    }
}
