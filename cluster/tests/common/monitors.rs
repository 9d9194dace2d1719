//! Callers that count what they hear, and that stop the work.

use std::sync::Mutex;
use std::sync::atomic::{AtomicIsize, Ordering};

use embstore_cluster::{Monitor, Stage};

/// Each stage, with the points that it was to go through and those that it did.
#[derive(Default)]
pub(crate) struct Count(pub(crate) Mutex<Vec<(Stage, u64, u64)>>);

impl Monitor for Count {
    fn begin(&self, stage: Stage, points: u64) {
        self.0.lock().unwrap().push((stage, points, 0));
    }

    fn advance(&self, points: u64) {
        self.0.lock().unwrap().last_mut().unwrap().2 += points;
    }
}

/// Stops the work when it is asked for the so-manieth time.
pub(crate) struct Stop(pub(crate) AtomicIsize);

impl Monitor for Stop {
    fn is_cancelled(&self) -> bool {
        self.0.fetch_sub(1, Ordering::Relaxed) <= 1
    }
}
