//! How long the exact tree takes, told beforehand.
//!
//! Its time has a part that grows with the rows (their lists of neighbours) and one that grows with the pairs of them
//! (their products). Both are measured: the tree of a small sample of the rows is built, and some blocks of that sample
//! are multiplied. Pairs of blocks that turn out to be too far apart, and the bridges between groups, cannot be seen in a
//! sample; of these, the former make the estimate too long, the latter too short.

use std::time::{Duration, Instant};

use crate::distinct::Distinct;
use crate::error::Error;
use crate::kernels;
use crate::monitor::{Pace, Silent, Stage};
use crate::options::Options;
use crate::points::Points;
use crate::space::Space;
use crate::tiles::{self, Strip, TILE};
use crate::tree::spanning_tree;

/// Rows of the first sample.
const FIRST: usize = 512;
/// When a sample took so long, no larger one is taken: one of twice the size takes up to four times as long.
const ENOUGH: Duration = Duration::from_millis(25);

/// About how many seconds [`spanning_tree`] will take here and now, on all cores.
///
/// Takes a tenth of a second itself, and as long as it takes to look for identical rows; for fewer than about a thousand
/// points it takes as long as the tree. Measured on an idle machine with 1,000 to 100,000 points in 5 to 384 dimensions,
/// the tree took 0.75 to 1.8 times as long as that, and up to 2.7 times where the points were many groups far apart. In
/// few dimensions and for millions of points it takes less, as most pairs are too far apart to matter.
///
/// # Errors
///
/// What [`Options::check`] finds.
pub fn estimated_seconds(points: Points<'_>, options: &Options) -> Result<f64, Error> {
    let rows = Distinct::of(points).rows;
    let mut size = FIRST;
    loop {
        let step = rows.len().div_ceil(size).max(1);
        let values: Vec<f32> = rows.iter().step_by(step).flat_map(|&row| points.row(row as usize)).copied().collect();
        let sample = Points::new(&values, points.dims())?;
        let begin = Instant::now();
        spanning_tree(sample, options, &Silent)?;
        let taken = begin.elapsed();
        if step == 1 {
            return Ok(taken.as_secs_f64());
        }
        if taken >= ENOUGH {
            let (all, some) = (rows.len() as f64, sample.len() as f64);
            let pairs_beyond = all * (all - some) / 2.0;
            return Ok(taken.as_secs_f64() * all / some + seconds_per_pair(sample, options)? * pairs_beyond);
        }
        size *= 2;
    }
}

/// How long it takes to multiply two rows and to look at the product, with all cores at it.
fn seconds_per_pair(sample: Points<'_>, options: &Options) -> Result<f64, Error> {
    let order: Vec<u32> = (0..sample.len() as u32).collect();
    let space = Space::new(sample, &order, options.metric);
    let lows: Vec<f32> = order.iter().map(|&row| space.low(row)).collect();
    // Whole blocks; there is at least one.
    let blocks = sample.len() / TILE;
    let strip = || Strip { blocks: 0..blocks.min(Strip::MOST), others: (0..blocks as u32).collect() };
    let strips: Vec<Strip> = (0..rayon::current_num_threads()).map(|_| strip()).collect();
    let limits = [f32::NEG_INFINITY; TILE];
    let pace = Pace::begin(&Silent, Stage::Neighbours, 0, 0);
    let tiles: usize = strip().others.iter().map(|&other| strip().blocks.end.min(other as usize + 1)).sum();
    let (begin, mut rounds) = (Instant::now(), 0);
    while begin.elapsed() < ENOUGH {
        tiles::visit(
            &space,
            &order,
            &strips,
            &pace,
            |_, _| true,
            |tile, hits: &mut Vec<u32>| {
                for row in 0..tile.rows() {
                    let low = lows[tile.block * TILE + row];
                    let lows = &lows[tile.other * TILE..][..TILE];
                    kernels::within(tile.products_of(row), lows, &limits, low, f32::NEG_INFINITY, hits);
                }
            },
        )?;
        rounds += 1;
    }
    Ok(begin.elapsed().as_secs_f64() / (rounds * strips.len() * tiles * TILE * TILE) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_points_take_longer() {
        let values: Vec<f32> = (0..60_000 * 8).map(|at| (at as f32 * 0.7).sin()).collect();
        let estimate = |rows: usize| {
            let points = Points::new(&values[..rows * 8], 8).unwrap();
            estimated_seconds(points, &Options::default()).unwrap()
        };
        // Of several, as other tests take processor time meanwhile.
        let few = (0..5).map(|_| estimate(200)).fold(f64::INFINITY, f64::min);
        let many = estimate(60_000);
        assert!(few > 0.0 && many > 5.0 * few && many.is_finite(), "{few} {many}");
    }

    #[test]
    fn copies_count_once_and_options_are_checked() {
        let values = vec![1.0; 3_000_000];
        let points = Points::new(&values, 3).unwrap();
        // As so many different points it would be hours.
        assert!(estimated_seconds(points, &Options::default()).unwrap() < 30.0);
        let options = Options { min_cluster_size: 1, ..Options::default() };
        assert_eq!(estimated_seconds(points, &options), Err(Error::MinClusterSize { size: 1 }));
        let none = Points::new(&[], 3).unwrap();
        assert!(estimated_seconds(none, &Options::default()).unwrap() < 30.0);
    }
}
