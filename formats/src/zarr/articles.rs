//! Articles as three arrays of strings in the group `articles`.
//!
//! ```text
//! a chunk:  16384 (u32) │ length (u32) │ UTF-8 │ length │ UTF-8 │ …     compressed with zstd
//! ```
//!
//! The last chunk is filled up with empty strings.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::articles::{Article, ArticleSink, ArticlesWritten, ContentHasher, KEYS};
use crate::error::FormatError;
use crate::format::Fields;
use crate::target::{Codec, Compression};

use super::codecs::{Refused, StringCodecs};
use super::document::{Items, NewArray, Version, write_group};
use super::grid::numbers;
use super::node::{broken, document_in, is_node};

/// The group.
pub(super) const ARTICLES: &str = "articles";

/// Articles in a chunk, of which one is held in memory.
const CHUNK: u64 = 16_384;

const COMPRESSION: Compression = Compression { codec: Codec::Zstd, level: Some(1) };

/// Writes them chunk by chunk.
pub(super) struct ZarrArticles {
    root: PathBuf,
    version: Version,
    /// Of each key, the strings of the chunk that is being gathered.
    columns: [Vec<u8>; 3],
    gathered: u64,
    chunks: u64,
    content: ContentHasher,
}

impl ZarrArticles {
    /// Begins anew, whatever an earlier run has left.
    pub(super) fn create(root: &Path, version: Version) -> Result<Self, FormatError> {
        let group = root.join(ARTICLES);
        match fs::remove_dir_all(&group) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(FormatError::io("remove", &group)(error));
            }
            _ => {}
        }
        for key in KEYS {
            let folder = group.join(key);
            fs::create_dir_all(&folder).map_err(FormatError::io("create", &folder))?;
        }
        write_group(&group, version, &Fields::new())?;
        let (columns, content) = (Default::default(), ContentHasher::default());
        Ok(ZarrArticles { root: root.to_path_buf(), version, columns, gathered: 0, chunks: 0, content })
    }

    fn write_chunk(&mut self) -> Result<(), FormatError> {
        for (key, column) in KEYS.iter().zip(&mut self.columns) {
            for _ in self.gathered..CHUNK {
                column.extend_from_slice(&0u32.to_le_bytes());
            }
            let path = chunk_file(&self.root.join(ARTICLES).join(key), self.version, self.chunks);
            super::store::create_folder_of(&path)?;
            column.splice(0..0, (CHUNK as u32).to_le_bytes());
            let encoded = zstd::bulk::compress(column, i32::from(COMPRESSION.level.unwrap_or(1)));
            let encoded = encoded.map_err(FormatError::io("compress", &path))?;
            fs::write(&path, encoded).map_err(FormatError::io("write", &path))?;
            column.clear();
        }
        self.gathered = 0;
        self.chunks += 1;
        Ok(())
    }
}

fn chunk_file(folder: &Path, version: Version, number: u64) -> PathBuf {
    match version {
        Version::V2 => folder.join(number.to_string()),
        Version::V3 => folder.join(format!("c/{number}")),
    }
}

impl ArticleSink for ZarrArticles {
    fn push(&mut self, article: Article<'_>) -> Result<(), FormatError> {
        self.content.update(article);
        for (column, text) in self.columns.iter_mut().zip([article.id, article.title, article.url]) {
            let len = u32::try_from(text.len())
                .map_err(|_| FormatError::io("write", &self.root.join(ARTICLES))(io::ErrorKind::FileTooLarge.into()))?;
            column.extend_from_slice(&len.to_le_bytes());
            column.extend_from_slice(text.as_bytes());
        }
        self.gathered += 1;
        if self.gathered == CHUNK { self.write_chunk() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> Result<ArticlesWritten, FormatError> {
        if self.gathered > 0 {
            self.write_chunk()?;
        }
        let written = self.content.written();
        let new = NewArray {
            shape: vec![written.count],
            file: vec![CHUNK],
            chunk: None,
            dimensions: &["row"],
            items: Items::Strings,
            compression: Some(COMPRESSION),
        };
        KEYS.iter().try_for_each(|key| new.write(&self.root.join(ARTICLES).join(key), self.version))?;
        Ok(written)
    }
}

/// How many articles a store has.
pub(super) fn count(root: &Path) -> Result<u64, FormatError> {
    if !is_node(&root.join(ARTICLES)) {
        return Ok(0);
    }
    Ok(columns(root)?[0].len)
}

/// Hands all of them to `visit`, chunk by chunk.
pub(super) fn read(root: &Path, visit: &mut dyn FnMut(Article<'_>) -> ControlFlow<()>) -> Result<u64, FormatError> {
    let [mut ids, mut titles, mut urls] = columns(root)?;
    for index in 0..ids.len {
        let article = Article { id: ids.next(index)?, title: titles.next(index)?, url: urls.next(index)? };
        if visit(article).is_break() {
            return Ok(index + 1);
        }
    }
    Ok(ids.len)
}

fn columns(root: &Path) -> Result<[Column; 3], FormatError> {
    let [ids, titles, urls] = KEYS.map(|key| Column::open(&root.join(ARTICLES).join(key)));
    let columns = [ids?, titles?, urls?];
    match columns.iter().find(|column| column.len != columns[0].len) {
        None => Ok(columns),
        Some(other) => {
            let what = format!("has {} articles, {} has {}", other.len, KEYS[0], columns[0].len);
            Err(broken(&other.folder, what))
        }
    }
}

/// An array of strings, read from its start.
struct Column {
    folder: PathBuf,
    version: Version,
    len: u64,
    chunk: u64,
    codecs: StringCodecs,
    /// The decoded chunk that the next string is in, and where in it.
    bytes: Vec<u8>,
    at: usize,
}

impl Column {
    fn open(folder: &Path) -> Result<Self, FormatError> {
        let (version, path, document) = match document_in(folder, "zarr.json")? {
            Some(document) => (Version::V3, folder.join("zarr.json"), document),
            None => {
                let document = document_in(folder, ".zarray")?;
                let document = document.ok_or_else(|| broken(folder, "has no array of strings".into()))?;
                (Version::V2, folder.join(".zarray"), document)
            }
        };
        let (len, chunk) = sizes(&document, version).ok_or_else(|| broken(&path, "is no list of strings".into()))?;
        let codecs = StringCodecs::of(&document).map_err(|why| match why {
            Refused::Broken(what) | Refused::Unknown(what) => broken(&path, what),
        })?;
        Ok(Column { folder: folder.to_path_buf(), version, len, chunk, codecs, bytes: Vec::new(), at: 0 })
    }

    /// The string number `index`; they are asked for in order.
    fn next(&mut self, index: u64) -> Result<&str, FormatError> {
        let path = || chunk_file(&self.folder, self.version, index / self.chunk);
        if index.is_multiple_of(self.chunk) {
            let path = path();
            let encoded = fs::read(&path).map_err(FormatError::io("read", &path))?;
            self.bytes = self.codecs.decode(encoded).map_err(|what| broken(&path, what))?;
            self.at = 4;
        }
        let text = self.bytes.get(self.at..).and_then(|rest| {
            let (len, rest) = rest.split_first_chunk()?;
            std::str::from_utf8(rest.get(..u32::from_le_bytes(*len) as usize)?).ok()
        });
        let text = text.ok_or_else(|| broken(&path(), format!("article {index} is no string")))?;
        self.at += 4 + text.len();
        Ok(text)
    }
}

/// Strings of the array and of a chunk.
fn sizes(document: &Map<String, Value>, version: Version) -> Option<(u64, u64)> {
    let chunks = match version {
        Version::V3 => document.get("chunk_grid")?.get("configuration")?.get("chunk_shape"),
        Version::V2 => document.get("chunks"),
    };
    match (numbers(document.get("shape"))?.as_slice(), numbers(chunks)?.as_slice()) {
        (&[len], &[chunk]) if chunk > 0 => Some((len, chunk)),
        _ => None,
    }
}
