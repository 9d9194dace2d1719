//! Files that are still on their way, and who waits for them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How far a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// On its way.
    Coming,
    /// Complete, at its path.
    Landed,
    /// It will not come.
    Failed,
}

/// Which files are on their way, by their paths. Whoever fetches them tells; whoever reads them waits.
#[derive(Debug, Default)]
pub struct Arrivals {
    known: Mutex<Known>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Known {
    files: BTreeMap<PathBuf, Arrival>,
    /// How often a file has landed or failed.
    changes: u64,
}

impl Arrivals {
    /// Nothing is on its way.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A file is on its way, unless more is known of it already.
    pub fn expect(&self, path: impl Into<PathBuf>) {
        self.lock().files.entry(path.into()).or_insert(Arrival::Coming);
    }

    /// A file is complete at its path.
    pub fn land(&self, path: impl Into<PathBuf>) {
        self.settle(path.into(), Arrival::Landed);
    }

    /// A file will not come.
    pub fn fail(&self, path: impl Into<PathBuf>) {
        self.settle(path.into(), Arrival::Failed);
    }

    /// How far a file is. One that nobody expects is there.
    #[must_use]
    pub fn state(&self, path: &Path) -> Arrival {
        self.lock().files.get(path).copied().unwrap_or(Arrival::Landed)
    }

    /// Whether a file is, or was, on its way.
    pub(crate) fn expects(&self, path: &Path) -> bool {
        self.lock().files.contains_key(path)
    }

    /// Whether any file is still on its way.
    pub(crate) fn is_waiting(&self) -> bool {
        self.lock().files.values().any(|state| *state == Arrival::Coming)
    }

    /// A number that grows with every file that lands or fails.
    pub(crate) fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Waits until there are more changes than these, or the time is over.
    pub(crate) fn wait(&self, changes: u64, at_most: Duration) {
        let none = |known: &mut Known| known.changes == changes;
        drop(self.changed.wait_timeout_while(self.lock(), at_most, none).unwrap_or_else(PoisonError::into_inner));
    }

    fn settle(&self, path: PathBuf, arrival: Arrival) {
        let mut known = self.lock();
        known.files.insert(path, arrival);
        known.changes += 1;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
