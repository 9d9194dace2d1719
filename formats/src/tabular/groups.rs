//! Groups of rows (row groups, record batches), cut into blocks.

use std::ops::Range;
use std::path::Path;

use crate::array::ArrayMeta;
use crate::error::FormatError;

/// Bytes of decoded rows in a block.
const BLOCK_BYTES: u64 = 4 << 20;
/// A file of any length may hold this many bytes of rows: dictionaries and runs make constant rows tiny.
const FREE_BYTES: u64 = 1 << 30;
/// Beyond that, how many times longer than the file the rows may be.
const EXPANSION: u64 = 1 << 16;

/// Groups that hold rows, and the blocks that they are cut into.
#[derive(Debug)]
pub(crate) struct Groups {
    /// First row of every group.
    pub(crate) starts: Vec<u64>,
    /// First row of every block.
    pub(crate) blocks: Vec<u64>,
    rows: u64,
}

impl Groups {
    /// `rows` are those of each group, all of them more than none; together they are those of `array`.
    ///
    /// # Errors
    /// Where a file of `len` bytes cannot hold so many: a footer can claim anything.
    pub(crate) fn new(path: &Path, len: u64, array: &ArrayMeta, rows: &[u64]) -> Result<Self, FormatError> {
        if array.payload_bytes() > len.saturating_mul(EXPANSION).max(FREE_BYTES) {
            return Err(FormatError::Container {
                path: path.to_path_buf(),
                what: format!("claims {} rows of {} bytes in {len} bytes", array.rows(), array.row_bytes()),
                hint: "the file is damaged: fetch it again",
            });
        }
        let step = (BLOCK_BYTES / array.row_bytes().max(1)).max(1);
        let (mut starts, mut blocks, mut row) = (Vec::with_capacity(rows.len()), Vec::new(), 0u64);
        for &rows in rows {
            starts.push(row);
            blocks.extend((row..row + rows).step_by(usize::try_from(step).unwrap_or(usize::MAX)));
            row += rows;
        }
        Ok(Groups { starts, blocks, rows: row })
    }

    /// The group that a row is in, and the rows of that group.
    pub(crate) fn group_of(&self, row: u64) -> (usize, Range<u64>) {
        let group = self.starts.partition_point(|&start| start <= row).saturating_sub(1);
        let start = self.starts.get(group).copied().unwrap_or(0);
        (group, start..self.starts.get(group + 1).copied().unwrap_or(self.rows))
    }
}
