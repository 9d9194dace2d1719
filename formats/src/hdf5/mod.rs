//! HDF5, and embstore's own store in it.
//!
//! ```text
//! 89 "HDF" 0d 0a 1a 0a │ superblock │ … object headers, heaps, trees …           at byte 0, 512, 1024, 2048 …
//!
//! a store:     0      superblock v0, root group, header of /embeddings (layout: contiguous, at 4096)
//!              4096   rows × columns floats, little-endian
//!              behind articles/id, articles/title, articles/url (texts), attributes of the root group
//! in chunks:   the same, /embeddings in chunks of whole rows, filtered (see `filters`)
//! ```
//!
//! Specification: <https://docs.hdfgroup.org/hdf5/v1_14/_f_m_t3.html>.
//!
//! Accepted: two-dimensional datasets of float16, bfloat16, float32 or float64, either byte order, in one run (a region),
//! within the header, in chunks of any shape without a filter or with shuffle, deflate, fletcher32, LZ4 or zstd, or not
//! written yet (their fill value). Refused: other filters, by their names; virtual and external datasets and links into
//! other files, whose changes nobody would notice; other types and shapes.
//!
//! The attributes of the root group and of the dataset are the fields beside the rows. A store has one more,
//! `embstore_keys`, which is written last: without it a file is a bare array (see `attributes`).
//!
//! All metadata is read and written by the HDF5 library, which has one lock for the whole process and more bugs on
//! hostile files than can be checked from here. Rows never pass through it where they lie in one run.

mod articles;
mod attributes;
mod blocks;
mod chunked;
mod contiguous;
mod filters;
mod heap;
mod listing;
mod locate;
mod raw;
mod transfer;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::array::ArrayMeta;
use crate::articles::Article;
use crate::dtype::Dtype;
use crate::error::FormatError;
use crate::format::{Confidence, Fields, Format, LocateOptions, Located, Probe, Writes};
use crate::target::{Layout, Target};

/// The dataset of a store's rows.
const MATRIX: &str = "embeddings";

/// HDF5.
#[derive(Debug)]
pub(crate) struct Hdf5;

impl Format for Hdf5 {
    fn name(&self) -> &'static str {
        "hdf5"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["h5", "hdf5"]
    }

    fn detect(&self, probe: &Probe) -> Confidence {
        let found = probe.file.as_ref().is_some_and(|file| has_signature(file, probe.len).unwrap_or(false));
        if found { Confidence::Yes } else { Confidence::No }
    }

    fn locate(&self, path: &Path, options: &LocateOptions) -> Result<Located, FormatError> {
        locate::locate(path, options)
    }

    fn describe(&self, path: &Path, _options: &LocateOptions) -> Result<Fields, FormatError> {
        locate::describe(path)
    }

    fn articles(&self, path: &Path, visit: &mut dyn FnMut(Article<'_>) -> ControlFlow<()>) -> Result<u64, FormatError> {
        articles::read(path, visit)
    }

    fn writes(&self) -> Writes {
        Writes::Stores
    }

    fn check_layout(&self, path: &Path, array: &ArrayMeta, layout: &Layout) -> Result<u64, FormatError> {
        layout.check_unversioned(path, self.name(), &[Dtype::Float16, Dtype::Float32])?;
        if layout.shard_rows.is_some() {
            let (path, what) = (path.to_path_buf(), "HDF5 has no shards".into());
            return Err(FormatError::Layout { path, what, hint: "leave out --shard-rows" });
        }
        if !is_chunked(layout) {
            return Ok(0);
        }
        let (chunk_rows, _) = chunked::described(path, array, layout)?;
        // The rows, shuffled, and compressed; and as much again in buffers that wait for their next use.
        Ok(6 * chunk_rows * array.row_bytes())
    }

    fn create(&self, path: &Path, array: ArrayMeta, layout: &Layout) -> Result<Box<dyn Target>, FormatError> {
        self.check_layout(path, &array, layout)?;
        Ok(match is_chunked(layout) {
            true => Box::new(chunked::ChunkedStore::create(path, array, layout)?),
            false => Box::new(contiguous::ContiguousStore::create(path, array)?),
        })
    }
}

fn is_chunked(layout: &Layout) -> bool {
    layout.compression.is_some() || layout.chunk_rows.is_some()
}

/// What the library says, as an error about a file.
fn failed(what: &'static str, path: &Path) -> impl FnOnce(hdf5::Error) -> FormatError {
    let path = path.to_path_buf();
    move |error| FormatError::Container {
        path,
        what: format!("{what} as HDF5: {error}"),
        hint: "check that nothing else writes to it and that the disk is not full; if it is damaged, fetch it again",
    }
}

/// A file of its own beside a staged one.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(suffix);
    name.into()
}

const SIGNATURE: &[u8; 8] = b"\x89HDF\r\n\x1a\n";
/// A block of the user's in front of HDF5 data is a few lines of text, or what MATLAB writes there.
const LARGEST_USER_BLOCK: u64 = 1 << 20;

/// Whether HDF5 data begin at the start, or behind a block of the user's at a power of two from 512 on.
fn has_signature(file: &File, len: u64) -> io::Result<bool> {
    let (mut at, mut found) = (0, [0; 8]);
    while at + 8 <= len && at <= LARGEST_USER_BLOCK {
        file.read_exact_at(&mut found, at)?;
        if found == *SIGNATURE {
            return Ok(true);
        }
        at = (at * 2).max(512);
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::format::{ArrayKind, detect};
    use crate::rows::Payload;
    use crate::target::{Codec, Compression, Parts};

    fn metadata() -> Fields {
        let value = json!({
            "z first": 1, "negative": -5, "large": u64::MAX, "float": 0.1, "whole": 3.0, "yes": true, "no": false,
            "nothing": null, "text": "Łódź", "empty": "", "nul": "a\0b", "looks like json": "[1]", "list": [1, [2.5, "x"]],
            "object": {"b": 1, "a": {"c": []}}, "long": "x".repeat(200_000),
        });
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn a_second_call_keeps_the_rows_and_cuts_off_the_rest() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s.h5");
        let array = ArrayMeta::stored(300, 10).expect("fits");
        let rows: Vec<u8> = (0..array.payload_bytes()).map(|i| (i % 251) as u8).collect();
        let first = Hdf5.create(&path, array, &Layout::default()).expect("created");
        let Parts::Regions(regions) = first.parts() else { panic!("one run") };
        let region = regions.single().expect("one run").clone();
        assert_eq!(region.offset % 4096, 0);
        let empty = std::fs::metadata(&path).expect("is there").len();
        let file = std::fs::File::options().write(true).open(&path).expect("opens");
        file.write_all_at(&rows, region.offset).expect("written");
        let mut sink = first.articles().expect("room for articles");
        for _ in 0..200 {
            sink.push(Article { id: "1", title: "half of them", url: "u" }).expect("pushed");
        }
        assert!(sink.finish().is_err(), "there are fewer than rows");
        assert!(std::fs::metadata(&path).expect("is there").len() > empty);

        let second = Hdf5.create(&path, array, &Layout::default()).expect("opened again");
        assert_eq!(std::fs::metadata(&path).expect("is there").len(), empty);
        assert_eq!(Hdf5.locate(&path, &LocateOptions::default()).expect("located").kind, ArrayKind::Bare);
        second.finish(&metadata(), None).expect("finished");
        let located = detect(&path).expect("known").locate(&path, &LocateOptions::default()).expect("located");
        assert_eq!((located.kind, located.array), (ArrayKind::Store { articles: 0 }, array));
        assert_eq!(serde_json::to_string(&located.fields).ok(), serde_json::to_string(&metadata()).ok());
        let Payload::Raw(found) = located.payload else { panic!("one run") };
        assert_eq!(found.single(), Some(&region));
        let bytes = std::fs::read(&path).expect("reads");
        assert_eq!(bytes[region.offset as usize..][..rows.len()], rows);
        assert_eq!(std::fs::read_dir(folder.path()).expect("reads").count(), 1, "nothing is left beside it");
    }

    #[test]
    fn chunks_that_were_stored_survive_a_second_call() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s.h5");
        let array = ArrayMeta::stored(250, 10).expect("fits");
        let compression = Some(Compression { codec: Codec::Zstd, level: None });
        let layout = Layout { chunk_rows: Some(100), compression, ..Layout::default() };
        let row = |first: u64, rows: u64| (first..first + rows).flat_map(|i| [i as f32; 10]).collect::<Vec<f32>>();
        let store = |chunks: &[u64]| {
            let target = Hdf5.create(&path, array, &layout).expect("created");
            let Parts::Chunks(sink) = target.parts() else { panic!("chunks") };
            for &chunk in chunks {
                let rows = row(chunk * 100, 100.min(250 - chunk * 100));
                let encoded = sink.encode(chunk, bytemuck::cast_slice(&rows)).expect("encoded");
                sink.store(chunk, encoded).expect("stored");
            }
            sink.sync(chunks).expect("synced");
            target
        };
        drop(store(&[2, 0]));
        let target = store(&[]);
        let Parts::Chunks(sink) = target.parts() else { panic!("chunks") };
        let staged = sink.staged().expect("a payload");
        let mut reader = staged.reader(std::fs::File::open(&path).expect("opens"), &path).expect("reads");
        let mut got = vec![1.0; 2500];
        reader.read(0, &mut got, &mut Vec::new()).expect("reads");
        assert_eq!(got, [row(0, 100), vec![0.0; 1000], row(200, 50)].concat());
        target.finish(&metadata(), None).expect("finished");
        assert!(target.finish(&metadata(), None).is_err(), "only once");
        let located = Hdf5.locate(&path, &LocateOptions::default()).expect("located");
        assert_eq!((located.kind, located.fields), (ArrayKind::Store { articles: 0 }, metadata()));
    }
}
