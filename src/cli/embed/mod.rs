//! `embstore embed`

mod enqueue;
mod libraries;
mod queue;
mod retry;
mod status;
mod work;

use clap::{Args, Subcommand};
use embstore::Observer;

use super::Failure;
use super::output::Output;
use super::progress::Reporter;

/// Embed files of text: a queue, and the workers that share it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  embstore embed enqueue --queue redis://localhost:6379
  embstore embed work --queue redis://localhost:6379
  embstore embed status --queue redis://localhost:6379 --watch
  embstore embed work --drain                (one machine, no server)")]
pub(super) struct EmbedArgs {
    #[command(subcommand)]
    verb: EmbedVerb,
}

#[derive(Subcommand)]
enum EmbedVerb {
    Enqueue(enqueue::EnqueueArgs),
    Work(work::WorkArgs),
    Status(status::StatusArgs),
    Retry(retry::RetryArgs),
}

impl EmbedArgs {
    pub(super) fn run(&self, output: Output, observer: Observer<'_>, reporter: &Reporter) -> Result<(), Failure> {
        match &self.verb {
            EmbedVerb::Enqueue(args) => args.run(output, observer, reporter),
            EmbedVerb::Work(args) => args.run(output, observer, reporter),
            EmbedVerb::Status(args) => args.run(output, observer.cancel),
            EmbedVerb::Retry(args) => args.run(output, observer.cancel),
        }
    }
}
