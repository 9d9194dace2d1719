//! `embstore merge`

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use embstore::formats::Writes;
use embstore::text::{megabytes, thousands};
use embstore::{Changes, DryRun, MergeOptions, MergeReport, NonFinite, Observer, Plan, RowRange, dry_run, merge};
use serde_json::{Value, json};

use super::opening::python;
use super::output::Output;
use super::progress::Reporter;
use super::{BuildArgs, Failure, source_date_epoch, written_formats};

/// Merge checkpoints into a store.
///
/// Locates the rows in every checkpoint, verifies that their ranges meet without gap or overlap, and copies them into
/// the store while it measures them. Interrupted, the same command goes on where it was.
#[derive(Args)]
#[command(after_help = "\
Examples:
  embstore merge embeddings/ -o wikipedia.npy
  embstore merge embeddings/ -o wikipedia.npy --rows 250000 --articles wikipedia.pkl
  embstore merge a.pkl b.pkl -o both.npy --dry-run
  embstore merge embeddings/ -o wikipedia_merged.pkl --articles wikipedia.pkl --model google/embeddinggemma-300m

Then, in Python:
  np.load(\"wikipedia.npy\", mmap_mode=\"r\")")]
pub(super) struct MergeArgs {
    /// Checkpoints, or folders of them
    #[arg(default_value = "embeddings/", value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// The store to write
    #[arg(long, short, value_name = "STORE")]
    output: PathBuf,
    /// Which files of a folder are meant [default: cluster*_gpu*.pkl where any matches, else all checkpoints]
    #[arg(long, value_name = "GLOB")]
    pattern: Option<String>,
    /// Print the plan and stop
    #[arg(long, short = 'n')]
    dry_run: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// What becomes of the checkpoints: what merge and run share.
#[derive(Args)]
#[command(next_help_heading = "Store")]
pub(super) struct StoreArgs {
    /// Its format [default: by its extension]
    #[arg(long, value_name = "FORMAT",
          value_parser = written_formats(|writes| matches!(writes, Writes::Stores | Writes::Legacy)))]
    format: Option<String>,
    /// First rows of files that do not name their own: JSON lines {"file": …, "start_index": …}
    #[arg(long, value_name = "FILE")]
    ranges: Option<PathBuf>,
    /// Keep the first N rows, or rows A up to B, and leave out the others
    #[arg(long, value_name = "N|A:B")]
    rows: Option<RowRange>,
    /// Refuse checkpoints of another width
    #[arg(long, value_name = "D")]
    dim: Option<u64>,
    /// Articles, one a row: a pickled list of dicts, JSON lines or Parquet
    #[arg(long, value_name = "FILE")]
    articles: Option<PathBuf>,
    /// Name of the model, for the metadata [default: what the checkpoints say]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// The field of a checkpoint that holds the rows
    #[arg(long, value_name = "NAME", default_value = "embeddings")]
    key: String,
    /// What to do with rows that hold NaN or infinities
    #[arg(long, value_enum, default_value_t = OnNonFinite::Warn, value_name = "WHAT")]
    non_finite: OnNonFinite,
    /// Bring a finished store up to date: only checkpoints that are new or have changed are read again
    #[arg(long)]
    update: bool,
    #[command(flatten)]
    build: BuildArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum OnNonFinite {
    /// Keep them and say so
    Warn,
    /// Write nothing
    Error,
}

impl MergeArgs {
    pub(super) fn run(&self, output: Output, observer: Observer<'_>, reporter: &Reporter) -> Result<(), Failure> {
        let options = self.store.options(self.inputs.clone(), self.pattern.clone(), self.output.clone());
        if self.dry_run {
            let planned = dry_run(&options, observer)?;
            reporter.clear();
            return Ok(output.result(&dry_run_json(&planned), |out| print_dry_run(&planned, &options, out))?);
        }
        let failed = |error| Failure::Work(error, Some(options.output.clone()));
        let report = merge(&options, observer).map_err(failed)?;
        reporter.clear();
        Ok(output.result(&report_json(&report), |out| print_report(&report, out))?)
    }
}

impl StoreArgs {
    /// What to merge into `output`.
    pub(super) fn options(&self, inputs: Vec<PathBuf>, pattern: Option<String>, output: PathBuf) -> MergeOptions {
        MergeOptions {
            inputs,
            pattern,
            output,
            format: self.format.clone(),
            ranges: self.ranges.clone(),
            rows: self.rows,
            dim: self.dim,
            key: self.key.clone(),
            articles: self.articles.clone(),
            model: self.model.clone(),
            non_finite: match self.non_finite {
                OnNonFinite::Warn => NonFinite::Warn,
                OnNonFinite::Error => NonFinite::Error,
            },
            update: self.update,
            timestamp: source_date_epoch(),
            build: self.build.options(),
        }
    }
}

/// What would be merged, as JSON.
pub(super) fn dry_run_json(planned: &DryRun) -> Value {
    let mut json = plan_json(&planned.plan);
    json["changes"] = changes_json(planned.changes.as_ref());
    json["memory_per_thread"] = json!(planned.memory_per_thread);
    json
}

/// What would be merged, for people.
pub(super) fn print_dry_run(planned: &DryRun, options: &MergeOptions, out: &mut dyn Write) -> io::Result<()> {
    print_plan(&planned.plan, options, out)?;
    writeln!(out, "  memory: about 10 MB, and {} a thread", megabytes(planned.memory_per_thread))?;
    print_changes(planned.changes.as_ref(), out)?;
    writeln!(out, "  nothing was written; run it without --dry-run to merge")
}

fn plan_json(plan: &Plan) -> Value {
    let parts = plan.parts().iter().map(|part| {
        json!({
            "file": part.checkpoint.path.display().to_string(),
            "cluster_id": part.checkpoint.cluster_id,
            "gpu_id": part.checkpoint.gpu_id,
            "start_index": part.range.start,
            "end_index": part.range.end,
            "rows": part.rows,
            "dtype": part.checkpoint.array.dtype.name(),
        })
    });
    json!({
        "dry_run": true,
        "shape": [plan.array().rows(), plan.array().cols()],
        "bytes": plan.array().payload_bytes(),
        "rows_left_out": plan.rows_left_out(),
        "plan": parts.collect::<Value>(),
    })
}

fn print_plan(plan: &Plan, options: &MergeOptions, out: &mut dyn Write) -> io::Result<()> {
    let id = |id: Option<i64>| id.map_or_else(|| "-".into(), |id| id.to_string());
    let rows: Vec<[String; 7]> = plan
        .parts()
        .iter()
        .map(|part| {
            [
                part.checkpoint.name(),
                id(part.checkpoint.cluster_id),
                id(part.checkpoint.gpu_id),
                thousands(part.range.start),
                thousands(part.range.end),
                thousands(part.rows),
                part.checkpoint.array.dtype.to_string(),
            ]
        })
        .collect();
    let head = ["file", "cluster", "gpu", "start", "end", "rows kept", "dtype"].map(String::from);
    let widths: [usize; 7] = std::array::from_fn(|column| {
        std::iter::once(&head).chain(&rows).map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    for row in std::iter::once(&head).chain(&rows) {
        let [file, numbers @ .., dtype] = row;
        write!(out, "{file:<0$}", widths[0])?;
        for (number, width) in numbers.iter().zip(&widths[1..]) {
            write!(out, "  {number:>width$}")?;
        }
        writeln!(out, "  {dtype}")?;
    }
    let array = plan.array();
    writeln!(
        out,
        "\n✓ {} rows × {} columns, {} in {}",
        thousands(array.rows()),
        array.cols(),
        megabytes(array.payload_bytes()),
        options.output.display()
    )?;
    print_left_out(plan.rows_left_out(), out)
}

fn changes_json(changes: Option<&Changes>) -> Value {
    changes.map_or(Value::Null, |changes| {
        json!({
            "unchanged": changes.unchanged,
            "changed": changes.changed,
            "added": changes.added,
            "gone": changes.gone,
        })
    })
}

fn print_changes(changes: Option<&Changes>, out: &mut dyn Write) -> io::Result<()> {
    let Some(changes) = changes else { return Ok(()) };
    for (names, what) in [
        (&changes.changed, "changed, read again"),
        (&changes.added, "new"),
        (&changes.gone, "gone, its rows are dropped"),
    ] {
        for name in names {
            writeln!(out, "  {name}: {what}")?;
        }
    }
    writeln!(out, "  {} checkpoints unchanged, taken from the store", changes.unchanged.len())
}

fn print_left_out(rows: u64, out: &mut dyn Write) -> io::Result<()> {
    if rows > 0 {
        writeln!(out, "⚠ {} rows are left out (--rows)", thousands(rows))?;
    }
    Ok(())
}

/// The result of a merge as JSON.
pub(super) fn report_json(report: &MergeReport) -> Value {
    json!({
        "store": report.store.display().to_string(),
        "format": report.format,
        "shape": [report.shape.0, report.shape.1],
        "dtype": "float32",
        "bytes": report.bytes,
        "seconds": report.seconds,
        "rows_left_out": report.rows_left_out,
        "rows_resumed": report.rows_resumed,
        "quality_metrics": report.metadata["quality_metrics"],
        "chunk_info": report.metadata["chunk_info"],
        "warnings": report.warnings,
        "changes": changes_json(report.changes.as_ref()),
    })
}

/// What was merged, for people.
pub(super) fn print_report(report: &MergeReport, out: &mut dyn Write) -> io::Result<()> {
    let (rows, cols) = report.shape;
    if report.changes.as_ref().is_some_and(Changes::is_empty) {
        writeln!(out, "✓ {} is up to date: {} rows × {cols} columns", report.store.display(), thousands(rows))?;
        return writeln!(out, "  nothing was written");
    }
    print_changes(report.changes.as_ref(), out)?;
    let checkpoints = report.metadata["chunk_info"].as_array().map_or(0, Vec::len);
    let speed = megabytes(((rows * cols * 4) as f64 / report.seconds.max(1e-9)) as u64);
    writeln!(
        out,
        "✓ {} rows × {cols} columns from {checkpoints} checkpoints in {:.2} s ({speed}/s)",
        thousands(rows),
        report.seconds
    )?;
    if report.rows_resumed > 0 {
        writeln!(out, "  {} rows were there from an earlier run", thousands(report.rows_resumed))?;
    }
    print_left_out(report.rows_left_out, out)?;
    print_quality(&report.metadata["quality_metrics"], out)?;
    for warning in &report.warnings {
        writeln!(out, "⚠ {warning}")?;
    }
    let store = report.store.display();
    writeln!(out, "✓ {store} ({})", megabytes(report.bytes))?;
    writeln!(out, "  next: {}, or embstore verify {store}", python(report.format, &report.store))
}

/// Norms in one line, and the first rows with findings.
pub(super) fn print_quality(metrics: &Value, out: &mut dyn Write) -> io::Result<()> {
    if let (Some(min), Some(max), Some(mean), Some(std)) = (
        metrics["min_norm"].as_f64(),
        metrics["max_norm"].as_f64(),
        metrics["mean_norm"].as_f64(),
        metrics["std_norm"].as_f64(),
    ) {
        let finite = metrics["has_nan"] == false && metrics["has_inf"] == false;
        let finite = if finite { "; no NaN or infinity" } else { "" };
        writeln!(out, "  norms {min:.6} to {max:.6}, mean {mean:.6}, std {std:.3e}{finite}")?;
    }
    for (key, what) in
        [("first_nan_rows", "NaN"), ("first_inf_rows", "infinity"), ("first_narrowed_rows", "narrowed to infinity")]
    {
        for entry in metrics[key].as_array().into_iter().flatten() {
            let row = thousands(entry["row"].as_u64().unwrap_or(0));
            writeln!(out, "⚠ {what} in row {row} ({})", entry["file"].as_str().unwrap_or("-"))?;
        }
    }
    Ok(())
}
