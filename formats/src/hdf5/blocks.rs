//! Rows that are not one run of bytes: in chunks, within a header, or not written yet.
//!
//! Stored chunks are read under the library's lock and decoded outside of it, on the caller's thread.

use std::ops::Range;
use std::path::{Path, PathBuf};

use hdf5::Dataset;

use crate::array::ArrayMeta;
use crate::error::FormatError;
use crate::rows::{BlockDecoder, BlockRows};

use super::failed;
use super::filters;
use super::raw::{self, Placement};
use super::transfer;

/// Decoded bytes of a block, where chunks permit.
const BLOCK_BYTES: u64 = 4 << 20;
/// Decoded bytes of a run.
const RUN_BYTES: u64 = 16 << 20;
/// Larger blocks are refused: one must be held in memory.
const LARGEST_BLOCK: u64 = 1 << 30;
/// More blocks are refused: they are 16 TiB, and the table of them is held in memory.
const MOST_BLOCKS: u64 = 1 << 22;

/// A two-dimensional dataset, block by block.
#[derive(Clone, Debug)]
pub(super) struct Hdf5Rows {
    path: PathBuf,
    dataset: String,
    array: ArrayMeta,
    placement: Placement,
    /// Whether a chunk that cannot be had reads as zeros.
    lenient: bool,
    blocks: Vec<u64>,
    runs: Vec<u64>,
}

impl Hdf5Rows {
    /// The rows of the dataset `dataset` in the file at `path`. What is wrong where they cannot be read in blocks.
    pub(super) fn new(
        path: &Path,
        dataset: String,
        array: ArrayMeta,
        placement: Placement,
        lenient: bool,
    ) -> Result<Self, String> {
        let band = match &placement {
            Placement::Library => 1,
            Placement::Chunked { chunk, .. } => chunk[0],
            Placement::Elsewhere(what) => return Err(format!("is {what}, its rows are in other files")),
        };
        let too_large = |bytes: u64| (bytes > LARGEST_BLOCK).then(|| format!("has chunks of rows of {bytes} bytes"));
        let row_bytes = array.row_bytes().max(1);
        let bands = BLOCK_BYTES / row_bytes.saturating_mul(band).max(1);
        let step = band.saturating_mul(bands.max(1));
        let block_bytes = step.min(array.rows()).saturating_mul(row_bytes);
        let chunk_bytes = match &placement {
            Placement::Chunked { chunk, .. } => {
                chunk[0].saturating_mul(chunk[1]).saturating_mul(array.dtype.size() as u64)
            }
            _ => 0,
        };
        if let Some(what) = too_large(block_bytes).or_else(|| too_large(chunk_bytes)) {
            return Err(what);
        }
        if array.rows().div_ceil(step) > MOST_BLOCKS {
            return Err(format!("has {} rows in chunks of {band}, which are too many", array.rows()));
        }
        let run = step * (RUN_BYTES / (step.saturating_mul(row_bytes))).max(1);
        let starts = |step: u64| (0..array.rows()).step_by(usize::try_from(step).unwrap_or(usize::MAX)).collect();
        let (path, blocks, runs) = (path.to_path_buf(), starts(step), starts(run));
        Ok(Hdf5Rows { path, dataset, array, placement, lenient, blocks, runs })
    }
}

impl BlockRows for Hdf5Rows {
    fn array(&self) -> &ArrayMeta {
        &self.array
    }

    fn blocks(&self) -> &[u64] {
        &self.blocks
    }

    fn runs(&self) -> &[u64] {
        &self.runs
    }

    fn decoder(&self) -> Result<Box<dyn BlockDecoder>, FormatError> {
        let len = std::fs::metadata(&self.path).map_err(FormatError::io("read", &self.path))?.len();
        let dataset = raw::open(&self.path, false).and_then(|file| file.dataset(&self.dataset));
        let dataset = dataset.map_err(failed("cannot be opened", &self.path))?;
        Ok(Box::new(Decoder { rows: self.clone(), dataset, len }))
    }
}

struct Decoder {
    rows: Hdf5Rows,
    dataset: Dataset,
    /// Of the file: no chunk is larger.
    len: u64,
}

impl BlockDecoder for Decoder {
    fn decode(&mut self, _block: usize, rows: Range<u64>, bytes: &mut Vec<u8>) -> Result<(), FormatError> {
        let row_bytes = self.rows.array.row_bytes();
        bytes.clear();
        bytes.resize(((rows.end - rows.start) * row_bytes) as usize, 0);
        let Placement::Chunked { chunk, fill, .. } = &self.rows.placement else {
            let read = transfer::read_rows(&self.dataset, rows.start, rows.end - rows.start, bytes);
            return read.map_err(failed("cannot be read", &self.rows.path));
        };
        let ([height, width], cols, size) = (*chunk, self.rows.array.cols(), fill.len() as u64);
        for row in (rows.start / height * height..rows.end).step_by(height as usize) {
            for col in (0..cols).step_by(width as usize) {
                let decoded = self.chunk([row, col])?;
                let (wide, from) = ((width.min(cols - col) * size) as usize, row.max(rows.start));
                for at in from..(row + height).min(rows.end) {
                    let to = ((at - rows.start) * row_bytes + col * size) as usize;
                    let out = &mut bytes[to..to + wide];
                    match &decoded {
                        Some(decoded) => {
                            let from = ((at - row) * width * size) as usize;
                            out.copy_from_slice(&decoded[from..from + wide]);
                        }
                        None => out.chunks_exact_mut(fill.len()).for_each(|element| element.copy_from_slice(fill)),
                    }
                }
            }
        }
        Ok(())
    }
}

impl Decoder {
    /// The decoded chunk at row and column `at`; `None` where it was never written.
    fn chunk(&self, at: [u64; 2]) -> Result<Option<Vec<u8>>, FormatError> {
        let path = &self.rows.path;
        match self.stored(at) {
            Ok(decoded) => Ok(decoded),
            Err(_) if self.rows.lenient => Ok(None),
            Err(what) => Err(FormatError::Container {
                path: path.clone(),
                what: format!("the chunk at row {}, column {} of {:?} {what}", at[0], at[1], self.rows.dataset),
                hint: "the file is damaged: fetch it again or re-run that worker",
            }),
        }
    }

    fn stored(&self, at: [u64; 2]) -> Result<Option<Vec<u8>>, String> {
        let Placement::Chunked { chunk, filters, raw_edges, fill } = &self.rows.placement else { return Ok(None) };
        let read = transfer::read_chunk(&self.dataset, at, self.len);
        let Some((mask, bytes)) = read.map_err(|error| format!("cannot be read: {error}"))? else { return Ok(None) };
        let len = (chunk[0] * chunk[1]) as usize * fill.len();
        let beyond = at[0] + chunk[0] > self.rows.array.rows() || at[1] + chunk[1] > self.rows.array.cols();
        let mask = if *raw_edges && beyond { u32::MAX } else { mask };
        filters::decode(filters, mask, bytes, len).map(Some)
    }
}
