//! `.npy`, the format of `numpy.save`, and embstore's own store in it.
//!
//! ```text
//! 93 "NUMPY" │ major minor │ header length (u16 in v1, u32 in v2 and v3) │ header │ payload
//!                            {'descr': '<f4', 'fortran_order': False, 'shape': (250000, 768), }␠␠…\n
//! ```
//!
//! Specification: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.
//!
//! Accepted: versions 1 to 3, two-dimensional float arrays, either order and endianness, payload exactly as long as
//! its shape needs. Refused: other element types and shapes, pickled objects (`descr '|O'`).
//!
//! A store is such a file in v1 with a header of 4096 bytes, so that the payload starts on a page; its articles lie
//! beside it in `<stem>.articles.parquet`, its metadata in `<stem>.meta.json`.

mod header;
mod store;

use std::fs::File;
use std::path::Path;

pub use header::NpyError;
#[cfg(feature = "containers")]
pub(crate) use header::{Header, read as read_header};

use crate::array::ArrayMeta;
use crate::dtype::Dtype;
use crate::error::FormatError;
use crate::format::{ArrayKind, Confidence, Fields, Format, LocateOptions, Located, Probe, Writes};
use crate::region::Region;
use crate::span::FileSpan;
use crate::target::{Layout, StoreFiles, Target};

const MAGIC: &[u8] = b"\x93NUMPY";

/// The `.npy` format.
#[derive(Debug)]
pub struct Npy;

impl Format for Npy {
    fn name(&self) -> &'static str {
        "npy"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["npy"]
    }

    fn detect(&self, probe: &Probe) -> Confidence {
        if probe.head.starts_with(MAGIC) { Confidence::Yes } else { Confidence::No }
    }

    fn locate(&self, path: &Path, options: &LocateOptions) -> Result<Located, FormatError> {
        self.locate_file(&File::open(path).map_err(FormatError::io("open", path))?, path, options)
    }

    fn locate_file(&self, file: &File, path: &Path, _options: &LocateOptions) -> Result<Located, FormatError> {
        let len = file.metadata().map_err(FormatError::io("read", path))?.len();
        let header = header::read(&mut FileSpan::new(file, 0, len), len).map_err(|source| match source {
            NpyError::Read(source) => FormatError::Io { action: "read", path: path.to_path_buf(), source },
            source => FormatError::Npy { path: path.to_path_buf(), source },
        })?;
        let array = header.array().map_err(|source| FormatError::Npy { path: path.to_path_buf(), source })?;
        let got = len - header.payload;
        if got != array.payload_bytes() {
            return Err(FormatError::PayloadLength {
                path: path.to_path_buf(),
                offset: header.payload,
                expected: array.payload_bytes(),
                got,
            });
        }
        let region = Region { path: path.to_path_buf(), offset: header.payload, array };
        let payload = region.into();
        Ok(Located { kind: ArrayKind::Bare, array, payload, fields: Fields::new(), notes: Vec::new() })
    }

    fn writes(&self) -> Writes {
        Writes::Stores
    }

    fn store_files(&self, path: &Path) -> StoreFiles {
        StoreFiles::with_sidecars(path)
    }

    fn check_layout(&self, path: &Path, _array: &ArrayMeta, layout: &Layout) -> Result<u64, FormatError> {
        layout.check_unchunked(path, self.name(), &[Dtype::Float16, Dtype::Float32]).map(|()| 0)
    }

    fn create(&self, path: &Path, array: ArrayMeta, layout: &Layout) -> Result<Box<dyn Target>, FormatError> {
        self.check_layout(path, &array, layout)?;
        Ok(Box::new(store::NpyStore::create(path, array)?))
    }
}
