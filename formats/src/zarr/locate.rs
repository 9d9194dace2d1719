//! Where the rows of a group or an array lie.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::checksum::Checksum;
use crate::error::FormatError;
use crate::format::{ArrayKind, Fields, LocateOptions, Located};
use crate::region::{Region, Regions};
use crate::rows::Payload;

use super::articles;
use super::blocks::Chunked;
use super::grid::{ArrayDoc, dims, no_rows};
use super::node::{Node, NotRows, array_document, broken, children, read_node};

/// The name of the array in a store.
pub(super) const MATRIX: &str = "embeddings";

pub(super) fn locate(path: &Path, options: &LocateOptions) -> Result<Located, FormatError> {
    let found = find(path, options)?;
    let (kind, fields) = match found.group {
        // What embstore wrote carries its metadata in the attributes of the group, and nothing else there.
        Some(group) if group.get("store_id").is_some_and(Value::is_string) => {
            (ArrayKind::Store { articles: articles::count(path)? }, group)
        }
        group => {
            let mut fields = group.unwrap_or_default();
            for (key, value) in found.attributes {
                fields.entry(key).or_insert(value);
            }
            let is_index = |key| fields.get(key).is_some_and(|value: &Value| value.is_i64() || value.is_u64());
            let has_range = is_index("start_index") && is_index("end_index");
            (if has_range { ArrayKind::Field } else { ArrayKind::Bare }, fields)
        }
    };
    let array = found.document.array;
    let (payload, array) = match raw(&found.document, &found.folder)? {
        Some(regions) => (Payload::Raw(regions), array),
        None => {
            let chunked = Chunked::new(*found.document, &found.folder).map_err(|what| {
                let hint = "write it again with fewer rows a chunk".into();
                no_rows(path, &found.name, NotRows { summary: String::new(), what, hint })
            })?;
            (Payload::Blocks(Arc::new(chunked)), array)
        }
    };
    Ok(Located { kind, array, payload, fields, notes: found.notes })
}

/// The array that is meant.
struct Found {
    /// Attributes of the group that it is in.
    group: Option<Fields>,
    name: String,
    folder: PathBuf,
    document: Box<ArrayDoc>,
    attributes: Fields,
    notes: Vec<String>,
}

fn find(path: &Path, options: &LocateOptions) -> Result<Found, FormatError> {
    let bare = |document, attributes| Found {
        group: None,
        name: String::new(),
        folder: path.to_path_buf(),
        document,
        attributes,
        notes: Vec::new(),
    };
    let group = match read_node(path)? {
        None => return Err(broken(path, "has no zarr.json, .zgroup or .zarray".into())),
        Some(Node::Array(document, attributes)) => return Ok(bare(document, attributes)),
        Some(Node::Other(why, _)) => return Err(no_rows(path, "", why)),
        Some(Node::Group(attributes)) => Some(attributes),
    };
    let found = |name: String, document, attributes, notes| {
        let folder = path.join(&name);
        Found { group, name, folder, document, attributes, notes }
    };
    let key = options.key.trim_matches('/');
    let is_plain = Path::new(key).components().all(|part| matches!(part, Component::Normal(_)));
    let node = if is_plain && !key.is_empty() { read_node(&path.join(key))? } else { None };
    match node {
        Some(Node::Array(document, attributes)) => return Ok(found(key.into(), document, attributes, Vec::new())),
        Some(Node::Other(why, _)) => return Err(no_rows(path, key, why)),
        Some(Node::Group(_)) | None => {}
    }
    let children = children(path)?;
    let summary = summary(&children);
    let arrays = children.into_iter().filter_map(|(name, node)| match node {
        Node::Array(document, attributes) => Some((name, document, attributes)),
        Node::Group(_) | Node::Other(..) => None,
    });
    let mut arrays: Vec<_> = arrays.collect();
    if options.key == LocateOptions::default().key
        && arrays.len() == 1
        && let Some((name, document, attributes)) = arrays.pop()
    {
        let note = format!("there is no array {key:?}; the only one of rows, {name:?}, is used");
        return Ok(found(name, document, attributes, vec![note]));
    }
    let what = format!("has no array {key:?}; it has {summary}");
    Err(FormatError::NoRows { path: path.to_path_buf(), what, hint: "name the array: --key NAME".into() })
}

/// What is in a group, for an error.
fn summary(children: &[(String, Node)]) -> String {
    if children.is_empty() {
        return "nothing".into();
    }
    let one = |(name, node): &(String, Node)| format!("{name} ({})", described(node));
    children.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn described(node: &Node) -> String {
    match node {
        Node::Group(_) => "group".into(),
        Node::Array(document, _) => {
            format!("{} {}", document.array.dtype, dims(&[document.array.rows(), document.array.cols()]))
        }
        Node::Other(why, _) => why.summary.clone(),
    }
}

/// Attributes, and the arrays by name.
pub(super) fn describe(path: &Path) -> Result<Fields, FormatError> {
    match read_node(path)? {
        Some(Node::Group(mut attributes)) => {
            for (name, node) in children(path)? {
                attributes.entry(name).or_insert_with(|| json!(described(&node)));
            }
            Ok(attributes)
        }
        Some(Node::Array(_, attributes) | Node::Other(_, attributes)) => Ok(attributes),
        None => Ok(Fields::new()),
    }
}

/// The chunk files as regions, where each is there and holds whole rows as they are; `None` otherwise.
fn raw(document: &ArrayDoc, folder: &Path) -> Result<Option<Regions>, FormatError> {
    let array = document.array;
    if !document.codecs.is_raw() || document.sharding.is_some() || document.chunk[1] != array.cols() {
        return Ok(None);
    }
    let chunk_rows = document.chunk[0];
    let Some(expected) = chunk_rows.checked_mul(array.row_bytes()) else { return Ok(None) };
    let (mut parts, mut row) = (Vec::new(), 0);
    while row < array.rows() {
        let path = document.file(folder, row / chunk_rows, 0);
        let got = match fs::metadata(&path) {
            Ok(file) => file.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(FormatError::io("read", &path)(error)),
        };
        if got != expected {
            return Err(FormatError::PayloadLength { path, offset: 0, expected, got });
        }
        let rows = chunk_rows.min(array.rows() - row);
        let Some(part) = super::rows_of(&array, rows) else { return Ok(None) };
        parts.push(Region { path, offset: 0, array: part });
        row += rows;
    }
    Ok(Regions::new(array, parts))
}

/// The checksum of the document that says where the rows of a store lie.
pub(super) fn header(path: &Path) -> Result<Option<Checksum>, FormatError> {
    let document = array_document(&path.join(MATRIX));
    match Checksum::of_file(&document) {
        Ok(checksum) => Ok(Some(checksum)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FormatError::io("read", &document)(error)),
    }
}
