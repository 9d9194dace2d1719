//! `embstore export`

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use embstore::formats::{Dtype, Writes};
use embstore::text::{megabytes, thousands};
use embstore::{ExportOptions, Observer, RowRange, export};
use serde_json::json;

use super::opening::python;
use super::output::Output;
use super::progress::Reporter;
use super::{BuildArgs, Failure, source_date_epoch, written_formats};

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
    #[arg(long, value_name = "FORMAT", value_parser = written_formats(|writes| writes != Writes::Nothing))]
    format: String,
    /// The file to write [default: the store's name with the format's extension]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Export the first N rows, or rows A up to B
    #[arg(long, value_name = "N|A:B")]
    rows: Option<RowRange>,
    /// Element type to write, rounded to nearest; the largest error is reported
    #[arg(long, value_name = "DTYPE", default_value = "float32",
          value_parser = PossibleValuesParser::new(["float32", "float16", "bfloat16"]))]
    dtype: String,
    #[command(flatten)]
    build: BuildArgs,
}

impl ExportArgs {
    pub(super) fn run(&self, output: Output, observer: Observer<'_>, reporter: &Reporter) -> Result<(), Failure> {
        let mut build = self.build.options();
        build.layout.dtype = Dtype::from_name(&self.dtype).unwrap_or(build.layout.dtype);
        let options = ExportOptions {
            store: self.store.clone(),
            format: self.format.clone(),
            output: self.output.clone(),
            rows: self.rows,
            timestamp: source_date_epoch(),
            build,
        };
        let target = options.output();
        let report = export(&options, observer).map_err(|error| Failure::Work(error, target))?;
        reporter.clear();
        let result = json!({
            "output": report.output.display().to_string(),
            "format": report.format,
            "shape": [report.shape.0, report.shape.1],
            "dtype": report.dtype.name(),
            "bytes": report.bytes,
            "seconds": report.seconds,
            "rows_resumed": report.rows_resumed,
            "largest_error": report.largest_error,
            "quality_metrics": report.metadata["quality_metrics"],
        });
        let (rows, cols) = report.shape;
        Ok(output.result(&result, |out| {
            writeln!(out, "✓ {} rows × {cols} columns in {:.2} s", thousands(rows), report.seconds)?;
            if let Some(error) = report.largest_error {
                writeln!(out, "  {}: the largest error is {error:.3e}", report.dtype)?;
            }
            writeln!(out, "✓ {} ({})", report.output.display(), megabytes(report.bytes))?;
            writeln!(out, "  next: {}", python(report.format, &report.output))
        })?)
    }
}
