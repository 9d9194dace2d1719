//! Columns that lie one behind another, in memory or in a file without a name, and the rows that they make.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Columns up to this many bytes are held in memory; more go to a file without a name.
const MEMORY_BYTES: u64 = 16 << 20;
/// Bytes of a row that are put together at once: whole cache lines are written, each of them once, while no more columns
/// are read side by side than the processor can follow.
const STRIPE_BYTES: usize = 128;

/// The columns of one group of rows.
#[derive(Debug)]
pub(crate) struct Columns {
    store: Store,
    /// Byte at which every column starts.
    starts: Vec<u64>,
}

#[derive(Debug)]
enum Store {
    Memory(Vec<u8>),
    File(File),
}

/// Takes the bytes of one column after another.
pub(crate) struct ColumnsBuilder {
    store: Store,
    starts: Vec<u64>,
}

impl ColumnsBuilder {
    /// For `columns` columns of `column_bytes` bytes.
    pub(crate) fn new(columns: u64, column_bytes: u64, scratch: &Path) -> io::Result<Self> {
        let total = columns.saturating_mul(column_bytes);
        let store = if total <= MEMORY_BYTES {
            Store::Memory(Vec::with_capacity(usize::try_from(total).unwrap_or(0)))
        } else {
            Store::File(tempfile::tempfile_in(scratch)?)
        };
        Ok(ColumnsBuilder { store, starts: (0..columns).map(|column| column * column_bytes).collect() })
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.store {
            Store::Memory(memory) => {
                memory.extend_from_slice(bytes);
                Ok(())
            }
            Store::File(file) => file.write_all(bytes),
        }
    }

    pub(crate) fn finish(self) -> Columns {
        Columns { store: self.store, starts: self.starts }
    }
}

impl Columns {
    /// Columns that lie in a file as they are.
    pub(crate) fn in_file(file: File, starts: Vec<u64>) -> Self {
        Columns { store: Store::File(file), starts }
    }

    /// Replaces `out` by `rows` rows from row `first` on, of elements of `size` bytes.
    pub(crate) fn gather(
        &self,
        first: u64,
        rows: usize,
        size: usize,
        strips: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let row_bytes = self.starts.len() * size;
        let strip = rows * size;
        out.resize(rows * row_bytes, 0);
        strips.resize(STRIPE_BYTES / size * strip, 0);
        let skip = first * size as u64;
        for (stripe, starts) in self.starts.chunks(STRIPE_BYTES / size).enumerate() {
            for (strip, start) in strips.chunks_exact_mut(strip).zip(starts) {
                match &self.store {
                    Store::File(file) => file.read_exact_at(strip, start + skip)?,
                    Store::Memory(memory) => {
                        let at = (start + skip) as usize;
                        let bytes = memory.get(at..at + strip.len());
                        strip.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
                    }
                }
            }
            let at = stripe * STRIPE_BYTES;
            let width = starts.len();
            match size {
                2 => interleave::<2>(strips, rows, width, row_bytes, &mut out[at..]),
                4 => interleave::<4>(strips, rows, width, row_bytes, &mut out[at..]),
                _ => interleave::<8>(strips, rows, width, row_bytes, &mut out[at..]),
            }
        }
        Ok(())
    }
}

/// Elements of `width` columns of `rows` rows, written side by side every `row_bytes` bytes.
fn interleave<const N: usize>(strips: &[u8], rows: usize, width: usize, row_bytes: usize, out: &mut [u8]) {
    let (elements, _) = strips.as_chunks::<N>();
    for (row, out) in out.chunks_mut(row_bytes).take(rows).enumerate() {
        let (out, _) = out.as_chunks_mut::<N>();
        for (column, out) in out.iter_mut().take(width).enumerate() {
            *out = elements[column * rows + row];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Element (row, column) is its own number, so a misplaced one shows.
    fn check<const N: usize>(rows: u64, cols: u64, scratch: &Path) {
        let element = |row: u64, col: u64| -> [u8; N] {
            let bytes = (row * cols + col).to_le_bytes();
            std::array::from_fn(|i| bytes[i])
        };
        let mut builder = ColumnsBuilder::new(cols, rows * N as u64, scratch).expect("a file");
        for col in 0..cols {
            let column: Vec<u8> = (0..rows).flat_map(|row| element(row, col)).collect();
            builder.append(&column).expect("appended");
        }
        let columns = builder.finish();
        let (mut strips, mut out) = (Vec::new(), Vec::new());
        for (first, count) in [(0, rows), (1, rows - 1), (rows / 2, 1)] {
            columns.gather(first, count as usize, N, &mut strips, &mut out).expect("gathered");
            let expected: Vec<u8> =
                (first..first + count).flat_map(|row| (0..cols).flat_map(move |col| element(row, col))).collect();
            assert!(out == expected, "{N} bytes, {rows} rows from {first}, {cols} columns");
        }
    }

    #[test]
    fn columns_become_rows_from_memory_and_from_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        for cols in [1, 15, 16, 17, 63, 64, 65, 130] {
            check::<2>(101, cols, folder.path());
            check::<4>(101, cols, folder.path());
            check::<8>(101, cols, folder.path());
        }
        check::<4>((MEMORY_BYTES / 4 / 33) + 1, 33, folder.path());
    }
}
