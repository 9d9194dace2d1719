//! What waits, runs, is done or dead.

use super::claim::Done;

/// The state of a queue at one moment.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Jobs that wait.
    pub waiting: u64,
    /// Jobs that run, the longest first.
    pub running: Vec<Running>,
    /// Jobs that are dead.
    pub dead: u64,
    /// Some of them, with the reason.
    pub dead_jobs: Vec<Dead>,
    /// Jobs that are done.
    pub done: u64,
    /// Rows of the outputs of these.
    pub rows: u64,
    /// Texts that were embedded for them.
    pub texts: u64,
    /// How fast it goes.
    pub speed: Speed,
}

/// A job that runs.
#[derive(Clone, Debug)]
pub struct Running {
    /// The file it reads, or the entry of the list where it names none.
    pub input: String,
    /// Who has claimed it.
    pub worker: String,
    /// How often it has been tried, this time included.
    pub tries: u32,
    /// Seconds since it was claimed.
    pub seconds: f64,
    /// Seconds until the lease runs out, unless it is renewed.
    pub lease_left: f64,
}

/// A job that is dead.
#[derive(Clone, Debug)]
pub struct Dead {
    /// The file it reads, or the entry of the list where it names none.
    pub input: String,
    /// Why its last try failed.
    pub error: String,
    /// How often it was tried.
    pub tries: u32,
}

/// What all workers together do in a second, by the jobs that they have finished lately.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Speed {
    /// Jobs.
    pub jobs: f64,
    /// Rows.
    pub rows: f64,
    /// Texts.
    pub texts: f64,
}

impl Status {
    /// Seconds until nothing waits or runs, where anything is being done.
    #[must_use]
    pub fn seconds_left(&self) -> Option<f64> {
        let left = self.waiting + self.running.len() as u64;
        (self.speed.jobs > 0.0).then(|| left as f64 / self.speed.jobs)
    }
}

/// Jobs that count for the speed.
pub(super) const RECENT: usize = 256;
/// Seconds after which a job does not count for the speed any more.
const LATELY: f64 = 600.0;

/// A job that was finished lately.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finished {
    /// How many seconds ago.
    pub(super) age: f64,
    pub(super) done: Done,
}

impl Speed {
    /// The speed that these jobs show, which are the last that were finished.
    ///
    /// The time is that from the beginning of the first of them until now.
    pub(super) fn of(recent: &[Finished]) -> Self {
        let lately = || recent.iter().filter(|finished| finished.age <= LATELY);
        let seconds = lately().map(|finished| finished.age + finished.done.seconds).fold(0.0, f64::max);
        if seconds <= 0.0 {
            return Speed::default();
        }
        let sum = |of: fn(&Done) -> u64| lately().map(|finished| of(&finished.done)).sum::<u64>() as f64 / seconds;
        Speed { jobs: sum(|_| 1), rows: sum(|done| done.rows), texts: sum(|done| done.texts) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(age: f64, rows: u64) -> Finished {
        Finished { age, done: Done { rows, texts: rows / 2, seconds: 2.0 } }
    }

    #[test]
    fn speed_is_of_what_was_finished_lately() {
        let speed = Speed::of(&[finished(0.0, 100), finished(3.0, 200), finished(8.0, 300), finished(5000.0, 1)]);
        assert_eq!(speed, Speed { jobs: 0.3, rows: 60.0, texts: 30.0 });
        assert_eq!(Speed::of(&[]), Speed::default());
        assert_eq!(Speed::of(&[finished(5000.0, 1)]), Speed::default());
    }

    #[test]
    fn time_left_needs_a_speed() {
        let mut status = Status { waiting: 6, ..Status::default() };
        assert_eq!(status.seconds_left(), None);
        status.speed.jobs = 0.5;
        assert_eq!(status.seconds_left(), Some(12.0));
    }
}
