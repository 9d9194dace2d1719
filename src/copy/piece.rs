//! One piece: read, measured and written, block by block.

use std::fs::File;
use std::os::unix::fs::FileExt;

use embstore_formats::{FormatError, Hasher, Region, RowReader};

use super::writeback::start_writeback;
use super::{CopyError, Source};
use crate::identity::Identity;
use crate::journal::PieceRecord;
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
#[must_use]
pub fn memory_per_thread(cols: u64) -> u64 {
    let block = block_rows(cols) * cols * 4;
    block + 2 * block
}

fn block_rows(cols: u64) -> u64 {
    (BLOCK_BYTES / (cols * 4)).max(1)
}

pub(super) fn open_to_write(region: &Region) -> Result<File, FormatError> {
    File::options().write(true).open(&region.path).map_err(FormatError::io("open", &region.path))
}

/// One thread's files and buffer.
pub(super) struct Worker<'a> {
    destination: Option<(&'a Region, File)>,
    write_back: bool,
    source: Option<Opened>,
    block: Vec<f32>,
    narrowed: Vec<u64>,
}

/// The source that was used last; pieces of one source mostly follow each other.
struct Opened {
    index: usize,
    file: File,
    reader: RowReader,
}

impl<'a> Worker<'a> {
    pub(super) fn new(region: Option<&'a Region>, write_back: bool) -> Result<Self, CopyError> {
        let destination = region.map(|region| open_to_write(region).map(|file| (region, file))).transpose()?;
        Ok(Worker { destination, write_back, source: None, block: Vec::new(), narrowed: Vec::new() })
    }

    /// Copies rows `row..row + rows` of the store. The source must be the planned one before and after.
    pub(super) fn copy(
        &mut self,
        index: usize,
        source: &Source<'_>,
        row: u64,
        rows: u64,
    ) -> Result<PieceRecord, CopyError> {
        let mut opened = match self.source.take() {
            Some(opened) if opened.index == index => opened,
            _ => open(index, source)?,
        };
        let changed = || CopyError::SourceChanged { path: source.path.clone(), rows: (row, row + rows) };
        let unchanged = |file: &File| Identity::of(file).is_ok_and(|identity| identity == source.identity);
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
        let mut meter = Meter::new(row, cols as usize);
        let mut hasher = Hasher::default();
        let end = row + rows;
        let mut at = row;
        while at < end {
            let block = &mut self.block[..((end - at).min(step) * cols) as usize];
            let source_row = source.first + (at - source.store_row);
            reader.read(source_row, block, &mut self.narrowed)?;
            for narrowed in self.narrowed.drain(..) {
                meter.note_narrowed(at + (narrowed - source_row));
            }
            meter.measure(block);
            let bytes: &[u8] = bytemuck::cast_slice(block);
            hasher.update(bytes);
            if let Some((region, file)) = &self.destination {
                let offset = region.offset + at * cols * 4;
                file.write_all_at(bytes, offset).map_err(FormatError::io("write", &region.path))?;
                if self.write_back {
                    start_writeback(file, offset, bytes.len() as u64);
                }
            }
            at += step;
        }
        Ok(PieceRecord::new(row, rows, source.identity, hasher.checksum(), meter.finish()))
    }
}

fn open(index: usize, source: &Source<'_>) -> Result<Opened, CopyError> {
    let file = File::open(&source.path).map_err(FormatError::io("open", &source.path))?;
    let reader = file.try_clone().map_err(FormatError::io("open", &source.path))?;
    let reader = source.payload.reader(reader, &source.path)?;
    Ok(Opened { index, file, reader })
}
