//! Update: which checkpoints of a plan a finished store holds already.
//!
//! A store records of every checkpoint its name, range, size, time and the checksum of its rows. What still agrees is
//! taken from the store, and its checksum compared on the way; the rest is read again. The result is the store that a
//! merge of the same checkpoints would make, byte for byte.

use std::ops::Range;
use std::path::Path;

use embstore_formats::{Checksum, Fields, Layout};
use serde_json::{Value, json};

use crate::checkpoint::Checkpoint;
use crate::copy::Source;
use crate::error::Error;
use crate::identity::Identity;
use crate::job::{ArticlesPart, recorded_layout};
use crate::journal::Landed;
use crate::metadata::gather;
use crate::partial::complete_publication;
use crate::plan::{Part, Plan};
use crate::store::{Chunk, Store};
use crate::text::{iso8601, thousands};

/// What has become of the checkpoints since a store was merged, by file name and in row order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Taken from the store.
    pub unchanged: Vec<String>,
    /// Read again: another size, time, range or type, or other rows of it are kept.
    pub changed: Vec<String>,
    /// New.
    pub added: Vec<String>,
    /// In the store, and not among the inputs any more: their rows are dropped.
    pub gone: Vec<String>,
}

impl Changes {
    /// Whether nothing has changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.added.is_empty() && self.gone.is_empty()
    }
}

/// What a file was when it was read, as stores record it.
pub(crate) fn recorded(identity: Identity) -> Value {
    json!({
        "bytes": identity.size,
        "modified": iso8601(identity.modified()),
        "modified_ns": identity.modified_nanoseconds(),
    })
}

/// The store that is brought up to date.
pub(crate) struct Old {
    store: Store,
    chunks: Vec<Chunk>,
    /// Of each part of the plan, the rows of the store that hold it unchanged, and their checksum.
    reused: Vec<Option<(Range<u64>, Checksum)>>,
    pub(crate) changes: Changes,
}

impl Old {
    /// Compares the store at `path` with the plan; `None` where there is no store yet.
    pub(crate) fn open(path: &Path, plan: &Plan) -> Result<Option<Self>, Error> {
        complete_publication(path)?;
        if !path.exists() {
            return Ok(None);
        }
        let store = Store::open(path)?;
        if !store.metadata().is_some_and(|metadata| metadata.contains_key("store_id")) {
            return Err(Error::NotUpdatable { path: path.to_path_buf() });
        }
        let itself = path.canonicalize().ok();
        if plan.parts().iter().any(|part| itself.is_some() && part.checkpoint.path.canonicalize().ok() == itself) {
            return Err(Error::TargetIsSource { target: path.to_path_buf() });
        }
        let mut old = Old { chunks: store.chunks(), store, reused: Vec::new(), changes: Changes::default() };
        for part in plan.parts() {
            let known = old.chunks.iter().find(|chunk| chunk.entry["file"] == part.checkpoint.name());
            let same = known.and_then(|chunk| old.unchanged(chunk, part));
            let list = match (known, &same) {
                (None, _) => &mut old.changes.added,
                (_, None) => &mut old.changes.changed,
                _ => &mut old.changes.unchanged,
            };
            list.push(part.checkpoint.name());
            old.reused.push(same);
        }
        let is_gone = |chunk: &&Chunk| !plan.parts().iter().any(|part| chunk.entry["file"] == part.checkpoint.name());
        let gone = old.chunks.iter().filter(is_gone).filter_map(|chunk| chunk.entry["file"].as_str());
        old.changes.gone = gone.map(String::from).collect();
        Ok(Some(old))
    }

    /// The rows of the store that are those of the part, if nothing about the checkpoint has changed.
    fn unchanged(&self, chunk: &Chunk, part: &Part) -> Option<(Range<u64>, Checksum)> {
        let Checkpoint { array, identity, key, .. } = &part.checkpoint;
        let (entry, rows) = (&chunk.entry, &chunk.rows);
        let source = &entry["source"];
        let mut told = recorded(*identity);
        told["dtype"] = json!(array.dtype.name());
        told["key"] = json!(key);
        let same = told.as_object()?.iter().all(|(key, value)| source.get(key) == Some(value))
            && entry["start_index"] == part.range.start
            && entry["end_index"] == part.range.end
            && rows.end - rows.start == part.rows
            && (part.rows == 0 || first_kept(entry, rows.start, self.row_range()) == Some(part.first))
            // What narrowing has lost cannot be measured in the store any more.
            && entry["quality"]["narrowed_to_inf"] == 0;
        let bytes = part.rows * array.cols() * 4;
        let checksum = Checksum::parse(source["checksum"].as_str()?, bytes)?;
        same.then(|| (rows.clone(), checksum))
    }

    fn row_range(&self) -> Option<u64> {
        self.store.metadata()?.get("row_range")?.get(0)?.as_u64()
    }

    /// What the metadata says under `key`.
    fn told(&self, key: &str) -> &Value {
        self.store.metadata().and_then(|metadata| metadata.get(key)).unwrap_or(&Value::Null)
    }

    /// Where each part of the plan is read.
    pub(crate) fn redirect<'a>(&'a self, sources: &mut [Source<'a>]) {
        for (source, reused) in sources.iter_mut().zip(&self.reused) {
            if let Some((rows, _)) = reused {
                *source = Source { in_kernel: true, ..self.store.source(rows, source.store_row) };
            }
        }
    }

    /// What was taken from the store must be what the store says that it holds.
    pub(crate) fn check(&self, plan: &Plan, landed: &Landed) -> Result<(), Error> {
        for (part, reused) in plan.parts().iter().zip(&self.reused) {
            let Some((_, told)) = reused else { continue };
            let (_, measured) = gather(landed, part.store_row..part.store_row + part.rows);
            if measured != *told {
                let name = part.checkpoint.name();
                let what = format!("the rows of {name} have the checksum {measured}, its metadata says {told}");
                return Err(Error::Store { path: self.store.path().to_path_buf(), what });
            }
        }
        Ok(())
    }

    /// The articles of the store, to go along where none are given.
    pub(crate) fn articles(&self, plan: &Plan) -> Result<Option<ArticlesPart>, Error> {
        let Some(path) = self.store.articles() else { return Ok(None) };
        let (rows, total) = (plan.array().rows(), self.store.array().rows());
        if rows > total {
            return Err(Error::Store {
                path: self.store.path().to_path_buf(),
                what: format!(
                    "has {} articles and would have {} rows: give the articles of all of them with --articles",
                    thousands(total),
                    thousands(rows)
                ),
            });
        }
        let source = self.told("articles").get("source").cloned();
        Ok(Some(ArticlesPart { path: path.to_path_buf(), source, skip: 0, total, fit: None }))
    }

    /// The layout that the store was made with, to be kept where no other is asked for.
    pub(crate) fn layout(&self) -> Layout {
        recorded_layout(self.told("layout"))
    }

    /// The metadata of the store, if it is already what the merge would make of the plan, this model and these
    /// articles.
    pub(crate) fn up_to_date(
        &self,
        plan: &Plan,
        model: &Value,
        layout: &Layout,
        articles: Option<&ArticlesPart>,
    ) -> Option<&Fields> {
        let rows = plan.array().rows();
        let same_articles = articles.and_then(|part| part.source.as_ref()) == self.told("articles").get("source")
            && articles.is_some() == self.store.articles().is_some();
        let same = self.changes.is_empty()
            && (self.store.array().rows(), self.store.array().cols()) == (rows, plan.array().cols())
            && self.told("model") == model
            && self.layout() == *layout
            && same_articles;
        self.store.metadata().filter(|_| same)
    }
}

/// First row of a checkpoint that a store keeps, given the chunk's first row of the store.
fn first_kept(entry: &Value, store_row: u64, first_row: Option<u64>) -> Option<u64> {
    let start = entry["start_index"].as_u64()?;
    Some((first_row? + store_row).saturating_sub(start))
}
