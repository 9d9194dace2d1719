//! Writes the condensed tree, with the names of python's `hdbscan`.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, UInt32Array};
use embstore_cluster::CondensedTree;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;

use super::error::ClusterError;
use super::record::Record;
use crate::table::{Staged, properties};

/// Rows that are written in one go.
const BATCH: usize = 1 << 16;

/// Writes the tree under a passing name: `parent`, `child`, `lambda_val`, `child_size`. Points have the numbers of their
/// rows among those that are clustered; clusters are numbered from the number of points on. The footer has the record of the
/// result that it belongs to.
pub(super) fn write(tree: &CondensedTree, record: &Record, path: &Path) -> Result<Staged, ClusterError> {
    let staged = Staged::of_this_process(path)?;
    let failed = |source| ClusterError::Write { path: path.to_path_buf(), source };
    let batch = |rows: &[embstore_cluster::CondensedRow]| {
        let parents = UInt32Array::from_iter_values(rows.iter().map(|row| row.parent));
        let children = UInt32Array::from_iter_values(rows.iter().map(|row| row.child));
        let lambdas = Float64Array::from_iter_values(rows.iter().map(|row| row.lambda));
        let sizes = UInt32Array::from_iter_values(rows.iter().map(|row| row.size));
        let columns: [(&str, ArrayRef); 4] = [
            ("parent", Arc::new(parents)),
            ("child", Arc::new(children)),
            ("lambda_val", Arc::new(lambdas)),
            ("child_size", Arc::new(sizes)),
        ];
        RecordBatch::try_from_iter(columns).map_err(ParquetError::from)
    };
    let pairs = record.beside(&[]).map_err(|error| failed(ParquetError::External(error.into())))?;
    let written = properties().set_compression(Compression::ZSTD(ZstdLevel::default()));
    let written = written.set_key_value_metadata(Some(pairs)).build();
    let schema = batch(&[]).map_err(failed)?.schema();
    let mut writer = ArrowWriter::try_new(staged.file()?, schema, Some(written)).map_err(failed)?;
    for rows in tree.rows().chunks(BATCH) {
        batch(rows).and_then(|batch| writer.write(&batch)).map_err(failed)?;
    }
    writer.close().map_err(failed)?;
    Ok(staged)
}
