//! Fewer dimensions: principal components by a randomised singular value decomposition.
//!
//! In hundreds of dimensions all distances are much alike, and most points end up as noise; in the 50 directions of the
//! largest variance they do less so. A random subspace a little wider than asked for is multiplied by the covariance of
//! the rows again and again, until it holds hardly more variance than before (Halko, Martinsson, Tropp 2011, §4.5);
//! each time all rows are read once, block after block, and nothing of their number is kept.
//!
//! The result depends on the seed and on how rows are cut into blocks, not on the number of threads.

mod basis;
mod eigen;
mod fit;
mod model;

pub use model::Pca;

use crate::error::Error;
use crate::points::Points;

/// Rows that can be read again and again, a block at a time.
pub trait RowBlocks {
    /// What can go wrong while reading.
    type Error: From<Error>;

    /// How many rows there are.
    fn rows(&self) -> usize;

    /// How many values each has.
    fn dims(&self) -> usize;

    /// Hands all rows to `visit`, in order: whole rows, one after the other, and the same blocks every time.
    ///
    /// # Errors
    ///
    /// Its own, and what `visit` returns.
    fn for_each(&mut self, visit: &mut dyn FnMut(&[f32]) -> Result<(), Error>) -> Result<(), Self::Error>;
}

impl RowBlocks for Points<'_> {
    type Error = Error;

    fn rows(&self) -> usize {
        self.len()
    }

    fn dims(&self) -> usize {
        Points::dims(self)
    }

    fn for_each(&mut self, visit: &mut dyn FnMut(&[f32]) -> Result<(), Error>) -> Result<(), Error> {
        self.values().chunks(fit::BLOCK * Points::dims(self)).try_for_each(visit)
    }
}
