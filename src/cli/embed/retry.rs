//! `embstore embed retry`

use std::time::Duration;

use clap::Args;
use embstore::embed::{EmbedError, queue};
use embstore::text::thousands;
use embstore::{Cancel, Error};
use serde_json::json;

use super::queue::{QueueArgs, called};
use crate::cli::Failure;
use crate::cli::output::Output;

const PATIENCE: Duration = Duration::from_secs(30);

/// Let dead jobs wait again.
///
/// See why they died first: embstore embed status.
#[derive(Args)]
#[command(after_help = "\
Examples:
  embstore embed retry --queue redis://localhost:6379")]
pub(super) struct RetryArgs {
    #[command(flatten)]
    queue: QueueArgs,
}

impl RetryArgs {
    pub(super) fn run(&self, output: Output, cancel: &Cancel) -> Result<(), Failure> {
        let (address, options) = self.queue.options(PATIENCE)?;
        let retried = queue::open(&address, &options, cancel)
            .and_then(|queue| queue.retry())
            .map_err(|error| Error::from(EmbedError::from(error)))?;
        let result = json!({"queue": address.to_string(), "queue_name": options.name, "retried": retried});
        Ok(output.result(&result, |out| match retried {
            0 => writeln!(out, "✓ no job is dead in {}", called(&address, &options)),
            _ => writeln!(out, "✓ {} jobs wait again in {}", thousands(retried), called(&address, &options)),
        })?)
    }
}
