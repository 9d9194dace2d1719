//! Eigenvectors of a small symmetric matrix, by Jacobi's method (Golub, Van Loan 2013, §8.5).

/// Far more than are ever needed: the method converges quadratically.
const SWEEPS: usize = 30;

/// The eigenvalues of a symmetric `[n, n]` matrix, the largest first, and their eigenvectors as rows.
pub(super) fn symmetric(mut matrix: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut vectors = vec![0.0; n * n];
    (0..n).for_each(|at| vectors[at * n + at] = 1.0);
    let scale: f64 = matrix.iter().map(|x| x * x).sum();
    for _ in 0..SWEEPS {
        let pairs = || (0..n).flat_map(|p| (p + 1..n).map(move |q| (p, q)));
        let aside: f64 = pairs().map(|(p, q)| matrix[p * n + q].powi(2)).sum();
        if aside <= scale * 1e-30 {
            break;
        }
        for (p, q) in pairs() {
            rotate(&mut matrix, &mut vectors, n, p, q);
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| matrix[b * n + b].total_cmp(&matrix[a * n + a]).then(a.cmp(&b)));
    let values = order.iter().map(|&at| matrix[at * n + at]).collect();
    (values, order.iter().flat_map(|&at| &vectors[at * n..(at + 1) * n]).copied().collect())
}

/// Makes the element at `[p, q]` zero.
fn rotate(matrix: &mut [f64], vectors: &mut [f64], n: usize, p: usize, q: usize) {
    let aside = matrix[p * n + q];
    if aside == 0.0 {
        return;
    }
    let theta = (matrix[q * n + q] - matrix[p * n + p]) / (2.0 * aside);
    let tangent = theta.signum() / (theta.abs() + theta.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    let sine = tangent * cosine;
    let turn = |matrix: &mut [f64], p: usize, q: usize| {
        let (x, y) = (matrix[p], matrix[q]);
        (matrix[p], matrix[q]) = (cosine * x - sine * y, sine * x + cosine * y);
    };
    for at in 0..n {
        turn(matrix, at * n + p, at * n + q);
    }
    for at in 0..n {
        turn(matrix, p * n + at, q * n + at);
        turn(vectors, p * n + at, q * n + at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_and_values_give_the_matrix_again() {
        for n in [1, 2, 3, 17] {
            let mut matrix = vec![0.0; n * n];
            for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
                matrix[i * n + j] = ((i * j % 7) as f64 - 3.0) / (1.0 + (i + j) as f64);
            }
            let (values, vectors) = symmetric(matrix.clone(), n);
            assert!(values.windows(2).all(|pair| pair[0] >= pair[1]));
            for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
                let again: f64 = (0..n).map(|k| values[k] * vectors[k * n + i] * vectors[k * n + j]).sum();
                assert!((again - matrix[i * n + j]).abs() < 1e-12);
            }
        }
    }
}
