//! The copy: rows from their sources into the store, on all cores, measured as they pass.
//!
//! The work is cut into pieces of fixed size that never span two sources, nor two chunks of a store that takes whole
//! chunks. A piece is read by position into a block that fits the cache, measured there, and written by position; every
//! byte is touched once. A thread is bound to no source: tasks are taken in row order, those whose files are still on
//! their way once these have landed. A task is a piece, or all pieces of a run that must be decoded forward, or all
//! pieces of one chunk.
//!
//! Threads live here alone.

mod commit;
mod destination;
mod piece;
mod queue;
mod sync;
mod task;
mod transfer;
mod turn;
mod writeback;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};

use embstore_formats::{FormatError, Parts, Payload};

use crate::identity::Identity;
use crate::journal::{Journal, JournalError, Landed, PieceRecord};
use crate::progress::Observer;

use destination::Destination;
use piece::Worker;
pub(crate) use piece::{memory_per_thread, piece_rows};
pub(crate) use queue::Awaited;
use queue::Queue;
pub(crate) use sync::sync_tree;
use task::tasks;
use turn::Turn;

/// Rows to be copied from one file.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) path: PathBuf,
    pub(crate) identity: Identity,
    pub(crate) payload: &'a Payload,
    /// First row to read, counted in the source.
    pub(crate) first: u64,
    /// Rows to read.
    pub(crate) rows: u64,
    /// Row of the store at which they go.
    pub(crate) store_row: u64,
    /// Whether the system may copy the bytes by itself, perhaps by sharing blocks between the files. They are read and
    /// measured all the same.
    pub(crate) in_kernel: bool,
}

/// How the work is done; none of it changes a byte of the result.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Threads that copy; 0 for one a core.
    pub threads: usize,
    /// Whether everything is synced to disk.
    pub sync: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { threads: 0, sync: true }
    }
}

impl Settings {
    /// Threads that copy.
    pub(crate) fn threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            threads => threads,
        }
    }
}

/// What can stop a copy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// Rows cannot be read or written.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A source is not the file any more that was planned with.
    #[error("{}: changed while its rows {}..{} were copied", path.display(), rows.0, rows.1)]
    SourceChanged {
        /// The source.
        path: PathBuf,
        /// The rows of the store that were being copied.
        rows: (u64, u64),
    },
    /// A source that was on its way did not come.
    #[error("{}: did not arrive", path.display())]
    NotArrived {
        /// The source.
        path: PathBuf,
    },
    /// The journal cannot be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Threads cannot be started.
    #[error("cannot start {threads} threads: {source}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// Why not.
        source: rayon::ThreadPoolBuildError,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Cancelled,
}

impl CopyError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            CopyError::Format(source) => source.hint(),
            CopyError::SourceChanged { .. } => {
                "something writes to it: let it finish, then run the same command; what has landed is kept".into()
            }
            CopyError::NotArrived { .. } => "run the same command again: what has landed is kept".into(),
            CopyError::Journal(source) => source.hint(),
            CopyError::Threads { .. } => "use fewer: --threads 2".into(),
            CopyError::Cancelled => "run the same command to go on".into(),
        }
    }
}

/// Where the rows go and what has landed there.
pub(crate) struct Landing<'a> {
    pub(crate) parts: Parts<'a>,
    pub(crate) landed: &'a Landed,
    pub(crate) journal: &'a mut Journal,
}

/// Copies every row of `sources` that has not landed into `into`, or only measures them where there is no destination.
/// Sources that are `awaited` are read when their files have landed. `alongside` runs on one of the threads first and
/// stops the copy where it returns `false`. Returns all pieces, earlier ones too, by row.
pub(crate) fn copy(
    sources: &[Source<'_>],
    into: Option<Landing<'_>>,
    awaited: Option<Awaited<'_>>,
    settings: Settings,
    observer: Observer<'_>,
    alongside: impl FnOnce() -> bool + Send,
) -> Result<Landed, CopyError> {
    let mut pieces = into.as_ref().map(|into| into.landed.clone()).unwrap_or_default();
    let parts = into.as_ref().map(|into| into.parts);
    let tasks = tasks(sources, &pieces, parts.and_then(|parts| parts.chunk_rows()));
    let in_order = matches!(parts, Some(Parts::Chunks(sink)) if sink.in_order());
    let threads = settings.threads();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|source| CopyError::Threads { threads, source })?;
    let run = Run {
        sources,
        queue: Queue::new(&tasks, sources, awaited, in_order),
        stop: AtomicBool::new(false),
        turn: Turn::default(),
        observer,
    };
    let failure = Mutex::new(None);
    let (sender, receiver) = channel();

    // The committer only waits for the disk and needs no core of its own, so it is a thread beside the pool.
    let landed = std::thread::scope(|scope| {
        let (journal, run) = (into.map(|into| into.journal), &run);
        let beside_writers = awaited.is_some_and(|awaited| awaited.arrivals.is_waiting());
        let committer = scope.spawn(move || {
            let committed = commit::commit(&receiver, parts, journal, settings.sync, beside_writers);
            if committed.is_err() {
                run.stop();
            }
            committed
        });
        pool.in_place_scope(|scope| {
            scope.spawn(|_| {
                if !alongside() {
                    run.stop();
                }
            });
            for _ in 0..threads {
                let sender = sender.clone();
                let failure = &failure;
                scope.spawn(move |_| {
                    if let Err(error) = run.work(parts, settings.sync, &sender) {
                        run.stop();
                        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                });
            }
        });
        drop(sender);
        committer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    if observer.cancel.is_cancelled() {
        return Err(CopyError::Cancelled);
    }
    folders_unchanged(sources)?;
    pieces.extend(landed.into_iter().map(|piece| (piece.row, piece)));
    Ok(pieces)
}

/// Folders are looked through once, when all their rows have been read: a file of theirs may be anywhere in them.
fn folders_unchanged(sources: &[Source<'_>]) -> Result<(), CopyError> {
    let folders: BTreeMap<&PathBuf, &Source<'_>> =
        sources.iter().filter(|source| source.identity.is_folder()).map(|source| (&source.path, source)).collect();
    for (path, source) in folders {
        if Identity::at(path)? != source.identity {
            let rows = (source.store_row, source.store_row + source.rows);
            return Err(CopyError::SourceChanged { path: path.clone(), rows });
        }
    }
    Ok(())
}

struct Run<'a> {
    sources: &'a [Source<'a>],
    queue: Queue<'a>,
    stop: AtomicBool,
    turn: Turn,
    observer: Observer<'a>,
}

impl Run<'_> {
    /// Asks every thread to stop at its next piece, those that wait for their turn too.
    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.turn.give_up();
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.observer.cancel.is_cancelled()
    }

    /// One thread: takes tasks until none is left.
    fn work(&self, parts: Option<Parts<'_>>, sync: bool, done: &Sender<PieceRecord>) -> Result<(), CopyError> {
        let mut worker = Worker::new(Destination::new(parts, sync));
        while let Some((number, task)) = self.queue.take(&|| self.is_stopped())? {
            let mut landed = Vec::new();
            for piece in &task.pieces {
                if self.is_stopped() {
                    // Whoever waits for this task's turn must not wait for ever.
                    self.stop();
                    return Ok(());
                }
                landed.push(worker.copy(piece, &self.sources[piece.source])?);
                self.observer.progress.advance(piece.rows);
                if task.chunk.is_none() && done.send(landed.remove(0)).is_err() {
                    // A closed channel means that the committer failed; its error is reported.
                    return Ok(());
                }
            }
            if let Some(chunk) = task.chunk {
                let stored = worker.store(chunk, || self.turn.wait(number))?;
                self.turn.pass(number);
                if !stored || landed.into_iter().any(|piece| done.send(piece).is_err()) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
