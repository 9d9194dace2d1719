//! Writes a file with its embeddings, under another name until it is whole.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::properties::EnabledStatistics;
use parquet::schema::types::ColumnPath;

use super::error::FileError;
use super::provenance::Provenance;
use super::reader::Reader;
use super::window::Embedded;
use crate::table::{Staged, properties};

/// The name of column `index` of the embeddings: `emb_000`.
pub(super) fn column_name(index: usize) -> String {
    format!("emb_{index:03}")
}

/// Bytes of a row group that is under construction: it lies in memory. What the footer tells of each of hundreds of columns
/// of every row group does, too, until the end, so they are not small.
const ROW_GROUP: usize = 32 << 20;

/// An output under construction. Dropped before [`publish`](Writer::publish), it leaves nothing behind.
pub(super) struct Writer {
    staged: Staged,
    schema: SchemaRef,
    dim: usize,
    writer: ArrowWriter<File>,
}

impl Writer {
    /// Begins `<output>.tmp.<worker>` with the columns of `input` and `dim` more.
    pub(super) fn create(
        output: &Path,
        worker: &str,
        input: &Reader,
        dim: usize,
        made: &Provenance,
    ) -> Result<Self, FileError> {
        let staged = Staged::create(output, worker)?;
        let failed = |source| FileError::Write { path: staged.path.clone(), source };
        let mut fields: Vec<Arc<Field>> = input.schema.fields().iter().cloned().collect();
        fields.extend((0..dim).map(|index| Arc::new(Field::new(column_name(index), DataType::Float32, false))));
        let schema = Arc::new(Schema::new_with_metadata(fields, input.schema.metadata().clone()));
        let metadata = made.beside(&input.metadata).map_err(|error| failed(ParquetError::External(error.into())))?;
        let mut written = properties()
            .set_max_row_group_row_count(None)
            .set_offset_index_disabled(true)
            .set_key_value_metadata(Some(metadata));
        for (column, compression) in &input.compression {
            written = written.set_column_compression(column.clone(), *compression);
        }
        // Embeddings are noise: compressed they save less than a tenth and are read at half the speed, and nobody
        // searches them by their smallest value.
        for index in 0..dim {
            let column = ColumnPath::from(column_name(index));
            written = written
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_statistics_enabled(column, EnabledStatistics::None);
        }
        let file = staged.file()?;
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(written.build())).map_err(failed)?;
        Ok(Writer { staged, schema, dim, writer })
    }

    /// Writes a window, and ends the row group where that has become large enough.
    pub(super) fn write(&mut self, window: &Embedded) -> Result<(), FileError> {
        let failed = |source| FileError::Write { path: self.staged.path.clone(), source };
        let columns = self.columns(window);
        let mut start = 0;
        for batch in &window.batches {
            let rows = batch.num_rows();
            let mut arrays = batch.columns().to_vec();
            arrays.extend(columns.iter().map(|column| column.slice(start, rows)));
            let batch = RecordBatch::try_new(self.schema.clone(), arrays).map_err(|error| failed(error.into()))?;
            self.writer.write(&batch).map_err(failed)?;
            start += rows;
        }
        if self.writer.in_progress_size() >= ROW_GROUP { self.writer.flush().map_err(failed) } else { Ok(()) }
    }

    fn columns(&self, window: &Embedded) -> Vec<ArrayRef> {
        let column = |index: usize| {
            let values = window.embeddings.chunks_exact(self.dim).map(|row| row[index]);
            Arc::new(Float32Array::from_iter_values(values)) as ArrayRef
        };
        (0..self.dim).map(column).collect()
    }

    /// Ends the file, waits for the disk, and gives the file its name.
    pub(super) fn publish(self) -> Result<(), FileError> {
        let Writer { staged, writer, .. } = self;
        writer.close().map_err(|source| FileError::Write { path: staged.path.clone(), source })?;
        Ok(staged.publish()?)
    }
}
