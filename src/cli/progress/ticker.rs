//! When it is time for another line.

use std::time::{Duration, Instant};

/// Lets something happen once in so much time.
pub(super) struct Ticker {
    last: Instant,
    every: Duration,
}

impl Ticker {
    pub(super) fn new(every: Duration) -> Self {
        Ticker { last: Instant::now(), every }
    }

    /// Whether it is time; if so, it is not again until as much has passed.
    pub(super) fn is_due(&mut self) -> bool {
        let due = self.last.elapsed() >= self.every;
        if due {
            self.last = Instant::now();
        }
        due
    }
}
