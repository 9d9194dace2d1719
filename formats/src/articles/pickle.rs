//! A pickled list of dicts, streamed: each dict is handed over as it is completed and forgotten.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;

use super::{Article, ArticlesError, KEYS};
use crate::error::FormatError;
use crate::pickle::{FileSource, ItemRef, ItemSink, PickleError, scan};

pub(super) fn read(
    file: File,
    path: &Path,
    visit: &mut dyn FnMut(Article<'_>) -> ControlFlow<()>,
) -> Result<u64, FormatError> {
    let source = FileSource::new(file).map_err(FormatError::io("read", path))?;
    let mut sink = Sink { visit, count: 0, seen: false, error: None };
    let scanned = scan(&source, &mut sink);
    if let Some(error) = sink.error {
        return Err(error.at(path));
    }
    match scanned {
        Ok(pickle) if !sink.seen => {
            let got = pickle.tree.type_name(pickle.tree.root()).to_string();
            Err(ArticlesError::NotAList { got }.at(path))
        }
        Ok(_) | Err(PickleError::Stopped) => Ok(sink.count),
        Err(source) => Err(ArticlesError::Pickle(source).at(path)),
    }
}

struct Sink<'a> {
    visit: &'a mut dyn FnMut(Article<'_>) -> ControlFlow<()>,
    count: u64,
    seen: bool,
    error: Option<ArticlesError>,
}

impl ItemSink for Sink<'_> {
    fn wants(&mut self, key: Option<&str>) -> bool {
        let wanted = matches!(key, None | Some("articles"));
        self.seen |= wanted;
        wanted
    }

    fn item(&mut self, index: u64, item: ItemRef<'_>) -> ControlFlow<()> {
        self.count = index + 1;
        match article(index, item) {
            Ok([id, title, url]) => (self.visit)(Article { id: &id, title: &title, url: &url }),
            Err(error) => {
                self.error = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

fn article(index: u64, item: ItemRef<'_>) -> Result<[String; 3], ArticlesError> {
    if item.type_name() != "dict" {
        return Err(ArticlesError::NotADict { index, got: item.type_name().into() });
    }
    let mut values = [const { String::new() }; 3];
    for (key, value) in KEYS.into_iter().zip(&mut values) {
        let found = item.get(key).ok_or_else(|| ArticlesError::MissingKey { index, key, have: item.keys() })?;
        let text = match found.text().map_err(|source| ArticlesError::Text { index, key, source })? {
            None if key == "id" => found.int_text(),
            text => text,
        };
        *value = text.ok_or_else(|| ArticlesError::WrongType { index, key, got: found.type_name().into() })?;
    }
    Ok(values)
}
