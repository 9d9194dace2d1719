//! Distances: exact ones of single pairs, and lower bounds of whole blocks.
//!
//! The exact one is the squared length of the line between two points (normalised, for the cosine), differences and
//! sums in `f64`. It is never had from `|a|² + |b|² − 2ab`, in which near points cancel to noise.
//!
//! That formula gives the bounds, by one matrix product in `f32` for a block of pairs. The rows are shifted by their
//! mean, so that an offset which all of them share costs no digits, and scaled by a power of two, so that nothing
//! overflows. Of rows p and q so moved, with u = 2⁻²⁴ and d dimensions,
//!
//! - moving them rounds each value by a share of at most 2u, which moves the squared distance by at most
//!   2·|p−q|·2u·(|p|+|q|) ≤ 8u·(|p|² + |q|²);
//! - the product is off by at most d·u/(1 − d·u)·|p||q|, whatever the order of its sum (Higham 2002, §3.1), which
//!   counts twice, and 2|p||q| ≤ |p|² + |q|²;
//! - the squares and the two additions round by at most 8u·(|p|² + |q|²).
//!
//! So the formula is at most `slack(p) + slack(q)` off, where slack(p) = (d + 64)·u/(1 − (d + 64)·u)·|p|², and a little
//! for what underflows. [`Space::low`] has the slack taken off beforehand: what the formula gives then is never above
//! the distance, and at most two slacks of each row below it.

use rayon::prelude::*;

use crate::kernels;
use crate::options::Metric;
use crate::points::Points;

/// Rows whose mean is summed in one go; the sum does not depend on the number of threads.
const PIECE: usize = 4096;
/// More than all that can underflow in the square of a row whose norm is about 1.
const UNDERFLOW: f64 = 1e-30;

/// Distinct rows of the points, as the metric sees them.
pub(crate) struct Space<'a> {
    points: Points<'a>,
    rows: &'a [u32],
    /// One over the norm of each row (0 for a row of zeros), for the cosine.
    inverse: Option<Vec<f64>>,
    /// What is taken from every row before it is scaled.
    centre: Vec<f32>,
    scale: f64,
    low: Vec<f32>,
    slack: Vec<f32>,
}

impl<'a> Space<'a> {
    pub(crate) fn new(points: Points<'a>, rows: &'a [u32], metric: Metric) -> Self {
        let inverse = (metric == Metric::Cosine).then(|| {
            let norm = |&row: &u32| points.row(row as usize).iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            rows.par_iter().map(norm).map(|norm| if norm > 0.0 { 1.0 / norm } else { 0.0 }).collect()
        });
        let centre = vec![0.0; points.dims()];
        let mut space = Space { points, rows, inverse, centre, scale: 1.0, low: Vec::new(), slack: Vec::new() };
        space.centre = space.mean();
        let squares = |space: &Space<'_>| -> Vec<f64> {
            let square = |row: &mut Vec<f32>, id: usize| {
                row.clear();
                space.pack(&[id as u32], row);
                row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>()
            };
            (0..rows.len()).into_par_iter().map_init(Vec::new, square).collect()
        };
        space.scale = space.power_of_two();
        let unit = f64::from(f32::EPSILON) / 2.0;
        let rounding = (points.dims() + 64) as f64 * unit;
        let share = rounding / (1.0 - rounding);
        let squares = squares(&space);
        space.low = squares.iter().map(|square| (square - (share * square + UNDERFLOW)) as f32).collect();
        // A row of zeros is farther from every other row, by 1, than the line between them is long.
        let aside = |id: usize| if space.factor(id) == 0.0 { space.scale * space.scale } else { 0.0 };
        let slack = |(id, square): (usize, &f64)| (share * square + UNDERFLOW + aside(id)) as f32;
        space.slack = squares.iter().enumerate().map(slack).collect();
        space
    }

    /// The mean of the rows.
    fn mean(&self) -> Vec<f32> {
        let dims = self.points.dims();
        let sum = |piece: &[u32], first: usize| {
            let mut sum = vec![0.0; dims];
            for (at, &row) in piece.iter().enumerate() {
                let factor = self.factor(first + at);
                for (sum, &value) in sum.iter_mut().zip(self.points.row(row as usize)) {
                    *sum += f64::from(value) * factor;
                }
            }
            sum
        };
        let sums: Vec<Vec<f64>> =
            self.rows.par_chunks(PIECE).enumerate().map(|(at, piece)| sum(piece, at * PIECE)).collect();
        let mut mean = vec![0.0; dims];
        for sum in sums {
            mean.iter_mut().zip(sum).for_each(|(mean, sum)| *mean += sum / self.rows.len() as f64);
        }
        // The bounds hold for whatever is taken off.
        mean.iter().map(|&mean| mean as f32).collect()
    }

    /// One that brings the largest norm near 1.
    fn power_of_two(&self) -> f64 {
        let norm = |(at, &row): (usize, &u32)| {
            let factor = self.factor(at);
            let moved = self.points.row(row as usize).iter().zip(&self.centre);
            moved.map(|(&x, &centre)| (f64::from(x) * factor - f64::from(centre)).powi(2)).sum::<f64>().sqrt()
        };
        let largest = self.rows.par_iter().enumerate().map(norm).reduce(|| 0.0, f64::max);
        if largest > 0.0 { (-largest.log2().round()).clamp(-140.0, 120.0).exp2() } else { 1.0 }
    }

    fn factor(&self, id: usize) -> f64 {
        self.inverse.as_ref().map_or(1.0, |inverse| inverse[id])
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many values each has.
    pub(crate) fn dims(&self) -> usize {
        self.points.dims()
    }

    /// The squared length of the line between two rows. The same whichever comes first.
    pub(crate) fn squared(&self, a: u32, b: u32) -> f64 {
        let row = |id: u32| self.points.row(self.rows[id as usize] as usize);
        match &self.inverse {
            None => kernels::squared_distance(row(a), row(b)),
            Some(inverse) => {
                let (factor_a, factor_b) = (inverse[a as usize], inverse[b as usize]);
                if (factor_a == 0.0) != (factor_b == 0.0) {
                    return 2.0;
                }
                kernels::squared_scaled_distance(row(a), factor_a, row(b), factor_b)
            }
        }
    }

    /// Appends rows, moved and scaled for [`crate::product`].
    pub(crate) fn pack(&self, ids: &[u32], out: &mut Vec<f32>) {
        for &id in ids {
            let row = self.points.row(self.rows[id as usize] as usize);
            match &self.inverse {
                None => kernels::shift(row, &self.centre, self.scale as f32, out),
                Some(inverse) => kernels::scale_and_shift(row, inverse[id as usize], &self.centre, self.scale, out),
            }
        }
    }

    /// Appends rows as [`Space::pack`] does, but moved such that a certain row lies at zero. However near the rows are to
    /// each other, compared with all others, products of these tell their distances.
    pub(crate) fn pack_around(&self, centre: u32, ids: &[u32], out: &mut Vec<f32>) {
        let row = |id: u32| self.points.row(self.rows[id as usize] as usize);
        match &self.inverse {
            None => ids.iter().for_each(|&id| kernels::shift(row(id), row(centre), self.scale as f32, out)),
            Some(inverse) => {
                let mut position = Vec::with_capacity(self.dims());
                self.position(centre, &mut position);
                for &id in ids {
                    kernels::scale_and_shift(row(id), inverse[id as usize], &position, self.scale, out);
                }
            }
        }
    }

    /// Appends a row as the metric sees it: normalised, for the cosine.
    pub(crate) fn position(&self, id: u32, out: &mut Vec<f32>) {
        let factor = self.factor(id as usize);
        let row = self.points.row(self.rows[id as usize] as usize);
        out.extend(row.iter().map(|&x| (f64::from(x) * factor) as f32));
    }

    /// The squared norm of the moved row, less its slack.
    pub(crate) fn low(&self, id: u32) -> f32 {
        self.low[id as usize]
    }

    /// How much of a bound may be the rounding of this row's part in it.
    pub(crate) fn slack(&self, id: u32) -> f32 {
        self.slack[id as usize]
    }

    /// A bound that no pair at this squared distance or nearer exceeds.
    pub(crate) fn limit(&self, squared: f64) -> f32 {
        ((squared * self.scale * self.scale) as f32).next_up()
    }
}
