//! What a manager knows to be queued, so that it queues nothing twice.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use redis::{Commands, Connection, RedisError};

use super::scripts::Scripts;
use crate::embed::job::Job;

/// Entries of one page of the list.
const PAGE: isize = 10_000;

/// The jobs that wait, run or are dead, and the version of the list that this is true of.
///
/// The list itself is the truth, as older workers take from it and tell nobody. It is read once, and from then on what
/// comes to its head. A job is kept as 128 bits, whatever form its JSON has.
#[derive(Default)]
pub(super) struct Known {
    pub(super) version: i64,
    jobs: HashSet<u128>,
    hashers: (RandomState, RandomState),
}

impl Known {
    /// Reads the whole queue.
    ///
    /// The version comes first, so what is pushed meanwhile is heard of later. What moves away from the end of the list
    /// meanwhile runs or is dead afterwards; what moves back the script that pushes looks for.
    pub(super) fn load(scripts: &Scripts, connection: &mut Connection) -> Result<Self, RedisError> {
        let version: Option<i64> = connection.hget(scripts.pushed(), "version")?;
        let mut known = Known { version: version.unwrap_or(0), ..Known::default() };
        let mut start = 0;
        loop {
            let page: Vec<Vec<u8>> = connection.lrange(scripts.list(), start, start + PAGE - 1)?;
            known.extend(&page);
            if page.is_empty() {
                break;
            }
            start += PAGE;
        }
        known.extend(&connection.zrange::<_, Vec<Vec<u8>>>(scripts.leases(), 0, -1)?);
        known.extend(&connection.hkeys::<_, Vec<Vec<u8>>>(scripts.dead())?);
        Ok(known)
    }

    /// Adds entries of the list; what is no job can never be pushed.
    pub(super) fn extend(&mut self, entries: &[Vec<u8>]) {
        for job in entries.iter().filter_map(|entry| Job::from_json(entry).ok()) {
            self.insert(&job);
        }
    }

    pub(super) fn insert(&mut self, job: &Job) {
        let hash = self.hash(job);
        self.jobs.insert(hash);
    }

    pub(super) fn contains(&self, job: &Job) -> bool {
        self.jobs.contains(&self.hash(job))
    }

    fn hash(&self, job: &Job) -> u128 {
        let (high, low) = &self.hashers;
        u128::from(high.hash_one(job)) << 64 | u128::from(low.hash_one(job))
    }
}
