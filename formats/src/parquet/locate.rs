//! Where the rows of a Parquet file lie, from its footer.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};

use super::flat::FlatColumns;
use super::list::ListColumn;
use super::values::Chunk;
use super::{broken, schema};
use crate::array::ArrayMeta;
use crate::articles::KEYS;
use crate::dtype::{ByteOrder, Dtype, Order};
use crate::error::FormatError;
use crate::format::{ArrayKind, Fields, LocateOptions, Located};
use crate::rows::Payload;
use crate::tabular::{
    Choice, Column, FlatRows, ForwardRows, Groups, METADATA_KEY, Rows, choose, own_metadata, plain_fields,
};

/// A file whose footer has been read and checked.
struct Table {
    path: PathBuf,
    len: u64,
    footer: ParquetMetaData,
    columns: Vec<Column>,
    /// The first leaf of every column.
    leaves: Vec<usize>,
    rows: u64,
}

impl Table {
    fn open(path: &Path) -> Result<Self, FormatError> {
        let file = File::open(path).map_err(FormatError::io("open", path))?;
        let len = file.metadata().map_err(FormatError::io("read", path))?.len();
        let footer = ParquetMetaDataReader::new().parse_and_finish(&file).map_err(broken(path))?;
        let (columns, leaves) = schema::columns(footer.file_metadata()).into_iter().unzip();
        let rows = footer
            .row_groups()
            .iter()
            .try_fold(0u64, |sum, group| sum.checked_add(u64::try_from(group.num_rows()).ok()?));
        let told = u64::try_from(footer.file_metadata().num_rows()).ok();
        let Some(rows) = rows.filter(|rows| Some(*rows) == told) else {
            return Err(damaged(path, "its row groups have not the rows that its footer tells".into()));
        };
        Ok(Table { path: path.to_path_buf(), len, footer, columns, leaves, rows })
    }

    /// The row groups that have rows.
    fn groups(&self) -> impl Iterator<Item = &RowGroupMetaData> {
        self.footer.row_groups().iter().filter(|group| group.num_rows() > 0)
    }

    fn fields(&self) -> (Fields, ArrayKind) {
        let pairs = self.footer.file_metadata().key_value_metadata().into_iter().flatten();
        plain_fields(pairs.filter_map(|pair| Some((pair.key.as_str(), pair.value.as_deref()?))))
    }

    fn own_metadata(&self) -> Option<&str> {
        let mut pairs = self.footer.file_metadata().key_value_metadata().into_iter().flatten();
        pairs.find(|pair| pair.key == METADATA_KEY)?.value.as_deref()
    }

    /// Where a column chunk lies, which is within the file.
    fn chunk(&self, column: &ColumnChunkMetaData) -> Result<Chunk, FormatError> {
        let name = column.column_path().string();
        let compression = column.compression();
        if let Compression::BROTLI(_) | Compression::LZO = compression {
            let codec = if compression == Compression::LZO { "LZO" } else { "Brotli" };
            return Err(FormatError::NoRows {
                path: self.path.clone(),
                what: format!("the column {name:?} is compressed with {codec}, which embstore does not read"),
                hint: "write it again: pq.write_table(pq.read_table(FILE), NEW, compression=\"zstd\")".into(),
            });
        }
        // Some writers tell a dictionary at byte 0, where none can be.
        let dictionary = column.dictionary_page_offset().filter(|offset| *offset > 0);
        let start = dictionary.unwrap_or(column.data_page_offset()).min(column.data_page_offset());
        let (start, len) = (u64::try_from(start), u64::try_from(column.compressed_size()));
        let values = u64::try_from(column.num_values());
        match (start, len, values) {
            (Ok(start), Ok(len), Ok(values))
                if start >= 4 && start.checked_add(len).is_some_and(|end| end <= self.len) =>
            {
                Ok(Chunk { start, len, values, has_dictionary: dictionary.is_some(), compression })
            }
            _ => Err(damaged(&self.path, format!("the column {name:?} reaches past the end of the file"))),
        }
    }

    fn chunk_of(&self, group: &RowGroupMetaData, leaf: usize) -> Result<Chunk, FormatError> {
        let column = group.columns().get(leaf);
        self.chunk(column.ok_or_else(|| damaged(&self.path, "a row group lacks a column".into()))?)
    }

    fn array(&self, cols: u64, dtype: Dtype) -> Result<ArrayMeta, FormatError> {
        let array = ArrayMeta::new(self.rows, cols, dtype, ByteOrder::Little, Order::C);
        array.ok_or_else(|| damaged(&self.path, format!("claims {} rows of {cols} columns", self.rows)))
    }

    fn cut(&self, array: &ArrayMeta) -> Result<Groups, FormatError> {
        let rows: Vec<u64> = self.groups().map(|group| group.num_rows().unsigned_abs()).collect();
        Groups::new(&self.path, self.len, array, &rows)
    }

    fn flat(&self, columns: &[usize], dtype: Dtype, scratch: &Path) -> Result<(ArrayMeta, Payload), FormatError> {
        let array = self.array(columns.len() as u64, dtype)?;
        let groups = self.cut(&array)?;
        let descr = self.footer.file_metadata().schema_descr();
        let leaves: Vec<usize> = columns.iter().map(|column| self.leaves[*column]).collect();
        let mut chunks = Vec::with_capacity(leaves.len() * groups.starts.len());
        let mut has_nulls = None;
        for (index, group) in self.groups().enumerate() {
            for (column, leaf) in leaves.iter().enumerate() {
                let chunk = self.chunk_of(group, *leaf)?;
                if chunk.values != group.num_rows().unsigned_abs() {
                    let name = descr.column(*leaf).path().string();
                    let rows = group.num_rows();
                    return Err(damaged(&self.path, format!("{name:?} has {} values for {rows} rows", chunk.values)));
                }
                let statistics = group.column(*leaf).statistics();
                if statistics.and_then(|statistics| statistics.null_count_opt()).is_some_and(|nulls| nulls > 0) {
                    has_nulls.get_or_insert((index, column));
                }
                chunks.push(chunk);
            }
        }
        let source = FlatColumns {
            path: self.path.clone(),
            scratch: scratch.to_path_buf(),
            dtype,
            leaves: leaves.iter().map(|leaf| descr.column(*leaf)).collect(),
            chunks,
        };
        if let Some((group, column)) = has_nulls {
            let (_, rows) = groups.group_of(groups.starts[group]);
            source.find_null(group, column, rows)?;
        }
        let rows = FlatRows::new(self.path.clone(), array, groups, Box::new(source));
        Ok((array, Payload::Blocks(Arc::new(rows))))
    }

    fn list(&self, column: usize, told: Option<u64>, dtype: Dtype) -> Result<(ArrayMeta, Payload), FormatError> {
        let leaf = self.leaves[column];
        let chunks = self.groups().map(|group| self.chunk_of(group, leaf)).collect::<Result<Vec<_>, _>>()?;
        let values: Vec<u64> = chunks.iter().map(|chunk| chunk.values).collect();
        let mut source = ListColumn {
            path: self.path.clone(),
            name: self.columns[column].name.clone(),
            leaf: self.footer.file_metadata().schema_descr().column(leaf),
            width: 0,
            chunks,
        };
        let rows: Vec<u64> = self.groups().map(|group| group.num_rows().unsigned_abs()).collect();
        source.width = match (told, rows.first(), values.first()) {
            (Some(width), ..) => width,
            (None, Some(&rows), Some(&values)) if values % rows == 0 => values / rows,
            (None, Some(&rows), _) => source.first_width(rows)?,
            (None, ..) => 0,
        };
        if source.width == 0 {
            return Err(FormatError::NoRows {
                path: self.path.clone(),
                what: format!("the lists of the column {:?} are empty, or there are none", source.name),
                hint: "write it again with its rows".into(),
            });
        }
        let array = self.array(source.width, dtype)?;
        let groups = self.cut(&array)?;
        for (group, (&rows, &values)) in rows.iter().zip(&values).enumerate() {
            if rows.checked_mul(source.width) != Some(values) {
                let (_, of) = groups.group_of(groups.starts[group]);
                source.find_error(group, of)?;
                let what = format!("{:?} claims {values} values for {rows} rows", source.name);
                return Err(damaged(&self.path, what));
            }
        }
        Ok((array, Payload::Blocks(Arc::new(ForwardRows::new(array, groups, Box::new(source))))))
    }
}

pub(super) fn locate(path: &Path, options: &LocateOptions) -> Result<Located, FormatError> {
    let table = Table::open(path)?;
    let Choice { rows, dtype, notes, others } = choose(path, &table.columns, &options.key)?;
    let (array, payload) = match &rows {
        Rows::Columns(columns) => table.flat(columns, dtype, &options.scratch)?,
        Rows::List(column, width) => table.list(*column, *width, dtype)?,
    };
    if let Some(text) = table.own_metadata() {
        let fields = own_metadata(path, text)?;
        let has_articles = KEYS.iter().all(|key| table.columns.iter().any(|column| column.name == *key));
        let articles = if has_articles { table.rows } else { 0 };
        return Ok(Located { kind: ArrayKind::Store { articles }, array, payload, fields, notes });
    }
    let (mut fields, kind) = table.fields();
    if !others.is_empty() {
        fields.insert("columns".into(), others.into());
    }
    Ok(Located { kind, array, payload, fields, notes })
}

pub(super) fn describe(path: &Path) -> Result<Fields, FormatError> {
    let table = Table::open(path)?;
    Ok(crate::tabular::describe(table.rows, &table.columns, table.fields().0))
}

fn damaged(path: &Path, what: String) -> FormatError {
    FormatError::Container { path: path.to_path_buf(), what, hint: "the file is damaged: fetch it again" }
}
