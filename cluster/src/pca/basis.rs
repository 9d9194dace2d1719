//! Orthonormal rows.

use crate::random::Random;

/// `count` orthonormal rows of `dims` values in random directions.
pub(super) fn random(count: usize, dims: usize, seed: u64) -> Vec<f64> {
    let mut random = Random::new(seed);
    let mut uniform = || random.uniform();
    let normal = |_| (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
    let mut rows: Vec<f64> = (0..count * dims).map(normal).collect();
    orthonormalise(&mut rows, dims);
    rows
}

/// Makes the rows orthonormal, each within the span of itself and those before. A row that brings nothing new becomes
/// the first axis that does.
pub(super) fn orthonormalise(rows: &mut [f64], dims: usize) {
    let mut axis = 0;
    for at in 0..rows.len() / dims {
        let (before, row) = rows.split_at_mut(at * dims);
        let row = &mut row[..dims];
        while !separate(before, row) && axis < dims {
            row.fill(0.0);
            row[axis] = 1.0;
            axis += 1;
        }
    }
}

/// Takes from a row what lies along the orthonormal ones before it, and brings it to length 1; `false` where nothing is
/// left but rounding.
fn separate(before: &[f64], row: &mut [f64]) -> bool {
    let length = dot(row, row).sqrt();
    // Twice is enough (Giraud, Langou, Rozložník 2005).
    for _ in 0..2 {
        for other in before.chunks_exact(row.len()) {
            let along = dot(other, row);
            row.iter_mut().zip(other).for_each(|(x, other)| *x -= along * other);
        }
    }
    let left = dot(row, row).sqrt();
    if left.is_normal() && left > length * 1e-10 {
        row.iter_mut().for_each(|x| *x /= left);
        return true;
    }
    false
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_orthonormal(rows: &[f64], dims: usize) {
        for (at, row) in rows.chunks(dims).enumerate() {
            for (other_at, other) in rows.chunks(dims).enumerate() {
                let expected = f64::from(u8::from(at == other_at));
                assert!((dot(row, other) - expected).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn random_rows_are_orthonormal_and_seeded() {
        for (count, dims) in [(1, 1), (5, 5), (7, 40)] {
            is_orthonormal(&random(count, dims, 3), dims);
        }
        assert_eq!(random(3, 9, 1), random(3, 9, 1));
        assert_ne!(random(3, 9, 1), random(3, 9, 2));
    }

    #[test]
    fn rows_without_anything_new_are_replaced() {
        let mut rows = vec![1.0, 1.0, 0.0, 2.0, 2.0, 0.0, 0.0, 0.0, 0.0];
        orthonormalise(&mut rows, 3);
        is_orthonormal(&rows, 3);
    }
}
