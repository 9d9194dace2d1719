//! Zarr, versions 2 and 3: a folder of chunk files with JSON documents beside them.
//!
//! ```text
//! version 3                                           version 2
//! w.zarr/zarr.json              group, attributes     w.zarr/.zgroup .zattrs .zmetadata
//! w.zarr/embeddings/zarr.json   array                 w.zarr/embeddings/.zarray .zattrs
//! w.zarr/embeddings/c/0/0       rows 0..4096          w.zarr/embeddings/0.0
//! w.zarr/embeddings/c/1/0       …, zeros at the end   w.zarr/embeddings/1.0
//! w.zarr/articles/id/…          strings (vlen-utf8)   the same
//! ```
//!
//! Specifications: <https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html> and
//! <https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html>.
//!
//! Accepted: a group with a two-dimensional float array, or such an array; regular chunks of any shape, in either order
//! and endianness, sharded or not, compressed with what [`codecs`] lists; missing chunks are the fill value. A chunk
//! file that is uncompressed and as wide as the array is a region, to be read and filled where it lies; its last rows
//! are padded to the size of a chunk, without which zarr-python does not read it. Refused: filters, other codecs, other
//! grids, shards within shards, by their names.
//!
//! A store is a group with the metadata as its attributes, which are written last: without them it is a bare array.

mod articles;
mod blocks;
mod chunks;
mod codecs;
mod document;
mod grid;
mod locate;
mod node;
mod store;

use std::ops::ControlFlow;
use std::path::Path;

use crate::array::ArrayMeta;
use crate::articles::Article;
use crate::checksum::Checksum;
use crate::error::FormatError;
use crate::format::{Confidence, Fields, Format, LocateOptions, Located, Probe, Writes};
use crate::rows::Payload;
use crate::target::{Layout, Target};

/// Zarr.
#[derive(Debug)]
pub(crate) struct Zarr;

impl Format for Zarr {
    fn name(&self) -> &'static str {
        "zarr"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["zarr"]
    }

    fn detect(&self, probe: &Probe) -> Confidence {
        match &probe.folder {
            Some(folder) if node::is_node(folder) => Confidence::Yes,
            _ => Confidence::No,
        }
    }

    fn locate(&self, path: &Path, options: &LocateOptions) -> Result<Located, FormatError> {
        locate::locate(path, options)
    }

    fn describe(&self, path: &Path, _options: &LocateOptions) -> Result<Fields, FormatError> {
        locate::describe(path)
    }

    fn header(&self, path: &Path, _payload: &Payload) -> Result<Option<Checksum>, FormatError> {
        locate::header(path)
    }

    fn articles(&self, path: &Path, visit: &mut dyn FnMut(Article<'_>) -> ControlFlow<()>) -> Result<u64, FormatError> {
        articles::read(path, visit)
    }

    fn writes(&self) -> Writes {
        Writes::Stores
    }

    fn check_layout(&self, path: &Path, array: &ArrayMeta, layout: &Layout) -> Result<u64, FormatError> {
        store::chunk_memory(path, array, layout)
    }

    fn create(&self, path: &Path, array: ArrayMeta, layout: &Layout) -> Result<Box<dyn Target>, FormatError> {
        Ok(Box::new(store::ZarrStore::create(path, array, layout)?))
    }
}

/// An array like `array`, of `rows` rows.
fn rows_of(array: &ArrayMeta, rows: u64) -> Option<ArrayMeta> {
    ArrayMeta::new(rows, array.cols(), array.dtype, array.byte_order, array.order)
}
