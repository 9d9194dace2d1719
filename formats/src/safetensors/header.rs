//! The header, read strictly.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::FileExt;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::FormatError;
use crate::span::FileSpan;

/// Bytes of the longest header; the reference's own limit.
pub(super) const LONGEST_HEADER: u64 = 100_000_000;
/// The length before the header.
pub(super) const LENGTH: u64 = 8;
const METADATA: &str = "__metadata__";

/// What a file says that it holds; its tensors fill it to its end.
pub(super) struct Header {
    /// In the order of the file.
    pub(super) metadata: Vec<(String, String)>,
    /// In the order of their bytes.
    pub(super) tensors: Vec<Tensor>,
}

/// A tensor within the file.
pub(super) struct Tensor {
    pub(super) name: String,
    /// numpy's name for the element type, where it has one.
    pub(super) dtype: &'static str,
    pub(super) shape: Vec<u64>,
    /// Byte of the file at which it begins.
    pub(super) offset: u64,
    /// Its bytes.
    pub(super) len: u64,
}

pub(super) fn read(file: &File, path: &Path) -> Result<Header, FormatError> {
    let broken = |what: String| FormatError::Container {
        path: path.to_path_buf(),
        what,
        hint: "the file is damaged: fetch it again, or save it again with safetensors",
    };
    let file_len = file.metadata().map_err(FormatError::io("read", path))?.len();
    let mut length = [0; LENGTH as usize];
    if file_len < LENGTH {
        return Err(broken(format!("the file ends at byte {file_len}, inside the length of its header")));
    }
    file.read_exact_at(&mut length, 0).map_err(FormatError::io("read", path))?;
    let header_len = u64::from_le_bytes(length);
    if header_len > LONGEST_HEADER.min(file_len - LENGTH) {
        let most = LONGEST_HEADER.min(file_len - LENGTH);
        return Err(broken(format!(
            "its header is said to have {header_len} bytes, more than the {most} there can be"
        )));
    }
    let source = BufReader::new(FileSpan::new(file, LENGTH, header_len));
    let mut json = serde_json::Deserializer::from_reader(source);
    let entries = Entries::deserialize(&mut json).and_then(|entries| json.end().map(|()| entries));
    let entries = entries.map_err(|error| broken(format!("its header at byte {LENGTH} is malformed: {error}")))?;

    let Entries { metadata, mut tensors } = entries;
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    let order: Vec<String> = tensors.iter().map(|(name, _)| name.clone()).collect();
    let table =
        Metadata::new(None, tensors).map_err(|error| broken(format!("its header contradicts itself: {error}")))?;
    let payload = LENGTH + header_len;
    let end = payload.checked_add(table.data_len() as u64);
    if end != Some(file_len) {
        let end = end.map_or_else(|| "beyond any file".into(), |end| format!("at byte {end}"));
        return Err(broken(format!("its tensors end {end}, the file at byte {file_len}")));
    }
    let tensor = |name: String| {
        let info = table.info(&name)?;
        let (start, end) = info.data_offsets;
        Some(Tensor {
            dtype: type_name(info.dtype),
            shape: info.shape.iter().map(|dim| *dim as u64).collect(),
            offset: payload + start as u64,
            len: (end - start) as u64,
            name,
        })
    };
    Ok(Header { metadata, tensors: order.into_iter().filter_map(tensor).collect() })
}

fn type_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::BOOL => "bool",
        Dtype::U8 => "uint8",
        Dtype::I8 => "int8",
        Dtype::U16 => "uint16",
        Dtype::I16 => "int16",
        Dtype::U32 => "uint32",
        Dtype::I32 => "int32",
        Dtype::U64 => "uint64",
        Dtype::I64 => "int64",
        Dtype::F16 => "float16",
        Dtype::BF16 => "bfloat16",
        Dtype::F32 => "float32",
        Dtype::F64 => "float64",
        Dtype::C64 => "complex64",
        _ => "a float of 8 bits or less",
    }
}

/// The JSON of a header. A key that occurs twice is an error: readers differ in which of them they take.
#[derive(Default)]
struct Entries {
    metadata: Vec<(String, String)>,
    tensors: Vec<(String, TensorInfo)>,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tensors;
        impl<'de> Visitor<'de> for Tensors {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tensors by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let (mut entries, mut seen) = (Entries::default(), HashSet::new());
                while let Some(key) = next_key(&mut map, &mut seen)? {
                    if key == METADATA {
                        entries.metadata = map.next_value::<Texts>()?.0;
                    } else {
                        entries.tensors.push((key, map.next_value()?));
                    }
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Tensors)
    }
}

struct Texts(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ByKey;
        impl<'de> Visitor<'de> for ByKey {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("texts by key")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
                let (mut texts, mut seen) = (Vec::new(), HashSet::new());
                while let Some(key) = next_key(&mut map, &mut seen)? {
                    texts.push((key, map.next_value()?));
                }
                Ok(Texts(texts))
            }
        }
        deserializer.deserialize_map(ByKey)
    }
}

fn next_key<'de, A: MapAccess<'de>>(map: &mut A, seen: &mut HashSet<String>) -> Result<Option<String>, A::Error> {
    let key = map.next_key::<String>()?;
    match key.as_ref().filter(|key| !seen.insert((*key).clone())) {
        Some(twice) => Err(A::Error::custom(format_args!("the key {twice:?} occurs twice"))),
        None => Ok(key),
    }
}
