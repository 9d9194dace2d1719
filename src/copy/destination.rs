//! Where a thread puts its rows: into regions at once, or into a chunk that is handed over when it is full.

use std::fs::File;
use std::os::unix::fs::FileExt;

use embstore_formats::{ArrayMeta, ChunkSink, FormatError, Parts, Regions};

use super::transfer::transfer;
use super::writeback::start_writeback;

/// One thread's end of the store.
pub(super) enum Destination<'a> {
    /// Rows are only measured.
    Nowhere,
    /// Rows are written by position.
    Regions { regions: &'a Regions, open: Option<(usize, File)>, write_back: bool },
    /// Rows are gathered.
    Chunk { sink: &'a dyn ChunkSink, bytes: Vec<u8> },
}

impl<'a> Destination<'a> {
    pub(super) fn new(parts: Option<Parts<'a>>, write_back: bool) -> Self {
        match parts {
            None => Destination::Nowhere,
            Some(Parts::Regions(regions)) => Destination::Regions { regions, open: None, write_back },
            Some(Parts::Chunks(sink)) => Destination::Chunk { sink, bytes: Vec::new() },
        }
    }

    /// The matrix as it is stored, where it is.
    pub(super) fn array(&self) -> Option<&'a ArrayMeta> {
        match self {
            Destination::Nowhere => None,
            Destination::Regions { regions, .. } => Some(regions.array()),
            Destination::Chunk { sink, .. } => Some(sink.array()),
        }
    }

    /// Puts the bytes of whole rows at row `row`. They are also at `origin`, a place in a file, where that is given.
    pub(super) fn write(
        &mut self,
        mut row: u64,
        mut bytes: &[u8],
        mut origin: Option<(&File, u64)>,
    ) -> Result<(), FormatError> {
        match self {
            Destination::Nowhere => Ok(()),
            Destination::Chunk { sink, bytes: chunk } => {
                let at = ((row % sink.chunk_rows()) * sink.array().row_bytes()) as usize;
                // The pieces of a chunk come in row order.
                chunk.resize(at, 0);
                chunk.extend_from_slice(bytes);
                Ok(())
            }
            Destination::Regions { regions, open, write_back } => {
                let row_bytes = regions.array().row_bytes();
                while !bytes.is_empty() {
                    let (index, start) = regions.part_of(row);
                    let part = &regions.parts()[index];
                    let rows = (start + part.array.rows() - row).min(bytes.len() as u64 / row_bytes);
                    let (here, rest) = bytes.split_at((rows * row_bytes) as usize);
                    let file = match open {
                        Some((opened, file)) if *opened == index => file,
                        _ => {
                            let file = File::options().write(true).open(&part.path);
                            let file = file.map_err(FormatError::io("open", &part.path))?;
                            &mut open.insert((index, file)).1
                        }
                    };
                    let offset = part.offset + (row - start) * row_bytes;
                    let len = here.len() as u64;
                    if !origin.is_some_and(|(from, at)| transfer(from, at, file, offset, len)) {
                        file.write_all_at(here, offset).map_err(FormatError::io("write", &part.path))?;
                    }
                    origin = origin.map(|(from, at)| (from, at + len));
                    if *write_back {
                        start_writeback(file, offset, len);
                    }
                    (row, bytes) = (row + rows, rest);
                }
                Ok(())
            }
        }
    }

    /// Encodes the gathered chunk and stores it once its turn has come; `false` where it never will.
    pub(super) fn store(&mut self, chunk: u64, turn: impl FnOnce() -> bool) -> Result<bool, FormatError> {
        let Destination::Chunk { sink, bytes } = self else { return Ok(true) };
        let encoded = sink.encode(chunk, bytes)?;
        bytes.clear();
        if sink.in_order() && !turn() {
            return Ok(false);
        }
        sink.store(chunk, encoded)?;
        Ok(true)
    }
}
