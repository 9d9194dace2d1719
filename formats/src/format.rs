//! The table of formats: what one must be able to do, and which recognises a file.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::array::ArrayMeta;
#[cfg(feature = "containers")]
use crate::arrow::Arrow;
use crate::articles::{Article, ArticlesError};
use crate::checksum::Checksum;
#[cfg(feature = "containers")]
use crate::compressed::Compressed;
use crate::error::FormatError;
#[cfg(feature = "hdf5")]
use crate::hdf5::Hdf5;
use crate::npy::Npy;
#[cfg(feature = "containers")]
use crate::npz::Npz;
#[cfg(feature = "containers")]
use crate::parquet::Parquet;
use crate::pickle::PickleFormat;
use crate::rows::Payload;
use crate::safetensors::Safetensors;
use crate::target::{Layout, StoreFiles, Target};
#[cfg(feature = "containers")]
use crate::torch::Torch;
use crate::unpacked::Unpacked;
#[cfg(feature = "zarr")]
use crate::zarr::Zarr;

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
    /// As [`Format::locate`], of a file that is open already and is not the one at `path`: what that one unpacks to.
    /// Positions count from its start; regions name `path`.
    ///
    /// # Errors
    /// As [`Format::locate`]; [`FormatError::NoRows`] where a format needs files by their names.
    fn locate_file(&self, _file: &File, path: &Path, _options: &LocateOptions) -> Result<Located, FormatError> {
        Err(FormatError::NoRows {
            path: path.to_path_buf(),
            what: format!("holds {} data, which is not read out of a compressed file", self.name()),
            hint: "unpack it first".into(),
        })
    }
    /// As [`Format::describe`], of a file as in [`Format::locate_file`].
    ///
    /// # Errors
    /// Where the file is broken or unsafe.
    fn describe_file(&self, _file: &File, _path: &Path, _options: &LocateOptions) -> Result<Fields, FormatError> {
        Ok(Fields::new())
    }
    /// Unpacks a file that is compressed as a whole; `None` where this format is no compression.
    ///
    /// # Errors
    /// Where the file is broken, or there is no room for what it holds.
    fn unpack(&self, _path: &Path, _options: &LocateOptions) -> Result<Option<Unpacked>, FormatError> {
        Ok(None)
    }
    /// The plain values of a file that [`Format::locate`] finds no usable rows in.
    ///
    /// # Errors
    /// Where the file is broken or unsafe.
    fn describe(&self, _path: &Path, _options: &LocateOptions) -> Result<Fields, FormatError> {
        Ok(Fields::new())
    }
    /// The checksum of what tells a reader where the rows of a store lie, as [`Target::header`] had it.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn header(&self, _path: &Path, payload: &Payload) -> Result<Option<Checksum>, FormatError> {
        match payload {
            Payload::Raw(regions) => Checksum::of_header(regions),
            Payload::Blocks(_) | Payload::Coded(_) => Ok(None),
        }
    }
    /// Hands the articles of a store of this format, where it holds them itself, to `visit` in row order.
    ///
    /// # Errors
    /// Where the file is broken, or the format holds none.
    fn articles(
        &self,
        path: &Path,
        _visit: &mut dyn FnMut(Article<'_>) -> ControlFlow<()>,
    ) -> Result<u64, FormatError> {
        Err(ArticlesError::NotAList { got: format!("{} data", self.name()) }.at(path))
    }
    /// What embstore can write in this format.
    fn writes(&self) -> Writes {
        Writes::Nothing
    }
    /// The files that make up a store of this format at `path`.
    fn store_files(&self, path: &Path) -> StoreFiles {
        StoreFiles::single(path)
    }
    /// Refuses a layout that the format has no place for, before anything is made. Returns the bytes that each thread
    /// holds to hand over whole chunks; 0 where rows are written by position.
    ///
    /// # Errors
    /// [`FormatError::Layout`] says what the format lacks.
    fn check_layout(&self, path: &Path, _array: &ArrayMeta, _layout: &Layout) -> Result<u64, FormatError> {
        Err(FormatError::Layout {
            path: path.to_path_buf(),
            what: format!("embstore reads {} and does not write it", self.name()),
            hint: "choose another format",
        })
    }
    /// Creates, or opens again, the store at `path` with all its blocks allocated, and hands back what to fill.
    /// What an earlier call has put there stays as it is.
    ///
    /// # Errors
    /// Where the layout is not one of the format's, the file cannot be created, or the disk is full.
    fn create(&self, path: &Path, array: ArrayMeta, layout: &Layout) -> Result<Box<dyn Target>, FormatError> {
        let refused = self.check_layout(path, &array, layout).err();
        Err(refused.unwrap_or_else(|| FormatError::io("create", path)(io::ErrorKind::Unsupported.into())))
    }
}

/// What can be written in a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// Nothing; it is only read.
    Nothing,
    /// Exports of a store.
    Exports,
    /// Stores, and therefore exports.
    Stores,
    /// The dict of older tools, which has fewer keys in its metadata. Stores can be had in it as well.
    Legacy,
}

/// How to read a file.
#[derive(Clone, Debug)]
pub struct LocateOptions {
    /// The field of a dict that holds the array.
    pub key: String,
    /// The folder in which compressed files are unpacked, into files without a name.
    pub scratch: PathBuf,
}

impl Default for LocateOptions {
    fn default() -> Self {
        LocateOptions { key: "embeddings".into(), scratch: std::env::temp_dir() }
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

/// The first bytes of a file, or the fact that it is a folder.
#[derive(Debug, Default)]
pub struct Probe {
    /// Up to [`Probe::HEAD`] bytes from the start; none of a folder.
    pub head: Vec<u8>,
    /// Length of the file in bytes.
    pub len: u64,
    /// Where it lies, if it is a folder.
    pub folder: Option<PathBuf>,
    /// The file itself, for a format that cannot tell by the first bytes; none of a folder.
    pub file: Option<File>,
}

impl Probe {
    /// Bytes from the start of a file by which it is recognised.
    pub const HEAD: u64 = 512;

    /// Reads the first bytes of `path`.
    ///
    /// # Errors
    /// Where it cannot be opened or cannot be read.
    pub fn of(path: &Path) -> Result<Self, FormatError> {
        let file = File::open(path).map_err(FormatError::io("open", path))?;
        let metadata = file.metadata().map_err(FormatError::io("read", path))?;
        if metadata.is_dir() {
            return Ok(Probe { head: Vec::new(), len: 0, folder: Some(path.to_path_buf()), file: None });
        }
        Self::of_file(&file).map_err(FormatError::io("read", path))
    }

    /// Reads the first bytes of an open file.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn of_file(file: &File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        let mut head = vec![0; Self::HEAD.min(len) as usize];
        file.read_exact_at(&mut head, 0)?;
        Ok(Probe { head, len, folder: None, file: Some(file.try_clone()?) })
    }
}

/// Every format that embstore knows. Of two that are sure of a file the later one has it: the length with which a
/// safetensors file begins may look like any other format's magic number, and what follows it like none.
pub static FORMATS: &[&dyn Format] = &[
    &Npy,
    #[cfg(feature = "zarr")]
    &Zarr,
    #[cfg(feature = "hdf5")]
    &Hdf5,
    &PickleFormat,
    #[cfg(feature = "containers")]
    &Parquet,
    #[cfg(feature = "containers")]
    &Arrow,
    #[cfg(feature = "containers")]
    &Npz,
    #[cfg(feature = "containers")]
    &Torch,
    #[cfg(feature = "containers")]
    &Compressed,
    &Safetensors,
];

/// The format with this name.
#[must_use]
pub fn format_named(name: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.name() == name)
}

/// The format to write that a path's extension stands for.
#[must_use]
pub fn format_for_extension(path: &Path) -> Option<&'static dyn Format> {
    let extension = path.extension().and_then(OsStr::to_str)?.to_ascii_lowercase();
    let mut written = FORMATS.iter().copied().filter(|format| format.writes() != Writes::Nothing);
    written.find(|format| format.extensions().contains(&extension.as_str()))
}

/// The format of a file or folder, by its content.
///
/// # Errors
/// [`FormatError::Unknown`] says what the file looks like instead.
pub fn detect(path: &Path) -> Result<&'static dyn Format, FormatError> {
    recognised(&Probe::of(path)?, path)
}

/// As [`detect`], of a file that is open already; `path` is for messages.
///
/// # Errors
/// As there.
pub fn detect_file(file: &File, path: &Path) -> Result<&'static dyn Format, FormatError> {
    recognised(&Probe::of_file(file).map_err(FormatError::io("read", path))?, path)
}

fn recognised(probe: &Probe, path: &Path) -> Result<&'static dyn Format, FormatError> {
    recognise(probe).map_err(|unknown| match probe.folder {
        Some(_) => FormatError::io("read", path)(io::ErrorKind::IsADirectory.into()),
        None => FormatError::Unknown { path: path.to_path_buf(), found: unknown.0, hint: unknown.1 },
    })
}

/// The format that a file begins like; else what it looks like, and what to do about that.
pub(crate) fn recognise(probe: &Probe) -> Result<&'static dyn Format, (String, &'static str)> {
    let (confidence, format) = FORMATS
        .iter()
        .copied()
        .map(|format| (format.detect(probe), format))
        .max_by_key(|(confidence, _)| *confidence)
        .unwrap_or((Confidence::No, FORMATS[0]));
    match (confidence, foreign(probe)) {
        (Confidence::Yes, _) | (Confidence::Maybe, None) => Ok(format),
        (_, Some((found, hint))) => Err((found.into(), hint)),
        (Confidence::No, None) => {
            let found = format!("starts with {}", first_bytes(&probe.head));
            Err((found, "give pickles, .npy files or another array container: see embstore help merge"))
        }
    }
}

/// Whether what a file unpacks to may be of use: an array container that is not compressed again, or articles.
#[cfg(feature = "containers")]
pub(crate) fn recognise_unpacked(probe: &Probe) -> bool {
    let is_lines = probe.head.trim_ascii_start().starts_with(b"{");
    let mut others = FORMATS.iter().filter(|format| format.name() != Compressed.name());
    is_lines || probe.head.starts_with(b"PAR1") || others.any(|format| format.detect(probe) != Confidence::No)
}

fn first_bytes(head: &[u8]) -> String {
    head.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// What people have in place of a checkpoint often enough to be told its name.
fn foreign(probe: &Probe) -> Option<(&'static str, &'static str)> {
    const UNPACK: &str = "unpack it first";
    const RESAVE: &str = "save it again as a pickle or with np.save";
    const STREAM: &str = "write it as a file: feather.write_feather(pyarrow.ipc.open_stream(FILE).read_all(), NEW)";
    #[cfg(feature = "containers")]
    const ZIP: (&str, &str) = ("a zip file, and neither .npz nor from torch.save", UNPACK);
    #[cfg(not(feature = "containers"))]
    const ZIP: (&str, &str) = ("a zip file (.npz or a PyTorch file)", RESAVE);
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
        (b"ZF0x", "a compressed file of joblib 0.9 or older", "load it with joblib.load and save it with np.save"),
        (b"PK\x03\x04", ZIP.0, ZIP.1),
        (b"PAR1", "a Parquet file", RESAVE),
        (b"ARROW1", "an Arrow file", RESAVE),
        (b"\xff\xff\xff\xff", "an Arrow stream", STREAM),
        (
            b"FEA1",
            "a Feather file of version 1",
            "write it again: feather.write_feather(feather.read_table(FILE), NEW)",
        ),
        (b"\x89HDF", "an HDF5 file", RESAVE),
        (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", "a PyTorch file (legacy)", RESAVE),
    ];
    if probe.len == 0 {
        return Some(("empty", "fetch it again or re-run that worker"));
    }
    if probe.head.get(257..262) == Some(b"ustar") {
        return Some(("a tar archive", UNPACK));
    }
    TABLE.iter().find(|(magic, ..)| probe.head.starts_with(magic)).map(|(_, found, hint)| (*found, *hint))
}
