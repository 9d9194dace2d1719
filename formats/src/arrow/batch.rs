//! The header of a record batch: which buffers belong to which column.
//!
//! A batch lists its arrays (length, nulls) and its buffers (offset, length) depth first, without saying which array a
//! buffer belongs to: that follows from the types of all columns before it.

use arrow_ipc::{CompressionType, MessageHeader, MetadataVersion, root_as_message};
use arrow_schema::{DataType, Schema, UnionMode};

use super::buffer::{Codec, Place};

/// Types nest this deep at most.
const DEPTH: usize = 64;

/// One record batch.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) rows: u64,
    pub(super) codec: Option<Codec>,
    /// The wanted columns, in the order in which they were asked for.
    pub(super) columns: Vec<Array>,
}

/// The arrays of one column, depth first, and their buffers.
#[derive(Debug)]
pub(super) struct Array {
    /// Lengths and counts of nulls.
    pub(super) nodes: Vec<(u64, u64)>,
    pub(super) buffers: Vec<Place>,
}

/// How far the lists have been walked.
#[derive(Clone, Copy, Default)]
struct Cursor {
    node: usize,
    buffer: usize,
    variadic: usize,
}

/// Parses a message whose body of `len` bytes starts at byte `body` of the file.
pub(super) fn parse(
    message: &[u8],
    schema: &Schema,
    wanted: &[usize],
    version: MetadataVersion,
    body: u64,
    len: u64,
) -> Result<Batch, String> {
    // Before version 0.15 there were no ff ff ff ff before the length.
    let aligned;
    let flatbuffer = if message.starts_with(&[0xff; 4]) {
        &message[8..]
    } else {
        aligned = message[4..].to_vec();
        &aligned
    };
    let message = root_as_message(flatbuffer).map_err(|error| format!("has a bad header: {error}"))?;
    if message.header_type() != MessageHeader::RecordBatch {
        return Err(format!("is {:?}", message.header_type()));
    }
    let batch = message.header_as_record_batch().ok_or("has no header")?;
    let rows = u64::try_from(batch.length()).map_err(|_| "has a negative length")?;
    let codec = match batch.compression().map(|compression| compression.codec()) {
        None => None,
        Some(CompressionType::LZ4_FRAME) => Some(Codec::Lz4),
        Some(CompressionType::ZSTD) => Some(Codec::Zstd),
        Some(other) => return Err(format!("is compressed with {other:?}")),
    };
    let nodes = batch.nodes().ok_or("has no arrays")?;
    let buffers = batch.buffers().ok_or("has no buffers")?;
    let counts = batch.variadicBufferCounts();
    let variadic = |at: usize| counts.filter(|counts| at < counts.len()).map(|counts| counts.get(at));
    let mut columns: Vec<Option<Array>> = wanted.iter().map(|_| None).collect();
    let mut cursor = Cursor::default();
    // Thousands of columns may be wanted, nearly always in their order.
    let mut place = vec![None; schema.fields().len()];
    wanted.iter().enumerate().for_each(|(at, column)| place[*column] = Some(at));
    for (field, place) in schema.fields().iter().zip(place) {
        let start = cursor;
        walk(field.data_type(), &mut cursor, version, &variadic, 0)?;
        if cursor.node > nodes.len() || cursor.buffer > buffers.len() {
            return Err("has fewer buffers than its columns need".into());
        }
        let Some(at) = place else { continue };
        let count = |number: i64| u64::try_from(number).map_err(|_| "has a negative length".to_string());
        let nodes = (start.node..cursor.node)
            .map(|node| Ok((count(nodes.get(node).length())?, count(nodes.get(node).null_count())?)))
            .collect::<Result<_, String>>()?;
        let buffers = (start.buffer..cursor.buffer)
            .map(|buffer| {
                let buffer = buffers.get(buffer);
                let (offset, size) = (count(buffer.offset())?, count(buffer.length())?);
                match offset.checked_add(size) {
                    Some(end) if end <= len => Ok(Place { offset: body + offset, len: size }),
                    _ => Err("has a buffer that reaches past its end".into()),
                }
            })
            .collect::<Result<_, String>>()?;
        columns[at] = Some(Array { nodes, buffers });
    }
    let columns: Option<Vec<Array>> = columns.into_iter().collect();
    Ok(Batch { rows, codec, columns: columns.ok_or("lacks a column")? })
}

/// Steps over the arrays and buffers of a column.
fn walk(
    data_type: &DataType,
    cursor: &mut Cursor,
    version: MetadataVersion,
    variadic: &dyn Fn(usize) -> Option<i64>,
    depth: usize,
) -> Result<(), String> {
    if depth > DEPTH {
        return Err("has types that nest too deep".into());
    }
    cursor.node += 1;
    let children: Vec<&DataType> = match data_type {
        DataType::Null => Vec::new(),
        DataType::Utf8 | DataType::Binary | DataType::LargeUtf8 | DataType::LargeBinary => {
            cursor.buffer += 3;
            Vec::new()
        }
        DataType::Utf8View | DataType::BinaryView => {
            let more = variadic(cursor.variadic).and_then(|count| usize::try_from(count).ok());
            cursor.variadic += 1;
            let more = more.and_then(|more| cursor.buffer.checked_add(2)?.checked_add(more));
            cursor.buffer = more.ok_or("does not say how many buffers a column has")?;
            Vec::new()
        }
        DataType::List(child) | DataType::LargeList(child) | DataType::Map(child, _) => {
            cursor.buffer += 2;
            vec![child.data_type()]
        }
        DataType::ListView(child) | DataType::LargeListView(child) => {
            cursor.buffer += 3;
            vec![child.data_type()]
        }
        DataType::FixedSizeList(child, _) => {
            cursor.buffer += 1;
            vec![child.data_type()]
        }
        DataType::Struct(fields) => {
            cursor.buffer += 1;
            fields.iter().map(|field| field.data_type()).collect()
        }
        DataType::Union(fields, mode) => {
            let validity = usize::from(version < MetadataVersion::V5);
            cursor.buffer += validity + if *mode == UnionMode::Dense { 2 } else { 1 };
            fields.iter().map(|(_, field)| field.data_type()).collect()
        }
        DataType::RunEndEncoded(ends, values) => vec![ends.data_type(), values.data_type()],
        // A dictionary's indices are a column of integers; everything else has bits of validity and values.
        _ => {
            cursor.buffer += 2;
            Vec::new()
        }
    };
    children.into_iter().try_for_each(|child| walk(child, cursor, version, variadic, depth + 1))
}
