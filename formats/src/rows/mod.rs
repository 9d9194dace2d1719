//! Rows as float32, read by range from wherever they lie.
//!
//! A payload is raw bytes ([`Regions`]), blocks that are decoded one by one ([`BlockRows`]: row groups, chunks), or one
//! encoding that can only be decoded from its start ([`CodedRows`]). [`RowReader`] reads them all.

mod convert;
mod reader;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub use convert::{narrow, widen};
pub use reader::RowReader;

use crate::array::ArrayMeta;
use crate::dtype::Order;
use crate::error::FormatError;
use crate::region::{Region, Regions};

/// Where the rows of an array lie.
#[derive(Clone, Debug)]
pub enum Payload {
    /// The bytes themselves: any row can be read at once, by any thread.
    Raw(Regions),
    /// Blocks of rows, each decoded on its own.
    Blocks(Arc<dyn BlockRows>),
    /// An encoding that must be decoded from its start (protocol 0–2 pickles, deflated members of a zip file).
    Coded(Arc<dyn CodedRows>),
}

/// Rows that can only be had by decoding a file from the start of its payload.
pub trait CodedRows: std::fmt::Debug + Send + Sync {
    /// The decoded matrix.
    fn array(&self) -> &ArrayMeta;
    /// Checks that the encoding decodes to as many bytes as the shape needs, by reading all of it if need be.
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

/// Rows that come in blocks of a few MiB. The blocks belong to runs; each run can be decoded without those before it.
pub trait BlockRows: std::fmt::Debug + Send + Sync {
    /// The decoded matrix, in C order.
    fn array(&self) -> &ArrayMeta;
    /// First row of every block, ascending from 0. Blocks are never empty.
    fn blocks(&self) -> &[u64];
    /// First row of every run, ascending from 0; each is the first row of a block. A thread takes a run at a time.
    fn runs(&self) -> &[u64];
    /// A decoder for one thread.
    ///
    /// # Errors
    /// Where the file cannot be opened.
    fn decoder(&self) -> Result<Box<dyn BlockDecoder>, FormatError>;
    /// Bytes that a decoder holds at most: by default the largest block, encoded and decoded.
    fn memory(&self) -> u64 {
        let ends = self.blocks().iter().skip(1).copied().chain([self.array().rows()]);
        let largest = self.blocks().iter().zip(ends).map(|(start, end)| end - start).max().unwrap_or(0);
        2 * largest * self.array().row_bytes()
    }
}

/// Decodes the blocks of one [`BlockRows`].
pub trait BlockDecoder: Send {
    /// Puts the bytes of block number `block`, which has the rows `rows`, into `bytes`: rows × columns elements of the
    /// array's type, in C order. Blocks are mostly asked for in order, and any block may be.
    ///
    /// # Errors
    /// Where the block cannot be read or decoded.
    fn decode(&mut self, block: usize, rows: Range<u64>, bytes: &mut Vec<u8>) -> Result<(), FormatError>;
}

impl From<Region> for Payload {
    fn from(region: Region) -> Self {
        Payload::Raw(region.into())
    }
}

impl Payload {
    /// The matrix.
    #[must_use]
    pub fn array(&self) -> &ArrayMeta {
        match self {
            Payload::Raw(regions) => regions.array(),
            Payload::Blocks(blocks) => blocks.array(),
            Payload::Coded(coded) => coded.array(),
        }
    }

    /// First rows of the runs that are best read by one thread each, or nothing where rows can be read in any order at
    /// no extra cost.
    #[must_use]
    pub fn runs(&self) -> &[u64] {
        match self {
            Payload::Raw(_) => &[],
            Payload::Blocks(blocks) => blocks.runs(),
            Payload::Coded(_) => &[0],
        }
    }

    /// Bytes that a reader holds at most, beside what it is given to fill.
    #[must_use]
    pub fn memory(&self) -> u64 {
        match self {
            Payload::Raw(_) => 0,
            Payload::Blocks(blocks) => blocks.memory(),
            Payload::Coded(coded) if coded.array().order == Order::Fortran => reader::BLOCK_BYTES,
            Payload::Coded(_) => 1 << 17,
        }
    }

    /// Checks what [`Format::locate`](crate::Format::locate) cannot know without reading the payload.
    ///
    /// # Errors
    /// [`FormatError::PayloadLength`] for an encoding that yields too few or too many bytes.
    pub fn check(&self, file: &File) -> Result<(), FormatError> {
        match self {
            Payload::Raw(_) | Payload::Blocks(_) => Ok(()),
            Payload::Coded(coded) => coded.check(file),
        }
    }

    /// A reader over the rows in `file`, which is the opened file of this payload at `path`.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn reader(&self, file: File, path: &Path) -> Result<RowReader, FormatError> {
        RowReader::new(self, file, path)
    }
}
