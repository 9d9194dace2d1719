//! The manager: what is missing goes into the queue.

use std::time::Instant;

use super::checkpoint::{Checkpoint, Head};
use super::error::EmbedError;
use super::job::Job;
use super::queue::{self, Pushed, Queue, QueueAddress, QueueOptions};
use super::scan::{Folder, scan};
use crate::progress::{Observer, Phase};

/// Jobs of one push.
const BATCH: usize = 1000;

/// What to queue, and where.
#[derive(Clone, Debug)]
pub struct EnqueueOptions {
    /// The queue.
    pub address: QueueAddress,
    /// How it is used, and the folders.
    pub queue: QueueOptions,
    /// Only count; the queue is not asked.
    pub dry_run: bool,
}

/// What has been queued.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EnqueueReport {
    /// Files of text.
    pub found: u64,
    /// Those whose output is there.
    pub done: u64,
    /// Jobs that have been queued by this call.
    pub queued: u64,
    /// Jobs that waited, ran or were dead already, those of an interrupted call among them.
    pub already: u64,
    /// Folders with files of text.
    pub folders: u64,
    /// How long it took.
    pub seconds: f64,
}

impl EnqueueReport {
    /// Files of text whose output is missing.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.found - self.done
    }
}

/// Queues a job for every file of text whose output is missing, folder by folder.
///
/// Interrupted, the same call goes on after the last folder that was queued.
///
/// # Errors
/// Where there are no texts, the queue does not serve, or the caller asks to stop.
pub fn enqueue(options: &EnqueueOptions, observer: Observer<'_>) -> Result<EnqueueReport, EmbedError> {
    let started = Instant::now();
    let roots = &options.queue.roots;
    observer.progress.begin(Phase::Scan, 0, 0);
    let folders = scan(roots, observer.cancel)?;
    if folders.is_empty() {
        return Err(EmbedError::NoTexts { chains: roots.chains.clone() });
    }
    let done = folders.iter().map(|folder| folder.there.len() as u64).sum();
    let missing: u64 = folders.iter().map(|folder| folder.missing.len() as u64).sum();
    let pushed = if options.dry_run || missing == 0 { Pushed::default() } else { push(options, &folders, observer)? };
    Ok(EnqueueReport {
        found: done + missing,
        done,
        queued: pushed.queued,
        already: pushed.already,
        folders: folders.len() as u64,
        seconds: started.elapsed().as_secs_f64(),
    })
}

fn push(options: &EnqueueOptions, folders: &[Folder], observer: Observer<'_>) -> Result<Pushed, EmbedError> {
    observer.progress.begin(Phase::Enqueue, 0, 0);
    let queue = queue::open(&options.address, &options.queue, observer.cancel)?;
    let roots = &options.queue.roots;
    let head = Head {
        queue: options.address.to_string(),
        name: options.queue.name.clone(),
        id: queue.id()?,
        chains: roots.chains.clone(),
    };
    let mut checkpoint = Checkpoint::open(&roots.embeddings, &head)?;
    let mut batch = Batch { queue: &*queue, jobs: Vec::new(), folders: Vec::new(), pushed: Pushed::default() };
    for folder in folders.iter().filter(|folder| !folder.missing.is_empty()) {
        if checkpoint.has(folder) {
            batch.pushed.already += folder.missing.len() as u64;
            continue;
        }
        for job in folder.jobs(roots) {
            batch.jobs.push(job?);
            if batch.jobs.len() == BATCH {
                batch.push(&mut checkpoint, observer)?;
            }
        }
        batch.folders.push(folder);
    }
    batch.push(&mut checkpoint, observer)?;
    checkpoint.discard()?;
    Ok(batch.pushed)
}

/// Jobs on their way into the queue, and the folders of which they are the last.
struct Batch<'a> {
    queue: &'a dyn Queue,
    jobs: Vec<Job>,
    folders: Vec<&'a Folder>,
    pushed: Pushed,
}

impl Batch<'_> {
    fn push(&mut self, checkpoint: &mut Checkpoint, observer: Observer<'_>) -> Result<(), EmbedError> {
        if observer.cancel.is_cancelled() {
            return Err(EmbedError::Cancelled);
        }
        let Pushed { queued, already } = self.queue.push(&self.jobs)?;
        self.pushed.queued += queued;
        self.pushed.already += already;
        checkpoint.record(&self.folders)?;
        self.jobs.clear();
        self.folders.clear();
        Ok(())
    }
}
