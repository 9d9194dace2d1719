//! `embstore embed status`

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use embstore::embed::EmbedError;
use embstore::embed::metrics::Listener;
use embstore::embed::queue::{self, QueueAddress, QueueOptions, Status};
use embstore::text::thousands;
use embstore::{Cancel, Error};
use serde_json::{Value, json};

use super::queue::{QueueArgs, called};
use crate::cli::Failure;
use crate::cli::output::{self, Output};
use crate::cli::time::{parse_time, spoken};

/// Whoever asks wants to know soon that the server is away.
const PATIENCE: Duration = Duration::from_secs(5);
/// Lines of one kind of job.
const SHOWN: usize = 20;

/// Tell what waits, runs, is done or dead.
#[derive(Args)]
#[command(after_help = "\
Examples:
  embstore embed status
  embstore embed status --queue redis://localhost:6379 --watch
  embstore embed status --queue redis://localhost:6379 --json
  embstore embed status --queue redis://localhost:6379 --metrics 127.0.0.1:9121")]
pub(super) struct StatusArgs {
    /// Tell it again and again, until Ctrl-C
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "2s", value_parser = parse_time)]
    watch: Option<Duration>,
    /// Tell it to Prometheus at http://ADDR/metrics, until Ctrl-C
    #[arg(long, value_name = "ADDR", conflicts_with = "watch")]
    metrics: Option<String>,
    #[command(flatten)]
    queue: QueueArgs,
}

impl StatusArgs {
    pub(super) fn run(&self, output: Output, cancel: &Cancel) -> Result<(), Failure> {
        let (address, options) = self.queue.options(PATIENCE)?;
        let told = |error| Error::from(EmbedError::from(error));
        let queue = queue::open(&address, &options, cancel).map_err(told)?;
        if let Some(at) = &self.metrics {
            let listener = Listener::bind(at).map_err(Error::from)?;
            if let Some(address) = listener.address().filter(|_| !output.quiet) {
                output::note(&format!("metrics are at http://{address}/metrics until Ctrl-C"));
            }
            listener.serve(&options.name, &*queue, cancel);
            return Ok(());
        }
        let clears = self.watch.is_some() && !output.json && io::stdout().is_terminal();
        loop {
            let status = match queue.status() {
                Err(error) if error.is_cancelled() && self.watch.is_some() => return Ok(()),
                status => status.map_err(told)?,
            };
            output.result(&json(&address, &options, &status), |out| {
                if clears {
                    // Clear the screen, and begin in its corner.
                    write!(out, "\x1b[2J\x1b[H")?;
                }
                print(&address, &options, &status, out)
            })?;
            if !self.watch.is_some_and(|time| sleep(time, cancel)) {
                return Ok(());
            }
        }
    }
}

/// `false` where Ctrl-C was pressed meanwhile, which is how one ends to watch.
fn sleep(time: Duration, cancel: &Cancel) -> bool {
    queue::Backoff::new(time, time).pause(cancel)
}

fn json(address: &QueueAddress, options: &QueueOptions, status: &Status) -> Value {
    let running = status.running.iter().map(|job| {
        json!({
            "input": job.input,
            "worker": job.worker,
            "tries": job.tries,
            "seconds": job.seconds,
            "lease_left": job.lease_left,
        })
    });
    let dead = status.dead_jobs.iter().map(|job| json!({"input": job.input, "error": job.error, "tries": job.tries}));
    json!({
        "queue": address.to_string(),
        "queue_name": options.name,
        "waiting": status.waiting,
        "running": status.running.len(),
        "dead": status.dead,
        "done": status.done,
        "rows": status.rows,
        "texts": status.texts,
        "jobs_per_second": status.speed.jobs,
        "rows_per_second": status.speed.rows,
        "texts_per_second": status.speed.texts,
        "seconds_left": status.seconds_left(),
        "running_jobs": running.collect::<Value>(),
        "dead_jobs": dead.collect::<Value>(),
    })
}

fn print(address: &QueueAddress, options: &QueueOptions, status: &Status, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", called(address, options))?;
    writeln!(out, "  waiting {}", thousands(status.waiting))?;
    writeln!(out, "  running {}", thousands(status.running.len() as u64))?;
    for job in status.running.iter().take(SHOWN) {
        let again = if job.tries > 1 { format!(", try {}", job.tries) } else { String::new() };
        writeln!(out, "    {}: {} for {}{again}", job.worker, job.input, spoken(job.seconds))?;
    }
    more(status.running.len() as u64, out)?;
    let (rows, texts) = (thousands(status.rows), thousands(status.texts));
    writeln!(out, "  done    {} ({rows} rows, {texts} texts)", thousands(status.done))?;
    if let Some(left) = status.seconds_left() {
        let (rows, texts) = (thousands(status.speed.rows as u64), thousands(status.speed.texts as u64));
        writeln!(out, "  speed   {rows} rows/s, {texts} texts/s, {} left", spoken(left))?;
    }
    writeln!(out, "  dead    {}", thousands(status.dead))?;
    for job in status.dead_jobs.iter().take(SHOWN) {
        writeln!(out, "  ✗ {}: {} ({} tries)", job.input, job.error, job.tries)?;
    }
    more(status.dead, out)?;
    if status.dead > 0 {
        writeln!(out, "  when the reason is gone: embstore embed retry")?;
    }
    Ok(())
}

fn more(count: u64, out: &mut dyn Write) -> io::Result<()> {
    match count.saturating_sub(SHOWN as u64) {
        0 => Ok(()),
        more => writeln!(out, "    and {} more", thousands(more)),
    }
}
