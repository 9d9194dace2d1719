//! Rows as float32, read by position from wherever they lie.
//!
//! A region is never cast to `&[f32]` where it lies: pickle payloads start at any byte. Rows are read into an aligned
//! buffer instead, and widened, narrowed, swapped or transposed there.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

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
    Coded(Box<dyn CodedRows>),
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
    At { file: File, offset: u64 },
    Stream { decoder: Box<dyn io::Read + Send>, next_row: u64 },
}

impl RowReader {
    /// Reads rows `first..` into `out`, a whole number of rows. A row in which a finite value became infinite by
    /// narrowing is appended to `narrowed`, counted within the array.
    ///
    /// Coded payloads are read forward: rows before `first` are decoded and dropped, rows behind the last call are gone.
    ///
    /// # Errors
    /// [`FormatError::Shrunk`] where the file ends early, [`FormatError::Io`] otherwise.
    pub fn read(&mut self, first: u64, out: &mut [f32], narrowed: &mut Vec<u64>) -> Result<(), FormatError> {
        let rows = out.len() as u64 / self.array.cols().max(1);
        debug_assert!(first + rows <= self.array.rows());
        let result = if self.array.order == Order::Fortran {
            self.read_columns(first, rows, out)
        } else if self.array.is_stored_form() {
            fill(&mut self.bytes, &self.array, first, bytemuck::cast_slice_mut(out))
        } else {
            self.scratch.resize(out.len() * self.array.dtype.size(), 0);
            fill(&mut self.bytes, &self.array, first, &mut self.scratch).map(|()| {
                convert(&self.scratch, &self.array, out);
            })
        };
        result.map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => FormatError::Shrunk { path: self.path.clone(), row: first },
            _ => FormatError::Io { action: "read", path: self.path.clone(), source },
        })?;
        if self.array.dtype == Dtype::Float64 {
            self.note_narrowed(first, out, narrowed)?;
        }
        Ok(())
    }

    /// Column-major payloads: one strided read a column.
    fn read_columns(&mut self, first: u64, rows: u64, out: &mut [f32]) -> io::Result<()> {
        let Bytes::At { file, offset } = &self.bytes else {
            return Err(io::Error::other("a coded payload in Fortran order cannot be read by rows"));
        };
        let (size, cols) = (self.array.dtype.size() as u64, self.array.cols() as usize);
        let mut column = vec![0f32; rows as usize];
        self.scratch.resize(column.len() * size as usize, 0);
        for col in 0..cols {
            let at = offset + (col as u64 * self.array.rows() + first) * size;
            file.read_exact_at(&mut self.scratch, at)?;
            convert(&self.scratch, &self.array, &mut column);
            for (row, value) in column.iter().enumerate() {
                out[row * cols + col] = *value;
            }
        }
        Ok(())
    }

    /// Looks back at the source of every row with an infinity: was it one already, or did float32 make it one?
    fn note_narrowed(&mut self, first: u64, out: &[f32], narrowed: &mut Vec<u64>) -> Result<(), FormatError> {
        let cols = self.array.cols() as usize;
        for (row, values) in out.chunks_exact(cols.max(1)).enumerate() {
            if !values.iter().any(|v| v.is_infinite()) {
                continue;
            }
            for col in (0..cols).filter(|&col| values[col].is_infinite()) {
                if self.source_value(first, row, col)?.is_finite() {
                    narrowed.push(first + row as u64);
                    break;
                }
            }
        }
        Ok(())
    }

    /// One float64 of the source, from the block that was read last.
    fn source_value(&self, first: u64, row: usize, col: usize) -> Result<f64, FormatError> {
        let mut bytes = [0u8; 8];
        match (&self.bytes, self.array.order) {
            (Bytes::At { file, offset }, Order::Fortran) => {
                let at = offset + (col as u64 * self.array.rows() + first + row as u64) * 8;
                file.read_exact_at(&mut bytes, at).map_err(FormatError::io("read", &self.path))?;
            }
            _ => {
                let at = (row * self.array.cols() as usize + col) * 8;
                bytes.copy_from_slice(&self.scratch[at..at + 8]);
            }
        }
        Ok(match self.array.byte_order {
            ByteOrder::Little => f64::from_le_bytes(bytes),
            ByteOrder::Big => f64::from_be_bytes(bytes),
        })
    }
}

/// The payload's bytes of the rows from `first` on.
fn fill(bytes: &mut Bytes, array: &ArrayMeta, first: u64, out: &mut [u8]) -> io::Result<()> {
    match bytes {
        Bytes::At { file, offset } => file.read_exact_at(out, *offset + first * array.row_bytes()),
        Bytes::Stream { decoder, next_row } => {
            let skip =
                first.checked_sub(*next_row).ok_or_else(|| io::Error::other("a coded payload is read forward"))?;
            let skip_bytes = skip * array.row_bytes();
            if io::copy(&mut decoder.by_ref().take(skip_bytes), &mut io::sink())? < skip_bytes {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            decoder.read_exact(out)?;
            *next_row = first + out.len() as u64 / array.row_bytes().max(1);
            Ok(())
        }
    }
}

/// Elements of any accepted type and byte order to float32.
fn convert(bytes: &[u8], array: &ArrayMeta, out: &mut [f32]) {
    fn each<const N: usize>(bytes: &[u8], out: &mut [f32], value: impl Fn([u8; N]) -> f32) {
        let (elements, _) = bytes.as_chunks::<N>();
        for (element, out) in elements.iter().zip(out) {
            *out = value(*element);
        }
    }
    // Narrowing is numpy's `astype(float32)`: round to nearest even, too large becomes infinite.
    #[allow(clippy::cast_possible_truncation)]
    match (array.dtype, array.byte_order) {
        (Dtype::Float16, ByteOrder::Little) => each(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
        (Dtype::Float16, ByteOrder::Big) => each(bytes, out, |b| f16::from_be_bytes(b).to_f32()),
        (Dtype::Bfloat16, ByteOrder::Little) => each(bytes, out, |b| bf16::from_le_bytes(b).to_f32()),
        (Dtype::Bfloat16, ByteOrder::Big) => each(bytes, out, |b| bf16::from_be_bytes(b).to_f32()),
        (Dtype::Float32, ByteOrder::Little) => each(bytes, out, f32::from_le_bytes),
        (Dtype::Float32, ByteOrder::Big) => each(bytes, out, f32::from_be_bytes),
        (Dtype::Float64, ByteOrder::Little) => each(bytes, out, |b| f64::from_le_bytes(b) as f32),
        (Dtype::Float64, ByteOrder::Big) => each(bytes, out, |b| f64::from_be_bytes(b) as f32),
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
