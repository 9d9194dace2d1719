//! The reader: rows by range out of any payload.
//!
//! A region is never cast to `&[f32]` where it lies: pickle payloads start at any byte. Rows are read into an aligned
//! buffer instead, and widened, narrowed, swapped or transposed there.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{BlockDecoder, BlockRows, CodedRows, Payload, widen};
use crate::array::ArrayMeta;
use crate::dtype::Order;
use crate::error::FormatError;
use crate::region::Regions;

/// Reads rows as float32.
pub struct RowReader {
    path: PathBuf,
    array: ArrayMeta,
    bytes: Bytes,
    scratch: Vec<u8>,
}

enum Bytes {
    /// Any byte at any time.
    At(OpenRegions),
    /// Blocks of rows, decoded one at a time.
    Blocks { blocks: Arc<dyn BlockRows>, decoder: Box<dyn BlockDecoder>, decoded: Option<usize>, bytes: Vec<u8> },
    /// Rows one after another.
    Stream { decoder: Box<dyn io::Read + Send>, next_row: u64 },
    /// Columns one after another, behind an encoding: the whole payload is decoded once for every block of rows.
    Columns { coded: Arc<dyn CodedRows>, file: File, block: Block },
}

/// The part of the regions that was read last, opened.
struct OpenRegions {
    regions: Regions,
    part: usize,
    file: File,
}

impl OpenRegions {
    /// Fills `out` from where `offset` says that the row lies, given its number within its part.
    fn read_part(&mut self, row: u64, offset: impl Fn(u64) -> u64, out: &mut [u8]) -> io::Result<()> {
        let (part, start) = self.regions.part_of(row);
        if part != self.part {
            if self.regions.spool().is_none() {
                self.file = File::open(&self.regions.parts()[part].path)?;
            }
            self.part = part;
        }
        self.file.read_exact_at(out, self.regions.parts()[part].offset + offset(row - start))
    }

    /// Reads whole rows, from as many parts as hold them.
    fn read_rows(&mut self, first: u64, out: &mut [u8]) -> io::Result<()> {
        let row_bytes = self.regions.array().row_bytes();
        let (mut row, mut at) = (first, 0);
        while at < out.len() {
            let (part, start) = self.regions.part_of(row);
            let left = (start + self.regions.parts()[part].array.rows() - row) * row_bytes;
            let end = out.len().min(at + usize::try_from(left).unwrap_or(usize::MAX));
            self.read_part(row, |row| row * row_bytes, &mut out[at..end])?;
            row += (end - at) as u64 / row_bytes.max(1);
            at = end;
        }
        Ok(())
    }
}

/// Rows that were gathered from columns.
#[derive(Default)]
struct Block {
    first: u64,
    values: Vec<f32>,
    narrowed: Vec<u64>,
}

/// Bytes of float32 in a [`Block`]: few passes over the payload, and bounded memory.
pub(super) const BLOCK_BYTES: u64 = 8 << 20;

impl RowReader {
    /// A reader over the rows in `file`, which is the opened file of `payload` at `path`.
    pub(super) fn new(payload: &Payload, file: File, path: &Path) -> Result<Self, FormatError> {
        let array = *payload.array();
        let bytes = match payload {
            Payload::Raw(regions) => {
                let first = match (regions.spool(), regions.parts().first()) {
                    (Some(spool), _) => spool.try_clone().map_err(FormatError::io("open", path))?,
                    (None, Some(part)) if part.path != path => {
                        File::open(&part.path).map_err(FormatError::io("open", &part.path))?
                    }
                    _ => file,
                };
                Bytes::At(OpenRegions { regions: regions.clone(), part: 0, file: first })
            }
            Payload::Blocks(blocks) => Bytes::Blocks {
                blocks: Arc::clone(blocks),
                decoder: blocks.decoder()?,
                decoded: None,
                bytes: Vec::new(),
            },
            Payload::Coded(coded) if array.order == Order::Fortran => {
                Bytes::Columns { coded: Arc::clone(coded), file, block: Block::default() }
            }
            Payload::Coded(coded) => Bytes::Stream { decoder: coded.decoder(file)?, next_row: 0 },
        };
        Ok(RowReader { path: path.to_path_buf(), array, bytes, scratch: Vec::new() })
    }

    /// Where `rows` rows from `first` on lie as they are stored, in the file that was read last.
    #[must_use]
    pub fn raw(&self, first: u64, rows: u64) -> Option<(&File, u64)> {
        let Bytes::At(open) = &self.bytes else { return None };
        let (index, start) = open.regions.part_of(first);
        let part = &open.regions.parts()[index];
        let within = index == open.part && first + rows <= start + part.array.rows();
        let offset = part.offset + (first - start) * self.array.row_bytes();
        (within && self.array.is_stored_form()).then_some((&open.file, offset))
    }

    /// Reads rows `first..` into `out`, a whole number of rows. A row in which a finite value became infinite by
    /// narrowing is appended to `narrowed`, counted within the array.
    ///
    /// Coded payloads are read forward: rows before `first` are decoded and dropped, rows behind the last call are gone.
    ///
    /// # Errors
    /// [`FormatError::Shrunk`] where the file ends early, [`FormatError::Io`] otherwise.
    pub fn read(&mut self, first: u64, out: &mut [f32], narrowed: &mut Vec<u64>) -> Result<(), FormatError> {
        debug_assert!(first + out.len() as u64 / self.array.cols().max(1) <= self.array.rows());
        let result = match &mut self.bytes {
            Bytes::Blocks { .. } => return self.read_decoded(first, out, narrowed),
            Bytes::Columns { .. } => self.read_block(first, out, narrowed),
            Bytes::At(_) if self.array.order == Order::Fortran => self.read_columns(first, out, narrowed),
            bytes if self.array.is_stored_form() => fill(bytes, &self.array, first, bytemuck::cast_slice_mut(out)),
            bytes => {
                self.scratch.resize(out.len() * self.array.dtype.size(), 0);
                fill(bytes, &self.array, first, &mut self.scratch).map(|()| {
                    let cols = self.array.cols();
                    widen(&self.scratch, &self.array, out, &mut |index| narrowed.push(first + index / cols));
                })
            }
        };
        narrowed.sort_unstable();
        narrowed.dedup();
        result.map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => FormatError::Shrunk { path: self.path.clone(), row: first },
            _ => FormatError::Io { action: "read", path: self.path.clone(), source },
        })
    }

    /// Column-major payloads: one positioned read a column.
    fn read_columns(&mut self, first: u64, out: &mut [f32], narrowed: &mut Vec<u64>) -> io::Result<()> {
        let Bytes::At(open) = &mut self.bytes else { return Ok(()) };
        let (size, cols, array) = (self.array.dtype.size() as u64, self.array.cols(), &self.array);
        let (mut row, mut rest) = (first, out);
        while !rest.is_empty() {
            let (part, start) = open.regions.part_of(row);
            let rows = open.regions.parts()[part].array.rows();
            let here = (rest.len() as u64 / cols).min(start + rows - row);
            let (out, next) = rest.split_at_mut((here * cols) as usize);
            gather(array, row, out, &mut self.scratch, narrowed, |col, bytes| {
                open.read_part(row, |row| (col * rows + row) * size, bytes)
            })?;
            (row, rest) = (row + here, next);
        }
        Ok(())
    }

    /// From the blocks that hold the rows.
    fn read_decoded(&mut self, first: u64, out: &mut [f32], narrowed: &mut Vec<u64>) -> Result<(), FormatError> {
        let Bytes::Blocks { blocks, decoder, decoded, bytes } = &mut self.bytes else { return Ok(()) };
        let (array, starts) = (blocks.array(), blocks.blocks());
        let (cols, row_bytes) = (array.cols(), array.row_bytes());
        let (mut row, mut rest) = (first, out);
        while !rest.is_empty() {
            let block = starts.partition_point(|&start| start <= row).saturating_sub(1);
            let rows = starts[block]..starts.get(block + 1).copied().unwrap_or(array.rows());
            if *decoded != Some(block) {
                *decoded = None;
                decoder.decode(block, rows.clone(), bytes)?;
                let expected = (rows.end - rows.start) * row_bytes;
                if bytes.len() as u64 != expected {
                    let (path, got) = (self.path.clone(), bytes.len() as u64);
                    return Err(FormatError::PayloadLength { path, offset: 0, expected, got });
                }
                *decoded = Some(block);
            }
            let here = (rest.len() as u64 / cols).min(rows.end - row);
            let (out, next) = rest.split_at_mut((here * cols) as usize);
            let at = ((row - rows.start) * row_bytes) as usize..((row + here - rows.start) * row_bytes) as usize;
            widen(&bytes[at], array, out, &mut |index| narrowed.push(row + index / cols));
            (row, rest) = (row + here, next);
        }
        narrowed.sort_unstable();
        narrowed.dedup();
        Ok(())
    }

    /// Column-major payloads behind an encoding: from the block that holds the rows, which is gathered if need be.
    fn read_block(&mut self, first: u64, out: &mut [f32], narrowed: &mut Vec<u64>) -> io::Result<()> {
        let Bytes::Columns { coded, file, block } = &mut self.bytes else { return Ok(()) };
        let array = &self.array;
        let (cols, size) = (array.cols(), array.dtype.size() as u64);
        let rows = out.len() as u64 / cols;
        let have = block.values.len() as u64 / cols;
        if first < block.first || first + rows > block.first + have {
            let gathered = (BLOCK_BYTES / (cols * 4)).max(rows).min(array.rows() - first);
            block.first = first;
            block.narrowed.clear();
            block.values.resize((gathered * cols) as usize, 0.0);
            let mut decoder = coded.decoder(file.try_clone()?).map_err(io::Error::other)?;
            let (values, narrowed) = (&mut block.values, &mut block.narrowed);
            gather(array, first, values, &mut self.scratch, narrowed, |_, bytes| {
                skip(&mut *decoder, first * size)?;
                decoder.read_exact(bytes)?;
                skip(&mut *decoder, (array.rows() - first - gathered) * size)
            })?;
        }
        let start = ((first - block.first) * cols) as usize;
        out.copy_from_slice(&block.values[start..start + out.len()]);
        narrowed.extend(block.narrowed.iter().filter(|row| (first..first + rows).contains(row)));
        Ok(())
    }
}

/// Rows from columns: `column` reads the bytes of one column's share.
fn gather(
    array: &ArrayMeta,
    first: u64,
    out: &mut [f32],
    scratch: &mut Vec<u8>,
    narrowed: &mut Vec<u64>,
    mut column: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<()> {
    let cols = array.cols() as usize;
    let mut values = vec![0f32; out.len() / cols];
    scratch.resize(values.len() * array.dtype.size(), 0);
    for col in 0..cols {
        column(col as u64, scratch)?;
        widen(scratch, array, &mut values, &mut |row| narrowed.push(first + row));
        for (row, value) in values.iter().enumerate() {
            out[row * cols + col] = *value;
        }
    }
    Ok(())
}

/// The payload's bytes of the rows from `first` on.
fn fill(bytes: &mut Bytes, array: &ArrayMeta, first: u64, out: &mut [u8]) -> io::Result<()> {
    match bytes {
        Bytes::At(open) => open.read_rows(first, out),
        Bytes::Stream { decoder, next_row } => {
            let before = first.checked_sub(*next_row).ok_or_else(|| io::Error::other("rows are read forward"))?;
            skip(decoder, before * array.row_bytes())?;
            decoder.read_exact(out)?;
            *next_row = first + out.len() as u64 / array.row_bytes().max(1);
            Ok(())
        }
        Bytes::Columns { .. } | Bytes::Blocks { .. } => Err(io::Error::other("these rows are read in blocks")),
    }
}

/// Decodes and drops `len` bytes.
fn skip(decoder: &mut dyn io::Read, len: u64) -> io::Result<()> {
    match io::copy(&mut decoder.take(len), &mut io::sink())? {
        skipped if skipped == len => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
