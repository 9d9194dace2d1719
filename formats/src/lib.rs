//! Array containers as *regions*: where the rows of a matrix lie in a file, and how to lay out a new one.
//!
//! An uncompressed array in any of these formats is a file, an offset and a meaning. Reading a format is therefore to
//! *locate* its rows without touching them ([`Format::locate`]), and writing one is to *allocate* it and hand back the
//! region to fill ([`Format::create`]). This crate knows bytes and arrays; it has no threads, no network, no command
//! line and no progress. Whoever moves the rows is elsewhere.
//!
//! ```
//! use embstore_formats::{ArrayMeta, LocateOptions, detect, format_named};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("store.npy");
//! let npy = format_named("npy").expect("npy is a format");
//! let target = npy.create(&path, ArrayMeta::stored(10, 4).expect("40 floats fit"))?;
//! assert_eq!(target.region().offset, 4096);
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
pub mod articles;
mod checksum;
mod dtype;
mod error;
mod format;
pub mod npy;
pub mod pickle;
mod rows;

pub use array::ArrayMeta;
pub use checksum::{Checksum, Hasher};
pub use dtype::{ByteOrder, Dtype, Order};
pub use error::FormatError;
pub use format::{
    ArrayKind, Confidence, FORMATS, Fields, Format, LocateOptions, Located, Probe, StoreFiles, Target, detect,
    format_for_extension, format_named,
};
pub use rows::{CodedRows, Payload, Region, RowReader};
