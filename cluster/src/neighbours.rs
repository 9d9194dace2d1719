//! The nearest neighbours of every row, exactly.
//!
//! A row collects the columns whose bound is within its limit. When its buffer is full, it keeps the `k` that are
//! nearest by their upper bounds and all that might be nearer than the last of these, whose upper bound is its new
//! limit. Should rounding leave too many in doubt, they are measured, and the `k` nearest of them stay. So no column
//! that is among the `k` nearest is ever lost, in whatever order the blocks come, and at the end only a few more than
//! `k` are measured. Pairs of blocks come by how near they can be, and those too far for the limits of all their rows not
//! at all. Equally distant columns rank by their number, so the result is one and the same always.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use crate::blocks::{self, Block};
use crate::error::Error;
use crate::kernels;
use crate::lists::Lists;
use crate::monitor::{Monitor, Pace, Stage};
use crate::space::Space;
use crate::tiles::{self, Strip, TILE, Tile, rows_of};

/// Others in a strip, at the most.
const STRIP: usize = 8;

/// The `k` nearest rows of every row, nearest first, and their squared distances.
pub(crate) struct Neighbours {
    k: usize,
    /// Where in the lists each row is.
    places: Vec<u32>,
    ids: Vec<u32>,
    squared: Vec<f64>,
}

impl Neighbours {
    /// Finds the `k` nearest of every row, or all others where there are not more.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub(crate) fn find(space: &Space<'_>, k: usize, monitor: &dyn Monitor) -> Result<Self, Error> {
        let n = space.len();
        let k = k.min(n.saturating_sub(1));
        let order = blocks::order(space);
        let blocks = Block::all(space, &order);
        let search: Vec<Mutex<Search>> =
            (0..blocks.len()).map(|block| Mutex::new(Search::new(space, rows_of(&order, block), k))).collect();
        // The largest limit in each block, as the bits of a float that is not negative; these are in order.
        let limits: Vec<AtomicU32> = search.iter().map(|_| AtomicU32::new(f32::INFINITY.to_bits())).collect();
        let pace = Pace::begin(monitor, Stage::Neighbours, n, (n * n / 2 + n * TILE / 2) as u64);
        let wanted = |one: usize, other: usize| {
            let limit = |block: usize| f32::from_bits(limits[block].load(Ordering::Relaxed));
            blocks[one].bound(&blocks[other]) <= limit(one).max(limit(other))
        };
        tiles::visit(space, &order, &strips(&blocks), &pace, wanted, |tile, hits: &mut Vec<u32>| {
            let mut rows = lock(&search[tile.block]);
            if tile.block == tile.other {
                rows.meet_itself(tile, space, hits);
            } else {
                let mut columns = lock(&search[tile.other]);
                rows.meet(tile, &mut columns, space, hits);
                limits[tile.other].store(columns.limit().to_bits(), Ordering::Relaxed);
            }
            limits[tile.block].store(rows.limit().to_bits(), Ordering::Relaxed);
        })?;
        pace.finish();
        let mut neighbours = Neighbours { k, places: vec![0; n], ids: vec![0; n * k], squared: vec![0.0; n * k] };
        for (place, &row) in (0..).zip(&order) {
            neighbours.places[row as usize] = place;
        }
        if k > 0 {
            let ids = neighbours.ids.par_chunks_mut(k * TILE);
            let squared = neighbours.squared.par_chunks_mut(k * TILE);
            search.into_par_iter().zip(ids).zip(squared).for_each(|((search, ids), squared)| {
                search.into_inner().unwrap_or_else(PoisonError::into_inner).finish(space, ids, squared);
            });
        }
        Ok(neighbours)
    }

    /// Measures what is in the lists, each of which is full. Rows that are near each other come together in that order.
    pub(crate) fn measured(space: &Space<'_>, order: &[u32], lists: &Lists) -> Self {
        let (n, k) = (order.len(), lists.k());
        let mut neighbours = Neighbours { k, places: vec![0; n], ids: vec![0; n * k], squared: vec![0.0; n * k] };
        for (place, &row) in (0..).zip(order) {
            neighbours.places[row as usize] = place;
        }
        let places = neighbours.ids.par_chunks_mut(k).zip(neighbours.squared.par_chunks_mut(k));
        order.par_iter().zip(places).with_min_len(64).for_each(|(&row, (ids, squared))| {
            let list = lists.lock(row);
            let mut measured: Vec<(f64, u32)> =
                list.iter().map(|entry| (space.squared(row, entry.id()), entry.id())).collect();
            measured.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            for ((id, squared), measured) in ids.iter_mut().zip(squared).zip(measured) {
                (*squared, *id) = measured;
            }
        });
        neighbours
    }

    /// All rows, such that those which are near each other come together.
    pub(crate) fn order(&self) -> Vec<u32> {
        let mut order = vec![0; self.places.len()];
        for (row, &place) in (0..).zip(&self.places) {
            order[place as usize] = row;
        }
        order
    }

    /// The neighbours of a row, nearest first, and their squared distances.
    pub(crate) fn of(&self, row: u32) -> (&[u32], &[f64]) {
        let place = self.places[row as usize] as usize;
        let range = place * self.k..(place + 1) * self.k;
        (&self.ids[range.clone()], &self.squared[range])
    }

    /// The squared distance below which no row is but its neighbours: infinite where all are neighbours.
    pub(crate) fn reach(&self, row: u32) -> f64 {
        match self.of(row).1.last() {
            Some(&farthest) if self.k + 1 < self.places.len() => farthest,
            _ => f64::INFINITY,
        }
    }

    /// The squared core distance of every row: the distance to its `samples`-th neighbour, copies counted.
    pub(crate) fn cores(&self, copies: &[u32], samples: usize) -> Vec<f64> {
        let core = |(row, &own): (usize, &u32)| {
            let (ids, squared) = self.of(row as u32);
            let mut seen = own as usize - 1;
            let mut core = 0.0;
            for (&id, &squared) in ids.iter().zip(squared) {
                if seen >= samples {
                    break;
                }
                seen += copies[id as usize] as usize;
                core = squared;
            }
            core
        };
        copies.par_iter().enumerate().map(core).collect()
    }
}

/// Every pair of blocks, in strips of a few blocks with others that are about as near, the nearest first.
fn strips(blocks: &[Block]) -> Vec<Strip> {
    // Few enough that all threads have something to do.
    let share = blocks.len() / (4 * rayon::current_num_threads());
    let (height, length) = (share.clamp(1, Strip::MOST), share.clamp(1, STRIP));
    let of_blocks = |first: usize| {
        let few = first..blocks.len().min(first + height);
        let bound = |other: usize| {
            let bounds = few.clone().map(|block| blocks[block].bound(&blocks[other]));
            (bounds.fold(f32::INFINITY, f32::min), other as u32)
        };
        let mut others: Vec<(f32, u32)> = (first..blocks.len()).map(bound).collect();
        others.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let strip = |others: &[(f32, u32)]| {
            (others[0].0, Strip { blocks: few.clone(), others: others.iter().map(|&(_, other)| other).collect() })
        };
        others.chunks(length).map(strip).collect::<Vec<_>>()
    };
    let firsts: Vec<usize> = (0..blocks.len()).step_by(height).collect();
    let mut strips: Vec<(f32, Strip)> = firsts.into_par_iter().flat_map_iter(of_blocks).collect();
    strips.par_sort_by(|a, b| a.0.total_cmp(&b.0));
    strips.into_iter().map(|(_, strip)| strip).collect()
}

fn lock(search: &Mutex<Search>) -> MutexGuard<'_, Search> {
    search.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The search of a block of rows.
struct Search {
    k: usize,
    rows: Vec<u32>,
    lows: Vec<f32>,
    limits: Vec<f32>,
    /// `capacity` places for each row: a bound, and the row that it is of.
    found: Vec<(f32, u32)>,
    counts: Vec<usize>,
    capacity: usize,
}

impl Search {
    fn new(space: &Space<'_>, rows: &[u32], k: usize) -> Self {
        // Small enough for the memory, large enough that there is more to find than to sort out.
        let capacity = k + (k / 2).max(16);
        Search {
            k,
            rows: rows.to_vec(),
            lows: rows.iter().map(|&row| space.low(row)).collect(),
            limits: vec![f32::INFINITY; rows.len()],
            found: vec![(0.0, 0); rows.len() * capacity],
            counts: vec![0; rows.len()],
            capacity,
        }
    }

    /// Every row of the tile meets every column.
    fn meet(&mut self, tile: &Tile<'_>, columns: &mut Search, space: &Space<'_>, hits: &mut Vec<u32>) {
        for row in 0..tile.rows() {
            let products = tile.products_of(row);
            hits.clear();
            kernels::within(products, &columns.lows, &columns.limits, self.lows[row], self.limits[row], hits);
            for &hit in &*hits {
                let column = hit as usize;
                let bound = products[column] + (columns.lows[column] + self.lows[row]);
                self.offer(row, columns.rows[column], bound, space);
                columns.offer(column, self.rows[row], bound, space);
            }
        }
    }

    /// Every row of the block meets every other.
    fn meet_itself(&mut self, tile: &Tile<'_>, space: &Space<'_>, hits: &mut Vec<u32>) {
        for row in 0..tile.rows() {
            let first = row + 1;
            let products = &tile.products_of(row)[first..];
            hits.clear();
            let (lows, limits) = (&self.lows[first..], &self.limits[first..]);
            kernels::within(products, lows, limits, self.lows[row], self.limits[row], hits);
            for &hit in &*hits {
                let column = first + hit as usize;
                let bound = products[hit as usize] + (self.lows[column] + self.lows[row]);
                self.offer(row, self.rows[column], bound, space);
                self.offer(column, self.rows[row], bound, space);
            }
        }
    }

    /// The largest limit of its rows.
    fn limit(&self) -> f32 {
        self.limits.iter().copied().fold(0.0, f32::max)
    }

    fn offer(&mut self, at: usize, id: u32, bound: f32, space: &Space<'_>) {
        if bound > self.limits[at] {
            return;
        }
        self.found[at * self.capacity + self.counts[at]] = (bound, id);
        self.counts[at] += 1;
        if self.counts[at] == self.capacity {
            self.sort_out(at, space);
        }
    }

    /// Makes room among the columns that a row has found.
    fn sort_out(&mut self, at: usize, space: &Space<'_>) {
        let row = self.rows[at];
        let found = &mut self.found[at * self.capacity..(at + 1) * self.capacity];
        let upper = |&(bound, id): &(f32, u32)| bound + 2.0 * (space.slack(row) + space.slack(id));
        let (_, last, _) = found.select_nth_unstable_by(self.k - 1, |a, b| upper(a).total_cmp(&upper(b)));
        let limit = upper(last);
        self.limits[at] = self.limits[at].min(limit);
        let mut kept = self.k;
        for next in self.k..self.capacity {
            if found[next].0 <= limit {
                found.swap(kept, next);
                kept += 1;
            }
        }
        if kept > self.k + (self.capacity - self.k) / 2 {
            let measured = nearest(row, &found[..kept], self.k, space);
            self.limits[at] = self.limits[at].min(measured.last().map_or(limit, |last| space.limit(last.0)));
            kept = measured.len();
            // Below the bound of each, its distance rounded down is one too, and a closer one.
            for (found, &(squared, id)) in found.iter_mut().zip(&measured) {
                *found = (space.limit(squared).next_down().next_down(), id);
            }
        }
        self.counts[at] = kept;
    }

    /// Measures what was found.
    fn finish(&self, space: &Space<'_>, ids: &mut [u32], squared: &mut [f64]) {
        for (at, &row) in self.rows.iter().enumerate() {
            let found = &self.found[at * self.capacity..][..self.counts[at]];
            let places = at * self.k..(at + 1) * self.k;
            let places = ids[places.clone()].iter_mut().zip(&mut squared[places]);
            for ((id, squared), measured) in places.zip(nearest(row, found, self.k, space)) {
                (*squared, *id) = measured;
            }
        }
    }
}

/// The `k` nearest of some rows to a row, nearest first.
fn nearest(row: u32, found: &[(f32, u32)], k: usize, space: &Space<'_>) -> Vec<(f64, u32)> {
    let mut measured: Vec<(f64, u32)> = found.iter().map(|&(_, id)| (space.squared(row, id), id)).collect();
    measured.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    measured.truncate(k);
    measured
}
