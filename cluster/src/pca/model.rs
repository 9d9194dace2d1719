//! The components, and rows in terms of them.

use rayon::prelude::*;

use super::{RowBlocks, fit};
use crate::monitor::Monitor;
use crate::product::rows_by_rows;

/// Rows that are projected in one go.
const PIECE: usize = 512;

/// The directions of the largest variance.
#[derive(Clone, Debug, PartialEq)]
pub struct Pca {
    mean: Vec<f32>,
    components: Vec<f32>,
    explained: Vec<f64>,
}

impl Pca {
    /// Finds `components` directions in the rows.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Components`] where there are not so many, [`crate::Error::NonFinite`] with the first row that
    /// holds a NaN or an infinity, [`crate::Error::Cancelled`], and whatever reading the rows brings.
    pub fn fit<B: RowBlocks>(
        rows: &mut B,
        components: usize,
        seed: u64,
        monitor: &dyn Monitor,
    ) -> Result<Self, B::Error> {
        let found = fit::fit(rows, components, seed, monitor)?;
        let narrow = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
        Ok(Pca { mean: narrow(found.mean), components: narrow(found.components), explained: found.explained })
    }

    /// How many values a row has.
    #[must_use]
    pub fn dims(&self) -> usize {
        self.mean.len()
    }

    /// How many directions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.explained.len()
    }

    /// Whether there is none. There is always one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.explained.is_empty()
    }

    /// The mean of the rows.
    #[must_use]
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// The directions, of shape `[len, dims]`: of length 1, at right angles, the largest variance first. The largest
    /// value of each is positive.
    #[must_use]
    pub fn components(&self) -> &[f32] {
        &self.components
    }

    /// The share of all variance that lies in each direction.
    #[must_use]
    pub fn explained_variance_ratio(&self) -> &[f64] {
        &self.explained
    }

    /// Appends rows (of shape `[n, dims]`) in terms of the components, of shape `[n, len]`.
    ///
    /// # Panics
    ///
    /// Where the values are not whole rows.
    pub fn project(&self, rows: &[f32], out: &mut Vec<f32>) {
        assert!(rows.len().is_multiple_of(self.dims()), "rows have {} values each", self.dims());
        let (count, start) = (rows.len() / self.dims(), out.len());
        out.resize(start + count * self.len(), 0.0);
        let pieces = rows.par_chunks(PIECE * self.dims()).zip(out[start..].par_chunks_mut(PIECE * self.len()));
        pieces.for_each_init(Vec::new, |moved, (rows, out)| {
            moved.clear();
            let row = |row: &[f32]| row.iter().zip(&self.mean).map(|(x, mean)| x - mean).collect::<Vec<f32>>();
            rows.chunks_exact(self.dims()).for_each(|values| moved.extend(row(values)));
            let shape = (rows.len() / self.dims(), self.len(), self.dims());
            rows_by_rows(moved, &self.components, out, shape, 1.0);
        });
    }
}
