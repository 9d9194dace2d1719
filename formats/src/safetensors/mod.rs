//! Safetensors: a header in JSON that says where the bytes of every tensor lie, and the bytes.
//!
//! ```text
//! <u64> │ {"__metadata__": {text: text, …},                                                 │ the tensors, one
//! length│  "embeddings": {"dtype": "F32", "shape": [N, D], "data_offsets": [0, N·D·4]}, …}␠␠ │ behind the other
//! ```
//!
//! Specification: <https://huggingface.co/docs/safetensors/index#format>.
//!
//! Accepted: F16, BF16, F32 and F64 in two dimensions; the tensors together are exactly as long as the file. Texts of
//! `__metadata__` are fields; `start_index` and its like count as integers where they look like some, and so do tensors
//! of one element. Refused: other element types and shapes, a key that occurs twice, tensors that overlap or leave
//! gaps, headers of more than [`LONGEST_HEADER`](header::LONGEST_HEADER).
//!
//! An export is such a file with a header of 16 KiB, so that the rows start on a page; its articles and its metadata lie
//! beside it as those of `.npy` do, and the shorter keys of the metadata are in `__metadata__` as well.

mod header;
mod store;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::{Value, json};

use self::header::{Header, Tensor};
use crate::array::ArrayMeta;
use crate::dtype::{ByteOrder, Dtype, Order};
use crate::error::FormatError;
use crate::format::{ArrayKind, Confidence, Fields, Format, LocateOptions, Located, Probe, Writes};
use crate::region::Region;
use crate::scalar::{self, INTEGER_FIELDS, Kind};
use crate::target::{Layout, StoreFiles, Target};

/// Safetensors.
#[derive(Debug)]
pub(crate) struct Safetensors;

impl Format for Safetensors {
    fn name(&self) -> &'static str {
        "safetensors"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["safetensors"]
    }

    fn detect(&self, probe: &Probe) -> Confidence {
        let is_header = match probe.head.split_first_chunk() {
            Some((len, [b'{', ..])) => (2..probe.len).contains(&u64::from_le_bytes(*len)),
            _ => false,
        };
        if is_header { Confidence::Yes } else { Confidence::No }
    }

    fn locate(&self, path: &Path, options: &LocateOptions) -> Result<Located, FormatError> {
        self.locate_file(&open(path)?, path, options)
    }

    fn locate_file(&self, file: &File, path: &Path, options: &LocateOptions) -> Result<Located, FormatError> {
        let header = header::read(file, path)?;
        let mut notes = Vec::new();
        let chosen = choose(&header, &options.key, path, &mut notes)?;
        let array = matrix(chosen).ok_or_else(|| unusable(chosen, path))?;
        let region = Region { path: path.to_path_buf(), offset: chosen.offset, array };
        let others = header.tensors.iter().filter(|tensor| tensor.name != chosen.name);
        let fields = fields(file, &header, others, path)?;
        let is_range = ["start_index", "end_index"].iter().all(|key| fields.get(*key).is_some_and(Value::is_i64));
        let kind = if is_range { ArrayKind::Field } else { ArrayKind::Bare };
        Ok(Located { kind, array, payload: region.into(), fields, notes })
    }

    fn describe(&self, path: &Path, options: &LocateOptions) -> Result<Fields, FormatError> {
        self.describe_file(&open(path)?, path, options)
    }

    fn describe_file(&self, file: &File, path: &Path, _options: &LocateOptions) -> Result<Fields, FormatError> {
        let header = header::read(file, path)?;
        fields(file, &header, header.tensors.iter(), path)
    }

    fn writes(&self) -> Writes {
        Writes::Exports
    }

    fn store_files(&self, path: &Path) -> StoreFiles {
        StoreFiles::with_sidecars(path)
    }

    fn check_layout(&self, path: &Path, _array: &ArrayMeta, layout: &Layout) -> Result<u64, FormatError> {
        layout.check_unchunked(path, self.name(), &[Dtype::Float16, Dtype::Bfloat16, Dtype::Float32]).map(|()| 0)
    }

    fn create(&self, path: &Path, array: ArrayMeta, layout: &Layout) -> Result<Box<dyn Target>, FormatError> {
        self.check_layout(path, &array, layout)?;
        Ok(Box::new(store::SafetensorsStore::create(path, array)?))
    }
}

fn open(path: &Path) -> Result<File, FormatError> {
    File::open(path).map_err(FormatError::io("open", path))
}

/// The tensor as a matrix that a store takes.
fn matrix(tensor: &Tensor) -> Option<ArrayMeta> {
    let dtype = Dtype::from_name(tensor.dtype)?;
    let &[rows, cols] = tensor.shape.as_slice() else { return None };
    ArrayMeta::new(rows, cols, dtype, ByteOrder::Little, Order::C)
}

/// The tensor that holds the rows: the one of that name, or else the only one that could.
fn choose<'a>(header: &'a Header, key: &str, path: &Path, notes: &mut Vec<String>) -> Result<&'a Tensor, FormatError> {
    if let Some(found) = header.tensors.iter().find(|tensor| tensor.name == key) {
        return Ok(found);
    }
    let mut candidates = header.tensors.iter().filter(|tensor| matrix(tensor).is_some());
    if let (Some(only), None) = (candidates.next(), candidates.next())
        && key == LocateOptions::default().key
    {
        notes.push(format!("its rows are the tensor {:?}, the only one of floats in two dimensions", only.name));
        return Ok(only);
    }
    let have: Vec<String> = header.tensors.iter().map(told).collect();
    let have = if have.is_empty() { "none".into() } else { have.join("; ") };
    Err(FormatError::NoRows {
        path: path.to_path_buf(),
        what: format!("has no tensor {key:?}; it has {have}"),
        hint: "name the tensor: --key NAME".into(),
    })
}

/// A tensor in messages.
fn told(tensor: &Tensor) -> String {
    let shape: Vec<String> = tensor.shape.iter().map(u64::to_string).collect();
    format!("{} ({}) {}", tensor.name, shape.join(", "), tensor.dtype)
}

fn unusable(tensor: &Tensor, path: &Path) -> FormatError {
    let is_float = Dtype::from_name(tensor.dtype).is_some();
    let remedy = if is_float { "t.reshape(len(t), -1)" } else { "t.float()" };
    FormatError::NoRows {
        path: path.to_path_buf(),
        what: format!("{}: no matrix of float16, bfloat16, float32 or float64", told(tensor)),
        hint: format!("convert it in Python: save_file({{{:?}: {remedy}}}, path)", tensor.name),
    }
}

/// The texts of `__metadata__`, the tensors of one element, and the shapes of the others.
fn fields<'a>(
    file: &File,
    header: &Header,
    tensors: impl Iterator<Item = &'a Tensor>,
    path: &Path,
) -> Result<Fields, FormatError> {
    let text = |(key, text): &(String, String)| {
        let number = INTEGER_FIELDS.contains(&key.as_str()).then(|| text.parse::<i64>().ok()).flatten();
        (key.clone(), number.map_or_else(|| Value::from(text.as_str()), Value::from))
    };
    let mut fields: Fields = header.metadata.iter().map(text).collect();
    for tensor in tensors {
        let element = match (tensor.shape.iter().all(|dim| *dim == 1), Kind::of_name(tensor.dtype), tensor.len) {
            (true, Some(kind), len @ 1..=8) => {
                let mut bytes = vec![0; len as usize];
                file.read_exact_at(&mut bytes, tensor.offset).map_err(FormatError::io("read", path))?;
                scalar::value(kind, ByteOrder::Little, &bytes)
            }
            _ => None,
        };
        let array = || json!({ "array": { "shape": tensor.shape, "dtype": tensor.dtype } });
        fields.entry(tensor.name.clone()).or_insert_with(|| element.unwrap_or_else(array));
    }
    Ok(fields)
}
