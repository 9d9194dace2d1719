//! Blocks of rows that are near each other, and how near two blocks can be.
//!
//! Rows are halved along a line between two that are far apart, and so are the halves, until blocks are left. A block
//! lies in a ball and in a box. In few dimensions most pairs of blocks are too far apart to matter; in hundreds hardly
//! any are, but near ones come first, and what they teach makes the rest cheaper.

use rayon::prelude::*;

use crate::kernels;
use crate::space::Space;
use crate::tiles::{TILE, rows_of};

/// Rows among which the two ends of a line are sought.
const SAMPLE: usize = 128;
/// How far rounding may move a row, where the largest norm is about 1; with room to spare.
const MOVED: f64 = 1e-6;

/// All rows, such that each run of [`TILE`] is a block.
pub(crate) fn order(space: &Space<'_>) -> Vec<u32> {
    let mut rows: Vec<u32> = (0..space.len() as u32).collect();
    halve(space, &mut rows);
    rows
}

fn halve(space: &Space<'_>, rows: &mut [u32]) {
    if rows.len() <= TILE {
        return;
    }
    let line = line(space, rows);
    let along = |packed: &mut Vec<f32>, &row: &u32| {
        packed.clear();
        space.pack(&[row], packed);
        (kernels::dot(packed, &line), row)
    };
    let mut placed: Vec<(f32, u32)> = rows.par_iter().map_init(Vec::new, along).collect();
    // All blocks but the last are full.
    let half = rows.len().div_ceil(TILE).div_ceil(2) * TILE;
    placed.select_nth_unstable_by(half - 1, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    rows.iter_mut().zip(placed).for_each(|(row, (_, placed))| *row = placed);
    let (left, right) = rows.split_at_mut(half);
    rayon::join(|| halve(space, left), || halve(space, right));
}

/// From one end of the rows to the other.
fn line(space: &Space<'_>, rows: &[u32]) -> Vec<f32> {
    let sample: Vec<u32> = rows.iter().copied().step_by(rows.len().div_ceil(SAMPLE)).collect();
    let mut packed = Vec::with_capacity(sample.len() * space.dims());
    space.pack(&sample, &mut packed);
    let farthest = |from: &[f32]| {
        let far = |row: &&[f32]| kernels::squared_distance(row, from);
        packed.chunks_exact(space.dims()).max_by(|a, b| far(a).total_cmp(&far(b))).unwrap_or_default()
    };
    let end = farthest(&packed[..space.dims()]);
    let other = farthest(end);
    end.iter().zip(other).map(|(end, other)| end - other).collect()
}

/// Where the rows of a block lie, moved and scaled as [`Space::pack`] does it.
pub(crate) struct Block {
    centre: Vec<f32>,
    radius: f64,
    lowest: Vec<f32>,
    highest: Vec<f32>,
}

impl Block {
    /// The blocks of rows in that order.
    pub(crate) fn all(space: &Space<'_>, order: &[u32]) -> Vec<Block> {
        (0..order.len().div_ceil(TILE)).into_par_iter().map(|at| Block::new(space, rows_of(order, at))).collect()
    }

    fn new(space: &Space<'_>, rows: &[u32]) -> Self {
        let dims = space.dims();
        let mut packed = Vec::with_capacity(rows.len() * dims);
        space.pack(rows, &mut packed);
        let mut centre = vec![0f32; dims];
        let (mut lowest, mut highest) = (vec![f32::INFINITY; dims], vec![f32::NEG_INFINITY; dims]);
        for row in packed.chunks_exact(dims) {
            for (at, &x) in row.iter().enumerate() {
                centre[at] += x / rows.len() as f32;
                lowest[at] = lowest[at].min(x);
                highest[at] = highest[at].max(x);
            }
        }
        let radius = packed.chunks_exact(dims).map(|row| kernels::squared_distance(row, &centre)).fold(0.0, f64::max);
        Block { centre, radius: radius.sqrt(), lowest, highest }
    }

    /// A bound that the squared distance of no two rows of the blocks is below.
    pub(crate) fn bound(&self, other: &Block) -> f32 {
        let balls = kernels::squared_distance(&self.centre, &other.centre).sqrt() - self.radius - other.radius;
        let boxes = kernels::squared_gap((&self.lowest, &self.highest), (&other.lowest, &other.highest)).sqrt();
        let gap = (balls.max(boxes) - MOVED).max(0.0);
        ((gap * gap) as f32).next_down()
    }
}
