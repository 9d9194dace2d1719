//! Numbered columns: decoded one after another.

use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use parquet::schema::types::ColumnDescPtr;

use super::broken;
use super::values::{BATCH, Chunk, Values};
use crate::dtype::Dtype;
use crate::error::FormatError;
use crate::tabular::{ColumnSource, Columns, ColumnsBuilder};

/// The columns of a file.
#[derive(Debug)]
pub(super) struct FlatColumns {
    pub(super) path: PathBuf,
    pub(super) scratch: PathBuf,
    pub(super) dtype: Dtype,
    pub(super) leaves: Vec<ColumnDescPtr>,
    /// The chunks of the columns, row group by row group.
    pub(super) chunks: Vec<Chunk>,
}

impl ColumnSource for FlatColumns {
    fn columns(&self, group: usize, rows: Range<u64>) -> Result<Columns, FormatError> {
        let file = Arc::new(File::open(&self.path).map_err(FormatError::io("open", &self.path))?);
        let unpack = |error| FormatError::io("unpack columns into", &self.scratch)(error);
        let (columns, count) = (self.leaves.len(), rows.end - rows.start);
        let column_bytes = count * self.dtype.size() as u64;
        let mut builder = ColumnsBuilder::new(columns as u64, column_bytes, &self.scratch).map_err(unpack)?;
        for column in 0..columns {
            self.read(&file, group, column, rows.clone(), &mut |bytes| builder.append(bytes).map_err(unpack))?;
        }
        Ok(builder.finish())
    }
}

impl FlatColumns {
    /// Reads a column for the null in it, where its statistics say that there is one.
    pub(super) fn find_null(&self, group: usize, column: usize, rows: Range<u64>) -> Result<(), FormatError> {
        let file = Arc::new(File::open(&self.path).map_err(FormatError::io("open", &self.path))?);
        self.read(&file, group, column, rows, &mut |_| Ok(()))
    }

    fn read(
        &self,
        file: &Arc<File>,
        group: usize,
        column: usize,
        rows: Range<u64>,
        append: &mut dyn FnMut(&[u8]) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        let (leaf, chunk) = (&self.leaves[column], &self.chunks[group * self.leaves.len() + column]);
        let mut values = Values::open(file, leaf, chunk, rows.end - rows.start).map_err(broken(&self.path))?;
        let (mut row, mut bytes) = (rows.start, Vec::new());
        while row < rows.end {
            bytes.clear();
            let wanted = usize::try_from(rows.end - row).unwrap_or(BATCH).min(BATCH);
            let got = values.read(wanted, &mut bytes).map_err(broken(&self.path))?;
            if got.values < got.rows {
                let null = values.definitions.iter().position(|level| *level < leaf.max_def_level()).unwrap_or(0);
                return Err(FormatError::NoRows {
                    path: self.path.clone(),
                    what: format!("the column {:?} is null in row {}", leaf.name(), row + null as u64),
                    hint: "every row needs a value in every column: drop that row, or fill it in".into(),
                });
            }
            if got.rows == 0 {
                return Err(FormatError::Shrunk { path: self.path.clone(), row });
            }
            append(&bytes)?;
            row += got.rows as u64;
        }
        Ok(())
    }
}
