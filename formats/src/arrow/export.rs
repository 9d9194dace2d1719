//! A store as an Arrow file.
//!
//! A chunk is a record batch, encoded whole on any thread: the articles of its rows are read from the staged file. In row
//! order, batches are appended as they are; the footer follows in the end.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow_array::types::{Float16Type, Float32Type};
use arrow_array::{ArrayRef, FixedSizeListArray, PrimitiveArray, RecordBatch, builder::StringBuilder};
use arrow_buffer::{Buffer, ScalarBuffer};
use arrow_ipc::convert::{IpcSchemaEncoder, metadata_to_fb};
use arrow_ipc::writer::{DictionaryTracker, FileWriter, IpcDataGenerator, IpcWriteOptions, write_message};
use arrow_ipc::{Block, CompressionType, FooterBuilder, MetadataVersion};
use arrow_schema::{ArrowError, DataType, Schema, SchemaRef};
use serde_json::Value;

use super::MAGIC;
use crate::array::ArrayMeta;
use crate::articles::{ArticleSink, ArticlesWritten};
use crate::dtype::Dtype;
use crate::error::FormatError;
use crate::format::Fields;
use crate::parquet::{StagedArticles, chunk_articles, staged_path};
use crate::tabular::{METADATA_KEY, chunk_rows, for_people, table_schema};
use crate::target::{ChunkSink, Codec, Layout, Parts, Target};

/// Rows of a record batch where nothing else is asked for, if they are not more bytes than this.
const CHUNK: (u64, u64) = (16_384, 16 << 20);
/// What ends the batches.
const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// An Arrow file under construction.
pub(super) struct ArrowExport {
    path: PathBuf,
    array: ArrayMeta,
    chunk_rows: u64,
    options: IpcWriteOptions,
    file: File,
    /// The columns, once it is known whether there are articles.
    schema: OnceLock<SchemaRef>,
    state: Mutex<State>,
}

/// Where the file ends so far, and where its batches lie.
#[derive(Default)]
struct State {
    end: u64,
    blocks: Vec<Block>,
}

impl ArrowExport {
    pub(super) fn create(path: &Path, array: ArrayMeta, layout: &Layout) -> Result<Self, FormatError> {
        let chunk_rows = rows_of_chunk(path, &array, layout)?;
        let options = options(path, layout)?;
        match fs::remove_file(staged_path(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(FormatError::io("remove", &staged_path(path))(error));
            }
            _ => {}
        }
        let file = File::create(path).map_err(FormatError::io("create", path))?;
        let (schema, state) = (OnceLock::new(), Mutex::default());
        Ok(ArrowExport { path: path.to_path_buf(), array, chunk_rows, options, file, schema, state })
    }

    fn failed(&self) -> impl Fn(ArrowError) -> FormatError {
        let path = self.path.clone();
        move |error| match error {
            ArrowError::IoError(_, source) => FormatError::Io { action: "write", path: path.clone(), source },
            other => FormatError::Container {
                path: path.clone(),
                what: format!("cannot be written: {other}"),
                hint: "check the disk, then run it again",
            },
        }
    }

    fn schema(&self) -> &SchemaRef {
        self.schema.get_or_init(|| Arc::new(table_schema(&self.array, staged_path(&self.path).exists())))
    }

    fn batch(&self, chunk: u64, bytes: &[u8]) -> Result<RecordBatch, FormatError> {
        let schema = self.schema();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
        if schema.fields().len() > 1 {
            let mut texts: [StringBuilder; 3] = Default::default();
            chunk_articles(&staged_path(&self.path), chunk, &mut |article| {
                for (column, text) in texts.iter_mut().zip([article.id, article.title, article.url]) {
                    column.append_value(text);
                }
            })?;
            columns.extend(texts.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        }
        let values = Buffer::from(bytes);
        let len = bytes.len() / self.array.dtype.size();
        let values: ArrayRef = match self.array.dtype {
            Dtype::Float16 => Arc::new(PrimitiveArray::<Float16Type>::new(ScalarBuffer::new(values, 0, len), None)),
            _ => Arc::new(PrimitiveArray::<Float32Type>::new(ScalarBuffer::new(values, 0, len), None)),
        };
        let lists = match schema.fields().last().map(|field| field.data_type()) {
            Some(DataType::FixedSizeList(element, width)) => {
                FixedSizeListArray::try_new(Arc::clone(element), *width, values, None).map_err(self.failed())?
            }
            _ => return Err(self.failed()(ArrowError::SchemaError("has no lists".into()))),
        };
        columns.push(Arc::new(lists));
        RecordBatch::try_new(Arc::clone(schema), columns).map_err(self.failed())
    }

    /// The magic number and the schema.
    fn head(&self) -> Result<Vec<u8>, FormatError> {
        let writer = FileWriter::try_new_with_options(Vec::new(), self.schema(), self.options.clone());
        writer.map(|writer| writer.get_ref().clone()).map_err(self.failed())
    }

    fn footer(&self, metadata: &Fields, blocks: &[Block]) -> Vec<u8> {
        let people: HashMap<String, String> = for_people(metadata).into_iter().collect();
        let schema = Schema::clone(self.schema()).with_metadata(people);
        let own = HashMap::from([(METADATA_KEY.to_string(), Value::Object(metadata.clone()).to_string())]);
        let mut builder = IpcSchemaEncoder::new().schema_to_fb(&schema);
        builder.reset();
        let no_dictionaries = builder.create_vector::<Block>(&[]);
        let batches = builder.create_vector(blocks);
        let schema = IpcSchemaEncoder::new().schema_to_fb_offset(&mut builder, &schema);
        let own = metadata_to_fb(&mut builder, &own.into());
        let mut footer = FooterBuilder::new(&mut builder);
        footer.add_version(MetadataVersion::V5);
        footer.add_schema(schema);
        footer.add_dictionaries(no_dictionaries);
        footer.add_recordBatches(batches);
        footer.add_custom_metadata(own);
        let root = footer.finish();
        builder.finish(root, None);
        builder.finished_data().to_vec()
    }

    fn append(&self, state: &mut State, bytes: &[u8]) -> Result<(), FormatError> {
        self.file.write_all_at(bytes, state.end).map_err(FormatError::io("write", &self.path))?;
        state.end += bytes.len() as u64;
        Ok(())
    }

    fn begin(&self, state: &mut State) -> Result<(), FormatError> {
        if state.end == 0 {
            self.append(state, &self.head()?)?;
        }
        Ok(())
    }
}

impl Target for ArrowExport {
    fn parts(&self) -> Parts<'_> {
        Parts::Chunks(self)
    }

    fn wants_articles_first(&self) -> bool {
        true
    }

    fn articles(&self) -> Result<Box<dyn ArticleSink>, FormatError> {
        Ok(Box::new(StagedArticles::create(&staged_path(&self.path), self.chunk_rows)?))
    }

    fn finish(&self, metadata: &Fields, _articles: Option<&ArticlesWritten>) -> Result<(), FormatError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.begin(&mut state)?;
        let footer = self.footer(metadata, &state.blocks);
        let mut tail = END.to_vec();
        tail.extend_from_slice(&footer);
        tail.extend_from_slice(&u32::try_from(footer.len()).unwrap_or(u32::MAX).to_le_bytes());
        tail.extend_from_slice(MAGIC);
        self.append(&mut state, &tail)?;
        let staged = staged_path(&self.path);
        if staged.exists() {
            fs::remove_file(&staged).map_err(FormatError::io("remove", &staged))?;
        }
        Ok(())
    }
}

impl ChunkSink for ArrowExport {
    fn array(&self) -> &ArrayMeta {
        &self.array
    }

    fn chunk_rows(&self) -> u64 {
        self.chunk_rows
    }

    fn in_order(&self) -> bool {
        true
    }

    fn encode(&self, chunk: u64, bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
        let batch = self.batch(chunk, bytes)?;
        let mut dictionaries = DictionaryTracker::new(true);
        let encoded =
            IpcDataGenerator::default().encode(&batch, &mut dictionaries, &self.options, &mut Default::default());
        drop(batch);
        let (_, message) = encoded.map_err(self.failed())?;
        let mut out = Vec::with_capacity(message.ipc_message.len() + message.arrow_data.len() + 128);
        write_message(&mut out, message, &self.options).map_err(self.failed())?;
        out.flush().map_err(FormatError::io("write", &self.path))?;
        Ok(out)
    }

    fn store(&self, _chunk: u64, encoded: Vec<u8>) -> Result<(), FormatError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.begin(&mut state)?;
        // ff ff ff ff, then the length of the header with its padding.
        let header = encoded.get(4..8).map(|length| i32::from_le_bytes([length[0], length[1], length[2], length[3]]));
        let header = header.and_then(|length| length.checked_add(8)).unwrap_or(0);
        let body = encoded.len() as i64 - i64::from(header);
        let offset = i64::try_from(state.end).unwrap_or(i64::MAX);
        state.blocks.push(Block::new(offset, header, body));
        self.append(&mut state, &encoded)
    }

    fn sync(&self, _chunks: &[u64]) -> Result<(), FormatError> {
        self.file.sync_data().map_err(FormatError::io("sync", &self.path))
    }
}

/// Rows of a chunk, if there is nothing that the format has no place for.
pub(super) fn rows_of_chunk(path: &Path, array: &ArrayMeta, layout: &Layout) -> Result<u64, FormatError> {
    chunk_rows(path, "arrow", array, layout, CHUNK)
}

pub(super) fn options(path: &Path, layout: &Layout) -> Result<IpcWriteOptions, FormatError> {
    let refuse = |what: String| FormatError::Layout {
        path: path.to_path_buf(),
        what,
        hint: "choose another --compression: zstd or lz4",
    };
    let options = IpcWriteOptions::default();
    let Some(asked) = layout.compression else { return Ok(options) };
    let codec = match asked.codec {
        Codec::Zstd => CompressionType::ZSTD,
        Codec::Lz4 => CompressionType::LZ4_FRAME,
        other => return Err(refuse(format!("arrow is not compressed with {}", other.name()))),
    };
    let level = asked.level.filter(|_| asked.codec == Codec::Zstd).map(i32::from);
    options
        .try_with_compression(Some(codec))
        .and_then(|options| options.try_with_compression_level(level))
        .map_err(|error| refuse(error.to_string()))
}
