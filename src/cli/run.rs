//! `embstore run`

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::SystemTime;

use clap::Args;
use embstore::inputs::CHECKPOINT_PATTERN;
use embstore::text::iso8601;
use embstore::{
    Error, MergeOptions, Observer, RunOptions, RunReport, SyncOptions, SyncReport, dry_run, dry_run_sync, run,
};
use serde_json::{Value, json};

use super::Failure;
use super::merge::{self, StoreArgs};
use super::output::Output;
use super::progress::Reporter;
use super::sync::{self, SourceArgs};

/// Sync and merge in one go: the drop-in for the Python script.
///
/// Fetches the checkpoints of all clusters and merges each while others are still on their way; the result is that of
/// embstore sync, then embstore merge. Interrupted, the same command goes on in either phase. The output is replaced at
/// the end; checkpoints are kept.
#[derive(Args)]
#[command(after_help = "\
Examples:
  embstore run
  embstore run --sync-only
  embstore run --merge-only --output backups/embeddings_2024-11-14.pkl
  embstore run --clusters \"tensor01 tensor02\" --output wikipedia.npy")]
pub(super) struct RunArgs {
    /// Fetch, and do not merge
    #[arg(long, conflicts_with = "merge_only")]
    sync_only: bool,
    /// Merge what is there, and fetch nothing
    #[arg(long)]
    merge_only: bool,
    /// The store to write; it is replaced at the end
    #[arg(long, short, value_name = "STORE", default_value = "embeddings/wikipedia_merged.pkl")]
    output: PathBuf,
    /// The folder of the checkpoints: fetched into, merged from
    #[arg(long, value_name = "DIR", default_value = "embeddings/")]
    checkpoints: PathBuf,
    /// Which files are meant
    #[arg(long, value_name = "GLOB", default_value = CHECKPOINT_PATTERN)]
    pattern: String,
    /// Merge without articles
    #[arg(long)]
    no_articles: bool,
    /// Print what would be fetched, or the plan where nothing is missing, and stop
    #[arg(long, short = 'n')]
    dry_run: bool,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    store: StoreArgs,
}

/// What the Python script had fixed, as defaults of this verb's flags.
pub(super) const DEFAULTS: [(&str, &str); 4] =
    [("articles", "wikipedia.pkl"), ("rows", "250000"), ("dim", "768"), ("model", "google/embeddinggemma-300m")];

impl RunArgs {
    pub(super) fn run(&self, output: Output, observer: Observer<'_>, reporter: &Reporter) -> Result<(), Failure> {
        let sync = self.source.options(self.checkpoints.clone(), self.pattern.clone());
        let merge = self.merge_options();
        if self.dry_run {
            return self.dry_run(&sync, &merge, output, observer, reporter);
        }
        if !output.json && !output.quiet {
            let now = iso8601(SystemTime::now());
            writeln!(io::stdout(), "embstore run {} · {now}", env!("CARGO_PKG_VERSION"))?;
        }
        let options =
            RunOptions { sync: (!self.merge_only).then_some(sync), merge: (!self.sync_only).then_some(merge) };
        let report = run(&options, observer).map_err(|error| Failure::Work(error, Some(self.output.clone())))?;
        reporter.clear();
        output.result(&report_json(&report), |out| self.print(&report, out))?;
        let Some(synced) = &report.sync else { return Ok(()) };
        sync::print_failures(synced);
        if synced.is_complete() { Ok(()) } else { Err(Failure::Unsound) }
    }

    fn merge_options(&self) -> MergeOptions {
        let mut options =
            self.store.options(vec![self.checkpoints.clone()], Some(self.pattern.clone()), self.output.clone());
        options.build.force = true;
        if self.no_articles {
            options.articles = None;
        }
        options
    }

    fn dry_run(
        &self,
        sync: &SyncOptions,
        merge: &MergeOptions,
        output: Output,
        observer: Observer<'_>,
        reporter: &Reporter,
    ) -> Result<(), Failure> {
        let mut json = json!({"dry_run": true, "sync": Value::Null, "merge": Value::Null});
        let mut synced = SyncReport::default();
        if !self.merge_only {
            synced = dry_run_sync(sync, observer).map_err(Error::from)?;
            json["sync"] = sync::dry_run_json(&synced);
        }
        let is_there = synced.files.iter().all(|file| file.status == embstore::sync::FileStatus::Skipped);
        let planned = (is_there && !self.sync_only).then(|| dry_run(merge, observer)).transpose()?;
        if let Some(planned) = &planned {
            json["merge"] = merge::dry_run_json(planned);
        }
        reporter.clear();
        output.result(&json, |out| {
            sync::print_dry_run(&synced, out)?;
            match &planned {
                Some(planned) => merge::print_dry_run(planned, merge, out),
                None => Ok(()),
            }
        })?;
        sync::print_failures(&synced);
        if synced.is_complete() { Ok(()) } else { Err(Failure::Unsound) }
    }

    fn print(&self, report: &RunReport, out: &mut dyn Write) -> io::Result<()> {
        if let Some(synced) = &report.sync {
            sync::print_summary(synced, out)?;
            if !synced.is_complete() {
                let checkpoints = self.checkpoints.display();
                writeln!(out, "⚠ not merged: checkpoints are missing; what has arrived is kept in {checkpoints}")?;
                return writeln!(out, "  next: run it again, or merge what is there with --merge-only");
            }
        }
        match &report.merge {
            Some(merged) => merge::print_report(merged, out)?,
            None => writeln!(out, "  next: embstore run --merge-only")?,
        }
        writeln!(out, "✓ done in {:.2} s", report.seconds)
    }
}

fn report_json(report: &RunReport) -> Value {
    json!({
        "sync": report.sync.as_ref().map(sync::report_json),
        "merge": report.merge.as_ref().map(merge::report_json),
        "seconds": report.seconds,
    })
}
