//! Rows as float32, read by position from wherever they lie.
//!
//! A region is never cast to `&[f32]` where it lies: pickle payloads start at any byte. Rows are read into an aligned
//! buffer instead, and widened, narrowed, swapped or transposed there.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::{bf16, f16};

use crate::array::ArrayMeta;
use crate::dtype::{ByteOrder, Dtype, Order};
use crate::error::FormatError;

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

/// Where the rows of an array lie.
#[derive(Debug)]
pub enum Payload {
    /// The bytes themselves: any row can be read at once, by any thread.
    Raw(Region),
    /// An encoding that must be decoded from its start (protocol 0–2 pickles).
    Coded(Arc<dyn CodedRows>),
}

/// Rows that can only be had by decoding a file from the start of its payload.
pub trait CodedRows: std::fmt::Debug + Send + Sync {
    /// The decoded matrix.
    fn array(&self) -> &ArrayMeta;
    /// Reads the whole encoding once and checks that it decodes to as many bytes as the shape needs.
    ///
    /// # Errors
    /// [`FormatError::PayloadLength`], or what the decoder met.
    fn check(&self, file: &File) -> Result<(), FormatError>;
    /// A decoder at the first byte of the payload.
    ///
    /// # Errors
    /// Where the file cannot be read.
    fn decoder(&self, file: File) -> Result<Box<dyn io::Read + Send>, FormatError>;
}

impl Payload {
    /// The matrix.
    #[must_use]
    pub fn array(&self) -> &ArrayMeta {
        match self {
            Payload::Raw(region) => &region.array,
            Payload::Coded(coded) => coded.array(),
        }
    }

    /// Whether rows can be read in any order at no extra cost.
    #[must_use]
    pub fn is_random_access(&self) -> bool {
        matches!(self, Payload::Raw(_))
    }

    /// Checks what [`Format::locate`](crate::Format::locate) cannot know without reading the payload.
    ///
    /// # Errors
    /// [`FormatError::PayloadLength`] for an encoding that yields too few or too many bytes.
    pub fn check(&self, file: &File) -> Result<(), FormatError> {
        match self {
            Payload::Raw(_) => Ok(()),
            Payload::Coded(coded) => coded.check(file),
        }
    }

    /// A reader over the rows in `file`, which is the opened file of this payload at `path`.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn reader(&self, file: File, path: &Path) -> Result<RowReader, FormatError> {
        let path = path.to_path_buf();
        let bytes = match self {
            Payload::Raw(region) => Bytes::At { file, offset: region.offset },
            Payload::Coded(coded) if coded.array().order == Order::Fortran => {
                Bytes::Columns { coded: Arc::clone(coded), file, block: Block::default() }
            }
            Payload::Coded(coded) => Bytes::Stream { decoder: coded.decoder(file)?, next_row: 0 },
        };
        Ok(RowReader { path, array: *self.array(), bytes, scratch: Vec::new() })
    }
}

/// Reads rows as float32.
pub struct RowReader {
    path: PathBuf,
    array: ArrayMeta,
    bytes: Bytes,
    scratch: Vec<u8>,
}

enum Bytes {
    /// Any byte at any time.
    At { file: File, offset: u64 },
    /// Rows one after another.
    Stream { decoder: Box<dyn io::Read + Send>, next_row: u64 },
    /// Columns one after another, behind an encoding: the whole payload is decoded once for every block of rows.
    Columns { coded: Arc<dyn CodedRows>, file: File, block: Block },
}

/// Rows that were gathered from columns.
#[derive(Default)]
struct Block {
    first: u64,
    values: Vec<f32>,
    narrowed: Vec<u64>,
}

/// Bytes of float32 in a [`Block`]: few passes over the payload, and bounded memory.
const BLOCK_BYTES: u64 = 8 << 20;

impl RowReader {
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
            Bytes::Columns { .. } => self.read_block(first, out, narrowed),
            Bytes::At { .. } if self.array.order == Order::Fortran => self.read_columns(first, out, narrowed),
            bytes if self.array.is_stored_form() => fill(bytes, &self.array, first, bytemuck::cast_slice_mut(out)),
            bytes => {
                self.scratch.resize(out.len() * self.array.dtype.size(), 0);
                fill(bytes, &self.array, first, &mut self.scratch).map(|()| {
                    let cols = self.array.cols();
                    convert(&self.scratch, &self.array, out, &mut |index| narrowed.push(first + index / cols));
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
        let Bytes::At { file, offset } = &self.bytes else { return Ok(()) };
        let (size, rows) = (self.array.dtype.size() as u64, self.array.rows());
        let (scratch, array) = (&mut self.scratch, &self.array);
        gather(array, first, out, scratch, narrowed, |col, bytes| {
            file.read_exact_at(bytes, offset + (col * rows + first) * size)
        })
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
        convert(scratch, array, &mut values, &mut |row| narrowed.push(first + row));
        for (row, value) in values.iter().enumerate() {
            out[row * cols + col] = *value;
        }
    }
    Ok(())
}

/// The payload's bytes of the rows from `first` on.
fn fill(bytes: &mut Bytes, array: &ArrayMeta, first: u64, out: &mut [u8]) -> io::Result<()> {
    match bytes {
        Bytes::At { file, offset } => file.read_exact_at(out, *offset + first * array.row_bytes()),
        Bytes::Stream { decoder, next_row } => {
            let before = first.checked_sub(*next_row).ok_or_else(|| io::Error::other("rows are read forward"))?;
            skip(decoder, before * array.row_bytes())?;
            decoder.read_exact(out)?;
            *next_row = first + out.len() as u64 / array.row_bytes().max(1);
            Ok(())
        }
        Bytes::Columns { .. } => Err(io::Error::other("columns are gathered in blocks")),
    }
}

/// Decodes and drops `len` bytes.
fn skip(decoder: &mut dyn io::Read, len: u64) -> io::Result<()> {
    match io::copy(&mut decoder.take(len), &mut io::sink())? {
        skipped if skipped == len => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Elements of any accepted type and byte order to float32. Tells the index of every element that was finite and is
/// not any more.
fn convert(bytes: &[u8], array: &ArrayMeta, out: &mut [f32], narrowed: &mut dyn FnMut(u64)) {
    fn each<const N: usize>(bytes: &[u8], out: &mut [f32], value: impl Fn([u8; N]) -> f32) {
        let (elements, _) = bytes.as_chunks::<N>();
        for (element, out) in elements.iter().zip(out) {
            *out = value(*element);
        }
    }
    // Narrowing is numpy's `astype(float32)`: round to nearest even, too large becomes infinite.
    #[allow(clippy::cast_possible_truncation)]
    fn narrow(bytes: &[u8], out: &mut [f32], narrowed: &mut dyn FnMut(u64), value: impl Fn([u8; 8]) -> f64) {
        each(bytes, out, |element| value(element) as f32);
        let (elements, _) = bytes.as_chunks::<8>();
        for (index, _) in out.iter().enumerate().filter(|(_, out)| out.is_infinite()) {
            if value(elements[index]).is_finite() {
                narrowed(index as u64);
            }
        }
    }
    match (array.dtype, array.byte_order) {
        (Dtype::Float16, ByteOrder::Little) => each(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
        (Dtype::Float16, ByteOrder::Big) => each(bytes, out, |b| f16::from_be_bytes(b).to_f32()),
        (Dtype::Bfloat16, ByteOrder::Little) => each(bytes, out, |b| bf16::from_le_bytes(b).to_f32()),
        (Dtype::Bfloat16, ByteOrder::Big) => each(bytes, out, |b| bf16::from_be_bytes(b).to_f32()),
        (Dtype::Float32, ByteOrder::Little) => each(bytes, out, f32::from_le_bytes),
        (Dtype::Float32, ByteOrder::Big) => each(bytes, out, f32::from_be_bytes),
        (Dtype::Float64, ByteOrder::Little) => narrow(bytes, out, narrowed, f64::from_le_bytes),
        (Dtype::Float64, ByteOrder::Big) => narrow(bytes, out, narrowed, f64::from_be_bytes),
    }
}

/// Gives `file` its full size in real blocks, so that a full disk is an error now and not a signal later.
///
/// Where the file system cannot (some network and copy-on-write ones), nothing is done: positioned writes then extend
/// the file and report a full disk themselves. A sparse file is never made.
pub(crate) fn allocate(file: &File, len: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    match fallocate(file, FallocateFlags::empty(), 0, len) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
