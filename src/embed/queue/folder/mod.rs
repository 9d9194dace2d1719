//! A queue without a server: the jobs are the missing outputs themselves, for the processes of one machine.
//!
//! ```text
//! embeddings/00/SubredditA/chains_chunk_0.parquet           done, where it is there and whole
//! embeddings/00/SubredditA/chains_chunk_0.parquet.claim     who works on it; its time is the last heartbeat
//! embeddings/00/SubredditA/chains_chunk_0.parquet.failed    how often it was tried, and the last error
//! embeddings/.embstore-done.jsonl                           a line a job that is done: when, rows, texts, seconds
//! ```
//!
//! A look through the folders shows what is missing or empty. What is there is looked into when nothing else is left to claim,
//! once by each worker: an output that is cut off, or was made from another input, waits like one that is missing. Whoever
//! only counts takes what is there for done, unless somebody works on it or it is dead.
//!
//! A claim is made by creating its file, which one process alone can. Whoever changes it afterwards (renews, takes over,
//! removes) holds the lock of the file meanwhile and has looked whether it still has its name, so what it has read there
//! is true until it is done. The file system must know locks: local disks do.

mod claim_file;
mod done_log;
mod failures;
mod outputs;
mod queue;

pub(super) use queue::FolderQueue;
