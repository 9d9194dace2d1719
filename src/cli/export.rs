//! `embstore export`

use std::path::PathBuf;

use clap::Args;
use embstore::text::{megabytes, thousands};
use embstore::{ExportOptions, Observer, RowRange, export};
use serde_json::json;

use super::merge::StoreFormat;
use super::output::Output;
use super::progress::Reporter;
use super::{BuildArgs, Failure, source_date_epoch};

/// Write a store in another format.
///
/// The rows are measured again on the way: a store that disagrees with its metadata is found out.
#[derive(Args)]
#[command(after_help = "\
Examples:
  embstore export wikipedia.npy --format pickle -o wikipedia_merged.pkl
  embstore export wikipedia.npy --format npy --rows 0:1000 -o sample.npy

Then, in Python:
  pickle.load(open(\"wikipedia_merged.pkl\", \"rb\"))[\"embeddings\"]")]
pub(super) struct ExportArgs {
    /// The store
    #[arg(value_name = "STORE")]
    store: PathBuf,
    /// The format to write
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: StoreFormat,
    /// The file to write [default: the store's name with the format's extension]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Export the first N rows, or rows A up to B
    #[arg(long, value_name = "N|A:B")]
    rows: Option<RowRange>,
    #[command(flatten)]
    build: BuildArgs,
}

impl ExportArgs {
    pub(super) fn run(&self, output: Output, observer: Observer<'_>, reporter: &Reporter) -> Result<(), Failure> {
        let options = ExportOptions {
            store: self.store.clone(),
            format: self.format.name().into(),
            output: self.output.clone(),
            rows: self.rows,
            timestamp: source_date_epoch(),
            build: self.build.options(),
        };
        let target = options.output();
        let report = export(&options, observer).map_err(|error| Failure::Work(error, target))?;
        reporter.clear();
        let result = json!({
            "output": report.output.display().to_string(),
            "format": report.format,
            "shape": [report.shape.0, report.shape.1],
            "dtype": "float32",
            "bytes": report.bytes,
            "seconds": report.seconds,
            "rows_resumed": report.rows_resumed,
            "quality_metrics": report.metadata["quality_metrics"],
        });
        let (rows, cols) = report.shape;
        Ok(output.result(&result, |out| {
            writeln!(out, "✓ {} rows × {cols} columns in {:.2} s", thousands(rows), report.seconds)?;
            writeln!(out, "✓ {} ({})", report.output.display(), megabytes(report.bytes))
        })?)
    }
}
