//! Stores and exports under construction: regions to fill, or chunks to hand over; then metadata.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::array::ArrayMeta;
use crate::articles::{ArticleSink, ArticlesWritten, ParquetArticles};
use crate::checksum::Checksum;
use crate::dtype::Dtype;
use crate::error::FormatError;
use crate::format::Fields;
use crate::region::Regions;
use crate::rows::Payload;

/// Rows of a chunk where nothing else is asked for.
pub const CHUNK_ROWS: u64 = 4096;

/// How the rows of a new store are laid out. A format refuses what it has no place for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Rows of a chunk.
    pub chunk_rows: Option<u64>,
    /// Rows of a shard, a file that holds many chunks (Zarr v3).
    pub shard_rows: Option<u64>,
    /// How chunks are compressed; not at all where absent.
    pub compression: Option<Compression>,
    /// Version of the Zarr format; 3 where absent.
    pub zarr_version: Option<u8>,
    /// Element type.
    pub dtype: Dtype,
}

impl Default for Layout {
    fn default() -> Self {
        Layout { chunk_rows: None, shard_rows: None, compression: None, zarr_version: None, dtype: Dtype::Float32 }
    }
}

impl Layout {
    /// Refuses chunks, and element types other than `dtypes`, for a format whose rows lie in one run.
    pub(crate) fn check_unchunked(&self, path: &Path, format: &str, dtypes: &[Dtype]) -> Result<(), FormatError> {
        let refuse = |what: String, hint| Err(FormatError::Layout { path: path.to_path_buf(), what, hint });
        if self.compression.is_some() {
            return refuse(format!("{format} is not compressed"), "leave out --compression, or write Zarr or HDF5");
        }
        if self.chunk_rows.or(self.shard_rows).is_some() {
            return refuse(format!("{format} has no chunks"), "leave out --chunk-rows and --shard-rows");
        }
        self.check_unversioned(path, format, dtypes)
    }

    /// Refuses a Zarr version, and element types other than `dtypes`, for a format that is not Zarr.
    pub(crate) fn check_unversioned(&self, path: &Path, format: &str, dtypes: &[Dtype]) -> Result<(), FormatError> {
        let refuse = |what: String, hint| Err(FormatError::Layout { path: path.to_path_buf(), what, hint });
        if self.zarr_version.is_some() {
            return refuse(format!("{format} is not Zarr"), "leave out --zarr-version");
        }
        if !dtypes.contains(&self.dtype) {
            let have = dtypes.iter().map(|dtype| dtype.name()).collect::<Vec<_>>().join(" and ");
            return refuse(
                format!("{format} files have {have}, not {}", self.dtype),
                "choose another --dtype or --format",
            );
        }
        Ok(())
    }
}

/// A compressor with its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// The compressor.
    pub codec: Codec,
    /// Its level; the compressor's own default where absent.
    pub level: Option<u8>,
}

/// The compressors that some format has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Zstandard.
    Zstd,
    /// DEFLATE, called gzip by Zarr.
    Deflate,
    /// LZ4.
    Lz4,
    /// Blosc around LZ4, bits shuffled.
    BloscLz4,
    /// Blosc around Zstandard, bits shuffled.
    BloscZstd,
}

/// One row per compressor: its name in options and metadata, and its lowest and highest level.
const CODECS: [(Codec, &str, u8, u8); 5] = [
    (Codec::Zstd, "zstd", 1, 22),
    (Codec::Deflate, "deflate", 1, 9),
    (Codec::Lz4, "lz4", 1, 1),
    (Codec::BloscLz4, "blosc-lz4", 1, 9),
    (Codec::BloscZstd, "blosc-zstd", 1, 9),
];

impl Codec {
    /// Its name in options and metadata.
    #[must_use]
    pub fn name(self) -> &'static str {
        CODECS[self as usize].1
    }
}

impl std::fmt::Display for Compression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.level {
            Some(level) => write!(f, "{}:{level}", self.codec.name()),
            None => f.write_str(self.codec.name()),
        }
    }
}

/// `NAME` or `NAME:LEVEL`.
impl std::str::FromStr for Compression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, level) = text.split_once(':').map_or((text, None), |(name, level)| (name, Some(level)));
        let Some(&(codec, _, low, high)) = CODECS.iter().find(|row| row.1 == name) else {
            let names = CODECS.map(|row| row.1).join(", ");
            return Err(format!("{name:?} is none of {names}"));
        };
        let level = level
            .map(|level| {
                let parsed = level.parse().ok().filter(|level| (low..=high).contains(level));
                parsed.ok_or_else(|| format!("{level:?} is no level of {name}, which has {low} to {high}"))
            })
            .transpose()?;
        Ok(Compression { codec, level })
    }
}

/// A store under construction.
pub trait Target: Send + Sync {
    /// Where the rows go.
    fn parts(&self) -> Parts<'_>;
    /// Whether the articles must be complete before the first chunk is stored.
    fn wants_articles_first(&self) -> bool {
        false
    }
    /// Takes the articles, in row order, while the rows are being filled in.
    ///
    /// # Errors
    /// Where their file cannot be written.
    fn articles(&self) -> Result<Box<dyn ArticleSink>, FormatError>;
    /// Of what tells a reader where the rows lie, where that is final before [`Target::finish`].
    ///
    /// # Errors
    /// Where it cannot be read.
    fn header(&self) -> Result<Option<Checksum>, FormatError> {
        Ok(None)
    }
    /// Writes what follows the rows: metadata, and whatever closes the container.
    ///
    /// # Errors
    /// Where a file cannot be written.
    fn finish(&self, metadata: &Fields, articles: Option<&ArticlesWritten>) -> Result<(), FormatError>;
}

/// Where the rows of a [`Target`] go.
#[derive(Clone, Copy)]
pub enum Parts<'a> {
    /// Bytes to be filled by position, by any thread.
    Regions(&'a Regions),
    /// Chunks to be handed over whole.
    Chunks(&'a dyn ChunkSink),
}

impl Parts<'_> {
    /// Rows of a chunk, where chunks must be whole.
    #[must_use]
    pub fn chunk_rows(&self) -> Option<u64> {
        match self {
            Parts::Regions(_) => None,
            Parts::Chunks(sink) => Some(sink.chunk_rows()),
        }
    }
}

/// Takes whole chunks from many threads: chunk number `i` holds the rows from `i * chunk_rows` on, the last chunk
/// those that are left.
pub trait ChunkSink: Send + Sync {
    /// The whole matrix, as it is stored.
    fn array(&self) -> &ArrayMeta;
    /// Rows of a chunk: those that are handed over at once.
    fn chunk_rows(&self) -> u64;
    /// Whether chunks are stored one behind the other; [`ChunkSink::store`] must then be called in order.
    fn in_order(&self) -> bool {
        false
    }
    /// Encodes a chunk on the caller's thread. `bytes` are its rows as the array has them: little-endian, in C order.
    ///
    /// # Errors
    /// Where the encoder fails.
    fn encode(&self, chunk: u64, bytes: &[u8]) -> Result<Vec<u8>, FormatError>;
    /// Stores an encoded chunk.
    ///
    /// # Errors
    /// Where it cannot be written.
    fn store(&self, chunk: u64, encoded: Vec<u8>) -> Result<(), FormatError>;
    /// Waits until these chunks are on disk.
    ///
    /// # Errors
    /// Where the disk fails.
    fn sync(&self, chunks: &[u64]) -> Result<(), FormatError>;
    /// The rows that an earlier run has left, to be read and checked; nothing where they cannot be used.
    fn staged(&self) -> Option<Payload> {
        None
    }
}

/// The files of one store. The metadata, where it is a file of its own, is the commit record: it is published last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFiles {
    /// The matrix; for some formats everything. A folder for some.
    pub matrix: PathBuf,
    /// The articles, where they are a file of their own.
    pub articles: Option<PathBuf>,
    /// The metadata, where it is a file of its own.
    pub metadata: Option<PathBuf>,
}

impl StoreFiles {
    /// A store that is one file or folder.
    #[must_use]
    pub fn single(path: &Path) -> Self {
        StoreFiles { matrix: path.to_path_buf(), articles: None, metadata: None }
    }

    /// A matrix with its articles in `<stem>.articles.parquet` and its metadata in `<stem>.meta.json` beside it.
    #[must_use]
    pub fn with_sidecars(path: &Path) -> Self {
        StoreFiles {
            matrix: path.to_path_buf(),
            articles: Some(path.with_extension("articles.parquet")),
            metadata: Some(path.with_extension("meta.json")),
        }
    }

    /// All of them, the commit record last.
    pub fn all(&self) -> impl Iterator<Item = &PathBuf> {
        [self.articles.as_ref(), Some(&self.matrix), self.metadata.as_ref()].into_iter().flatten()
    }
}

/// The articles and the metadata of a store whose matrix has no room for them, in files beside it.
pub(crate) struct Sidecars {
    articles: PathBuf,
    metadata: PathBuf,
}

impl Sidecars {
    /// Of the matrix at `path`; see [`StoreFiles::with_sidecars`].
    pub(crate) fn of(path: &Path) -> Self {
        let files = StoreFiles::with_sidecars(path);
        Sidecars { articles: files.articles.unwrap_or_default(), metadata: files.metadata.unwrap_or_default() }
    }

    pub(crate) fn articles(&self) -> Result<Box<dyn ArticleSink>, FormatError> {
        Ok(Box::new(ParquetArticles::create(&self.articles)?))
    }

    pub(crate) fn finish(&self, metadata: &Fields) -> Result<(), FormatError> {
        let text = format!("{:#}\n", Value::Object(metadata.clone()));
        fs::write(&self.metadata, text).map_err(FormatError::io("write", &self.metadata))
    }
}
