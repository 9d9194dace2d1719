//! Checkpoints for tests, made by the library's own pickle writer; those of real numpy are in `tests/python`.
#![allow(dead_code, unreachable_pub, reason = "every test binary includes this file and uses its own part")]

pub mod transit;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use embstore::formats::{ArrayMeta, Fields, Layout, Parts, format_named};
use serde_json::{Value, json};

/// A folder of checkpoints and whatever is made of them.
pub struct Workshop(tempfile::TempDir);

impl Workshop {
    pub fn new() -> Self {
        Workshop(tempfile::tempdir().expect("temporary folder"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn checkpoints(&self) -> PathBuf {
        self.path("embeddings")
    }

    /// `rows` rows as `files` checkpoints of (nearly) equal length; returns the whole matrix.
    pub fn split(&self, rows: u64, cols: u64, files: u64) -> Vec<f32> {
        let whole = values(rows, cols);
        for file in 0..files {
            let (start, end) = (rows * file / files, rows * (file + 1) / files);
            let part = &whole[(start * cols) as usize..(end * cols) as usize];
            self.checkpoint(
                &format!("cluster1_gpu{file}.pkl"),
                part,
                cols,
                json!({"start_index": start, "end_index": end}),
            );
        }
        whole
    }

    /// One checkpoint with the given fields.
    pub fn checkpoint(&self, name: &str, values: &[f32], cols: u64, fields: Value) -> PathBuf {
        let folder = self.checkpoints();
        std::fs::create_dir_all(&folder).expect("writable");
        let path = folder.join(name);
        write_pickle(&path, values, cols, fields);
        path
    }

    /// Every file in a folder, with its bytes.
    pub fn contents(&self) -> Vec<(String, Vec<u8>)> {
        let mut found: Vec<_> = std::fs::read_dir(self.0.path())
            .expect("listable")
            .map(|entry| entry.expect("readable").path())
            .filter(|path| path.is_file())
            .map(|path| (name(&path), std::fs::read(&path).expect("readable")))
            .collect();
        found.sort();
        found
    }

    /// Names of what is there, folders too.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).expect("listable");
        let mut names: Vec<_> = entries.map(|entry| name(&entry.expect("readable").path())).collect();
        names.sort();
        names
    }
}

fn name(path: &Path) -> String {
    path.file_name().expect("has a name").to_string_lossy().into_owned()
}

/// A dict of `embeddings` and `fields`, protocol 4.
pub fn write_pickle(path: &Path, values: &[f32], cols: u64, fields: Value) {
    let _ = std::fs::remove_file(path);
    let array = ArrayMeta::stored(values.len() as u64 / cols, cols).expect("small");
    let target = format_named("pickle").expect("known").create(path, array, &Layout::default()).expect("created");
    let file = File::options().write(true).open(path).expect("opened");
    let Parts::Regions(regions) = target.parts() else { panic!("a pickle is one region") };
    file.write_all_at(bytemuck::cast_slice(values), regions.parts()[0].offset).expect("written");
    let fields: Fields = serde_json::from_value(fields).expect("an object");
    target.finish(&fields, None).expect("finished");
}

/// Rows that are all different, of about unit norm.
pub fn values(rows: u64, cols: u64) -> Vec<f32> {
    (0..rows * cols)
        .map(|i| ((i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f32 / (1u64 << 24) as f32) - 0.5)
        .collect()
}

/// The rows of a `.npy` store.
pub fn rows_of(store: &Path) -> Vec<f32> {
    let store = embstore::Store::open(store).expect("a store");
    let rows = store.map().expect("mapped");
    rows.view().iter().copied().collect()
}
