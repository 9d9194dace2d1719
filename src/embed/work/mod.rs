//! The worker: takes one job after another and embeds it.
//!
//! ```text
//! queue, shard or one file ──next──▶ job ──▶ file: input ─▶ embeddings ─▶ output ──▶ finish │ fail │ give back
//!                                     └─ heartbeat: keeps the lease, or tells that it is lost
//! ```
//!
//! A job that fails by its own fault (a damaged file, no text column) counts as a try and the worker goes on. One that
//! fails by the worker's (a full disk) is given back, and the worker ends: it would fail them all. Where the device fails
//! it may be gone, or the text may be too much for it: that counts as a try, and the worker ends.

mod heartbeat;
mod jobs;
mod report;
mod verb;

pub use jobs::{Shard, ShardError, WorkSource};
pub use report::{FailedFile, WorkReport};
pub use verb::{WorkOptions, work};
