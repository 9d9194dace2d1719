//! From a scanned pickle to the rows in it: a bare array, a checkpoint, or a merged dict.

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::{ElementType, FileSource, ItemRef, ItemSink, KeepAll, PayloadSpan, Pickle, PickledArray, scan, write};
use crate::array::ArrayMeta;
use crate::dtype::Dtype;
use crate::error::FormatError;
use crate::format::{ArrayKind, Confidence, Fields, Format, LocateOptions, Located, Probe, Writes};
use crate::pickle::Coding;
use crate::region::Region;
use crate::rows::{CodedRows, Payload};
use crate::span::FileSpan;
use crate::target::{Layout, Target};

/// The pickle format: checkpoints of any protocol to read, the legacy dict to write.
#[derive(Debug)]
pub struct PickleFormat;

/// The first pickle of a PyTorch file from before 1.6, which is no more than a number.
pub(crate) const LEGACY_TORCH: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

/// The fields that say which rows a checkpoint holds, and who made them.
pub(crate) const CHECKPOINT_KEYS: [&str; 5] = ["start_index", "end_index", "cluster_id", "gpu_id", "model"];

/// A sound pickle whose rows cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocateError {
    /// The top-level value is neither a dict nor an array.
    #[error("holds {got}, neither a dict nor an array")]
    NoDict {
        /// Its Python type.
        got: String,
    },
    /// The dict lacks the field.
    #[error("has no field {key:?}; it has {}", if have.is_empty() { "none".into() } else { have.join(", ") })]
    NoField {
        /// The field that holds the rows.
        key: String,
        /// The fields that are there.
        have: Vec<String>,
    },
    /// The field is something else.
    #[error("{key:?} is {got}, not a numpy array")]
    NotAnArray {
        /// The field.
        key: String,
        /// Its Python type.
        got: String,
    },
    /// An element type that no store takes.
    #[error("{key:?} has elements of type {got}, not float16, bfloat16, float32 or float64")]
    Dtype {
        /// The field.
        key: String,
        /// The element type.
        got: String,
    },
    /// Not a matrix.
    #[error("{key:?} has the shape ({}), not two dimensions", shape.iter().map(u64::to_string).collect::<Vec<_>>().join(", "))]
    Shape {
        /// The field.
        key: String,
        /// The shape.
        shape: Vec<u64>,
    },
}

impl LocateError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            LocateError::NoDict { .. } => "save a dict with embeddings, start_index and end_index".into(),
            LocateError::NoField { .. } => "name the field that holds the rows: --key NAME".into(),
            LocateError::NotAnArray { key, .. } => {
                format!("convert it in Python: d[{key:?}] = np.asarray(d[{key:?}], dtype=np.float32)")
            }
            LocateError::Dtype { key, .. } => {
                format!("convert it in Python: d[{key:?}] = d[{key:?}].astype(np.float32)")
            }
            LocateError::Shape { key, .. } => {
                format!("give one row an item: d[{key:?}] = d[{key:?}].reshape(len(d[{key:?}]), -1)")
            }
        }
    }
}

impl Format for PickleFormat {
    fn name(&self) -> &'static str {
        "pickle"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["pkl", "pickle"]
    }

    fn detect(&self, probe: &Probe) -> Confidence {
        match probe.head.as_slice() {
            head if head.starts_with(LEGACY_TORCH) => Confidence::No,
            [0x80, 0..=5, ..] => Confidence::Yes,
            // Protocols 0 and 1 have no magic: the opcodes with which CPython starts a value.
            [
                b'(' | b'c' | b']' | b'}' | b')' | b'I' | b'F' | b'V' | b'S' | b'N' | b'K' | b'M' | b'J' | b'X' | b'U',
                ..,
            ] => Confidence::Maybe,
            // Any other protocol number is refused by the scanner with its number.
            [0x80, ..] => Confidence::Maybe,
            _ => Confidence::No,
        }
    }

    fn locate(&self, path: &Path, options: &LocateOptions) -> Result<Located, FormatError> {
        self.locate_file(&open(path)?, path, options)
    }

    fn locate_file(&self, file: &File, path: &Path, options: &LocateOptions) -> Result<Located, FormatError> {
        let mut lists = StoreLists::default();
        let pickle = scan_file(file, path, &mut lists)?;
        located(&pickle, lists, path, &options.key)
            .map_err(|source| FormatError::Locate { path: path.to_path_buf(), source })
    }

    fn describe(&self, path: &Path, options: &LocateOptions) -> Result<Fields, FormatError> {
        self.describe_file(&open(path)?, path, options)
    }

    fn describe_file(&self, file: &File, path: &Path, _options: &LocateOptions) -> Result<Fields, FormatError> {
        let pickle = scan_file(file, path, &mut KeepAll)?;
        let root = pickle.tree.root();
        Ok(match pickle.tree.to_json(root) {
            Value::Object(fields) if pickle.tree.type_name(root) == "dict" => fields,
            value => Fields::from_iter([(pickle.tree.type_name(root).to_string(), value)]),
        })
    }

    fn writes(&self) -> Writes {
        Writes::Legacy
    }

    fn check_layout(&self, path: &Path, _array: &ArrayMeta, layout: &Layout) -> Result<u64, FormatError> {
        layout.check_unchunked(path, self.name(), &[Dtype::Float16, Dtype::Float32]).map(|()| 0)
    }

    fn create(&self, path: &Path, array: ArrayMeta, layout: &Layout) -> Result<Box<dyn Target>, FormatError> {
        self.check_layout(path, &array, layout)?;
        Ok(Box::new(write::PickleStore::create(path, array)?))
    }
}

fn open(path: &Path) -> Result<File, FormatError> {
    File::open(path).map_err(FormatError::io("open", path))
}

fn scan_file(file: &File, path: &Path, sink: &mut dyn ItemSink) -> Result<Pickle, FormatError> {
    let file = file.try_clone().map_err(FormatError::io("open", path))?;
    let source = FileSource::new(file).map_err(FormatError::io("read", path))?;
    scan(&source, sink).map_err(|source| FormatError::Pickle { path: path.to_path_buf(), source })
}

/// The lists of a merged dict that may be long: its articles are counted, and of `chunk_info` every entry is kept. The
/// tree itself keeps only the first items of a list.
#[derive(Default)]
struct StoreLists {
    articles: Option<u64>,
    chunk_info: Option<Vec<Value>>,
    /// Of the entries of `chunk_info`, as text.
    bytes: usize,
    in_chunk_info: bool,
}

/// Bytes of `chunk_info` as text that are kept: some 8,000 checkpoints, while a hostile file costs no more than those.
const MOST_CHUNK_INFO: usize = 8 << 20;

impl ItemSink for StoreLists {
    fn wants(&mut self, key: Option<&str>) -> bool {
        match key {
            Some("articles") => self.articles = Some(0),
            Some("chunk_info") => (self.chunk_info, self.bytes) = (Some(Vec::new()), 0),
            _ => return false,
        }
        self.in_chunk_info = key == Some("chunk_info");
        true
    }

    fn item(&mut self, index: u64, item: ItemRef<'_>) -> ControlFlow<()> {
        if !self.in_chunk_info {
            self.articles = Some(index + 1);
        } else if let Some(entries) = self.chunk_info.as_mut().filter(|_| self.bytes < MOST_CHUNK_INFO) {
            let entry = item.to_json();
            self.bytes += entry.to_string().len();
            entries.push(entry);
        }
        ControlFlow::Continue(())
    }
}

fn located(pickle: &Pickle, lists: StoreLists, path: &Path, key: &str) -> Result<Located, LocateError> {
    let tree = &pickle.tree;
    let root = tree.root();
    let mut notes = Vec::new();
    if pickle.trailing > 0 {
        notes.push(format!("{} bytes follow the pickle, which ends at byte {}", pickle.trailing, pickle.end));
    }
    if let Some(array) = tree.array(root) {
        let (array, payload) = rows(array, path, key)?;
        return Ok(Located { kind: ArrayKind::Bare, array, payload, fields: Fields::new(), notes });
    }
    if tree.type_name(root) != "dict" {
        return Err(LocateError::NoDict { got: tree.type_name(root).into() });
    }
    let Value::Object(mut fields) = tree.to_json(root) else {
        return Err(LocateError::NoDict { got: tree.type_name(root).into() });
    };
    let found = tree
        .dict_get(root, key)
        .ok_or_else(|| LocateError::NoField { key: key.into(), have: fields.keys().cloned().collect() })?;
    let array = tree
        .array(found)
        .ok_or_else(|| LocateError::NotAnArray { key: key.into(), got: tree.type_name(found).into() })?;
    let (array, payload) = rows(array, path, key)?;
    fields.shift_remove(key);
    // The JSON of a large dict is cut; what a merge decides by is not.
    for key in CHECKPOINT_KEYS {
        if let Some(value) = tree.dict_get(root, key) {
            fields.insert(key.into(), tree.to_json(value));
        }
    }
    if let (Some(entries), Some(field)) = (lists.chunk_info, fields.get_mut("chunk_info")) {
        *field = Value::Array(entries);
    }
    let kind = match lists.articles {
        Some(articles) if !fields.contains_key("start_index") => {
            fields.shift_remove("articles");
            ArrayKind::Store { articles }
        }
        _ => ArrayKind::Field,
    };
    Ok(Located { kind, array, payload, fields, notes })
}

/// The array as rows; its payload length has been checked by the scanner where it is raw.
pub(crate) fn rows(array: &PickledArray, path: &Path, key: &str) -> Result<(ArrayMeta, Payload), LocateError> {
    let (dtype, byte_order) = match &array.dtype {
        ElementType::Float(dtype, byte_order) => (*dtype, *byte_order),
        ElementType::Other(name) => return Err(LocateError::Dtype { key: key.into(), got: name.clone() }),
    };
    let shape = || LocateError::Shape { key: key.into(), shape: array.shape.clone() };
    let &[rows, cols] = array.shape.as_slice() else { return Err(shape()) };
    let meta = ArrayMeta::new(rows, cols, dtype, byte_order, array.order).ok_or_else(shape)?;
    let path = path.to_path_buf();
    let payload = match array.payload.coding {
        Coding::Raw => Region { path, offset: array.payload.offset, array: meta }.into(),
        _ => Payload::Coded(Arc::new(CodedPayload { path, span: array.payload.clone(), array: meta })),
    };
    Ok((meta, payload))
}

/// A payload inside a protocol 0–2 string, decoded from its start.
#[derive(Debug)]
struct CodedPayload {
    path: PathBuf,
    span: PayloadSpan,
    array: ArrayMeta,
}

impl CodedRows for CodedPayload {
    fn array(&self) -> &ArrayMeta {
        &self.array
    }

    fn check(&self, file: &File) -> Result<(), FormatError> {
        let file = file.try_clone().map_err(FormatError::io("read", &self.path))?;
        let got = io::copy(&mut self.decoder(file)?, &mut io::sink()).map_err(FormatError::io("decode", &self.path))?;
        if got != self.array.payload_bytes() {
            let (path, offset, expected) = (self.path.clone(), self.span.offset, self.array.payload_bytes());
            return Err(FormatError::PayloadLength { path, offset, expected, got });
        }
        Ok(())
    }

    fn decoder(&self, file: File) -> Result<Box<dyn Read + Send>, FormatError> {
        let encoded = FileSpan::new(file, self.span.offset, self.span.encoded_len);
        Ok(Box::new(self.span.decoder(encoded)))
    }
}
