//! Rows out of encoded chunks, band by band. A band is the chunks that hold the same rows.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::array::ArrayMeta;
use crate::dtype::ByteOrder;
use crate::error::FormatError;
use crate::rows::{BlockDecoder, BlockRows};

use super::codecs::{Sharding, crc32c};
use super::grid::{ArrayDoc, dims};
use super::node::broken;

/// Bytes of a block, where a band is not longer.
const BLOCK_BYTES: u64 = 4 << 20;
/// Bytes of a run, where a block is not longer.
const RUN_BYTES: u64 = 16 << 20;
/// Bytes of the decoded chunks that lie beside each other, which a reader holds at once.
const BAND_LIMIT: u64 = 4 << 30;
/// Most blocks of one array; 16 TiB and more.
const BLOCK_LIMIT: u64 = 1 << 22;

/// The chunks of an array, to be decoded.
#[derive(Clone, Debug)]
pub(super) struct Chunked {
    document: Arc<ArrayDoc>,
    folder: PathBuf,
    blocks: Vec<u64>,
    runs: Vec<u64>,
    lenient: bool,
}

impl Chunked {
    /// Says what is wrong with an array that no reader could hold.
    pub(super) fn new(document: ArrayDoc, folder: &Path) -> Result<Self, String> {
        let (rows, cols) = (document.array.rows(), document.array.cols());
        let [band, wide] = document.inner_chunk();
        let size = document.array.dtype.size() as u64;
        let held = cols.checked_next_multiple_of(wide).and_then(|width| width.checked_mul(band)?.checked_mul(size));
        if held.is_none_or(|held| held > BAND_LIMIT) {
            return Err(format!("its chunks {} decode to more than 4 GiB side by side", dims(&[band, wide])));
        }
        let row_bytes = document.array.row_bytes().max(1);
        // Whole bands to a block, whole blocks to a run.
        let block = (BLOCK_BYTES / row_bytes / band).max(1) * band;
        let run = (RUN_BYTES / row_bytes / block).max(1) * block;
        if rows.div_ceil(block) > BLOCK_LIMIT {
            return Err(format!("the shape {} is larger than any store", dims(&[rows, cols])));
        }
        let starts = |step: u64| (0..rows.div_ceil(step)).map(|index| index * step).collect();
        let (blocks, runs) = (starts(block), starts(run));
        Ok(Chunked { document: Arc::new(document), folder: folder.to_path_buf(), blocks, runs, lenient: false })
    }

    /// The same, but chunks that are missing or broken yield bytes that no row has, in place of an error.
    pub(super) fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }
}

impl BlockRows for Chunked {
    fn array(&self) -> &ArrayMeta {
        &self.document.array
    }

    fn blocks(&self) -> &[u64] {
        &self.blocks
    }

    fn runs(&self) -> &[u64] {
        &self.runs
    }

    fn decoder(&self) -> Result<Box<dyn BlockDecoder>, FormatError> {
        Ok(Box::new(Decoder { chunked: self.clone(), shard: None }))
    }
}

struct Decoder {
    chunked: Chunked,
    /// The shard that was read last, with its row and column in the grid; without its file where that is missing.
    shard: Option<([u64; 2], Option<Shard>)>,
}

/// An opened shard: offset and length of every chunk.
struct Shard {
    path: PathBuf,
    file: File,
    index: Vec<[u64; 2]>,
}

/// What stands for the rows of a broken chunk whose rows are to be compared with a checksum.
const NO_ROW: u8 = 0xa5;

impl BlockDecoder for Decoder {
    fn decode(&mut self, _block: usize, rows: Range<u64>, bytes: &mut Vec<u8>) -> Result<(), FormatError> {
        let document = Arc::clone(&self.chunked.document);
        let size = document.array.dtype.size();
        let [high, wide] = document.inner_chunk();
        let cols = document.array.cols();
        bytes.clear();
        bytes.resize((rows.end - rows.start) as usize * cols as usize * size, 0);
        for band in rows.start / high..rows.end.div_ceil(high) {
            for column in 0..cols.div_ceil(wide) {
                let chunk = match self.chunk([band, column]) {
                    Err(_) | Ok(None) if self.chunked.lenient => {
                        Some(vec![NO_ROW; high as usize * wide as usize * size])
                    }
                    chunk => chunk?,
                };
                let first = (band * high).max(rows.start);
                let left = (column * wide) as usize;
                let width = (cols as usize - left).min(wide as usize) * size;
                for row in first..((band + 1) * high).min(rows.end) {
                    let to = ((row - rows.start) as usize * cols as usize + left) * size;
                    let to = &mut bytes[to..to + width];
                    match &chunk {
                        Some(chunk) => {
                            let from = (row - band * high) as usize * wide as usize * size;
                            to.copy_from_slice(&chunk[from..from + width]);
                        }
                        None => to.chunks_exact_mut(size).for_each(|item| item.copy_from_slice(&document.fill)),
                    }
                }
            }
        }
        Ok(())
    }
}

impl Decoder {
    /// The decoded chunk at these places of the grid of chunks; `None` for one that is missing and therefore filled.
    fn chunk(&mut self, [row, col]: [u64; 2]) -> Result<Option<Vec<u8>>, FormatError> {
        let document = Arc::clone(&self.chunked.document);
        let shape = document.inner_chunk();
        let (path, encoded) = match &document.sharding {
            None => {
                let path = document.file(&self.chunked.folder, row, col);
                let Some(file) = open(&path)? else { return Ok(None) };
                let len = file.metadata().map_err(FormatError::io("read", &path))?.len();
                let encoded = read(&file, &path, 0, len, &document)?;
                (path, encoded)
            }
            Some(sharding) => {
                let across = [document.chunk[0] / shape[0], document.chunk[1] / shape[1]];
                let number = (row % across[0]) * across[1] + col % across[1];
                let at = [row / across[0], col / across[1]];
                let Some(shard) = self.shard(at, sharding, across)? else { return Ok(None) };
                let [offset, len] = shard.index[number as usize];
                if [offset, len] == [u64::MAX; 2] {
                    return Ok(None);
                }
                (shard.path.clone(), read(&shard.file, &shard.path, offset, len, &document)?)
            }
        };
        let shape = shape.map(|n| n as usize);
        let decoded = document.codecs.decode(encoded, shape, document.array.dtype.size());
        decoded.map(Some).map_err(|what| broken(&path, format!("chunk {row}, {col}: {what}")))
    }

    /// The shard at these places of the grid of shards, opened if it is not.
    fn shard(&mut self, at: [u64; 2], sharding: &Sharding, across: [u64; 2]) -> Result<Option<&Shard>, FormatError> {
        if self.shard.as_ref().is_none_or(|(opened, _)| *opened != at) {
            let path = self.chunked.document.file(&self.chunked.folder, at[0], at[1]);
            let shard = match open(&path)? {
                Some(file) => Some(Shard::read(path, file, sharding, across)?),
                None => None,
            };
            self.shard = Some((at, shard));
        }
        Ok(self.shard.as_ref().and_then(|(_, shard)| shard.as_ref()))
    }
}

impl Shard {
    fn read(path: PathBuf, file: File, sharding: &Sharding, across: [u64; 2]) -> Result<Self, FormatError> {
        let len = file.metadata().map_err(FormatError::io("read", &path))?.len();
        let index_len = across[0].checked_mul(across[1]).and_then(|chunks| chunks.checked_mul(16));
        let whole = index_len.and_then(|index| index.checked_add(if sharding.index_checked { 4 } else { 0 }));
        let (Some(index_len), Some(whole)) = (index_len, whole.filter(|whole| *whole <= len)) else {
            return Err(broken(&path, format!("has {len} bytes, too few for the index of its chunks")));
        };
        let mut bytes = vec![0; whole as usize];
        let offset = if sharding.index_at_end { len - whole } else { 0 };
        file.read_exact_at(&mut bytes, offset).map_err(FormatError::io("read", &path))?;
        let (index, told) = bytes.split_at(index_len as usize);
        if sharding.index_checked && told != crc32c(index).to_le_bytes() {
            return Err(broken(&path, "the checksum of the index of its chunks is another".into()));
        }
        let number = |bytes: &[u8]| {
            let bytes = bytes.try_into().unwrap_or_default();
            match sharding.index_order {
                ByteOrder::Little => u64::from_le_bytes(bytes),
                ByteOrder::Big => u64::from_be_bytes(bytes),
            }
        };
        let index: Vec<[u64; 2]> =
            index.chunks_exact(16).map(|pair| [number(&pair[..8]), number(&pair[8..])]).collect();
        let is_within = |[offset, size]: &[u64; 2]| {
            [*offset, *size] == [u64::MAX; 2] || offset.checked_add(*size).is_some_and(|end| end <= len)
        };
        if let Some(chunk) = index.iter().position(|entry| !is_within(entry)) {
            return Err(broken(&path, format!("chunk {chunk} of the shard lies behind its {len} bytes")));
        }
        Ok(Shard { path, file, index })
    }
}

/// `None` where there is no such file.
fn open(path: &Path) -> Result<Option<File>, FormatError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FormatError::io("open", path)(error)),
    }
}

/// `len` bytes from `offset` on, of which a sound chunk has not many more than its rows need.
fn read(file: &File, path: &Path, offset: u64, len: u64, document: &ArrayDoc) -> Result<Vec<u8>, FormatError> {
    let [rows, cols] = document.inner_chunk();
    let decoded = rows * cols * document.array.dtype.size() as u64;
    if len > decoded + decoded / 4 + (1 << 16) {
        return Err(broken(path, format!("a chunk of {len} bytes, where its rows have {decoded}")));
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, offset).map_err(FormatError::io("read", path))?;
    Ok(bytes)
}
