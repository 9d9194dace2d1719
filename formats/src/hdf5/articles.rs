//! Articles: three datasets of texts of variable length, one element per row.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use hdf5::{Dataset, File};

use crate::articles::{Article, ArticleSink, ArticlesError, ArticlesWritten, ContentHasher, KEYS};
use crate::error::FormatError;

use super::heap::HeapTexts;
use super::raw::{self, Storage};
use super::transfer::{self, Texts};
use super::{failed, locate};

/// The group of the datasets.
const GROUP: &str = "articles";
/// Articles that are written at once.
const BATCH: u64 = 4096;
/// Bytes of text at which a batch is written, however few its articles are.
const BATCH_BYTES: usize = 1 << 20;
/// Articles that are read at once.
const READ_BATCH: u64 = 256;

/// How many articles a store holds.
pub(super) fn count(file: &File) -> u64 {
    let count = |key: &str| file.dataset(&format!("{GROUP}/{key}")).map_or(0, |dataset| dataset.size() as u64);
    KEYS.iter().map(|key| count(key)).min().unwrap_or(0)
}

/// Hands every article to `visit` until it breaks off; returns how many were handed over.
pub(super) fn read(path: &Path, visit: &mut dyn FnMut(Article<'_>) -> ControlFlow<()>) -> Result<u64, FormatError> {
    let file = locate::open(path)?;
    let mut columns = Vec::new();
    for key in KEYS {
        let dataset = file.dataset(&format!("{GROUP}/{key}"));
        let have = file.group(GROUP).and_then(|group| group.member_names()).unwrap_or_default();
        columns.push(dataset.map_err(|_| ArticlesError::MissingColumn { key, have }.at(path))?);
    }
    let total = columns[0].size() as u64;
    if let Some(other) = columns.iter().find(|column| column.shape() != columns[0].shape() || column.ndim() != 1) {
        let what = format!("{} has another shape than the other articles", other.name());
        return Err(FormatError::Container { path: path.into(), what, hint: "merge again" });
    }
    let open = std::fs::File::open(path).map_err(FormatError::io("open", path))?;
    let mut heaps = Vec::new();
    for column in columns.iter().filter(|_| total > 0) {
        let broken = |what| FormatError::Container { path: path.into(), what, hint: "merge or export it again" };
        let elements = column.offset().ok_or_else(|| broken(format!("{} is not in one run", column.name())))?;
        heaps.push(HeapTexts::new(&open, file.userblock(), elements).map_err(FormatError::io("read", path))?);
    }
    let mut seen = 0;
    while seen < total {
        let rows = READ_BATCH.min(total - seen);
        let mut read = |column: usize| {
            let name = columns[column].name();
            let damaged = |what: String| FormatError::Container {
                path: path.into(),
                what: format!("{name}: {what}"),
                hint: "fetch the file again, or merge or export it again",
            };
            heaps[column].read(seen, rows).map_err(damaged)
        };
        let [ids, titles, urls] = [read(0)?, read(1)?, read(2)?];
        for ((id, title), url) in ids.iter().zip(&titles).zip(&urls) {
            let text = |key: usize, bytes| {
                let got = || "not UTF-8".into();
                let wrong = |_| ArticlesError::WrongType { index: seen, key: KEYS[key], got: got() }.at(path);
                std::str::from_utf8(bytes).map_err(wrong)
            };
            let article = Article { id: text(0, id)?, title: text(1, title)?, url: text(2, url)? };
            seen += 1;
            if visit(article).is_break() {
                return Ok(seen);
            }
        }
    }
    Ok(seen)
}

/// Appends the articles of a store under construction.
pub(super) struct Hdf5Articles {
    path: PathBuf,
    file: File,
    columns: [(Dataset, Texts); 3],
    /// Articles that are on file; others are in the texts.
    written: u64,
    buffered: (u64, usize),
    rows: u64,
    content: ContentHasher,
}

impl Hdf5Articles {
    /// Makes room for the articles of `rows` rows in `file`, which is at `path`.
    pub(super) fn create(path: &Path, file: File, rows: u64) -> Result<Self, FormatError> {
        let made = || {
            let group = file.create_group_builder().obj_track_times(false).create(GROUP)?;
            let dtype = raw::text_type()?;
            let column = |key| {
                let dataset = raw::create_dataset(&group, key, &dtype, &[rows], &Storage::Late)?;
                Ok::<_, hdf5::Error>((dataset, Texts::default()))
            };
            let [id, title, url] = KEYS;
            Ok::<_, hdf5::Error>([column(id)?, column(title)?, column(url)?])
        };
        let columns = made().map_err(failed("cannot be written", path))?;
        let (written, buffered, content) = (0, (0, 0), ContentHasher::default());
        Ok(Hdf5Articles { path: path.to_path_buf(), file, columns, written, buffered, rows, content })
    }

    fn flush(&mut self) -> Result<(), FormatError> {
        for (dataset, texts) in &mut self.columns {
            transfer::write_texts(dataset, self.written, texts).map_err(failed("cannot be written", &self.path))?;
            texts.clear();
        }
        self.written += self.buffered.0;
        self.buffered = (0, 0);
        Ok(())
    }
}

impl ArticleSink for Hdf5Articles {
    fn push(&mut self, article: Article<'_>) -> Result<(), FormatError> {
        let index = self.written + self.buffered.0;
        for (key, text) in [article.id, article.title, article.url].into_iter().enumerate() {
            if !self.columns[key].1.push(text) {
                let got = "text with a NUL in it, which HDF5 cannot hold; it".into();
                return Err(ArticlesError::WrongType { index, key: KEYS[key], got }.at(&self.path));
            }
            self.buffered.1 += text.len();
        }
        self.buffered.0 += 1;
        self.content.update(article);
        if self.buffered.0 == BATCH || self.buffered.1 >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> Result<ArticlesWritten, FormatError> {
        if self.buffered.0 > 0 {
            self.flush()?;
        }
        if self.written != self.rows {
            let what = format!("{} articles were written for {} rows", self.written, self.rows);
            return Err(FormatError::Container { path: self.path, what, hint: "this is a bug in embstore" });
        }
        // What closing the file meets would be lost.
        self.file.flush().map_err(failed("cannot be written", &self.path))?;
        Ok(self.content.written())
    }
}
