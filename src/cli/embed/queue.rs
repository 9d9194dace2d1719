//! Which queue is meant: what all verbs of embed share.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use embstore::embed::queue::{QueueAddress, QueueOptions, Roots};

use crate::cli::Failure;
use crate::cli::time::parse_time;

/// Which queue is meant.
#[derive(Args)]
#[command(next_help_heading = "Queue")]
pub(super) struct QueueArgs {
    /// The queue: redis://HOST:PORT, rediss:// (TLS), unix://PATH, or dir for the folder of embeddings itself. A user and
    /// a password that it lacks are taken from REDIS_USERNAME and REDIS_PASSWORD
    #[arg(long, value_name = "URL", env = "REDIS_URL", hide_env_values = true, default_value = "dir")]
    queue: String,
    /// The key of the list on the server
    #[arg(long, value_name = "NAME", default_value = QueueOptions::NAME)]
    queue_name: String,
    /// How long a worker may be silent before its job goes to another one
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_time)]
    lease: Duration,
    /// Tries after which a job is dead
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    tries: u32,
    /// The folder of files with text
    #[arg(long, value_name = "DIR", default_value = "chains/")]
    chains: PathBuf,
    /// The folder of files with embeddings
    #[arg(long, value_name = "DIR", default_value = "embeddings/")]
    embeddings: PathBuf,
}

impl QueueArgs {
    /// Where the queue is, and how it is used; a server that was there may be away for `patience`.
    pub(super) fn options(&self, patience: Duration) -> Result<(QueueAddress, QueueOptions), Failure> {
        // Not clap's to parse: it would show the address as it was given, with its password.
        let address: QueueAddress = self
            .queue
            .parse()
            .map_err(|error: embstore::embed::queue::QueueError| Failure::Usage(error.to_string(), error.hint()))?;
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let address = address.or_login(variable("REDIS_USERNAME").as_deref(), variable("REDIS_PASSWORD").as_deref());
        let roots = Roots { chains: self.chains.clone(), embeddings: self.embeddings.clone() };
        let options = QueueOptions {
            name: self.queue_name.clone(),
            lease: self.lease,
            tries: self.tries,
            patience,
            ..QueueOptions::new(roots)
        };
        Ok((address, options))
    }
}

/// The queue as people call it.
pub(super) fn called(address: &QueueAddress, options: &QueueOptions) -> String {
    match address {
        QueueAddress::Folder => format!("the folder {}", options.roots.embeddings.display()),
        QueueAddress::Redis(server) => format!("{} on {server}", options.name),
    }
}
