//! Which outputs are whole. Each that is there is looked into once.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::embed::file::is_whole;
use crate::embed::job::Job;
use crate::embed::scan::is_there;

/// What was found out about outputs so far.
#[derive(Default)]
pub(super) struct Outputs {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    whole: HashSet<String>,
    broken: HashSet<Job>,
}

impl Outputs {
    /// Whether the output of this job is there and whole.
    pub(super) fn is_done(&self, job: &Job) -> bool {
        if !is_there(Path::new(&job.output)) {
            return false;
        }
        if self.is_known(job) {
            return true;
        }
        let is_whole = is_whole(job);
        let mut known = self.lock();
        if is_whole {
            known.broken.remove(job);
            known.whole.insert(job.output.clone());
        } else {
            known.broken.insert(job.clone());
        }
        is_whole
    }

    /// Whether its output was whole when somebody looked.
    pub(super) fn is_known(&self, job: &Job) -> bool {
        self.lock().whole.contains(&job.output)
    }

    /// The jobs whose output is there but was not whole, and still is not.
    pub(super) fn broken(&self) -> Vec<Job> {
        let found: Vec<Job> = self.lock().broken.iter().cloned().collect();
        found.into_iter().filter(|job| is_there(Path::new(&job.output)) && !self.is_done(job)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
