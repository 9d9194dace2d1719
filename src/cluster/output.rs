//! Writes the result: the columns that are kept, and what each point belongs to.

use std::fs::File;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int32Array, RecordBatch, UInt64Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use embstore_cluster::Clustering;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;

use super::columns::{Columns, added};
use super::error::ClusterError;
use super::examples::Examples;
use super::group::Group;
use super::options::{ClusterOptions, NonFiniteRows};
use super::record::Record;
use super::rows::{Rows, kept};
use crate::table::{Staged, properties};

/// Rows of a row group, if they are not more bytes than this.
const GROUP: (usize, usize) = (1 << 17, 64 << 20);

/// Writes the result of a group under a passing name, and lets `examples` see every row.
pub(super) fn write(
    group: &Group,
    options: &ClusterOptions,
    rows: &Rows<'_>,
    columns: &Columns,
    clustering: &Clustering,
    record: &Record,
    examples: &mut Examples,
) -> Result<Staged, ClusterError> {
    let mut writer = Writer::create(group, options, columns, clustering, record)?;
    let (all, mut row) = (rows.count() as u64 + rows.dropped.len() as u64, 0);
    for batch in columns.batches() {
        let batch = batch?;
        let here = row..row + batch.num_rows() as u64;
        if here.end > all {
            break;
        }
        for run in kept(&here, &rows.dropped) {
            let slice = batch.slice((run.start - here.start) as usize, (run.end - run.start) as usize);
            examples.see(run.start, &slice);
            writer.write(slice.columns(), run.start, slice.num_rows())?;
        }
        row = here.end;
    }
    if columns.is_empty() {
        for run in kept(&(0..all), &rows.dropped) {
            for start in run.clone().step_by(GROUP.0) {
                writer.write(&[], start, (run.end - start).min(GROUP.0 as u64) as usize)?;
            }
        }
    } else if row != all {
        return Err(ClusterError::Changed { path: columns.files()[0].clone() });
    }
    writer.finish()
}

struct Writer<'a> {
    staged: Staged,
    schema: SchemaRef,
    writer: ArrowWriter<File>,
    clustering: &'a Clustering,
    has_rows: bool,
    /// Points that are written.
    done: usize,
}

impl<'a> Writer<'a> {
    fn create(
        group: &Group,
        options: &ClusterOptions,
        columns: &Columns,
        clustering: &'a Clustering,
        record: &Record,
    ) -> Result<Self, ClusterError> {
        let staged = Staged::of_this_process(&group.output)?;
        let failed = |source| ClusterError::Write { path: group.output.clone(), source };
        let has_rows = options.non_finite == NonFiniteRows::Drop;
        let types = [DataType::Int32, DataType::Float64, DataType::Float64, DataType::UInt64];
        let own = added(options).iter().zip(types).map(|(name, kind)| Arc::new(Field::new(*name, kind, false)));
        let schema = Arc::new(Schema::new(columns.schema.fields().iter().cloned().chain(own).collect::<Vec<_>>()));
        let pairs = record.beside(&columns.pairs);
        let pairs = pairs.map_err(|error| failed(ParquetError::External(error.into())))?;
        let mut written = properties()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP.0))
            .set_key_value_metadata(Some(pairs));
        for (column, compression) in &columns.compression {
            written = written.set_column_compression(column.clone(), *compression);
        }
        let writer = ArrowWriter::try_new(staged.file()?, schema.clone(), Some(written.build())).map_err(failed)?;
        Ok(Writer { staged, schema, writer, clustering, has_rows, done: 0 })
    }

    /// Writes the next `count` points, which are the rows from `first` on.
    fn write(&mut self, kept: &[ArrayRef], first: u64, count: usize) -> Result<(), ClusterError> {
        let points = self.done..self.done + count;
        let Clustering { labels, probabilities, outlier_scores, .. } = self.clustering;
        let mut arrays = kept.to_vec();
        arrays.push(Arc::new(Int32Array::from_iter_values(labels[points.clone()].iter().copied())));
        for values in [probabilities, outlier_scores] {
            arrays.push(Arc::new(Float64Array::from_iter_values(values[points.clone()].iter().copied())));
        }
        if self.has_rows {
            arrays.push(Arc::new(UInt64Array::from_iter_values(first..first + count as u64)));
        }
        let failed = |source| ClusterError::Write { path: self.staged.path.clone(), source };
        let batch = RecordBatch::try_new(self.schema.clone(), arrays).map_err(|error| failed(error.into()))?;
        self.writer.write(&batch).map_err(failed)?;
        if self.writer.in_progress_size() > GROUP.1 {
            self.writer.flush().map_err(failed)?;
        }
        self.done += count;
        Ok(())
    }

    fn finish(self) -> Result<Staged, ClusterError> {
        let Writer { staged, writer, .. } = self;
        writer.close().map_err(|source| ClusterError::Write { path: staged.path.clone(), source })?;
        Ok(staged)
    }
}
