//! The values of a column chunk as bytes, read forward.

use std::fs::File;
use std::sync::Arc;

use parquet::basic::{Compression, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{AsBytes, DoubleType, FixedLenByteArray, FixedLenByteArrayType, FloatType};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::ColumnDescPtr;

use super::pages::{PageFile, Pages};

/// Values that are decoded at once: they stay in the second-level cache until they are copied.
pub(super) const BATCH: usize = 1 << 16;

/// Where a column chunk lies; what the library's own record holds beside it would take ten times the memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    pub(super) start: u64,
    pub(super) len: u64,
    pub(super) values: u64,
    pub(super) has_dictionary: bool,
    pub(super) compression: Compression,
}

/// Reads one column chunk.
pub(super) struct Values {
    typed: Typed,
    /// Of the last [`Values::read`].
    pub(super) definitions: Vec<i16>,
    pub(super) repetitions: Vec<i16>,
}

enum Typed {
    Half(ColumnReaderImpl<FixedLenByteArrayType>, Vec<FixedLenByteArray>),
    Float(ColumnReaderImpl<FloatType>, Vec<f32>),
    Double(ColumnReaderImpl<DoubleType>, Vec<f64>),
}

/// What was read: rows, values that are not null, and levels, which are values and nulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Got {
    pub(super) rows: usize,
    pub(super) values: usize,
    pub(super) levels: usize,
}

impl Values {
    /// The chunk of the column `leaf` in a row group of `rows` rows.
    pub(super) fn open(file: &Arc<File>, leaf: &ColumnDescPtr, chunk: &Chunk, rows: u64) -> Result<Self> {
        let (start, len) = (signed(chunk.start)?, signed(chunk.len)?);
        let metadata = ColumnChunkMetaData::builder(Arc::clone(leaf))
            .set_compression(chunk.compression)
            .set_num_values(signed(chunk.values)?)
            .set_total_compressed_size(len)
            .set_data_page_offset(start)
            .set_dictionary_page_offset(chunk.has_dictionary.then_some(start))
            .build()?;
        let rows = usize::try_from(rows).map_err(|_| ParquetError::General("too many rows".into()))?;
        let size = match leaf.physical_type() {
            Physical::DOUBLE => 8,
            Physical::FLOAT => 4,
            _ => 2,
        };
        let file = Arc::new(PageFile::new(file, chunk.values, size));
        let pages = Pages::new(SerializedPageReader::new(file, &metadata, rows, None)?, size);
        let typed = match get_column_reader(Arc::clone(leaf), Box::new(pages)) {
            ColumnReader::FixedLenByteArrayColumnReader(reader) => Typed::Half(reader, Vec::new()),
            ColumnReader::FloatColumnReader(reader) => Typed::Float(reader, Vec::new()),
            ColumnReader::DoubleColumnReader(reader) => Typed::Double(reader, Vec::new()),
            _ => return Err(ParquetError::General("is no column of floats".into())),
        };
        Ok(Values { typed, definitions: Vec::new(), repetitions: Vec::new() })
    }

    /// Reads up to `rows` rows and appends their values to `bytes`, little-endian.
    pub(super) fn read(&mut self, rows: usize, bytes: &mut Vec<u8>) -> Result<Got> {
        self.definitions.clear();
        self.repetitions.clear();
        let (definitions, repetitions) = (Some(&mut self.definitions), Some(&mut self.repetitions));
        let (rows, values, levels) = match &mut self.typed {
            Typed::Float(reader, values) => {
                values.clear();
                let got = reader.read_records(rows, definitions, repetitions, values)?;
                bytes.extend_from_slice(bytemuck::cast_slice(values));
                got
            }
            Typed::Double(reader, values) => {
                values.clear();
                let got = reader.read_records(rows, definitions, repetitions, values)?;
                bytes.extend_from_slice(bytemuck::cast_slice(values));
                got
            }
            Typed::Half(reader, values) => {
                values.clear();
                let got = reader.read_records(rows, definitions, repetitions, values)?;
                for value in values {
                    match value.as_bytes() {
                        &[low, high] => bytes.extend_from_slice(&[low, high]),
                        other => return Err(ParquetError::General(format!("a float16 has {} bytes", other.len()))),
                    }
                }
                got
            }
        };
        Ok(Got { rows, values, levels })
    }

    /// Leaves out up to `rows` rows; returns how many there were.
    pub(super) fn skip(&mut self, rows: usize) -> Result<usize> {
        match &mut self.typed {
            Typed::Half(reader, _) => reader.skip_records(rows),
            Typed::Float(reader, _) => reader.skip_records(rows),
            Typed::Double(reader, _) => reader.skip_records(rows),
        }
    }
}

fn signed(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|_| ParquetError::General("past the largest file offset".into()))
}
