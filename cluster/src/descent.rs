//! Neighbours of neighbours (NN-descent: Dong, Moses, Li 2011).
//!
//! Of a row's nearest, and of the rows that have it among their nearest, each pair meets once, where one of the two is
//! new since the last round: those are likely to be near each other. All that a round goes by are the lists as they were
//! when it began, so that its result does not depend on which thread comes first.

use rayon::prelude::*;

use crate::error::Error;
use crate::lists::{Entry, Lists};
use crate::monitor::Pace;
use crate::pairs::Pairs;
use crate::random;
use crate::space::Space;

/// Rows that a worker takes at once.
const PIECE: usize = 64;
/// The descent is at its end when less than this share of all entries is new.
const GAIN: f64 = 0.002;

/// Lets the `width` nearest of each row, and as many rows that have it among theirs, meet. `false` where there is nothing
/// left to gain. Every list is full. Rows that are near each other come together in `order`.
///
/// # Errors
///
/// [`Error::Cancelled`].
pub(crate) fn round(
    space: &Space<'_>,
    lists: &Lists,
    order: &[u32],
    width: usize,
    seed: u64,
    pace: &Pace<'_>,
) -> Result<bool, Error> {
    let graph = Graph::of(lists, width);
    let new = graph.forward.par_iter().filter(|&&id| id & 1 == 1).count();
    if (new as f64) < GAIN * graph.forward.len() as f64 {
        return Ok(false);
    }
    let back = graph.reversed();
    order.par_chunks(PIECE).try_for_each_init(<(Pairs, Vec<u32>)>::default, |(pairs, around), rows| {
        pace.check()?;
        for &row in rows {
            let new = graph.around(row, &back, seed, around);
            pairs.meet_first(space, around, new, lists, |one, other, estimate| {
                for (row, other) in [(around[one], around[other]), (around[other], around[one])] {
                    if estimate <= lists.limit(row) && !graph.has(row, other) {
                        lists.offer(row, &[Entry::new(estimate, other)]);
                    }
                }
            });
        }
        pace.advance(rows.len() as u64);
        Ok(())
    })?;
    Ok(true)
}

/// The lists as they were. Rows are doubled, and odd where they are new.
struct Graph {
    k: usize,
    width: usize,
    forward: Vec<u32>,
}

/// For each row, the rows that it is among the nearest of.
struct Back {
    starts: Vec<u32>,
    rows: Vec<u32>,
}

impl Graph {
    /// The lists as they are. Those that are about to meet are not new any more.
    fn of(lists: &Lists, width: usize) -> Self {
        let k = lists.k();
        let width = width.min(k);
        let mut forward = vec![0; lists.len() * k];
        forward.par_chunks_mut(k).enumerate().for_each(|(row, forward)| {
            let mut list = lists.lock(row as u32);
            forward.iter_mut().zip(&*list).for_each(|(to, entry)| *to = entry.marked());
            list.iter_mut().take(width).for_each(Entry::settle);
        });
        Graph { k, width, forward }
    }

    /// The nearest of a row.
    fn nearest(&self, row: u32) -> &[u32] {
        &self.forward[row as usize * self.k..][..self.width]
    }

    /// Whether a row had another one in its list.
    fn has(&self, row: u32, other: u32) -> bool {
        // All are looked at, without a branch: that is faster than to stop.
        self.forward[row as usize * self.k..][..self.k].iter().fold(false, |has, &id| has | (id >> 1 == other))
    }

    fn reversed(&self) -> Back {
        let rows = (self.forward.len() / self.k) as u32;
        let mut starts = vec![0; rows as usize + 1];
        for to in (0..rows).flat_map(|row| self.nearest(row)) {
            starts[(to >> 1) as usize + 1] += 1;
        }
        for at in 0..rows as usize {
            starts[at + 1] += starts[at];
        }
        let mut next = starts.clone();
        let mut back = vec![0; rows as usize * self.width];
        for row in 0..rows {
            for to in self.nearest(row) {
                let next = &mut next[(to >> 1) as usize];
                back[*next as usize] = row << 1 | to & 1;
                *next += 1;
            }
        }
        Back { starts, rows: back }
    }

    /// Collects those around a row that are to meet: first the new ones, whose number is returned, then, if there are
    /// any, the others.
    fn around(&self, row: u32, back: &Back, seed: u64, around: &mut Vec<u32>) -> usize {
        around.clear();
        let back = &back.rows[back.starts[row as usize] as usize..back.starts[row as usize + 1] as usize];
        // Of too many, a stretch from a place that is drawn by chance.
        let begin = if back.len() > self.width { random::at(seed, u64::from(row)) as usize % back.len() } else { 0 };
        around.extend(back[begin..].iter().chain(&back[..begin]).take(self.width));
        around.extend(self.nearest(row));
        if around.iter().all(|id| id & 1 == 0) {
            around.clear();
            return 0;
        }
        // Of two that are the same, one of them new, the new one stays.
        around.sort_unstable_by_key(|id| id ^ 1);
        around.dedup_by_key(|id| *id >> 1);
        around.sort_unstable_by_key(|id| (id & 1 == 0, *id));
        let new = around.partition_point(|id| id & 1 == 1);
        around.iter_mut().for_each(|id| *id >>= 1);
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::{Silent, Stage};
    use crate::options::Metric;
    use crate::points::Points;

    #[test]
    fn a_circle_closes_from_a_few_acquaintances() {
        // Each row knows one that is near and some that are not.
        let n = 600u32;
        let angle = |row: u32| f64::from(row) / f64::from(n) * std::f64::consts::TAU;
        let values: Vec<f32> = (0..n).flat_map(|row| [angle(row).cos() as f32, angle(row).sin() as f32]).collect();
        let rows: Vec<u32> = (0..n).collect();
        let space = Space::new(Points::new(&values, 2).unwrap(), &rows, Metric::Euclidean);
        let lists = Lists::new(n as usize, 6);
        for &row in &rows {
            let others = [row + 1, row + 40, row + 171, row + 222, row + 333, row + 444].map(|other| other % n);
            let entry = |other| Entry::new(space.limit(space.squared(row, other)), other);
            lists.offer(row, &others.map(entry));
        }
        let pace = Pace::begin(&Silent, Stage::Neighbours, 0, 0);
        let rounds = (0..30).take_while(|&seed| round(&space, &lists, &rows, 6, seed, &pace).unwrap()).count();
        assert!((3..30).contains(&rounds), "{rounds} rounds");
        let near = |row: u32, entry: &Entry| matches!((entry.id() + n - row) % n, 1..=3 | 597..=599);
        let found: usize =
            rows.iter().map(|&row| lists.lock(row).iter().filter(|entry| near(row, entry)).count()).sum();
        assert!(found as f64 > 0.98 * f64::from(6 * n), "{found}");
    }
}
