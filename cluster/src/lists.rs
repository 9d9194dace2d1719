//! The nearest of what each row has met so far.
//!
//! A list holds the `k` nearest of all that were ever offered, each once; of one that is offered again with another
//! estimate, the lower one counts. Equal estimates rank by number. That does not depend on the order of the offers, so it
//! does not matter which thread comes first.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A row, how far it is about, and whether it is new in its list. Ordered by distance, then by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry(u64);

impl Entry {
    /// A new one.
    pub(crate) fn new(estimate: f32, id: u32) -> Self {
        // What is not negative is ordered as its bits are; a distance below zero is rounding. Ids have 30 bits.
        Entry(u64::from(estimate.max(0.0).to_bits()) << 32 | u64::from(id) << 1 | 1)
    }

    pub(crate) fn estimate(self) -> f32 {
        f32::from_bits((self.0 >> 32) as u32)
    }

    pub(crate) fn id(self) -> u32 {
        self.0 as u32 >> 1
    }

    /// Twice the id, and one more if it is new.
    pub(crate) fn marked(self) -> u32 {
        self.0 as u32
    }

    /// It is not new any more.
    pub(crate) fn settle(&mut self) {
        self.0 &= !1;
    }

    fn is_of(self, other: Entry) -> bool {
        self.id() == other.id()
    }
}

/// The lists of all rows.
pub(crate) struct Lists {
    k: usize,
    rows: Vec<Mutex<Vec<Entry>>>,
    /// The estimate of the last entry of each list, if that is full, in bits.
    limits: Vec<AtomicU32>,
}

impl Lists {
    /// Empty lists, with room for `k` each, which is not 0.
    pub(crate) fn new(rows: usize, k: usize) -> Self {
        Lists {
            k,
            rows: (0..rows).map(|_| Mutex::new(Vec::with_capacity(k))).collect(),
            limits: (0..rows).map(|_| AtomicU32::new(f32::INFINITY.to_bits())).collect(),
        }
    }

    /// How many lists there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Entries of a full list.
    pub(crate) fn k(&self) -> usize {
        self.k
    }

    /// Estimates above this one are not taken.
    pub(crate) fn limit(&self, row: u32) -> f32 {
        f32::from_bits(self.limits[row as usize].load(Ordering::Relaxed))
    }

    /// The entries of a row, nearest first. They stay in order and distinct.
    pub(crate) fn lock(&self, row: u32) -> MutexGuard<'_, Vec<Entry>> {
        self.rows[row as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offers new entries to a row. Returns how many it took that it did not have.
    pub(crate) fn offer(&self, row: u32, entries: &[Entry]) -> usize {
        let mut list = self.lock(row);
        let taken = entries.iter().filter(|&&entry| insert(&mut list, self.k, entry)).count();
        if list.len() == self.k {
            self.limits[row as usize].store(list[self.k - 1].estimate().to_bits(), Ordering::Relaxed);
        }
        taken
    }

    /// Keeps only the `k` nearest of distinct entries, in any order. Returns a limit above which there is nothing to find.
    pub(crate) fn shorten(&self, entries: &mut Vec<Entry>) -> f32 {
        if entries.len() < self.k {
            return f32::INFINITY;
        }
        let limit = entries.select_nth_unstable(self.k - 1).1.estimate();
        entries.truncate(self.k);
        limit
    }
}

fn insert(list: &mut Vec<Entry>, k: usize, entry: Entry) -> bool {
    if list.len() == k && list[k - 1] <= entry {
        return false;
    }
    let to = list.partition_point(|&other| other < entry);
    // All are looked at, without a branch: that is faster than to stop.
    if list.iter().fold(false, |known, other| known | other.is_of(entry)) {
        if let Some(from) = list[to..].iter().position(|other| other.is_of(entry)) {
            let old = list[to + from].0 & 1;
            list[to..=to + from].rotate_right(1);
            list[to] = Entry(entry.0 & !1 | old);
        }
        return false;
    }
    if list.len() == k {
        list.pop();
    }
    list.insert(to, entry);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    #[test]
    fn the_nearest_stay_whatever_the_order() {
        // Each row several times, with estimates that differ a little.
        let offers: Vec<Entry> = (0..600)
            .map(|at| Entry::new((random::at(1, at % 200) % 50) as f32 + (at / 200) as f32 / 8.0, at as u32 % 200))
            .collect();
        let mut expected: Vec<Entry> = offers[..200].to_vec();
        expected.sort_unstable();
        expected.truncate(12);
        for seed in 0..20 {
            let mut shuffled: Vec<(u64, Entry)> = (0..).map(|at| random::at(seed, at)).zip(offers.clone()).collect();
            shuffled.sort_unstable();
            let lists = Lists::new(1, 12);
            let taken: usize = shuffled.iter().map(|&(_, entry)| lists.offer(0, &[entry])).sum();
            assert_eq!(*lists.lock(0), expected);
            assert_eq!(lists.limit(0), expected[11].estimate());
            assert!(taken >= 12);
        }
    }

    #[test]
    fn what_is_known_stays_settled() {
        let lists = Lists::new(1, 4);
        assert_eq!(lists.offer(0, &[Entry::new(2.0, 7), Entry::new(1.0, 3), Entry::new(-1e-9, 5)]), 3);
        lists.lock(0).iter_mut().for_each(Entry::settle);
        assert_eq!(lists.offer(0, &[Entry::new(0.5, 7), Entry::new(3.0, 3), Entry::new(0.75, 4)]), 1);
        let found: Vec<(f32, u32)> = lists.lock(0).iter().map(|entry| (entry.estimate(), entry.marked())).collect();
        assert_eq!(found, [(0.0, 10), (0.5, 14), (0.75, 9), (1.0, 6)]);
    }
}
