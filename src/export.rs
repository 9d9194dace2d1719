//! Export: a store in another format, or a slice of it.

use std::cell::Cell;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use embstore_formats::{ArrayMeta, ByteOrder, Dtype, Fields, Order, Writes, format_named};
use serde_json::{Value, json};

use crate::build::build;
use crate::copy::piece_rows;
use crate::error::Error;
use crate::job::{ArticlesPart, BuildOptions, Job, layout_fields};
use crate::metadata::{Description, gather, measured_chunk, source_checksum};
use crate::plan::{PlanError, RowRange};
use crate::preflight::check_target;
use crate::progress::Observer;
use crate::store::{Chunk, Store};
use crate::text::iso8601;

/// What to export, and how.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// The store.
    pub store: PathBuf,
    /// The format to write, by name.
    pub format: String,
    /// The file to write; the store's name with the format's extension where absent.
    pub output: Option<PathBuf>,
    /// Rows to export; all where absent.
    pub rows: Option<RowRange>,
    /// When the export was made, should the store not say; now where absent.
    pub timestamp: Option<SystemTime>,
    /// What to do about what is there already, and how the work is done.
    pub build: BuildOptions,
}

impl ExportOptions {
    /// All of `store` in the format `format`.
    pub fn new(store: impl Into<PathBuf>, format: &str) -> Self {
        ExportOptions {
            store: store.into(),
            format: format.into(),
            output: None,
            rows: None,
            timestamp: None,
            build: BuildOptions::default(),
        }
    }

    /// The file that is written; `None` where no format has that name.
    #[must_use]
    pub fn output(&self) -> Option<PathBuf> {
        let named = || Some(self.store.with_extension(format_named(&self.format)?.extensions()[0]));
        self.output.clone().or_else(named)
    }
}

/// What was exported.
#[derive(Clone, Debug)]
pub struct ExportReport {
    /// The file that was written.
    pub output: PathBuf,
    /// Its format.
    pub format: &'static str,
    /// Rows and columns.
    pub shape: (u64, u64),
    /// Size of all files.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// Rows that an earlier try had copied.
    pub rows_resumed: u64,
    /// The metadata that was written.
    pub metadata: Fields,
    /// Element type.
    pub dtype: Dtype,
    /// The largest absolute error that a narrower element type has made; `None` where none was asked for.
    pub largest_error: Option<f32>,
}

/// Writes a store in another format, measuring its rows again on the way: a store that disagrees with its metadata is
/// found out and not exported.
///
/// # Errors
/// See [`Error`]; none of them leaves a file that lies.
pub fn export(options: &ExportOptions, observer: Observer<'_>) -> Result<ExportReport, Error> {
    let started = Instant::now();
    let format = format_named(&options.format).ok_or_else(|| Error::Extension { path: options.store.clone() })?;
    let output = options.output().ok_or_else(|| Error::Extension { path: options.store.clone() })?;
    check_target(&output, format, options.build.force)?;
    let store = Store::open(&options.store)?;
    let total = store.array().rows();
    let keep = options.rows.unwrap_or(RowRange { start: 0, end: total });
    if keep.end > total {
        return Err(PlanError::RowsBeyondEnd { range: keep, have: total }.into());
    }
    let (rows, cols) = (keep.end - keep.start, store.array().cols());
    let dtype = options.build.layout.dtype;
    let array = ArrayMeta::new(rows, cols, dtype, ByteOrder::Little, Order::C);
    let array = array.ok_or(PlanError::TooLarge { rows, cols })?;
    let chunks: Vec<Kept> = store.chunks().into_iter().map(|chunk| Kept::of(chunk, keep)).collect();
    let job = Job {
        target: &output,
        format,
        array,
        sources: chunks.iter().map(|kept| store.source(&kept.read, kept.written.start)).collect(),
        awaited: None,
        articles: store.articles().map(|path| ArticlesPart {
            path: path.to_path_buf(),
            source: None,
            skip: keep.start,
            total,
            fit: None,
        }),
        updates: false,
        identity: json!({
            "embstore_version": env!("CARGO_PKG_VERSION"),
            "verb": "export",
            "format": format.name(),
            "store": options.store,
            "rows": [keep.start, keep.end],
            "shape": [rows, cols],
            "piece_rows": piece_rows(cols),
            "layout": layout_fields(&options.build.layout),
            "dtype": options.build.layout.dtype.name(),
        }),
        options: options.build,
    };
    let legacy = format.writes() == Writes::Legacy;
    let field = |key: &str| store.metadata().and_then(|metadata| metadata.get(key)).cloned();
    let timestamp = field("timestamp").and_then(|time| time.as_str().map(String::from));
    let timestamp = timestamp.unwrap_or_else(|| iso8601(options.timestamp.unwrap_or_else(SystemTime::now)));
    let largest_error = Cell::new(None);
    let built = build(
        &job,
        &|measured| {
            let landed = &measured.landed;
            let errors = landed.values().filter_map(|piece| Some(piece.narrowing.as_ref()?.largest_error));
            largest_error.set(errors.reduce(f32::max));
            let (quality, checksum) = gather(landed, 0..u64::MAX);
            let chunk_info: Vec<Value> = chunks
                .iter()
                .map(|kept| measured_chunk(kept.entry.clone(), kept.written.clone(), &array, landed))
                .collect();
            if rows == total {
                let told = field("matrix").map(|matrix| matrix["checksum"].clone());
                let read = source_checksum(landed, 0..u64::MAX);
                agree(&options.store, told, &json!(read.to_string()), "its rows")?;
                for kept in &chunks {
                    let told = kept.entry.get("source").and_then(|source| source.get("checksum")).cloned();
                    let read = source_checksum(landed, kept.written.clone());
                    agree(
                        &options.store,
                        told,
                        &json!(read.to_string()),
                        &format!("the rows of {}", kept.entry["file"]),
                    )?;
                }
            }
            let file_of = |row: u64| {
                let kept = chunks.iter().find(|kept| kept.written.contains(&row))?;
                kept.entry["file"].as_str().map(String::from)
            };
            let description = Description {
                array,
                model: field("model").unwrap_or(Value::Null),
                timestamp: timestamp.clone(),
                quality_metrics: quality.to_json((rows, cols), dtype, &file_of),
                chunk_info: Value::Array(chunk_info),
                checksum,
                header: measured.header,
                row_range: kept_of(&field("row_range"), keep),
                layout: options.build.layout,
                articles_source: field("articles").and_then(|articles| articles.get("source").cloned()),
            };
            Ok(description.to_fields(measured.articles.as_ref(), legacy))
        },
        observer,
    )?;
    Ok(ExportReport {
        format: format.name(),
        shape: (rows, cols),
        bytes: built.bytes,
        seconds: started.elapsed().as_secs_f64(),
        rows_resumed: built.rows_resumed,
        metadata: built.metadata,
        dtype,
        largest_error: largest_error.get(),
        output,
    })
}

/// The rows of a chunk that are exported: where they are read, and where they are written.
struct Kept {
    read: Range<u64>,
    written: Range<u64>,
    entry: Value,
}

impl Kept {
    fn of(chunk: Chunk, keep: RowRange) -> Self {
        let read = chunk.rows.start.clamp(keep.start, keep.end)..chunk.rows.end.clamp(keep.start, keep.end);
        Kept { written: read.start - keep.start..read.end - keep.start, read, entry: chunk.entry }
    }
}

/// Rows of the checkpoints, given the rows of the store.
fn kept_of(row_range: &Option<Value>, keep: RowRange) -> RowRange {
    let start = row_range.as_ref().and_then(|range| range[0].as_u64()).unwrap_or(0);
    RowRange { start: start + keep.start, end: start + keep.end }
}

/// What the metadata tells, if it does, must be what was measured.
fn agree(store: &Path, told: Option<Value>, measured: &Value, what: &str) -> Result<(), Error> {
    match told {
        Some(told) if told.is_string() && told != *measured => {
            let what = format!("{what} have the checksum {measured}, its metadata says {told}");
            Err(Error::Store { path: store.to_path_buf(), what })
        }
        _ => Ok(()),
    }
}
