//! Compressed lists, read forward.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::buffer::{self, Codec, Place};
use super::damaged;
use crate::error::FormatError;
use crate::tabular::{ForwardGroup, ForwardSource};

/// The column of a file.
#[derive(Debug)]
pub(super) struct ListColumn {
    pub(super) path: PathBuf,
    pub(super) row_bytes: u64,
    /// Of every batch, the values, and how many bytes of them come before the first row.
    pub(super) batches: Vec<(Option<Codec>, Place, u64)>,
}

impl ForwardSource for ListColumn {
    fn open(&self, group: usize, rows: Range<u64>) -> Result<Box<dyn ForwardGroup>, FormatError> {
        let (codec, place, before) = self.batches[group];
        let file = File::open(&self.path).map_err(FormatError::io("open", &self.path))?;
        let mut reader = buffer::open(file, place, codec).map_err(FormatError::io("read", &self.path))?;
        buffer::skip(&mut reader, before).map_err(|error| unpacked(&self.path, rows.start, &error))?;
        Ok(Box::new(Group { path: self.path.clone(), row_bytes: self.row_bytes, row: rows.start, reader }))
    }
}

struct Group {
    path: PathBuf,
    row_bytes: u64,
    row: u64,
    reader: Box<dyn Read + Send>,
}

impl ForwardGroup for Group {
    fn skip(&mut self, rows: u64) -> Result<(), FormatError> {
        let skipped = buffer::skip(&mut self.reader, rows * self.row_bytes);
        skipped.map_err(|error| unpacked(&self.path, self.row, &error))?;
        self.row += rows;
        Ok(())
    }

    fn read(&mut self, rows: u64, bytes: &mut Vec<u8>) -> Result<(), FormatError> {
        let start = bytes.len();
        bytes.resize(start + usize::try_from(rows * self.row_bytes).unwrap_or(usize::MAX), 0);
        let read = self.reader.read_exact(&mut bytes[start..]);
        read.map_err(|error| unpacked(&self.path, self.row, &error))?;
        self.row += rows;
        Ok(())
    }
}

/// A buffer that ends early, or that the decompressor refuses.
pub(super) fn unpacked(path: &Path, row: u64, error: &io::Error) -> FormatError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged(path, format!("the values from row {row} on end early")),
        _ => damaged(path, format!("the values from row {row} on cannot be decompressed: {error}")),
    }
}
