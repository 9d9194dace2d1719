//! Embed: text in Parquet files into the same files with embeddings.
//!
//! ```text
//! chains/**/*.parquet ──scan──▶ missing outputs ──enqueue──▶ queue ◀──claim, heartbeat, finish── work ──▶ embeddings/**/*.parquet
//!                                                             └─ status, retry
//! ```
//!
//! A [`Job`] is one file. A [`Queue`] lends it to one worker at a time and takes it back from a worker that dies. An
//! [`Embedder`], the model with the engine that runs it, serves a worker for all its files.

mod checkpoint;
mod embedder;
mod enqueue;
mod error;
mod file;
mod job;
pub mod metrics;
pub mod queue;
mod scan;
mod work;

pub use embedder::{Batching, Embedder, EmbedderOptions};
pub use enqueue::{EnqueueOptions, EnqueueReport, enqueue};
pub use error::EmbedError;
pub use file::{FileError, FileReport};
pub use job::{Job, JobError};
pub use queue::Queue;
pub use scan::{Folder, ScanError, scan};
pub use work::{FailedFile, Shard, ShardError, WorkOptions, WorkReport, WorkSource, work};
