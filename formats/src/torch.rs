//! The `.pt` files of `torch.save`: a zip archive with a pickle, and every storage of tensors as a member of its own.
//!
//! ```text
//! "<name>/data.pkl"    a pickle in which a tensor is (storage, offset, size, stride)     see `pickle::tensors`
//! "<name>/byteorder"   "little" or "big"; little where it is missing
//! "<name>/data/0"      the elements of storage 0, at a multiple of 64
//! "<name>/data/1"      …
//! central directory    see `zip`
//! ```
//!
//! Source: PyTorch's [`serialization.py`](https://github.com/pytorch/pytorch/blob/main/torch/serialization.py).
//!
//! Accepted: a tensor, or a dict with one under the key (and plain values beside it), in float16, bfloat16, float32 or
//! float64, whose elements follow each other in rows or, transposed, in columns; views into a larger storage; numpy
//! arrays in the pickle. Refused: other strides and types; modules and whatever else Python would have to call; files
//! from before PyTorch 1.6, which are pickles one behind the other, and TorchScript.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::Value;

use crate::dtype::{ByteOrder, Dtype};
use crate::error::FormatError;
use crate::format::{ArrayKind, Confidence, Fields, Format, LocateOptions, Located, Probe};
use crate::pickle::{
    CHECKPOINT_KEYS, ElementType, KeepAll, LEGACY_TORCH, NodeId, Pickle, PickledArray, Source, Storages, TENSOR, Tree,
    rows, scan_torch,
};
use crate::scalar::{self, Kind};
use crate::zip::{Archive, Contents, Member, Packing, is_torch_pickle};

/// The `.pt` archives of `torch.save`.
#[derive(Debug)]
pub(crate) struct Torch;

/// Tensors that a message lists.
const MOST_LISTED: usize = 12;

impl Format for Torch {
    fn name(&self) -> &'static str {
        "torch"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["pt", "pth"]
    }

    fn detect(&self, probe: &Probe) -> Confidence {
        let is_torch = Contents::of(probe) == Some(Contents::Torch) || probe.head.starts_with(LEGACY_TORCH);
        if is_torch { Confidence::Yes } else { Confidence::No }
    }

    fn locate(&self, path: &Path, options: &LocateOptions) -> Result<Located, FormatError> {
        let opened = open(path)?;
        let tree = &opened.pickle.tree;
        let root = tree.root();
        let mut notes = Vec::new();
        let (found, name) = if tree.array(root).is_some() {
            (root, options.key.clone())
        } else {
            choose(tree, &options.key, path, &mut notes)?
        };
        let mut array = tree.array(found).ok_or_else(|| no_tensor(tree, found, &name, path))?.clone();
        if array.class == TENSOR {
            check(&array, &name, found == root, path)?;
        } else {
            // The bytes of a numpy array are in the pickle, and counted from its start.
            array.payload.offset += opened.source.start;
        }
        let located = rows(&array, path, &name);
        let (array, payload) = located.map_err(|source| FormatError::Locate { path: path.to_path_buf(), source })?;
        let mut fields = if found == root { Fields::new() } else { opened.fields(path)? };
        fields.shift_remove(&name);
        let is_range = ["start_index", "end_index"].iter().all(|key| fields.get(*key).is_some_and(Value::is_i64));
        let kind = if is_range { ArrayKind::Field } else { ArrayKind::Bare };
        Ok(Located { kind, array, payload, fields, notes })
    }

    fn describe(&self, path: &Path, _options: &LocateOptions) -> Result<Fields, FormatError> {
        open(path)?.fields(path)
    }
}

/// A file whose pickle has been read.
struct Opened {
    archive: Archive,
    source: MemberSource,
    byte_order: ByteOrder,
    pickle: Pickle,
}

fn open(path: &Path) -> Result<Opened, FormatError> {
    let probe = Probe::of(path)?;
    if probe.head.starts_with(LEGACY_TORCH) {
        return Err(FormatError::Container {
            path: path.to_path_buf(),
            what: "a PyTorch file of the legacy format, several pickles one behind the other".into(),
            hint: "save it again in Python: torch.save(torch.load(path, map_location=\"cpu\"), path)",
        });
    }
    let archive = Archive::open(path)?;
    let pickle = archive.members().iter().find(|member| is_torch_pickle(&member.name));
    let pickle = pickle.ok_or_else(|| archive.broken("it has no member data.pkl".into()))?;
    let prefix = pickle.name.strip_suffix("data.pkl").unwrap_or_default();
    let (start, len) = stored(&archive, pickle)?;
    let file = archive.file().try_clone().map_err(FormatError::io("open", path))?;
    let source = MemberSource { file, start, len };
    let byte_order = byte_order(&archive, prefix, path)?;
    let tensors = Tensors { byte_order, storages: storages(&archive, prefix)? };
    let pickle = scan_torch(&source, &mut KeepAll, &tensors)
        .map_err(|source| FormatError::Pickle { path: path.to_path_buf(), source })?;
    Ok(Opened { archive, source, byte_order, pickle })
}

/// First byte and length of a member; PyTorch compresses none.
fn stored(archive: &Archive, member: &Member) -> Result<(u64, u64), FormatError> {
    match member.packing {
        Packing::Stored => Ok((archive.data(member)?, member.packed)),
        other => Err(archive.broken(format!("the member {:?} is {}, not stored", member.name, other.name()))),
    }
}

fn byte_order(archive: &Archive, prefix: &str, path: &Path) -> Result<ByteOrder, FormatError> {
    let name = format!("{prefix}byteorder");
    let Some(member) = archive.members().iter().find(|member| member.name == name) else {
        return Ok(ByteOrder::Little);
    };
    let (start, len) = stored(archive, member)?;
    let mut word = vec![0; len.min(16) as usize];
    archive.file().read_exact_at(&mut word, start).map_err(FormatError::io("read", path))?;
    match word.as_slice() {
        b"little" => Ok(ByteOrder::Little),
        b"big" => Ok(ByteOrder::Big),
        _ => Err(archive.broken(format!("{name:?} is neither little nor big"))),
    }
}

fn storages(archive: &Archive, prefix: &str) -> Result<HashMap<String, (u64, u64)>, FormatError> {
    let prefix = format!("{prefix}data/");
    let keyed = archive.members().iter().filter_map(|member| Some((member.name.strip_prefix(&prefix)?, member)));
    keyed.map(|(key, member)| Ok((key.to_string(), stored(archive, member)?))).collect()
}

/// The storages of a file.
struct Tensors {
    byte_order: ByteOrder,
    storages: HashMap<String, (u64, u64)>,
}

impl Storages for Tensors {
    fn find(&self, key: &str) -> Option<(u64, u64)> {
        self.storages.get(key).copied()
    }

    fn byte_order(&self) -> ByteOrder {
        self.byte_order
    }
}

/// The pickle within the archive.
struct MemberSource {
    file: File,
    start: u64,
    len: u64,
}

impl Source for MemberSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let most = buf.len().min(usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX));
        self.file.read_at(&mut buf[..most], self.start + offset)
    }
}

/// The value of a dict that holds the rows: the one of that name, or else the only one that could.
fn choose(tree: &Tree, key: &str, path: &Path, notes: &mut Vec<String>) -> Result<(NodeId, String), FormatError> {
    if let Some(found) = tree.dict_get(tree.root(), key) {
        return Ok((found, key.into()));
    }
    let named = |(key, value)| Some((tree.text(key)?.into_owned(), value));
    let is_matrix = |id| {
        let array = tree.array(id);
        array.is_some_and(|array| array.shape.len() == 2 && matches!(array.dtype, ElementType::Float(..)))
    };
    let mut candidates = tree.entries(tree.root()).filter_map(named).filter(|(_, value)| is_matrix(*value));
    if let (Some((name, only)), None) = (candidates.next(), candidates.next())
        && key == LocateOptions::default().key
    {
        notes.push(format!("its rows are the tensor {name:?}, the only one of floats in two dimensions"));
        return Ok((only, name));
    }
    Err(no_tensor(tree, tree.root(), key, path))
}

/// What is there in place of a tensor.
fn no_tensor(tree: &Tree, found: NodeId, key: &str, path: &Path) -> FormatError {
    let root = tree.root();
    let (what, hint) = if tree.type_name(root) != "dict" {
        let what = format!("holds {}, neither a tensor nor a dict", tree.type_name(root));
        (what, "save a dict: torch.save({\"embeddings\": tensor, \"start_index\": …, \"end_index\": …}, path)".into())
    } else if found != root {
        let what = format!("{key:?} is {}, not a tensor", tree.type_name(found));
        (what, format!("convert it in Python: d[{key:?}] = torch.as_tensor(d[{key:?}])"))
    } else {
        let told = |(key, value)| {
            let key = tree.text(key)?;
            Some(match tree.array(value) {
                Some(array) => told(&key, array),
                None => format!("{key} ({})", tree.type_name(value)),
            })
        };
        let mut have: Vec<String> = tree.entries(root).filter_map(told).collect();
        let more = have.len().saturating_sub(MOST_LISTED);
        have.truncate(MOST_LISTED);
        let have = if have.is_empty() { "none".into() } else { have.join("; ") };
        let more = if more == 0 { String::new() } else { format!("; and {more} more") };
        (format!("has no tensor {key:?}; it has {have}{more}"), "name the tensor: --key NAME".into())
    };
    FormatError::NoRows { path: path.to_path_buf(), what, hint }
}

fn told(name: &str, array: &PickledArray) -> String {
    let shape: Vec<String> = array.shape.iter().map(u64::to_string).collect();
    format!("{name} ({}) {}", shape.join(", "), array.dtype.name())
}

/// Refuses a tensor that is no matrix of floats without gaps.
fn check(tensor: &PickledArray, name: &str, is_root: bool, path: &Path) -> Result<(), FormatError> {
    let is_float = matches!(tensor.dtype, ElementType::Float(..));
    let remedy = match (is_float, tensor.shape.len()) {
        (true, 2) => return Ok(()),
        (true, _) => "reshape(len(t), -1).clone()",
        // Strides stand behind the name of a type that would do.
        _ if tensor.dtype.name().split(' ').next().is_some_and(|name| Dtype::from_name(name).is_some()) => {
            "contiguous()"
        }
        _ => "float()",
    };
    let hint = if is_root {
        format!("convert it in Python: torch.save(t.{remedy}, path)")
    } else {
        format!("convert it in Python: t = d[{name:?}]; d[{name:?}] = t.{remedy}; torch.save(d, path)")
    };
    let what = format!("{}: no contiguous matrix of float16, bfloat16, float32 or float64", told(name, tensor));
    Err(FormatError::NoRows { path: path.to_path_buf(), what, hint })
}

impl Opened {
    /// The plain values; a tensor of one element is the value that it has.
    fn fields(&self, path: &Path) -> Result<Fields, FormatError> {
        let tree = &self.pickle.tree;
        let root = tree.root();
        let mut fields = match tree.to_json(root) {
            Value::Object(fields) if tree.type_name(root) == "dict" => fields,
            value => return Ok(Fields::from_iter([(tree.type_name(root).to_string(), value)])),
        };
        // The JSON of a large dict is cut; what a merge decides by is not.
        for key in CHECKPOINT_KEYS {
            if let Some(value) = tree.dict_get(root, key) {
                let element = tree.array(value).map(|array| self.element(array, path)).transpose()?.flatten();
                fields.insert(key.into(), element.unwrap_or_else(|| tree.to_json(value)));
            }
        }
        Ok(fields)
    }

    fn element(&self, array: &PickledArray, path: &Path) -> Result<Option<Value>, FormatError> {
        let (Some(kind), 1..=8) = (Kind::of_name(array.dtype.name()), array.payload.encoded_len) else {
            return Ok(None);
        };
        if array.class != TENSOR || array.shape.iter().any(|dim| *dim != 1) {
            return Ok(None);
        }
        let mut bytes = vec![0; array.payload.encoded_len as usize];
        let file = self.archive.file();
        file.read_exact_at(&mut bytes, array.payload.offset).map_err(FormatError::io("read", path))?;
        Ok(scalar::value(kind, self.byte_order, &bytes))
    }
}
