//! Opens Parquet files.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

/// Why a Parquet file cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// It cannot be opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is no Parquet file, or a damaged one.
    #[error("{}: is damaged or no Parquet file: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the library says.
        source: ParquetError,
    },
    /// A column is compressed in a way that is not read.
    #[error("{}: the column {column:?} is compressed with {codec}, which embstore does not read", path.display())]
    Codec {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// How it is compressed.
        codec: &'static str,
    },
}

impl TableError {
    pub(crate) fn damaged<'a>(path: &'a Path) -> impl Fn(ParquetError) -> TableError + use<'a> {
        move |source| TableError::Damaged { path: path.to_path_buf(), source }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            TableError::Open { .. } => "check that the file is there and readable on this machine".into(),
            TableError::Damaged { .. } => "write or fetch it again".into(),
            TableError::Codec { .. } => {
                "write it again: pq.write_table(pq.read_table(FILE), NEW, compression=\"zstd\")".into()
            }
        }
    }
}

/// Opens a file that this program can read all of, and tells its length in bytes.
pub(crate) fn open(path: &Path) -> Result<(ParquetRecordBatchReaderBuilder<File>, u64), TableError> {
    let failed = |source| TableError::Open { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(TableError::damaged(path))?;
    match unread_codec(builder.metadata()) {
        Some((column, codec)) => Err(TableError::Codec { path: path.to_path_buf(), column, codec }),
        None => Ok((builder, bytes)),
    }
}

/// A column in a compression that this program is built without.
fn unread_codec(footer: &ParquetMetaData) -> Option<(String, &'static str)> {
    footer.row_groups().iter().flat_map(|group| group.columns()).find_map(|column| {
        let codec = match column.compression() {
            Compression::BROTLI(_) => "Brotli",
            Compression::LZO => "LZO",
            _ => return None,
        };
        Some((column.column_path().string(), codec))
    })
}
