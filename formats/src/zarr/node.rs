//! What a folder is: a group or an array, in version 2 or 3, from its metadata documents alone.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::FormatError;
use crate::format::Fields;

use super::grid::ArrayDoc;

/// Longest document that is read. Those of a store list its checkpoints, a few hundred bytes each.
const DOCUMENT_LIMIT: u64 = 256 << 20;

/// A group or an array.
#[derive(Debug)]
pub(super) enum Node {
    Group(Fields),
    /// With its attributes.
    Array(Box<ArrayDoc>, Fields),
    /// An array whose document is sound, but which is not one of rows.
    Other(NotRows, Fields),
}

/// Why an array has no usable rows.
#[derive(Debug)]
pub(super) struct NotRows {
    /// Shape and type, for a list of what is there.
    pub(super) summary: String,
    pub(super) what: String,
    pub(super) hint: String,
}

/// The document that describes the array in `folder`.
pub(super) fn array_document(folder: &Path) -> PathBuf {
    let v3 = folder.join("zarr.json");
    if v3.is_file() { v3 } else { folder.join(".zarray") }
}

/// Whether a folder has a metadata document.
pub(super) fn is_node(folder: &Path) -> bool {
    ["zarr.json", ".zgroup", ".zarray"].iter().any(|name| folder.join(name).is_file())
}

/// What `folder` is; `None` where it has no metadata document.
pub(super) fn read_node(folder: &Path) -> Result<Option<Node>, FormatError> {
    let path = folder.join("zarr.json");
    if let Some(mut document) = read_document(&path)? {
        let broken = |what: String| broken(&path, what);
        if document.get("zarr_format").and_then(Value::as_u64) != Some(3) {
            return Err(broken("zarr_format is not 3".into()));
        }
        let attributes = match document.shift_remove("attributes") {
            Some(Value::Object(attributes)) => attributes,
            None | Some(Value::Null) => Fields::new(),
            Some(_) => return Err(broken("attributes is no object".into())),
        };
        return match document.get("node_type").and_then(Value::as_str) {
            Some("group") => Ok(Some(Node::Group(attributes))),
            Some("array") => array(ArrayDoc::v3(&path, &document), attributes).map(Some),
            _ => Err(broken("node_type is neither group nor array".into())),
        };
    }
    let path = folder.join(".zarray");
    if let Some(document) = read_document(&path)? {
        let attributes = read_document(&folder.join(".zattrs"))?.unwrap_or_default();
        return array(ArrayDoc::v2(&path, &document), attributes).map(Some);
    }
    if read_document(&folder.join(".zgroup"))?.is_some() {
        return Ok(Some(Node::Group(read_document(&folder.join(".zattrs"))?.unwrap_or_default())));
    }
    Ok(None)
}

fn array(document: Result<ArrayDoc, Unusable>, attributes: Fields) -> Result<Node, FormatError> {
    match document {
        Ok(document) => Ok(Node::Array(Box::new(document), attributes)),
        Err(Unusable::NotRows(why)) => Ok(Node::Other(why, attributes)),
        Err(Unusable::Broken(error)) => Err(error),
    }
}

/// Why an array's document cannot be used.
pub(super) enum Unusable {
    Broken(FormatError),
    NotRows(NotRows),
}

impl From<FormatError> for Unusable {
    fn from(error: FormatError) -> Self {
        Unusable::Broken(error)
    }
}

/// An error in a document or in a chunk.
pub(super) fn broken(path: &Path, what: String) -> FormatError {
    FormatError::Container { path: path.to_path_buf(), what, hint: "the store is damaged: fetch or write it again" }
}

/// The document of this name in a folder; `None` where it has none.
pub(super) fn document_in(folder: &Path, name: &str) -> Result<Option<Map<String, Value>>, FormatError> {
    read_document(&folder.join(name))
}

/// A JSON object; `None` where there is no such file.
fn read_document(path: &Path) -> Result<Option<Map<String, Value>>, FormatError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(FormatError::io("open", path)(error)),
    };
    let mut text = Vec::new();
    file.take(DOCUMENT_LIMIT + 1).read_to_end(&mut text).map_err(FormatError::io("read", path))?;
    if text.len() as u64 > DOCUMENT_LIMIT {
        return Err(broken(path, format!("is longer than {DOCUMENT_LIMIT} bytes")));
    }
    // Python's json writes NaN and infinities bare, which is no JSON.
    let parsed = serde_json::from_slice(&text).or_else(|error| match quote_constants(&text) {
        Some(quoted) => serde_json::from_slice(&quoted).map_err(|_| error),
        None => Err(error),
    });
    parsed.map(Some).map_err(|error| broken(path, format!("is no JSON object: {error}")))
}

/// The document with bare `NaN`, `Infinity` and `-Infinity` as strings; `None` where there is none.
fn quote_constants(text: &[u8]) -> Option<Vec<u8>> {
    const CONSTANTS: [&[u8]; 3] = [b"NaN", b"-Infinity", b"Infinity"];
    let (mut out, mut at, mut in_string, mut found) = (Vec::with_capacity(text.len()), 0, false, false);
    while let Some(&byte) = text.get(at) {
        let constant = CONSTANTS.iter().find(|constant| !in_string && text[at..].starts_with(constant));
        if let Some(constant) = constant {
            out.push(b'"');
            out.extend_from_slice(constant);
            out.push(b'"');
            at += constant.len();
            found = true;
            continue;
        }
        if in_string && byte == b'\\' {
            out.extend_from_slice(&text[at..text.len().min(at + 2)]);
            at += 2;
            continue;
        }
        in_string ^= byte == b'"';
        out.push(byte);
        at += 1;
    }
    found.then_some(out)
}

/// The groups and arrays directly inside a group, by name.
pub(super) fn children(folder: &Path) -> Result<Vec<(String, Node)>, FormatError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(FormatError::io("list", folder))? {
        let path = entry.map_err(FormatError::io("list", folder))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).map(String::from) else { continue };
        if path.is_dir()
            && let Some(node) = read_node(&path)?
        {
            found.push((name, node));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_constants_become_strings() {
        let text = br#"{"a": NaN, "b": [-Infinity, Infinity], "c": "NaN \" NaN"}"#;
        let quoted = quote_constants(text).expect("constants");
        let value: Value = serde_json::from_slice(&quoted).expect("JSON");
        assert_eq!(value, serde_json::json!({"a": "NaN", "b": ["-Infinity", "Infinity"], "c": "NaN \" NaN"}));
        assert!(quote_constants(b"{\"a\": \"NaN\"}").is_none());
    }
}
