//! What was merged, and what a person should know of it.

use std::path::PathBuf;

use embstore_formats::{Dtype, Fields};

use crate::error::Error;
use crate::plan::Plan;
use crate::text::thousands;
use crate::update::Changes;

/// What was merged.
#[derive(Clone, Debug)]
pub struct MergeReport {
    /// The store.
    pub store: PathBuf,
    /// Its format.
    pub format: &'static str,
    /// Rows and columns.
    pub shape: (u64, u64),
    /// Size of all its files.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// Rows of the checkpoints that were not kept.
    pub rows_left_out: u64,
    /// Rows that an earlier try had copied.
    pub rows_resumed: u64,
    /// The store's metadata: quality metrics, chunk info and the rest.
    pub metadata: Fields,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// What has changed since the store was merged last, where one was updated. Where nothing has, nothing was written.
    pub changes: Option<Changes>,
}

/// What a merge would do.
#[derive(Debug)]
pub struct DryRun {
    /// The plan.
    pub plan: Plan,
    /// What has changed since the store was merged last, where one would be updated.
    pub changes: Option<Changes>,
    /// Bytes that each thread would hold, beside some 10 MB for all.
    pub memory_per_thread: u64,
}

/// The error that tells of rows with NaN or infinities.
pub(super) fn non_finite(metrics: &Fields) -> Error {
    let count = |key: &str| metrics[key].as_u64().unwrap_or(0);
    let mut first = String::new();
    for (key, what) in [("first_nan_rows", "NaN"), ("first_inf_rows", "infinity")] {
        for entry in metrics[key].as_array().into_iter().flatten() {
            let (row, file) = (entry["row"].as_u64().unwrap_or(0), entry["file"].as_str().unwrap_or("?"));
            first.push_str(&format!("\n  {what} in row {} ({file})", thousands(row)));
        }
    }
    Error::NonFinite { nan_rows: count("nan_rows"), inf_rows: count("inf_rows"), first }
}

/// What the checkpoints and the quality of their rows give reason to say.
pub(super) fn warnings(plan: &Plan, metadata: &Fields) -> Vec<String> {
    let mut warnings = Vec::new();
    for part in plan.parts() {
        let checkpoint = &part.checkpoint;
        warnings.extend(checkpoint.notes.iter().map(|note| format!("{}: {note}", checkpoint.name())));
        if checkpoint.array.dtype != Dtype::Float32 {
            warnings.push(format!("{}: {} was converted to float32", checkpoint.name(), checkpoint.array.dtype));
        }
    }
    for (count, what) in [
        ("nan_rows", "hold NaN"),
        ("inf_rows", "hold infinities"),
        ("zero_rows", "are all zero"),
        ("narrowed_to_inf", "became infinite in float32"),
    ] {
        let count = metadata["quality_metrics"][count].as_u64().unwrap_or(0);
        if count > 0 {
            warnings.push(format!("{} rows {what}", thousands(count)));
        }
    }
    warnings
}
