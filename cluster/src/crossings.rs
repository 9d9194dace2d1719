//! The search for edges between blocks of different sets.

use std::ops::Range;

use crate::kernels;
use crate::product::rows_by_rows;
use crate::reach::{Link, Reach};
use crate::skeleton::Skeleton;
use crate::space::Space;
use crate::tiles::{Packed, TILE, rows_of};

/// Two blocks, and a bound below every edge between them that is not listed.
#[derive(Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) bound: f32,
    pub(crate) one: u32,
    pub(crate) other: u32,
}

/// What is known of the rows of a block.
pub(crate) struct Ends {
    /// Bounds below the edges of each row that are not listed.
    unlisted: Vec<f32>,
    /// The sets whose rows it has, in order.
    pub(crate) runs: Vec<(u32, Range<usize>)>,
}

impl Ends {
    pub(crate) fn new(reach: &Reach<'_>, rows: &[u32], set: &[u32]) -> Self {
        let unlisted = rows.iter().map(|&row| below(reach.space, reach.neighbours.reach(row))).collect();
        Ends { unlisted, runs: runs(rows, set) }
    }

    /// The least of those bounds.
    pub(crate) fn least_unlisted(&self) -> f32 {
        self.unlisted.iter().copied().fold(f32::INFINITY, f32::min)
    }
}

/// Which of the rows, which come set by set, are of which set.
fn runs(rows: &[u32], set: &[u32]) -> Vec<(u32, Range<usize>)> {
    let mut runs: Vec<(u32, Range<usize>)> = Vec::new();
    for (at, &row) in rows.iter().enumerate() {
        match runs.last_mut() {
            Some((last, run)) if *last == set[row as usize] => run.end = at + 1,
            _ => runs.push((set[row as usize], at..at + 1)),
        }
    }
    runs
}

/// A bound that is not above this squared distance.
fn below(space: &Space<'_>, squared: f64) -> f32 {
    space.limit(squared).next_down().next_down()
}

/// The bound that edges before this one do not exceed.
pub(crate) fn limit(space: &Space<'_>, known: Option<&Link>) -> f32 {
    known.map_or(f32::INFINITY, |known| space.limit(known.weight))
}

/// What the pairs of a batch are searched with.
pub(crate) struct Search<'a> {
    pub(crate) reach: &'a Reach<'a>,
    pub(crate) skeleton: &'a Skeleton,
    pub(crate) ends: &'a [Ends],
    pub(crate) order: &'a [u32],
    pub(crate) set: &'a [u32],
}

/// Buffers of a worker.
#[derive(Default)]
pub(crate) struct State {
    rows: Vec<u32>,
    columns: Columns,
    packed: (Packed, Packed),
    products: Vec<f32>,
    hits: Vec<u32>,
}

/// The rows of the block that all pairs of a group have in common, as far as they matter.
#[derive(Default)]
struct Columns {
    rows: Vec<u32>,
    runs: Vec<(u32, Range<usize>)>,
    lows: Vec<f32>,
    unlisted: Vec<f32>,
    limits: Vec<f32>,
}

impl Search<'_> {
    /// The edges between one block and several others that come before what is known between their sets.
    pub(crate) fn meet(&self, group: &[Pair], state: &mut State) -> Vec<Link> {
        let space = self.reach.space;
        self.gather(group, state);
        let columns = &mut state.columns;
        let mut found = Vec::new();
        if columns.rows.is_empty() {
            return found;
        }
        let two = state.packed.1.rows(space, &columns.rows);
        for rows in state.rows.chunks(TILE) {
            let one = state.packed.0.rows(space, rows);
            state.products.resize(rows.len() * columns.rows.len(), 0.0);
            rows_by_rows(one, two, &mut state.products, (rows.len(), columns.rows.len(), space.dims()), -2.0);
            for (set, run) in runs(rows, self.set) {
                let products = &state.products[run.start * columns.rows.len()..run.end * columns.rows.len()];
                self.meet_run(set, &rows[run], products, columns, &mut state.hits, &mut found);
            }
        }
        found
    }

    /// Collects the rows and the columns that an edge could lead from and to.
    fn gather(&self, group: &[Pair], state: &mut State) {
        let space = self.reach.space;
        let other = group[0].other as usize;
        let others = &self.ends[other];
        let mut farthest = vec![f32::NEG_INFINITY; others.runs.len()];
        state.rows.clear();
        for pair in group {
            let one = &self.ends[pair.one as usize];
            for (set, run) in &one.runs {
                let mut own = f32::NEG_INFINITY;
                for ((other, _), farthest) in others.runs.iter().zip(&mut farthest) {
                    let limit = limit(space, self.skeleton.heaviest(*set, *other));
                    if other != set && limit >= pair.bound {
                        (own, *farthest) = (own.max(limit), farthest.max(limit));
                    }
                }
                let rows = rows_of(self.order, pair.one as usize)[run.clone()].iter().zip(&one.unlisted[run.clone()]);
                state.rows.extend(rows.filter(|&(_, &unlisted)| unlisted <= own).map(|(&row, _)| row));
            }
        }
        let columns = &mut state.columns;
        columns.rows.clear();
        columns.unlisted.clear();
        for ((_, run), farthest) in others.runs.iter().zip(farthest) {
            let rows = rows_of(self.order, other)[run.clone()].iter().zip(&others.unlisted[run.clone()]);
            for (&row, &unlisted) in rows.filter(|&(_, &unlisted)| unlisted <= farthest) {
                columns.rows.push(row);
                columns.unlisted.push(unlisted);
            }
        }
        columns.runs = runs(&columns.rows, self.set);
        columns.lows.clear();
        columns.lows.extend(columns.rows.iter().map(|&row| space.low(row)));
    }

    /// The same for rows of one set.
    fn meet_run(
        &self,
        set: u32,
        rows: &[u32],
        products: &[f32],
        columns: &mut Columns,
        hits: &mut Vec<u32>,
        found: &mut Vec<Link>,
    ) {
        let space = self.reach.space;
        let mut known: Vec<Option<Link>> =
            columns.runs.iter().map(|(other, _)| self.skeleton.heaviest(set, *other).copied()).collect();
        for (run, known) in known.iter().enumerate() {
            let limit = if columns.runs[run].0 == set { f32::NEG_INFINITY } else { limit(space, known.as_ref()) };
            columns.lower(run, limit);
        }
        for (&row, products) in rows.iter().zip(products.chunks_exact(columns.rows.len())) {
            let (low, unlisted) = (space.low(row), below(space, self.reach.neighbours.reach(row)));
            hits.clear();
            kernels::within(products, &columns.lows, &columns.limits, low, f32::NEG_INFINITY, hits);
            for column in hits.iter().map(|&hit| hit as usize) {
                let bound = products[column] + (columns.lows[column] + low);
                if bound.max(unlisted) > columns.limits[column] {
                    continue;
                }
                let link = self.reach.measure(row, columns.rows[column]);
                let run = columns.runs.partition_point(|(_, run)| run.end <= column);
                if known[run].is_none_or(|known| link < known) {
                    known[run] = Some(link);
                    columns.lower(run, space.limit(link.weight));
                    found.push(link);
                }
            }
        }
    }
}

impl Columns {
    /// Sets the limits of a run, but for the rows whose missing edges are all beyond.
    fn lower(&mut self, run: usize, limit: f32) {
        self.limits.resize(self.rows.len(), 0.0);
        let run = self.runs[run].1.clone();
        for (to, &unlisted) in self.limits[run.clone()].iter_mut().zip(&self.unlisted[run]) {
            *to = if unlisted <= limit { limit } else { f32::NEG_INFINITY };
        }
    }
}
