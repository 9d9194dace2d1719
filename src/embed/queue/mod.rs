//! The queue: who embeds which file.
//!
//! ```text
//!            push            claim               finish
//! manager ─────────▶ waiting ──────▶ running ──────────────▶ done
//!                      ▲  ▲            │ │
//!                      │  └────────────┘ │ give_back; fail, or a lease that ran out
//!                retry │                 ▼ after as many tries as are allowed
//!                      └──────────────  dead
//! ```
//!
//! A claim is a lease: the worker's [`Queue::heartbeat`] renews it, and one that is not renewed goes to somebody else.
//! The worker that lost it learns so from the next call, which returns `false`; what it has written until then is the
//! same file, so a job that is done twice does no harm.
//!
//! There are two kinds, of one behaviour: a list on a Redis server, for any number of machines, and the folder of
//! outputs itself, for the processes of one.

mod address;
mod backoff;
mod claim;
mod error;
mod folder;
mod options;
mod redis;
mod status;
mod worker;

pub use address::QueueAddress;
pub use backoff::Backoff;
pub use claim::{Claim, Done, Pushed};
pub use error::QueueError;
pub use options::{QueueOptions, Roots};
pub use status::{Dead, Running, Speed, Status};
pub use worker::worker_name;

use super::job::Job;
use crate::progress::Cancel;

/// Jobs that wait, run, or are dead. Shared by the threads of a worker.
///
/// After the caller asks to stop, a queue still answers, so that a worker can finish or give back what it has; but it
/// waits seconds at most for a server that is away.
pub trait Queue: Send + Sync {
    /// Tells it from one that was at the same address before and has been lost.
    ///
    /// # Errors
    /// As [`Queue::push`].
    fn id(&self) -> Result<String, QueueError>;

    /// Queues jobs, but for those that wait, run, or are dead already.
    ///
    /// # Errors
    /// Where the queue cannot be reached, or is none.
    fn push(&self, jobs: &[Job]) -> Result<Pushed, QueueError>;

    /// Takes a job, where one waits. Never waits for one: see [`Backoff`].
    ///
    /// # Errors
    /// As [`Queue::push`].
    fn claim(&self) -> Result<Option<Claim>, QueueError>;

    /// Renews the lease; several times in the time that it lasts. `false` where it is lost.
    ///
    /// # Errors
    /// As [`Queue::push`].
    fn heartbeat(&self, claim: &Claim) -> Result<bool, QueueError>;

    /// The output is in its place. `false` where the lease was lost.
    ///
    /// # Errors
    /// As [`Queue::push`].
    fn finish(&self, claim: &Claim, done: &Done) -> Result<bool, QueueError>;

    /// The job failed: it waits for another try, or is dead where this was the last. `false` where the lease was lost.
    ///
    /// # Errors
    /// As [`Queue::push`].
    fn fail(&self, claim: &Claim, error: &str) -> Result<bool, QueueError>;

    /// The job was not done, through no fault of its own: the try is not counted. `false` where the lease was lost.
    ///
    /// # Errors
    /// As [`Queue::push`].
    fn give_back(&self, claim: &Claim) -> Result<bool, QueueError>;

    /// Jobs that wait or run.
    ///
    /// # Errors
    /// As [`Queue::push`].
    fn left(&self) -> Result<u64, QueueError>;

    /// What waits, runs, is done or dead.
    ///
    /// # Errors
    /// As [`Queue::push`].
    fn status(&self) -> Result<Status, QueueError>;

    /// Lets all dead jobs wait again, their tries forgotten. Returns how many.
    ///
    /// # Errors
    /// As [`Queue::push`].
    fn retry(&self) -> Result<u64, QueueError>;
}

/// Opens the queue at `address`.
///
/// # Errors
/// Where it cannot be reached, or is none.
pub fn open<'a>(
    address: &QueueAddress,
    options: &QueueOptions,
    cancel: &'a Cancel,
) -> Result<Box<dyn Queue + 'a>, QueueError> {
    Ok(match address {
        QueueAddress::Folder => Box::new(folder::FolderQueue::open(options, cancel)),
        QueueAddress::Redis(server) => Box::new(redis::RedisQueue::open(server, options, cancel)?),
    })
}
