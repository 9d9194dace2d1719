//! What footers of Parquet files tell.

use std::fs::File;
use std::io;
use std::path::Path;

use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

/// Rows that are read at once, if they are not more bytes than this by what the footer tells.
const BATCH: (u64, u64) = (256, 4 << 20);

/// The footer of a file; or why it has none, where it can be opened.
pub(crate) fn footer(path: &Path) -> io::Result<Result<ParquetMetaData, ParquetError>> {
    Ok(ParquetMetaDataReader::new().parse_and_finish(&File::open(path)?))
}

/// Rows to read at once: few where rows are large.
pub(crate) fn batch_rows(footer: &ParquetMetaData) -> usize {
    let row_bytes = |rows: i64, bytes: i64| bytes.unsigned_abs() / rows.unsigned_abs().max(1);
    let largest = footer.row_groups().iter().map(|group| row_bytes(group.num_rows(), group.total_byte_size())).max();
    BATCH.0.min(BATCH.1 / largest.unwrap_or(0).max(1)).max(1) as usize
}

/// How the first row group that has rows compresses each column.
pub(crate) fn compression(footer: &ParquetMetaData) -> Vec<(ColumnPath, Compression)> {
    let group = footer.row_groups().iter().find(|group| group.num_rows() > 0);
    let columns = group.into_iter().flat_map(|group| group.columns());
    columns.map(|column| (column.column_path().clone(), column.compression())).collect()
}

/// The keys and values of a footer but for `own`, and but for the Arrow schema, which a writer makes anew.
pub(crate) fn foreign_pairs(pairs: &[KeyValue], own: &[&str]) -> Vec<KeyValue> {
    let is_kept =
        |pair: &&KeyValue| pair.key != parquet::arrow::ARROW_SCHEMA_META_KEY && own.iter().all(|own| *own != pair.key);
    pairs.iter().filter(is_kept).cloned().collect()
}

/// Properties of whatever is written, which name this program.
pub(crate) fn properties() -> WriterPropertiesBuilder {
    WriterProperties::builder().set_created_by(concat!("embstore ", env!("CARGO_PKG_VERSION")).into())
}
