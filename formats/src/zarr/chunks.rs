//! Chunks and shards that are encoded before they are written.

use std::borrow::Cow;
use std::fs::{self, File};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use zarrs::array::codec::CodecChain;
use zarrs::array::{ArrayBytes, ArrayToBytesCodecTraits, DataType, FillValue, data_type};

use crate::array::ArrayMeta;
use crate::dtype::Dtype;
use crate::error::FormatError;
use crate::rows::Payload;
use crate::target::{ChunkSink, Codec};

use super::blocks::Chunked;
use super::codecs::{chain, one_thread};
use super::document::{NewArray, Version};
use super::node::{Node, read_node};
use super::store::{chunk_file, create_folder_of};

/// The matrix of a store, file by file.
pub(super) struct Chunks {
    folder: PathBuf,
    version: Version,
    array: ArrayMeta,
    shape: [NonZeroU64; 2],
    data_type: DataType,
    fill: FillValue,
    encoder: Encoder,
    /// Whether the folders that hold the chunks are on disk.
    folders_synced: AtomicBool,
}

enum Encoder {
    Chain(Box<CodecChain>),
    /// As numcodecs has it: the length in four bytes, then one block.
    Lz4,
}

impl Chunks {
    pub(super) fn create(
        folder: &Path,
        version: Version,
        array: ArrayMeta,
        new: &NewArray,
    ) -> Result<Self, FormatError> {
        let failed =
            |what| FormatError::Layout { path: folder.to_path_buf(), what, hint: "choose another compression" };
        let encoder = match new.compression {
            Some(compression) if compression.codec == Codec::Lz4 => Encoder::Lz4,
            _ => Encoder::Chain(Box::new(chain(&new.codecs()).map_err(failed)?)),
        };
        let (data_type, fill) = match array.dtype {
            Dtype::Float16 => (data_type::float16(), FillValue::from([0; 2])),
            _ => (data_type::float32(), FillValue::from(0f32)),
        };
        let shape = [new.file[0], new.file[1]].map(|n| NonZeroU64::new(n).unwrap_or(NonZeroU64::MIN));
        let folders_synced = AtomicBool::new(false);
        Ok(Chunks { folder: folder.to_path_buf(), version, array, shape, data_type, fill, encoder, folders_synced })
    }

    fn failed(&self, chunk: u64, what: impl std::fmt::Display) -> FormatError {
        FormatError::Container {
            path: chunk_file(&self.folder, self.version, chunk),
            what: format!("cannot be encoded: {what}"),
            hint: "choose another compression",
        }
    }
}

impl ChunkSink for Chunks {
    fn array(&self) -> &ArrayMeta {
        &self.array
    }

    fn chunk_rows(&self) -> u64 {
        self.shape[0].get()
    }

    fn encode(&self, chunk: u64, bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
        let whole = (self.shape[0].get() * self.array.row_bytes()) as usize;
        let mut rows = Cow::Borrowed(bytes);
        if bytes.len() < whole {
            rows.to_mut().resize(whole, 0);
        }
        match &self.encoder {
            Encoder::Lz4 => Ok(lz4_flex::block::compress_prepend_size(&rows)),
            Encoder::Chain(chain) => {
                let rows = ArrayBytes::new_flen(rows);
                let encoded = chain.encode(rows, &self.shape, &self.data_type, &self.fill, &one_thread());
                encoded.map(Cow::into_owned).map_err(|error| self.failed(chunk, error))
            }
        }
    }

    /// A chunk has its name only once it is whole.
    fn store(&self, chunk: u64, encoded: Vec<u8>) -> Result<(), FormatError> {
        let path = chunk_file(&self.folder, self.version, chunk);
        let draft = path.with_extension("part");
        create_folder_of(&path)?;
        fs::write(&draft, encoded).map_err(FormatError::io("write", &draft))?;
        fs::rename(&draft, &path).map_err(FormatError::io("rename", &draft))
    }

    fn sync(&self, chunks: &[u64]) -> Result<(), FormatError> {
        let sync =
            |path: &Path| File::open(path).and_then(|file| file.sync_all()).map_err(FormatError::io("sync", path));
        for chunk in chunks {
            let path = chunk_file(&self.folder, self.version, *chunk);
            sync(&path)?;
            if let (Version::V3, Some(folder)) = (self.version, path.parent()) {
                sync(folder)?;
            }
        }
        if self.version == Version::V3 {
            sync(&self.folder.join("c"))?;
        }
        if self.version == Version::V2 || !self.folders_synced.swap(true, Ordering::Relaxed) {
            sync(&self.folder)?;
            self.folder.parent().map_or(Ok(()), sync)?;
        }
        Ok(())
    }

    fn staged(&self) -> Option<Payload> {
        let Some(Node::Array(document, _)) = read_node(&self.folder).ok()? else { return None };
        let chunked = Chunked::new(*document, &self.folder).ok()?;
        Some(Payload::Blocks(Arc::new(chunked.lenient())))
    }
}
