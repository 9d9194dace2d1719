//! What the library tells a caller while it works, and how a caller stops it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A stage of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Clusters are asked what they have.
    Survey,
    /// Checkpoints are located and verified.
    Plan,
    /// Rows are copied and measured.
    Copy,
    /// Articles are still read after the rows have landed.
    Articles,
    /// Everything is written to disk and checked.
    Sync,
    /// A store is read again.
    Verify,
    /// Folders are looked through for files of text.
    Scan,
    /// Jobs go into the queue.
    Enqueue,
}

impl Phase {
    /// The word for it in progress lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Phase::Survey => "survey",
            Phase::Plan => "plan",
            Phase::Copy => "copy",
            Phase::Articles => "articles",
            Phase::Sync => "sync",
            Phase::Verify => "verify",
            Phase::Scan => "scan",
            Phase::Enqueue => "enqueue",
        }
    }
}

/// What happens to files on their way from the clusters.
#[derive(Clone, Copy, Debug)]
pub enum Transfer<'a> {
    /// So many files and bytes are on their way, of which so many have landed in an earlier run.
    Begin {
        /// Files.
        files: u64,
        /// Bytes.
        bytes: u64,
        /// Bytes that are there.
        landed: u64,
    },
    /// A file begins, or begins again.
    File {
        /// Its name.
        file: &'a str,
        /// Its length.
        bytes: u64,
        /// Bytes of it that are there.
        landed: u64,
    },
    /// Bytes of a file have landed.
    Bytes {
        /// Its name.
        file: &'a str,
        /// How many.
        bytes: u64,
    },
    /// A file is in its place.
    Landed {
        /// Its name.
        file: &'a str,
        /// Its length.
        bytes: u64,
    },
    /// A file is given up, or waits for another try.
    Stopped {
        /// Its name.
        file: &'a str,
    },
    /// What a person should know at once.
    Note {
        /// The sentence.
        text: &'a str,
    },
}

/// What happens to files on their way to embeddings.
#[derive(Clone, Copy, Debug)]
pub enum Embedding<'a> {
    /// So many files are known to wait.
    Left {
        /// Files.
        files: u64,
    },
    /// No job is there; the worker waits for one.
    Waiting,
    /// A file begins.
    File {
        /// Its name.
        file: &'a str,
        /// Its rows.
        rows: u64,
    },
    /// Rows of the file are encoded.
    Rows {
        /// How many.
        rows: u64,
    },
    /// A file is in its place.
    Done {
        /// The output.
        file: &'a str,
        /// Its rows.
        rows: u64,
        /// How long it took.
        seconds: f64,
    },
    /// A file was there already.
    Skipped {
        /// The output.
        file: &'a str,
    },
    /// A file has failed.
    Failed {
        /// The input.
        file: &'a str,
        /// Why.
        error: &'a str,
    },
    /// What a person should know at once.
    Note {
        /// The sentence.
        text: &'a str,
    },
}

/// What happens to groups of embeddings on their way to clusters.
#[derive(Clone, Copy, Debug)]
pub enum Clustering<'a> {
    /// So many groups and points are to be clustered.
    Begin {
        /// Groups.
        groups: u64,
        /// Points of all.
        points: u64,
    },
    /// A stage of a group begins.
    Stage {
        /// The group.
        group: &'a str,
        /// The word for the stage.
        stage: &'static str,
    },
    /// So many points more have been gone through, of any group.
    Points {
        /// How many.
        points: u64,
    },
    /// A group has its result.
    Done {
        /// The group.
        group: &'a str,
        /// Its points.
        points: u64,
        /// Its clusters.
        clusters: u64,
        /// Points in none.
        noise: u64,
        /// How long it took.
        seconds: f64,
    },
    /// The result of a group was there and up to date.
    Skipped {
        /// The group.
        group: &'a str,
    },
    /// A group has failed.
    Failed {
        /// The group.
        group: &'a str,
        /// Why.
        error: &'a str,
    },
    /// What a person should know at once.
    Note {
        /// The sentence.
        text: &'a str,
    },
}

/// Hears how far the work is. Called from several threads.
pub trait Progress: Sync {
    /// Groups of embeddings get their clusters.
    fn clustering(&self, _event: Clustering<'_>) {}
    /// Files get their embeddings.
    fn embedding(&self, _event: Embedding<'_>) {}
    /// Files are on their way.
    fn transfer(&self, _event: Transfer<'_>) {}
    /// A phase begins; it has `rows` rows of `row_bytes` bytes, where that is known (else 0).
    fn begin(&self, phase: Phase, rows: u64, row_bytes: u64);
    /// So many rows more are done. The fraction is their sum over the phase's rows.
    fn advance(&self, rows: u64);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _phase: Phase, _rows: u64, _row_bytes: u64) {}
    fn advance(&self, _rows: u64) {}
}

/// A flag that stops the work at the next piece. What has landed is kept.
#[derive(Debug, Default)]
pub struct Cancel(AtomicBool);

impl Cancel {
    /// A flag that is not set.
    #[must_use]
    pub const fn new() -> Self {
        Cancel(AtomicBool::new(false))
    }

    /// Asks the work to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Sleeps; `false` where it was asked to stop meanwhile.
    pub(crate) fn sleep(&self, time: Duration) -> bool {
        const GLANCE: Duration = Duration::from_millis(50);
        let mut left = time;
        while !left.is_zero() && !self.is_cancelled() {
            let step = left.min(GLANCE);
            std::thread::sleep(step);
            left -= step;
        }
        !self.is_cancelled()
    }

    /// Whether it was asked to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The two ends of a conversation with the caller: what is told, and whether to stop.
#[derive(Clone, Copy)]
pub struct Observer<'a> {
    /// Hears how far the work is.
    pub progress: &'a dyn Progress,
    /// Stops it.
    pub cancel: &'a Cancel,
}

impl Observer<'static> {
    /// For a caller that neither listens nor stops.
    #[must_use]
    pub fn none() -> Self {
        static NEVER: Cancel = Cancel::new();
        Observer { progress: &Silent, cancel: &NEVER }
    }
}
