//! All pairs of a few rows, by products.
//!
//! The rows are moved such that the first of them lies at zero: |a|² + |b|² − 2ab in `f32` is then off by a small share
//! of how far these rows are from each other, however far they all are from the rest.

use std::mem;

use crate::kernels;
use crate::lists::{Entry, Lists};
use crate::product::rows_by_rows;
use crate::reach::{Link, Reach};
use crate::space::Space;

/// Rows whose products with all later ones are had in one go.
const STRIP: usize = 48;
/// Edges of which the least is sought by measuring.
const MEASURED: usize = 4;

/// Buffers of a worker.
#[derive(Default)]
pub(crate) struct Pairs {
    /// Rows, moved and scaled.
    values: Vec<f32>,
    norms: Vec<f32>,
    limits: Vec<f32>,
    products: Vec<f32>,
    hits: Vec<u32>,
    /// What each row has found, and the limits that this sets.
    found: Vec<Vec<Entry>>,
    nearer: Vec<f32>,
}

impl Pairs {
    /// Every row meets every other, unless they are to be kept apart, and offers itself to its list.
    pub(crate) fn meet(&mut self, space: &Space<'_>, rows: &[u32], lists: &Lists, apart: impl Fn(u32, u32) -> bool) {
        let (mut found, mut nearer) = (mem::take(&mut self.found), mem::take(&mut self.nearer));
        found.resize(found.len().max(rows.len()), Vec::new());
        nearer.clear();
        nearer.extend(rows.iter().map(|&row| lists.limit(row)));
        let mut push = |at: usize, entry: Entry| {
            if entry.estimate() <= nearer[at] {
                found[at].push(entry);
                if found[at].len() == 2 * lists.k() {
                    nearer[at] = lists.shorten(&mut found[at]).min(nearer[at]);
                }
            }
        };
        self.meet_first(space, rows, rows.len(), lists, |one, other, estimate| {
            if !apart(rows[one], rows[other]) {
                push(one, Entry::new(estimate, rows[other]));
                push(other, Entry::new(estimate, rows[one]));
            }
        });
        for (&row, found) in rows.iter().zip(&mut found) {
            lists.shorten(found);
            found.sort_unstable();
            lists.offer(row, found);
            found.clear();
        }
        (self.found, self.nearer) = (found, nearer);
    }

    /// The first `count` rows meet all rows, each pair once. `visit` is told of the pairs that are within the limit of
    /// the list of either: the places of both, and their distance.
    pub(crate) fn meet_first(
        &mut self,
        space: &Space<'_>,
        rows: &[u32],
        count: usize,
        lists: &Lists,
        mut visit: impl FnMut(usize, usize, f32),
    ) {
        let Pairs { values, norms, limits, products, hits, .. } = self;
        let (Some(&centre), dims) = (rows.first(), space.dims()) else { return };
        values.clear();
        space.pack_around(centre, rows, values);
        squared_norms(values, dims, norms);
        limits.clear();
        limits.extend(rows.iter().map(|&row| lists.limit(row)));
        for start in (0..count).step_by(STRIP) {
            let (height, width) = (STRIP.min(count - start), rows.len() - start);
            products.resize(height * width, 0.0);
            let strip = &values[start * dims..][..height * dims];
            rows_by_rows(strip, &values[start * dims..], products, (height, width, dims), -2.0);
            for at in start..start + height {
                let first = at + 1;
                let products = &products[(at - start) * width..][first - start..width];
                hits.clear();
                kernels::within(products, &norms[first..], &limits[first..], norms[at], limits[at], hits);
                for other in hits.iter().map(|&hit| first + hit as usize) {
                    visit(at, other, products[other - first] + (norms[other] + norms[at]));
                }
            }
        }
    }

    /// About the least edge between two sets of rows: the few that come first by their estimates are measured.
    pub(crate) fn least_edge(&mut self, reach: &Reach<'_>, ones: &[u32], others: &[u32]) -> Link {
        let space = reach.space;
        let (dims, values) = (space.dims(), &mut self.values);
        values.clear();
        space.pack_around(ones[0], ones, values);
        space.pack_around(ones[0], others, values);
        squared_norms(values, dims, &mut self.norms);
        self.products.resize(ones.len() * others.len(), 0.0);
        let (one, two) = values.split_at(ones.len() * dims);
        rows_by_rows(one, two, &mut self.products, (ones.len(), others.len(), dims), -2.0);
        let core = |&row: &u32| space.limit(reach.cores[row as usize]);
        let cores: Vec<f32> = others.iter().map(core).collect();
        let (norms, other_norms) = self.norms.split_at(ones.len());
        let edges =
            ones.iter().zip(norms).zip(self.products.chunks_exact(others.len())).map(|((row, norm), products)| {
                let own = core(row);
                let mut least = (f32::INFINITY, f32::INFINITY, *row, others[0]);
                for (((product, other), core), &id) in products.iter().zip(other_norms).zip(&cores).zip(others) {
                    let estimate = product + (other + norm);
                    let weight = estimate.max(*core).max(own);
                    if (weight, estimate) < (least.0, least.1) {
                        least = (weight, estimate, *row, id);
                    }
                }
                least
            });
        let mut edges: Vec<(f32, f32, u32, u32)> = edges.collect();
        edges.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let measured = edges.iter().take(MEASURED).map(|&(_, _, a, b)| reach.measure(a, b));
        measured.fold(reach.measure(ones[0], others[0]), Link::min)
    }
}

/// Replaces the norms by those of the rows.
pub(crate) fn squared_norms(rows: &[f32], dims: usize, norms: &mut Vec<f32>) {
    norms.clear();
    norms.extend(rows.chunks_exact(dims).map(|row| kernels::dot(row, row)));
}
