//! The table of formats: what one must be able to do, and which recognises a file.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::array::ArrayMeta;
use crate::articles::{ArticleSink, ArticlesWritten};
use crate::error::FormatError;
use crate::npy::Npy;
use crate::pickle::PickleFormat;
use crate::rows::{Payload, Region};

/// The plain values around an array: the other keys of a pickled dict, or the metadata of a store.
///
/// What JSON lacks is written so: bytes as `{"bytes": length}`, integers past 64 bits as text, sets as lists, dates in
/// ISO 8601, NaN and infinities as text.
pub type Fields = Map<String, Value>;

/// A container of arrays.
pub trait Format: fmt::Debug + Sync {
    /// The word for it in options and results, for example `npy`.
    fn name(&self) -> &'static str;
    /// Its file name extensions, the usual one first.
    fn extensions(&self) -> &'static [&'static str];
    /// Whether a file is of this format, by its content.
    fn detect(&self, probe: &Probe) -> Confidence;
    /// What a file is and where its rows lie; the payload is not read.
    ///
    /// # Errors
    /// Where the file is broken, unsafe, or holds no array that can be used.
    fn locate(&self, path: &Path, options: &LocateOptions) -> Result<Located, FormatError>;
    /// The plain values of a file that [`Format::locate`] finds no usable rows in.
    ///
    /// # Errors
    /// Where the file is broken or unsafe.
    fn describe(&self, path: &Path) -> Result<Fields, FormatError>;
    /// The files that make up a store of this format at `path`.
    fn store_files(&self, path: &Path) -> StoreFiles;
    /// Creates, or opens again, the store at `path` with all its blocks allocated, and hands back the region to fill.
    /// What an earlier call has put there stays as it is.
    ///
    /// # Errors
    /// Where the file cannot be created or the disk is full.
    fn create(&self, path: &Path, array: ArrayMeta) -> Result<Box<dyn Target>, FormatError>;
}

/// A store under construction.
pub trait Target: Send + Sync {
    /// The region to fill with rows.
    fn region(&self) -> &Region;
    /// Takes the articles, in row order, while the region is being filled.
    ///
    /// # Errors
    /// Where their file cannot be written.
    fn articles(&self) -> Result<Box<dyn ArticleSink>, FormatError>;
    /// Writes what follows the rows: metadata, and whatever closes the container.
    ///
    /// # Errors
    /// Where a file cannot be written.
    fn finish(&self, metadata: &Fields, articles: Option<&ArticlesWritten>) -> Result<(), FormatError>;
}

/// The files of one store. The metadata, where it is a file of its own, is the commit record: it is published last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFiles {
    /// The matrix; for some formats everything.
    pub matrix: PathBuf,
    /// The articles, where they are a file of their own.
    pub articles: Option<PathBuf>,
    /// The metadata, where it is a file of its own.
    pub metadata: Option<PathBuf>,
}

/// How to read a file.
#[derive(Clone, Debug)]
pub struct LocateOptions {
    /// The field of a dict that holds the array.
    pub key: String,
}

impl Default for LocateOptions {
    fn default() -> Self {
        LocateOptions { key: "embeddings".into() }
    }
}

/// What [`Format::locate`] found.
#[derive(Debug)]
pub struct Located {
    /// What kind of thing the array was found in.
    pub kind: ArrayKind,
    /// Shape and element type.
    pub array: ArrayMeta,
    /// Where the rows lie.
    pub payload: Payload,
    /// The plain values beside the array.
    pub fields: Fields,
    /// What a reader should know, though it is no error (such as bytes after the end of a pickle).
    pub notes: Vec<String>,
}

/// What an array was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrayKind {
    /// A bare array.
    Bare,
    /// One field of a dict: a checkpoint, if it names its range.
    Field,
    /// A merged matrix together with its articles, of which there are this many.
    Store {
        /// Items of the list of articles.
        articles: u64,
    },
}

/// How sure a format is that a file is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// It is something else.
    No,
    /// It could be: the format has no magic number and only an attempt would tell.
    Maybe,
    /// It has the format's magic number.
    Yes,
}

/// The first bytes of a file.
#[derive(Debug)]
pub struct Probe {
    /// Up to 512 bytes from the start.
    pub head: Vec<u8>,
    /// Length of the file in bytes.
    pub len: u64,
}

impl Probe {
    /// Reads the first bytes of `path`.
    ///
    /// # Errors
    /// Where it cannot be opened, is a folder, or cannot be read.
    pub fn of(path: &Path) -> Result<Self, FormatError> {
        let file = File::open(path).map_err(FormatError::io("open", path))?;
        let len = file.metadata().map_err(FormatError::io("read", path))?.len();
        let mut head = vec![0; 512.min(len as usize)];
        file.read_exact_at(&mut head, 0).map_err(FormatError::io("read", path))?;
        Ok(Probe { head, len })
    }
}

/// Every format that embstore knows.
pub static FORMATS: &[&dyn Format] = &[&Npy, &PickleFormat];

/// The format with this name.
#[must_use]
pub fn format_named(name: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.name() == name)
}

/// The format that a path's extension stands for.
#[must_use]
pub fn format_for_extension(path: &Path) -> Option<&'static dyn Format> {
    let extension = path.extension().and_then(OsStr::to_str)?.to_ascii_lowercase();
    FORMATS.iter().copied().find(|format| format.extensions().contains(&extension.as_str()))
}

/// The format of a file, by its content.
///
/// # Errors
/// [`FormatError::Unknown`] says what the file looks like instead.
pub fn detect(path: &Path) -> Result<&'static dyn Format, FormatError> {
    let probe = Probe::of(path)?;
    if let Some((found, hint)) = foreign(&probe) {
        return Err(FormatError::Unknown { path: path.to_path_buf(), found: found.into(), hint });
    }
    FORMATS
        .iter()
        .copied()
        .map(|format| (format.detect(&probe), format))
        .filter(|(confidence, _)| *confidence > Confidence::No)
        .max_by_key(|(confidence, _)| *confidence)
        .map(|(_, format)| format)
        .ok_or_else(|| FormatError::Unknown {
            path: path.to_path_buf(),
            found: format!("starts with {}", first_bytes(&probe.head)),
            hint: "give pickles (.pkl) or .npy files",
        })
}

fn first_bytes(head: &[u8]) -> String {
    head.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// What people have in place of a checkpoint often enough to be told its name.
fn foreign(probe: &Probe) -> Option<(&'static str, &'static str)> {
    const UNPACK: &str = "unpack it first";
    const RESAVE: &str = "save it again as a pickle or with np.save";
    /// First bytes, what has them, what to do.
    const TABLE: &[(&[u8], &str, &str)] = &[
        (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "fetch the file: git lfs pull"),
        (b"<!DOCTYPE", "an HTML page, perhaps of a failed download", "download it again"),
        (b"<!doctype", "an HTML page, perhaps of a failed download", "download it again"),
        (b"<html", "an HTML page, perhaps of a failed download", "download it again"),
        (b"\x1f\x8b", "gzip data", UNPACK),
        (b"\x28\xb5\x2f\xfd", "zstd data", UNPACK),
        (b"BZh", "bzip2 data", UNPACK),
        (b"\xfd7zXZ\0", "xz data", UNPACK),
        (b"\x04\x22\x4d\x18", "lz4 data", UNPACK),
        (b"PK\x03\x04", "a zip file (.npz or a PyTorch file)", RESAVE),
        (b"PAR1", "a Parquet file", RESAVE),
        (b"ARROW1", "an Arrow file", RESAVE),
        (b"\x89HDF", "an HDF5 file", RESAVE),
        (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", "a PyTorch file (legacy)", RESAVE),
    ];
    if probe.len == 0 {
        return Some(("empty", "fetch it again or re-run that worker"));
    }
    if probe.head.len() > 9 && probe.head[8] == b'{' && u64::from_le_bytes(probe.head[..8].try_into().ok()?) < probe.len
    {
        return Some(("a safetensors file", RESAVE));
    }
    TABLE.iter().find(|(magic, ..)| probe.head.starts_with(magic)).map(|(_, found, hint)| (*found, *hint))
}
