//! Which dataset is meant, and where its rows lie.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use hdf5::{Dataset, File};
use serde_json::Value;

use crate::array::ArrayMeta;
use crate::dtype::Order;
use crate::error::FormatError;
use crate::format::{ArrayKind, Fields, LocateOptions, Located};
use crate::region::Region;
use crate::rows::Payload;

use super::blocks::Hdf5Rows;
use super::listing::{self, Found};
use super::raw::{self, Placement};
use super::{MATRIX, articles, attributes, failed, filters};

/// What a file is and where its rows lie.
pub(super) fn locate(path: &Path, options: &LocateOptions) -> Result<Located, FormatError> {
    let file = open(path)?;
    let (name, dataset, mut notes) = find(&file, path, options)?;
    let broken = || failed("cannot be read", path);
    let found = Found::of(name.clone(), &dataset).map_err(broken())?;
    let no_rows = |what: String, hint: &str| FormatError::NoRows { path: path.into(), what, hint: hint.into() };
    let Some((rows, cols, dtype, order)) = found.matrix() else {
        let what = format!("the dataset {name:?} is {}, not a matrix of floats", found.describe());
        return Err(no_rows(what, "name another dataset with --key, or save float32: f[name] = a.astype('f4')"));
    };
    let Some(array) = ArrayMeta::new(rows, cols, dtype, order, Order::C) else {
        return Err(no_rows(format!("the dataset {name:?} is {rows} x {cols}, which no file holds"), "write it again"));
    };
    let placement = raw::placement(&dataset, dtype.size()).map_err(broken())?;
    let payload = match dataset.offset() {
        Some(offset) if placement == Placement::Library => {
            let len = fs::metadata(path).map_err(FormatError::io("read", path))?.len();
            let expected = array.payload_bytes();
            if offset.checked_add(expected).is_none_or(|end| end > len) {
                let (path, got) = (path.to_path_buf(), len.saturating_sub(offset));
                return Err(FormatError::PayloadLength { path, offset, expected, got });
            }
            Region { path: path.to_path_buf(), offset, array }.into()
        }
        _ => blocks(path, &name, array, placement)?,
    };
    let (kind, fields) = match attributes::read_metadata(&file) {
        Some(metadata) => {
            let hint = "the attributes were changed after embstore wrote them: merge again";
            let wrong = |what| FormatError::Container { path: path.into(), what, hint };
            (ArrayKind::Store { articles: articles::count(&file) }, metadata.map_err(wrong)?)
        }
        None => {
            let fields = fields(&file, &dataset).map_err(broken())?;
            (kind(&fields), fields)
        }
    };
    notes.shrink_to_fit();
    Ok(Located { kind, array, payload, fields, notes })
}

/// The plain values of a file without usable rows, and what datasets it has.
pub(super) fn describe(path: &Path) -> Result<Fields, FormatError> {
    let file = open(path)?;
    let mut fields = attributes::read(&file).map_err(failed("cannot be read", path))?;
    let datasets = listing::datasets(&file);
    let entries = datasets.into_iter().map(|found| (found.name.clone(), Value::String(found.describe())));
    fields.insert("datasets".into(), Value::Object(entries.collect()));
    Ok(fields)
}

/// Opens a file to read it. What the system refuses is told as that.
pub(super) fn open(path: &Path) -> Result<File, FormatError> {
    drop(fs::File::open(path).map_err(FormatError::io("open", path))?);
    raw::open(path, false).map_err(failed("cannot be opened", path))
}

/// The dataset under the key; where there is none under the default key, the only matrix.
fn find(file: &File, path: &Path, options: &LocateOptions) -> Result<(String, Dataset, Vec<String>), FormatError> {
    let key = options.key.trim_matches('/');
    let own = |dataset: Dataset, name: String, notes| {
        // A link may lead to another file, which nobody would see change.
        if dataset.filename() != file.filename() {
            let what = format!("the dataset {name:?} is a link into {}", dataset.filename());
            let hint = "merge the file that holds the rows, or copy them: h5copy".into();
            return Err(FormatError::NoRows { path: path.into(), what, hint });
        }
        Ok((name, dataset, notes))
    };
    match file.dataset(key) {
        Ok(dataset) => return own(dataset, key.to_string(), Vec::new()),
        // It is there, and the library does not understand it: a newer version wrote it, or it is damaged.
        Err(error) if file.link_exists(key) && file.group(key).is_err() => {
            let what = format!("the dataset {key:?} cannot be opened: {error}");
            let hint = "if it was written with libver='latest', write it with libver=('earliest', 'v110')";
            return Err(FormatError::Container { path: path.into(), what, hint });
        }
        Err(_) => {}
    }
    let datasets = listing::datasets(file);
    let mut matrices = datasets.iter().filter(|found| found.matrix().is_some());
    if options.key == LocateOptions::default().key
        && let (Some(only), None) = (matrices.next(), matrices.next())
    {
        let note = format!("has no dataset {key:?}: {:?}, its only matrix, is used", only.name);
        let dataset = file.dataset(&only.name).map_err(failed("cannot be read", path))?;
        return own(dataset, only.name.clone(), vec![note]);
    }
    let what = format!("has no dataset {key:?}; it has {}", listing::list(&datasets));
    let hint = match datasets.iter().find(|found| found.matrix().is_some()) {
        Some(found) => format!("name one of them: --key {}", found.name),
        None => format!("save the rows as a matrix of floats: f[{MATRIX:?}] = a.astype('f4')"),
    };
    Err(FormatError::NoRows { path: path.into(), what, hint })
}

/// Rows that are not one run of bytes.
fn blocks(path: &Path, name: &str, array: ArrayMeta, placement: Placement) -> Result<Payload, FormatError> {
    let no_rows = |what: String, hint: &str| {
        Err(FormatError::NoRows { path: path.into(), what: format!("the dataset {name:?} {what}"), hint: hint.into() })
    };
    if let Placement::Chunked { filters, .. } = &placement
        && let Some(filter) = filters::unknown(filters)
    {
        let what = format!("is compressed with {}, which embstore does not read", filters::name(filter));
        return no_rows(what, "write it again without: h5repack -f NONE IN OUT, or h5py with compression='gzip'");
    }
    match Hdf5Rows::new(path, name.to_string(), array, placement, false) {
        Ok(rows) => Ok(Payload::Blocks(Arc::new(rows))),
        Err(what) => no_rows(what, "write it again in one run: h5repack -l CONTI IN OUT"),
    }
}

/// The attributes of the file, and those of the dataset that have other names.
fn fields(file: &File, dataset: &Dataset) -> hdf5::Result<Fields> {
    let mut fields = attributes::read(file)?;
    for (name, value) in attributes::read(dataset)? {
        fields.entry(name).or_insert(value);
    }
    Ok(fields)
}

fn kind(fields: &Fields) -> ArrayKind {
    let is_index = |name: &str| fields.get(name).is_some_and(|value| value.is_i64() || value.is_u64());
    if is_index("start_index") && is_index("end_index") { ArrayKind::Field } else { ArrayKind::Bare }
}
