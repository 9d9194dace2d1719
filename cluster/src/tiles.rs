//! All pairs of rows, a block of pairs at a time, on all cores.
//!
//! Rows are taken in some order and cut into blocks; a tile is two blocks and the products of all their rows. Workers
//! fetch strips of tiles (a few blocks against several others, so that each is moved and scaled once for several tiles)
//! from a common counter, each with buffers of its own. Called from inside a rayon pool, a worker that finds nothing left
//! returns at once, so that many small jobs can run side by side without waiting for each other.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::Error;
use crate::monitor::Pace;
use crate::product::rows_by_rows;
use crate::space::Space;

/// Rows of a block: its packed values and the products stay in the second level of the cache.
pub(crate) const TILE: usize = 256;

/// Two blocks of rows and what is known of their pairs.
pub(crate) struct Tile<'a> {
    /// Number of the block whose rows these are.
    pub(crate) block: usize,
    /// Number of the other one, which is the same or a later one.
    pub(crate) other: usize,
    /// −2 times the product of every row of the one with every row of the other.
    pub(crate) products: &'a [f32],
    /// How many rows the other one has.
    width: usize,
}

impl Tile<'_> {
    /// How many rows the one has.
    pub(crate) fn rows(&self) -> usize {
        self.products.len() / self.width
    }

    /// The products of one row.
    pub(crate) fn products_of(&self, row: usize) -> &[f32] {
        &self.products[row * self.width..(row + 1) * self.width]
    }
}

/// Blocks against several others. Of two blocks, only the earlier one meets the other.
pub(crate) struct Strip {
    /// The ones, at most [`Strip::MOST`].
    pub(crate) blocks: Range<usize>,
    /// The others.
    pub(crate) others: Vec<u32>,
}

impl Strip {
    /// As many blocks as share another one's packed rows.
    pub(crate) const MOST: usize = 4;
}

/// The rows of block `block` of rows in that order.
pub(crate) fn rows_of(order: &[u32], block: usize) -> &[u32] {
    &order[block * TILE..order.len().min((block + 1) * TILE)]
}

/// Rows that were packed, unless they are others by now.
#[derive(Default)]
pub(crate) struct Packed {
    block: Option<usize>,
    values: Vec<f32>,
}

impl Packed {
    /// Packs rows.
    pub(crate) fn rows(&mut self, space: &Space<'_>, rows: &[u32]) -> &[f32] {
        self.values.clear();
        space.pack(rows, &mut self.values);
        &self.values
    }

    fn block(&mut self, space: &Space<'_>, order: &[u32], block: usize) -> &[f32] {
        if self.block.replace(block) != Some(block) {
            self.rows(space, rows_of(order, block));
        }
        &self.values
    }
}

/// Visits the tiles of the strips that are still wanted when their turn comes, roughly in order and from several threads,
/// each with its own state.
///
/// # Errors
///
/// [`Error::Cancelled`].
pub(crate) fn visit<S: Default>(
    space: &Space<'_>,
    order: &[u32],
    strips: &[Strip],
    pace: &Pace<'_>,
    wanted: impl Fn(usize, usize) -> bool + Sync,
    visitor: impl Fn(&Tile<'_>, &mut S) + Sync,
) -> Result<(), Error> {
    let next = AtomicUsize::new(0);
    let work = || {
        let (mut ones, mut two): ([Packed; Strip::MOST], Packed) = Default::default();
        let (mut products, mut state) = (Vec::new(), S::default());
        while let Some(strip) = strips.get(next.fetch_add(1, Ordering::Relaxed)) {
            for other in strip.others.iter().map(|&other| other as usize) {
                let width = rows_of(order, other).len();
                for (block, one) in strip.blocks.clone().zip(&mut ones).filter(|&(block, _)| block <= other) {
                    if pace.check().is_err() {
                        return;
                    }
                    let height = rows_of(order, block).len();
                    if wanted(block, other) {
                        let (one, two) = (one.block(space, order, block), two.block(space, order, other));
                        products.resize(height * width, 0.0);
                        rows_by_rows(one, two, &mut products, (height, width, space.dims()), -2.0);
                        visitor(&Tile { block, other, products: &products, width }, &mut state);
                    }
                    pace.advance((height * width) as u64);
                }
            }
        }
    };
    let workers = rayon::current_num_threads().min(strips.len());
    rayon::scope(|scope| (0..workers).for_each(|_| scope.spawn(|_| work())));
    pace.check()
}
