//! JSON lines: one object a line, blank lines aside.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{Article, ArticlesError};
use crate::error::FormatError;

/// Longest line, and so the most memory that one article can cost.
const LINE_LIMIT: u64 = 16 << 20;

/// Fields that are not named are parsed and dropped, never built.
#[derive(Deserialize)]
struct Line<'a> {
    id: Option<Value>,
    #[serde(borrow)]
    title: Option<Cow<'a, str>>,
    #[serde(borrow)]
    url: Option<Cow<'a, str>>,
}

pub(super) fn read(
    file: File,
    path: &Path,
    visit: &mut dyn FnMut(Article<'_>) -> ControlFlow<()>,
) -> Result<u64, FormatError> {
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let (mut bytes, mut count, mut number) = (Vec::new(), 0, 0);
    loop {
        bytes.clear();
        number += 1;
        let limit = LINE_LIMIT + 1;
        let read = reader.by_ref().take(limit).read_until(b'\n', &mut bytes).map_err(FormatError::io("read", path))?;
        if read == 0 {
            return Ok(count);
        }
        if read as u64 == limit {
            return Err(ArticlesError::LongLine { line: number, limit: LINE_LIMIT }.at(path));
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let line =
            serde_json::from_slice(&bytes).map_err(|source| ArticlesError::Line { line: number, source }.at(path))?;
        let flow = visit_line(&line, &bytes, count, visit).map_err(|source| source.at(path))?;
        count += 1;
        if flow.is_break() {
            return Ok(count);
        }
    }
}

fn visit_line(
    line: &Line<'_>,
    bytes: &[u8],
    index: u64,
    visit: &mut dyn FnMut(Article<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, ArticlesError> {
    let missing = |key| {
        let object: serde_json::Map<String, Value> = serde_json::from_slice(bytes).unwrap_or_default();
        ArticlesError::MissingKey { index, key, have: object.keys().cloned().collect() }
    };
    let id = match line.id.as_ref().ok_or_else(|| missing("id"))? {
        Value::String(text) => Cow::Borrowed(text.as_str()),
        Value::Number(number) if !number.is_f64() => Cow::Owned(number.to_string()),
        other => return Err(ArticlesError::WrongType { index, key: "id", got: other.to_string() }),
    };
    let title = line.title.as_deref().ok_or_else(|| missing("title"))?;
    let url = line.url.as_deref().ok_or_else(|| missing("url"))?;
    Ok(visit(Article { id: &id, title, url }))
}
