//! The minimum spanning tree of mutual reachability.
//!
//! An edge weighs the largest of its length and the core distances of both ends. Very many edges weigh the same, as
//! all of a row's nearest ones weigh its core distance, so "the" minimum spanning tree is none yet. Here edges are
//! ordered by weight, then by length (between identical rows it is less than any other), then by the lower and the
//! higher row. That order is strict, so there is one tree; and it asks for the numbers of rows only where two edges have
//! the same weight and the same length. So where all distances differ, the tree does not depend on the order in which
//! the rows come.
//!
//! The tree is exact: every distance that is compared is a difference summed up in `f64`, and whatever is left out is
//! left out by a bound that holds in spite of rounding. [`crate::distinct`], [`crate::neighbours`], [`crate::nearby`] and
//! [`crate::bridges`] say why in each case. It is the same for every number of threads and on every processor.

use rayon::prelude::*;

use crate::bridges;
use crate::distinct::Distinct;
use crate::error::Error;
use crate::forest::Forest;
use crate::monitor::Monitor;
use crate::nearby;
use crate::neighbours::Neighbours;
use crate::options::{Metric, Options};
use crate::points::Points;
use crate::reach::{Link, Reach};
use crate::space::Space;

/// Neighbours that are listed beyond those that a core distance needs: they decide most edges of the tree.
pub(crate) const BEYOND: usize = 11;

/// Two points of the tree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edge {
    /// The lower row.
    pub a: u32,
    /// The higher row.
    pub b: u32,
    /// Their distance of mutual reachability.
    pub weight: f64,
}

/// The minimum spanning tree of mutual reachability.
///
/// Edges are ordered by weight, then by length (between identical rows it is less than any other), then by the lower and
/// the higher row; it is the tree that is least in that order. Where all distances differ, it does not depend on the order
/// of the rows.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanningTree {
    points: usize,
    edges: Vec<Edge>,
}

impl SpanningTree {
    /// How many points it spans.
    #[must_use]
    pub fn points(&self) -> usize {
        self.points
    }

    /// Its edges, one fewer than points, in their order: the lightest first.
    #[must_use]
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// The sum of the weights.
    #[must_use]
    pub fn weight(&self) -> f64 {
        self.edges.iter().map(|edge| edge.weight).sum()
    }
}

/// Finds the tree by the metric and the number of samples. The rest of the options does not matter here, so that one
/// tree serves to try several.
///
/// # Errors
///
/// What [`Options::check`] finds, and [`Error::Cancelled`].
pub fn spanning_tree(points: Points<'_>, options: &Options, monitor: &dyn Monitor) -> Result<SpanningTree, Error> {
    options.check()?;
    exact(points, &Distinct::of(points), options, monitor)
}

/// The same for options that make sense.
pub(crate) fn exact(
    points: Points<'_>,
    distinct: &Distinct,
    options: &Options,
    monitor: &dyn Monitor,
) -> Result<SpanningTree, Error> {
    let space = Space::new(points, &distinct.rows, options.metric);
    let samples = options.samples().min(points.len().saturating_sub(1));
    let neighbours = Neighbours::find(&space, samples.saturating_add(BEYOND), monitor)?;
    let cores = neighbours.cores(&distinct.copies, samples);
    let reach = Reach { space: &space, neighbours, cores };
    let mut links = Vec::with_capacity(points.len().saturating_sub(1));
    let mut forest = Forest::new(space.len());
    nearby::join(&reach, &mut forest, &mut links);
    bridges::join(&reach, &mut forest, &mut links, monitor)?;
    Ok(finish(points, links, &reach.cores, distinct, options.metric))
}

/// Turns the tree of the distinct rows into that of all.
pub(crate) fn finish(
    points: Points<'_>,
    mut links: Vec<Link>,
    cores: &[f64],
    distinct: &Distinct,
    metric: Metric,
) -> SpanningTree {
    for link in &mut links {
        link.a = distinct.rows[link.a as usize];
        link.b = distinct.rows[link.b as usize];
    }
    links.extend(distinct.repeated.iter().map(|&(row, first)| {
        let group = distinct.rows.partition_point(|&row| row < first);
        // A zero that comes before all others: rows that differ may also be at distance 0, if they are parallel.
        Link { weight: cores[group], squared: -0.0, a: first, b: row }
    }));
    links.par_sort_unstable();
    let weight = |squared: f64| match metric {
        Metric::Euclidean => squared.sqrt(),
        Metric::Cosine => squared / 2.0,
    };
    let edges = links.iter().map(|link| Edge { a: link.a, b: link.b, weight: weight(link.weight) }).collect();
    SpanningTree { points: points.len(), edges }
}
