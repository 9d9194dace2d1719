//! Verify: a store is read again and held against its metadata, and on request against its checkpoints.

use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

use embstore_formats::articles::{self, ArticlesWritten, ContentHasher};
use embstore_formats::{Checksum, Dtype, Fields, FormatError};
use serde_json::{Value, json};

use crate::copy::{Settings, Source, copy, piece_rows};
use crate::error::Error;
use crate::journal::Landed;
use crate::merge::{MergeOptions, plan_arriving, sources};
use crate::metadata::{gather, metadata_checksum, store_id};
use crate::plan::{Plan, RowRange};
use crate::progress::{Observer, Phase};
use crate::store::Store;
use crate::text::thousands;

/// How many differing rows are named.
const NAMED_ROWS: usize = 10;

/// What to verify, and how.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// The store.
    pub store: PathBuf,
    /// Checkpoints, or a folder of them, to compare every row with.
    pub checkpoints: Option<PathBuf>,
    /// Threads that read.
    pub settings: Settings,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// The store.
    pub store: PathBuf,
    /// What is wrong; empty for a sound store.
    pub problems: Vec<String>,
    /// The metrics as measured now; `None` where the rows could not be read.
    pub quality_metrics: Option<Fields>,
}

/// Reads a store again: its rows must have the checksum and the metrics that its metadata tells, its articles theirs.
///
/// # Errors
/// Where there is nothing to read, or the work was cancelled. What is wrong with the store is in the report.
pub fn verify(options: &VerifyOptions, observer: Observer<'_>) -> Result<VerifyReport, Error> {
    let mut report = VerifyReport { store: options.store.clone(), problems: Vec::new(), quality_metrics: None };
    let store = match Store::open(&options.store) {
        Ok(store) => store,
        Err(error @ Error::NotAStore { .. }) => return Err(error),
        Err(error) if !options.store.exists() => return Err(error),
        Err(error) => {
            report.problems.push(error.to_string());
            return Ok(report);
        }
    };
    observer.progress.begin(Phase::Verify, store.array().rows(), store.array().row_bytes());
    let chunks = store.chunks();
    let whole: Vec<Source<'_>> = chunks.iter().map(|chunk| store.source(&chunk.rows, chunk.rows.start)).collect();
    let landed = copy(&whole, None, None, options.settings, observer, || true)?;
    let (quality, checksum) = gather(&landed, 0..u64::MAX);
    let file_of = |row: u64| {
        let chunk = chunks.iter().find(|chunk| chunk.rows.contains(&row))?;
        chunk.entry["file"].as_str().map(String::from)
    };
    let metrics = quality.to_json((store.array().rows(), store.array().cols()), stored_dtype(&store), &file_of);
    if let Some(metadata) = store.metadata() {
        let written = articles_of(&store, &mut report.problems)?;
        let mut told = Told { metadata, problems: &mut report.problems };
        told.compare("/matrix/checksum", &json!(checksum.to_string()), "the rows");
        if let Some(header) = store.header()? {
            told.compare("/matrix/header/checksum", &json!(header.to_string()), "the header");
        }
        told.compare("/metadata_checksum", &json!(metadata_checksum(metadata)), "the metadata");
        told.compare_metrics(&metrics);
        for (index, chunk) in chunks.iter().enumerate() {
            let (_, checksum) = gather(&landed, chunk.rows.clone());
            let what = format!("the rows of {}", chunk.entry["file"].as_str().unwrap_or("a chunk"));
            told.compare(&format!("/chunk_info/{index}/source/checksum"), &json!(checksum.to_string()), &what);
        }
        if let Some(written) = written {
            told.compare("/articles/checksum", &json!(written.checksum.to_string()), "the articles");
            told.compare("/articles/count", &json!(written.count), "the articles");
        }
        told.compare("/total_articles", &json!(store.array().rows()), "the rows");
        told.compare("/embedding_dim", &json!(store.array().cols()), "the rows");
        told.compare("/store_id", &json!(store_id(store.array(), checksum, written.as_ref())), "the content");
    }
    if let Some(checkpoints) = &options.checkpoints {
        compare_checkpoints(options, &store, checkpoints, observer, &mut report.problems)?;
    }
    report.quality_metrics = Some(metrics);
    Ok(report)
}

/// What the metadata tells, against what is so.
struct Told<'a> {
    metadata: &'a Fields,
    problems: &'a mut Vec<String>,
}

impl Told<'_> {
    /// Legacy pickles lack some keys; what is not told cannot be wrong.
    fn compare(&mut self, pointer: &str, measured: &Value, what: &str) {
        let mut keys = pointer.split('/').skip(1);
        let first = keys.next().and_then(|key| self.metadata.get(key));
        let told = keys.try_fold(first, |value, key| match value {
            Some(Value::Array(items)) => Some(key.parse::<usize>().ok().and_then(|index| items.get(index))),
            Some(value) => Some(value.get(key)),
            None => None,
        });
        if let Some(told) = told.flatten().filter(|told| *told != measured) {
            let key = pointer[1..].replace('/', ".");
            self.problems.push(format!("{what}: {key} is {measured}, the metadata says {told}"));
        }
    }

    fn compare_metrics(&mut self, metrics: &Fields) {
        // What was lost on the way into the store cannot be seen in it.
        let lost = |key: &&String| ["narrowed_to_inf", "first_narrowed_rows"].contains(&key.as_str());
        // Other writers of the legacy dict have fewer metrics, and f32 norms.
        for (key, measured) in metrics.iter().filter(|(key, _)| !lost(key)) {
            let told = self.metadata.get("quality_metrics").and_then(|told| told.get(key));
            let same = match (told, told.and_then(Value::as_f64), measured.as_f64()) {
                (None, ..) => true,
                (_, Some(told), Some(measured)) => (told - measured).abs() <= 1e-6 * measured.abs().max(1.0),
                (Some(told), ..) => told == measured,
            };
            if !same {
                self.compare(&format!("/quality_metrics/{key}"), measured, "the rows");
            }
        }
    }
}

/// Counts the articles and measures their file, or their content where the store holds them itself.
fn articles_of(store: &Store, problems: &mut Vec<String>) -> Result<Option<ArticlesWritten>, Error> {
    let Some(path) = store.articles() else { return Ok(None) };
    let scratch = embstore_formats::LocateOptions::default().scratch;
    let mut content = ContentHasher::default();
    let count = match articles::read(path, &scratch, &mut |article| {
        content.update(article);
        ControlFlow::Continue(())
    }) {
        Ok(count) => count,
        Err(error) => {
            problems.push(error.to_string());
            return Ok(None);
        }
    };
    if count != store.array().rows() {
        let rows = thousands(store.array().rows());
        problems.push(format!("{}: {} articles for {rows} rows", path.display(), thousands(count)));
    }
    if path == store.path() {
        return Ok(Some(content.written()));
    }
    let checksum = Checksum::of_file(path).map_err(FormatError::io("read", path))?;
    Ok(Some(ArticlesWritten { count, checksum }))
}

/// Every row against its source, piece by piece; where a piece differs, row by row.
fn compare_checkpoints(
    options: &VerifyOptions,
    store: &Store,
    checkpoints: &Path,
    observer: Observer<'_>,
    problems: &mut Vec<String>,
) -> Result<(), Error> {
    let mut merge = MergeOptions::new(checkpoints, &options.store);
    merge.rows = Some(kept(store));
    let plan = match plan_arriving(&merge, &[], observer) {
        Ok(plan) => plan,
        Err(error) => {
            problems.push(format!("the checkpoints cannot be compared: {error}"));
            return Ok(());
        }
    };
    if plan.array() != store.array() {
        problems.push(format!("the checkpoints make {:?}, the store is {:?}", plan.array(), store.array()));
        return Ok(());
    }
    observer.progress.begin(Phase::Verify, 2 * store.array().rows(), store.array().row_bytes());
    let theirs = sources(&plan);
    let expected = copy(&theirs, None, None, options.settings, observer, || true)?;
    let ours: Vec<Source<'_>> = theirs
        .iter()
        .map(|source| store.source(&(source.store_row..source.store_row + source.rows), source.store_row))
        .collect();
    let got = copy(&ours, None, None, options.settings, observer, || true)?;
    let differing = differing_rows(&plan, &theirs, &ours, &expected, &got)?;
    for row in differing.iter().take(NAMED_ROWS) {
        let file = plan.file_of(*row).unwrap_or_default();
        problems.push(format!("row {} differs from {file}", thousands(*row)));
    }
    if differing.len() > NAMED_ROWS {
        problems.push(format!(
            "{} rows more differ from their checkpoints",
            thousands((differing.len() - NAMED_ROWS) as u64)
        ));
    }
    Ok(())
}

/// The rows of the checkpoints that the store keeps, from its first chunk with rows.
fn kept(store: &Store) -> RowRange {
    let rows = store.array().rows();
    let start = store.metadata().and_then(|metadata| metadata.get("row_range")?.get(0)?.as_u64()).unwrap_or(0);
    RowRange { start, end: start + rows }
}

fn differing_rows(
    plan: &Plan,
    theirs: &[Source<'_>],
    ours: &[Source<'_>],
    expected: &Landed,
    got: &Landed,
) -> Result<Vec<u64>, Error> {
    let cols = plan.array().cols() as usize;
    let mut differing = Vec::new();
    for (row, piece) in expected.iter().filter(|(row, piece)| got[row].checksum() != piece.checksum()) {
        let rows = *row..row + piece.rows;
        let (expected, got) = (read(theirs, &rows, cols)?, read(ours, &rows, cols)?);
        let pairs = expected.chunks_exact(cols).zip(got.chunks_exact(cols)).zip(rows);
        // By bits: a NaN equals itself here.
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        differing.extend(pairs.filter(|((a, b), _)| bits(a) != bits(b)).map(|(_, row)| row));
    }
    Ok(differing)
}

/// The rows of one piece, which lie in one source.
fn read(sources: &[Source<'_>], rows: &Range<u64>, cols: usize) -> Result<Vec<f32>, Error> {
    debug_assert!(rows.end - rows.start <= piece_rows(cols as u64));
    let mut block = vec![0.0; (rows.end - rows.start) as usize * cols];
    if let Some(source) = sources.iter().find(|s| (s.store_row..s.store_row + s.rows).contains(&rows.start)) {
        let file = std::fs::File::open(&source.path).map_err(FormatError::io("open", &source.path))?;
        let mut reader = source.payload.reader(file, &source.path)?;
        reader.read(source.first + rows.start - source.store_row, &mut block, &mut Vec::new())?;
    }
    Ok(block)
}

/// The element type that the metrics of a store name: its own where it was narrowed, else float32.
fn stored_dtype(store: &Store) -> Dtype {
    match store.array().dtype {
        dtype @ (Dtype::Float16 | Dtype::Bfloat16) => dtype,
        Dtype::Float32 | Dtype::Float64 => Dtype::Float32,
    }
}
