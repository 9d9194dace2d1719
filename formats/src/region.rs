//! Regions: runs of bytes that hold rows, to be read where they lie or to be filled.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::array::ArrayMeta;

/// One run of bytes in a file that holds a matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// The file.
    pub path: PathBuf,
    /// Byte at which the payload starts; any alignment.
    pub offset: u64,
    /// What the bytes mean.
    pub array: ArrayMeta,
}

/// A matrix in one region, or cut into several of them: each holds the rows that follow those before.
#[derive(Clone, Debug)]
pub struct Regions {
    array: ArrayMeta,
    parts: Vec<Region>,
    /// First row of each part.
    starts: Vec<u64>,
    /// The nameless file that holds the bytes in place of the one at the path, which is compressed.
    spool: Option<Arc<File>>,
}

impl Regions {
    /// The matrix in `parts`, in row order. `None` where they do not have its rows, or are of another kind.
    #[must_use]
    pub fn new(array: ArrayMeta, parts: Vec<Region>) -> Option<Self> {
        let mut starts = Vec::with_capacity(parts.len());
        let mut next = 0u64;
        for part in &parts {
            let same = ArrayMeta::new(part.array.rows(), array.cols(), array.dtype, array.byte_order, array.order)?;
            if part.array != same {
                return None;
            }
            starts.push(next);
            next = next.checked_add(part.array.rows())?;
        }
        (next == array.rows()).then_some(Regions { array, parts, starts, spool: None })
    }

    /// The same rows, to be read from `spool` in place of the file at the path.
    #[must_use]
    pub fn spooled(mut self, spool: Arc<File>) -> Self {
        self.spool = Some(spool);
        self
    }

    /// The whole matrix.
    #[must_use]
    pub fn array(&self) -> &ArrayMeta {
        &self.array
    }

    /// The regions, in row order.
    #[must_use]
    pub fn parts(&self) -> &[Region] {
        &self.parts
    }

    /// The only region, where there is one, and it lies in the file at its path.
    #[must_use]
    pub fn single(&self) -> Option<&Region> {
        match self.parts.as_slice() {
            [part] if self.spool.is_none() => Some(part),
            _ => None,
        }
    }

    /// The nameless file that the bytes are read from, where it is not the one at the path.
    #[must_use]
    pub fn spool(&self) -> Option<&File> {
        self.spool.as_deref()
    }

    /// Which part holds a row, and the part's first row. The row must be one of the matrix.
    #[must_use]
    pub fn part_of(&self, row: u64) -> (usize, u64) {
        let index = self.starts.partition_point(|&start| start <= row).saturating_sub(1);
        (index, self.starts.get(index).copied().unwrap_or(0))
    }
}

impl From<Region> for Regions {
    fn from(region: Region) -> Self {
        Regions { array: region.array, parts: vec![region], starts: vec![0], spool: None }
    }
}

/// Gives `file` its full size in real blocks, so that a full disk is an error now and not a signal later.
///
/// Where the file system cannot (some network and copy-on-write ones), nothing is done: positioned writes then extend
/// the file and report a full disk themselves. A sparse file is never made.
pub(crate) fn allocate(file: &File, len: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    if len == 0 {
        return Ok(());
    }
    match fallocate(file, FallocateFlags::empty(), 0, len) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(rows: u64) -> Region {
        Region { path: PathBuf::from(rows.to_string()), offset: 0, array: ArrayMeta::stored(rows, 2).expect("fits") }
    }

    #[test]
    fn a_row_is_found_in_its_part() {
        let whole = ArrayMeta::stored(7, 2).expect("fits");
        let regions = Regions::new(whole, [3, 0, 3, 1].map(region).into()).expect("seven rows");
        let found: Vec<_> = (0..7).map(|row| regions.part_of(row)).collect();
        assert_eq!(found, [(0, 0), (0, 0), (0, 0), (2, 3), (2, 3), (2, 3), (3, 6)]);
        assert!(Regions::new(whole, [3, 3].map(region).into()).is_none());
    }
}
