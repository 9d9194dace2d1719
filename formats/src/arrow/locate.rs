//! Where the rows of an Arrow file lie.

use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use arrow_schema::{DataType, Schema};

use super::batch::{Array, Batch};
use super::buffer::{self, Place};
use super::damaged;
use super::flat::FlatColumns;
use super::footer::Table;
use super::list::{ListColumn, unpacked};
use crate::array::ArrayMeta;
use crate::articles::KEYS;
use crate::dtype::{ByteOrder, Dtype, Order};
use crate::error::FormatError;
use crate::format::{ArrayKind, Fields, LocateOptions, Located};
use crate::region::{Region, Regions};
use crate::rows::Payload;
use crate::tabular::{
    Choice, Column, FlatRows, ForwardRows, Groups, Kind, METADATA_KEY, Rows, choose, own_metadata, plain_fields,
};

pub(super) fn locate(path: &Path, options: &LocateOptions) -> Result<Located, FormatError> {
    let mut choice = None;
    let table = Table::open(path, |schema| {
        let chosen = choose(path, &columns(schema), &options.key)?;
        let wanted = match &chosen.rows {
            Rows::Columns(columns) => columns.clone(),
            Rows::List(column, _) => vec![*column],
        };
        choice = Some(chosen);
        Ok(wanted)
    })?;
    let Some(Choice { rows, dtype, notes, others }) = choice else { return Err(damaged(path, "has no schema")) };
    let (array, payload) = match &rows {
        Rows::Columns(columns) => flat(&table, columns, dtype, &options.scratch)?,
        Rows::List(column, width) => list(&table, *column, *width, dtype)?,
    };
    if let Some((_, text)) = table.metadata.iter().find(|(key, _)| key == METADATA_KEY) {
        let fields = own_metadata(path, text)?;
        let has_articles = KEYS.iter().all(|key| table.schema.field_with_name(key).is_ok());
        let articles = if has_articles { array.rows() } else { 0 };
        return Ok(Located { kind: ArrayKind::Store { articles }, array, payload, fields, notes });
    }
    let (mut fields, kind) = plain(&table);
    if !others.is_empty() {
        fields.insert("columns".into(), others.into());
    }
    Ok(Located { kind, array, payload, fields, notes })
}

pub(super) fn describe(path: &Path) -> Result<Fields, FormatError> {
    let table = Table::open(path, |_| Ok(Vec::new()))?;
    Ok(crate::tabular::describe(table.rows()?, &columns(&table.schema), plain(&table).0))
}

fn plain(table: &Table) -> (Fields, ArrayKind) {
    plain_fields(table.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())))
}

fn columns(schema: &Schema) -> Vec<Column> {
    let kind = |data_type: &DataType| match data_type {
        DataType::List(child) | DataType::LargeList(child) => {
            float(child.data_type()).map(|dtype| Kind::List(dtype, None))
        }
        DataType::FixedSizeList(child, width) => {
            float(child.data_type()).map(|dtype| Kind::List(dtype, u64::try_from(*width).ok()))
        }
        other => float(other).map(Kind::Float),
    };
    let column = |field: &arrow_schema::Field| Column {
        name: field.name().clone(),
        kind: kind(field.data_type()).unwrap_or_else(|| Kind::Other(field.data_type().to_string())),
    };
    schema.fields().iter().map(|field| column(field)).collect()
}

fn float(data_type: &DataType) -> Option<Dtype> {
    match data_type {
        DataType::Float16 => Some(Dtype::Float16),
        DataType::Float32 => Some(Dtype::Float32),
        DataType::Float64 => Some(Dtype::Float64),
        _ => None,
    }
}

fn whole(table: &Table, cols: u64, dtype: Dtype) -> Result<(ArrayMeta, Groups), FormatError> {
    let rows = table.rows()?;
    let array = ArrayMeta::new(rows, cols, dtype, ByteOrder::Little, Order::C);
    let array = array.ok_or_else(|| damaged(&table.path, format!("claims {rows} rows of {cols} columns")))?;
    let rows: Vec<u64> = table.batches.iter().map(|batch| batch.rows).collect();
    Ok((array, Groups::new(&table.path, table.len, &array, &rows)?))
}

fn flat(table: &Table, columns: &[usize], dtype: Dtype, scratch: &Path) -> Result<(ArrayMeta, Payload), FormatError> {
    let (array, groups) = whole(table, columns.len() as u64, dtype)?;
    let size = dtype.size() as u64;
    let mut batches = Vec::with_capacity(table.batches.len());
    for (batch, first) in table.batches.iter().zip(&groups.starts) {
        let mut places = Vec::with_capacity(columns.len());
        for (array, column) in batch.columns.iter().zip(columns) {
            let name = table.schema.field(*column).name();
            let ([(length, nulls)], [validity, values]) = (array.nodes.as_slice(), array.buffers.as_slice()) else {
                return Err(damaged(&table.path, format!("the column {name:?} has other buffers than its type needs")));
            };
            if *nulls > 0
                && let Some(row) = first_null(table, batch, *validity, batch.rows)?
            {
                return Err(no_rows(table, format!("the column {name:?} is null in row {}", first + row)));
            }
            if *length != batch.rows || (batch.codec.is_none() && values.len < batch.rows * size) {
                return Err(damaged(&table.path, format!("the column {name:?} has fewer values than rows")));
            }
            places.push(*values);
        }
        batches.push((batch.codec, places));
    }
    let source = FlatColumns { path: table.path.clone(), scratch: scratch.to_path_buf(), size, batches };
    let rows = FlatRows::new(table.path.clone(), array, groups, Box::new(source));
    Ok((array, Payload::Blocks(Arc::new(rows))))
}

fn list(table: &Table, column: usize, told: Option<u64>, dtype: Dtype) -> Result<(ArrayMeta, Payload), FormatError> {
    let (name, offsets) = (table.schema.field(column).name(), offset_bytes(table.schema.field(column).data_type()));
    let lists = table.batches.iter().map(|batch| List::of(table, name, batch, offsets));
    let lists = lists.collect::<Result<Vec<List<'_>>, FormatError>>()?;
    let width = match (told, lists.first()) {
        (Some(width), _) => width,
        (None, Some(first)) => first.width()?,
        (None, None) => 0,
    };
    if width == 0 {
        return Err(no_rows(table, format!("the lists of the column {name:?} are empty, or there are none")));
    }
    let (array, groups) = whole(table, width, dtype)?;
    let mut batches = Vec::with_capacity(lists.len());
    for (list, first) in lists.iter().zip(&groups.starts) {
        let before = list.check(width, *first)?.checked_mul(dtype.size() as u64);
        let before = before.ok_or_else(|| damaged(&table.path, "a list begins past the end"))?;
        let needs = before.checked_add(list.batch.rows * array.row_bytes());
        if list.batch.codec.is_none() && needs.is_none_or(|needs| needs > list.values.len) {
            return Err(damaged(&table.path, format!("the column {name:?} has fewer values than its rows need")));
        }
        batches.push((list.batch.codec, list.values, before));
    }
    if batches.iter().all(|(codec, ..)| codec.is_none()) {
        let region = |((_, place, before), rows): ((_, Place, u64), u64)| {
            let part = ArrayMeta::new(rows, width, dtype, ByteOrder::Little, Order::C)?;
            Some(Region { path: table.path.clone(), offset: place.offset + before, array: part })
        };
        let rows = table.batches.iter().map(|batch| batch.rows);
        let parts: Option<Vec<Region>> = batches.into_iter().zip(rows).map(region).collect();
        let regions = parts.and_then(|parts| Regions::new(array, parts));
        let regions = regions.ok_or_else(|| damaged(&table.path, "claims more rows than there are"))?;
        return Ok((array, Payload::Raw(regions)));
    }
    let source = ListColumn { path: table.path.clone(), row_bytes: array.row_bytes(), batches };
    Ok((array, Payload::Blocks(Arc::new(ForwardRows::new(array, groups, Box::new(source))))))
}

/// Bytes of an offset, where lists have them.
fn offset_bytes(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::List(_) => Some(4),
        DataType::LargeList(_) => Some(8),
        _ => None,
    }
}

/// The lists of one batch.
struct List<'a> {
    table: &'a Table,
    name: &'a str,
    batch: &'a Batch,
    validity: Place,
    /// Where the values of every row begin and end, and the bytes of such a number.
    offsets: Option<(Place, usize)>,
    element_validity: Place,
    values: Place,
    nulls: (u64, u64),
    elements: u64,
}

impl<'a> List<'a> {
    fn of(table: &'a Table, name: &'a str, batch: &'a Batch, offset_bytes: Option<usize>) -> Result<Self, FormatError> {
        let bad = || damaged(&table.path, format!("the column {name:?} has other buffers than its type needs"));
        let Some(Array { nodes, buffers }) = batch.columns.first() else { return Err(bad()) };
        let &[(rows, nulls), (elements, element_nulls)] = nodes.as_slice() else { return Err(bad()) };
        let (validity, offsets, element_validity, values) = match (buffers.as_slice(), offset_bytes) {
            (&[validity, elements, values], None) => (validity, None, elements, values),
            (&[validity, offsets, elements, values], Some(bytes)) => {
                (validity, Some((offsets, bytes)), elements, values)
            }
            _ => return Err(bad()),
        };
        if rows != batch.rows {
            return Err(bad());
        }
        let nulls = (nulls, element_nulls);
        Ok(List { table, name, batch, validity, offsets, element_validity, values, nulls, elements })
    }

    /// Hands the offsets to `visit`, which may stop.
    fn each_offset(&self, visit: &mut dyn FnMut(u64, u64) -> bool) -> Result<(), FormatError> {
        let Some((place, bytes)) = self.offsets else { return Ok(()) };
        let path = &self.table.path;
        let file = self.table.file.try_clone().map_err(FormatError::io("open", path))?;
        let mut reader = buffer::open(file, place, self.batch.codec).map_err(FormatError::io("read", path))?;
        let mut offset = [0; 8];
        for row in 0..=self.batch.rows {
            let ends = |error| damaged(path, format!("the offsets of {:?} end early: {error}", self.name));
            reader.read_exact(&mut offset[..bytes]).map_err(ends)?;
            if !visit(row, u64::from_le_bytes(offset)) {
                break;
            }
        }
        Ok(())
    }

    /// Values of the first row.
    fn width(&self) -> Result<u64, FormatError> {
        let (mut first, mut second) = (0, 0);
        self.each_offset(&mut |row, offset| {
            if row == 0 {
                first = offset;
            }
            second = offset;
            row == 0
        })?;
        Ok(second.saturating_sub(first))
    }

    /// Checks that every row has `width` values and none is null. Returns how many values come before the first row.
    fn check(&self, width: u64, first_row: u64) -> Result<u64, FormatError> {
        let (table, name) = (self.table, self.name);
        if self.nulls.0 > 0
            && let Some(row) = first_null(table, self.batch, self.validity, self.batch.rows)?
        {
            return Err(no_rows(table, format!("row {} of the column {name:?} is null", first_row + row)));
        }
        let (mut start, mut last, mut ragged) = (0, 0, None);
        self.each_offset(&mut |row, offset| {
            if row == 0 {
                start = offset;
            } else if offset.checked_sub(last) != Some(width) {
                ragged = Some((row - 1, offset.wrapping_sub(last)));
            }
            last = offset;
            ragged.is_none()
        })?;
        if let Some((row, has)) = ragged {
            let row = first_row + row;
            return Err(no_rows(
                table,
                format!("row {row} of the column {name:?} has {has} values, the first {width}"),
            ));
        }
        let needed = self.batch.rows.checked_mul(width).and_then(|values| values.checked_add(start));
        if needed.is_none_or(|needed| needed > self.elements) {
            return Err(damaged(&table.path, format!("the column {name:?} has fewer values than its rows need")));
        }
        if self.nulls.1 > 0
            && let Some(element) = first_null(table, self.batch, self.element_validity, self.elements)?
            && (start..start + self.batch.rows * width).contains(&element)
        {
            let (row, at) = (first_row + (element - start) / width, (element - start) % width);
            let what = format!("row {row} of the column {name:?} has a null, value {at} of {width}");
            return Err(no_rows(table, what));
        }
        Ok(start)
    }
}

/// The first bit that is not set.
fn first_null(table: &Table, batch: &Batch, validity: Place, len: u64) -> Result<Option<u64>, FormatError> {
    if validity.len == 0 {
        return Ok(None);
    }
    let path = &table.path;
    let file = table.file.try_clone().map_err(FormatError::io("open", path))?;
    let reader = buffer::open(file, validity, batch.codec).map_err(FormatError::io("read", path))?;
    for (at, byte) in (0u64..).step_by(8).zip(BufReader::new(reader).bytes()) {
        let byte = byte.map_err(|error| unpacked(path, 0, &error))?;
        let null = at + u64::from(byte.trailing_ones());
        if at >= len {
            break;
        }
        if byte != 0xff {
            return Ok(Some(null).filter(|null| *null < len));
        }
    }
    Ok(None)
}

fn no_rows(table: &Table, what: String) -> FormatError {
    FormatError::NoRows {
        path: table.path.clone(),
        what,
        hint: "every row needs as many values, none of them null: drop that row, or embed it again".into(),
    }
}
