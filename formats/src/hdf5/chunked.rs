//! A store whose matrix is in chunks, compressed or not: they are encoded on their callers' threads and handed to the
//! library as they are.
//!
//! A run that was killed may leave a file whose structure is half written, in which nothing can be stored with safety.
//! A second call therefore makes a new file, takes over every chunk that the old one still yields, and replaces it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hdf5::Dataset;
use hdf5::plist::FileAccessBuilder;

use crate::array::ArrayMeta;
use crate::articles::{ArticleSink, ArticlesWritten};
use crate::error::FormatError;
use crate::format::Fields;
use crate::rows::Payload;
use crate::target::{CHUNK_ROWS, ChunkSink, Layout, Parts, Target};

use super::articles::Hdf5Articles;
use super::blocks::Hdf5Rows;
use super::filters::{self, Pipeline, Pool};
use super::raw::{self, Placement, Storage};
use super::{MATRIX, attributes, beside, failed, transfer};

/// HDF5 counts the bytes of a chunk in 32 bits.
const LARGEST_CHUNK: u64 = u32::MAX as u64;

pub(super) struct ChunkedStore {
    path: PathBuf,
    array: ArrayMeta,
    chunk_rows: u64,
    pipeline: Pipeline,
    pool: Pool,
    open: Mutex<Option<Open>>,
}

/// The file by both of its handles, until it is finished.
struct Open {
    file: hdf5::File,
    dataset: Dataset,
    synced: Arc<File>,
}

/// The rows of a chunk and its filters that a layout asks for, or what is wrong with it.
pub(super) fn described(path: &Path, array: &ArrayMeta, layout: &Layout) -> Result<(u64, Pipeline), FormatError> {
    let refuse = |what: String, hint| Err(FormatError::Layout { path: path.to_path_buf(), what, hint });
    let pipeline = match layout.compression.map(|wanted| (wanted, filters::pipeline(wanted, array.dtype.size()))) {
        None => Pipeline::new(),
        Some((_, Some(pipeline))) => pipeline,
        Some((wanted, None)) => {
            let what = format!("{} is not written into HDF5", wanted.codec.name());
            return refuse(what, "use --compression zstd, lz4 or deflate, or write Zarr");
        }
    };
    let chunk_rows = layout.chunk_rows.unwrap_or(CHUNK_ROWS).clamp(1, array.rows().max(1));
    if chunk_rows.saturating_mul(array.row_bytes()) > LARGEST_CHUNK {
        return refuse(format!("a chunk of {chunk_rows} rows has 4 GiB or more"), "use fewer --chunk-rows");
    }
    Ok((chunk_rows, pipeline))
}

impl ChunkedStore {
    pub(super) fn create(path: &Path, array: ArrayMeta, layout: &Layout) -> Result<Self, FormatError> {
        let (chunk_rows, pipeline) = described(path, &array, layout)?;
        let fresh = beside(path, "fresh");
        let store = ChunkedStore {
            path: path.to_path_buf(),
            array,
            chunk_rows,
            pipeline,
            pool: Pool::default(),
            open: Mutex::new(None),
        };
        store.lay_out(&fresh).map_err(failed("cannot be created", &fresh))?;
        let synced = File::options().write(true).open(&fresh);
        synced.and_then(|file| file.sync_data()).map_err(FormatError::io("sync", &fresh))?;
        fs::rename(&fresh, path).map_err(FormatError::io("replace", path))?;
        *store.lock() = Some(store.open()?);
        Ok(store)
    }

    /// Creates a file with what can be had of an earlier one.
    fn lay_out(&self, fresh: &Path) -> hdf5::Result<()> {
        let access = FileAccessBuilder::new().libver_earliest().finish()?;
        let file = raw::create(fresh, &access)?;
        let shape = [self.array.rows(), self.array.cols()];
        let storage = Storage::Chunked(self.chunk(), &self.pipeline);
        let dataset = raw::create_dataset(&file, MATRIX, &raw::float_type(self.array.dtype)?, &shape, &storage)?;
        if let Ok(len) = fs::metadata(&self.path).map(|old| old.len())
            && let Ok(old) = raw::open(&self.path, false).and_then(|old| old.dataset(MATRIX))
            && old.shape() == dataset.shape()
            && raw::placement(&old, self.array.dtype.size()).ok() == Some(self.placement())
        {
            for row in (0..self.array.rows()).step_by(self.chunk_rows as usize) {
                // A chunk that cannot be read is made again, as is one that is found to be wrong.
                if let Ok(Some((0, bytes))) = transfer::read_chunk(&old, [row, 0], len) {
                    transfer::write_chunk(&dataset, [row, 0], &bytes)?;
                }
            }
        }
        file.flush()
    }

    fn chunk(&self) -> [u64; 2] {
        [self.chunk_rows, self.array.cols()]
    }

    fn placement(&self) -> Placement {
        let fill = vec![0; self.array.dtype.size()];
        Placement::Chunked { chunk: self.chunk(), filters: self.pipeline.clone(), raw_edges: false, fill }
    }

    fn open(&self) -> Result<Open, FormatError> {
        let synced = File::options().write(true).open(&self.path).map_err(FormatError::io("open", &self.path))?;
        let opened = raw::open(&self.path, true).and_then(|file| Ok((file.dataset(MATRIX)?, file)));
        let (dataset, file) = opened.map_err(failed("cannot be opened", &self.path))?;
        Ok(Open { file, dataset, synced: Arc::new(synced) })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, work: impl FnOnce(&Open) -> hdf5::Result<T>) -> Result<T, FormatError> {
        let open = self.lock();
        let worked = open.as_ref().ok_or_else(|| "it is finished already".into()).and_then(work);
        worked.map_err(failed("cannot be written", &self.path))
    }
}

impl Target for ChunkedStore {
    fn parts(&self) -> Parts<'_> {
        Parts::Chunks(self)
    }

    /// The library puts what is written behind what is there: the order decides where everything lies.
    fn wants_articles_first(&self) -> bool {
        true
    }

    fn articles(&self) -> Result<Box<dyn ArticleSink>, FormatError> {
        let file = self.with(|open| Ok(open.file.clone()))?;
        Ok(Box::new(Hdf5Articles::create(&self.path, file, self.array.rows())?))
    }

    fn finish(&self, metadata: &Fields, _articles: Option<&ArticlesWritten>) -> Result<(), FormatError> {
        self.with(|open| {
            attributes::write_metadata(&open.file, metadata)?;
            // What closing the file meets would be lost.
            open.file.flush()
        })?;
        drop(self.lock().take());
        Ok(())
    }
}

impl ChunkSink for ChunkedStore {
    fn array(&self) -> &ArrayMeta {
        &self.array
    }

    fn chunk_rows(&self) -> u64 {
        self.chunk_rows
    }

    /// The library puts chunks behind each other as they come: in order, the file is the same on any number of threads.
    fn in_order(&self) -> bool {
        true
    }

    fn encode(&self, chunk: u64, bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
        // The last chunk too has its full size; what is behind the rows is zero.
        let len = (self.chunk_rows * self.array.row_bytes()) as usize;
        filters::encode(&self.pipeline, bytes, len, &self.pool).map_err(|what| FormatError::Container {
            path: self.path.clone(),
            what: format!("chunk {chunk}: {what}"),
            hint: "write it without --compression",
        })
    }

    fn store(&self, chunk: u64, encoded: Vec<u8>) -> Result<(), FormatError> {
        let stored = self.with(|open| transfer::write_chunk(&open.dataset, [chunk * self.chunk_rows, 0], &encoded));
        self.pool.give(encoded);
        stored
    }

    fn sync(&self, _chunks: &[u64]) -> Result<(), FormatError> {
        let file = self.with(|open| open.file.flush().map(|()| Arc::clone(&open.synced)))?;
        file.sync_data().map_err(FormatError::io("sync", &self.path))
    }

    fn staged(&self) -> Option<Payload> {
        // One chunk that cannot be decoded must not keep the others from being used.
        let rows = Hdf5Rows::new(&self.path, MATRIX.into(), self.array, self.placement(), true).ok()?;
        Some(Payload::Blocks(Arc::new(rows)))
    }
}
