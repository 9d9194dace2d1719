//! A store as a Parquet file.
//!
//! A chunk is a row group. Its rows are encoded on any thread as a Parquet file of their own in memory; in row order,
//! their column chunk is then spliced into the file as it is, behind those of the articles, which lie encoded in the
//! staged file.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema};
use parquet::basic::{Compression, ConvertedType, GzipLevel, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{ByteArray, FixedLenByteArray, FixedLenByteArrayType, FloatType};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{KeyValue, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::reader::ChunkReader;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};
use serde_json::Value;

use super::articles::{StagedArticles, staged_path};
use crate::array::ArrayMeta;
use crate::articles::{ArticleSink, ArticlesWritten, KEYS};
use crate::dtype::Dtype;
use crate::error::FormatError;
use crate::format::{Fields, LocateOptions};
use crate::tabular::{METADATA_KEY, chunk_rows, for_people, table_schema};
use crate::target::{ChunkSink, Codec, Layout, Parts, Target};

/// Rows of a row group where nothing else is asked for, if they are not more bytes than this.
const CHUNK: (u64, u64) = (16_384, 32 << 20);
/// Values that are handed to the encoder at once.
const BATCH: usize = 1 << 16;

/// A Parquet file under construction.
pub(super) struct ParquetExport {
    path: PathBuf,
    array: ArrayMeta,
    chunk_rows: u64,
    properties: WriterPropertiesPtr,
    file: File,
    state: Mutex<Option<State>>,
}

struct State {
    writer: SerializedFileWriter<File>,
    /// The staged articles with their footer, where there are any.
    articles: Option<(File, ParquetMetaData)>,
}

impl ParquetExport {
    pub(super) fn create(path: &Path, array: ArrayMeta, layout: &Layout) -> std::result::Result<Self, FormatError> {
        let chunk_rows = rows_of_chunk(path, &array, layout)?;
        let compression = compression(path, layout)?;
        // Embeddings are noise to a dictionary, and nobody searches them by their smallest value.
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_created_by(concat!("embstore ", env!("CARGO_PKG_VERSION")).into())
            .build();
        match fs::remove_file(staged_path(path)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(FormatError::io("remove", &staged_path(path))(error));
            }
            _ => {}
        }
        let file = File::create(path).map_err(FormatError::io("create", path))?;
        Ok(ParquetExport {
            path: path.to_path_buf(),
            array,
            chunk_rows,
            properties: Arc::new(properties),
            file,
            state: Mutex::new(None),
        })
    }

    fn failed(&self) -> impl Fn(ParquetError) -> FormatError {
        let path = self.path.clone();
        move |error| match error {
            ParquetError::External(source) => match source.downcast::<std::io::Error>() {
                Ok(source) => FormatError::Io { action: "write", path: path.clone(), source: *source },
                Err(other) => cannot_write(&path, &other.to_string()),
            },
            other => cannot_write(&path, &other.to_string()),
        }
    }

    /// Works on the file, which is begun once it is known whether there are articles.
    fn with_state(&self, work: impl FnOnce(&mut State) -> Result<()>) -> std::result::Result<(), FormatError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_none() {
            *state = Some(self.begin()?);
        }
        match state.as_mut() {
            Some(state) => work(state).map_err(self.failed()),
            None => Ok(()),
        }
    }

    fn begin(&self) -> std::result::Result<State, FormatError> {
        let staged = staged_path(&self.path);
        let articles = match File::open(&staged) {
            Ok(file) => {
                let footer = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
                let footer = footer.parse_and_finish(&file).map_err(super::broken(&staged))?;
                Some((file, footer))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(FormatError::io("open", &staged)(error)),
        };
        let file = self.file.try_clone().map_err(FormatError::io("open", &self.path))?;
        let writer = schema(self.array.dtype, articles.is_some())
            .and_then(|schema| SerializedFileWriter::new(file, schema, Arc::clone(&self.properties)))
            .map_err(self.failed())?;
        Ok(State { writer, articles })
    }

    /// A Parquet file of one row group with the embeddings alone.
    fn encode_rows(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let (cols, size) = (self.array.cols() as usize, self.array.dtype.size());
        let schema = schema(self.array.dtype, false)?;
        let out = Vec::with_capacity(bytes.len() + bytes.len() / 64 + (1 << 16));
        let mut writer = SerializedFileWriter::new(out, schema, Arc::clone(&self.properties))?;
        let mut group = writer.next_row_group()?;
        if let Some(mut column) = group.next_column()? {
            let batch = (BATCH / cols).max(1) * cols;
            let definitions = vec![1; batch];
            let repetitions: Vec<i16> = (0..batch).map(|value| i16::from(value % cols != 0)).collect();
            for bytes in bytes.chunks(batch * size) {
                let len = bytes.len() / size;
                let levels = (Some(&definitions[..len]), Some(&repetitions[..len]));
                if self.array.dtype == Dtype::Float16 {
                    let shared = Bytes::copy_from_slice(bytes);
                    let value = |at: usize| FixedLenByteArray::from(ByteArray::from(shared.slice(2 * at..2 * at + 2)));
                    let values: Vec<FixedLenByteArray> = (0..len).map(value).collect();
                    column.typed::<FixedLenByteArrayType>().write_batch(&values, levels.0, levels.1)?;
                } else {
                    // A copy, because the bytes need not be aligned.
                    let mut values = vec![0f32; len];
                    bytemuck::cast_slice_mut(&mut values).copy_from_slice(bytes);
                    column.typed::<FloatType>().write_batch(&values, levels.0, levels.1)?;
                }
            }
            column.close()?;
        }
        group.close()?;
        writer.into_inner()
    }
}

impl Target for ParquetExport {
    fn parts(&self) -> Parts<'_> {
        Parts::Chunks(self)
    }

    fn wants_articles_first(&self) -> bool {
        true
    }

    fn articles(&self) -> std::result::Result<Box<dyn ArticleSink>, FormatError> {
        Ok(Box::new(StagedArticles::create(&staged_path(&self.path), self.chunk_rows)?))
    }

    fn finish(&self, metadata: &Fields, _articles: Option<&ArticlesWritten>) -> std::result::Result<(), FormatError> {
        let text = Value::Object(metadata.clone()).to_string();
        let mut has_articles = false;
        self.with_state(|state| {
            has_articles = state.articles.is_some();
            // pyarrow looks for a table's metadata in here alone.
            let people: HashMap<String, String> = for_people(metadata).into_iter().collect();
            let arrow = encode_arrow_schema(&table_schema(&self.array, has_articles).with_metadata(people));
            let pairs = [(ARROW_SCHEMA_META_KEY.into(), arrow), (METADATA_KEY.into(), text)];
            for (key, value) in pairs.into_iter().chain(for_people(metadata)) {
                state.writer.append_key_value_metadata(KeyValue::new(key, value));
            }
            state.writer.finish().map(drop)
        })?;
        if has_articles {
            let staged = staged_path(&self.path);
            fs::remove_file(&staged).map_err(FormatError::io("remove", &staged))?;
        }
        Ok(())
    }
}

impl ChunkSink for ParquetExport {
    fn array(&self) -> &ArrayMeta {
        &self.array
    }

    fn chunk_rows(&self) -> u64 {
        self.chunk_rows
    }

    fn in_order(&self) -> bool {
        true
    }

    fn encode(&self, _chunk: u64, bytes: &[u8]) -> std::result::Result<Vec<u8>, FormatError> {
        self.encode_rows(bytes).map_err(self.failed())
    }

    fn store(&self, chunk: u64, encoded: Vec<u8>) -> std::result::Result<(), FormatError> {
        let encoded = Bytes::from(encoded);
        self.with_state(|state| {
            let footer = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
            let footer = footer.parse_and_finish(&encoded)?;
            let mut group = state.writer.next_row_group()?;
            if let Some((file, footer)) = &state.articles {
                let index = usize::try_from(chunk).unwrap_or(usize::MAX);
                splice(&mut group, file, footer, index)?;
            }
            splice(&mut group, &encoded, &footer, 0)?;
            group.close().map(drop)
        })
    }

    fn sync(&self, _chunks: &[u64]) -> std::result::Result<(), FormatError> {
        self.file.sync_data().map_err(FormatError::io("sync", &self.path))
    }
}

/// Appends all column chunks of a row group as they are.
fn splice<R: ChunkReader>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    from: &R,
    footer: &ParquetMetaData,
    index: usize,
) -> Result<()> {
    let source = footer.row_groups().get(index);
    let source = source.ok_or_else(|| ParquetError::General(format!("there are no articles of row group {index}")))?;
    for (column, metadata) in source.columns().iter().enumerate() {
        let offset_index = footer.page_index().and_then(|pages| pages.offset_index(index, column)).cloned();
        let close = ColumnCloseResult {
            bytes_written: metadata.compressed_size().unsigned_abs(),
            rows_written: source.num_rows().unsigned_abs(),
            metadata: metadata.clone(),
            bloom_filter: None,
            column_index: None,
            offset_index,
        };
        group.append_column(from, close)?;
    }
    Ok(())
}

fn cannot_write(path: &Path, what: &str) -> FormatError {
    FormatError::Container {
        path: path.to_path_buf(),
        what: format!("cannot be written: {what}"),
        hint: "check the disk, then run it again",
    }
}

fn schema(dtype: Dtype, with_articles: bool) -> Result<TypePtr> {
    let required = |name, physical| Type::primitive_type_builder(name, physical).with_repetition(Repetition::REQUIRED);
    let element = match dtype {
        Dtype::Float16 => required("element", Physical::FIXED_LEN_BYTE_ARRAY)
            .with_length(2)
            .with_logical_type(Some(LogicalType::Float16)),
        _ => required("element", Physical::FLOAT),
    };
    let list = Type::group_type_builder("list")
        .with_repetition(Repetition::REPEATED)
        .with_fields(vec![Arc::new(element.build()?)])
        .build()?;
    let embeddings = Type::group_type_builder(&LocateOptions::default().key)
        .with_repetition(Repetition::REQUIRED)
        .with_logical_type(Some(LogicalType::List))
        .with_fields(vec![Arc::new(list)])
        .build()?;
    let mut fields = Vec::new();
    if with_articles {
        for key in KEYS {
            // As the staged file has them.
            let text = required(key, Physical::BYTE_ARRAY).with_converted_type(ConvertedType::UTF8);
            fields.push(Arc::new(text.build()?));
        }
    }
    fields.push(Arc::new(embeddings));
    Ok(Arc::new(Type::group_type_builder("embstore").with_fields(fields).build()?))
}

/// Rows of a chunk, if there is nothing that the format has no place for.
pub(super) fn rows_of_chunk(path: &Path, array: &ArrayMeta, layout: &Layout) -> std::result::Result<u64, FormatError> {
    chunk_rows(path, "parquet", array, layout, CHUNK)
}

pub(super) fn compression(path: &Path, layout: &Layout) -> std::result::Result<Compression, FormatError> {
    let Some(asked) = layout.compression else { return Ok(Compression::UNCOMPRESSED) };
    let refuse = |what: String| FormatError::Layout {
        path: path.to_path_buf(),
        what,
        hint: "choose another --compression: zstd, deflate or lz4",
    };
    let level = |error: ParquetError| refuse(error.to_string());
    Ok(match (asked.codec, asked.level) {
        (Codec::Zstd, None) => Compression::ZSTD(ZstdLevel::default()),
        (Codec::Zstd, Some(number)) => Compression::ZSTD(ZstdLevel::try_new(number.into()).map_err(level)?),
        (Codec::Deflate, None) => Compression::GZIP(GzipLevel::default()),
        (Codec::Deflate, Some(number)) => Compression::GZIP(GzipLevel::try_new(number.into()).map_err(level)?),
        (Codec::Lz4, _) => Compression::LZ4_RAW,
        (Codec::BloscLz4 | Codec::BloscZstd, _) => {
            return Err(refuse(format!("parquet is not compressed with {}", asked.codec.name())));
        }
    })
}
