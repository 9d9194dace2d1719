//! Parquet: three string columns, small row groups so that neither side holds more than a few MiB.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
#[cfg(feature = "containers")]
use parquet::file::reader::RowGroupReader;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::record::Field;
use parquet::record::reader::RowIter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::Type;

use super::{Article, ArticleSink, ArticlesError, ArticlesWritten, KEYS};
use crate::checksum::Hasher;
use crate::error::FormatError;

/// Articles in a row group, of which one is held in memory.
const GROUP_ROWS: usize = 16_384;

pub(crate) fn read(file: File, visit: &mut dyn FnMut(Article<'_>) -> ControlFlow<()>) -> Result<u64, ArticlesError> {
    let reader = SerializedFileReader::new(file)?;
    let schema = reader.metadata().file_metadata().schema();
    let columns = schema.get_fields();
    let wanted = KEYS
        .into_iter()
        .map(|key| {
            columns.iter().find(|column| column.name() == key).cloned().ok_or_else(|| ArticlesError::MissingColumn {
                key,
                have: columns.iter().map(|column| column.name().to_string()).collect(),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let projection = Type::group_type_builder(schema.name()).with_fields(wanted).build()?;
    read_rows(reader.get_row_iter(Some(projection))?, visit)
}

/// The same for one row group of a file of [`ParquetArticles`].
#[cfg(feature = "containers")]
pub(crate) fn read_group(
    group: &dyn RowGroupReader,
    visit: &mut dyn FnMut(Article<'_>) -> ControlFlow<()>,
) -> Result<u64, ArticlesError> {
    read_rows(group.get_row_iter(None)?, visit)
}

fn read_rows(rows: RowIter<'_>, visit: &mut dyn FnMut(Article<'_>) -> ControlFlow<()>) -> Result<u64, ArticlesError> {
    let mut count = 0;
    for row in rows {
        let row = row?;
        let mut values = [const { String::new() }; 3];
        for (name, field) in row.get_column_iter() {
            let Some(key) = KEYS.iter().position(|key| key == name) else { continue };
            values[key] = text(field).ok_or_else(|| ArticlesError::WrongType {
                index: count,
                key: KEYS[key],
                got: if matches!(field, Field::Null) { "null".into() } else { field.to_string() },
            })?;
        }
        count += 1;
        let [id, title, url] = &values;
        if visit(Article { id, title, url }).is_break() {
            break;
        }
    }
    Ok(count)
}

/// Articles in a file of [`ParquetArticles`], as its footer tells.
///
/// # Errors
/// Where it is no Parquet file.
pub fn parquet_count(path: &Path) -> Result<u64, FormatError> {
    let file = File::open(path).map_err(FormatError::io("open", path))?;
    let reader = SerializedFileReader::new(file).map_err(|source| ArticlesError::Parquet(source).at(path))?;
    Ok(reader.metadata().file_metadata().num_rows().unsigned_abs())
}

fn text(field: &Field) -> Option<String> {
    match field {
        Field::Str(text) => Some(text.clone()),
        Field::Bytes(bytes) => String::from_utf8(bytes.data().to_vec()).ok(),
        Field::Byte(n) => Some(n.to_string()),
        Field::Short(n) => Some(n.to_string()),
        Field::Int(n) => Some(n.to_string()),
        Field::Long(n) => Some(n.to_string()),
        Field::UByte(n) => Some(n.to_string()),
        Field::UShort(n) => Some(n.to_string()),
        Field::UInt(n) => Some(n.to_string()),
        Field::ULong(n) => Some(n.to_string()),
        _ => None,
    }
}

/// The articles file of a store: `id`, `title`, `url`, required UTF-8 strings.
pub struct ParquetArticles {
    path: PathBuf,
    writer: SerializedFileWriter<Checksummed<BufWriter<File>>>,
    columns: [Column; 3],
    group_rows: usize,
    count: u64,
}

/// Texts of one column, laid end to end.
#[derive(Default)]
struct Column {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl ParquetArticles {
    /// Creates or replaces the file.
    ///
    /// # Errors
    /// Where it cannot be created.
    pub fn create(path: &Path) -> Result<Self, FormatError> {
        Self::in_groups(path, GROUP_ROWS)
    }

    /// The same, with this many articles in a row group, all of which are held in memory.
    pub(crate) fn in_groups(path: &Path, group_rows: usize) -> Result<Self, FormatError> {
        let file = File::create(path).map_err(FormatError::io("create", path))?;
        let out = Checksummed { inner: BufWriter::with_capacity(1 << 18, file), hasher: Hasher::default() };
        let writer = schema()
            .and_then(|schema| SerializedFileWriter::new(out, schema, Arc::new(properties())))
            .map_err(|source| ArticlesError::Parquet(source).at(path))?;
        Ok(ParquetArticles { path: path.to_path_buf(), writer, columns: Default::default(), group_rows, count: 0 })
    }

    fn write_group(&mut self) -> Result<(), parquet::errors::ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for column in &mut self.columns {
            // One allocation a column: every value is a slice of it.
            let bytes = Bytes::from(std::mem::take(&mut column.bytes));
            let mut start = 0;
            let values: Vec<ByteArray> = column
                .ends
                .drain(..)
                .map(|end| ByteArray::from(bytes.slice(std::mem::replace(&mut start, end)..end)))
                .collect();
            if let Some(mut writer) = group.next_column()? {
                writer.typed::<ByteArrayType>().write_batch(&values, None, None)?;
                writer.close()?;
            }
        }
        group.close().map(drop)
    }
}

fn schema() -> Result<Arc<Type>, parquet::errors::ParquetError> {
    parse_message_type(
        "message articles { required binary id (UTF8); required binary title (UTF8); required binary url (UTF8); }",
    )
    .map(Arc::new)
}

/// Ids, titles and addresses hardly repeat and are not searched: no dictionary, no statistics.
fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_created_by(concat!("embstore ", env!("CARGO_PKG_VERSION")).into())
        .build()
}

impl ArticleSink for ParquetArticles {
    fn push(&mut self, article: Article<'_>) -> Result<(), FormatError> {
        for (column, text) in self.columns.iter_mut().zip([article.id, article.title, article.url]) {
            column.bytes.extend_from_slice(text.as_bytes());
            column.ends.push(column.bytes.len());
        }
        self.count += 1;
        if self.columns[0].ends.len() >= self.group_rows {
            self.write_group().map_err(|source| ArticlesError::Parquet(source).at(&self.path))?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<ArticlesWritten, FormatError> {
        let path = self.path.clone();
        let failed = |source| ArticlesError::Parquet(source).at(&path);
        if !self.columns[0].ends.is_empty() {
            self.write_group().map_err(failed)?;
        }
        self.writer.finish().map_err(failed)?;
        let out = self.writer.inner_mut();
        out.flush().map_err(FormatError::io("write", &path))?;
        Ok(ArticlesWritten { count: self.count, checksum: out.hasher.checksum() })
    }
}

/// Measures what passes through.
struct Checksummed<W> {
    inner: W,
    hasher: Hasher,
}

impl<W: Write> Write for Checksummed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
