//! Tables: what Parquet and Arrow files have in common. Which columns are the rows, and how columns become rows.
//!
//! ```text
//! emb_000 │ emb_001 │ … │ emb_383 │ id        numbered columns of floats: [`FlatRows`] interleaves them
//! embeddings: list<float>[384]    │ id        one column of lists: rows already, read forward by [`ForwardRows`]
//! ```
//!
//! Accepted: any prefix before numbers that run from 0 without a gap, all of one type; or one column of lists of one
//! width. Columns beside them are named in the fields and not read. Refused, by column and row: nulls, lists of
//! different widths, missing numbers, mixed types.

mod choose;
mod columns;
mod flat;
mod forward;
mod groups;
mod layout;

pub(crate) use choose::{Choice, Column, Kind, Rows, choose};
pub(crate) use columns::{Columns, ColumnsBuilder};
pub(crate) use flat::{ColumnSource, FlatRows};
pub(crate) use forward::{ForwardGroup, ForwardRows, ForwardSource};
pub(crate) use groups::Groups;
pub(crate) use layout::{chunk_rows, table_schema};

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::FormatError;
use crate::format::{ArrayKind, Fields};

/// The key of the metadata of embstore's own exports: all of it, as JSON text.
pub(crate) const METADATA_KEY: &str = "embstore";

/// Keys that files carry as plain text, and whether their values are integers.
const PLAIN_KEYS: [(&str, bool); 5] =
    [("start_index", true), ("end_index", true), ("cluster_id", true), ("gpu_id", true), ("model", false)];

/// The plain values among a file's keys, and what they make of the file.
pub(crate) fn plain_fields<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> (Fields, ArrayKind) {
    let mut fields = Fields::new();
    for (key, text) in pairs {
        let Some((_, integer)) = PLAIN_KEYS.iter().find(|(plain, _)| *plain == key) else { continue };
        let number = if *integer { text.trim().parse::<i64>().ok() } else { None };
        fields.insert(key.into(), number.map_or_else(|| json!(text), |number| json!(number)));
    }
    let has = |key: &str| fields.get(key).is_some_and(Value::is_i64);
    let kind = if has("start_index") && has("end_index") { ArrayKind::Field } else { ArrayKind::Bare };
    (fields, kind)
}

/// The metadata that embstore has written.
pub(crate) fn own_metadata(path: &Path, text: &str) -> Result<Fields, FormatError> {
    serde_json::from_str::<Map<String, Value>>(text).map_err(|error| FormatError::Container {
        path: path.to_path_buf(),
        what: format!("its metadata {METADATA_KEY:?} is no JSON object: {error}"),
        hint: "export the store again",
    })
}

/// The plain text of some of the metadata, for people who look at the file with other tools.
pub(crate) fn for_people(metadata: &Fields) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    let keys = ["model", "timestamp", "shape", "embedding_dim"];
    let known = keys.iter().filter_map(|key| Some((key, metadata.get(*key).filter(|value| !value.is_null())?)));
    known.map(|(key, value)| ((*key).to_string(), text(value))).collect()
}

/// What a table is made of.
pub(crate) fn describe(rows: u64, columns: &[Column], mut fields: Fields) -> Fields {
    let types: Map<String, Value> =
        columns.iter().map(|column| (column.name.clone(), json!(column.kind.to_string()))).collect();
    fields.insert("rows".into(), json!(rows));
    fields.insert("columns".into(), Value::Object(types));
    fields
}
