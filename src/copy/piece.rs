//! One piece: read, measured and written, block by block.

use std::fs::File;

use embstore_formats::{Dtype, FormatError, Hasher, RowReader, narrow};

use super::destination::Destination;
use super::task::Piece;
use super::{CopyError, Source};
use crate::journal::{Narrowing, PieceRecord};
use crate::quality::Meter;

/// Blocks in a piece: enough of them that its journal line and its checks cost nothing.
const PIECE_BLOCKS: u64 = 5;
/// Bytes of float32 in a block: source, block and destination share a second-level cache.
const BLOCK_BYTES: u64 = 768 << 10;

/// Rows in a piece. Depends on the width alone, never on threads: statistics are merged piece by piece.
pub(crate) fn piece_rows(cols: u64) -> u64 {
    PIECE_BLOCKS * block_rows(cols)
}

/// Bytes that a thread holds: a block of float32, and the same rows as a wider source has them.
pub(crate) fn memory_per_thread(cols: u64) -> u64 {
    let block = block_rows(cols) * cols * 4;
    block + 2 * block
}

fn block_rows(cols: u64) -> u64 {
    (BLOCK_BYTES / (cols * 4)).max(1)
}

/// One thread's files and buffer.
pub(super) struct Worker<'a> {
    destination: Destination<'a>,
    source: Option<Opened>,
    block: Vec<f32>,
    narrowed: Vec<u64>,
    /// The block in the narrower type of the store, if that is what it has.
    narrow: Vec<u8>,
}

/// The source that was used last; pieces of one source mostly follow each other.
struct Opened {
    index: usize,
    file: File,
    reader: RowReader,
}

impl<'a> Worker<'a> {
    pub(super) fn new(destination: Destination<'a>) -> Self {
        let (block, narrowed, narrow) = (Vec::new(), Vec::new(), Vec::new());
        Worker { destination, source: None, block, narrowed, narrow }
    }

    /// Copies a piece, or puts it into the chunk that is being gathered. The source must be the planned one before and
    /// after.
    pub(super) fn copy(&mut self, piece: &Piece, source: &Source<'_>) -> Result<PieceRecord, CopyError> {
        let Piece { source: index, row, rows } = *piece;
        let mut opened = match self.source.take() {
            Some(opened) if opened.index == index => opened,
            _ => open(index, source)?,
        };
        let changed = || CopyError::SourceChanged { path: source.path.clone(), rows: (row, row + rows) };
        let unchanged = |file: &File| source.identity.is_of(file);
        if !unchanged(&opened.file) {
            return Err(changed());
        }
        let record = self.copy_blocks(&mut opened.reader, source, row, rows).map_err(|error| match error {
            // A source that shrank is told as what it is: changed.
            FormatError::Shrunk { .. } if !unchanged(&opened.file) => changed(),
            error => error.into(),
        })?;
        if !unchanged(&opened.file) {
            return Err(changed());
        }
        self.source = Some(opened);
        Ok(record)
    }

    /// Hands over the gathered chunk once its turn has come; `false` where it never will.
    pub(super) fn store(&mut self, chunk: u64, turn: impl FnOnce() -> bool) -> Result<bool, FormatError> {
        self.destination.store(chunk, turn)
    }

    fn copy_blocks(
        &mut self,
        reader: &mut RowReader,
        source: &Source<'_>,
        row: u64,
        rows: u64,
    ) -> Result<PieceRecord, FormatError> {
        let cols = source.payload.array().cols();
        let step = block_rows(cols);
        self.block.resize((step * cols) as usize, 0.0);
        let dtype = self.destination.array().map_or(Dtype::Float32, |array| array.dtype);
        let mut meter = Meter::new(row, cols as usize);
        let (mut hasher, mut before, mut largest_error) = (Hasher::default(), Hasher::default(), 0f32);
        let end = row + rows;
        let mut at = row;
        while at < end {
            let block = &mut self.block[..((end - at).min(step) * cols) as usize];
            let source_row = source.first + (at - source.store_row);
            reader.read(source_row, block, &mut self.narrowed)?;
            if dtype != Dtype::Float32 {
                before.update(bytemuck::cast_slice(block));
                largest_error = largest_error.max(narrow(block, dtype, &mut self.narrow));
            }
            for narrowed in self.narrowed.drain(..) {
                meter.note_narrowed(at + (narrowed - source_row));
            }
            meter.measure(block);
            let bytes: &[u8] = bytemuck::cast_slice(block);
            hasher.update(bytes);
            if dtype == Dtype::Float32 {
                let rows = bytes.len() as u64 / (cols * 4);
                let origin = if source.in_kernel { reader.raw(source_row, rows) } else { None };
                self.destination.write(at, bytes, origin)?;
            } else {
                self.destination.write(at, &self.narrow, None)?;
            }
            at += step;
        }
        let mut record = PieceRecord::new(row, rows, source.identity, hasher.checksum(), meter.finish());
        if dtype != Dtype::Float32 {
            record.narrowing = Some(Narrowing::new(before.checksum(), largest_error));
        }
        Ok(record)
    }
}

fn open(index: usize, source: &Source<'_>) -> Result<Opened, CopyError> {
    let file = File::open(&source.path).map_err(FormatError::io("open", &source.path))?;
    let reader = file.try_clone().map_err(FormatError::io("open", &source.path))?;
    let reader = source.payload.reader(reader, &source.path)?;
    Ok(Opened { index, file, reader })
}
