//! How a queue is used.

use std::path::PathBuf;
use std::time::Duration;

use super::worker::worker_name;

/// Where the texts are, and where their embeddings go: a file keeps its path below the one root under the other.
#[derive(Clone, Debug)]
pub struct Roots {
    /// The folder of Parquet files with text.
    pub chains: PathBuf,
    /// The folder of Parquet files with embeddings.
    pub embeddings: PathBuf,
}

/// How a queue is used.
#[derive(Clone, Debug)]
pub struct QueueOptions {
    /// The key of the list on the server.
    pub name: String,
    /// How long a claim lasts that is not renewed.
    pub lease: Duration,
    /// Tries after which a job is dead.
    pub tries: u32,
    /// Who claims: see [`worker_name`].
    pub worker: String,
    /// How long a server that was there may be away before that is an error.
    pub patience: Duration,
    /// The folders, where they are themselves the queue.
    pub roots: Roots,
}

impl QueueOptions {
    /// The list on which the workers have always looked.
    pub const NAME: &str = "phase4_todo_queue";

    /// The usual options, for a worker of a new name.
    #[must_use]
    pub fn new(roots: Roots) -> Self {
        QueueOptions {
            name: QueueOptions::NAME.into(),
            lease: Duration::from_secs(60),
            tries: 3,
            worker: worker_name(),
            patience: Duration::from_secs(600),
            roots,
        }
    }
}
