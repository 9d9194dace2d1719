//! Array containers as *regions*: where the rows of a matrix lie in a file, and how to lay out a new one.
//!
//! An uncompressed array in any of these formats is a file, an offset and a meaning. Reading a format is therefore to
//! *locate* its rows without touching them ([`Format::locate`]), and writing one is to *allocate* it and hand back the
//! regions to fill ([`Format::create`]). This crate knows bytes and arrays; it has no threads, no network, no command
//! line and no progress. Whoever moves the rows is elsewhere.
//!
//! ```
//! use embstore_formats::{ArrayMeta, Layout, LocateOptions, Parts, detect, format_named};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("store.npy");
//! let npy = format_named("npy").expect("npy is a format");
//! let array = ArrayMeta::stored(10, 4).expect("40 floats fit");
//! let target = npy.create(&path, array, &Layout::default())?;
//! let Parts::Regions(regions) = target.parts() else { panic!("an .npy file is one region") };
//! assert_eq!(regions.parts()[0].offset, 4096);
//!
//! let located = detect(&path)?.locate(&path, &LocateOptions::default())?;
//! assert_eq!((located.array.rows(), located.array.cols()), (10, 4));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(target_endian = "big")]
compile_error!("stores hold little-endian floats and are mapped as they are: big-endian machines are not supported");
#[cfg(windows)]
compile_error!("embstore relies on POSIX positioned reads and atomic renames: Windows is not supported");

mod array;
#[cfg(feature = "containers")]
mod arrow;
pub mod articles;
mod checksum;
#[cfg(feature = "containers")]
mod compressed;
mod dtype;
mod error;
mod format;
#[cfg(feature = "hdf5")]
mod hdf5;
pub mod npy;
#[cfg(feature = "containers")]
mod npz;
#[cfg(feature = "containers")]
mod parquet;
pub mod pickle;
mod region;
mod rows;
mod safetensors;
// Safetensors alone have no texts among their elements.
#[cfg_attr(not(feature = "containers"), allow(dead_code))]
mod scalar;
mod span;
#[cfg(feature = "containers")]
mod tabular;
mod target;
#[cfg(feature = "containers")]
mod torch;
mod unpacked;
#[cfg(feature = "zarr")]
mod zarr;
#[cfg(feature = "containers")]
mod zip;

pub use array::ArrayMeta;
pub use checksum::{Checksum, Hasher};
pub use dtype::{ByteOrder, Dtype, Order};
pub use error::FormatError;
pub use format::{
    ArrayKind, Confidence, FORMATS, Fields, Format, LocateOptions, Located, Probe, Writes, detect, detect_file,
    format_for_extension, format_named,
};
pub use region::{Region, Regions};
pub use rows::{BlockDecoder, BlockRows, CodedRows, Payload, RowReader, narrow, widen};
pub use target::{CHUNK_ROWS, ChunkSink, Codec, Compression, Layout, Parts, StoreFiles, Target};
pub use unpacked::Unpacked;
