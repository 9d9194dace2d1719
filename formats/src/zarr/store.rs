//! A store under construction: a group with the matrix, the articles, and at the end the metadata.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::array::ArrayMeta;
use crate::articles::{ArticleSink, ArticlesWritten};
use crate::checksum::Checksum;
use crate::dtype::Dtype;
use crate::error::FormatError;
use crate::format::Fields;
use crate::region::{Region, Regions, allocate};
use crate::target::{CHUNK_ROWS, Codec, Layout, Parts, Target};

use super::articles::{ARTICLES, ZarrArticles};
use super::chunks::Chunks;
use super::document::{Items, NewArray, Version, consolidate, write_group};
use super::locate::{MATRIX, header};

pub(super) struct ZarrStore {
    path: PathBuf,
    version: Version,
    rows: Rows,
}

enum Rows {
    Raw(Regions),
    Encoded(Box<Chunks>),
}

impl ZarrStore {
    /// Makes the store's folders and documents. Chunks that are there stay as they are.
    pub(super) fn create(path: &Path, array: ArrayMeta, layout: &Layout) -> Result<Self, FormatError> {
        let (version, new) = described(path, &array, layout)?;
        let folder = path.join(MATRIX);
        fs::create_dir_all(&folder).map_err(FormatError::io("create", &folder))?;
        write_group(path, version, &Fields::new())?;
        new.write(&folder, version)?;
        let rows = if new.compression.is_none() && new.chunk.is_none() {
            Rows::Raw(allocate_chunks(&folder, version, array, new.file[0])?)
        } else {
            Rows::Encoded(Box::new(Chunks::create(&folder, version, array, &new)?))
        };
        Ok(ZarrStore { path: path.to_path_buf(), version, rows })
    }
}

/// The file of the chunk, or shard, that begins `number` files after the first.
pub(super) fn chunk_file(folder: &Path, version: Version, number: u64) -> PathBuf {
    match version {
        Version::V2 => folder.join(format!("{number}.0")),
        Version::V3 => folder.join(format!("c/{number}/0")),
    }
}

/// Makes the folder of a chunk's file, where that is one of its own.
pub(super) fn create_folder_of(file: &Path) -> Result<(), FormatError> {
    let Some(folder) = file.parent() else { return Ok(()) };
    fs::create_dir_all(folder).map_err(FormatError::io("create", folder))
}

/// Bytes that a thread holds for a chunk or shard: its rows, its encoded chunks, and all of them put together. Raw chunks
/// are filled in place.
pub(super) fn chunk_memory(path: &Path, array: &ArrayMeta, layout: &Layout) -> Result<u64, FormatError> {
    let (_, new) = described(path, array, layout)?;
    let encoded = new.compression.is_some() || new.chunk.is_some();
    Ok(if encoded { 3 * new.file[0] * array.row_bytes() } else { 0 })
}

/// The array that a layout asks for, or what is wrong with it.
fn described(path: &Path, array: &ArrayMeta, layout: &Layout) -> Result<(Version, NewArray), FormatError> {
    let refuse = |what: String, hint| Err(FormatError::Layout { path: path.to_path_buf(), what, hint });
    let version = match layout.zarr_version {
        None | Some(3) => Version::V3,
        Some(2) => Version::V2,
        Some(other) => return refuse(format!("there is no version {other} of Zarr"), "give --zarr-version 2 or 3"),
    };
    if !matches!(array.dtype, Dtype::Float16 | Dtype::Float32) {
        let what = format!("Zarr stores have float16 and float32, not {}", array.dtype);
        return refuse(what, "choose another --dtype or --format");
    }
    let codec = layout.compression.map(|compression| compression.codec);
    if version == Version::V3 && codec == Some(Codec::Lz4) {
        return refuse("version 3 of Zarr has no bare lz4".into(), "give --compression blosc-lz4");
    }
    let chunk = layout.chunk_rows.unwrap_or(CHUNK_ROWS);
    if chunk == 0 {
        return refuse("a chunk has at least one row".into(), "give --chunk-rows 4096");
    }
    let shard = layout.shard_rows;
    if version == Version::V2 && shard.is_some() {
        return refuse("version 2 of Zarr has no shards".into(), "leave out --shard-rows, or write version 3");
    }
    if let Some(rows) = shard.filter(|rows| *rows == 0 || rows % chunk != 0) {
        let what = format!("{rows} rows a shard are no multiple of {chunk} rows a chunk");
        return refuse(what, "give --shard-rows a multiple of --chunk-rows");
    }
    // Never more than the rows: what is left of a chunk takes room in its file.
    let chunk = chunk.min(array.rows().max(1));
    let shard = shard.map(|rows| rows.min(array.rows().max(1).next_multiple_of(chunk)) / chunk * chunk);
    let cols = array.cols().max(1);
    let file = shard.unwrap_or(chunk);
    let size = file.checked_mul(cols).and_then(|items| items.checked_mul(4));
    if size.is_none_or(|size| size > 1 << 31) && (layout.compression.is_some() || shard.is_some()) {
        return refuse(format!("{file} rows are more than 2 GiB"), "give fewer --chunk-rows or --shard-rows");
    }
    let new = NewArray {
        shape: vec![array.rows(), array.cols()],
        file: vec![file, cols],
        chunk: shard.map(|_| vec![chunk, cols]),
        dimensions: &["row", "dim"],
        items: Items::Floats(array.dtype),
        compression: layout.compression,
    };
    Ok((version, new))
}

/// Allocates the files of uncompressed chunks. Each has its full size, the last one too: zarr-python insists on it.
fn allocate_chunks(folder: &Path, version: Version, array: ArrayMeta, chunk_rows: u64) -> Result<Regions, FormatError> {
    let too_large = |path: &Path| FormatError::io("allocate", path)(io::ErrorKind::FileTooLarge.into());
    let size = chunk_rows.checked_mul(array.row_bytes()).ok_or_else(|| too_large(folder))?;
    let (mut parts, mut row) = (Vec::new(), 0);
    while row < array.rows() {
        let path = chunk_file(folder, version, row / chunk_rows);
        create_folder_of(&path)?;
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(FormatError::io("create", &path))?;
        allocate(&file, size).map_err(FormatError::io("allocate", &path))?;
        let rows = chunk_rows.min(array.rows() - row);
        let part = super::rows_of(&array, rows).ok_or_else(|| too_large(&path))?;
        pad(&file, part.payload_bytes(), size).map_err(FormatError::io("write", &path))?;
        parts.push(Region { path, offset: 0, array: part });
        row += rows;
    }
    Regions::new(array, parts).ok_or_else(|| too_large(folder))
}

/// Zeros from `from` to `to`, where the file could not be allocated and would end before.
fn pad(file: &File, from: u64, to: u64) -> io::Result<()> {
    let mut at = from.max(file.metadata()?.len().min(to));
    let zeros = [0; 1 << 16];
    while from < to && at < to {
        let step = (to - at).min(zeros.len() as u64);
        file.write_all_at(&zeros[..step as usize], at)?;
        at += step;
    }
    Ok(())
}

impl Target for ZarrStore {
    fn parts(&self) -> Parts<'_> {
        match &self.rows {
            Rows::Raw(regions) => Parts::Regions(regions),
            Rows::Encoded(chunks) => Parts::Chunks(&**chunks),
        }
    }

    fn articles(&self) -> Result<Box<dyn ArticleSink>, FormatError> {
        Ok(Box::new(ZarrArticles::create(&self.path, self.version)?))
    }

    fn header(&self) -> Result<Option<Checksum>, FormatError> {
        header(&self.path)
    }

    fn finish(&self, metadata: &Fields, _articles: Option<&ArticlesWritten>) -> Result<(), FormatError> {
        write_group(&self.path, self.version, metadata)?;
        if self.version == Version::V2 {
            let columns = crate::articles::KEYS.map(|key| format!("{ARTICLES}/{key}"));
            let folders: Vec<&str> = [MATRIX, ARTICLES].into_iter().chain(columns.iter().map(String::as_str)).collect();
            consolidate(&self.path, &folders)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(chunk: u64, shard: u64) -> Layout {
        Layout { chunk_rows: Some(chunk), shard_rows: Some(shard), ..Layout::default() }
    }

    #[test]
    fn chunks_and_shards_are_no_longer_than_the_rows() {
        let array = ArrayMeta::stored(10, 4).expect("fits");
        let shapes = |layout| described(Path::new("w.zarr"), &array, &layout).map(|(_, new)| (new.chunk, new.file));
        assert_eq!(shapes(layout(4, 8)).expect("fits"), (Some(vec![4, 4]), vec![8, 4]));
        assert_eq!(shapes(layout(4, 800)).expect("fits"), (Some(vec![4, 4]), vec![12, 4]));
        assert_eq!(shapes(layout(400, 800)).expect("fits"), (Some(vec![10, 4]), vec![10, 4]));
        assert!(shapes(layout(4, 6)).is_err());
        assert_eq!(shapes(Layout::default()).expect("fits"), (None, vec![10, 4]));
    }

    #[test]
    fn a_file_that_ends_early_is_padded_and_its_rows_kept() {
        let file = tempfile::tempfile().expect("temporary file");
        file.write_all_at(b"row", 0).expect("writable");
        pad(&file, 8, 12).expect("padded");
        assert_eq!(file.metadata().expect("there").len(), 12);
        let mut bytes = [0; 12];
        file.read_exact_at(&mut bytes, 0).expect("readable");
        assert_eq!(&bytes, b"row\0\0\0\0\0\0\0\0\0");
    }
}
