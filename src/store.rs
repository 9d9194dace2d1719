//! A store: the merged matrix with its articles and metadata, opened to read.

use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};

use embstore_formats::{
    ArrayKind, ArrayMeta, Checksum, Fields, Format, FormatError, LocateOptions, Located, Payload, detect,
};
use memmap2::Mmap;
use ndarray::ArrayView2;
use serde_json::{Value, json};

use crate::checkpoint::file_name;
use crate::copy::Source;
use crate::error::Error;
use crate::identity::Identity;
use crate::partial::complete_publication;

/// A store, or a bare array in its place.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    identity: Identity,
    format: &'static dyn Format,
    array: ArrayMeta,
    payload: Payload,
    metadata: Option<Fields>,
    articles: Option<PathBuf>,
}

/// The rows of one checkpoint within a store.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) rows: Range<u64>,
    /// Its entry of `chunk_info`.
    pub(crate) entry: Value,
}

impl Store {
    /// Opens the store at `path`, after completing a publication that was cut off. A matrix without metadata is a bare
    /// array; one that disagrees with its metadata is an error.
    ///
    /// # Errors
    /// Where it is none, or its parts do not belong together.
    pub fn open(path: &Path) -> Result<Self, Error> {
        complete_publication(path)?;
        let identity = Identity::at(path)?;
        let format = detect(path)?;
        let located = format.locate(path, &LocateOptions::default())?;
        Self::of(path, format, identity, located)
    }

    /// The store that was located at `path`.
    pub(crate) fn of(
        path: &Path,
        format: &'static dyn Format,
        identity: Identity,
        located: Located,
    ) -> Result<Self, Error> {
        let wrong = |what: String| Error::Store { path: path.to_path_buf(), what };
        let files = format.store_files(path);
        let (metadata, articles) = match located.kind {
            ArrayKind::Field => return Err(Error::NotAStore { path: path.to_path_buf() }),
            ArrayKind::Store { articles } => (Some(located.fields), (articles > 0).then(|| path.to_path_buf())),
            ArrayKind::Bare => match files.metadata.filter(|file| file.exists()) {
                Some(file) => {
                    let metadata = read_metadata(&file)?;
                    let articles = files.articles.filter(|_| metadata.get("articles").is_some_and(Value::is_object));
                    (Some(metadata), articles)
                }
                None => (None, None),
            },
        };
        if let Some(metadata) = &metadata {
            agrees(metadata, located.array, path)?;
        }
        if let Some(missing) = articles.as_ref().filter(|file| !file.exists()) {
            return Err(wrong(format!("its articles {} are missing", missing.display())));
        }
        Ok(Store {
            path: path.to_path_buf(),
            identity,
            format,
            array: located.array,
            payload: located.payload,
            metadata,
            articles,
        })
    }

    /// The file of the matrix.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The format's name.
    #[must_use]
    pub fn format(&self) -> &'static str {
        self.format.name()
    }

    /// Shape and element type.
    #[must_use]
    pub fn array(&self) -> ArrayMeta {
        self.array
    }

    /// The metadata; `None` for a bare array.
    #[must_use]
    pub fn metadata(&self) -> Option<&Fields> {
        self.metadata.as_ref()
    }

    /// The file that holds the articles, where there are any.
    #[must_use]
    pub fn articles(&self) -> Option<&Path> {
        self.articles.as_deref()
    }

    /// The checksum of what tells where the rows lie: of the bytes before them, or of a document beside them.
    pub(crate) fn header(&self) -> Result<Option<Checksum>, FormatError> {
        self.format.header(&self.path, &self.payload)
    }

    /// Maps the matrix. Rows are read from disk as they are touched.
    ///
    /// Whoever truncates the file while it is mapped kills this process (SIGBUS); embstore itself never does, it
    /// publishes by rename.
    ///
    /// # Errors
    /// Where the file cannot be mapped, or its rows are not aligned little-endian float32 in C order.
    ///
    /// ```no_run
    /// let store = embstore::Store::open("wikipedia.npy".as_ref())?;
    /// let rows = store.map()?;
    /// println!("{}", rows.view().row(0));
    /// # Ok::<(), embstore::Error>(())
    /// ```
    pub fn map(&self) -> Result<MappedRows, Error> {
        let wrong = |what: &str| Error::Store { path: self.path.clone(), what: what.into() };
        let region = match &self.payload {
            Payload::Raw(regions) if regions.array().is_stored_form() => regions.single(),
            _ => None,
        };
        let Some(region) = region else {
            return Err(wrong("its rows are not one run of float32 and cannot be mapped"));
        };
        if !region.offset.is_multiple_of(4) {
            return Err(wrong("its rows are not aligned and cannot be mapped"));
        }
        let map = map_file(&region.path)?;
        let end = region.offset + self.array.payload_bytes();
        if (map.len() as u64) < end {
            return Err(wrong("is shorter than its shape"));
        }
        let shape = (self.array.rows() as usize, self.array.cols() as usize);
        Ok(MappedRows { map, bytes: region.offset as usize..end as usize, shape })
    }

    /// The rows of each checkpoint; the whole store as one where it does not say.
    pub(crate) fn chunks(&self) -> Vec<Chunk> {
        let entries = self.metadata.as_ref().and_then(|metadata| metadata.get("chunk_info")?.as_array());
        let mut start = 0u64;
        let chunks: Option<Vec<Chunk>> = entries.and_then(|entries| {
            entries
                .iter()
                .map(|entry| {
                    let rows = start..start.checked_add(entry.get("rows")?.as_u64()?)?;
                    start = rows.end;
                    entry.is_object().then(|| Chunk { rows, entry: entry.clone() })
                })
                .collect()
        });
        chunks.filter(|_| start == self.array.rows()).unwrap_or_else(|| {
            let (name, end) = (file_name(&self.path), self.array.rows());
            let entry = json!({"file": name, "cluster_id": null, "gpu_id": null, "start_index": 0, "end_index": end});
            vec![Chunk { rows: 0..end, entry }]
        })
    }

    /// The rows `rows` as a source; they go to row `store_row` of whatever is built or compared.
    pub(crate) fn source(&self, rows: &Range<u64>, store_row: u64) -> Source<'_> {
        Source {
            path: self.path.clone(),
            identity: self.identity,
            payload: &self.payload,
            first: rows.start,
            rows: rows.end - rows.start,
            store_row,
            in_kernel: false,
        }
    }
}

/// The mapped rows of a store.
#[derive(Debug)]
pub struct MappedRows {
    map: Mmap,
    bytes: Range<usize>,
    shape: (usize, usize),
}

impl MappedRows {
    /// The matrix.
    #[must_use]
    pub fn view(&self) -> ArrayView2<'_, f32> {
        let values: &[f32] = bytemuck::cast_slice(&self.map[self.bytes.clone()]);
        ArrayView2::from_shape(self.shape, values).unwrap_or_else(|_| ArrayView2::from(&[[0f32; 0]; 0]))
    }
}

#[allow(unsafe_code)]
fn map_file(path: &Path) -> Result<Mmap, Error> {
    let file = File::open(path).map_err(FormatError::io("open", path))?;
    // SAFETY: the map is read-only and its contents are plain floats, of which every bit pattern is valid. That nobody
    // truncates the file while it is mapped is the caller's side of the contract, told in the docs of `Store::map`.
    let map = unsafe { Mmap::map(&file) };
    Ok(map.map_err(FormatError::io("map", path))?)
}

fn read_metadata(path: &Path) -> Result<Fields, Error> {
    let text = fs::read(path).map_err(FormatError::io("read", path))?;
    serde_json::from_slice(&text)
        .map_err(|source| Error::Store { path: path.to_path_buf(), what: format!("is no metadata: {source}") })
}

/// Shape and size must be those of the matrix.
fn agrees(metadata: &Fields, array: ArrayMeta, path: &Path) -> Result<(), Error> {
    let wrong = |what: String| Error::Store { path: path.to_path_buf(), what };
    let shape = json!([array.rows(), array.cols()]);
    match metadata.get("shape") {
        Some(told) if *told == shape => {}
        told => {
            let told = told.map_or_else(|| "none".into(), Value::to_string);
            return Err(wrong(format!("has the shape {shape}, its metadata says {told}")));
        }
    }
    let have = array.payload_bytes();
    match metadata.get("matrix").map(|matrix| matrix["bytes"].as_u64()) {
        None => Ok(()),
        Some(Some(bytes)) if bytes == have => Ok(()),
        Some(told) => {
            let told = told.map_or_else(|| "no number".into(), |told| told.to_string());
            Err(wrong(format!("has {have} bytes of rows, its metadata says {told}")))
        }
    }
}
