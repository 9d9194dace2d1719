//! Waiting for what is not there yet.

use std::time::Duration;

use super::worker::random;
use crate::progress::Cancel;

/// Pauses that grow, for whoever polls a queue or calls a server that is away.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses from `first` to `longest`, each twice the one before.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        Backoff { first, longest, next: first }
    }

    /// For a worker that waits for jobs: from 50 ms to 2 s.
    #[must_use]
    pub fn polling() -> Self {
        Backoff::new(Duration::from_millis(50), Duration::from_secs(2))
    }

    /// For a server that is away: from 100 ms to 5 s.
    #[must_use]
    pub fn reconnecting() -> Self {
        Backoff::new(Duration::from_millis(100), Duration::from_secs(5))
    }

    /// Pauses; `false` where the caller asked to stop meanwhile.
    pub fn pause(&mut self, cancel: &Cancel) -> bool {
        cancel.sleep(self.step())
    }

    /// What was waited for came: the next pause is the first again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// The next pause, up to a quarter shorter, so that workers that began together do not stay together.
    pub(crate) fn step(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause - pause / 4 * (random() % 256) as u32 / 256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_begin_again() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(400));
        for expected in [100, 200, 400, 400] {
            let pause = backoff.step().as_millis();
            assert!((expected * 3 / 4..=expected).contains(&pause), "{pause} {expected}");
        }
        backoff.reset();
        assert!(backoff.step() <= Duration::from_millis(100));
    }

    #[test]
    fn nobody_waits_after_a_stop() {
        let cancel = Cancel::new();
        cancel.cancel();
        assert!(!Backoff::new(Duration::from_secs(60), Duration::from_secs(60)).pause(&cancel));
    }
}
