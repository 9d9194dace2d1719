//! Attributes as plain values, and the metadata of a store in them.
//!
//! ```text
//! total_articles   int64                     embstore_keys    {"total_articles": "value", …, "chunk_info": "json", …}
//! model            UTF-8 text                                 every key in its order, and whether its attribute is the
//! chunk_info       JSON text                                  value itself or JSON text of it; written last
//! ```
//!
//! Texts are of variable length: they lie in the file's heap and may be longer than the 64 KiB of an object header. What
//! HDF5 has no type for (lists, objects, null), and text with a NUL in it, is JSON text.

use half::{bf16, f16};
use hdf5::{Attribute, Group, IndexType, IterationOrder, Location};
use serde_json::{Map, Number, Value};

use crate::dtype::{ByteOrder, Dtype};
use crate::format::Fields;

use super::raw::{self, Element};
use super::transfer;

/// The attribute that names the others and their kinds.
pub(super) const KEYS: &str = "embstore_keys";
const VALUE: &str = "value";
const JSON: &str = "json";

/// Attributes of an object that are read.
const MOST_ATTRIBUTES: usize = 1024;
/// Elements of an attribute that are read, if they are numbers.
const MOST_NUMBERS: usize = 1024;
/// Elements of an attribute that are read, if they are texts.
const MOST_TEXTS: usize = 64;
/// Bytes of an attribute's elements.
const MOST_BYTES: usize = 1 << 20;

/// The attributes of a group or dataset that are plain: numbers, texts, booleans and small arrays of them.
pub(super) fn read(object: &Location) -> hdf5::Result<Fields> {
    let mut names = Vec::new();
    object.find_attr(IndexType::Name, IterationOrder::Increasing, |name, _| {
        names.push(name.to_string());
        Ok((names.len() == MOST_ATTRIBUTES).then_some(()))
    })?;
    let value = |name: String| {
        let value = value(&object.attr(&name).ok()?)?;
        Some((name, value))
    };
    Ok(names.into_iter().filter_map(value).collect())
}

/// The value of an attribute; `None` where it is not plain, or large.
fn value(attribute: &Attribute) -> Option<Value> {
    let space = attribute.space().ok()?;
    if space.is_null() {
        return Some(Value::Null);
    }
    let dtype = attribute.dtype().ok()?;
    let (element, count) = (raw::element(&dtype), space.size());
    let values: Vec<Value> = match element {
        Element::Text => {
            transfer::attribute_texts(attribute, MOST_TEXTS).ok()?.iter().map(|text| lossy(text)).collect()
        }
        Element::Other(_) => return None,
        _ if count > MOST_NUMBERS => return None,
        _ => {
            let bytes = transfer::attribute_bytes(attribute, MOST_BYTES).ok()?;
            bytes.chunks_exact(dtype.size().max(1)).map(|bytes| plain(element, bytes)).collect()
        }
    };
    nested(&space.shape(), &mut values.into_iter())
}

fn lossy(text: &[u8]) -> Value {
    String::from_utf8_lossy(text).into_owned().into()
}

/// The values in the lists that a shape makes of them.
fn nested(shape: &[usize], values: &mut impl Iterator<Item = Value>) -> Option<Value> {
    match shape {
        [] => values.next(),
        [len, rest @ ..] => (0..*len).map(|_| nested(rest, values)).collect::<Option<Vec<_>>>().map(Value::Array),
    }
}

fn plain(element: Element, bytes: &[u8]) -> Value {
    let little = |order| {
        let mut bytes = bytes.to_vec();
        if order == ByteOrder::Big {
            bytes.reverse();
        }
        bytes
    };
    match element {
        Element::Integer { signed, order } => {
            let bytes = little(order);
            let sign = if signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
            let mut wide = [sign; 8];
            wide[..bytes.len()].copy_from_slice(&bytes);
            if signed { i64::from_le_bytes(wide).into() } else { u64::from_le_bytes(wide).into() }
        }
        Element::Float(dtype, order) => match (dtype, little(order).as_slice()) {
            (Dtype::Float16, &[a, b]) => float(f16::from_le_bytes([a, b]).to_f64()),
            (Dtype::Bfloat16, &[a, b]) => float(bf16::from_le_bytes([a, b]).to_f64()),
            (Dtype::Float32, &[a, b, c, d]) => float(f32::from_le_bytes([a, b, c, d]).into()),
            (_, bytes) => float(bytes.try_into().map_or(f64::NAN, f64::from_le_bytes)),
        },
        Element::Boolean => Value::Bool(bytes.iter().any(|byte| *byte != 0)),
        Element::FixedText => {
            // Padded with NULs or, as Fortran does, with spaces.
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            lossy(bytes[..end].trim_ascii_end())
        }
        Element::Text | Element::Other(_) => Value::Null,
    }
}

fn float(value: f64) -> Value {
    match Number::from_f64(value) {
        Some(number) => number.into(),
        None if value.is_nan() => "nan".into(),
        None if value > 0.0 => "inf".into(),
        None => "-inf".into(),
    }
}

/// Writes the metadata of a store, and the attribute that makes it a store last.
pub(super) fn write_metadata(root: &Group, metadata: &Fields) -> hdf5::Result<()> {
    let mut keys = Map::new();
    for (key, value) in metadata {
        let kind = if write_value(root, key, value)? { VALUE } else { JSON };
        keys.insert(key.clone(), kind.into());
    }
    transfer::write_attribute_text(root, KEYS, &Value::Object(keys).to_string())
}

/// Whether the attribute is the value itself, and not its JSON text.
fn write_value(root: &Group, key: &str, value: &Value) -> hdf5::Result<bool> {
    match value {
        Value::Bool(value) => root.new_attr::<bool>().create(key)?.write_scalar(value)?,
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), ..) => root.new_attr::<i64>().create(key)?.write_scalar(&value)?,
            (_, Some(value), _) => root.new_attr::<u64>().create(key)?.write_scalar(&value)?,
            (.., value) => root.new_attr::<f64>().create(key)?.write_scalar(&value.unwrap_or(f64::NAN))?,
        },
        Value::String(text) if !text.contains('\0') => transfer::write_attribute_text(root, key, text)?,
        other => {
            transfer::write_attribute_text(root, key, &other.to_string())?;
            return Ok(false);
        }
    }
    Ok(true)
}

/// The metadata of a store as it was written; `None` where the group holds none. What is wrong where it is damaged.
pub(super) fn read_metadata(root: &Group) -> Option<Result<Fields, String>> {
    let text = |name: &str| {
        let attribute = root.attr(name).ok()?;
        let texts = transfer::attribute_texts(&attribute, 1).ok()?;
        String::from_utf8(texts.into_iter().next()?).ok()
    };
    let keys: Map<String, Value> = serde_json::from_str(&text(KEYS)?).ok()?;
    let metadata = keys.into_iter().map(|(key, kind)| {
        let value = match kind.as_str() {
            Some(JSON) => text(&key).and_then(|text| serde_json::from_str(&text).ok()),
            _ => root.attr(&key).ok().as_ref().and_then(value),
        };
        let value = value.ok_or_else(|| format!("the attribute {key:?} is missing or damaged"))?;
        Ok((key, value))
    });
    Some(metadata.collect())
}
