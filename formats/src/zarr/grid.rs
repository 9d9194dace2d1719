//! An array of rows, as its document describes it: shape, chunks, and how a chunk is encoded.

use std::path::{Path, PathBuf};

use half::{bf16, f16};
use serde_json::{Map, Value};

use crate::array::ArrayMeta;
use crate::dtype::{ByteOrder, Dtype, Order};
use crate::error::FormatError;

use super::codecs::{Codecs, Refused, Sharding};
use super::node::{NotRows, Unusable, broken};

/// A two-dimensional float array.
#[derive(Clone, Debug)]
pub(super) struct ArrayDoc {
    pub(super) array: ArrayMeta,
    /// Rows and columns of what lies in one file.
    pub(super) chunk: [u64; 2],
    /// How a chunk is encoded; that of a sharded array is the inner one.
    pub(super) codecs: Codecs,
    pub(super) sharding: Option<Sharding>,
    /// One element in the array's byte order, for chunks that are missing.
    pub(super) fill: Vec<u8>,
    keys: Keys,
}

/// How chunk files are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Keys {
    /// `c` and the separator in front.
    prefixed: bool,
    separator: char,
}

impl ArrayDoc {
    /// From a `zarr.json`.
    pub(super) fn v3(path: &Path, document: &Map<String, Value>) -> Result<Self, Unusable> {
        let broken = |what: &str| Unusable::Broken(broken(path, what.into()));
        let shape = numbers(document.get("shape")).ok_or_else(|| broken("shape is no list of sizes"))?;
        let data_type = named(document.get("data_type")).ok_or_else(|| broken("data_type is missing"))?.0;
        let summary = format!("{data_type} {}", dims(&shape));
        let refuse = |what: String, hint: &str| Unusable::not_rows(&summary, what, hint);
        let dtype = Dtype::from_name(data_type).ok_or_else(|| wrong_dtype(&summary, data_type))?;
        let &[rows, cols] = shape.as_slice() else { return Err(wrong_shape(&summary, &shape)) };
        let (grid, configuration) = named(document.get("chunk_grid")).ok_or_else(|| broken("chunk_grid is missing"))?;
        if grid != "regular" {
            return Err(refuse(format!("its chunk grid {grid:?} is not \"regular\""), REWRITE));
        }
        let chunk = numbers(configuration.and_then(|c| c.get("chunk_shape")))
            .and_then(|chunk| <[u64; 2]>::try_from(chunk).ok())
            .filter(|chunk| !chunk.contains(&0))
            .ok_or_else(|| broken("chunk_shape is not two sizes from 1"))?;
        let keys = v3_keys(document.get("chunk_key_encoding"), &summary)?;
        let transformers = document.get("storage_transformers").and_then(Value::as_array);
        if transformers.is_some_and(|list| !list.is_empty()) {
            return Err(refuse("it has storage transformers".into(), REWRITE));
        }
        let codecs = document.get("codecs").and_then(Value::as_array).ok_or_else(|| broken("codecs is no list"))?;
        let (codecs, sharding) = Codecs::v3(codecs).map_err(|why| why.at(path, &summary))?;
        if sharding.as_ref().is_some_and(|s| chunk[0] % s.chunk[0] != 0 || chunk[1] % s.chunk[1] != 0) {
            return Err(broken("the chunk_shape of the shards is no multiple of that of their chunks"));
        }
        let array = array_meta(&summary, [rows, cols], dtype, codecs.byte_order)?;
        let fill = fill(document.get("fill_value"), dtype, codecs.byte_order).ok_or_else(|| broken("fill_value"))?;
        Ok(ArrayDoc { array, chunk, codecs, sharding, fill, keys })
    }

    /// From a `.zarray`.
    pub(super) fn v2(path: &Path, document: &Map<String, Value>) -> Result<Self, Unusable> {
        let broken = |what: &str| Unusable::Broken(broken(path, what.into()));
        if document.get("zarr_format").and_then(Value::as_u64) != Some(2) {
            return Err(broken("zarr_format is not 2"));
        }
        let shape = numbers(document.get("shape")).ok_or_else(|| broken("shape is no list of sizes"))?;
        let descr = document.get("dtype").ok_or_else(|| broken("dtype is missing"))?;
        let descr = descr.as_str().map_or_else(|| descr.to_string(), String::from);
        let summary = format!("{descr} {}", dims(&shape));
        let (byte_order, code) = match descr.split_at_checked(1) {
            Some(("<", code)) => (ByteOrder::Little, code),
            Some((">", code)) => (ByteOrder::Big, code),
            _ => (ByteOrder::Little, descr.as_str()),
        };
        let dtype = Dtype::from_numpy_code(code).ok_or_else(|| wrong_dtype(&summary, &descr))?;
        let &[rows, cols] = shape.as_slice() else { return Err(wrong_shape(&summary, &shape)) };
        let chunk = numbers(document.get("chunks"))
            .and_then(|chunk| <[u64; 2]>::try_from(chunk).ok())
            .filter(|chunk| !chunk.contains(&0))
            .ok_or_else(|| broken("chunks is not two sizes from 1"))?;
        let separator = match document.get("dimension_separator").map(Value::as_str) {
            None | Some(Some(".")) => '.',
            Some(Some("/")) => '/',
            Some(_) => return Err(broken("dimension_separator is neither . nor /")),
        };
        let codecs = Codecs::v2(document, byte_order).map_err(|why| why.at(path, &summary))?;
        let array = array_meta(&summary, [rows, cols], dtype, byte_order)?;
        let fill = fill(document.get("fill_value"), dtype, byte_order).ok_or_else(|| broken("fill_value"))?;
        let keys = Keys { prefixed: false, separator };
        Ok(ArrayDoc { array, chunk, codecs, sharding: None, fill, keys })
    }

    /// Rows and columns of what is encoded at once.
    pub(super) fn inner_chunk(&self) -> [u64; 2] {
        self.sharding.as_ref().map_or(self.chunk, |sharding| sharding.chunk)
    }

    /// The file of a chunk, or shard.
    pub(super) fn file(&self, folder: &Path, row: u64, col: u64) -> PathBuf {
        let Keys { prefixed, separator } = self.keys;
        let name = format!("{row}{separator}{col}");
        folder.join(if prefixed { format!("c{separator}{name}") } else { name })
    }
}

impl Unusable {
    pub(super) fn not_rows(summary: &str, what: String, hint: &str) -> Self {
        Unusable::NotRows(NotRows { summary: summary.into(), what, hint: hint.into() })
    }
}

impl Refused {
    fn at(self, path: &Path, summary: &str) -> Unusable {
        match self {
            Refused::Broken(what) => Unusable::Broken(broken(path, what)),
            Refused::Unknown(what) => Unusable::not_rows(summary, what, REWRITE),
        }
    }
}

const REWRITE: &str =
    "write it again in Python with zarr's own chunks and compressors: zarr.save(path, embeddings=a[:])";

fn wrong_dtype(summary: &str, dtype: &str) -> Unusable {
    let what = format!("the elements are {dtype}, not float16, bfloat16, float32 or float64");
    Unusable::not_rows(summary, what, "convert it in Python: zarr.save(path, embeddings=a[:].astype(\"float32\"))")
}

fn wrong_shape(summary: &str, shape: &[u64]) -> Unusable {
    let what = format!("the shape is {}, not two-dimensional", dims(shape));
    Unusable::not_rows(summary, what, "give one row an item: zarr.save(path, embeddings=a[:].reshape(len(a), -1))")
}

fn array_meta(summary: &str, [rows, cols]: [u64; 2], dtype: Dtype, order: ByteOrder) -> Result<ArrayMeta, Unusable> {
    ArrayMeta::new(rows, cols, dtype, order, Order::C).ok_or_else(|| {
        Unusable::not_rows(summary, format!("the shape ({rows}, {cols}) is larger than any file"), REWRITE)
    })
}

/// Names the array that is meant, for an error.
pub(super) fn no_rows(path: &Path, name: &str, why: NotRows) -> FormatError {
    let what = if name.is_empty() { why.what } else { format!("array {name:?}: {}", why.what) };
    FormatError::NoRows { path: path.to_path_buf(), what, hint: why.hint }
}

pub(super) fn dims(shape: &[u64]) -> String {
    format!("({})", shape.iter().map(u64::to_string).collect::<Vec<_>>().join(", "))
}

/// A list of sizes.
pub(super) fn numbers(value: Option<&Value>) -> Option<Vec<u64>> {
    value?.as_array()?.iter().map(Value::as_u64).collect()
}

/// An extension of version 3: a bare name, or a name with its configuration.
pub(super) fn named(value: Option<&Value>) -> Option<(&str, Option<&Map<String, Value>>)> {
    match value? {
        Value::String(name) => Some((name, None)),
        Value::Object(object) => {
            Some((object.get("name")?.as_str()?, object.get("configuration").and_then(Value::as_object)))
        }
        _ => None,
    }
}

fn v3_keys(encoding: Option<&Value>, summary: &str) -> Result<Keys, Unusable> {
    let unknown = || Unusable::not_rows(summary, "its chunk_key_encoding is unknown".into(), REWRITE);
    let (name, configuration) = named(encoding).ok_or_else(unknown)?;
    let (prefixed, default) = match name {
        "default" => (true, '/'),
        "v2" => (false, '.'),
        _ => return Err(unknown()),
    };
    let separator = match configuration.and_then(|c| c.get("separator")).map(Value::as_str) {
        None => default,
        Some(Some(".")) => '.',
        Some(Some("/")) => '/',
        Some(_) => return Err(unknown()),
    };
    Ok(Keys { prefixed, separator })
}

/// One element: a number, the name of a constant, or the bits in hexadecimal.
fn fill(value: Option<&Value>, dtype: Dtype, order: ByteOrder) -> Option<Vec<u8>> {
    let number = match value {
        None | Some(Value::Null) => 0.0,
        Some(Value::Number(number)) => number.as_f64()?,
        Some(Value::String(text)) => match text.as_str() {
            "NaN" => f64::NAN,
            "Infinity" => f64::INFINITY,
            "-Infinity" => f64::NEG_INFINITY,
            text => {
                let bits = u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()?;
                let bytes = bits.to_be_bytes();
                let (unused, bytes) = bytes.split_at(8 - dtype.size());
                return unused.iter().all(|byte| *byte == 0).then(|| ordered(bytes.to_vec(), order));
            }
        },
        Some(_) => return None,
    };
    let bytes = match dtype {
        Dtype::Float16 => f16::from_f64(number).to_be_bytes().to_vec(),
        Dtype::Bfloat16 => bf16::from_f64(number).to_be_bytes().to_vec(),
        Dtype::Float32 => (number as f32).to_be_bytes().to_vec(),
        Dtype::Float64 => number.to_be_bytes().to_vec(),
    };
    Some(ordered(bytes, order))
}

fn ordered(mut big: Vec<u8>, order: ByteOrder) -> Vec<u8> {
    if order == ByteOrder::Little {
        big.reverse();
    }
    big
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fill_values_of_every_spelling() {
        let f32s = |value: Value| {
            fill(Some(&value), Dtype::Float32, ByteOrder::Little)
                .map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four")))
        };
        assert_eq!(f32s(json!(1.5)), Some(1.5));
        assert_eq!(f32s(json!("-Infinity")), Some(f32::NEG_INFINITY));
        assert_eq!(f32s(json!("0x3f800000")), Some(1.0));
        assert_eq!(f32s(json!("0x13f800000")), None, "too many bits");
        assert_eq!(f32s(json!([1])), None);
        assert_eq!(fill(None, Dtype::Float16, ByteOrder::Big), Some(vec![0, 0]));
        assert_eq!(fill(Some(&json!(1)), Dtype::Float16, ByteOrder::Big), Some(vec![0x3c, 0]));
    }

    #[test]
    fn chunk_files_by_their_encoding() {
        let keys = |value: Value| v3_keys(Some(&value), "").ok();
        let slash = json!({"name": "default", "configuration": {"separator": "/"}});
        assert_eq!(keys(slash), Some(Keys { prefixed: true, separator: '/' }));
        assert_eq!(keys(json!({"name": "v2"})), Some(Keys { prefixed: false, separator: '.' }));
        assert_eq!(keys(json!({"name": "default", "configuration": {"separator": "../"}})), None);
    }
}
