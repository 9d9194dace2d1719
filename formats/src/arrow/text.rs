//! The articles in an Arrow file: three columns of text.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

use arrow_schema::{DataType, Schema};

use super::batch::Batch;
use super::buffer;
use super::damaged;
use super::footer::Table;
use crate::articles::{Article, ArticlesError, KEYS};
use crate::error::FormatError;

/// The longest text.
const MOST_BYTES: u64 = 64 << 20;

/// Hands every article to `visit`; one is held at a time.
pub(super) fn articles(path: &Path, visit: &mut dyn FnMut(Article<'_>) -> ControlFlow<()>) -> Result<u64, FormatError> {
    let mut offset_bytes = [4; 3];
    let table = Table::open(path, |schema| {
        let mut wanted = Vec::new();
        for (key, bytes) in KEYS.into_iter().zip(&mut offset_bytes) {
            let (index, field) = schema.column_with_name(key).ok_or_else(|| missing(path, key, schema))?;
            *bytes = match field.data_type() {
                DataType::Utf8 => 4,
                DataType::LargeUtf8 => 8,
                other => return Err(ArticlesError::WrongType { index: 0, key, got: other.to_string() }.at(path)),
            };
            wanted.push(index);
        }
        Ok(wanted)
    })?;
    let mut count = 0;
    for batch in &table.batches {
        let mut texts = Vec::new();
        for (at, bytes) in offset_bytes.into_iter().enumerate() {
            texts.push(Texts::open(&table, batch, at, bytes)?);
        }
        let mut values = [const { String::new() }; 3];
        for _ in 0..batch.rows {
            for (texts, value) in texts.iter_mut().zip(&mut values) {
                texts.next(value).map_err(|error| damaged(path, format!("article {count} cannot be read: {error}")))?;
            }
            count += 1;
            let [id, title, url] = &values;
            if visit(Article { id, title, url }).is_break() {
                return Ok(count);
            }
        }
    }
    Ok(count)
}

fn missing(path: &Path, key: &'static str, schema: &Schema) -> FormatError {
    let have = schema.fields().iter().map(|field| field.name().clone()).collect();
    ArticlesError::MissingColumn { key, have }.at(path)
}

/// A column of texts in one batch.
struct Texts {
    offsets: Box<dyn Read + Send>,
    bytes: Box<dyn Read + Send>,
    offset_bytes: usize,
    last: u64,
}

impl Texts {
    fn open(table: &Table, batch: &Batch, column: usize, offset_bytes: usize) -> Result<Self, FormatError> {
        let array = &batch.columns[column];
        let ([(rows, nulls)], [_, offsets, bytes]) = (array.nodes.as_slice(), array.buffers.as_slice()) else {
            return Err(damaged(&table.path, "a column has other buffers than its type needs"));
        };
        if *nulls > 0 || *rows != batch.rows {
            let got = "null".into();
            return Err(ArticlesError::WrongType { index: 0, key: KEYS[column], got }.at(&table.path));
        }
        let open = |place| {
            let file = table.file.try_clone().map_err(FormatError::io("open", &table.path))?;
            buffer::open(file, place, batch.codec).map_err(FormatError::io("read", &table.path))
        };
        let mut texts = Texts { offsets: open(*offsets)?, bytes: open(*bytes)?, offset_bytes, last: 0 };
        let failed = |error| damaged(&table.path, format!("a column of texts cannot be read: {error}"));
        let first = texts.offset().map_err(failed)?;
        buffer::skip(&mut texts.bytes, first).map_err(failed)?;
        texts.last = first;
        Ok(texts)
    }

    fn offset(&mut self) -> io::Result<u64> {
        let mut offset = [0; 8];
        self.offsets.read_exact(&mut offset[..self.offset_bytes])?;
        Ok(u64::from_le_bytes(offset))
    }

    fn next(&mut self, value: &mut String) -> io::Result<()> {
        let end = self.offset()?;
        let len = end.checked_sub(self.last).filter(|len| *len <= MOST_BYTES);
        let len = len.ok_or_else(|| io::Error::other(format!("a text ends at byte {end}")))?;
        value.clear();
        if (&mut self.bytes).take(len).read_to_string(value)? as u64 != len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.last = end;
        Ok(())
    }
}
