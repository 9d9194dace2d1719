//! What the tables that embstore writes look like, and what may be asked of them.

use std::path::Path;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};

use crate::array::ArrayMeta;
use crate::articles::KEYS;
use crate::dtype::Dtype;
use crate::error::FormatError;
use crate::format::LocateOptions;
use crate::target::Layout;

/// Rows of a chunk are a multiple of this where nobody asks for others.
const ROUND_ROWS: u64 = 1024;
/// Bytes of the largest chunk that can be asked for: tables count the bytes of a list in 32 bits.
const MOST_BYTES: u64 = (1 << 31) - (1 << 20);

/// Refuses what a table has no place for; returns the rows of a chunk, by default `rows` or as many as make `bytes`.
pub(crate) fn chunk_rows(
    path: &Path,
    format: &str,
    array: &ArrayMeta,
    layout: &Layout,
    (rows, bytes): (u64, u64),
) -> Result<u64, FormatError> {
    let refuse = |what: String, hint| Err(FormatError::Layout { path: path.to_path_buf(), what, hint });
    layout.check_unversioned(path, format, &[Dtype::Float16, Dtype::Float32])?;
    if layout.shard_rows.is_some() {
        return refuse(format!("{format} has no shards"), "leave out --shard-rows");
    }
    if array.cols() == 0 || i32::try_from(array.cols()).is_err() {
        return refuse(format!("{format} has no lists of {} values", array.cols()), "choose another --format");
    }
    let row_bytes = array.row_bytes().max(1);
    let fit = (bytes / row_bytes).max(1);
    let round = if fit > ROUND_ROWS { fit / ROUND_ROWS * ROUND_ROWS } else { fit };
    let chunk = layout.chunk_rows.unwrap_or(round.min(rows)).max(1).min(array.rows().max(1));
    if chunk.saturating_mul(row_bytes) > MOST_BYTES {
        return refuse(format!("{chunk} rows are more than {format} has room for in a chunk"), "lower --chunk-rows");
    }
    Ok(chunk)
}

/// The columns of an export: texts, if there are articles, and lists of one width.
pub(crate) fn table_schema(array: &ArrayMeta, with_articles: bool) -> Schema {
    let element = match array.dtype {
        Dtype::Float16 => DataType::Float16,
        _ => DataType::Float32,
    };
    let width = i32::try_from(array.cols()).unwrap_or(i32::MAX);
    let lists = DataType::FixedSizeList(Arc::new(Field::new("element", element, false)), width);
    let mut fields = Vec::new();
    if with_articles {
        fields.extend(KEYS.map(|key| Field::new(key, DataType::Utf8, false)));
    }
    fields.push(Field::new(LocateOptions::default().key, lists, false));
    Schema::new(fields)
}
