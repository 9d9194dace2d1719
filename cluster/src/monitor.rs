//! What a caller hears while points are clustered, and how it stops that.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;

/// A stage of the work that takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The nearest neighbours of every point are found.
    Neighbours,
    /// Groups that are not each other's neighbours are joined.
    Bridges,
    /// Rows are read for their principal components.
    Components,
}

/// Hears how far the work is, and may stop it. Called from several threads.
pub trait Monitor: Sync {
    /// A stage begins; it will have gone through so many points at its end.
    fn begin(&self, _stage: Stage, _points: u64) {}
    /// So many points more are done.
    fn advance(&self, _points: u64) {}
    /// Whether to stop. Asked many times a second.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Hears nothing and never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Monitor for Silent {}

/// Turns the work of a stage into points, which sum up to those that it began with.
pub(crate) struct Pace<'a> {
    monitor: &'a dyn Monitor,
    points: u64,
    work: u64,
    done: AtomicU64,
}

impl<'a> Pace<'a> {
    pub(crate) fn begin(monitor: &'a dyn Monitor, stage: Stage, points: usize, work: u64) -> Self {
        monitor.begin(stage, points as u64);
        Pace { monitor, points: points as u64, work: work.max(1), done: AtomicU64::new(0) }
    }

    /// Counts work that is done.
    pub(crate) fn advance(&self, work: u64) {
        let before = self.done.fetch_add(work, Ordering::Relaxed);
        let points =
            |work: u64| (u128::from(work.min(self.work)) * u128::from(self.points) / u128::from(self.work)) as u64;
        let gone = points(before + work) - points(before);
        if gone > 0 {
            self.monitor.advance(gone);
        }
    }

    /// Counts all of the work as done, where less than was feared had to be.
    pub(crate) fn finish(&self) {
        self.advance(self.work - self.done.load(Ordering::Relaxed).min(self.work));
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.monitor.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}
