//! What is to be built: one store, from any sources.

use std::path::{Path, PathBuf};

use embstore_formats::articles::ArticlesWritten;
use embstore_formats::{ArrayMeta, Checksum, Fields, Format, Layout};
use serde_json::{Value, json};

use crate::copy::{Awaited, Settings, Source};
use crate::error::Error;
use crate::journal::Landed;
use crate::plan::RowRange;

/// What to do about what is there already, and how the work is done.
#[derive(Clone, Copy, Debug, Default)]
pub struct BuildOptions {
    /// Whether a finished store may be replaced.
    pub force: bool,
    /// Whether an unfinished one is discarded.
    pub restart: bool,
    /// Chunks, compression and element type of the new store.
    pub layout: Layout,
    /// Threads and syncs.
    pub settings: Settings,
}

/// What of a layout is asked for, as stores record it; nothing of the element type.
pub(crate) fn layout_fields(layout: &Layout) -> Fields {
    let Layout { chunk_rows, shard_rows, compression, zarr_version, dtype: _ } = *layout;
    let mut fields = Fields::new();
    let mut put = |key: &str, value: Option<Value>| value.map(|value| fields.insert(key.into(), value));
    put("chunk_rows", chunk_rows.map(|rows| json!(rows)));
    put("shard_rows", shard_rows.map(|rows| json!(rows)));
    put("compression", compression.map(|compression| json!(compression.to_string())));
    put("zarr_version", zarr_version.map(|version| json!(version)));
    fields
}

/// The layout that a store records. What cannot be read of it is not asked for.
pub(crate) fn recorded_layout(told: &Value) -> Layout {
    Layout {
        chunk_rows: told["chunk_rows"].as_u64(),
        shard_rows: told["shard_rows"].as_u64(),
        compression: told["compression"].as_str().and_then(|text| text.parse().ok()),
        zarr_version: told["zarr_version"].as_u64().and_then(|version| version.try_into().ok()),
        ..Layout::default()
    }
}

/// One store to be built.
pub(crate) struct Job<'a> {
    pub(crate) target: &'a Path,
    pub(crate) format: &'static dyn Format,
    pub(crate) array: ArrayMeta,
    pub(crate) sources: Vec<Source<'a>>,
    /// Sources that may still be on their way.
    pub(crate) awaited: Option<Awaited<'a>>,
    pub(crate) articles: Option<ArticlesPart>,
    /// Whether the target is itself read: it is being updated.
    pub(crate) updates: bool,
    /// What distinguishes this job from any other on the same target.
    pub(crate) identity: Value,
    pub(crate) options: BuildOptions,
}

/// Articles to go along with the rows.
#[derive(Clone, Debug)]
pub(crate) struct ArticlesPart {
    pub(crate) path: PathBuf,
    /// What the file was, as stores record it.
    pub(crate) source: Option<Value>,
    /// Articles before those that are kept.
    pub(crate) skip: u64,
    /// Articles that the file must hold.
    pub(crate) total: u64,
    /// The rows among which others could be kept, should the count be wrong.
    pub(crate) fit: Option<RowRange>,
}

impl ArticlesPart {
    /// There must be as many articles as rows.
    pub(crate) fn check_count(&self, count: u64) -> Result<(), Error> {
        if count == self.total {
            return Ok(());
        }
        let fit = self.fit.and_then(|rows| rows.holding(count)).map(|rows| format!("keep as many rows: --rows {rows}"));
        Err(Error::ArticlesCount { path: self.path.clone(), articles: count, rows: self.total, fit })
    }
}

/// What was measured while a store was filled.
pub(crate) struct Measured {
    pub(crate) landed: Landed,
    pub(crate) articles: Option<ArticlesWritten>,
    /// Of the bytes before the rows, where they are final.
    pub(crate) header: Option<Checksum>,
}
