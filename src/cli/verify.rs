//! `embstore verify`

use std::path::PathBuf;

use clap::Args;
use embstore::{Observer, Settings, VerifyOptions, verify};
use serde_json::json;

use super::Failure;
use super::merge::print_quality;
use super::output::Output;
use super::progress::Reporter;

/// Read a store again and check it against its metadata.
///
/// Rows and articles must have the checksums and the metrics that the metadata tells; with --checkpoints every row is
/// compared with its source.
#[derive(Args)]
#[command(after_help = "\
Examples:
  embstore verify wikipedia.npy
  embstore verify wikipedia.npy --checkpoints embeddings/")]
pub(super) struct VerifyArgs {
    /// The store
    #[arg(value_name = "STORE")]
    store: PathBuf,
    /// Checkpoints to compare every row with
    #[arg(long, value_name = "DIR")]
    checkpoints: Option<PathBuf>,
    /// Threads that read [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
}

impl VerifyArgs {
    pub(super) fn run(&self, output: Output, observer: Observer<'_>, reporter: &Reporter) -> Result<(), Failure> {
        let options = VerifyOptions {
            store: self.store.clone(),
            checkpoints: self.checkpoints.clone(),
            settings: Settings { threads: self.threads.map_or(0, usize::from), ..Settings::default() },
        };
        let report = verify(&options, observer)?;
        reporter.clear();
        let ok = report.problems.is_empty();
        let result = json!({
            "store": report.store.display().to_string(),
            "ok": ok,
            "problems": report.problems,
            "quality_metrics": report.quality_metrics,
        });
        output.result(&result, |out| {
            if let Some(metrics) = &report.quality_metrics {
                print_quality(&metrics.clone().into(), out)?;
            }
            for problem in &report.problems {
                writeln!(out, "✗ {problem}")?;
            }
            if ok {
                writeln!(out, "✓ {} is sound", report.store.display())
            } else {
                writeln!(out, "  merge the checkpoints again: embstore merge … -o {} --force", report.store.display())
            }
        })?;
        if ok { Ok(()) } else { Err(Failure::Unsound) }
    }
}
