//! The copy: rows from their sources into the store, on all cores, measured as they pass.
//!
//! The work is cut into pieces of fixed size that never span two sources. A piece is read by position into a block
//! that fits the cache, measured there, and written by position; every byte is touched once. A reader thread is bound
//! to no source: pieces are taken in row order from one counter. Sources that can only be decoded forward are one task
//! each.
//!
//! Threads live here alone.

mod piece;
mod writeback;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use embstore_formats::{FormatError, Payload, Region};

use crate::identity::Identity;
use crate::journal::{Journal, JournalError, Landed, PieceRecord};
use crate::progress::Observer;

use piece::Worker;
pub use piece::memory_per_thread;
pub(crate) use piece::piece_rows;

/// Pieces land in the journal this often; what has been copied since is done again after a crash.
const COMMIT_INTERVAL: Duration = Duration::from_millis(200);

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
            CopyError::Journal(source) => source.hint(),
            CopyError::Threads { .. } => "use fewer: --threads 2".into(),
            CopyError::Cancelled => "run the same command to go on".into(),
        }
    }
}

/// Where the rows go and what has landed there.
pub(crate) struct Destination<'a> {
    pub(crate) region: &'a Region,
    pub(crate) landed: &'a Landed,
    pub(crate) journal: &'a mut Journal,
}

/// Copies every row of `sources` that has not landed into `into`, or only measures them where there is no destination.
/// `alongside` runs on one of the threads first and stops the copy where it
/// returns `false`. Returns all pieces, earlier ones too, by row.
pub(crate) fn copy(
    sources: &[Source<'_>],
    into: Option<Destination<'_>>,
    settings: Settings,
    observer: Observer<'_>,
    alongside: impl FnOnce() -> bool + Send,
) -> Result<Landed, CopyError> {
    let mut pieces = into.as_ref().map(|into| into.landed.clone()).unwrap_or_default();
    let region = into.as_ref().map(|into| into.region);
    let tasks = tasks(sources, &pieces);
    let threads = if settings.threads == 0 {
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
    } else {
        settings.threads
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|source| CopyError::Threads { threads, source })?;
    let run = Run { sources, tasks: &tasks, next: AtomicUsize::new(0), stop: AtomicBool::new(false), observer };
    let failure = Mutex::new(None);
    let (sender, receiver) = channel();

    // The committer only waits for the disk and needs no core of its own, so it is a thread beside the pool.
    let landed = std::thread::scope(|scope| {
        let (journal, stop) = (into.map(|into| into.journal), &run.stop);
        let committer = scope.spawn(move || {
            let committed = commit(&receiver, region, journal, settings.sync);
            if committed.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            committed
        });
        pool.in_place_scope(|scope| {
            scope.spawn(|_| {
                if !alongside() {
                    run.stop.store(true, Ordering::Relaxed);
                }
            });
            for _ in 0..threads {
                let sender = sender.clone();
                let (run, failure) = (&run, &failure);
                scope.spawn(move |_| {
                    if let Err(error) = run.work(region, settings.sync, &sender) {
                        run.stop.store(true, Ordering::Relaxed);
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
    pieces.extend(landed.into_iter().map(|piece| (piece.row, piece)));
    Ok(pieces)
}

/// One piece, or all pieces of a source that must be read forward.
#[derive(Debug)]
struct Task {
    source: usize,
    /// Rows of the store, piece by piece.
    pieces: Vec<(u64, u64)>,
}

/// What is left to do, the long tasks first.
fn tasks(sources: &[Source<'_>], landed: &Landed) -> Vec<Task> {
    let (mut forward, mut any_order) = (Vec::new(), Vec::new());
    for (index, source) in sources.iter().enumerate() {
        let step = piece_rows(source.payload.array().cols());
        let end = source.store_row + source.rows;
        let pieces = (source.store_row..end)
            .step_by(step as usize)
            .map(|row| (row, (end - row).min(step)))
            .filter(|(row, _)| !landed.contains_key(row));
        if source.payload.is_random_access() {
            any_order.extend(pieces.map(|piece| Task { source: index, pieces: vec![piece] }));
        } else {
            forward.push(Task { source: index, pieces: pieces.collect() });
        }
    }
    forward.append(&mut any_order);
    forward
}

struct Run<'a> {
    sources: &'a [Source<'a>],
    tasks: &'a [Task],
    next: AtomicUsize,
    stop: AtomicBool,
    observer: Observer<'a>,
}

impl Run<'_> {
    /// One thread: takes tasks until none is left.
    fn work(&self, region: Option<&Region>, sync: bool, done: &Sender<PieceRecord>) -> Result<(), CopyError> {
        let mut worker = Worker::new(region, sync)?;
        while let Some(task) = self.tasks.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let source = &self.sources[task.source];
            for &(row, rows) in &task.pieces {
                if self.stop.load(Ordering::Relaxed) || self.observer.cancel.is_cancelled() {
                    return Ok(());
                }
                let piece = worker.copy(task.source, source, row, rows)?;
                self.observer.progress.advance(rows);
                // A closed channel means that the committer failed; its error is reported.
                if done.send(piece).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Journals pieces once they are on disk, many at a time: one sync of the matrix serves all that came before it.
fn commit(
    done: &Receiver<PieceRecord>,
    region: Option<&Region>,
    journal: Option<&mut Journal>,
    sync: bool,
) -> Result<Vec<PieceRecord>, CopyError> {
    let (Some(region), Some(journal)) = (region, journal) else { return Ok(done.iter().collect()) };
    let matrix = piece::open_to_write(region)?;
    let mut landed = Vec::new();
    let mut last = Instant::now();
    while let Ok(piece) = done.recv() {
        let first = landed.len();
        landed.push(piece);
        let deadline = last + COMMIT_INTERVAL;
        while let Ok(piece) = done.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            landed.push(piece);
        }
        if sync {
            matrix.sync_data().map_err(FormatError::io("sync", &region.path))?;
        }
        journal.append_pieces(&landed[first..])?;
        last = Instant::now();
    }
    Ok(landed)
}
