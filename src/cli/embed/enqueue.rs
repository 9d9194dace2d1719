//! `embstore embed enqueue`

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use embstore::embed::queue::QueueAddress;
use embstore::embed::{EnqueueOptions, EnqueueReport, enqueue};
use embstore::text::thousands;
use embstore::{Error, Observer};
use serde_json::json;

use super::queue::{QueueArgs, called};
use crate::cli::Failure;
use crate::cli::output::Output;
use crate::cli::progress::Reporter;

const PATIENCE: Duration = Duration::from_secs(120);

/// Queue every file of text whose embeddings are missing.
///
/// A file that waits, runs or is dead already is not queued again. Interrupted, the same command goes on after the last
/// folder that was queued. Without a server there is nothing to queue: workers look for what is missing themselves.
#[derive(Args)]
#[command(after_help = "\
Examples:
  embstore embed enqueue --queue redis://localhost:6379
  embstore embed enqueue --dry-run
  redis-cli LLEN phase4_todo_queue")]
pub(super) struct EnqueueArgs {
    /// Count what is missing and stop
    #[arg(long, short = 'n')]
    dry_run: bool,
    #[command(flatten)]
    queue: QueueArgs,
}

impl EnqueueArgs {
    pub(super) fn run(&self, output: Output, observer: Observer<'_>, reporter: &Reporter) -> Result<(), Failure> {
        let (address, queue) = self.queue.options(PATIENCE)?;
        let options = EnqueueOptions { address, queue, dry_run: self.dry_run };
        let report = enqueue(&options, observer).map_err(Error::from)?;
        reporter.clear();
        let result = json!({
            "queue": options.address.to_string(),
            "queue_name": options.queue.name,
            "dry_run": self.dry_run,
            "found": report.found,
            "done": report.done,
            "missing": report.missing(),
            "queued": report.queued,
            "already": report.already,
            "folders": report.folders,
            "seconds": report.seconds,
        });
        Ok(output.result(&result, |out| print(&options, &report, out))?)
    }
}

fn print(options: &EnqueueOptions, report: &EnqueueReport, out: &mut dyn Write) -> io::Result<()> {
    let missing = report.missing();
    writeln!(
        out,
        "✓ {} files of text in {} folders: {} are done, {} missing ({:.2} s)",
        thousands(report.found),
        thousands(report.folders),
        thousands(report.done),
        thousands(missing),
        report.seconds
    )?;
    if missing == 0 {
        return Ok(());
    }
    if options.dry_run {
        return writeln!(out, "  nothing was queued; run it without --dry-run to queue them");
    }
    let (queued, already) = (thousands(report.queued), thousands(report.already));
    let where_to = called(&options.address, &options.queue);
    match options.address {
        QueueAddress::Folder => writeln!(out, "✓ {queued} wait in {where_to}; {already} run, or are dead")?,
        QueueAddress::Redis(_) => {
            writeln!(out, "✓ {queued} queued in {where_to}; {already} waited, ran or were dead already")?;
        }
    }
    writeln!(out, "  next: embstore embed work --model DIR, with the same --queue")
}
