//! Reads a Parquet file window by window and cuts its texts into tokens.

use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use embstore_encoder::{Tokenizer, Tokens};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::basic::Compression;
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::schema::types::ColumnPath;
use rayon::prelude::*;

use super::error::FileError;
use super::text_column;
use super::window::Window;
use crate::table::{self, TableError, batch_rows, compression, texts};

/// Rows of a window, if they are not more bytes than this as they are read.
const WINDOW: (usize, usize) = (8_192, 32 << 20);

/// A Parquet file of text.
pub(super) struct Reader {
    path: PathBuf,
    batches: ParquetRecordBatchReader,
    text_column: usize,
    next: u64,
    /// Rows as the footer tells.
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) schema: SchemaRef,
    pub(super) text_column_name: String,
    /// The footer's own keys and values, and how each column is compressed.
    pub(super) metadata: Vec<KeyValue>,
    pub(super) compression: Vec<(ColumnPath, Compression)>,
}

impl Reader {
    pub(super) fn open(path: &Path, text_column: Option<&str>) -> Result<Self, FileError> {
        let (builder, bytes) = table::open(path)?;
        let schema = builder.schema().clone();
        let text_column = text_column::choose(path, &schema, text_column)?;
        let footer = builder.metadata().clone();
        let batches = builder.with_batch_size(batch_rows(&footer)).build().map_err(TableError::damaged(path))?;
        Ok(Reader {
            path: path.to_path_buf(),
            batches,
            text_column,
            next: 0,
            rows: rows(&footer),
            bytes,
            text_column_name: schema.field(text_column).name().clone(),
            schema,
            metadata: footer.file_metadata().key_value_metadata().cloned().unwrap_or_default(),
            compression: compression(&footer),
        })
    }

    /// The next rows with their tokens; `None` after the last.
    pub(super) fn window(&mut self, tokenizer: &Tokenizer) -> Result<Option<Window>, FileError> {
        let mut batches: Vec<RecordBatch> = Vec::new();
        let (mut rows, mut bytes) = (0, 0);
        while rows < WINDOW.0 && bytes < WINDOW.1 {
            let Some(batch) = self.batches.next() else { break };
            let batch = batch.map_err(|error| TableError::damaged(&self.path)(error.into()))?;
            rows += batch.num_rows();
            bytes += batch.get_array_memory_size();
            batches.push(batch);
        }
        let start = self.next;
        self.next += rows as u64;
        if rows == 0 {
            return if self.next == self.rows { Ok(None) } else { Err(self.wrong_count()) };
        }
        let texts: Vec<Option<&str>> = batches.iter().flat_map(|batch| texts(batch, self.text_column)).collect();
        let tokens: Vec<Tokens> = texts
            .par_iter()
            .enumerate()
            .map(|(row, text)| {
                let failed = |source| FileError::Tokenize { path: self.path.clone(), row: start + row as u64, source };
                tokenizer.encode(text.unwrap_or_default()).map_err(failed)
            })
            .collect::<Result<_, _>>()?;
        let empty = texts.iter().filter(|text| text.is_none_or(str::is_empty)).count();
        drop(texts);
        Ok(Some(Window { start, batches, tokens, empty: empty as u64 }))
    }

    fn wrong_count(&self) -> FileError {
        FileError::Rows { path: self.path.clone(), told: self.rows, got: self.next }
    }
}

fn rows(footer: &ParquetMetaData) -> u64 {
    footer.file_metadata().num_rows().unsigned_abs()
}
