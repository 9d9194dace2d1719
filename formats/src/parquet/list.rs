//! One column of lists: read forward, every row checked for its width.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::schema::types::ColumnDescPtr;

use super::broken;
use super::values::{BATCH, Chunk, Values};
use crate::error::FormatError;
use crate::tabular::{ForwardGroup, ForwardSource};

/// The column of a file.
#[derive(Debug)]
pub(super) struct ListColumn {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) leaf: ColumnDescPtr,
    pub(super) width: u64,
    /// Its chunk of every row group.
    pub(super) chunks: Vec<Chunk>,
}

impl ListColumn {
    /// The values of the first row, all of which may be null.
    pub(super) fn first_width(&self, rows: u64) -> Result<u64, FormatError> {
        let mut values = self.values(0, rows)?;
        values.read(1, &mut Vec::new()).map_err(broken(&self.path))?;
        Ok(values.definitions.len() as u64)
    }

    fn values(&self, group: usize, rows: u64) -> Result<Values, FormatError> {
        let file = Arc::new(File::open(&self.path).map_err(FormatError::io("open", &self.path))?);
        Values::open(&file, &self.leaf, &self.chunks[group], rows).map_err(broken(&self.path))
    }

    fn group(&self, group: usize, rows: Range<u64>) -> Result<Group, FormatError> {
        Ok(Group {
            path: self.path.clone(),
            name: self.name.clone(),
            full: self.leaf.max_def_level(),
            is_element_optional: self.leaf.self_type().is_optional(),
            width: self.width as usize,
            row: rows.start,
            values: self.values(group, rows.end - rows.start)?,
        })
    }

    /// Reads a row group for the error in it, where its counts say that there is one.
    pub(super) fn find_error(&self, group: usize, rows: Range<u64>) -> Result<(), FormatError> {
        let (mut reader, mut bytes) = (self.group(group, rows.clone())?, Vec::new());
        while reader.row < rows.end {
            bytes.clear();
            reader.read((rows.end - reader.row).min(reader.batch() as u64), &mut bytes)?;
        }
        Ok(())
    }
}

impl ForwardSource for ListColumn {
    fn open(&self, group: usize, rows: Range<u64>) -> Result<Box<dyn ForwardGroup>, FormatError> {
        Ok(Box::new(self.group(group, rows)?))
    }
}

struct Group {
    path: PathBuf,
    name: String,
    /// The definition level of a value that is there.
    full: i16,
    is_element_optional: bool,
    width: usize,
    row: u64,
    values: Values,
}

impl Group {
    /// Rows that are decoded at once.
    fn batch(&self) -> usize {
        (BATCH / self.width).max(1)
    }

    /// The first of the rows just read that has not `width` values, and what it has.
    fn culprit(&self) -> Option<(usize, String)> {
        let (definitions, repetitions) = (&self.values.definitions, &self.values.repetitions);
        let starts = repetitions.iter().enumerate().filter(|(_, level)| **level == 0).map(|(at, _)| at);
        let ends = starts.clone().skip(1).chain([repetitions.len()]);
        starts.zip(ends).enumerate().find_map(|(row, (start, end))| {
            let nulls = definitions[start..end].iter().position(|level| *level < self.full);
            let what = match (nulls, end - start) {
                (Some(at), _) if self.is_element_optional && definitions[start + at] == self.full - 1 => {
                    format!("has a null, value {at} of {}", end - start)
                }
                (Some(_), _) => "is null or empty".into(),
                (None, len) if len != self.width => format!("has {len} values, the first has {}", self.width),
                _ => return None,
            };
            Some((row, what))
        })
    }
}

impl ForwardGroup for Group {
    fn skip(&mut self, rows: u64) -> Result<(), FormatError> {
        let wanted = usize::try_from(rows).unwrap_or(usize::MAX);
        if self.values.skip(wanted).map_err(broken(&self.path))? < wanted {
            return Err(FormatError::Shrunk { path: self.path.clone(), row: self.row });
        }
        self.row += rows;
        Ok(())
    }

    fn read(&mut self, rows: u64, bytes: &mut Vec<u8>) -> Result<(), FormatError> {
        let mut left = usize::try_from(rows).unwrap_or(usize::MAX);
        while left > 0 {
            let wanted = left.min(self.batch());
            let got = self.values.read(wanted, bytes).map_err(broken(&self.path))?;
            let (definitions, repetitions) = (&self.values.definitions, &self.values.repetitions);
            let is_whole = got.values == got.rows * self.width
                && got.levels == got.values
                && repetitions.chunks_exact(self.width).all(|row| {
                    // Two passes that the compiler makes wide: a search would stop at every value.
                    row[0] == 0 && row[1..].iter().fold(0, |zeros, level| zeros + i32::from(*level == 0)) == 0
                })
                && definitions.iter().fold(0, |lower, level| lower + i32::from(*level < self.full)) == 0;
            if !is_whole {
                let (row, what) = self.culprit().unwrap_or((0, "is not whole".into()));
                return Err(bad_row(&self.path, &self.name, self.row + row as u64, &what));
            }
            if got.rows == 0 {
                return Err(FormatError::Shrunk { path: self.path.clone(), row: self.row });
            }
            self.row += got.rows as u64;
            left -= got.rows;
        }
        Ok(())
    }
}

fn bad_row(path: &Path, column: &str, row: u64, what: &str) -> FormatError {
    FormatError::NoRows {
        path: path.to_path_buf(),
        what: format!("row {row} of the column {column:?} {what}"),
        hint: "every row needs as many values, none of them null: drop that row, or embed it again".into(),
    }
}
