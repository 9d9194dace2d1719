//! Numbered columns: where they lie, or decompressed one after another.

use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;

use super::buffer::{self, Codec, Place};
use crate::error::FormatError;
use crate::tabular::{ColumnSource, Columns, ColumnsBuilder};

/// The columns of a file.
#[derive(Debug)]
pub(super) struct FlatColumns {
    pub(super) path: PathBuf,
    pub(super) scratch: PathBuf,
    /// Bytes of an element.
    pub(super) size: u64,
    /// Of every batch, the values of every column.
    pub(super) batches: Vec<(Option<Codec>, Vec<Place>)>,
}

impl ColumnSource for FlatColumns {
    fn columns(&self, group: usize, rows: Range<u64>) -> Result<Columns, FormatError> {
        let file = File::open(&self.path).map_err(FormatError::io("open", &self.path))?;
        let (codec, places) = &self.batches[group];
        if codec.is_none() {
            return Ok(Columns::in_file(file, places.iter().map(|place| place.offset).collect()));
        }
        let unpack = |error| FormatError::io("unpack columns into", &self.scratch)(error);
        let column_bytes = (rows.end - rows.start) * self.size;
        let mut builder = ColumnsBuilder::new(places.len() as u64, column_bytes, &self.scratch).map_err(unpack)?;
        let mut bytes = vec![0; 256 << 10];
        for place in places {
            let reader = file.try_clone().and_then(|file| buffer::open(file, *place, *codec));
            let mut reader = reader.map_err(FormatError::io("read", &self.path))?;
            let mut left = column_bytes;
            while left > 0 {
                let bytes = &mut bytes[..usize::try_from(left.min(256 << 10)).unwrap_or(0)];
                reader.read_exact(bytes).map_err(|error| super::list::unpacked(&self.path, rows.start, &error))?;
                builder.append(bytes).map_err(unpack)?;
                left -= bytes.len() as u64;
            }
        }
        Ok(builder.finish())
    }
}
