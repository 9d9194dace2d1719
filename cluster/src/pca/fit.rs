//! The iteration.

use rayon::prelude::*;

use super::RowBlocks;
use super::basis::{dot, orthonormalise, random};
use super::eigen;
use crate::error::Error;
use crate::kernels;
use crate::monitor::{Monitor, Pace, Stage};
use crate::points::Points;
use crate::product::{columns_by_columns, rows_by_rows};

/// Rows of a block that is read at a time.
pub(super) const BLOCK: usize = 8192;
/// Rows that are multiplied in one go; the sums over them are in `f32`, all others in `f64`.
const PIECE: usize = 512;
/// Dimensions of the subspace beyond those asked for.
const BEYOND: usize = 16;
/// Passes over the rows at the most.
const PASSES: usize = 16;
/// The subspace stays as it is when a pass adds less than this share to the variance along the components.
const GAIN: f64 = 5e-4;

/// What is found, components as rows.
pub(super) struct Found {
    pub(super) mean: Vec<f64>,
    pub(super) components: Vec<f64>,
    pub(super) explained: Vec<f64>,
}

pub(super) fn fit<B: RowBlocks>(
    rows: &mut B,
    components: usize,
    seed: u64,
    monitor: &dyn Monitor,
) -> Result<Found, B::Error> {
    let (count, dims) = (rows.rows(), rows.dims());
    if components == 0 || components > count.min(dims) {
        return Err(Error::Components { components, rows: count, dims }.into());
    }
    let width = (components + BEYOND.max(components / 2)).min(dims);
    let mut basis = random(width, dims, seed);
    let mut before = 0.0;
    let mut pass = 1;
    loop {
        let sums = Sums::of(rows, &basis, monitor)?;
        let multiplied = sums.multiplied(&basis);
        let (values, vectors) = eigen::symmetric(within(&basis, &multiplied, dims), width);
        let along: f64 = values[..components].iter().sum();
        // A subspace that is all of the space cannot hold more.
        if along <= before * (1.0 + GAIN) || width == dims || pass == PASSES {
            return Ok(finish(&sums, &basis, &values[..components], &vectors));
        }
        (before, pass) = (along, pass + 1);
        basis = multiplied;
        orthonormalise(&mut basis, dims);
    }
}

/// The covariance in terms of the basis.
fn within(basis: &[f64], multiplied: &[f64], dims: usize) -> Vec<f64> {
    let width = basis.len() / dims;
    let product = |i: usize, j: usize| dot(&basis[i * dims..(i + 1) * dims], &multiplied[j * dims..(j + 1) * dims]);
    // The two differ by rounding.
    let element = |at: usize| f64::midpoint(product(at / width, at % width), product(at % width, at / width));
    (0..width * width).map(element).collect()
}

/// Turns the basis into the directions in which the covariance within it is diagonal.
fn finish(sums: &Sums, basis: &[f64], values: &[f64], vectors: &[f64]) -> Found {
    let dims = sums.centre.len();
    let mut found = Found { mean: sums.mean(), components: Vec::new(), explained: Vec::new() };
    let total = sums.variance();
    for (value, vector) in values.iter().zip(vectors.chunks_exact(basis.len() / dims)) {
        let mut component = vec![0.0; dims];
        for (weight, direction) in vector.iter().zip(basis.chunks_exact(dims)) {
            component.iter_mut().zip(direction).for_each(|(x, direction)| *x += weight * direction);
        }
        let largest = component.iter().copied().fold(0.0, |a: f64, b| if b.abs() > a.abs() { b } else { a });
        found.components.extend(component.iter().map(|x| x * largest.signum()));
        found.explained.push(if total > 0.0 { (value / total).max(0.0) } else { 0.0 });
    }
    found
}

/// Sums over all rows, each less a centre near their mean: what is lost to cancellation otherwise, stays.
struct Sums {
    rows: usize,
    centre: Vec<f64>,
    /// Σ x
    sum: Vec<f64>,
    /// Σ |x|²
    squares: f64,
    /// Σ (b·x) x for every row b of the basis.
    products: Vec<f64>,
}

impl Sums {
    fn of<B: RowBlocks>(rows: &mut B, basis: &[f64], monitor: &dyn Monitor) -> Result<Self, B::Error> {
        let (count, dims) = (rows.rows(), rows.dims());
        let pace = Pace::begin(monitor, Stage::Components, count, count as u64);
        let basis32: Vec<f32> = basis.iter().map(|&x| x as f32).collect();
        let mut sums =
            Sums { rows: 0, centre: Vec::new(), sum: vec![0.0; dims], squares: 0.0, products: vec![0.0; basis.len()] };
        rows.for_each(&mut |block| {
            Points::new(block, dims).map_err(|error| match error {
                Error::NonFinite { row, column, value } => Error::NonFinite { row: row + sums.rows, column, value },
                other => other,
            })?;
            for part in block.chunks(BLOCK * dims) {
                pace.check()?;
                sums.add(part, &basis32);
                pace.advance((part.len() / dims) as u64);
            }
            Ok(())
        })?;
        pace.finish();
        Ok(sums)
    }

    fn add(&mut self, block: &[f32], basis: &[f32]) {
        let dims = self.sum.len();
        if self.centre.is_empty() {
            self.centre = vec![0.0; dims];
            let first = block.chunks_exact(dims).take(PIECE);
            let count = first.len() as f64;
            first.for_each(|row| self.centre.iter_mut().zip(row).for_each(|(c, &x)| *c += f64::from(x) / count));
        }
        let pieces: Vec<Piece> =
            block.par_chunks(PIECE * dims).map(|piece| Piece::of(piece, &self.centre, basis)).collect();
        for piece in pieces {
            self.sum.iter_mut().zip(piece.sum).for_each(|(all, x)| *all += x);
            self.products.iter_mut().zip(piece.products).for_each(|(all, x)| *all += f64::from(x));
            self.squares += piece.squares;
        }
        self.rows += block.len() / dims;
    }

    /// The rows of the basis, multiplied by the covariance (times the number of rows).
    fn multiplied(&self, basis: &[f64]) -> Vec<f64> {
        let dims = self.sum.len();
        let mut multiplied = self.products.clone();
        for (row, basis) in multiplied.chunks_exact_mut(dims).zip(basis.chunks_exact(dims)) {
            let along = dot(basis, &self.sum) / self.rows as f64;
            row.iter_mut().zip(&self.sum).for_each(|(x, sum)| *x -= along * sum);
        }
        multiplied
    }

    fn mean(&self) -> Vec<f64> {
        self.centre.iter().zip(&self.sum).map(|(centre, sum)| centre + sum / self.rows as f64).collect()
    }

    /// All variance, times the number of rows.
    fn variance(&self) -> f64 {
        self.squares - dot(&self.sum, &self.sum) / self.rows as f64
    }
}

/// Sums over a piece.
struct Piece {
    sum: Vec<f64>,
    squares: f64,
    products: Vec<f32>,
}

impl Piece {
    fn of(rows: &[f32], centre: &[f64], basis: &[f32]) -> Self {
        let dims = centre.len();
        let (count, width) = (rows.len() / dims, basis.len() / dims);
        let (mut sum, mut squares) = (vec![0.0; dims], 0.0);
        let mut moved = Vec::with_capacity(rows.len());
        for row in rows.chunks_exact(dims) {
            squares += kernels::shift_and_sum(row, centre, &mut sum, &mut moved);
        }
        let mut along = vec![0.0; count * width];
        rows_by_rows(&moved, basis, &mut along, (count, width, dims), 1.0);
        let mut products = vec![0.0; width * dims];
        columns_by_columns(&along, &moved, &mut products, (width, dims, count));
        Piece { sum, squares, products }
    }
}
